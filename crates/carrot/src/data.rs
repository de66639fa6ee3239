//! The data front: values over HTTP, for clients in any language.
//!
//! `GET`, `HEAD`, `PUT` and `DELETE` on `/v1/{group}/{key…}`, `POST` of many keys and `DELETE` of all on `/v1/{group}`, the
//! first carrotCache's `/api?key=`, and for whoever wonders about a key `/owner/{group}/{key…}`. Turns requests into calls
//! on a group and answers into responses, and decides nothing else but whether the caller knows the password. The path is read as bytes and unescaped once, so
//! that every key has one spelling and no router tidies it up. Runs inside the task of a connection, on whichever core
//! that was handed to: an answer from memory takes no task of its own.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::{Bytes, BytesMut};
use carrotcache::net::intake::{Intake, Share};
use carrotcache::net::listen::{Listener, Serving};
use carrotcache::net::quick::{Plain, Quick, Replies};
use carrotcache::{
    Answer, Ask, ByteSize, Cluster, Group, Histogram, HistogramSnapshot, Loaded, Room, Source, Value,
};
use http::header::{AGE, ALLOW, AUTHORIZATION, CONTENT_TYPE, HeaderName, HeaderValue, RETRY_AFTER};
use http::{Method, Request, Response, StatusCode};
use http_body_util::{BodyExt, Full};
use hyper::body::{Body, Incoming};

use crate::auth::{Gate, Tries};
use crate::many;
use crate::refusal::Refusal;
use crate::some::SomeTime;
use crate::target::{Bad, Target};
use crate::whereabouts;

const JSON: &str = "application/json";
const BYTES: &str = "application/octet-stream";

/// For a client to send the body of a PUT.
const BODY_TIMEOUT: Duration = Duration::from_secs(30);

/// The largest values whose bodies may be held at once: 256 MiB where a value may have 8, of thousands of connections.
const VALUES_AT_ONCE: u64 = 32;

/// The longest lists of keys that may be held at once: 16 MiB.
const LISTS_AT_ONCE: u64 = 4;

/// What every answer carries: from where the value came, and whether it had to be loaded.
const X_CACHE: HeaderName = HeaderName::from_static("x-cache");

/// The groups of one node, as clients see them.
pub struct DataFront {
    /// Where refusals are counted.
    cluster: Cluster,
    groups: HashMap<String, Served>,
    gate: Gate,
    /// The largest value a PUT may bring.
    value_max: ByteSize,
    /// Of all values that are being read or handed on.
    intake: Intake,
    /// Of all lists of keys that are being read or answered.
    lists: Intake,
}

/// A group, and how long its hits took here.
struct Served {
    group: Group,
    /// From the arrival of a request to its answer, of gets answered from this node's memory.
    hit_seconds: Histogram,
}

/// How a response is written.
#[derive(Clone, Copy)]
enum Voice {
    /// Errors as JSON.
    V1,
    /// Errors as a line of text, as the first carrotCache answered.
    Api,
}

/// Gets of what memory holds are answered where they are read; see [`DataFront::respond`] for all else.
impl Quick for DataFront {
    fn answer(&self, request: &Plain<'_>, replies: &mut Replies) -> bool {
        let take = || {
            if !self.gate.knows(request.header(AUTHORIZATION.as_str())) {
                return None;
            }
            let target = Target::parse(request.path().as_bytes(), request.query()).ok()?;
            let (Target::Entry { group, key, ttl: None, .. } | Target::Api { group, key }) = target else {
                return None;
            };
            let served = self.groups.get(&*group)?;
            Some((served, served.group.answer_at_once(&key)?))
        };
        let Some((served, answer)) = take() else { return false };
        put_found(answer, replies);
        served.hit_seconds.observe(request.arrived().elapsed());
        true
    }
}

