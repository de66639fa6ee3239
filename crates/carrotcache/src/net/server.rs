//! The peer port: requests of every dialect at once, each answered in the words of the row it was asked in.
//!
//! Bytes are checked here for being a request at all (path, method, escapes, sizes); what the answer is, the node
//! says, through one function that is passed in. Owned by a `listen::Serving`, in whose connection tasks it runs.
//! Never asks a peer anything: what came from a peer ends at this node.

use std::borrow::Cow;
use std::sync::Arc;
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use http::{Method, Request as HttpRequest, Response, request};
use http_body_util::{BodyExt, Full};
use hyper::body::{Body, Incoming};
use prost::Message;
use tokio::sync::{Semaphore, SemaphorePermit};

use crate::clock;
use crate::dropped_ttl::DroppedTtl;
use crate::limits::Limits;
use crate::memory::Charge;
use crate::message::{Change, Found, Reply, Request};
use crate::net::cluster_name::{CLUSTER, Gate};
use crate::net::desk::{Desk, SLACK};
use crate::net::dialect::{CACHED_ONLY, Dialect, Row, STAND_IN};
use crate::net::http1::Takeover;
use crate::net::intake::{Intake, Share};
use crate::net::listen::{Listener, Serving};
use crate::net::quick::{COPIED, Plain, Quick, Replies};
use crate::net::reached::Answer;
use crate::net::reply::{self, Subject};
use crate::net::session;
use crate::net::target::{NO_ENTRY, Route, route};
use crate::net::upgrade::{self, Hello};
use crate::net::wire;
use crate::net::wire::family::{FamilySetRequest, REMOVED_KEYS_MAX, RemoveKeysRequest};
use crate::stats::{NodeStats, Refusal};
use crate::units::{GroupName, Key};

/// What a peer port goes by.
pub(crate) struct Terms {
    /// The node's own, which decides who is meant by the base path that three rows share.
    pub(crate) dialect: Dialect,
    pub(crate) limits: Limits,
    /// Where what is refused here is counted.
    pub(crate) stats: Arc<NodeStats>,
    pub(crate) dropped_ttl: Arc<DroppedTtl>,
    /// Who this node says it is where peers ask for frames.
    pub(crate) hello: Hello,
    /// Whether they may have them.
    pub(crate) frames: bool,
}

/// Answers peers on `listener`, through `answer`.
///
/// # Panics
/// Outside a tokio runtime.
pub(crate) fn serve(listener: Listener, answer: Answer, terms: Terms) -> Serving {
    let Terms { dialect, limits, stats, dropped_ttl, hello, frames } = terms;
    let held = || Intake::within(&limits, body_max(&limits));
    let (bodies, answers) = (held(), held());
    // More permits than a semaphore holds are as good as all it holds.
    let in_flight = Semaphore::new(limits.in_flight.min(Semaphore::MAX_PERMITS)).into();
    let gate = Gate::new(hello.cluster.clone(), stats.clone());
    let desk = Desk { answer, in_flight, bodies, answers, limits, stats, hello };
    let port = Arc::new(PeerPort { dialect, frames, gate, desk: Arc::new(desk), dropped_ttl });
    listener.serve_each(Some(port.clone()), move || {
        let port = port.clone();
        move |request| {
            let port = port.clone();
            async move { port.respond(request).await.map(Full::new) }
        }
    })
}

struct PeerPort {
    dialect: Dialect,
    frames: bool,
    gate: Gate,
    /// What requests over HTTP share with those in frames.
    desk: Arc<Desk>,
    dropped_ttl: Arc<DroppedTtl>,
}

/// A request's path and method, found to be in order.
struct Call<'a> {
    row: &'static Row,
    group: Cow<'a, [u8]>,
    key: Cow<'a, [u8]>,
}

/// What is asked of an entry.
#[derive(Clone, Copy)]
enum Verb {
    Get,
    Set,
    Remove,
    RemoveKeys,
}

/// What a set says.
struct Set {
    key: Key,
    value: Bytes,
    ttl: Option<Duration>,
}

