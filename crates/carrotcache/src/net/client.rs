//! Peers asked over HTTP/1.1: one request at a time on each of a few kept connections.
//!
//! A pool of our own rather than hyper-util's: that one dials while a connection is about to come back, knows no cap,
//! and cannot say whether a reply had begun when a connection broke. Here the cap holds for callers too: past
//! `Limits::waiting_per_peer` of them the peer counts as busy. Connections are handed out latest first, so that what a
//! burst has opened may go idle and close. Only a connection that was used before, and broke without a byte of reply,
//! is made good by a second try: the peer has closed it meanwhile, and has most likely not seen the request. Twice
//! done, what we send does no harm; of a change under a condition the second answer counts.
//! Shared by all groups of a node; each connection has a task of its own. Never decides what a failure means.

use std::collections::HashMap;
use std::fmt;
use std::pin::pin;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use bytes::{Bytes, BytesMut};
use http::header::{CONTENT_LENGTH, CONTENT_TYPE, HOST, HeaderValue, TRANSFER_ENCODING};
use http::{Method, Request as HttpRequest, Response, StatusCode, response};
use http_body_util::{BodyExt, Full};
use hyper::body::{Body, Incoming};
use hyper::client::conn::http1::{self, Connection, SendRequest};
use hyper_util::rt::TokioIo;
use prost::Message;
use tokio::net::TcpStream;
use tokio::sync::{Semaphore, SemaphorePermit};

use crate::clock;
use crate::error::PeerError;
use crate::limits::Limits;
use crate::memory::Charge;
use crate::message::{Change, Reply, Request};
use crate::net::cluster_name::{self, CLUSTER};
use crate::net::dialect::{CACHED_ONLY, Dialect, Row, STAND_IN};
use crate::net::reply::{self, Asked, TEXT_LIMIT, Verb};
use crate::net::tap::{Hear, Tap};
use crate::net::target::{change_target, group_target, held_target, target};
use crate::net::wire;
use crate::net::wire::family::FamilySetRequest;
use crate::net::wire::many::PER_ANSWER;
use crate::peers::{BoxFuture, Customs, Transport};
use crate::units::{GroupName, Key};
use crate::view::Member;

/// What a reply may hold beside its value, in bytes; that to many keys holds more, see `PER_ANSWER`.
const SLACK: usize = 64 << 10;

/// The longest header of a reply.
const HEAD: usize = 128 << 10;

/// Asks peers over HTTP/1.1, in one dialect.
pub(crate) struct HttpTransport {
    row: &'static Row,
    limits: Arc<Limits>,
    /// What this node's cluster is called.
    cluster: Option<HeaderValue>,
    // std Mutex: held to look up one pool, once for each request.
    pools: Mutex<HashMap<Arc<str>, Arc<Pool>>>,
}

impl fmt::Debug for HttpTransport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("HttpTransport").field("dialect", &self.row.dialect).finish_non_exhaustive()
    }
}

impl HttpTransport {
    /// A transport without connections; they are made when they are needed.
    pub(crate) fn new(dialect: Dialect, limits: Limits) -> Self {
        Self {
            row: dialect.row(),
            limits: Arc::new(limits),
            cluster: None,
            pools: Mutex::new(HashMap::new()),
        }
    }

