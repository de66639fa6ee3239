//! Why an operation failed, one enum for each operation a user calls.
//!
//! Every variant says who failed and whether anything changed. All are cheap to clone: the waiters of one flight
//! share one error. Text that came from an origin or a peer is carried, never parsed.

use std::sync::Arc;
use std::time::Duration;

use crate::memory::MemoryFull;
use crate::placement::TooManyMembers;
use crate::units::{BadGroupName, GroupName, Key};

/// Whatever a loader or a codec fails with.
pub type BoxError = Box<dyn std::error::Error + Send + Sync>;

/// An error and what caused it, in one line: for a log, a reply, a terminal.
pub fn with_causes(error: &dyn std::error::Error) -> String {
    let mut line = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        line = format!("{line}: {error}");
        cause = error.source();
    }
    line
}

/// A key that no group takes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum KeyError {
    /// The key has no bytes.
    #[error("key is required")]
    Empty,
    /// The key is longer than the node allows.
    #[error("key of {length} bytes is over the limit of {limit}")]
    TooLong {
        /// The key's length, in bytes.
        length: usize,
        /// `Limits::key`, in bytes.
        limit: usize,
    },
    /// There are more keys than one call may ask for.
    #[error("{count} keys in one call are over the limit of {limit}")]
    TooMany {
        /// How many keys there are.
        count: usize,
        /// `Limits::KEYS_MAX`.
        limit: usize,
    },
}

/// Why a `get` gave no value. Cheap to clone: every waiter of a flight receives the same one.
#[derive(Clone, Debug, thiserror::Error)]
#[non_exhaustive]
pub enum GetError {
    /// The key itself is refused. Nothing was asked of anyone.
    #[error(transparent)]
    Key(#[from] KeyError),
    /// The origin has no such key. Nothing is wrong.
    #[error("group {group} has no key {key}")]
    NotFound {
        /// The group that was asked.
        group: GroupName,
        /// The key it does not have.
        key: Key,
    },
    /// The loader failed, on the node that ran it. Nothing was stored.
    #[error("loading {key} for group {group} failed")]
    Load {
        /// The group whose loader failed.
        group: GroupName,
        /// The key that was being loaded.
        key: Key,
        /// What the loader said.
        source: Arc<dyn std::error::Error + Send + Sync>,
    },
    /// The loader gave a value over the node's limit. Nothing was stored, nothing is served.
    #[error("value of {length} bytes for {key} in group {group} is over the limit of {limit}")]
    TooLarge {
        /// The group whose loader gave it.
        group: GroupName,
        /// The key it was given for.
        key: Key,
        /// The value's length, in bytes.
        length: u64,
        /// `Limits::value`, in bytes.
        limit: u64,
    },
    /// A limit of this node, or of the owner, is reached. Nothing was started for this call; or, of the limit on memory, a
    /// value came that there was no room for, and nothing was stored.
    #[error("busy: {limit}")]
    Busy {
        /// The limit that was reached, by its name and number.
        limit: Arc<str>,
    },
    /// No value came in time. A load may still be running, and will be kept when it lands.
    #[error("{}no value of {key} in group {group} within {waited:?}", giver(.owner.as_deref()))]
    Deadline {
        /// The group that was asked.
        group: GroupName,
        /// The key whose value did not come.
        key: Key,
        /// The member that was waited for, where that is another: the owner of the key, or who stands in for it.
        owner: Option<Arc<str>>,
        /// The time that was allowed.
        waited: Duration,
    },
    /// The owner refused in a way that this node has no better word for. Nothing was stored here.
    #[error("owner {owner} refused {key}: {answer}")]
    Refused {
        /// The member that owns the key.
        owner: Arc<str>,
        /// The key it was asked for.
        key: Key,
        /// What it answered.
        answer: Arc<str>,
    },
    /// Only memory was to be asked (`Ask::cached_only`), and no node asked holds the key.
    #[error("{key} is not cached")]
    NotCached {
        /// The key that was asked for.
        key: Key,
    },
    /// Of many keys that were asked for together: the values of others are as much as the answer may hold. A load of it may
    /// have begun, and will be kept when it lands.
    #[error("values of {room} bytes are in this answer: ask for this one again")]
    LeftOut {
        /// What the values of the answer may come to, in bytes.
        room: u64,
    },
    /// The value is there, but the group's codec cannot read it.
    #[error("value of {key} cannot be decoded")]
    Decode {
        /// The key whose value it is.
        key: Key,
        /// What the codec said.
        source: Arc<dyn std::error::Error + Send + Sync>,
    },
    /// The node is leaving. Nothing was started.
    #[error("this node is leaving")]
    Leaving,
}

/// Who gave no value, where that is another member.
fn giver(owner: Option<&str>) -> String {
    owner.map_or_else(String::new, |owner| format!("owner {owner} gave "))
}

impl GetError {
    /// A limit of this node is reached.
    pub(crate) fn busy(limit: &str, value: usize) -> Self {
        Self::Busy { limit: format!("{limit} of {value} is reached").into() }
    }

