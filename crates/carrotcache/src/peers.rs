//! How a node asks its peers: through a transport, past a breaker.
//!
//! [`Transport`] is a seam with two real sides, the network and a simulator; what it carries are `message.rs`'s
//! values. A peer that failed several times in a row rests for a moment: asking it again would cost every get of
//! its keys a connect timeout.

use std::collections::HashMap;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Instant;

use crate::breaker::Breaker;
use crate::clock::Clock;
use crate::error::PeerError;
use crate::message::{Reply, Request};
use crate::sync::{Mutex, lock};
use crate::view::{Member, View};

/// A future that owns what it needs.
pub type BoxFuture<'a, T> = Pin<Box<dyn Future<Output = T> + Send + 'a>>;

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

    /// The members that will be asked from now on; connections to others may be closed.
    fn retain(&self, members: &[Member]) {
        let _ = members;
    }
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
    clock: Clock,
    /// By authority; bounded by the view, see `retain`.
    breakers: Mutex<HashMap<Arc<str>, Breaker>>,
}

impl Peers {
    pub(crate) fn new(transport: Arc<dyn Transport>, clock: Clock) -> Self {
        Self { transport, clock, breakers: Mutex::new(HashMap::new()) }
    }

    /// Asks `to` unless it rests. Cancel-safe: an abandoned ask says nothing of the peer.
    pub(crate) async fn ask(
        &self,
        to: &Member,
        what: Request,
        deadline: Instant,
    ) -> Result<Reply, PeerError> {
        let trial = self.admit(to)?;
        let answer = self.transport.ask(to, what, deadline).await;
        trial.ends(&answer);
        answer
    }

    /// Asks `to` whether it rests or not, and without it counting.
    pub(crate) async fn ask_anyway(
        &self,
        to: &Member,
        what: Request,
        deadline: Instant,
    ) -> Result<Reply, PeerError> {
        self.transport.ask(to, what, deadline).await
    }

    /// Forgets what is known of peers that are in no view any more.
    pub(crate) fn retain(&self, view: &View) {
        self.transport.retain(view.members());
        lock(&self.breakers)
            .retain(|authority, _| view.members().iter().any(|member| member.authority == *authority));
    }

    fn admit(&self, to: &Member) -> Result<Trial<'_>, PeerError> {
        let mut breakers = lock(&self.breakers);
        let breaker = breakers.entry(to.authority.clone()).or_default();
        match breaker.admit(self.clock.elapsed()) {
            Ok(()) => Ok(Trial { peers: self, authority: to.authority.clone() }),
            Err(rest) => Err(PeerError::Resting { failures: rest.failures, wait: rest.wait }),
        }
    }
}

/// One request that the breaker let through.
struct Trial<'a> {
    peers: &'a Peers,
    authority: Arc<str>,
}

impl Trial<'_> {
    /// Whatever a peer replies, it is alive; of a timeout or a broken connection nobody can say so.
    fn ends(self, answer: &Result<Reply, PeerError>) {
        let mut breakers = lock(&self.peers.breakers);
        let Some(breaker) = breakers.get_mut(&self.authority) else { return };
        match answer {
            Ok(_) => {
                if breaker.on_success() {
                    tracing::info!(peer = %self.authority, "a peer is back");
                }
            }
            Err(error @ (PeerError::Connect(_) | PeerError::Broken(_) | PeerError::Timeout(_))) => {
                if breaker.on_failure(self.peers.clock.elapsed()) {
                    tracing::warn!(peer = %self.authority, %error, "a peer is left alone for now: its keys go to stand-ins");
                }
            }
            // Our own doing.
            Err(PeerError::Busy(_) | PeerError::Resting { .. }) => {}
        }
    }
}
