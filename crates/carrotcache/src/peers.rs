//! How a node asks its peers: through a transport, past a breaker.
//!
//! [`Transport`] is a seam with two real sides, the network and a simulator; what it carries are `message.rs`'s
//! values. A peer that failed several times in a row rests for a moment: asking it again would cost every get of
//! its keys a connect timeout. One that was silent, and could not say that it lives, is asked just that when its rest is
//! over, and nothing else before it has: a get as the trial would cost its caller all the time that a load may take.

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::time::{Duration, Instant};

use crate::breaker::Breaker;
use crate::by_authority::ByAuthority;
use crate::clock::{self, Clock, Moment};
use crate::dropped_ttl::DroppedTtl;
use crate::error::PeerError;
use crate::message::{Reply, Request};
use crate::runtimes::Runtimes;
use crate::stats::{Histogram, HistogramSnapshot};
use crate::sync::{Mutex, lock};
use crate::view::{Member, View};

/// For a silent peer to say that it lives. It answers from its connection's task, whatever its loads do.
const PROBE: Duration = Duration::from_secs(1);

/// A future that owns what it needs.
pub type BoxFuture<'a, T> = Pin<Box<dyn Future<Output = T> + Send + 'a>>;

/// What peers of a dialect do with what they are told.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Customs {
    /// A set or a remove is told to every member by whoever makes it.
    pub(crate) tell_all: bool,
    /// They take a value and drop its ttl: the dialect's name.
    pub(crate) drops_ttl: Option<&'static str>,
}

impl Customs {
    /// Our own: a write is the owner's business, and a ttl is kept.
    pub(crate) const NATIVE: Self = Self { tell_all: false, drops_ttl: None };
}

/// How a node asks a peer. One side is the network, the other the simulator.
pub(crate) trait Transport: Send + Sync + 'static {
    /// Asks `to`, and gives its reply or why there is none, at `deadline` at the latest.
    ///
    /// Dropping the future abandons the wait; the peer may act on the request all the same.
    fn ask<'a>(
        &'a self,
        to: &'a Member,
        what: Request,
        deadline: Instant,
    ) -> BoxFuture<'a, Result<Reply, PeerError>>;

    /// A line to the peer that stands, if this transport has such and there is one.
    fn line(&self, to: &Member) -> Option<Arc<dyn Line>> {
        let _ = to;
        None
    }

    /// What the peers at the other end do with what they are told.
    fn customs(&self) -> Customs {
        Customs::NATIVE
    }

    /// The dialect in which they are asked.
    fn dialect(&self) -> &'static str {
        "native"
    }

    /// Whether there is a way to ask them this. If not, `ask` gives `Reply::Unsupported` and sends nothing.
    fn can_say(&self, what: &Request) -> bool {
        let _ = what;
        true
    }

    /// The members that will be asked from now on; connections to others may be closed.
    fn retain(&self, members: &[Member]) {
        let _ = members;
    }
}

/// A standing line to a peer. What is asked on it takes no task of its own.
pub(crate) trait Line: Send + Sync {
    /// Asks, at the instant `now`, and has `then` told how it ended: once, soon after `deadline` at the latest. It is told
    /// in the line's own task, or in this call, and must not hold either up.
    ///
    /// Gives whether it is still to be told, and the task that will tell it runs on the very thread on which this is called, as on a runtime of one
    /// thread. Whoever waits there needs no timer beside that task's: while the thread is held up, neither would ring.
    fn send(&self, what: &Request, now: Instant, deadline: Instant, then: Then) -> bool;
}

/// Who is told how a request ended, and when: an instant read once for all that came together.
pub(crate) type Then = Box<dyn FnOnce(Sent, Instant) + Send>;

/// How a request on a line ended.
pub(crate) enum Sent {
    Answered(Result<Reply, PeerError>),
    /// The line was gone before the peer saw it: ask again, another way.
    Unseen,
}

/// The transport of a node without peers.
pub(crate) struct NoPeers;

impl Transport for NoPeers {
    fn ask<'a>(&'a self, _: &'a Member, _: Request, _: Instant) -> BoxFuture<'a, Result<Reply, PeerError>> {
        Box::pin(async { Err(PeerError::Connect("this node has no transport".into())) })
    }
}

/// A transport, with a breaker for each peer.
pub(crate) struct Peers {
    transport: Arc<dyn Transport>,
    health: Arc<Health>,
    dropped_ttl: Arc<DroppedTtl>,
    /// Peers are asked on these, whoever asks: a connection lives where it was made.
    runtimes: Runtimes,
}

