//! The first carrotCache's example: three processes, one group, and a table in place of a slow database.
//!
//! `-port 8001`, `8002` or `8003` says which of the three nodes this process is, `-api` that it also answers
//! `http://localhost:9999/api?key=Tom`, and `-offset N` adds N to every port. `scripts/three-processes` starts all
//! three and asks ten times. Each load is printed where it happens, so that one sees each key loaded once.
//!
//! The nodes speak the first carrotCache's own words to each other and place keys on its ring, so any of the three
//! may be a process of the Go original. Those words have one status for a key that is not there and for a load that
//! failed: of a missing key the api says 404 where this node owns it, and 502 with the reason where another does.

#![allow(clippy::print_stdout, clippy::print_stderr, reason = "what an example has to say, it prints")]

use std::net::{Ipv4Addr, SocketAddr};
use std::process::ExitCode;
use std::str::Utf8Error;
use std::time::Duration;

use bytes::Bytes;
use carrotcache::net::dialect::Dialect;
use carrotcache::net::listen::{ListenLimits, Listener, Serving};
use carrotcache::{BoxError, ByteSize, Cluster, GetError, Group, Key, Limits, Value, with_causes};
use http::header::{CONTENT_TYPE, HeaderValue};
use http::{Request, Response, StatusCode};
use http_body_util::Full;
use percent_encoding::percent_decode_str;

const SCORES: [(&str, &str); 5] =
    [("Tom", "630"), ("Jack", "589"), ("Sam", "567"), ("Lily", "589"), ("Pity", "567")];

const NODES: [u16; 3] = [8001, 8002, 8003];
const API: u16 = 9999;

#[tokio::main]
async fn main() -> ExitCode {
    match run().await {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("three_processes: {}", with_causes(&*error));
            ExitCode::from(2)
        }
    }
}

async fn run() -> Result<(), BoxError> {
    let flags = Flags::read(std::env::args().skip(1))?;
    let cluster = Cluster::bind(loopback(flags.port()))
        .url(url(flags.port()))
        .peers(NODES.map(|port| url(port + flags.offset)))
        .dialect(Dialect::Carrot)
        .start()
        .await?;
    let scores = cluster.group("scores").capacity(ByteSize::kib(2)).open(|key: Key| load(key))?;
    let api = if flags.api { Some(serve(scores, API + flags.offset).await?) } else { None };

    // Told once everything accepts, so that whoever started us knows when to ask.
    if let Some(api) = &api {
        println!("api {}", api.address());
    }
    println!("peer {}", loopback(flags.port()));
    tokio::signal::ctrl_c().await?;
    Ok(cluster.leave().await?)
}

/// The slow database of all three processes. Keys are text there: another key is an error, not a key it has not.
async fn load(key: Key) -> Result<Option<&'static str>, Utf8Error> {
    println!("[origin] load {key}");
    tokio::time::sleep(Duration::from_millis(20)).await;
    let name = key.to_str()?;
    Ok(SCORES.into_iter().find(|(known, _)| *known == name).map(|(_, score)| score))
}

/// Answers clients of the group until the handle is dropped.
async fn serve(scores: Group, port: u16) -> Result<Serving, BoxError> {
    let limits = ListenLimits::from(&Limits::default());
    let listener = Listener::bind(loopback(port), limits).await?;
    Ok(listener.serve(move |request| {
        let scores = scores.clone();
        async move { answer(&scores, &request).await }
    }))
}

async fn answer<B>(scores: &Group, request: &Request<B>) -> Response<Full<Bytes>> {
    if request.uri().path() != "/api" {
        return refusal(StatusCode::NOT_FOUND, "no such path");
    }
    match scores.get(key(request.uri().query().unwrap_or_default())).await {
        Ok(value) => found(value),
        Err(error) => refusal(status(&error), &with_causes(&error)),
    }
}

/// The `key` of a query, where a `+` is a space; empty where there is none.
fn key(query: &str) -> Vec<u8> {
    let named = query.split('&').find_map(|pair| pair.strip_prefix("key="));
    percent_decode_str(&named.unwrap_or_default().replace('+', " ")).collect()
}

fn status(error: &GetError) -> StatusCode {
    match error {
        GetError::Key(_) => StatusCode::BAD_REQUEST,
        GetError::NotFound { .. } => StatusCode::NOT_FOUND,
        GetError::Busy { .. } | GetError::Leaving => StatusCode::SERVICE_UNAVAILABLE,
        GetError::Deadline { .. } => StatusCode::GATEWAY_TIMEOUT,
        // The loader failed, here or at the owner, or gave what cannot be served.
        _ => StatusCode::BAD_GATEWAY,
    }
}

fn found(value: Value) -> Response<Full<Bytes>> {
    response(StatusCode::OK, "application/octet-stream", value.into())
}

fn refusal(status: StatusCode, why: &str) -> Response<Full<Bytes>> {
    response(status, "text/plain; charset=utf-8", format!("{why}\n").into())
}

fn response(status: StatusCode, kind: &'static str, body: Bytes) -> Response<Full<Bytes>> {
    let mut response = Response::new(Full::new(body));
    *response.status_mut() = status;
    response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static(kind));
    response
}

fn loopback(port: u16) -> SocketAddr {
    (Ipv4Addr::LOCALHOST, port).into()
}

/// A node as all three list it: on this ring the string decides who owns what, to the byte.
fn url(port: u16) -> String {
    format!("http://localhost:{port}")
}

/// The command line, in the original's spelling with one dash or with two.
struct Flags {
    /// One of `NODES`.
    node: u16,
    api: bool,
    offset: u16,
}

impl Flags {
    fn read(mut args: impl Iterator<Item = String>) -> Result<Self, String> {
        let mut flags = Self { node: NODES[0], api: false, offset: 0 };
        while let Some(arg) = args.next() {
            let flag = arg.strip_prefix("--").or_else(|| arg.strip_prefix('-')).unwrap_or_default();
            let (name, value) =
                flag.split_once('=').map_or((flag, None), |(name, value)| (name, Some(value.to_owned())));
            let mut number = || {
                let text = value.clone().or_else(|| args.next()).unwrap_or_default();
                text.parse::<u16>().map_err(|_| format!("{arg} takes a number, not {text:?}"))
            };
            match name {
                "port" => flags.node = number()?,
                "offset" => flags.offset = number()?,
                "api" => flags.api = !matches!(value.as_deref(), Some("0" | "false")),
                _ => return Err(format!("{arg:?} is none of -port, -api and -offset")),
            }
        }
        if !NODES.contains(&flags.node) {
            return Err(format!("-port is one of {NODES:?}; -offset moves all ports"));
        }
        if flags.offset > u16::MAX - API {
            return Err(format!("-offset is at most {}", u16::MAX - API));
        }
        Ok(flags)
    }

    /// Where this node's peers ask.
    fn port(&self) -> u16 {
        self.node + self.offset
    }
}
