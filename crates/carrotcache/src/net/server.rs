//! The peer port: requests of every dialect at once, each answered in the words of the row it was asked in.
//!
//! Bytes are checked here for being a request at all (path, method, escapes, sizes); what the answer is, the node
//! says, through one function that is passed in. Owned by a `listen::Serving`, in whose connection tasks it runs.
//! Never asks a peer anything: what came from a peer ends at this node.

use std::sync::Arc;

use bytes::{Bytes, BytesMut};
use http::{Method, Request as HttpRequest, Response, request};
use http_body_util::{BodyExt, Full};
use hyper::body::{Body, Incoming};
use prost::Message;
use tokio::sync::Semaphore;

use crate::clock;
use crate::limits::Limits;
use crate::message::{Reply, Request};
use crate::net::dialect::{CACHED_ONLY, Dialect, Route, Row, STAND_IN, route};
use crate::net::listen::{Listener, Serving};
use crate::net::reply::{self, Subject};
use crate::net::wire;
use crate::peers::BoxFuture;
use crate::stats::{NodeStats, Refusal};
use crate::units::{GroupName, Key};

/// How the node is reached. Called once for each request that makes sense; dropped when the asking peer goes away.
pub(crate) type Answer = Arc<dyn Fn(Request) -> BoxFuture<'static, Reply> + Send + Sync>;

/// What a body may hold beside its value, in bytes.
const SLACK: u64 = 64 << 10;

/// Answers peers on `listener`, through `answer`, within `limits`. What is refused here is counted in `stats`.
///
/// # Panics
/// Outside a tokio runtime.
pub(crate) fn serve(listener: Listener, answer: Answer, limits: &Limits, stats: Arc<NodeStats>) -> Serving {
    let port = Arc::new(PeerPort {
        answer,
        // More permits than a semaphore holds are as good as all it holds.
        in_flight: Semaphore::new(limits.in_flight.min(Semaphore::MAX_PERMITS)),
        limits: limits.clone(),
        stats,
    });
    listener.serve(move |request| {
        let port = port.clone();
        async move { port.respond(request).await.map(Full::new) }
    })
}

struct PeerPort {
    answer: Answer,
    in_flight: Semaphore,
    limits: Limits,
    stats: Arc<NodeStats>,
}

/// A request's path and method, found to be in order.
struct Call {
    row: &'static Row,
    group: Vec<u8>,
    key: Vec<u8>,
}

impl PeerPort {
    async fn respond(&self, request: HttpRequest<Incoming>) -> Response<Bytes> {
        let (head, body) = request.into_parts();
        let native = Dialect::Native.row();
        match route(head.uri.path().as_bytes()) {
            Route::Nowhere => reply::nowhere(),
            Route::Malformed { row, why } => {
                reply::encode(row, Subject { group: b"", key: b"" }, self.malformed(why))
            }
            Route::Held { group, key } => self.held(native, &head, group, key).await,
            Route::Id => self.about_us(native, &head, Request::Id).await,
            Route::Members => self.about_us(native, &head, Request::Members).await,
            Route::Entry { row, .. } if !row.verbs.contains(&head.method) => reply::wrong_method(row.allow),
            Route::Entry { row, group, key } => {
                let call = Call { row, group, key };
                let answer = self.entry(&call, &head, body).await;
                reply::encode(row, Subject { group: &call.group, key: &call.key }, answer)
            }
        }
    }

    async fn about_us(&self, row: &Row, head: &request::Parts, what: Request) -> Response<Bytes> {
        if head.method != Method::GET {
            return reply::wrong_method("GET");
        }
        reply::encode(row, Subject { group: b"", key: b"" }, self.ask(what).await)
    }

    /// What is held of the key: a question, so GET alone.
    async fn held(
        &self,
        row: &'static Row,
        head: &request::Parts,
        group: Vec<u8>,
        key: Vec<u8>,
    ) -> Response<Bytes> {
        if head.method != Method::GET {
            return reply::wrong_method("GET");
        }
        let call = Call { row, group, key };
        let answer = match self.meant(&call) {
            Ok((group, key)) => self.ask(Request::Held { group, key }).await,
            Err(refused) => refused,
        };
        reply::encode(row, Subject { group: &call.group, key: &call.key }, answer)
    }

    async fn entry(&self, call: &Call, head: &request::Parts, body: Incoming) -> Reply {
        let (group, key) = match self.meant(call) {
            Ok(meant) => meant,
            Err(refused) => return refused,
        };
        match head.method {
            Method::PUT => self.set(group, key, body).await,
            Method::DELETE => self.ask(Request::Remove { group, key }).await,
            _ => {
                let is_native = call.row.dialect == Dialect::Native;
                let says = |name| is_native && head.headers.get(name).is_some_and(|value| value == "1");
                let (stand_in, cached_only) = (says(STAND_IN), says(CACHED_ONLY));
                self.ask(Request::Get { group, key, stand_in, cached_only }).await
            }
        }
    }

