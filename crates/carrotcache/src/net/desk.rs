//! What all connections to the peer port go by, and share.
//!
//! Decides nothing about a value: it says what is refused, counts that, and holds what is limited over all connections.

use std::sync::Arc;

use tokio::sync::Semaphore;

use crate::limits::Limits;
use crate::message::Reply;
use crate::net::intake::{Intake, NoRoom};
use crate::net::reached::Answer;
use crate::net::upgrade::Hello;
use crate::stats::{NodeStats, Refusal};

/// What a message may hold beside its value, in bytes.
pub(super) const SLACK: u64 = 64 << 10;

/// What all connections of a port go by, and share.
pub(super) struct Desk {
    pub(super) answer: Answer,
    /// One for each request that waits, on any wire.
    pub(super) in_flight: Arc<Semaphore>,
    /// Of sets, until they are done.
    pub(super) bodies: Intake,
    /// Of values that wait to be sent.
    pub(super) answers: Intake,
    pub(super) limits: Limits,
    pub(super) stats: Arc<NodeStats>,
    pub(super) hello: Hello,
}

impl Desk {
    /// Why there can be no such key; groups of the family may have an empty one, ours have none in any row.
    pub(super) fn refuse_key(&self, key: &[u8]) -> Option<Reply> {
        let limit = self.limits.key.as_u64();
        if key.is_empty() {
            self.stats.refusals.add(Refusal::Key);
            Some(Reply::BadRequest(Arc::from("key is required")))
        } else if key.len() as u64 > limit {
            self.stats.refusals.add(Refusal::Key);
            let why = format!("key of {} bytes is over the limit of {limit}", key.len());
            Some(Reply::TooLarge(Arc::from(why)))
        } else {
            None
        }
    }

    pub(super) fn busy(&self, limit: usize) -> Reply {
        self.stats.refusals.add(Refusal::InFlight);
        Reply::Busy(format!("{limit} requests from peers in flight").into())
    }

    pub(super) fn busy_with(&self, full: NoRoom) -> Reply {
        self.stats.refusals.add(full.cause());
        Reply::Busy(full.to_string().into())
    }

    pub(super) fn malformed(&self, why: &str) -> Reply {
        self.stats.refusals.add(Refusal::Malformed);
        Reply::BadRequest(Arc::from(why))
    }

    pub(super) fn too_many_keys(&self, why: &str) -> Reply {
        self.stats.refusals.add(Refusal::Malformed);
        Reply::TooLarge(Arc::from(why))
    }

    pub(super) fn value_too_large(&self, length: u64) -> Reply {
        self.stats.refusals.add(Refusal::Value);
        let limit = self.limits.value.as_u64();
        Reply::TooLarge(Arc::from(format!("value of {length} bytes is over the limit of {limit}")))
    }
}