impl DataFront {
    /// A front for these groups of the node, past that gate.
    pub fn new(
        cluster: Cluster,
        groups: impl IntoIterator<Item = Group>,
        value_max: ByteSize,
        gate: Gate,
    ) -> Arc<Self> {
        let served =
            |group: Group| (group.name().to_string(), Served { group, hit_seconds: Histogram::default() });
        let taking = |most: u64, largest: u64| {
            Intake::new(most.saturating_mul(largest)).charged_to(cluster.memory().clone(), largest)
        };
        let intake = taking(VALUES_AT_ONCE, value_max.as_u64());
        let lists = taking(LISTS_AT_ONCE, many::BODY_MAX);
        Arc::new(Self {
            cluster,
            groups: groups.into_iter().map(served).collect(),
            gate,
            value_max,
            intake,
            lists,
        })
    }

    /// Answers clients on this port.
    ///
    /// # Panics
    /// Outside a tokio runtime.
    pub fn serve(self: Arc<Self>, listener: Listener) -> Serving {
        listener.serve_each(Some(self.clone()), move || {
            let (front, tries) = (self.clone(), Arc::<Tries>::default());
            move |request| {
                let (front, tries) = (front.clone(), tries.clone());
                async move { front.respond(request, &tries).await }
            }
        })
    }

    /// How long hits took so far, by group.
    pub fn hit_seconds(&self) -> HashMap<String, HistogramSnapshot> {
        self.groups.iter().map(|(name, served)| (name.clone(), served.hit_seconds.snapshot())).collect()
    }

    /// The response to one request; `tries` are those of its connection. Never fails, never panics on what a client
    /// sends.
    pub async fn respond(&self, request: Request<Incoming>, tries: &Tries) -> Response<Full<Bytes>> {
        let arrived = Instant::now();
        let (head, body) = request.into_parts();
        let target = Target::parse(head.uri.path().as_bytes(), head.uri.query());
        let voice = match target {
            Ok(Target::Api { .. }) | Err(Bad { api: true, .. }) => Voice::Api,
            _ => Voice::V1,
        };
        if let Err(denied) = self.gate.admit(&head.headers, tries) {
            let mut response = self.refuse(voice, &Refusal::unauthorized());
            denied.mark(response.headers_mut());
            return response;
        }
        let answered = match target {
            Ok(Target::Entry { group, is_whole: true, ttl: None, .. }) if head.method == Method::DELETE => {
                self.clear(&group).await
            }
            Ok(Target::Entry { group, key, ttl, .. }) => {
                let asked = Asked { group: &group, key: &key, arrived };
                self.entry(&head.method, asked, ttl.as_deref(), body).await
            }
            Ok(Target::Api { group, key }) => {
                self.api(&head.method, Asked { group: &group, key: &key, arrived }).await
            }
            Ok(Target::Owner { group, key }) => self.owner(&head.method, &group, &key).await,
            Ok(Target::Nowhere) => Err(Refusal::no_such_path()),
            Err(Bad { why, .. }) => Err(Refusal::bad_request(why)),
        };
        answered.unwrap_or_else(|refusal| self.refuse(voice, &refusal))
    }

    fn refuse(&self, voice: Voice, refusal: &Refusal) -> Response<Full<Bytes>> {
        if let Some(cause) = refusal.counted {
            self.cluster.count_refusal(cause);
        }
        voice.refuse(refusal)
    }

    async fn entry(
        &self,
        method: &Method,
        asked: Asked<'_>,
        ttl: Option<&str>,
        body: Incoming,
    ) -> Result<Response<Full<Bytes>>, Refusal> {
        let (group, key) = (&self.served(asked.group)?.group, asked.key);
        match *method {
            Method::GET | Method::HEAD | Method::DELETE | Method::POST if ttl.is_some() => {
                Err(Refusal::bad_request("ttl goes with PUT alone"))
            }
            Method::GET | Method::HEAD => self.get(asked).await,
            Method::PUT => {
                let ttl = ttl.map(some_time).transpose()?;
                let mut held = self.intake.share();
                let mut loaded = Loaded::new(self.value(body, &mut held).await?);
                loaded.ttl = ttl;
                group.set(key, loaded).await.map_err(|error| Refusal::of_write(&error))?;
                Ok(empty(StatusCode::NO_CONTENT))
            }
            Method::DELETE => {
                group.remove(key).await.map_err(|error| Refusal::of_write(&error))?;
                Ok(empty(StatusCode::NO_CONTENT))
            }
            // The keys are in the body.
            Method::POST if key.is_empty() => self.many(group, body).await,
            _ if key.is_empty() => Err(Refusal::method("POST, DELETE")),
            _ => Err(Refusal::method("GET, HEAD, PUT, DELETE")),
        }
    }