/// What is known of the peers' lives.
struct Health {
    clock: Clock,
    /// By authority; bounded by the view, see `retain`.
    known: Mutex<ByAuthority<Arc<Mutex<Known>>>>,
}

struct Known {
    authority: Arc<str>,
    breaker: Breaker,
    /// It is being asked whether it lives.
    is_probed: bool,
    /// It did not say that it lives when it was asked, and has given no reply since.
    is_silent: bool,
    /// Requests that were let through, and are over.
    requests: u64,
    /// Of those that ended by themselves.
    seconds: Histogram,
}

/// A member of the list, as this node knows it.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct PeerSnapshot {
    /// The member.
    pub member: Member,
    /// Which part of all keys it owns, from 0 to 1.
    pub share: f64,
    /// How asking it has gone; `None` for this node, which does not ask itself.
    pub asked: Option<PeerRequests>,
}

/// How asking a peer has gone, since it came into the list.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct PeerRequests {
    /// Whether it is asked now.
    pub state: PeerState,
    /// Failures in a row, up to now.
    pub failures: u32,
    /// Requests that were sent to it and are over; those it was spared while it rested are not among them.
    pub requests: u64,
    /// How long they took, however they ended, save those whose caller went away.
    pub seconds: HistogramSnapshot,
}

/// Whether a peer is asked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum PeerState {
    /// Nothing was asked of it yet.
    Untried,
    /// It is asked as ever.
    Up,
    /// It failed several times in a row and is left alone.
    Resting {
        /// Until the next try; nothing where it is due or under way.
        wait: Duration,
    },
}

impl Peers {
    pub(crate) fn new(transport: Arc<dyn Transport>, clock: Clock, runtimes: Runtimes) -> Self {
        let health = Arc::new(Health { clock, known: Mutex::default() });
        Self { transport, health, dropped_ttl: Arc::default(), runtimes }
    }

    /// What peers do with what they are told.
    pub(crate) fn customs(&self) -> Customs {
        self.transport.customs()
    }

    /// The warning that a ttl is dropped, one for the whole node.
    pub(crate) fn dropped_ttl(&self) -> &Arc<DroppedTtl> {
        &self.dropped_ttl
    }

    /// The dialect in which peers are asked.
    pub(crate) fn dialect(&self) -> &'static str {
        self.transport.dialect()
    }

    /// Whether there is a way to ask peers this.
    pub(crate) fn can_say(&self, what: &Request) -> bool {
        self.transport.can_say(what)
    }

    /// Asks `to` unless it rests. Cancel-safe: an abandoned ask says nothing of the peer. Nor does one for which there
    /// are no words: nothing is sent then, and the peer may be down.
    ///
    /// A reply that does not come in time says nothing either, since the peer may be hard at work on it; but it is
    /// asked then whether it lives, in a task of its own.
    pub(crate) async fn ask(
        &self,
        to: &Member,
        what: Request,
        deadline: Instant,
    ) -> Result<Reply, PeerError> {
        if !self.can_say(&what) {
            return Ok(Reply::Unsupported);
        }
        let trial = match self.health.admit(to, Moment::now(&self.health.clock)) {
            Leave::Granted(trial) => trial,
            Leave::Refused(rests) => return Err(rests),
            Leave::AfterASign(rests) => {
                self.probe(to);
                return Err(rests);
            }
        };
        let answer = self.send(to, what, deadline).await;
        self.ended(to, trial, &answer, Moment::now(&self.health.clock));
        answer
    }

    /// A line to ask `to` this on, unless there is none, or there are no words for it, or the peer rests. How asking ends
    /// is to be told to [`ended`](Self::ended) or [`Trial::unseen`], or says nothing of the peer.
    pub(crate) fn line(&self, to: &Member, what: &Request, at: Moment) -> Option<(Arc<dyn Line>, Trial)> {
        let line = self.transport.line(to).filter(|_| self.can_say(what))?;
        match self.health.admit(to, at) {
            Leave::Granted(trial) => Some((line, trial)),
            // Whoever asks without a line hears why not.
            Leave::Refused(_) | Leave::AfterASign(_) => None,
        }
    }

    /// A request that was let through has ended so.
    pub(crate) fn ended(&self, to: &Member, trial: Trial, answer: &Result<Reply, PeerError>, at: Moment) {
        trial.ends(answer, at);
        if matches!(answer, Err(PeerError::Timeout(_))) {
            self.probe(to);
        }
    }

    /// Has a peer asked whether it lives, in a task of its own, unless it is being asked already.
    fn probe(&self, to: &Member) {
        if let Some(probing) = self.health.begin_probe(to) {
            self.runtimes.spawn(probe(self.transport.clone(), probing, to.clone()));
        }
    }

    /// Asks `to` whether it rests or not, and without it counting.
    pub(crate) async fn ask_anyway(
        &self,
        to: &Member,
        what: Request,
        deadline: Instant,
    ) -> Result<Reply, PeerError> {
        self.send(to, what, deadline).await
    }

    /// Asks through the transport, on one of the node's runtimes. Costs a task where that is not the caller's.
    async fn send(&self, to: &Member, what: Request, deadline: Instant) -> Result<Reply, PeerError> {
        if self.runtimes.are_here() {
            return self.transport.ask(to, what, deadline).await;
        }
        let (transport, to) = (self.transport.clone(), to.clone());
        let asked = self.runtimes.run(async move { transport.ask(&to, what, deadline).await }).await;
        asked.unwrap_or_else(|stopped| Err(PeerError::broken(&format!("nobody asks any more: {stopped}"))))
    }

    /// How asking `member` has gone so far.
    pub(crate) fn asked(&self, member: &Member) -> PeerRequests {
        let known = lock(&self.health.known);
        let Some(peer) = known.get(&member.authority) else { return PeerRequests::never() };
        let peer = lock(peer);
        let state = match peer.breaker.rest(self.health.clock.elapsed()) {
            Some(wait) => PeerState::Resting { wait },
            None => PeerState::Up,
        };
        let seconds = peer.seconds.snapshot();
        PeerRequests { state, failures: peer.breaker.failures(), requests: peer.requests, seconds }
    }

    /// Forgets what is known of peers that are in no view any more.
    pub(crate) fn retain(&self, view: &View) {
        self.transport.retain(view.members());
        lock(&self.health.known)
            .retain(|authority, _| view.members().iter().any(|member| member.authority == *authority));
    }
}

