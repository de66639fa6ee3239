//! x
use std::future::Future;
use std::pin::Pin;
use std::time::Instant;

use crate::error::PeerError;
use crate::message::{Reply, Request};
use crate::view::Member;

/// A future that owns what it needs.
pub type BoxFuture<'a, T> = Pin<Box<dyn Future<Output = T> + Send + 'a>>;

/// How a node asks a peer. One side is the network, the other the simulator.
pub trait Transport: Send + Sync + 'static {
    /// Asks `to`, and gives its reply or why there is none, at `deadline` at the latest.
    ///
    /// Dropping the future abandons the wait; the peer may act on the request all the same.
    fn ask<'a>(
        &'a self,
        to: &'a Member,
        what: Request,
        deadline: Instant,
    ) -> BoxFuture<'a, Result<Reply, PeerError>>;
}
