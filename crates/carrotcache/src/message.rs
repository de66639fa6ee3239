//! What nodes ask each other, as values: every wire and the simulator carry these and nothing else.
//!
//! Pure: bytes become these in `net/`, answers are made in `node.rs`. Times are relative (a remaining ttl, an age),
//! since two nodes' clocks agree on nothing.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;

use crate::stats::Region;
use crate::units::{GroupName, Key};
use crate::value::Value;

/// What one node asks another.
#[derive(Clone, Debug)]
pub(crate) enum Request {
    /// The value of a key: from memory, else by a load there. Never forwarded.
    Get {
        /// The group.
        group: GroupName,
        /// The key.
        key: Key,
        /// The owner could not be reached and the receiver is asked in its place: it may keep what it loads, for a
        /// short while. Each row can say so; a peer in Go does not hear it.
        stand_in: bool,
        /// Answer from memory or not at all. Only the native row can say so.
        cached_only: bool,
    },
    /// The values of many keys, each as by a `Get`. At most `Limits::KEYS_MAX`. Only the native row can say so.
    GetMany {
        /// The group.
        group: GroupName,
        /// The keys; one that is there twice is answered twice.
        keys: Vec<Key>,
        /// As of a `Get`.
        stand_in: bool,
        /// As of a `Get`.
        cached_only: bool,
    },
    /// Keep this value, as its owner.
    Set {
        /// The group.
        group: GroupName,
        /// The key.
        key: Key,
        /// The value.
        value: Bytes,
        /// How long to keep it at most; `None`: as the group does.
        ttl: Option<Duration>,
    },
    /// Forget this key, as its owner.
    Remove {
        /// The group.
        group: GroupName,
        /// The key.
        key: Key,
    },
    /// Make this change of what you hold of the key, as its owner. Nothing is loaded for it. Only the native row can say
    /// so.
    Change {
        /// The group.
        group: GroupName,
        /// The key.
        key: Key,
        /// The change.
        change: Change,
    },
    /// Forget all that you hold of this group, and what is on its way. Only the native row can say so.
    Clear {
        /// The group.
        group: GroupName,
    },
    /// What do you hold of this key? Answered from memory, in which looking changes nothing. Only the native row can
    /// say so.
    Held {
        /// The group.
        group: GroupName,
        /// The key.
        key: Key,
    },
    /// Who are you? A random id made at each start. Of a peer in one of the family's rows it only asks for a sign of life,
    /// and any reply is one.
    Id,
    /// Which members do you count, by name?
    Members,
}

/// What a node answers. Typed, so that "no such key" is never mistaken for "ask somebody else".
#[derive(Clone, Debug)]
pub(crate) enum Reply {
    /// The value.
    Found(Found),
    /// To `Request::GetMany`: the answer to each key, in the order asked. Their values together are no larger than one
    /// may be alone.
    Many(Vec<Reply>),
    /// Within `Many`: for this one there was no room beside the others. To be asked for again.
    LeftOut,
    /// The set, remove or clear is done.
    Done,
    /// To `Request::Change`: whether it is made. If not, something was not as it had to be, and nothing was changed.
    Changed(bool),
    /// The origin has no such key.
    NotFound,
    /// Asked for memory only, and it holds no such key.
    NotCached,
    /// This node has no such group (yet).
    NoGroup,
    /// By this node's list another owns the key: it has forgotten the key, and kept nothing.
    NotOwner,
    /// The loader failed; what it said.
    LoadFailed(Arc<str>),
    /// A limit is reached; which.
    Busy(Arc<str>),
    /// The load did not end in time.
    Deadline,
    /// The key or the value is over a limit; which.
    TooLarge(Arc<str>),
    /// The request makes no sense; why.
    BadRequest(Arc<str>),
    /// The verb is not known here, or the row has no way to send it.
    Unsupported,
    /// To `Request::Id`.
    Id(Arc<str>),
    /// To `Request::Members`.
    Members(Vec<Arc<str>>),
    /// To `Request::Held`; `None`: nothing.
    Held(Option<Holding>),
}