    /// One that says of which cluster this node is. Peers of the family know of none, and are not told.
    pub(crate) fn of_cluster(mut self, name: Option<&str>) -> Self {
        self.cluster = name.filter(|_| self.row.dialect == Dialect::Native).and_then(cluster_name::header);
        self
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, HashMap<Arc<str>, Arc<Pool>>> {
        self.pools.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn pool(&self, member: &Member) -> Arc<Pool> {
        let mut pools = self.lock();
        if let Some(pool) = pools.get(&member.authority) {
            return pool.clone();
        }
        let pool = Pool::new(member.authority.clone(), self.limits.clone(), self.cluster.clone());
        let pool = Arc::new(pool);
        pools.insert(member.authority.clone(), pool.clone());
        pool
    }

    async fn exchange(&self, pool: &Pool, call: &Call) -> Result<Reply, PeerError> {
        let (head, body) = pool.exchange(call).await?;
        let asked = Asked {
            verb: call.verb,
            group: call.group.as_ref().map_or("", GroupName::as_str),
            value_limit: self.limits.value.as_u64(),
            unix_nanos: clock::unix_nanos(),
        };
        reply::decode(self.row, asked, &head, body)
    }
}

impl Transport for HttpTransport {
    fn ask<'a>(
        &'a self,
        to: &'a Member,
        what: Request,
        deadline: Instant,
    ) -> BoxFuture<'a, Result<Reply, PeerError>> {
        Box::pin(async move {
            // What is sent is a copy, made before there is a connection for it.
            let _sent = match &what {
                Request::Set { value, .. } | Request::Change { change: Change::Set { value, .. }, .. } => {
                    self.limits.memory.charge_of(value.len() as u64)?
                }
                _ => Charge::default(),
            };
            let Some(call) = Call::new(self.row, what) else { return Ok(Reply::Unsupported) };
            let allowed = deadline.saturating_duration_since(clock::now());
            let pool = self.pool(to);
            // A wait for a connection of ours says nothing of the peer, however long it was.
            let Ok(place) = clock::timeout_at(deadline, pool.place()).await else {
                return Err(PeerError::Busy(self.limits.connections_per_peer));
            };
            let _place = place?;
            match clock::timeout_at(deadline, self.exchange(&pool, &call)).await {
                Ok(result) => result,
                Err(clock::Elapsed) => Err(PeerError::Timeout(in_whole_ms(allowed))),
            }
        })
    }

    fn customs(&self) -> Customs {
        self.row.customs
    }

    fn dialect(&self) -> &'static str {
        self.row.name
    }

    fn can_say(&self, what: &Request) -> bool {
        can_say(self.row, what)
    }

    /// Lets go of the connections to all but these members. Requests under way are not disturbed.
    fn retain(&self, members: &[Member]) {
        self.lock().retain(|authority, _| members.iter().any(|member| member.authority == *authority));
    }
}

/// A wait as people read it. What is left of a deadline when it is looked at is some microseconds under what was set.
pub(super) fn in_whole_ms(wait: Duration) -> Duration {
    Duration::from_millis(u64::try_from(wait.as_nanos().div_ceil(1_000_000)).unwrap_or(u64::MAX))
}

/// A request as the row says it; kept until it is answered, since it may have to be sent twice.
struct Call {
    verb: Verb,
    method: Method,
    target: String,
    /// What it is about, if that is a group's.
    group: Option<GroupName>,
    flags: Vec<&'static str>,
    body: Bytes,
    /// What a reply may hold beside a value, in bytes.
    slack: usize,
}

/// Whether the row has a way to say this.
///
/// In the family's older rows every method is a get, and a get may load: there a set or a remove would do the opposite
/// of what it means and look like a success, and so in any of its rows would a get that must not load. A path that they
/// do not know makes a Go peer panic; its base path alone it refuses as it should, and so says that it lives, which is
/// what an id is asked for where there are none. That a stand-in is asked as one can be said everywhere: a Go peer passes over the
/// header, and answers all the same.
fn can_say(row: &Row, what: &Request) -> bool {
    let is_native = row.dialect == Dialect::Native;
    match what {
        Request::Get { cached_only, .. } => is_native || !cached_only,
        Request::Set { .. } | Request::Remove { .. } => row.writes(),
        Request::GetMany { .. } => row.gets_many(),
        Request::Change { .. } | Request::Clear { .. } | Request::Held { .. } | Request::Members => is_native,
        Request::Id => true,
    }
}