impl PeerRequests {
    fn never() -> Self {
        let seconds = Histogram::default().snapshot();
        Self { state: PeerState::Untried, failures: 0, requests: 0, seconds }
    }
}

/// Asks a peer that was silent whether it lives.
async fn probe(transport: Arc<dyn Transport>, probing: Probing, peer: Member) {
    let answer = transport.ask(&peer, Request::Id, clock::now() + PROBE).await;
    probing.health.probed(&peer.authority, &answer);
}

/// A peer is being asked whether it lives, for as long as this is held: also when the task that asks is dropped.
struct Probing {
    health: Arc<Health>,
    authority: Arc<str>,
}

impl Drop for Probing {
    fn drop(&mut self) {
        if let Some(peer) = self.health.known(&self.authority) {
            lock(&peer).is_probed = false;
        }
    }
}

impl Health {
    fn admit(self: &Arc<Self>, to: &Member, at: Moment) -> Leave {
        let known = self.known_or_new(&to.authority);
        let mut peer = lock(&known);
        if let Err(rest) = peer.breaker.admit(at.elapsed) {
            return Leave::Refused(PeerError::Resting { failures: rest.failures, wait: rest.wait });
        }
        if peer.is_silent {
            // The breaker's trial is the question.
            let failures = peer.breaker.failures();
            return Leave::AfterASign(PeerError::Resting { failures, wait: PROBE });
        }
        drop(peer);
        Leave::Granted(Trial { health: self.clone(), peer: known, began: at.instant, is_over: false })
    }

    fn known(&self, authority: &str) -> Option<Arc<Mutex<Known>>> {
        lock(&self.known).get(authority).cloned()
    }

    fn known_or_new(&self, authority: &Arc<str>) -> Arc<Mutex<Known>> {
        let mut known = lock(&self.known);
        if let Some(peer) = known.get(authority) {
            return peer.clone();
        }
        let peer = Arc::new(Mutex::new(Known::new(authority.clone())));
        known.insert(authority.clone(), peer.clone());
        peer
    }

    /// Whether a probe is to be sent now: one at a time is enough.
    fn begin_probe(self: &Arc<Self>, to: &Member) -> Option<Probing> {
        let peer = self.known(&to.authority)?;
        let is_probed = std::mem::replace(&mut lock(&peer).is_probed, true);
        (!is_probed).then(|| Probing { health: self.clone(), authority: to.authority.clone() })
    }