    /// All of a group is forgotten, on every member.
    async fn clear(&self, group: &str) -> Result<Response<Full<Bytes>>, Refusal> {
        let cleared = self.served(group)?.group.clear().await;
        cleared.map_err(|error| Refusal::of_write(&error))?;
        Ok(empty(StatusCode::NO_CONTENT))
    }

    async fn many(&self, group: &Group, body: Incoming) -> Result<Response<Full<Bytes>>, Refusal> {
        let mut held = self.lists.share();
        let keys = many::keys(&self.whole(body, "list of keys", many::BODY_MAX, &mut held).await?)?;
        // Together no larger than one may be.
        let room = Room::new(self.value_max);
        let answers = group.answer_many_in(&keys, Ask::default(), &room).await;
        let told = |answer: &Answer| {
            let (cache, source) = words(answer);
            [cache, "; source=", source, "; node=", &answer.node].concat()
        };
        let body = many::json(answers, told, self.cluster.memory())?;
        let mut response = Response::new(Full::new(body));
        response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static(JSON));
        Ok(response)
    }

    async fn api(&self, method: &Method, asked: Asked<'_>) -> Result<Response<Full<Bytes>>, Refusal> {
        only_read(method)?;
        self.get(asked).await
    }

    async fn owner(
        &self,
        method: &Method,
        group: &str,
        key: &[u8],
    ) -> Result<Response<Full<Bytes>>, Refusal> {
        only_read(method)?;
        let group = &self.served(group)?.group;
        let seen = group.whereabouts(key).await.map_err(Refusal::key)?;
        let mut response =
            Response::new(Full::new(whereabouts::json(&self.cluster, group, key, &seen).into()));
        response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static(JSON));
        Ok(response)
    }

    async fn get(&self, asked: Asked<'_>) -> Result<Response<Full<Bytes>>, Refusal> {
        let served = self.served(asked.group)?;
        let answered = served.group.answer(asked.key, Ask::default()).await;
        let answer = answered.map_err(|error| Refusal::of_get(&error))?;
        let is_hit = matches!(answer.source, Source::Memory | Source::Mirror);
        let response = found(answer);
        if is_hit {
            served.hit_seconds.observe(asked.arrived.elapsed());
        }
        Ok(response)
    }

    fn served(&self, name: &str) -> Result<&Served, Refusal> {
        self.groups.get(name).ok_or_else(|| Refusal::no_such_group(name))
    }

    /// The body of a PUT: at most as long as a value may be.
    async fn value(&self, body: Incoming, held: &mut Share) -> Result<Bytes, Refusal> {
        self.whole(body, "value", self.value_max.as_u64(), held).await
    }

    /// The whole body: at most as long as the limit, whatever the client claims, and counted in `held`.
    async fn whole(
        &self,
        mut body: Incoming,
        what: &str,
        limit: u64,
        held: &mut Share,
    ) -> Result<Bytes, Refusal> {
        let claimed = body.size_hint().lower();
        if claimed > limit {
            return Err(Refusal::large_value(format!(
                "{what} of {claimed} bytes is over the limit of {limit}"
            )));
        }
        let mut value = BytesMut::new();
        let reading = async {
            while let Some(frame) = body.frame().await {
                let frame =
                    frame.map_err(|error| Refusal::bad_request(format!("the body broke off: {error}")))?;
                let Ok(data) = frame.into_data() else { continue };
                if (value.len() + data.len()) as u64 > limit {
                    return Err(Refusal::large_value(format!("{what} is over the limit of {limit} bytes")));
                }
                held.grow(data.len() as u64).map_err(Refusal::full)?;
                value.extend_from_slice(&data);
            }
            Ok(())
        };
        let read = tokio::time::timeout(BODY_TIMEOUT, reading).await;
        read.unwrap_or_else(|_| Err(Refusal::bad_request(format!("no whole body within {BODY_TIMEOUT:?}"))))?;
        Ok(value.freeze())
    }
}