impl Call {
    /// `None`: the row has no way to say this.
    fn new(row: &Row, what: Request) -> Option<Self> {
        can_say(row, &what).then(|| match what {
            Request::Get { group, key, stand_in, cached_only } => {
                let flags = [(stand_in, STAND_IN), (cached_only, CACHED_ONLY)];
                let said = flags.into_iter().filter(|(is_set, _)| *is_set).map(|(_, name)| name);
                Self { flags: said.collect(), ..Self::entry(row, Verb::Get, Method::GET, group, &key) }
            }
            Request::GetMany { group, keys, stand_in, cached_only } => {
                let body = wire::GetManyRequest::new(&keys, stand_in, cached_only).encode_to_vec().into();
                let target = group_target(row, group.as_str().as_bytes());
                let (group, flags) = (Some(group), Vec::new());
                let slack = SLACK + keys.len() * PER_ANSWER;
                Self { verb: Verb::GetMany, method: Method::POST, target, group, flags, body, slack }
            }
            Request::Set { group, key, value, ttl } => {
                let body = if row.dialect == Dialect::Native {
                    wire::SetRequest::new(value, ttl).encode_to_vec()
                } else {
                    let now = clock::unix_nanos();
                    FamilySetRequest::new(group.as_str(), &key, value, ttl, now).encode_to_vec()
                };
                Self { body: body.into(), ..Self::entry(row, Verb::Set, Method::PUT, group, &key) }
            }
            Request::Remove { group, key } => Self::entry(row, Verb::Remove, Method::DELETE, group, &key),
            Request::Change { group, key, change } => {
                let target = change_target(group.as_str().as_bytes(), key.as_bytes());
                let body = wire::ChangeRequest::from(change).encode_to_vec().into();
                Self { target, body, ..Self::entry(row, Verb::Change, Method::POST, group, &key) }
            }
            Request::Clear { group } => {
                let target = group_target(row, group.as_str().as_bytes());
                let (group, flags, body) = (Some(group), Vec::new(), Bytes::new());
                Self { verb: Verb::Clear, method: Method::DELETE, target, group, flags, body, slack: SLACK }
            }
            Request::Held { group, key } => {
                let target = held_target(group.as_str().as_bytes(), key.as_bytes());
                Self { target, ..Self::entry(row, Verb::Held, Method::GET, group, &key) }
            }
            Request::Id if row.dialect == Dialect::Native => Self::about_node(Verb::Id, "/_carrot/id"),
            Request::Id => Self::about_node(Verb::Id, row.base),
            Request::Members => Self::about_node(Verb::Members, "/_carrot/members"),
        })
    }

    fn entry(row: &Row, verb: Verb, method: Method, group: GroupName, key: &Key) -> Self {
        let target = target(row, group.as_str().as_bytes(), key.as_bytes());
        Self { verb, method, target, group: Some(group), flags: Vec::new(), body: Bytes::new(), slack: SLACK }
    }

    fn about_node(verb: Verb, target: &str) -> Self {
        let target = target.to_owned();
        Self {
            verb,
            method: Method::GET,
            target,
            group: None,
            flags: Vec::new(),
            body: Bytes::new(),
            slack: SLACK,
        }
    }

    fn request(
        &self,
        authority: &str,
        cluster: Option<&HeaderValue>,
    ) -> Result<HttpRequest<Full<Bytes>>, PeerError> {
        // Not a URL on the way: parsers of those take dot segments away.
        let mut builder =
            HttpRequest::builder().method(self.method.clone()).uri(&*self.target).header(HOST, authority);
        for flag in &self.flags {
            builder = builder.header(*flag, "1");
        }
        if let Some(name) = cluster {
            builder = builder.header(CLUSTER, name);
        }
        if matches!(self.verb, Verb::Set | Verb::Change | Verb::GetMany) {
            builder = builder.header(CONTENT_TYPE, HeaderValue::from_static("application/x-protobuf"));
        }
        builder.body(Full::new(self.body.clone())).map_err(|error| {
            // The target is made of plain ASCII and fits: what is left is an authority that is no header.
            PeerError::Connect(Arc::from(format!("cannot address {authority:?}: {error}")))
        })
    }
}

/// The connections to one peer.
struct Pool {
    authority: Arc<str>,
    limits: Arc<Limits>,
    cluster: Option<HeaderValue>,
    /// One for each request in flight. As a connection is made only when none is idle, there are never more of them.
    places: Semaphore,
    /// One for each caller that waits for a place.
    queue: Semaphore,
    // std Mutex: held to push or pop one connection.
    idle: Mutex<Vec<Kept>>,
}

impl Pool {
    fn new(authority: Arc<str>, limits: Arc<Limits>, cluster: Option<HeaderValue>) -> Self {
        let most = Semaphore::MAX_PERMITS;
        Self {
            authority,
            places: Semaphore::new(limits.connections_per_peer.min(most)),
            queue: Semaphore::new(limits.waiting_per_peer.min(most)),
            limits,
            cluster,
            idle: Mutex::new(Vec::new()),
        }
    }

