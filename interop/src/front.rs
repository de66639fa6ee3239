//! The data ports of the three members, asked as any client would ask them: `GET /v1/{group}/{key}`.
//!
//! All three answer that path alike, Go's own program too. Every byte of a key that is no letter and no digit is
//! escaped, and the client, which is not the one under test, mends nothing.

use std::net::SocketAddr;
use std::time::Duration;

use anyhow::{Context, bail, ensure};
use bytes::Bytes;
use http::{Method, Request};
use http_body_util::{BodyExt, Empty};
use hyper_util::client::legacy::Client;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::TokioExecutor;
use percent_encoding::{NON_ALPHANUMERIC, percent_encode};

use crate::keys;

/// The one group of all members.
pub(crate) const GROUP: &str = "keys";

/// Far longer than an answer takes, on a machine however busy.
const LONG: Duration = Duration::from_secs(60);

/// Who can be asked. Cheap to clone, and good for as long as the members keep their ports.
#[derive(Clone)]
pub(crate) struct Fronts {
    client: Client<HttpConnector, Empty<Bytes>>,
    /// Name and data port of each member.
    members: Vec<(String, SocketAddr)>,
}

/// What a member answered.
#[derive(Debug)]
pub(crate) struct Reply {
    pub(crate) status: u16,
    /// `X-Cache`, which only our nodes send.
    pub(crate) cache: String,
    pub(crate) body: Bytes,
}

impl Fronts {
    pub(crate) fn new(members: Vec<(String, SocketAddr)>) -> Self {
        Self { client: Client::builder(TokioExecutor::new()).build_http(), members }
    }

    /// How many members can be asked.
    pub(crate) fn len(&self) -> usize {
        self.members.len()
    }

    /// What this member says of `key`, whatever it is.
    ///
    /// # Errors
    /// When there is no whole answer within a minute.
    pub(crate) async fn ask(&self, asker: usize, method: Method, key: &[u8]) -> anyhow::Result<Reply> {
        let (name, address) = &self.members[asker];
        let uri = format!("http://{address}/v1/{GROUP}/{}", percent_encode(key, NON_ALPHANUMERIC));
        let request = Request::builder().method(method).uri(uri).body(Empty::new())?;
        let exchange = async {
            let response = self.client.request(request).await?;
            let cache = response.headers().get("x-cache").and_then(|value| value.to_str().ok());
            let (status, cache) = (response.status().as_u16(), cache.unwrap_or_default().to_owned());
            let body = response.into_body().collect().await?.to_bytes();
            anyhow::Ok(Reply { status, cache, body })
        };
        let answered = tokio::time::timeout(LONG, exchange).await.context("no answer within a minute");
        answered.and_then(|reply| reply).with_context(|| format!("asking {name} for {}", shown(key)))
    }

    /// The value of `key`, which this member has to give, byte for byte. Gives what it says of its source.
    ///
    /// # Errors
    /// When it gives anything else.
    pub(crate) async fn right(&self, asker: usize, key: &[u8]) -> anyhow::Result<String> {
        let reply = self.ask(asker, Method::GET, key).await?;
        let right = keys::value(key);
        let name = &self.members[asker].0;
        ensure!(reply.status == 200, "{name} has no value for {}: {}", shown(key), reply.shown());
        if reply.body != right {
            let (got, due) = (reply.shown(), right.len());
            bail!("{name} gives a wrong value for {}, {got} in place of {due} bytes", shown(key));
        }
        Ok(reply.cache)
    }
}

impl Reply {
    fn shown(&self) -> String {
        let start: Vec<u8> = self.body.iter().copied().take(120).collect();
        format!("{} with {} bytes: {}", self.status, self.body.len(), start.escape_ascii())
    }
}

/// A key as a person reads it.
pub(crate) fn shown(key: &[u8]) -> String {
    if key.len() > 60 {
        return format!("\"{}...\" ({} bytes)", key[..20].escape_ascii(), key.len());
    }
    format!("\"{}\"", key.escape_ascii())
}