/// One line for a person: what was answered, without any value.
impl fmt::Display for Reply {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Found(_) => f.write_str("found"),
            Self::Many(replies) => write!(f, "{} answers", replies.len()),
            Self::LeftOut => f.write_str("left out"),
            Self::Done => f.write_str("done"),
            Self::Changed(true) => f.write_str("changed"),
            Self::Changed(false) => f.write_str("not changed"),
            Self::NotFound => f.write_str("not found"),
            Self::NotCached => f.write_str("not cached"),
            Self::NoGroup => f.write_str("no such group"),
            Self::NotOwner => f.write_str("not the owner by its own list"),
            Self::LoadFailed(cause) => write!(f, "load failed: {cause}"),
            Self::Busy(limit) => write!(f, "busy: {limit}"),
            Self::Deadline => f.write_str("deadline"),
            Self::TooLarge(limit) => write!(f, "too large: {limit}"),
            Self::BadRequest(why) => write!(f, "bad request: {why}"),
            Self::Unsupported => f.write_str("unsupported"),
            Self::Id(_) => f.write_str("an id"),
            Self::Members(_) => f.write_str("a list of members"),
            Self::Held(_) => f.write_str("what is held"),
        }
    }
}

impl Request {
    /// The length of the value in it, in bytes.
    pub(crate) fn value_bytes(&self) -> usize {
        match self {
            Self::Set { value, .. } | Self::Change { change: Change::Set { value, .. }, .. } => value.len(),
            _ => 0,
        }
    }
}

impl Reply {
    /// The length of the values in it, in bytes.
    pub(crate) fn value_bytes(&self) -> usize {
        match self {
            Self::Found(found) => found.value.len(),
            Self::Many(replies) => replies.iter().map(Self::value_bytes).sum(),
            _ => 0,
        }
    }
}

impl Found {
    /// The spans are the giver's, of some moment after the request was sent: what has passed since then may have to
    /// come off the ttl, so all of it does. A value from memory is older by as much; one that was loaded for this
    /// answer is as old as its way back, which nobody knows.
    pub(crate) fn travelled(&mut self, took: Duration) {
        self.ttl = self.ttl.map(|ttl| ttl.saturating_sub(took));
        if !self.loaded {
            self.age = self.age.saturating_add(took);
        }
    }
}

/// A value as one node hands it to another.
#[derive(Clone, Debug)]
pub(crate) struct Found {
    /// The value.
    pub(crate) value: Value,
    /// How much longer it may be served; `None`: without end.
    pub(crate) ttl: Option<Duration>,
    /// How long ago it was read at the origin.
    pub(crate) age: Duration,
    /// It was loaded for this answer, not found in memory.
    pub(crate) loaded: bool,
    /// The node whose memory or loader gave it; empty where the row cannot say.
    pub(crate) node: Arc<str>,
    /// Gets a second over the last minute, as the owner counts them; `None` where the row cannot say.
    pub(crate) minute_qps: Option<f64>,
    /// The hash of the giver's view, to notice lists that disagree; `None` where the row cannot say.
    pub(crate) view: Option<u64>,
}

/// A change of what the owner of a key holds of it, made at once: what it depends on is looked at under the entry's lock.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Change {
    /// Keep this value.
    Set {
        /// The value.
        value: Bytes,
        /// For so long.
        life: Life,
        /// If so.
        only: SetIf,
    },
    /// Have what is there end at another time.
    Expire {
        /// After so long.
        life: Life,
        /// If so.
        only: ExpireIf,
    },
    /// Forget it, and say whether it was there.
    Remove,
}

/// How long an entry may be served from now on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Life {
    /// As long as the group's ttl says; without end where it has none.
    OfGroup,
    /// As long as what is there now, and no longer than the group's ttl says; that, where nothing is there.
    Kept,
    /// So long, whatever the group says. Zero: it is over.
    Of(Duration),
}

