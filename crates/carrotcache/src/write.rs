//! The user's writes: `set` and `remove` go to the key's owner and drop what this node holds.
//!
//! Order: the owner first, then here. A fetch that began before the owner changed is detached by then and mirrors
//! nothing; one that begins later brings the new value. Copies that other nodes mirror live on until their ttl
//! ends, a minute at most.
//!
//! Beside peers of mailgun's and groupcache-go's dialects whoever writes tells every member, the owner first. What the
//! others are told is always a remove: groupcache-go's own `set` gives each of them the value, and what is in the main
//! cache of a node that does not own the key lives on there, out of reach of the next write that comes by another way.

use std::error::Error;
use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;
use tokio::task::{JoinError, JoinSet};

use crate::clock;
use crate::error::{PeerError, WriteError};
use crate::group::Group;
use crate::loader::Loaded;
use crate::message::{Reply, Request};
use crate::stats::{Refusal, Region};
use crate::store::Arrival;
use crate::units::Key;
use crate::view::{Member, Owner, View};

/// Members that are told at one time to drop their copies. Enough for most clusters at once; a larger one is told in
/// turn, and no write opens a thousand connections.
const TOLD_AT_ONCE: usize = 64;

impl Group {
    /// Puts a value into the cache, at the key's owner. The origin is not told: write it first.
    ///
    /// Until its ttl ends (the value's own, else the group's) gets see it, unless it is evicted, removed or set
    /// anew. Copies on other nodes, mirrors of a hot key and what a stand-in kept while the owner was down, keep the old
    /// value for at most their ttl or 60 s; in the dialects mailgun and groupcache-go they are dropped before this
    /// returns. Dropping the future leaves it open whether the owner has done it.
    ///
    /// # Errors
    /// See [`WriteError`].
    pub async fn set(&self, key: impl AsRef<[u8]>, value: impl Into<Loaded>) -> Result<(), WriteError> {
        let key = self.checked(key.as_ref())?;
        let Loaded { value, ttl } = value.into();
        self.check_value(value.len())?;
        // Of a family's owner no group has a ttl of its own.
        let ttl = if self.tells_all() { ttl.or(self.shared.settings.ttl) } else { ttl };
        loop {
            let view = self.shared.around.views.current();
            let owner = view.owner(self.shared.seed, key);
            let Owner::Remote(member) = owner else {
                if self.keep_as_owner(key, value.clone(), ttl) {
                    return self.drop_copies(&view, owner, key, Ok(())).await;
                }
                // The list changed between our look at it and the entry's lock.
                continue;
            };
            let what = Request::Set { group: self.name().clone(), key: Key::new(key), value, ttl };
            let told = self.tell(member, what).await.map(drop);
            self.forget(key);
            return self.drop_copies(&view, owner, key, told).await;
        }
    }

