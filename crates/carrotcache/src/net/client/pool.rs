//! The connections to one peer: how many there may be, who waits for one, and which are kept for the next request.
//!
//! A pool of our own rather than hyper-util's: that one dials while a connection is about to come back, knows no cap,
//! and cannot say whether a reply had begun when a connection broke. Here the cap holds for callers too: past
//! `Limits::waiting_per_peer` of them the peer counts as busy. Connections are handed out latest first, so that what a
//! burst has opened may go idle and close, and those first that live on the caller's runtime. Only a connection that
//! was used before, and broke without a byte of reply, is made good by a second try: the peer has closed it meanwhile,
//! and has most likely not seen the request. Twice done, what we send does no harm; of a change under a condition the
//! second answer counts.
//! Shared by all groups of a node. While connections are idle, one task waits to close those that stay so.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::time::Instant;

use http::HeaderValue;
use tokio::net::TcpStream;
use tokio::runtime::Handle;
use tokio::sync::{Semaphore, SemaphorePermit};

use crate::clock;
use crate::error::PeerError;
use crate::limits::Limits;
use crate::message::Reply;
use crate::net::client::call::Call;
use crate::net::client::exchange::{Connection, Failure, broken};
use crate::net::cluster_name::CLUSTER;

/// The connections to one peer.
pub(super) struct Pool {
    authority: Arc<str>,
    limits: Arc<Limits>,
    /// What stands in the head of every request, from the target on; an error if the peer has no name that a head can say.
    said: Result<Box<[u8]>, PeerError>,
    /// One for each request in flight. As a connection is made only when none is idle, there are never more of them.
    places: Semaphore,
    /// One for each caller that waits for a place.
    queue: Semaphore,
    // std Mutex: held to push, pop or close.
    idle: Mutex<Idle>,
}

/// The connections that nobody uses.
#[derive(Default)]
struct Idle {
    /// Those that were used last at the end.
    kept: Vec<Kept>,
    /// A task waits to close them.
    is_watched: bool,
}

struct Kept {
    connection: Box<Connection>,
    since: Instant,
}

impl Pool {
    /// A pool without connections; they are made when they are needed.
    pub(super) fn new(authority: Arc<str>, limits: Arc<Limits>, cluster: Option<&HeaderValue>) -> Self {
        let most = Semaphore::MAX_PERMITS;
        Self {
            said: said(&authority, cluster),
            authority,
            places: Semaphore::new(limits.connections_per_peer.min(most)),
            queue: Semaphore::new(limits.waiting_per_peer.min(most)),
            limits,
            idle: Mutex::default(),
        }
    }

