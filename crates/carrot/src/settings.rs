//! What a node is told to do: the settings of `serve`, whole and checked, wherever they were read.
//!
//! The command line makes them; nothing here knows of flags but the messages, which name the one to change. Values
//! are checked one by one where they are read; here is what only shows when they are seen together.

use std::net::SocketAddr;
use std::num::NonZeroU32;
use std::time::Duration;

use carrotcache::net::dialect::Dialect;
use carrotcache::placement::PlacementKind;
use carrotcache::{ByteSize, GroupName, Hot, Limits};

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
    /// Where health and metrics are served.
    pub admin: SocketAddr,
    /// How long a stop waits for answers in flight.
    pub drain: Duration,
    /// Memory for all groups together; `None`: what they add up to.
    pub memory: Option<ByteSize>,
    /// What clients and operators have to know; `None`: nothing.
    pub password: Option<Secret>,
    /// Names under which the admin front may be called, beside addresses and localhost.
    pub hosts: Vec<String>,
    /// Data and admin may be open to other machines without a password.
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
    pub origin: OriginSettings,
}

/// Settings that contradict each other, or that one alone cannot be.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum BadSettings {
    /// Answers carry the name in a header, and logs in a line.
    #[error("--name has to be 1 to 255 bytes, without control characters")]
    Name,
    /// The peer address is no address that anybody can connect to.
    #[error("--peer {0} stands for every address of this machine: --url has to say how other nodes reach it")]
    NoUrl(SocketAddr),
    /// Whoever reaches this address may read and change what is cached.
    #[error(
        "--{listener} {address} is open to other machines, without a password; --insecure allows that, CARROT_PASSWORD sets one"
    )]
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
    #[error("--limit-key {0} is over {longest}, the longest key any node takes", longest = Limits::KEY_MAX)]
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
        if self.limits.key > Limits::KEY_MAX { Err(BadSettings::LongKeys(self.limits.key)) } else { Ok(()) }
    }
}

impl NodeSettings {
    fn validate(&self) -> Result<(), BadSettings> {
        if self.name.as_deref().is_some_and(|name| !is_name(name)) {
            return Err(BadSettings::Name);
        }
        if self.peer.ip().is_unspecified() && self.url.is_none() {
            return Err(BadSettings::NoUrl(self.peer));
        }
        for (listener, address) in [("http", self.http), ("admin", self.admin)] {
            if !address.ip().is_loopback() && self.password.is_none() && !self.insecure {
                return Err(BadSettings::Open { listener, address });
            }
        }
        Ok(())
    }
}

fn is_name(name: &str) -> bool {
    (1..=255).contains(&name.len()) && !name.contains(char::is_control)
}

impl ClusterSettings {
    fn validate(&self) -> Result<(), BadSettings> {
        match (self.dialect, self.placement) {
            (dialect, Some(PlacementKind::Slots)) if dialect.is_family() => Err(BadSettings::SlotsOfGo),
            _ => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_is_short_and_shows_as_it_is() {
        let longest = "n".repeat(255);
        for name in ["a", "10.0.0.5:8001", "Möhre 1", &longest] {
            assert!(is_name(name), "{name}");
        }
        for name in ["", "a\nb", "a\r", "\u{1b}[31m", "a\u{7f}", "a\u{85}", &format!("{longest}n")] {
            assert!(!is_name(name), "{name:?}");
        }
    }

    #[test]
    fn what_is_open_to_other_machines_has_a_password_or_is_said_to_be_insecure() {
        let node = |http: &str, admin: &str, password: Option<&str>, insecure| NodeSettings {
            name: None,
            url: None,
            peer: "127.0.0.1:1".parse().unwrap(),
            http: http.parse().unwrap(),
            admin: admin.parse().unwrap(),
            drain: Duration::ZERO,
            memory: None,
            password: password.map(Secret::new),
            hosts: Vec::new(),
            insecure,
        };
        let (local, open) = ("127.0.0.1:1", "0.0.0.0:1");
        for (http, admin, listener) in [(open, local, "http"), (local, open, "admin")] {
            let refused = node(http, admin, None, false).validate().unwrap_err();
            assert_eq!(
                refused.to_string(),
                format!(
                    "--{listener} 0.0.0.0:1 is open to other machines, without a password; --insecure allows that, \
                     CARROT_PASSWORD sets one"
                )
            );
            assert_eq!(node(http, admin, Some("sesame"), false).validate(), Ok(()));
            assert_eq!(node(http, admin, None, true).validate(), Ok(()));
        }
        assert_eq!(node(local, "[::1]:1", None, false).validate(), Ok(()));
    }

    #[test]
    fn the_dialects_of_go_go_with_their_ring_alone() {
        let cluster = |dialect, placement| ClusterSettings { peers: Vec::new(), dialect, placement };
        for (dialect, placement) in [
            (Dialect::Native, None),
            (Dialect::Native, Some(PlacementKind::Slots)),
            (Dialect::Native, Some(PlacementKind::Ring)),
            (Dialect::Carrot, None),
            (Dialect::Golang, Some(PlacementKind::Ring)),
        ] {
            assert_eq!(cluster(dialect, placement).validate(), Ok(()), "{dialect} {placement:?}");
        }
        for &dialect in Dialect::ALL.iter().filter(|dialect| dialect.is_family()) {
            let refused = cluster(dialect, Some(PlacementKind::Slots)).validate();
            assert_eq!(refused, Err(BadSettings::SlotsOfGo));
        }
    }
}