/// What memory holds of one key, where the answer to it is short. A copy of that is charged to nobody: it is in the
/// buffer of the connection, whose length is bounded.
impl Quick for PeerPort {
    fn answer(&self, request: &Plain<'_>, replies: &mut Replies) -> bool {
        let take = || {
            let is_let_in = self.gate.takes(request.header(CLUSTER.as_str()).next());
            let path = request.path().as_bytes();
            let Route::Entry { row, group, key } = route(path, self.dialect) else { return None };
            let group = std::str::from_utf8(&group).ok().filter(|_| is_let_in)?;
            let found = self.desk.answer.look_for_one(group, &key, COPIED, request.arrived())?;
            Some((row, found))
        };
        let Some((row, found)) = take() else { return false };
        self.mind_ttl(row, &found);
        // Read where it counts alone: a clock costs as much as a small message.
        let unix_nanos = if row.tells_ends() { clock::unix_nanos() } else { 0 };
        reply::put(row, found, unix_nanos, replies);
        true
    }
}

impl PeerPort {
    async fn respond(&self, request: HttpRequest<Incoming>) -> Response<Bytes> {
        let (head, body) = request.into_parts();
        if let Some(ours) = self.gate.refuse(&head.headers) {
            return reply::other_cluster(ours);
        }
        let native = Dialect::Native.row();
        match route(head.uri.path().as_bytes(), self.dialect) {
            Route::Nowhere => reply::nowhere(),
            // Whoever asks so wants to hear that it is refused: it counts for no fault.
            Route::Base { row } => {
                reply::encode(row, about(b"", b""), Reply::BadRequest(Arc::from(NO_ENTRY)))
            }
            Route::Malformed { row, why } => reply::encode(row, about(b"", b""), self.desk.malformed(why)),
            // There may be groups of these names.
            Route::Id if head.method == Method::POST => self.get_many(native, b"id", body).await,
            Route::Members if head.method == Method::POST => self.get_many(native, b"members", body).await,
            Route::Group { row, group } if head.method == Method::POST => {
                self.get_many(row, &group, body).await
            }
            Route::Id if head.method == Method::DELETE => self.clear(native, b"id").await,
            Route::Members if head.method == Method::DELETE => self.clear(native, b"members").await,
            Route::Group { row, group } if head.method == Method::DELETE => self.clear(row, &group).await,
            Route::Change { group, key } => {
                if head.method != Method::POST {
                    return reply::wrong_method("POST");
                }
                let answer = self.change(&group, &key, body).await;
                reply::encode(native, about(&group, &key), answer)
            }
            Route::Group { row, .. } => reply::encode(row, about(b"", b""), self.desk.malformed(NO_ENTRY)),
            Route::Held { group, key } => self.held(Call { row: native, group, key }, &head).await,
            Route::Id => self.about_us(native, &head, Request::Id).await,
            Route::Members => self.about_us(native, &head, Request::Members).await,
            Route::Frames => self.frames(&head),
            Route::Entry { row, group, key } => {
                let Some(verb) = verb(row, &head.method, &key) else {
                    return reply::wrong_method(row.allow(&key));
                };
                let call = Call { row, group, key };
                let answer = self.entry(&call, verb, &head, body).await;
                if let Reply::Found(found) = &answer {
                    self.mind_ttl(row, found);
                }
                self.encode(row, about(&call.group, &call.key), answer)
            }
        }
    }

    /// The response with what was answered. A value in it is a copy, which is charged until the peer has taken it.
    fn encode(&self, row: &Row, about: Subject<'_>, answer: Reply) -> Response<Bytes> {
        let charge = match answer.value_bytes() as u64 {
            0 => Ok(Charge::default()),
            bytes => self.desk.limits.memory.charge_of(bytes),
        };
        match charge {
            Ok(charge) => reply::encode(row, about, answer).map(|body| charge.around(body)),
            Err(full) => reply::encode(row, about, self.desk.busy_with(full.into())),
        }
    }

