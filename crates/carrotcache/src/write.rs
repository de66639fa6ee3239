//! The user's writes: `set` and `remove` go to the key's owner and drop what this node holds.
//!
//! Order: the owner first, then here. A fetch that began before the owner changed is detached by then and mirrors
//! nothing; one that begins later brings the new value. Copies that other nodes mirror live on until their ttl
//! ends, a minute at most.

use std::time::Duration;

use bytes::Bytes;

use crate::clock;
use crate::error::WriteError;
use crate::group::Group;
use crate::loader::Loaded;
use crate::message::{Reply, Request};
use crate::stats::{Refusal, Region};
use crate::store::Arrival;
use crate::units::Key;
use crate::view::{Member, Owner};

impl Group {
    /// Puts a value into the cache, at the key's owner. The origin is not told: write it first.
    ///
    /// Until its ttl ends (the value's own, else the group's) gets see it, unless it is evicted, removed or set
    /// anew. Copies on other nodes, mirrors of a hot key and what a stand-in kept while the owner was down, keep the old
    /// value for at most their ttl or 60 s. Dropping the future leaves it open whether the owner has done it.
    ///
    /// # Errors
    /// See [`WriteError`].
    pub async fn set(&self, key: impl AsRef<[u8]>, value: impl Into<Loaded>) -> Result<(), WriteError> {
        let key = self.checked(key.as_ref())?;
        let Loaded { value, ttl } = value.into();
        self.check_value(value.len())?;
        loop {
            let view = self.shared.around.views.current();
            let Owner::Remote(owner) = view.place(self.shared.seed, key).owner() else {
                if self.keep_as_owner(key, value.clone(), ttl) {
                    return Ok(());
                }
                // The list changed between our look at it and the entry's lock.
                continue;
            };
            let what = Request::Set { group: self.name().clone(), key: Key::new(key), value, ttl };
            let told = self.tell(owner, what).await;
            self.forget(key);
            return told;
        }
    }

    /// Forgets `key` at its owner and here, so that the next get asks the origin.
    ///
    /// A load that is in the air is detached: its callers get what it brings, and it is not kept. Copies on other nodes,
    /// as of `set`, live on for at most their ttl or 60 s. Dropping the future leaves it open whether the
    /// owner has done it.
    ///
    /// # Errors
    /// See [`WriteError`]. A key that was not cached is no error.
    pub async fn remove(&self, key: impl AsRef<[u8]>) -> Result<(), WriteError> {
        let key = self.checked(key.as_ref())?;
        loop {
            let view = self.shared.around.views.current();
            let Owner::Remote(owner) = view.place(self.shared.seed, key).owner() else {
                self.forget(key);
                if self.is_local(key) {
                    return Ok(());
                }
                // The list changed meanwhile, and another owns the key now.
                continue;
            };
            let what = Request::Remove { group: self.name().clone(), key: Key::new(key) };
            let told = self.tell(owner, what).await;
            self.forget(key);
            return told;
        }
    }

    /// Whether a value of this length may be set here.
    pub(crate) fn check_value(&self, length: usize) -> Result<(), WriteError> {
        let (length, limit) = (length as u64, self.shared.around.limits.value.as_u64());
        if length <= limit {
            return Ok(());
        }
        self.shared.stats.refusals.add(Refusal::Value);
        Err(WriteError::TooLarge { length, limit })
    }

    /// Keeps a value that was set, in the place of whatever is there or on its way; where there is no room for it,
    /// the key is forgotten all the same. Gives false if this node does not own the key: then it is only forgotten.
    pub(crate) fn keep_as_owner(&self, key: &[u8], value: Bytes, ttl: Option<Duration>) -> bool {
        let ttl = ttl.or(self.shared.settings.ttl);
        // Whatever becomes of the new value, the old one is gone.
        self.forget(key);
        let arrival = Arrival { value, age: Duration::ZERO, ttl, region: Region::Owned };
        // Once more, under the entry's lock: a load that began since then may not land on top of what is set.
        // And the owner's: else an entry that nobody may read would come back with the next list.
        let mut is_owner = true;
        self.shared.store.keep(key, arrival, || {
            self.detach(key);
            is_owner = self.is_local(key);
            is_owner
        });
        is_owner
    }

    /// Drops what this node holds of `key`, and what is on its way here.
    ///
    /// Flights are detached first: one that lands in between is not kept, or is kept and removed next.
    pub(crate) fn forget(&self, key: &[u8]) {
        self.detach(key);
        self.shared.store.remove(key);
    }

    fn detach(&self, key: &[u8]) {
        self.shared.loads.detach(key);
        self.shared.fetches.detach(key);
    }

    async fn tell(&self, owner: &Member, what: Request) -> Result<(), WriteError> {
        let owner_name = owner.name.clone();
        let deadline = clock::after(clock::now(), self.shared.settings.fetch_deadline());
        match self.shared.around.peers.ask(owner, what, deadline).await {
            Ok(Reply::Done) => Ok(()),
            Ok(Reply::Unsupported) => Err(WriteError::Unsupported { owner: owner_name }),
            Ok(refusal) => {
                if matches!(refusal, Reply::NotOwner) && self.shared.around.views.disagrees(owner, None) {
                    self.explain(owner);
                }
                Err(WriteError::Refused { owner: owner_name, answer: refusal.to_string().into() })
            }
            Err(source) => Err(WriteError::Unconfirmed { owner: owner_name, source }),
        }
    }
}