    /// No value in time, of a load here or from `owner`.
    pub(crate) fn late(group: &GroupName, key: &Key, owner: Option<&Arc<str>>, waited: Duration) -> Self {
        Self::Deadline { group: group.clone(), key: key.clone(), owner: owner.cloned(), waited }
    }

    /// The loader failed, here or at the owner.
    pub(crate) fn load(group: &GroupName, key: &Key, source: BoxError) -> Self {
        Self::Load { group: group.clone(), key: key.clone(), source: source.into() }
    }

    /// Whether the same call may well succeed a moment later.
    pub fn is_transient(&self) -> bool {
        match self {
            Self::Busy { .. }
            | Self::LeftOut { .. }
            | Self::Deadline { .. }
            | Self::Load { .. }
            | Self::Refused { .. }
            | Self::Leaving => true,
            Self::Key(_)
            | Self::NotFound { .. }
            | Self::TooLarge { .. }
            | Self::NotCached { .. }
            | Self::Decode { .. } => false,
        }
    }
}

/// Why a write was not done: a `set`, a `remove`, another change, a `clear`.
#[derive(Clone, Debug, thiserror::Error)]
#[non_exhaustive]
pub enum WriteError {
    /// The key itself is refused. Nothing was changed.
    #[error(transparent)]
    Key(#[from] KeyError),
    /// The value is over the node's limit. Nothing was changed.
    #[error("value of {length} bytes is over the limit of {limit}")]
    TooLarge {
        /// The value's length, in bytes.
        length: u64,
        /// `Limits::value`, in bytes.
        limit: u64,
    },
    /// The value cannot be encoded by the group's codec. Nothing was changed.
    #[error("value for {key} cannot be encoded")]
    Encode {
        /// The key it was meant for.
        key: Key,
        /// What the codec said.
        source: Arc<dyn std::error::Error + Send + Sync>,
    },
    /// These members could not be asked, or their answers were lost: they may or may not have done it. All others that
    /// had to be told have done it, and this node's own copy is gone. The first is the owner, unless the owner confirmed;
    /// others than the owner are told by `clear`, and in the dialects mailgun and groupcache-go.
    #[error("{} did not confirm", members.join(", "))]
    Unconfirmed {
        /// Who did not confirm: at least one.
        members: Vec<Arc<str>>,
        /// What happened on the way to the first: a [`PeerError`], or what it answered instead.
        source: Arc<dyn std::error::Error + Send + Sync>,
    },
    /// The owner answered and did not do it. This node's own copy is gone.
    #[error("owner {owner} refused: {answer}")]
    Refused {
        /// The member that owns the key.
        owner: Arc<str>,
        /// What it answered.
        answer: Arc<str>,
    },
    /// The node's memory has no room for what would be sent to the owner, or as much is on its way there as this node
    /// allows itself. Nothing was sent; this node's own copy is gone.
    #[error("busy: {limit}")]
    Busy {
        /// The limit that was reached, by its name and number.
        limit: Arc<str>,
    },
    /// The owner's dialect has no such verb, or the owner is too old for it. Nothing was changed there; this node's own
    /// copy is gone, unless it was a whole group that was to be cleared.
    #[error("member {owner} knows no such write, by its dialect or its version")]
    Unsupported {
        /// The member that owns the key; of a whole group, one that holds some of it.
        owner: Arc<str>,
    },
}

/// Why a peer gave no reply that can be used. A reply that says no is not among these: see `message::Reply`.
#[derive(Clone, Debug, thiserror::Error)]
#[non_exhaustive]
pub enum PeerError {
    /// No connection: refused, unresolvable, or not within the connect timeout. The peer has not seen the request.
    #[error("cannot connect: {0}")]
    Connect(Arc<str>),
    /// The connection broke, or what came was no reply: malformed, truncated, over the limit, a redirect. The peer
    /// may have acted on the request.
    #[error("broken reply: {0}")]
    Broken(Arc<str>),
    /// It is of the cluster of this name, and this node is of another: one has the other in its list by mistake. Nothing
    /// was done.
    #[error("it is of another cluster, {0:?}")]
    OtherCluster(Arc<str>),
    /// No reply within the deadline. The peer may still act on the request.
    #[error("no reply within {0:?}")]
    Timeout(Duration),
    /// This node has as many requests in flight to that peer as it allows itself. Nothing was sent.
    #[error("{0} requests in flight to that peer")]
    Busy(usize),
    /// This node's memory has no room for the reply, or for what would be sent.
    #[error(transparent)]
    Memory(#[from] MemoryFull),
    /// The peer failed a moment ago and is left alone for now. Nothing was sent.
    #[error("peer failed {failures} times, next try in {wait:?}")]
    Resting {
        /// Failures in a row.
        failures: u32,
        /// Until the next try.
        wait: Duration,
    },
}

impl PeerError {
    /// The connection broke, or what came on it was no reply.
    pub(crate) fn broken(why: &str) -> Self {
        Self::Broken(Arc::from(why))
    }