    /// A value with a ttl that goes to peers which drop it is worth a warning.
    fn mind_ttl(&self, row: &Row, found: &Found) {
        if let (Some(dialect), Some(_)) = (row.customs.drops_ttl, found.ttl) {
            self.dropped_ttl.warn(dialect);
        }
    }

    async fn about_us(&self, row: &Row, head: &request::Parts, what: Request) -> Response<Bytes> {
        if head.method != Method::GET {
            return reply::wrong_method("GET, POST, DELETE");
        }
        reply::encode(row, about(b"", b""), self.ask(what).await)
    }

    /// The values of many keys. Holds one place among the requests in flight, and its body's share, until it is answered.
    async fn get_many(&self, row: &Row, group: &[u8], body: Incoming) -> Response<Bytes> {
        let answer = self.many(group, body).await;
        self.encode(row, about(group, b""), answer)
    }

    async fn many(&self, group: &[u8], body: Incoming) -> Reply {
        let Some(group) = self.group(group) else { return Reply::NoGroup };
        let (body, _held) = match self.take_in(body).await {
            Ok(taken) => taken,
            Err(refused) => return refused,
        };
        if !wire::GetManyRequest::takes(length(&body)) {
            return self
                .desk
                .too_many_keys(&format!("more than {} of keys in one request", Limits::KEYS_BODY));
        }
        let Ok(wire::GetManyRequest { keys, stand_in, cached_only }) = wire::GetManyRequest::decode(body)
        else {
            return self.desk.malformed("the body is no GetManyRequest");
        };
        if keys.len() > Limits::KEYS_MAX {
            return self.desk.too_many_keys(&format!("more than {} keys in one request", Limits::KEYS_MAX));
        }
        let keys = keys.iter().map(|key| Key::new(key)).collect();
        self.desk.answer.answer(Request::GetMany { group, keys, stand_in, cached_only }).await
    }

    /// The connection becomes one of frames, if that is what is asked.
    fn frames(&self, head: &request::Parts) -> Response<Bytes> {
        if head.method != Method::GET {
            return reply::wrong_method("GET");
        }
        let native = Dialect::Native.row();
        if !self.frames {
            return reply::encode(native, about(b"", b""), Reply::Unsupported);
        }
        if !upgrade::is_asked(&head.headers) {
            return reply::encode(
                native,
                about(b"", b""),
                self.desk.malformed("frames are had by an upgrade"),
            );
        }
        let (mut yes, desk) = (upgrade::accept(&self.desk.hello), self.desk.clone());
        yes.extensions_mut()
            .insert(Takeover::by(move |taken| Box::pin(session::attend(desk.clone(), taken))));
        yes
    }

    /// All of a group is forgotten.
    async fn clear(&self, row: &Row, group: &[u8]) -> Response<Bytes> {
        let answer = match self.group(group) {
            Some(group) => self.ask(Request::Clear { group }).await,
            None => Reply::NoGroup,
        };
        reply::encode(row, about(group, b""), answer)
    }

    /// A change of what is held of a key. It may bring a value, so it is read as a set is.
    async fn change(&self, group: &[u8], key: &[u8], body: Incoming) -> Reply {
        if let Some(refused) = self.desk.refuse_key(key) {
            return refused;
        }
        let Some(group) = self.group(group) else { return Reply::NoGroup };
        let (body, _held) = match self.take_in(body).await {
            Ok(taken) => taken,
            Err(refused) => return refused,
        };
        let Some(change) = wire::ChangeRequest::decode(body).ok().and_then(wire::ChangeRequest::into_change)
        else {
            return self.desk.malformed("the body is no ChangeRequest");
        };
        if let Change::Set { value, .. } = &change
            && length(value) > self.desk.limits.value.as_u64()
        {
            return self.desk.value_too_large(length(value));
        }
        self.desk.answer.answer(Request::Change { group, key: Key::new(key), change }).await
    }

    /// What is held of the key: a question, so GET alone.
    async fn held(&self, call: Call<'_>, head: &request::Parts) -> Response<Bytes> {
        if head.method != Method::GET {
            return reply::wrong_method("GET");
        }
        let answer = if let Some(refused) = self.desk.refuse_key(&call.key) {
            refused
        } else if let Some(group) = self.group(&call.group) {
            self.ask(Request::Held { group, key: Key::new(&call.key) }).await
        } else {
            Reply::NoGroup
        };
        reply::encode(call.row, about(&call.group, &call.key), answer)
    }