    /// Forgets `key` at its owner and here, so that the next get asks the origin.
    ///
    /// A load that is in the air is detached: its callers get what it brings, and it is not kept. Copies on other nodes,
    /// as of `set`, live on for at most their ttl or 60 s, save in the dialects mailgun and groupcache-go. Dropping the
    /// future leaves it open whether the owner has done it.
    ///
    /// # Errors
    /// See [`WriteError`]. A key that was not cached is no error.
    pub async fn remove(&self, key: impl AsRef<[u8]>) -> Result<(), WriteError> {
        let key = self.checked(key.as_ref())?;
        loop {
            let view = self.shared.around.views.current();
            let owner = view.owner(self.shared.seed, key);
            let Owner::Remote(member) = owner else {
                self.forget(key);
                if self.is_local(key) {
                    return self.drop_copies(&view, owner, key, Ok(())).await;
                }
                // The list changed meanwhile, and another owns the key now.
                continue;
            };
            let told = self.tell(member, self.remove_of(key)).await.map(drop);
            self.forget(key);
            return self.drop_copies(&view, owner, key, told).await;
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
    /// Flights are detached first: one that lands in between is not kept, or is kept and removed next. Gives whether
    /// anything was held.
    pub(crate) fn forget(&self, key: &[u8]) -> bool {
        self.detach(key);
        self.shared.store.remove(key)
    }

    pub(crate) fn detach(&self, key: &[u8]) {
        self.shared.loads.detach(key);
        self.shared.fetches.detach(key);
    }

    fn remove_of(&self, key: &[u8]) -> Request {
        Request::Remove { group: self.name().clone(), key: Key::new(key) }
    }

    /// Tells the owner, and gives whether it made a change; a set or a remove it makes whatever there is.
    pub(crate) async fn tell(&self, owner: &Member, what: Request) -> Result<bool, WriteError> {
        let owner_name = owner.name.clone();
        match self.shared.around.peers.ask(owner, what, self.write_deadline()).await {
            Ok(Reply::Done) => Ok(true),
            Ok(Reply::Changed(is_changed)) => Ok(is_changed),
            Ok(Reply::Unsupported) => Err(WriteError::Unsupported { owner: owner_name }),
            Ok(refusal) => {
                if matches!(refusal, Reply::NotOwner) && self.shared.around.views.disagrees(owner, None) {
                    self.explain(owner);
                }
                Err(WriteError::Refused { owner: owner_name, answer: refusal.to_string().into() })
            }
            Err(PeerError::Memory(full)) => {
                self.shared.stats.refusals.add(Refusal::Memory);
                Err(WriteError::Busy { limit: full.to_string().into() })
            }
            // Nothing was sent.
            Err(busy @ PeerError::Busy(_)) => {
                Err(WriteError::Busy { limit: format!("{busy} ({owner_name})").into() })
            }
            Err(lost) => Err(Missed { member: owner_name, cause: Arc::new(lost) }.into()),
        }
    }

    fn write_deadline(&self) -> Instant {
        clock::after(clock::now(), self.shared.around.limits.write_timeout)
    }

    fn tells_all(&self) -> bool {
        self.shared.around.peers.customs().tell_all
    }

    /// Where peers leave that to the writer, has every member but the owner drop its copy; and how the write ended, of
    /// which the owner's part ended as `told`. All are told, whoever fails: each copy that is gone is one less to be wrong.
    pub(crate) async fn drop_copies(
        &self,
        view: &View,
        owner: Owner<'_>,
        key: &[u8],
        told: Result<(), WriteError>,
    ) -> Result<(), WriteError> {
        if !self.tells_all() {
            return told;
        }
        let others = view.others().filter(|member| owner != Owner::Remote(member));
        self.tell_each(others, &self.remove_of(key), told).await
    }

    /// Tells these members to forget something, some at a time, and gives how the write ended, that has ended as `told`
    /// so far.
    pub(crate) async fn tell_each(
        &self,
        members: impl Iterator<Item = &Member>,
        what: &Request,
        told: Result<(), WriteError>,
    ) -> Result<(), WriteError> {
        let mut missed = Vec::new();
        let mut telling = JoinSet::new();
        for member in members {
            if telling.len() == TOLD_AT_ONCE {
                missed.extend(telling.join_next().await.and_then(missed_by));
            }
            let (group, member, what) = (self.clone(), member.clone(), what.clone());
            let runtime = self.shared.around.runtimes.nearest();
            telling.spawn_on(async move { group.have_forget(member, what).await }, runtime);
        }
        while let Some(ended) = telling.join_next().await {
            missed.extend(missed_by(ended));
        }
        // In an order that does not depend on who was the slowest.
        missed.sort_by(|a, b| a.member.cmp(&b.member));
        missed.into_iter().fold(told, also)
    }

    /// Has one member forget. One without the group, or that says it owns no such key, holds nothing.
    async fn have_forget(self, member: Member, what: Request) -> Result<(), Missed> {
        let answer = self.shared.around.peers.ask(&member, what, self.write_deadline()).await;
        let cause: Arc<dyn Error + Send + Sync> = match answer {
            Ok(Reply::Done | Reply::NotOwner | Reply::NoGroup) => return Ok(()),
            Ok(refusal) => Arc::new(Answered(refusal)),
            Err(lost) => Arc::new(lost),
        };
        Err(Missed { member: member.name, cause })
    }
}

/// A member that may not have heard of a write.
struct Missed {
    member: Arc<str>,
    cause: Arc<dyn Error + Send + Sync>,
}

impl From<Missed> for WriteError {
    fn from(Missed { member, cause }: Missed) -> Self {
        Self::Unconfirmed { members: vec![member], source: cause }
    }
}

/// A member that answered, and did not do it.
#[derive(Debug, thiserror::Error)]
#[error("it answered: {0}")]
struct Answered(Reply);

/// How a write ended that one more member missed. What its owner refused nobody has done, so that stands.
fn also(ended: Result<(), WriteError>, missed: Missed) -> Result<(), WriteError> {
    match ended {
        Ok(()) => Err(missed.into()),
        Err(WriteError::Unconfirmed { mut members, source }) => {
            members.push(missed.member);
            Err(WriteError::Unconfirmed { members, source })
        }
        refused => refused,
    }
}

fn missed_by(ended: Result<Result<(), Missed>, JoinError>) -> Option<Missed> {
    // A task ends without a word only with its runtime, and its member has not confirmed.
    ended.unwrap_or_else(|lost| Err(Missed { member: "a member".into(), cause: Arc::new(lost) })).err()
}
