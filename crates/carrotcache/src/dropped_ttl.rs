//! The warning that values with a ttl go to peers that drop it.
//!
//! The seed and golang/groupcache know no expiry: what they are handed with a ttl they keep until it is evicted, and
//! serve it meanwhile. Nothing in the protocol can change that, so somebody is told, once for each node: when a group is
//! opened with a ttl beside such peers, or when the first such value leaves, whichever comes first.

use std::sync::atomic::{AtomicBool, Ordering};

/// Whether the warning was given.
#[derive(Debug, Default)]
pub(crate) struct DroppedTtl(AtomicBool);

impl DroppedTtl {
    /// Warns of peers of this dialect, unless it was done before.
    pub(crate) fn warn(&self, dialect: &str) {
        // Looked at first: this may be asked for every value that is handed out, by all cores.
        if !self.0.load(Ordering::Relaxed) && !self.0.swap(true, Ordering::Relaxed) {
            tracing::warn!("peers of dialect {dialect} drop a ttl and keep the value until it is evicted");
        }
    }
}

#[cfg(test)]
pub(crate) mod tests;