    /// By whoever has a place.
    async fn exchange(&self, call: &Call) -> Result<(response::Parts, Bytes), PeerError> {
        if let Some(kept) = self.take().await {
            match self.exchange_on(kept, call).await {
                Err(Failure::Unanswered) => {}
                Err(Failure::Final(error)) => return Err(error),
                Ok(reply) => return Ok(reply),
            }
        }
        let fresh = self.connect().await?;
        self.exchange_on(fresh, call).await.map_err(|failure| match failure {
            Failure::Unanswered => broken("closed without a reply"),
            Failure::Final(error) => error,
        })
    }

    /// A place among the requests in flight.
    async fn place(&self) -> Result<SemaphorePermit<'_>, PeerError> {
        if let Ok(place) = self.places.try_acquire() {
            return Ok(place);
        }
        let busy = |_| PeerError::Busy(self.limits.connections_per_peer);
        let _turn = self.queue.try_acquire().map_err(busy)?;
        self.places.acquire().await.map_err(|_closed| broken("the pool is closed"))
    }

    /// The idle connection used last, if any still stands.
    async fn take(&self) -> Option<Kept> {
        loop {
            let mut kept = self.pop()?;
            // A connection comes back a moment before its task has noticed that the reply is over. One that does not
            // get ready is stuck, perhaps in an upload that the peer has refused to read.
            if let Ok(Ok(())) = clock::timeout(self.limits.connect_timeout, kept.sender.ready()).await {
                return Some(kept);
            }
        }
    }

    fn pop(&self) -> Option<Kept> {
        let kept = self.lock().pop()?;
        kept.state.set_idle(None);
        Some(kept)
    }

    fn keep(&self, kept: Kept) {
        kept.state.set_idle(Some(clock::now()));
        let mut idle = self.lock();
        // The oldest are at the bottom, and have been closed by their tasks if the peer or their age did for them.
        idle.retain(|kept| !kept.sender.is_closed());
        idle.push(kept);
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Vec<Kept>> {
        self.idle.lock().unwrap_or_else(PoisonError::into_inner)
    }

    async fn connect(&self) -> Result<Kept, PeerError> {
        let stream = dial(&self.authority, &self.limits).await?;
        let state = Arc::new(State::default());
        let io = TokioIo::new(Tap::new(stream, state.clone()));
        let (sender, connection) = http1::Builder::new()
            .max_buf_size(HEAD)
            .handshake(io)
            .await
            .map_err(|error| PeerError::Connect(Arc::from(error.to_string())))?;
        tokio::spawn(drive(connection, state.clone(), self.limits.clone()));
        Ok(Kept { sender, state, is_fresh: true })
    }

    /// One request and its reply. The connection goes back to the pool if the reply was read whole, and is closed if
    /// it was not, also when the caller drops this future.
    async fn exchange_on(&self, mut kept: Kept, call: &Call) -> Result<(response::Parts, Bytes), Failure> {
        let request = call.request(&self.authority, self.cluster.as_ref())?;
        let heard = kept.state.reads.load(Relaxed);
        let response = match kept.sender.send_request(request).await {
            Ok(response) => response,
            Err(_) if !kept.is_fresh && kept.state.reads.load(Relaxed) == heard => {
                return Err(Failure::Unanswered);
            }
            Err(error) => return Err(broken(&chain(&error)).into()),
        };
        let (head, body, is_whole) = self.receive(response, call).await?;
        if is_whole {
            self.keep(Kept { is_fresh: false, ..kept });
        }
        Ok((head, body))
    }

    /// The reply, and whether it was read to its end: of a refusal the beginning is enough. A value is charged to the
    /// node's memory as it comes in, for as long as it is held.
    async fn receive(
        &self,
        response: Response<Incoming>,
        call: &Call,
    ) -> Result<(response::Parts, Bytes, bool), PeerError> {
        let (head, mut body) = response.into_parts();
        let carries_value = head.status == StatusCode::OK;
        if carries_value && !has_length(&head) {
            return Err(broken("a reply that ends when the connection does, and may have been cut"));
        }
        let limit = if carries_value { self.value_limit(call.slack) } else { TEXT_LIMIT };
        let over = || broken("a reply over the limit");
        if carries_value && body.size_hint().lower() > u64::try_from(limit).unwrap_or(u64::MAX) {
            return Err(over());
        }
        let charge = if carries_value { self.limits.memory.charge() } else { Charge::default() };
        let mut taken = BytesMut::new();
        while let Some(frame) = body.frame().await {
            let frame = frame.map_err(|error| broken(&chain(&error)))?.into_data().unwrap_or_default();
            charge.grow(frame.len() as u64).map_err(|full| match call.verb {
                // The peer may have done it.
                Verb::Set | Verb::Remove | Verb::Change | Verb::Clear => broken(&full.to_string()),
                _ => PeerError::Memory(full),
            })?;
            if taken.is_empty() && body.is_end_stream() && frame.len() <= limit {
                // All in one piece, as small values come: no copy.
                return Ok((head, charge.around(frame), true));
            }
            let room = limit - taken.len();
            taken.extend_from_slice(&frame[..frame.len().min(room)]);
            if frame.len() > room {
                return if carries_value { Err(over()) } else { Ok((head, taken.freeze(), false)) };
            }
        }
        Ok((head, charge.around(taken.freeze()), true))
    }

    fn value_limit(&self, slack: usize) -> usize {
        usize::try_from(self.limits.value.as_u64()).unwrap_or(usize::MAX).saturating_add(slack)
    }
}

