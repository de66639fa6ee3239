//! Native peers, asked in frames; those that have none, over HTTP/1.1.
//!
//! A peer is dialled when it is asked and there is no connection, once for all who ask, in a task of its own. One that
//! refuses frames, or does not say in time whether it has them, is asked over HTTP for a while: it is older, and every
//! get would pay for asking it again. One of another cluster is not asked at all. One connection a peer: it takes more
//! than a core can give.
//! Never decides what a failure means.

use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::sync::watch;

use crate::by_authority::ByAuthority;
use crate::clock;
use crate::error::PeerError;
use crate::limits::Limits;
use crate::message::{Reply, Request};
use crate::net::client::HttpTransport;
use crate::net::client::pool::dial;
use crate::net::dialect::Dialect;
use crate::net::intake::Intake;
use crate::net::link::{Failure, Link};
use crate::net::upgrade::{self, HEAD_MAX, Hello};
use crate::peers::{BoxFuture, Line, Transport};
use crate::stats::NodeStats;
use crate::view::Member;

/// For how long a peer that refused frames is not asked for them.
const REFUSED: Duration = Duration::from_secs(60);

/// The same where it gave no answer: it may be busy, or have been cut off.
const UNANSWERED: Duration = Duration::from_secs(5);

/// A connection may turn out to be gone as often as this, for one request.
const TRIES: usize = 3;

/// Asks peers in frames, and over HTTP those that have none.
pub(crate) struct NativeTransport {
    http: HttpTransport,
    around: Arc<Around>,
    // std Mutex: held to look up one peer, once for each request.
    peers: Mutex<ByAuthority<Arc<Peer>>>,
}

/// What all connections are made with.
struct Around {
    limits: Arc<Limits>,
    hello: Hello,
    stats: Arc<NodeStats>,
    /// What waits to be sent to all peers.
    values: Intake,
}

impl fmt::Debug for NativeTransport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("NativeTransport").field("hello", &self.around.hello).finish_non_exhaustive()
    }
}

impl NativeTransport {
    /// A transport without connections; they are made when they are needed.
    pub(crate) fn new(limits: Limits, hello: Hello, stats: Arc<NodeStats>) -> Self {
        let values = Intake::within(&limits, limits.value.as_u64());
        Self {
            http: HttpTransport::new(Dialect::Native, limits.clone()).of_cluster(hello.cluster.as_deref()),
            around: Arc::new(Around { limits: Arc::new(limits), hello, stats, values }),
            peers: Mutex::default(),
        }
    }

    fn peer(&self, member: &Member) -> Arc<Peer> {
        let mut peers = held(&self.peers);
        if let Some(peer) = peers.get(&member.authority) {
            return peer.clone();
        }
        let (authority, around) = (member.authority.clone(), self.around.clone());
        let peer = Arc::new(Peer { authority: authority.clone(), around, way: Mutex::new(Way::None) });
        peers.insert(authority, peer.clone());
        peer
    }

    async fn asked(&self, to: &Member, what: Request, deadline: Instant) -> Result<Reply, PeerError> {
        let allowed = deadline.saturating_duration_since(clock::now());
        let late = || PeerError::Timeout(clock::in_whole_ms(allowed));
        let peer = self.peer(to);
        for _ in 0..TRIES {
            let found = clock::timeout_at(deadline, peer.find()).await.map_err(|clock::Elapsed| late())?;
            let Found { link: Some(link), is_fresh } = found? else {
                return self.http.ask(to, what, deadline).await;
            };
            match link.ask(&what, deadline).await {
                Ok(reply) => return Ok(reply),
                Err(Failure::Gone) => {}
                // The peer has closed it meanwhile, and has most likely not seen the request. Twice done, what we send
                // does no harm.
                Err(Failure::Unheard(_)) if !is_fresh => {}
                Err(Failure::Late) => return Err(late()),
                Err(Failure::Unheard(error) | Failure::Other(error)) => return Err(error),
            }
            peer.forget(&link);
        }
        Err(PeerError::broken("every connection was closed before it took the request"))
    }
}

impl Transport for NativeTransport {
    fn ask<'a>(
        &'a self,
        to: &'a Member,
        what: Request,
        deadline: Instant,
    ) -> BoxFuture<'a, Result<Reply, PeerError>> {
        Box::pin(self.asked(to, what, deadline))
    }

    fn line(&self, to: &Member) -> Option<Arc<dyn Line>> {
        let peers = held(&self.peers);
        let way = held(&peers.get(&to.authority)?.way);
        match &*way {
            Way::Frames(link) => Some(link.clone()),
            Way::Http(until) if clock::now() < *until => self.http.line(to),
            _ => None,
        }
    }

    /// Lets go of the connections to all but these members. Requests under way are not disturbed.
    fn retain(&self, members: &[Member]) {
        self.http.retain(members);
        held(&self.peers).retain(|authority, _| members.iter().any(|member| member.authority == *authority));
    }
}