    fn probed(&self, authority: &Arc<str>, answer: &Result<Reply, PeerError>) {
        let Some(peer) = self.known(authority) else { return };
        let mut peer = lock(&peer);
        match answer {
            // Nothing was sent: there are no words for it, or our pool or our memory is full.
            Ok(Reply::Unsupported)
            | Err(PeerError::Busy(_) | PeerError::Memory(_) | PeerError::Resting { .. }) => {
                peer.breaker.on_silence(self.clock.elapsed());
            }
            Ok(_) => peer.replied(),
            Err(error) => {
                peer.is_silent = true;
                gone(authority, error, peer.breaker.on_death(self.clock.elapsed()));
            }
        }
    }
}

impl Known {
    fn new(authority: Arc<str>) -> Self {
        let (breaker, seconds) = Default::default();
        Self { authority, breaker, is_probed: false, is_silent: false, requests: 0, seconds }
    }

    fn replied(&mut self) {
        self.is_silent = false;
        back(&self.authority, self.breaker.on_success());
    }
}

/// Whether a request may go to a peer.
enum Leave {
    Granted(Trial),
    /// The peer rests.
    Refused(PeerError),
    /// It has rested, and has to say that it lives first; whoever hears this asks it.
    AfterASign(PeerError),
}

/// One request that the breaker let through.
pub(crate) struct Trial {
    health: Arc<Health>,
    peer: Arc<Mutex<Known>>,
    began: Instant,
    is_over: bool,
}

impl Trial {
    /// The request was not sent, or not seen: it says nothing of the peer, and does not count.
    pub(crate) fn unseen(mut self) {
        self.is_over = true;
        lock(&self.peer).breaker.on_silence(self.health.clock.elapsed());
    }

    /// Whatever a peer replies, it is alive.
    fn ends(mut self, answer: &Result<Reply, PeerError>, at: Moment) {
        self.is_over = true;
        let now = at.elapsed;
        let mut peer = lock(&self.peer);
        peer.requests += 1;
        peer.seconds.observe(at.instant.saturating_duration_since(self.began));
        match answer {
            Ok(_) => peer.replied(),
            Err(error @ (PeerError::Connect(_) | PeerError::Broken(_) | PeerError::OtherCluster(_))) => {
                let is_news = peer.breaker.on_failure(now);
                gone(&peer.authority, error, is_news);
            }
            Err(
                PeerError::Timeout(_) | PeerError::Busy(_) | PeerError::Memory(_) | PeerError::Resting { .. },
            ) => {
                peer.breaker.on_silence(now);
            }
        }
    }
}

/// The caller went away.
impl Drop for Trial {
    fn drop(&mut self) {
        if self.is_over {
            return;
        }
        let mut peer = lock(&self.peer);
        peer.requests += 1;
        peer.breaker.on_silence(self.health.clock.elapsed());
    }
}

fn back(peer: &str, is_news: bool) {
    if is_news {
        tracing::info!(peer, "a peer is back");
    }
}

fn gone(peer: &str, error: &PeerError, is_news: bool) {
    if is_news {
        tracing::warn!(peer, %error, "a peer is left alone for now: its keys go to stand-ins");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    use std::sync::atomic::{AtomicUsize, Ordering};

    use crate::units::{GroupName, Key};

    /// Peers that never say that they live, and are late with all else.
    #[derive(Default)]
    struct Silent {
        probes: AtomicUsize,
    }

    impl Transport for Silent {
        fn ask<'a>(
            &'a self,
            _: &'a Member,
            what: Request,
            _: Instant,
        ) -> BoxFuture<'a, Result<Reply, PeerError>> {
            if !matches!(what, Request::Id) {
                return Box::pin(async { Err(PeerError::Timeout(PROBE)) });
            }
            self.probes.fetch_add(1, Ordering::Relaxed);
            Box::pin(std::future::pending())
        }
    }

    #[test]
    fn a_probe_that_ends_with_its_runtime_leaves_the_peer_to_the_next_one() {
        let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).build().unwrap();
        let silent = Arc::new(Silent::default());
        let runtimes = Runtimes::new([runtime.handle().clone()]);
        let peers = Peers::new(silent.clone(), Clock::manual(), runtimes);
        let peer = Member { name: "b".into(), authority: "b".into() };
        let get = Request::Get {
            group: GroupName::new("scores").unwrap(),
            key: Key::from("Tom"),
            stand_in: false,
            cached_only: false,
        };
        let is_probed = || lock(&lock(&peers.health.known)["b"]).is_probed;
        let late = runtime.block_on(peers.ask(&peer, get, clock::now()));
        assert!(matches!(late, Err(PeerError::Timeout(_))), "{late:?}");
        while silent.probes.load(Ordering::Relaxed) == 0 {
            std::thread::yield_now();
        }
        assert!(is_probed());
        runtime.shutdown_background();
        while is_probed() {
            std::thread::yield_now();
        }
    }
}