    /// The group and the key, if there can be such.
    fn meant(&self, call: &Call) -> Result<(GroupName, Key), Reply> {
        if let Some(refused) = self.refuse_key(&call.key) {
            return Err(refused);
        }
        // A name outside the alphabet is a group that nobody can have.
        let name = std::str::from_utf8(&call.group).ok().and_then(|name| GroupName::new(name).ok());
        match name {
            Some(group) => Ok((group, Key::new(&call.key))),
            None => {
                self.stats.refusals.add(Refusal::NoGroup);
                Err(Reply::NoGroup)
            }
        }
    }

    /// Golang's groups may have an empty key; ours have none in any row.
    fn refuse_key(&self, key: &[u8]) -> Option<Reply> {
        let limit = self.limits.key.as_u64();
        if key.is_empty() {
            self.stats.refusals.add(Refusal::Key);
            Some(Reply::BadRequest(Arc::from("key is required")))
        } else if length(key) > limit {
            self.stats.refusals.add(Refusal::Key);
            let why = format!("key of {} bytes is over the limit of {limit}", key.len());
            Some(Reply::TooLarge(Arc::from(why)))
        } else {
            None
        }
    }

    /// A set holds its place among the requests in flight from before its body is read: bodies are memory.
    async fn set(&self, group: GroupName, key: Key, body: Incoming) -> Reply {
        let Ok(_place) = self.in_flight.try_acquire() else { return self.busy() };
        let body = match clock::timeout(self.limits.idle_timeout, self.read(body)).await {
            Ok(Ok(body)) => body,
            Ok(Err(refused)) => return refused,
            Err(clock::Elapsed) => return self.malformed("the body did not come in time"),
        };
        let Ok(set) = wire::SetRequest::decode(body) else {
            return self.malformed("the body is no SetRequest");
        };
        if length(&set.value) > self.limits.value.as_u64() {
            return self.value_too_large(length(&set.value));
        }
        let ttl = set.ttl();
        (self.answer)(Request::Set { group, key, value: set.value, ttl }).await
    }

    /// The whole body, or why it is not taken.
    ///
    /// One that is over the limit by no more than the limit is read to its end and dropped: closing on a peer that is
    /// still sending would take our refusal away from it with the connection.
    async fn read(&self, mut body: Incoming) -> Result<Bytes, Reply> {
        let limit = self.limits.value.as_u64().saturating_add(SLACK);
        let patience = limit.saturating_mul(2);
        let mut taken = BytesMut::new();
        let mut total = body.size_hint().lower();
        if total > patience {
            return Err(self.value_too_large(total));
        }
        total = 0;
        while let Some(frame) = self.next_frame(&mut body).await? {
            total = total.saturating_add(length(&frame));
            if total > patience {
                break;
            }
            if total <= limit {
                taken.extend_from_slice(&frame);
            } else {
                taken = BytesMut::new();
            }
        }
        if total > limit { Err(self.value_too_large(total)) } else { Ok(taken.freeze()) }
    }

    async fn next_frame(&self, body: &mut Incoming) -> Result<Option<Bytes>, Reply> {
        match clock::timeout(self.limits.header_timeout, body.frame()).await {
            Ok(None) => Ok(None),
            Ok(Some(Ok(frame))) => Ok(Some(frame.into_data().unwrap_or_default())),
            Ok(Some(Err(_))) => Err(self.malformed("the body broke off")),
            Err(clock::Elapsed) => Err(self.malformed("the body did not come in time")),
        }
    }

    async fn ask(&self, what: Request) -> Reply {
        match self.in_flight.try_acquire() {
            Ok(_place) => (self.answer)(what).await,
            Err(_) => self.busy(),
        }
    }

    fn busy(&self) -> Reply {
        self.stats.refusals.add(Refusal::InFlight);
        Reply::Busy(Arc::from(format!("{} requests from peers in flight", self.limits.in_flight)))
    }

    fn malformed(&self, why: &str) -> Reply {
        self.stats.refusals.add(Refusal::Malformed);
        Reply::BadRequest(Arc::from(why))
    }

    fn value_too_large(&self, length: u64) -> Reply {
        self.stats.refusals.add(Refusal::Value);
        let limit = self.limits.value.as_u64();
        Reply::TooLarge(Arc::from(format!("value of {length} bytes is over the limit of {limit}")))
    }
}

fn length(bytes: &[u8]) -> u64 {
    u64::try_from(bytes.len()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests;
