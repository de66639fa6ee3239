//! The connections to one peer: how many there may be, who waits for one, and which are kept for the next request.
//!
//! A pool of our own rather than hyper-util's: that one dials while a connection is about to come back, knows no cap,
//! and cannot say whether a reply had begun when a connection broke. Here the cap holds for callers too: past
//! `Limits::waiting_per_peer` of them the peer counts as busy. Connections are handed out latest first, so that what a
//! burst has opened may go idle and close, and those first that live on the caller's runtime. Only a connection that
//! was used before, and broke without a byte of reply, is made good by another try: the peer has closed it meanwhile,
//! and has most likely not seen the request. Twice done, what we send does no harm; of a change under a condition the
//! second answer counts.
//! Shared by all groups of a node. A connection is read, and closed in time, by its own task.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::time::Instant;

use http::HeaderValue;
use tokio::net::TcpStream;
use tokio::runtime::Handle;
use tokio::sync::{OwnedSemaphorePermit, Semaphore, oneshot};

use crate::clock;
use crate::error::PeerError;
use crate::limits::Limits;
use crate::message::{Reply, Request};
use crate::net::client::call::Call;
use crate::net::client::exchange::{Home, Reader};
use crate::net::client::lane::{Asked, Lane};
use crate::net::cluster_name::CLUSTER;
use crate::net::dialect::Row;
use crate::peers::{Line, Sent, Then};
use crate::runtimes::is_lone;

/// The connections to one peer.
pub(super) struct Pool {
    authority: Arc<str>,
    row: &'static Row,
    limits: Arc<Limits>,
    /// What stands in the head of every request, from the target on; an error if the peer has no name that a head can say.
    said: Result<Box<[u8]>, PeerError>,
    /// One for each request in flight. As a connection is made only when none is idle, there are never more of them.
    places: Arc<Semaphore>,
    /// One for each caller that waits for a place.
    queue: Semaphore,
    /// Those that nobody uses, the one used last at the end.
    // std Mutex: held to push or pop.
    idle: Mutex<Vec<Arc<Lane>>>,
}

/// When a request began, and when its reply has to be there.
#[derive(Clone, Copy)]
pub(super) struct Times {
    pub(super) began: Instant,
    pub(super) deadline: Instant,
}

impl Pool {
    /// A pool without connections; they are made when they are needed.
    pub(super) fn new(
        authority: Arc<str>,
        row: &'static Row,
        limits: Arc<Limits>,
        cluster: Option<&HeaderValue>,
    ) -> Self {
        let most = Semaphore::MAX_PERMITS;
        Self {
            said: said(&authority, cluster),
            authority,
            row,
            places: Arc::new(Semaphore::new(limits.connections_per_peer.min(most))),
            queue: Semaphore::new(limits.waiting_per_peer.min(most)),
            limits,
            idle: Mutex::default(),
        }
    }

    /// A place among the requests in flight.
    pub(super) async fn place(&self) -> Result<OwnedSemaphorePermit, PeerError> {
        if let Ok(place) = self.places.clone().try_acquire_owned() {
            return Ok(place);
        }
        let busy = |_| PeerError::Busy(self.limits.connections_per_peer);
        let _turn = self.queue.try_acquire().map_err(busy)?;
        self.places.clone().acquire_owned().await.map_err(|_closed| PeerError::broken("the pool is closed"))
    }

    /// Asks, by whoever has a place, and waits for the reply. To drop the future closes the connection.
    pub(super) async fn exchange(self: &Arc<Self>, call: Call, times: Times) -> Result<Reply, PeerError> {
        let said = self.said.as_ref().map_err(PeerError::clone)?;
        // Those that were closed while they were idle are passed over. Behind one that breaks as it is used, the others may
        // be no better.
        while let Some((lane, _)) = self.take() {
            match ask_on(&lane, call.clone(), said, times).await {
                Some(Sent::Answered(reply)) => return reply,
                Some(Sent::Unseen) => break,
                None => {}
            }
        }
        let lane = self.connect().await?;
        match ask_on(&lane, call, said, times).await {
            Some(Sent::Answered(reply)) => reply,
            Some(Sent::Unseen) | None => Err(PeerError::broken("closed without a reply")),
        }
    }