/// A key of a group, and since when a client waits for it.
#[derive(Clone, Copy)]
struct Asked<'a> {
    group: &'a str,
    key: &'a [u8],
    arrived: Instant,
}

fn only_read(method: &Method) -> Result<(), Refusal> {
    match *method {
        Method::GET | Method::HEAD => Ok(()),
        _ => Err(Refusal::method("GET, HEAD")),
    }
}

fn some_time(ttl: &str) -> Result<Duration, Refusal> {
    let SomeTime(ttl) = ttl.parse().map_err(|bad| Refusal::bad_request(format!("ttl: {bad}")))?;
    Ok(ttl)
}

/// Whether an answer had to be loaded, and where it came from.
fn words(answer: &Answer<Value>) -> (&'static str, &'static str) {
    let (cache, source) = match answer.source {
        Source::Memory => ("hit", "memory"),
        Source::Mirror => ("hit", "mirror"),
        Source::Owner => ("hit", "owner"),
        Source::Origin => ("miss", "origin"),
    };
    (if answer.stale { "stale" } else { cache }, source)
}

/// What `X-Cache` says, in pieces. A node's name is its operator's or a peer's word: one that no header can carry is left
/// out.
fn told(answer: &Answer<Value>) -> [&str; 5] {
    let (cache, source) = words(answer);
    let is_fit = answer.node.bytes().all(|byte| byte == b'\t' || (byte >= b' ' && byte != 0x7f));
    let [named, node] = if is_fit { ["; node=", &answer.node] } else { [""; 2] };
    [cache, "; source=", source, named, node]
}

/// The body is the value itself, for as long as the client takes to read it: no copy.
fn found(answer: Answer<Value>) -> Response<Full<Bytes>> {
    let told = HeaderValue::try_from(told(&answer).concat());
    let mut response = Response::new(Full::new(answer.value.into()));
    let headers = response.headers_mut();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static(BYTES));
    headers.insert(AGE, answer.age.as_secs().into());
    if let Ok(told) = told {
        headers.insert(X_CACHE, told);
    }
    response
}

/// The same response, written at once.
fn put_found(answer: Answer<Value>, replies: &mut Replies) {
    let age = answer.age.as_secs();
    let head = replies.found(BYTES).number(AGE.as_str(), age).header(X_CACHE.as_str(), &told(&answer));
    head.value(answer.value);
}

fn empty(status: StatusCode) -> Response<Full<Bytes>> {
    let mut response = Response::new(Full::default());
    *response.status_mut() = status;
    response
}

impl Voice {
    fn refuse(self, refusal: &Refusal) -> Response<Full<Bytes>> {
        let (kind, body) = match self {
            Self::V1 => (JSON, refusal.json()),
            Self::Api => ("text/plain; charset=utf-8", format!("{}\n", refusal.message)),
        };
        let mut response = Response::new(Full::new(body.into()));
        *response.status_mut() = refusal.status;
        let headers = response.headers_mut();
        headers.insert(CONTENT_TYPE, HeaderValue::from_static(kind));
        headers.insert(http::header::X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
        if let Some(allow) = refusal.allow {
            headers.insert(ALLOW, HeaderValue::from_static(allow));
        }
        if refusal.status == StatusCode::SERVICE_UNAVAILABLE {
            headers.insert(RETRY_AFTER, HeaderValue::from_static("1"));
        }
        response
    }
}

#[cfg(test)]
mod tests;
