//! The node, as a port reaches it for the peers that ask.
//!
//! A seam for tests, which put answers of their own behind a port.

use std::sync::Arc;
use std::time::Instant;

use crate::message::{Found, Reply, Request};
use crate::node::Node;
use crate::peers::BoxFuture;

/// How the node is reached.
pub(crate) type Answer = Arc<dyn Served>;

/// A node that answers.
pub(crate) trait Served: Send + Sync {
    /// Tells what memory holds of these keys of a group, each with its place among them, at once. The others are to be
    /// asked for.
    fn look(&self, group: &str, keys: &[&[u8]], tell: &mut dyn FnMut(usize, Found)) {
        let _ = (group, keys, tell);
    }

    /// What memory holds of one key of a group at this instant, if that has no more than so many bytes. Else it is to be
    /// asked for.
    fn look_for_one(&self, group: &str, key: &[u8], room: usize, now: Instant) -> Option<Found> {
        let _ = (group, key, room, now);
        None
    }

    /// Tells them in their order if memory holds all, and if they have no more than so many bytes together; whether it
    /// did.
    fn look_for_all(&self, group: &str, keys: &[&[u8]], room: usize, tell: &mut dyn FnMut(Found)) -> bool {
        let _ = (group, keys, room, tell);
        false
    }

    /// Answers a request. Called once for each that makes sense; dropped when the asking peer goes away.
    fn answer(&self, what: Request) -> BoxFuture<'static, Reply>;
}

#[cfg(test)]
impl<F, R> Served for F
where
    F: Fn(Request) -> R + Send + Sync,
    R: Future<Output = Reply> + Send + 'static,
{
    fn answer(&self, what: Request) -> BoxFuture<'static, Reply> {
        Box::pin(self(what))
    }
}

/// A node, as its peers reach it.
pub(crate) struct Reached(pub(crate) Arc<Node>);

impl Served for Reached {
    fn look(&self, group: &str, keys: &[&[u8]], tell: &mut dyn FnMut(usize, Found)) {
        self.0.look(group, keys, tell);
    }

    fn look_for_one(&self, group: &str, key: &[u8], room: usize, now: Instant) -> Option<Found> {
        self.0.look_for_one(group, key, room, now)
    }

    fn look_for_all(&self, group: &str, keys: &[&[u8]], room: usize, tell: &mut dyn FnMut(Found)) -> bool {
        self.0.look_for_all(group, keys, room, tell)
    }

    fn answer(&self, what: Request) -> BoxFuture<'static, Reply> {
        let node = self.0.clone();
        Box::pin(async move { node.answer(what).await })
    }
}