    /// Whether the peer counts as unreachable, so that its stand-in is asked instead.
    ///
    /// A peer that accepted a request and then said nothing may be hard at work on it, and a second load is the
    /// herd we exist to stop; a connection of ours that is full says nothing of the peer.
    pub fn is_unreachable(&self) -> bool {
        match self {
            Self::Connect(_) | Self::Broken(_) | Self::OtherCluster(_) | Self::Resting { .. } => true,
            Self::Timeout(_) | Self::Busy(_) | Self::Memory(_) => false,
        }
    }
}

/// Why it is not known what a member holds of a key.
#[derive(Clone, Debug, thiserror::Error)]
#[non_exhaustive]
pub enum HeldError {
    /// The key itself is refused. Nobody was asked.
    #[error(transparent)]
    Key(#[from] KeyError),
    /// Its dialect has no such question. Nothing was sent.
    #[error("peers of dialect {dialect} cannot be asked what they hold")]
    Unsupported {
        /// The dialect that this node speaks to its peers.
        dialect: &'static str,
    },
    /// It could not be asked, or gave no reply.
    #[error(transparent)]
    Peer(#[from] PeerError),
    /// The same of the key's owner, where only he was asked.
    #[error("{owner} could not be asked")]
    Owner {
        /// The owner.
        owner: Arc<str>,
        /// Why.
        source: PeerError,
    },
    /// It answered, and did not say.
    #[error("refused: {0}")]
    Refused(
        /// What it answered.
        Arc<str>,
    ),
}

/// Why a group was not opened. Nothing changed.
#[derive(Clone, Debug, thiserror::Error)]
#[non_exhaustive]
pub enum OpenError {
    /// The name is outside the alphabet of group names.
    #[error(transparent)]
    Name(#[from] BadGroupName),
    /// The node has a group of that name.
    #[error("group {0} is open already")]
    Exists(GroupName),
}

/// Why a cluster did not start, or did not take a new list of peers. Nothing is left running.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum StartError {
    /// The address could not be bound.
    #[error("cannot listen on {address}")]
    Bind {
        /// The address that was asked for.
        address: std::net::SocketAddr,
        /// What the system said.
        source: std::io::Error,
    },
    /// An entry of the list of peers is no address of a peer.
    #[error("peer {entry:?}: {why}")]
    Peer {
        /// The entry, as listed.
        entry: String,
        /// What is wrong with it.
        why: &'static str,
    },
    /// A family dialect is spoken, and this node's own `url` is not in the list of peers.
    #[error("{url} is not in the list of peers, and peers of this dialect cannot be asked who they are")]
    NotListed {
        /// This node's own address, as peers write it.
        url: String,
    },
    /// The list has more members than can be placed.
    #[error(transparent)]
    TooManyMembers(#[from] TooManyMembers),
    /// The settings contradict each other.
    #[error("{0}")]
    Settings(&'static str),
}

/// A node left before all it had begun was finished. Its connections are closed; loads under way run on to their
/// deadline, and end with the runtime at the latest.
#[derive(Clone, Copy, Debug, thiserror::Error)]
#[error("requests or loads were still under way after {drain:?}")]
pub struct LeaveError {
    /// The time that was allowed.
    pub drain: Duration,
}