    async fn entry(&self, call: &Call<'_>, verb: Verb, head: &request::Parts, body: Incoming) -> Reply {
        // Of a set or a remove in the family's words the keys are in the body, where they are looked at.
        let in_path = call.row.dialect == Dialect::Native || matches!(verb, Verb::Get | Verb::Remove);
        if let Some(refused) = in_path.then(|| self.desk.refuse_key(&call.key)).flatten() {
            return refused;
        }
        let Some(group) = self.group(&call.group) else { return Reply::NoGroup };
        let key = Key::new(&call.key);
        match verb {
            Verb::Set => self.set(call.row, group, key, body).await,
            Verb::Remove => self.ask(Request::Remove { group, key }).await,
            Verb::RemoveKeys => self.remove_keys(group, body).await,
            Verb::Get => {
                let says = |name| head.headers.get(name).is_some_and(|value| value == "1");
                let stand_in = says(STAND_IN);
                let cached_only = call.row.dialect == Dialect::Native && says(CACHED_ONLY);
                self.ask(Request::Get { group, key, stand_in, cached_only }).await
            }
        }
    }

    /// The group, if there can be one of that name: one outside the alphabet is a group that nobody can have.
    fn group(&self, name: &[u8]) -> Option<GroupName> {
        let group = std::str::from_utf8(name).ok().and_then(|name| GroupName::new(name).ok());
        if group.is_none() {
            self.desk.stats.refusals.add(Refusal::NoGroup);
        }
        group
    }

    async fn set(&self, row: &Row, group: GroupName, key: Key, body: Incoming) -> Reply {
        let (body, _held) = match self.take_in(body).await {
            Ok(taken) => taken,
            Err(refused) => return refused,
        };
        let set = if row.dialect == Dialect::Native { native_set(key, body) } else { family_set(body) };
        let Some(Set { key, value, ttl }) = set else {
            return self.desk.malformed("the body is no SetRequest");
        };
        if let Some(refused) = self.desk.refuse_key(key.as_bytes()) {
            return refused;
        }
        if length(&value) > self.desk.limits.value.as_u64() {
            return self.desk.value_too_large(length(&value));
        }
        self.desk.answer.answer(Request::Set { group, key, value, ttl }).await
    }

    /// Removes one key after the other: there is one way to remove a key. In one place among the requests in flight.
    async fn remove_keys(&self, group: GroupName, body: Incoming) -> Reply {
        let (body, _held) = match self.take_in(body).await {
            Ok(taken) => taken,
            Err(refused) => return refused,
        };
        let keys = match RemoveKeysRequest::read(&body) {
            Ok(RemoveKeysRequest::Keys(keys)) => keys,
            Ok(RemoveKeysRequest::TooMany) => {
                return self.desk.too_many_keys(&format!("more than {REMOVED_KEYS_MAX} keys in one request"));
            }
            Err(error) => return self.desk.malformed(&format!("the body is no list of keys: {error}")),
        };
        // A key that no node takes is not held by this one: there is nothing to forget.
        let limit = self.desk.limits.key.as_u64();
        for key in keys.into_iter().filter(|key| (1..=limit).contains(&length(key.as_bytes()))) {
            match self.desk.answer.answer(Request::Remove { group: group.clone(), key }).await {
                Reply::Done | Reply::NotOwner => {}
                refused => return refused,
            }
            // A remove waits for nothing, and thousands in a row would hold up whoever shares this thread.
            tokio::task::consume_budget().await;
        }
        Reply::Done
    }

