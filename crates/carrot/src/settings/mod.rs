//! What a node is told to do: the settings of `serve`, whole, with every default, wherever they were read.
//!
//! `config/` makes them of the command line, the variables and the file. Values are checked one by one where they are
//! read; what only shows when they are seen together is checked in `settings/validate.rs`. Nothing here knows a file.

pub mod name;
pub mod validate;

use std::net::{Ipv4Addr, SocketAddr};
use std::num::NonZeroU32;
use std::time::Duration;

use carrotcache::net::dialect::Dialect;
use carrotcache::placement::PlacementKind;
use carrotcache::{ByteSize, GroupName, Hot, Policy};

use crate::origin::OriginSettings;
use crate::secret::Secret;

/// Everything `serve` needs to know.
#[derive(Clone, Debug)]
pub struct Settings {
    /// The node itself.
    pub node: NodeSettings,
    /// Whom it works with.
    pub cluster: ClusterSettings,
    /// What it allows itself.
    pub limits: LimitSettings,
    /// How the Redis protocol is spoken.
    pub resp: RespSettings,
    /// What it serves.
    pub groups: Vec<GroupSettings>,
}

/// The node and its listeners.
#[derive(Clone, Debug)]
pub struct NodeSettings {
    /// What peers and users call it; `None`: host name and peer port.
    pub name: Option<String>,
    /// How others reach it; `None`: its peer address.
    pub url: Option<String>,
    /// Where other nodes ask.
    pub peer: SocketAddr,
    /// Where data is served over HTTP.
    pub http: SocketAddr,
    /// Where data is served over the Redis protocol; `None`: nowhere.
    pub resp: Option<SocketAddr>,
    /// Where health and metrics are served.
    pub admin: SocketAddr,
    /// How long a stop waits for answers in flight.
    pub drain: Duration,
    /// Memory for all groups together and for values on their way to them; `None`: each group has its capacity.
    pub memory: Option<ByteSize>,
    /// What clients and operators have to know; `None`: nothing.
    pub password: Option<Secret>,
    /// Names under which the admin front may be called, beside addresses and localhost.
    pub hosts: Vec<String>,
    /// Data and admin may be open to other machines without a password.
    pub insecure: bool,
}

impl Default for NodeSettings {
    fn default() -> Self {
        let local = |port| SocketAddr::from((Ipv4Addr::LOCALHOST, port));
        Self {
            name: None,
            url: None,
            peer: local(8001),
            http: local(9999),
            resp: None,
            admin: local(9990),
            drain: Duration::from_secs(10),
            memory: None,
            password: None,
            hosts: Vec::new(),
            insecure: false,
        }
    }
}

/// The other nodes, and how they are spoken to.
#[derive(Clone, Debug, Default)]
pub struct ClusterSettings {
    /// What the cluster is called; `None`: nothing, and it goes with every name.
    pub name: Option<String>,
    /// The fixed list, this node included; empty: a cluster of one.
    pub peers: Vec<String>,
    /// What this node sends.
    pub dialect: Dialect,
    /// Who owns which key; `None`: as the dialect has it.
    pub placement: Option<PlacementKind>,
}

/// The limits that can be set.
#[derive(Clone, Copy, Debug)]
pub struct LimitSettings {
    /// The longest key.
    pub key: ByteSize,
    /// The largest value.
    pub value: ByteSize,
    /// Connections open at once, on each listener.
    pub connections: NonZeroU32,
    /// Requests of peers under way at once.
    pub in_flight: NonZeroU32,
    /// The same on one connection of frames.
    pub in_flight_per_connection: NonZeroU32,
    /// Requests that may wait for one peer.
    pub waiting_per_peer: NonZeroU32,
    /// What bodies of peers' requests may hold together.
    pub bodies: ByteSize,
}

/// So that one peer leaves room to the others.
pub fn half_of(in_flight: NonZeroU32) -> NonZeroU32 {
    NonZeroU32::new(in_flight.get() / 2).unwrap_or(NonZeroU32::MIN)
}

impl Default for LimitSettings {
    fn default() -> Self {
        const MANY: NonZeroU32 = NonZeroU32::new(10_000).expect("10000 is not 0");
        Self {
            key: ByteSize::kib(4),
            value: ByteSize::mib(8),
            connections: MANY,
            in_flight: MANY,
            in_flight_per_connection: half_of(MANY),
            waiting_per_peer: MANY,
            bodies: ByteSize::mib(256),
        }
    }
}

/// The Redis protocol.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct RespSettings {
    /// Whose keys may stand without their group's name; `None`: nobody's.
    pub default_group: Option<GroupName>,
    /// What its clients have to know; `None`: the node's password, if it has one.
    pub password: Option<Secret>,
}

/// A group and its origin.
#[derive(Clone, Debug)]
pub struct GroupSettings {
    /// Its name.
    pub name: GroupName,
    /// Memory for its entries.
    pub capacity: ByteSize,
    /// How long a value may be served after it was loaded; `None`: until it is evicted or removed.
    pub ttl: Option<Duration>,
    /// How long a load may take.
    pub load_deadline: Duration,
    /// Loads running at once.
    pub max_loads: NonZeroU32,
    /// Callers waiting at once.
    pub max_waiters: NonZeroU32,
    /// When another owner's key is mirrored here.
    pub hot: Hot,
    /// Which entries leave for room.
    pub policy: Policy,
    /// Where its values come from.
    pub origin: OriginSettings,
}

impl GroupSettings {
    /// The defaults, for this name: a plain cache, filled by set.
    pub fn new(name: GroupName) -> Self {
        const MAX_LOADS: NonZeroU32 = NonZeroU32::new(256).expect("256 is not 0");
        const MAX_WAITERS: NonZeroU32 = NonZeroU32::new(100_000).expect("100000 is not 0");
        Self {
            name,
            capacity: ByteSize::mib(64),
            ttl: None,
            load_deadline: Duration::from_secs(10),
            max_loads: MAX_LOADS,
            max_waiters: MAX_WAITERS,
            hot: Hot::default(),
            policy: Policy::default(),
            origin: OriginSettings::Nothing,
        }
    }
}