    async fn connect(self: &Arc<Self>) -> Result<Arc<Lane>, PeerError> {
        let reader = Reader::new(dial(&self.authority, &self.limits).await?, self.limits.clone());
        let lane = reader.lane().clone();
        tokio::spawn(reader.attend(Shelf(Arc::downgrade(self))));
        Ok(lane)
    }

    /// The idle connection used last; before those of other runtimes, one of the caller's. And whether its task runs on
    /// this very thread.
    fn take(&self) -> Option<(Arc<Lane>, bool)> {
        let here = Handle::try_current().ok();
        let mut idle = self.lock();
        let near = here.as_ref().and_then(|here| idle.iter().rposition(|lane| lane.is_at(here.id())));
        let taken = near.or(idle.len().checked_sub(1))?;
        let is_here = near.is_some() && here.is_some_and(|here| is_lone(&here));
        Some((idle.remove(taken), is_here))
    }

    /// Whether there is a connection on which a request can be sent at once, and a place for it.
    pub(super) fn can_send(&self) -> bool {
        self.places.available_permits() > 0 && !self.lock().is_empty()
    }

    fn lock(&self) -> MutexGuard<'_, Vec<Arc<Lane>>> {
        self.idle.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The places that are free, those of callers that wait too.
    #[cfg(test)]
    pub(super) fn free(&self) -> (usize, usize) {
        (self.places.available_permits(), self.queue.available_permits())
    }

    /// How many connections are idle.
    #[cfg(test)]
    pub(super) fn idle(&self) -> usize {
        self.lock().len()
    }
}

impl Drop for Pool {
    fn drop(&mut self) {
        for lane in self.lock().drain(..) {
            lane.close_if_idle();
        }
    }
}

impl Line for Pool {
    fn send(&self, what: &Request, now: Instant, deadline: Instant, then: Then) -> bool {
        let Some(call) = Call::new(self.row, what.clone()) else {
            then(Sent::Answered(Ok(Reply::Unsupported)), now);
            return false;
        };
        let (Ok(said), Ok(place)) = (&self.said, self.places.clone().try_acquire_owned()) else {
            then(Sent::Unseen, now);
            return false;
        };
        let mut asked = Asked { call, began: now, deadline, then, place: Some(place) };
        while let Some((lane, is_here)) = self.take() {
            match lane.send(asked, said) {
                // Its task ends the request at its deadline, whatever the peer does meanwhile.
                Ok(_) => return is_here,
                Err(back) => asked = back,
            }
        }
        let Asked { then, place, .. } = asked;
        drop(place);
        then(Sent::Unseen, now);
        false
    }
}

/// Where connections stand between two requests, for as long as there is the pool.
struct Shelf(Weak<Pool>);

impl Home for Shelf {
    fn keep(&self, lane: &Arc<Lane>) -> bool {
        let Some(pool) = self.0.upgrade() else { return false };
        pool.lock().push(lane.clone());
        true
    }

    fn forget(&self, lane: &Arc<Lane>) {
        if let Some(pool) = self.0.upgrade() {
            pool.lock().retain(|kept| !Arc::ptr_eq(kept, lane));
        }
    }
}

/// Asks on this connection, and waits; `None`: it was closed before.
async fn ask_on(lane: &Lane, call: Call, said: &[u8], times: Times) -> Option<Sent> {
    let (reply, replied) = oneshot::channel();
    let then: Then = Box::new(|sent, _| drop(reply.send(sent)));
    let Times { began, deadline } = times;
    let turn = lane.send(Asked { call, began, deadline, then, place: None }, said).ok()?;
    let _waiting = Waiting { lane, turn };
    let stopped = |_| Sent::Answered(Err(PeerError::broken("the runtime of the connection has stopped")));
    Some(replied.await.unwrap_or_else(stopped))
}

/// Somebody waits for the reply of this turn. When he goes away before it is there, the connection is closed.
struct Waiting<'a> {
    lane: &'a Lane,
    turn: u64,
}

impl Drop for Waiting<'_> {
    fn drop(&mut self) {
        self.lane.hang_up(self.turn);
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
