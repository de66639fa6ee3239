//! Changes that depend on what is cached: a set under a condition, another end, a remove that says whether there was
//! anything.
//!
//! They are made at the key's owner, each at once: the owner looks, decides, and stores only in the place of what it
//! looked at; where somebody was quicker it looks again. So of two who set what must not be there one is told no.
//! Nothing is ever loaded, and a load in the air is no entry yet. Copies elsewhere go the way of a `set`'s.

use std::time::Duration;

use bytes::Bytes;

use crate::error::WriteError;
use crate::group::Group;
use crate::message::{Change, ExpireIf, Life, Request, SetIf};
use crate::stats::Region;
use crate::store::{Arrival, Swap};
use crate::units::Key;
use crate::view::Owner;

impl Group {
    /// As [`set`](Self::set), if `only` holds at the key's owner; whether it did. Else nothing is changed.
    ///
    /// Of several calls at once that want the key to be absent one sets it. That makes it no lock: a cache may forget a key
    /// at any moment. A second try over a connection that broke may find what the first has set. Dropping the future
    /// leaves it open whether the owner has done it.
    ///
    /// # Errors
    /// See [`WriteError`]; `Unsupported` of an owner in a dialect other than native.
    pub async fn set_if(
        &self,
        key: impl AsRef<[u8]>,
        value: impl Into<Bytes>,
        life: Life,
        only: SetIf,
    ) -> Result<bool, WriteError> {
        let value = value.into();
        self.check_value(value.len())?;
        self.change(key.as_ref(), Change::Set { value, life, only }).await
    }

    /// Has what the key's owner holds be served for another time from now on, if `only` holds; whether it did, and there
    /// was anything. A life of no time takes it out.
    ///
    /// Nothing is loaded for it, and what a load in the air brings lives as long as it would have. Copies on other nodes
    /// keep their end for at most their ttl or 60 s, as of `set`. Where memory has no room for an entry with an end, it is
    /// forgotten. Costs the owner a copy of the value. Dropping the future leaves it open whether the owner has done it.
    ///
    /// # Errors
    /// See [`WriteError`]; `Unsupported` of an owner in a dialect other than native.
    pub async fn expire(
        &self,
        key: impl AsRef<[u8]>,
        life: Life,
        only: ExpireIf,
    ) -> Result<bool, WriteError> {
        self.change(key.as_ref(), Change::Expire { life, only }).await
    }

    /// As [`remove`](Self::remove), and tells whether the key was cached: at its owner, or here.
    ///
    /// Of several calls at once one is told so of what the owner held. In the dialects of the family another owner cannot
    /// say, and what was held here counts alone.
    ///
    /// # Errors
    /// As `remove`.
    pub async fn remove_held(&self, key: impl AsRef<[u8]>) -> Result<bool, WriteError> {
        let key = self.checked(key.as_ref())?;
        let is_mirrored = !self.is_local(key) && self.held(key).is_some();
        match self.change(key, Change::Remove).await {
            Err(WriteError::Unsupported { .. }) => self.remove(key).await.map(|()| is_mirrored),
            removed => removed,
        }
    }

    async fn change(&self, key: &[u8], change: Change) -> Result<bool, WriteError> {
        let key = self.checked(key)?;
        loop {
            let view = self.shared.around.views.current();
            let owner = view.owner(self.shared.seed, key);
            let told = match owner {
                Owner::Local => match self.change_as_owner(key, &change) {
                    Some(is_changed) => Ok(is_changed),
                    // The list changed meanwhile, and another owns the key now.
                    None => continue,
                },
                Owner::Remote(member) => {
                    let (group, change) = (self.name().clone(), change.clone());
                    self.tell(member, Request::Change { group, key: Key::new(key), change }).await
                }
            };
            if matches!(told, Ok(false)) && change != Change::Remove {
                return told;
            }
            // What this node mirrors is older than the change. Of a key of its own only the change itself is here.
            let was_mirrored = owner != Owner::Local && self.forget(key);
            let is_changed = matches!(told, Ok(true)) || was_mirrored;
            return self.drop_copies(&view, owner, key, told.map(drop)).await.map(|()| is_changed);
        }
    }

    /// Makes a change as the key's owner, and gives whether it is made; `None`: this node does not own the key, and has
    /// forgotten it.
    pub(crate) fn change_as_owner(&self, key: &[u8], change: &Change) -> Option<bool> {
        loop {
            if !self.is_local(key) {
                self.forget(key);
                return None;
            }
            let swapped = match change {
                Change::Remove => return Some(self.forget(key)),
                Change::Set { value, life, only } => self.try_set(key, value, *life, *only),
                Change::Expire { life, only } => self.try_expire(key, *life, *only),
            };
            match swapped {
                Some(Swap::Done) => return Some(true),
                Some(Swap::NoRoom) => {
                    // As of a plain set: what is there is not what was wanted.
                    self.forget(key);
                    return Some(true);
                }
                // Each turn of this loop is one that somebody else's change was made in.
                Some(Swap::Undone) => {}
                None => return Some(false),
            }
        }
    }

    /// `None`: what is there is not as it has to be.
    fn try_set(&self, key: &[u8], value: &Bytes, life: Life, only: SetIf) -> Option<Swap> {
        let store = &self.shared.store;
        let seen = store.seen(key);
        let holds = match only {
            SetIf::Always => true,
            SetIf::Absent => seen.is_none(),
            SetIf::Present => seen.is_some(),
        };
        let ttl = life.ttl(self.shared.settings.ttl, seen.as_ref().map(|seen| store.left(seen)));
        let arrival = Arrival { value: value.clone(), age: Duration::ZERO, ttl, region: Region::Owned };
        holds.then(|| {
            store.swap(key, seen.as_ref(), &arrival, || {
                // A load that began before may not land on top of what is set.
                self.detach(key);
                self.is_local(key)
            })
        })
    }

    /// `None`: what is there is not as it has to be.
    fn try_expire(&self, key: &[u8], life: Life, only: ExpireIf) -> Option<Swap> {
        let store = &self.shared.store;
        let seen = store.seen(key)?;
        let left = store.left(&seen);
        let ttl = life.ttl(self.shared.settings.ttl, Some(left));
        only.holds(left, ttl).then(|| store.expire(&seen, ttl, || self.is_local(key)))
    }
}