/// A connection to a peer, on which nothing waits for acknowledgements.
pub(super) async fn dial(authority: &str, limits: &Limits) -> Result<TcpStream, PeerError> {
    let failed = |why: String| PeerError::Connect(Arc::from(why));
    let dialled = clock::timeout(limits.connect_timeout, TcpStream::connect(authority)).await;
    let stream = dialled
        .map_err(|_| failed(format!("not within {:?}", limits.connect_timeout)))?
        .map_err(|error| failed(error.to_string()))?;
    // Without it a request with a body waits for the acknowledgement of its header.
    let _ = stream.set_nodelay(true);
    Ok(stream)
}

/// Whether the end of the body is marked, by its length or by a last chunk.
fn has_length(head: &response::Parts) -> bool {
    head.headers.contains_key(CONTENT_LENGTH) || head.headers.contains_key(TRANSFER_ENCODING)
}

/// A connection between two requests, or lent to one.
struct Kept {
    sender: SendRequest<Full<Bytes>>,
    state: Arc<State>,
    /// It has not answered a request yet.
    is_fresh: bool,
}

/// What a connection's task and its user tell each other.
#[derive(Default)]
struct State {
    /// Times that bytes have come in.
    reads: AtomicU64,
    /// Since when nobody uses it; `None`: somebody does.
    idle_since: Mutex<Option<Instant>>,
}

impl State {
    fn set_idle(&self, since: Option<Instant>) {
        *self.idle_since.lock().unwrap_or_else(PoisonError::into_inner) = since;
    }

    fn idle_since(&self) -> Option<Instant> {
        *self.idle_since.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Hear for State {
    fn heard(&self) {
        self.reads.fetch_add(1, Relaxed);
    }
}

/// Drives a connection until either side closes it, or it has been idle for too long.
async fn drive(
    connection: Connection<TokioIo<Tap<State>>, Full<Bytes>>,
    state: Arc<State>,
    limits: Arc<Limits>,
) {
    let mut connection = pin!(connection);
    let mut look = clock::after(clock::now(), limits.idle_timeout);
    // Ends of themselves: with the peer's closing, or with the sender's being dropped by the pool or by a caller.
    while clock::timeout_at(look, connection.as_mut()).await.is_err() {
        let now = clock::now();
        look = clock::after(state.idle_since().unwrap_or(now), limits.idle_timeout);
        if look <= now {
            return;
        }
    }
}

/// Why an exchange failed.
enum Failure {
    /// A connection used before broke, and not a byte of a reply had come.
    Unanswered,
    Final(PeerError),
}

impl From<PeerError> for Failure {
    fn from(error: PeerError) -> Self {
        Self::Final(error)
    }
}

fn broken(why: &str) -> PeerError {
    PeerError::Broken(Arc::from(why))
}

/// hyper's errors say what they were doing; what went wrong is in their source.
fn chain(error: &hyper::Error) -> String {
    match std::error::Error::source(error) {
        Some(source) => format!("{error}: {source}"),
        None => error.to_string(),
    }
}

#[cfg(test)]
mod tests;