    /// A place among the requests in flight.
    pub(super) async fn place(&self) -> Result<SemaphorePermit<'_>, PeerError> {
        if let Ok(place) = self.places.try_acquire() {
            return Ok(place);
        }
        let busy = |_| PeerError::Busy(self.limits.connections_per_peer);
        let _turn = self.queue.try_acquire().map_err(busy)?;
        self.places.acquire().await.map_err(|_closed| broken("the pool is closed"))
    }

    /// Asks, by whoever has a place.
    pub(super) async fn exchange(self: &Arc<Self>, call: &Call<'_>) -> Result<Reply, PeerError> {
        if let Some(kept) = self.take() {
            match self.exchange_on(kept, call).await {
                Err(Failure::Unanswered) => {}
                Err(Failure::Final(error)) => return Err(error),
                Ok(reply) => return reply,
            }
        }
        let fresh = Connection::new(dial(&self.authority, &self.limits).await?);
        match self.exchange_on(fresh, call).await {
            Ok(reply) => reply,
            Err(Failure::Unanswered) => Err(broken("closed without a reply")),
            Err(Failure::Final(error)) => Err(error),
        }
    }

    /// One request and its reply. The connection goes back to the pool if it may be used again, and is closed if not, also
    /// when the caller drops this future.
    async fn exchange_on(
        self: &Arc<Self>,
        mut connection: Box<Connection>,
        call: &Call<'_>,
    ) -> Result<Result<Reply, PeerError>, Failure> {
        let said = self.said.as_ref().map_err(PeerError::clone)?;
        let (reply, is_free) = connection.exchange(call, said, &self.limits).await?;
        if is_free {
            self.keep(connection);
        }
        Ok(reply)
    }

    /// The idle connection used last, if any still stands; before those of other runtimes, one of the caller's.
    fn take(&self) -> Option<Box<Connection>> {
        let here = Handle::current().id();
        loop {
            let kept = {
                let kept = &mut self.lock().kept;
                let nearest = kept.iter().rposition(|kept| kept.connection.is_at(here));
                kept.remove(nearest.or(kept.len().checked_sub(1))?)
            };
            if let Some(connection) = kept.connection.ready_here(here) {
                return Some(connection);
            }
        }
    }

    fn keep(self: &Arc<Self>, connection: Box<Connection>) {
        let since = clock::now();
        let mut idle = self.lock();
        idle.kept.push(Kept { connection, since });
        if !std::mem::replace(&mut idle.is_watched, true) {
            drop(idle);
            let first = clock::after(since, self.limits.idle_timeout);
            tokio::spawn(Watch(Arc::downgrade(self)).close_overdue(first));
        }
    }

    fn lock(&self) -> MutexGuard<'_, Idle> {
        self.idle.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Closes what has been idle for too long, and says when to look again; `None`: there is nothing left, and nobody
    /// watches any more.
    fn close_overdue(&self, now: Instant) -> Option<Instant> {
        let end = |kept: &Kept| clock::after(kept.since, self.limits.idle_timeout);
        let mut idle = self.lock();
        let overdue = idle.kept.iter().take_while(|kept| end(kept) <= now).count();
        let closed: Vec<Kept> = idle.kept.drain(..overdue).collect();
        let next = idle.kept.first().map(end);
        idle.is_watched = next.is_some();
        drop(idle);
        drop(closed);
        next
    }

    /// The places that are free, those of callers that wait too.
    #[cfg(test)]
    pub(super) fn free(&self) -> (usize, usize) {
        (self.places.available_permits(), self.queue.available_permits())
    }

    /// How many connections are idle, and whether somebody waits to close them.
    #[cfg(test)]
    pub(super) fn idle(&self) -> (usize, bool) {
        let idle = self.lock();
        (idle.kept.len(), idle.is_watched)
    }
}

/// Whoever waits to close idle connections, for as long as there are any. If its runtime stops before, it takes them all
/// with it: nobody would close them.
struct Watch(Weak<Pool>);

impl Watch {
    async fn close_overdue(mut self, first: Instant) {
        let mut next = Some(first);
        while let Some(then) = next {
            clock::sleep_until(then).await;
            next = self.0.upgrade().and_then(|pool| pool.close_overdue(clock::now()));
        }
        self.0 = Weak::new();
    }
}

impl Drop for Watch {
    fn drop(&mut self) {
        if let Some(pool) = self.0.upgrade() {
            let idle = std::mem::take(&mut *pool.lock());
            drop(idle);
        }
    }
}

/// The end of the first line, and the lines that say who is asked, and who asks.
fn said(authority: &str, cluster: Option<&HeaderValue>) -> Result<Box<[u8]>, PeerError> {
    let host = HeaderValue::from_str(authority)
        .map_err(|error| PeerError::Connect(format!("cannot address {authority:?}: {error}").into()))?;
    let mut said = [b" HTTP/1.1\r\nhost: ", host.as_bytes(), b"\r\n"].concat();
    if let Some(name) = cluster {
        for part in [CLUSTER.as_str().as_bytes(), b": ", name.as_bytes(), b"\r\n"] {
            said.extend_from_slice(part);
        }
    }
    Ok(said.into())
}

/// A connection to a peer, on which nothing waits for acknowledgements.
pub(in crate::net) async fn dial(authority: &str, limits: &Limits) -> Result<TcpStream, PeerError> {
    let failed = |why: String| PeerError::Connect(Arc::from(why));
    let dialled = clock::timeout(limits.connect_timeout, TcpStream::connect(authority)).await;
    let stream = dialled
        .map_err(|_| failed(format!("not within {:?}", limits.connect_timeout)))?
        .map_err(|error| failed(error.to_string()))?;
    // Without it a large request waits for the acknowledgement of its beginning.
    let _ = stream.set_nodelay(true);
    Ok(stream)
}