/// One peer, and how it is asked. When it is let go of, its connection ends with the last answer.
struct Peer {
    authority: Arc<str>,
    around: Arc<Around>,
    // std Mutex: held to look or to replace.
    way: Mutex<Way>,
}

/// How a peer is asked.
enum Way {
    /// Nobody knows.
    None,
    /// It is being dialled.
    Dialling(watch::Receiver<Option<Dialled>>),
    Frames(Arc<Link>),
    /// Over HTTP, until then.
    Http(Instant),
}

/// How dialling ended: with a connection of frames, or with the peer having none.
type Dialled = Result<Option<Arc<Link>>, PeerError>;

/// How a peer is asked now.
struct Found {
    /// `None`: over HTTP.
    link: Option<Arc<Link>>,
    /// It was made for this request, and others that wait.
    is_fresh: bool,
}

impl Peer {
    /// The way to ask it. Dials if there is none; dropping the future abandons the wait, not the dialling.
    async fn find(self: &Arc<Self>) -> Result<Found, PeerError> {
        let mut dialled = match self.look() {
            Ok(link) => return Ok(Found { link, is_fresh: false }),
            Err(dialled) => dialled,
        };
        let gone = |_| PeerError::Connect(Arc::from("the task that dialled has ended"));
        let link = dialled.wait_for(Option::is_some).await.map_err(gone)?.clone();
        // It is some: that was waited for.
        Ok(Found { link: link.transpose()?.flatten(), is_fresh: true })
    }

    /// The way to ask it, or where to wait for one.
    fn look(self: &Arc<Self>) -> Result<Option<Arc<Link>>, watch::Receiver<Option<Dialled>>> {
        let mut way = held(&self.way);
        match &*way {
            Way::Frames(link) => return Ok(Some(link.clone())),
            Way::Http(until) if clock::now() < *until => return Ok(None),
            // An error: its task has ended without an answer.
            Way::Dialling(dialled) if dialled.has_changed().is_ok() => return Err(dialled.clone()),
            Way::None | Way::Http(_) | Way::Dialling(_) => {}
        }
        let (tell, dialled) = watch::channel(None);
        *way = Way::Dialling(dialled.clone());
        drop(way);
        tokio::spawn(dial_for_all(self.clone(), tell));
        Err(dialled)
    }

    /// This connection takes nothing more.
    fn forget(&self, link: &Arc<Link>) {
        let mut way = held(&self.way);
        if matches!(&*way, Way::Frames(known) if Arc::ptr_eq(known, link)) {
            *way = Way::None;
        }
    }

    /// Dials, and asks for frames; and for how long the answer holds, where that is no.
    async fn dial(&self) -> Result<Result<Arc<Link>, Duration>, PeerError> {
        let Around { limits, hello, stats, values } = &*self.around;
        let mut stream = dial(&self.authority, limits).await?;
        let shaken = clock::timeout(limits.connect_timeout, shake(&mut stream, &self.authority, hello)).await;
        Ok(match shaken {
            Ok(Some((upgrade::Answer::Yes { node }, read))) => {
                Ok(Link::start(stream, &read, node, limits.clone(), stats.clone(), values))
            }
            Ok(Some((upgrade::Answer::No, _))) => Err(REFUSED),
            Ok(Some((upgrade::Answer::Stranger(cluster), _))) => {
                return Err(PeerError::OtherCluster(cluster));
            }
            Ok(None) | Err(clock::Elapsed) => Err(UNANSWERED),
        })
    }
}

impl Drop for Peer {
    fn drop(&mut self) {
        if let Way::Frames(link) = &*held(&self.way) {
            link.drain();
        }
    }
}

async fn dial_for_all(peer: Arc<Peer>, tell: watch::Sender<Option<Dialled>>) {
    let dialled = peer.dial().await;
    *held(&peer.way) = match &dialled {
        Ok(Ok(link)) => Way::Frames(link.clone()),
        Ok(Err(span)) => Way::Http(clock::after(clock::now(), *span)),
        Err(_) => Way::None,
    };
    tell.send_replace(Some(dialled.map(Result::ok)));
}

/// Asks for frames. The answer and what came behind it; `None`: there was none.
async fn shake(stream: &mut TcpStream, authority: &str, hello: &Hello) -> Option<(upgrade::Answer, Vec<u8>)> {
    stream.write_all(&upgrade::request(authority, hello)).await.ok()?;
    let mut read = Vec::new();
    loop {
        if let Some((answer, taken)) = upgrade::read(&read, hello.cluster.as_deref()) {
            return Some((answer, read.split_off(taken)));
        }
        if read.len() > HEAD_MAX || stream.read_buf(&mut read).await.ok()? == 0 {
            return None;
        }
    }
}

fn held<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests;
