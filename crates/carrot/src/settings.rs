//! What a node is told to do: the settings of `serve`, whole and checked, wherever they were read.
//!
//! The command line makes them; nothing here knows of flags but the messages, which name the one to change. Values
//! are checked one by one where they are read; here is what only shows when they are seen together.

use std::net::SocketAddr;
use std::num::NonZeroU32;
use std::str::FromStr;
use std::time::Duration;

use carrotcache::{ByteSize, GroupName};

use crate::origin::OriginUrl;

/// The longest key that any node takes: keys travel in a request's target.
pub const LONGEST_KEY: ByteSize = ByteSize::kib(16);

/// Everything `serve` needs to know.
#[derive(Clone, Debug)]
pub struct Settings {
    /// The node itself.
    pub node: NodeSettings,
    /// Whom it works with.
    pub cluster: ClusterSettings,
    /// What it allows itself.
    pub limits: LimitSettings,
    /// What it serves.
    pub group: GroupSettings,
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
    /// Where health and metrics are served.
    pub admin: SocketAddr,
    /// How long a stop waits for answers in flight.
    pub drain: Duration,
    /// Data and admin may be open to other machines.
    pub insecure: bool,
}

/// The other nodes, and how they are spoken to.
#[derive(Clone, Debug)]
pub struct ClusterSettings {
    /// The fixed list, this node included; empty: a cluster of one.
    pub peers: Vec<String>,
    /// What this node sends.
    pub dialect: Dialect,
    /// Who owns which key; `None`: as the dialect has it.
    pub placement: Option<Placement>,
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
    /// Where its values come from.
    pub origin: OriginUrl,
    /// What the origin is asked, where it is a database.
    pub query: Option<String>,
}

/// What nodes send each other; every node answers them all.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub enum Dialect {
    /// This project's own.
    Native,
    /// That of carrotCache, in Go.
    Carrot,
    /// That of golang/groupcache.
    Golang,
}

/// How keys are given to nodes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub enum Placement {
    /// 65,536 shares, evenly dealt.
    Slots,
    /// The hash circle of the Go systems.
    Ring,
}

/// When a key that another node owns is mirrored.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Hot {
    /// After this many fetches within a minute.
    PerMinute(NonZeroU32),
    /// From the first fetch on.
    Always,
    /// Never.
    Off,
}

/// A text that is no rule for hot keys.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0:?} is not a rule for hot keys: fetches a minute as in 100/min, \"always\" or \"off\"")]
pub struct BadHot(String);

impl FromStr for Hot {
    type Err = BadHot;

    fn from_str(text: &str) -> Result<Self, BadHot> {
        match text {
            "always" => Ok(Self::Always),
            "off" => Ok(Self::Off),
            rate => rate
                .strip_suffix("/min")
                .and_then(|fetches| fetches.parse().ok())
                .map(Self::PerMinute)
                .ok_or_else(|| BadHot(rate.chars().take(40).collect())),
        }
    }
}

/// Settings that contradict each other, or that one alone cannot be.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum BadSettings {
    /// The peer address is no address that anybody can connect to.
    #[error("--peer {0} stands for every address of this machine: --url has to say how other nodes reach it")]
    NoUrl(SocketAddr),
    /// Whoever reaches this address may read and change what is cached.
    #[error("--{listener} {address} is open to other machines, without a password; --insecure allows that")]
    Open {
        /// `http` or `admin`.
        listener: &'static str,
        /// Where it would listen.
        address: SocketAddr,
    },
    /// The Go systems have but one placement.
    #[error(
        "the chosen dialect places keys on its ring; --placement slots goes with the native dialect alone"
    )]
    SlotsOfGo,
    /// The limit for keys is over what any node takes.
    #[error("--limit-key {0} is over {LONGEST_KEY}, the longest key any node takes")]
    LongKeys(ByteSize),
}

impl Settings {
    /// Whether the settings go together.
    ///
    /// # Errors
    /// The first contradiction, as a line that names the flag to change.
    pub fn validate(&self) -> Result<(), BadSettings> {
        self.node.validate()?;
        self.cluster.validate()?;
        if self.limits.key > LONGEST_KEY { Err(BadSettings::LongKeys(self.limits.key)) } else { Ok(()) }
    }
}

impl NodeSettings {
    fn validate(&self) -> Result<(), BadSettings> {
        if self.peer.ip().is_unspecified() && self.url.is_none() {
            return Err(BadSettings::NoUrl(self.peer));
        }
        for (listener, address) in [("http", self.http), ("admin", self.admin)] {
            if !address.ip().is_loopback() && !self.insecure {
                return Err(BadSettings::Open { listener, address });
            }
        }
        Ok(())
    }
}

impl ClusterSettings {
    fn validate(&self) -> Result<(), BadSettings> {
        match (self.dialect, self.placement) {
            (Dialect::Carrot | Dialect::Golang, Some(Placement::Slots)) => Err(BadSettings::SlotsOfGo),
            _ => Ok(()),
        }
    }

    /// Who owns which key: as was said, else as the dialect has it.
    pub fn placement(&self) -> Placement {
        self.placement.unwrap_or(match self.dialect {
            Dialect::Native => Placement::Slots,
            Dialect::Carrot | Dialect::Golang => Placement::Ring,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_rule_for_hot_keys_is_a_rate_a_minute_or_a_word() {
        assert_eq!("100/min".parse(), Ok(Hot::PerMinute(NonZeroU32::new(100).unwrap())));
        assert_eq!("always".parse(), Ok(Hot::Always));
        assert_eq!("off".parse(), Ok(Hot::Off));
        for bad in ["", "100", "0/min", "-1/min", "100/s", "owner", "/min", "1.5/min"] {
            let line = bad.parse::<Hot>().unwrap_err().to_string();
            assert!(line.contains("is not a rule for hot keys"), "{line}");
        }
    }

    #[test]
    fn the_dialects_of_go_bring_their_ring() {
        let cluster = |dialect, placement| ClusterSettings { peers: Vec::new(), dialect, placement };
        for (dialect, placement) in [
            (Dialect::Native, Placement::Slots),
            (Dialect::Carrot, Placement::Ring),
            (Dialect::Golang, Placement::Ring),
        ] {
            assert_eq!(cluster(dialect, None).placement(), placement);
        }
        assert_eq!(cluster(Dialect::Native, Some(Placement::Ring)).placement(), Placement::Ring);
        assert!(cluster(Dialect::Golang, Some(Placement::Ring)).validate().is_ok());
        let refused = cluster(Dialect::Carrot, Some(Placement::Slots)).validate();
        assert_eq!(refused, Err(BadSettings::SlotsOfGo));
    }
}
