//! What a caller may ask beside the key, and what is known of the value it gets.

use std::sync::Arc;
use std::time::Duration;

use crate::value::Value;

/// What `get` is asked for beside the key.
#[derive(Clone, Copy, Debug, Default)]
#[non_exhaustive]
pub struct Ask {
    /// How long the caller waits; `None`: twice the group's load deadline and a second each, which only a loader that
    /// blocks its thread can exhaust.
    pub deadline: Option<Duration>,
    /// Ask memory only, here and at the owner, and start no load.
    pub cached_only: bool,
}

impl Ask {
    /// Waits at most so long.
    #[must_use]
    pub fn within(mut self, deadline: Duration) -> Self {
        self.deadline = Some(deadline);
        self
    }

    /// Asks memory only.
    #[must_use]
    pub fn cached_only(mut self) -> Self {
        self.cached_only = true;
        self
    }
}

/// Where an answer came from.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Source {
    /// This node's memory; it owns the key.
    Memory,
    /// This node's memory; another owns the key.
    Mirror,
    /// The owner's memory, over the network.
    Owner,
    /// The origin, for this answer, whichever node's loader asked it.
    Origin,
}

/// A value and what is known of it.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Answer<V = Value> {
    /// The value.
    pub value: V,
    /// Where it came from.
    pub source: Source,
    /// Since it was read at the origin.
    pub age: Duration,
    /// How much longer it may be served; `None`: without end.
    pub ttl: Option<Duration>,
    /// It is past its ttl.
    pub stale: bool,
    /// The node whose memory or loader gave it.
    pub node: Arc<str>,
}
