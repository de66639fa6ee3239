//! Inventory: what this node's own memory holds of a group, for whoever looks through it.
//!
//! Of one node, not of the cluster: entries that it owns and its mirrors of others'. Looking counts nothing and moves
//! nothing, and asks nobody.

use crate::group::Group;
use crate::units::Key;

impl Group {
    /// How many entries this node's memory holds, mirrors and what has expired unnoticed included.
    pub fn entries(&self) -> u64 {
        self.shared.store.len()
    }

    /// About `count` keys of entries that this node would serve, from `cursor` on, and the cursor to go on with; `None`:
    /// that was all. A walk begins at 0.
    ///
    /// A key that is there throughout a walk is given exactly once, however long the walk takes and whatever comes and goes
    /// meanwhile. Cursors are below 2^42 and mean nothing to another group or after a restart. Costs some tens of
    /// nanoseconds a key, for which writes of some keys have to wait.
    pub fn scan(&self, cursor: u64, count: usize) -> (Vec<Key>, Option<u64>) {
        self.shared.store.scan(cursor, count, |key| self.is_local(key))
    }
}