    /// The whole body, and what is held for it until its request is answered: a place among those in flight, from before
    /// it is read, and its share of what bodies may hold.
    async fn take_in(&self, body: Incoming) -> Result<(Bytes, (SemaphorePermit<'_>, Share)), Reply> {
        let Ok(place) = self.desk.in_flight.try_acquire() else {
            return Err(self.desk.busy(self.desk.limits.in_flight));
        };
        let mut share = self.desk.bodies.share();
        let body = self.whole(body, &mut share).await?;
        Ok((body, (place, share)))
    }

    /// The whole body in time, or why it is not taken.
    async fn whole(&self, body: Incoming, held: &mut Share) -> Result<Bytes, Reply> {
        let read = clock::timeout(self.desk.limits.idle_timeout, self.read(body, held)).await;
        read.unwrap_or_else(|clock::Elapsed| Err(self.desk.malformed("the body did not come in time")))
    }

    /// The whole body, frame by frame, as much of it counted in `held` as is held.
    ///
    /// One that there is no room for, or that is over the limit by no more than the limit, is read to its end and
    /// dropped: closing on a peer that is still sending would take our refusal away from it with the connection.
    async fn read(&self, mut body: Incoming, held: &mut Share) -> Result<Bytes, Reply> {
        let limit = body_max(&self.desk.limits);
        let patience = limit.saturating_mul(2);
        let (mut taken, mut room) = (BytesMut::new(), Ok(()));
        let mut total = body.size_hint().lower();
        if total > patience {
            return Err(self.desk.value_too_large(total));
        }
        total = 0;
        while let Some(frame) = self.next_frame(&mut body).await? {
            total = total.saturating_add(length(&frame));
            if total > patience {
                break;
            }
            room = room.and_then(|()| held.grow(length(&frame)));
            if total <= limit && room.is_ok() {
                taken.extend_from_slice(&frame);
            } else {
                taken = BytesMut::new();
                held.release();
            }
        }
        if total > limit {
            return Err(self.desk.value_too_large(total));
        }
        room.map(|()| taken.freeze()).map_err(|full| self.desk.busy_with(full))
    }

    async fn next_frame(&self, body: &mut Incoming) -> Result<Option<Bytes>, Reply> {
        match clock::timeout(self.desk.limits.header_timeout, body.frame()).await {
            Ok(None) => Ok(None),
            Ok(Some(Ok(frame))) => Ok(Some(frame.into_data().unwrap_or_default())),
            Ok(Some(Err(_))) => Err(self.desk.malformed("the body broke off")),
            Err(clock::Elapsed) => Err(self.desk.malformed("the body did not come in time")),
        }
    }

    async fn ask(&self, what: Request) -> Reply {
        match self.desk.in_flight.try_acquire() {
            Ok(_place) => self.desk.answer.answer(what).await,
            Err(_) => self.desk.busy(self.desk.limits.in_flight),
        }
    }
}

/// What a request is about, at this moment.
fn about<'a>(group: &'a [u8], key: &'a [u8]) -> Subject<'a> {
    Subject { group, key, unix_nanos: clock::unix_nanos() }
}

/// What is asked of an entry; `None`: the row has no such thing.
fn verb(row: &Row, method: &Method, key: &[u8]) -> Option<Verb> {
    match *method {
        Method::POST if row.removes_many(key) => Some(Verb::RemoveKeys),
        _ if !row.verbs.contains(method) => None,
        Method::PUT => Some(Verb::Set),
        Method::DELETE => Some(Verb::Remove),
        _ => Some(Verb::Get),
    }
}

fn native_set(key: Key, body: Bytes) -> Option<Set> {
    let set = wire::SetRequest::decode(body).ok()?;
    let ttl = set.ttl();
    Some(Set { key, value: set.value, ttl })
}

/// Its key is that of the body, as in Go.
fn family_set(body: Bytes) -> Option<Set> {
    let set = FamilySetRequest::decode(body).ok()?;
    let ttl = set.ttl(clock::unix_nanos());
    let key = Key::new(&set.key.unwrap_or_default());
    Some(Set { key, value: set.value.unwrap_or_default(), ttl })
}

/// The largest body that is taken.
fn body_max(limits: &Limits) -> u64 {
    limits.value.as_u64().saturating_add(SLACK)
}

fn length(bytes: &[u8]) -> u64 {
    u64::try_from(bytes.len()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests;
