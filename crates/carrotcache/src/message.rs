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
    /// The set or remove is done.
    Done,
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