/// On what it depends whether a value is set.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum SetIf {
    /// On nothing.
    Always,
    /// The owner must hold nothing of the key.
    Absent,
    /// The owner must hold something of it.
    Present,
}

/// On what it depends whether an entry is given another end. None is given to what is not there.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum ExpireIf {
    /// On nothing else.
    Always,
    /// It must be without end now.
    Endless,
    /// It must have an end now.
    Ending,
    /// The new end must be later. None is later than any.
    Later,
    /// The new end must be sooner.
    Sooner,
    /// It must have an end now, and the new one must be sooner.
    EndingSooner,
}

impl Life {
    /// How long that is, in a group of this ttl, where what is there has so much left; `None`: without end, and where
    /// nothing is there.
    pub(crate) fn ttl(self, group: Option<Duration>, left: Option<Option<Duration>>) -> Option<Duration> {
        match (self, left) {
            (Self::Of(ttl), _) => Some(ttl),
            (Self::Kept, Some(left)) => left.into_iter().chain(group).min(),
            (Self::OfGroup, _) | (Self::Kept, None) => group,
        }
    }
}

impl ExpireIf {
    /// Whether what has so much left may have this instead; `None`: without end.
    pub(crate) fn holds(self, left: Option<Duration>, new: Option<Duration>) -> bool {
        let or_ever = |ttl: Option<Duration>| ttl.unwrap_or(Duration::MAX);
        let (ends, left, new) = (left.is_some(), or_ever(left), or_ever(new));
        match self {
            Self::Always => true,
            Self::Endless => !ends,
            Self::Ending => ends,
            Self::Later => new > left,
            Self::Sooner => new < left,
            Self::EndingSooner => ends && new < left,
        }
    }
}

/// What a node holds of a key at one moment, and would serve.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Holding {
    /// As its owner, or as a mirror of another's entry.
    pub region: Region,
    /// The value's length, in bytes.
    pub value_bytes: u64,
    /// What the entry is charged, in bytes.
    pub weight_bytes: u64,
    /// Since the value was read at the origin.
    pub age: Duration,
    /// How much longer it may be served; `None`: without end.
    pub ttl: Option<Duration>,
    /// How often it was used of late, up to a few; with `Policy::Lru` not counted.
    pub uses: u8,
}

#[cfg(test)]
mod tests {
    use super::*;

    const SOME: Option<Duration> = Some(Duration::from_secs(10));
    const MORE: Option<Duration> = Some(Duration::from_secs(20));

    #[test]
    fn what_is_without_end_ends_later_than_anything() {
        for (only, endless, sooner, same, later, never) in [
            // What is there: without end; with one, and the new end sooner, the same, later, never.
            (ExpireIf::Always, true, true, true, true, true),
            (ExpireIf::Endless, true, false, false, false, false),
            (ExpireIf::Ending, false, true, true, true, true),
            (ExpireIf::Later, false, false, false, true, true),
            (ExpireIf::Sooner, true, true, false, false, false),
            (ExpireIf::EndingSooner, false, true, false, false, false),
        ] {
            let held = [(None, SOME), (MORE, SOME), (SOME, SOME), (SOME, MORE), (SOME, None)];
            let expected = [endless, sooner, same, later, never];
            assert_eq!(held.map(|(left, new)| only.holds(left, new)), expected, "{only:?}");
        }
    }

    #[test]
    fn a_kept_life_stays_within_the_groups() {
        for (group, left, expected) in [
            (None, None, None),
            (SOME, None, SOME),
            (SOME, Some(None), SOME),
            (SOME, Some(MORE), SOME),
            (MORE, Some(SOME), SOME),
            (None, Some(SOME), SOME),
            (None, Some(None), None),
        ] {
            assert_eq!(Life::Kept.ttl(group, left), expected, "{group:?} {left:?}");
        }
        assert_eq!(Life::OfGroup.ttl(SOME, Some(MORE)), SOME);
        assert_eq!(Life::Of(Duration::ZERO).ttl(SOME, None), Some(Duration::ZERO));
    }
}
