//! What only shows when settings are seen together, and how it is said.
//!
//! Pure. A fault names its setting by its key; where that stands, and what the user would call it, is known to whoever
//! read it and is put in front of the words here.

use std::collections::BTreeSet;
use std::net::SocketAddr;
use std::num::NonZeroU32;
use std::path::PathBuf;

use carrotcache::net::dialect::Dialect;
use carrotcache::placement::PlacementKind;
use carrotcache::{ByteSize, GroupName, Limits, Member, StartError};

use crate::secret::Secret;
use crate::settings::name::{Setting, Words};
use crate::settings::{ClusterSettings, GroupSettings, LimitSettings, NodeSettings, RespSettings, Settings};

/// Settings that contradict each other, or that one alone cannot be.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BadSettings {
    /// The one to change.
    pub setting: Setting,
    /// What is wrong with it.
    pub fault: Fault,
}

/// What is wrong with a setting.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Fault {
    /// Answers carry the name in a header, and logs in a line.
    Name,
    /// Nodes tell each other the name of their cluster in a header.
    ClusterName,
    /// A password that protects nothing, or that no client could send.
    Password,
    /// A name that no `Host` header carries.
    Host(String),
    /// The peer address is no address that anybody can connect to.
    NoUrl(SocketAddr),
    /// Not the address of a peer.
    Peer {
        /// What it is.
        entry: String,
        /// Why it cannot be one.
        why: String,
    },
    /// Whoever reaches this address may read and change what is cached.
    Open(SocketAddr),
    /// Two listeners cannot have one address.
    Taken {
        /// The address.
        address: SocketAddr,
        /// The setting that has it already.
        by: &'static str,
    },
    /// Beside a family's peers this node has to be in its list as they write it.
    NotListed(String),
    /// The family's systems have but one placement.
    SlotsOfFamily(Dialect),
    /// The limit for keys is over what any node takes.
    LongKeys(ByteSize),
    /// One connection is allowed more than all together.
    OverAll {
        /// What it is allowed.
        one: NonZeroU32,
        /// What all are.
        all: NonZeroU32,
    },
    /// The groups are allowed more than the node.
    Memory {
        /// What the node is allowed.
        memory: ByteSize,
        /// What its groups are allowed together.
        groups: ByteSize,
    },
    /// A node without anything to serve.
    NoGroup,
    /// A group without a name.
    NoName,
    /// Two groups of one name.
    SameName(GroupName),
    /// Flags that go with one group, where there are several.
    WhichGroup,
    /// The group of keys without one is none of the groups.
    NoSuchGroup(GroupName),
    /// A database without a query.
    NoQuery(PathBuf),
    /// Wrong by itself: in these words.
    Wrong(String),
}

impl Fault {
    /// This fault of that setting.
    pub fn of(self, setting: Setting) -> BadSettings {
        BadSettings { setting, fault: self }
    }

    /// The fault, to be read behind its setting's name.
    pub fn said(&self, words: Words) -> String {
        let name = |key| words.name(key);
        match self {
            Self::Name => "has to be 1 to 255 bytes, without control characters".to_owned(),
            Self::ClusterName => "has to be 1 to 64 visible ASCII characters".to_owned(),
            Self::Password => {
                "has to be 1 byte or more, without control characters or spaces around it".to_owned()
            }
            Self::Host(host) => format!("{host:?} is not a host name, as in cache.example.org"),
            Self::NoUrl(peer) => format!(
                "{peer} stands for every address of this machine: {} has to say how other nodes reach it",
                name("node.url")
            ),
            Self::Peer { entry, why } => format!("{entry:?} is not the address of a peer: {why}"),
            Self::Wrong(why) => why.clone(),
            Self::Open(address) => format!(
                "{address} is open to other machines without a password: set {}, or {} to allow that",
                name("node.password"),
                name("node.insecure")
            ),
            Self::Taken { address, by } => format!("{address} is taken: {} listens there", name(by)),
            Self::NotListed(url) => format!(
                "does not hold {url}, this node's own address, and peers of this dialect cannot be asked who they \
                 are: list it, or set {} to the entry that is this node",
                name("node.url")
            ),
            Self::SlotsOfFamily(dialect) => {
                format!("slots goes with the native dialect alone; {dialect} places keys on its ring")
            }
            Self::LongKeys(size) => {
                format!("{size} is over {}, the longest key any node takes", Limits::KEY_MAX)
            }
            Self::OverAll { one, all } => {
                format!("{one} is over {all}, which {} allows all together", name("limits.in_flight"))
            }
            Self::Memory { memory, groups } => {
                format!("{memory} is less than {groups}, what the groups' capacities add up to")
            }
            Self::NoGroup if words == Words::Flags => {
                "is missing: name what is served, or a file that does with --config".to_owned()
            }
            Self::NoGroup => "is missing: there is nothing to serve".to_owned(),
            Self::NoName => "has no name, as in name = \"scores\"".to_owned(),
            Self::SameName(group) => format!("{group} is the name of a group before this one"),
            Self::NoSuchGroup(group) => format!("{group} is not the name of a group"),
            Self::WhichGroup => format!("goes with one group; {} has to say which", name("group.name")),
            Self::NoQuery(file) => format!(
                "{} needs a query, as in {}select body from pages where id = ?1{}",
                file.display(),
                if words == Words::Flags { "--query '" } else { "query = \"" },
                if words == Words::Flags { "'" } else { "\"" },
            ),
        }
    }
}

impl Settings {
    /// Whether the settings go together.
    ///
    /// # Errors
    /// The first fault, with the setting to change.
    pub fn validate(&self) -> Result<(), BadSettings> {
        self.node.validate()?;
        self.are_closed()?;
        self.cluster.validate(&self.node)?;
        self.limits.validate()?;
        names(&self.groups)?;
        self.resp.validate(&self.groups)?;
        self.fits_memory()
    }

    /// What all groups may take together.
    pub fn capacity(&self) -> ByteSize {
        let sum = self.groups.iter().fold(0_u64, |sum, group| sum.saturating_add(group.capacity.as_u64()));
        ByteSize::bytes(sum)
    }

    /// What Redis clients have to know; `None`: nothing.
    pub fn resp_password(&self) -> Option<&Secret> {
        self.resp.password.as_ref().or(self.node.password.as_ref())
    }

    /// The fronts that other machines reach without a password: each with its setting, its address and what they may do.
    fn open_fronts(&self) -> impl Iterator<Item = (&'static str, SocketAddr, &'static str)> {
        const VALUES: &str = "read, set and remove values";
        let (node, password) = (&self.node, self.node.password.as_ref());
        let resp = node.resp.map(|resp| ("node.resp", resp, VALUES, self.resp_password()));
        let fronts = [("node.http", node.http, VALUES, password)].into_iter().chain(resp);
        let fronts = fronts.chain([("node.admin", node.admin, "read metrics and statistics", password)]);
        let open =
            fronts.filter(|(_, address, _, password)| !address.ip().is_loopback() && password.is_none());
        open.map(|(key, address, may, _)| (key, address, may))
    }

    fn are_closed(&self) -> Result<(), BadSettings> {
        match self.open_fronts().next() {
            Some((key, address, _)) if !self.node.insecure => Err(Fault::Open(address).of(Setting::of(key))),
            _ => Ok(()),
        }
    }

    /// What other machines may do here without a password, as a line to warn with.
    pub fn open_to_others(&self) -> Option<String> {
        let front = |key: &'static str| key.trim_start_matches("node.");
        let may = self.open_fronts().map(|(key, address, may)| format!("{may} at {} {address}", front(key)));
        let may = may.collect::<Vec<_>>().join(", and ");
        (!may.is_empty()).then(|| format!("no password is set: whoever reaches this machine may {may}"))
    }

    fn fits_memory(&self) -> Result<(), BadSettings> {
        let groups = self.capacity();
        match self.node.memory {
            Some(memory) if groups > memory => {
                Err(Fault::Memory { memory, groups }.of(Setting::of("node.memory")))
            }
            _ => Ok(()),
        }
    }
}

impl NodeSettings {
    fn validate(&self) -> Result<(), BadSettings> {
        if self.name.as_deref().is_some_and(|name| !is_name(name)) {
            return Err(Fault::Name.of(Setting::of("node.name")));
        }
        can_be_offered("node.password", self.password.as_ref())?;
        if let Some(host) = self.hosts.iter().find(|host| !is_host(host)) {
            return Err(Fault::Host(host.clone()).of(Setting::of("node.hosts")));
        }
        self.can_be_reached()?;
        self.are_apart()
    }

    fn can_be_reached(&self) -> Result<(), BadSettings> {
        match &self.url {
            Some(url) => is_peer(url).map_err(|why| why.of(Setting::of("node.url"))),
            None if self.peer.ip().is_unspecified() => {
                Err(Fault::NoUrl(self.peer).of(Setting::of("node.peer")))
            }
            None => Ok(()),
        }
    }

    fn are_apart(&self) -> Result<(), BadSettings> {
        let listeners = [("node.peer", self.peer), ("node.http", self.http)].into_iter();
        let listeners = listeners.chain(self.resp.map(|resp| ("node.resp", resp)));
        let listeners: Vec<_> = listeners.chain([("node.admin", self.admin)]).collect();
        for (at, &(key, address)) in listeners.iter().enumerate() {
            if let Some(&(by, _)) = listeners[..at].iter().find(|(_, other)| collide(*other, address)) {
                return Err(Fault::Taken { address, by }.of(Setting::of(key)));
            }
        }
        Ok(())
    }

    /// How the family's peers write this node's address; `None` while the system has yet to choose its port.
    fn own_url(&self) -> Option<String> {
        let bound = || (self.peer.port() != 0).then(|| format!("http://{}", self.peer));
        self.url.clone().or_else(bound)
    }
}

impl ClusterSettings {
    fn validate(&self, node: &NodeSettings) -> Result<(), BadSettings> {
        if self.name.as_deref().is_some_and(|name| !is_cluster_name(name)) {
            return Err(Fault::ClusterName.of(Setting::of("cluster.name")));
        }
        for (at, entry) in self.peers.iter().enumerate() {
            is_peer(entry).map_err(|why| why.of(Setting::at("cluster.peers", at)))?;
        }
        if self.dialect == Dialect::Native {
            return Ok(());
        }
        if self.placement == Some(PlacementKind::Slots) {
            return Err(Fault::SlotsOfFamily(self.dialect).of(Setting::of("cluster.placement")));
        }
        match node.own_url() {
            Some(url) if !self.peers.is_empty() && !self.peers.contains(&url) => {
                Err(Fault::NotListed(url).of(Setting::of("cluster.peers")))
            }
            _ => Ok(()),
        }
    }
}

impl RespSettings {
    fn validate(&self, groups: &[GroupSettings]) -> Result<(), BadSettings> {
        can_be_offered("resp.password", self.password.as_ref())?;
        match &self.default_group {
            Some(name) if !groups.iter().any(|group| group.name == *name) => {
                Err(Fault::NoSuchGroup(name.clone()).of(Setting::of("resp.default_group")))
            }
            _ => Ok(()),
        }
    }
}

impl LimitSettings {
    fn validate(&self) -> Result<(), BadSettings> {
        let long = self.key > Limits::KEY_MAX;
        if long {
            return Err(Fault::LongKeys(self.key).of(Setting::of("limits.key")));
        }
        let (one, all) = (self.in_flight_per_connection, self.in_flight);
        if one > all {
            return Err(Fault::OverAll { one, all }.of(Setting::of("limits.in_flight_per_connection")));
        }
        Ok(())
    }
}

/// Whether one of these addresses cannot be listened on beside the other. Port 0 is another port each time.
fn collide(a: SocketAddr, b: SocketAddr) -> bool {
    let every = a.ip().is_unspecified() || b.ip().is_unspecified();
    a.port() == b.port() && a.port() != 0 && (a.ip() == b.ip() || every && a.is_ipv4() == b.is_ipv4())
}

fn names(groups: &[GroupSettings]) -> Result<(), BadSettings> {
    if groups.is_empty() {
        return Err(Fault::NoGroup.of(Setting::of("group")));
    }
    let mut seen = BTreeSet::new();
    for (at, group) in groups.iter().enumerate() {
        if !seen.insert(&group.name) {
            return Err(Fault::SameName(group.name.clone()).of(Setting::at("group.name", at)));
        }
    }
    Ok(())
}

fn is_cluster_name(name: &str) -> bool {
    (1..=64).contains(&name.len()) && name.bytes().all(|byte| byte.is_ascii_graphic())
}

fn is_name(name: &str) -> bool {
    (1..=255).contains(&name.len()) && !name.contains(char::is_control)
}

fn is_password(password: &str) -> bool {
    // A header loses the spaces around its value, and a token with them would never fit.
    !password.is_empty() && !password.contains(char::is_control) && password.trim() == password
}

fn can_be_offered(key: &'static str, password: Option<&Secret>) -> Result<(), BadSettings> {
    match password {
        Some(password) if !is_password(password.reveal()) => Err(Fault::Password.of(Setting::of(key))),
        _ => Ok(()),
    }
}

fn is_host(host: &str) -> bool {
    (1..=255).contains(&host.len())
        && host.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'.' | b'-' | b'_'))
}

fn is_peer(entry: &str) -> Result<(), Fault> {
    match entry.parse::<Member>() {
        Ok(_) => Ok(()),
        Err(StartError::Peer { entry, why }) => Err(Fault::Peer { entry, why: why.to_owned() }),
        Err(other) => Err(Fault::Wrong(other.to_string())),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn bare() -> Settings {
        let group = |name| GroupSettings::new(GroupName::new(name).unwrap());
        Settings {
            node: NodeSettings::default(),
            cluster: ClusterSettings::default(),
            limits: LimitSettings::default(),
            resp: RespSettings::default(),
            groups: vec![group("scores"), group("pages")],
        }
    }

    fn settings(change: impl FnOnce(&mut Settings)) -> Result<(), (String, String)> {
        let mut settings = bare();
        change(&mut settings);
        settings.validate().map_err(|bad| (bad.setting.to_string(), bad.fault.said(Words::Keys)))
    }

    fn refused(key: &str, said: &str, change: impl FnOnce(&mut Settings)) {
        assert_eq!(settings(change), Err((key.to_owned(), said.to_owned())));
    }

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
    fn a_family_goes_with_its_ring_alone() {
        let cluster =
            |dialect, placement| ClusterSettings { name: None, peers: Vec::new(), dialect, placement };
        let node = NodeSettings::default();
        for (dialect, placement) in [
            (Dialect::Native, None),
            (Dialect::Native, Some(PlacementKind::Slots)),
            (Dialect::Native, Some(PlacementKind::Ring)),
            (Dialect::Carrot, None),
            (Dialect::Golang, Some(PlacementKind::Ring)),
        ] {
            assert_eq!(cluster(dialect, placement).validate(&node), Ok(()), "{dialect} {placement:?}");
        }
        for dialect in [Dialect::Carrot, Dialect::Golang] {
            let refused = cluster(dialect, Some(PlacementKind::Slots)).validate(&node);
            assert_eq!(refused, Err(Fault::SlotsOfFamily(dialect).of(Setting::of("cluster.placement"))));
        }
    }

    #[test]
    fn beside_a_family_the_list_has_to_hold_this_node_as_it_is_written() {
        let family = |settings: &mut Settings, own: &str| {
            settings.cluster.dialect = Dialect::Golang;
            settings.cluster.peers = vec![own.to_owned(), "http://b:8001".to_owned()];
        };
        assert_eq!(settings(|settings| family(settings, "http://127.0.0.1:8001")), Ok(()));
        let said = "does not hold http://127.0.0.1:8001, this node's own address, and peers of this dialect cannot be \
                    asked who they are: list it, or set node.url to the entry that is this node";
        refused("cluster.peers", said, |settings| family(settings, "http://127.0.0.1:8001/"));
        assert_eq!(
            settings(|settings| {
                family(settings, "http://a:8001");
                settings.node.url = Some("http://a:8001".to_owned());
            }),
            Ok(())
        );
    }

    #[test]
    fn a_listener_open_to_other_machines_wants_a_password_or_a_word() {
        let open = |settings: &mut Settings| settings.node.admin = "0.0.0.0:9990".parse().unwrap();
        refused(
            "node.resp",
            "10.0.0.5:6380 is open to other machines without a password: set node.password, or node.insecure to allow that",
            |settings| settings.node.resp = Some("10.0.0.5:6380".parse().unwrap()),
        );
        let said = "0.0.0.0:9990 is open to other machines without a password: \
                    set node.password, or node.insecure to allow that";
        refused("node.admin", said, open);
        assert_eq!(
            settings(|settings| {
                open(settings);
                settings.node.insecure = true;
            }),
            Ok(())
        );
        assert_eq!(
            settings(|settings| {
                open(settings);
                settings.node.password = Some(Secret::new("sesame"));
            }),
            Ok(())
        );
    }

    #[test]
    fn what_is_open_to_other_machines_is_named_with_what_they_may_do() {
        let mut settings = bare();
        settings.node.insecure = true;
        assert_eq!(settings.open_to_others(), None);
        settings.node.admin = "10.0.0.5:9990".parse().unwrap();
        let admin = "read metrics and statistics at admin 10.0.0.5:9990";
        let begin = "no password is set: whoever reaches this machine may ";
        assert_eq!(settings.open_to_others(), Some(format!("{begin}{admin}")));
        settings.node.http = "0.0.0.0:9999".parse().unwrap();
        let http = "read, set and remove values at http 0.0.0.0:9999";
        assert_eq!(settings.open_to_others(), Some(format!("{begin}{http}, and {admin}")));
        settings.node.resp = Some("10.0.0.5:6380".parse().unwrap());
        let resp = "read, set and remove values at resp 10.0.0.5:6380";
        assert_eq!(settings.open_to_others(), Some(format!("{begin}{http}, and {resp}, and {admin}")));
        settings.resp.password = Some(Secret::new("sesame"));
        assert_eq!(settings.open_to_others(), Some(format!("{begin}{http}, and {admin}")));
        settings.node.password = Some(Secret::new("sesame"));
        assert_eq!(settings.open_to_others(), None);
    }

    #[test]
    fn two_listeners_do_not_share_an_address() {
        let listening = |settings: &mut Settings, peer: &str, http: &str| {
            settings.node.insecure = true;
            settings.node.url = Some("http://a:8001".to_owned());
            settings.node.peer = peer.parse().unwrap();
            settings.node.http = http.parse().unwrap();
        };
        for (peer, http) in
            [("127.0.0.1:1", "127.0.0.1:1"), ("0.0.0.0:1", "127.0.0.1:1"), ("[::1]:1", "[::]:1")]
        {
            let said = format!("{http} is taken: node.peer listens there");
            refused("node.http", &said, |settings| listening(settings, peer, http));
        }
        for (peer, http) in
            [("127.0.0.1:0", "127.0.0.1:0"), ("127.0.0.1:1", "127.0.0.2:1"), ("[::1]:1", "0.0.0.0:1")]
        {
            assert_eq!(settings(|settings| listening(settings, peer, http)), Ok(()), "{peer} {http}");
        }
        refused("node.resp", "127.0.0.1:9999 is taken: node.http listens there", |settings| {
            settings.node.resp = Some(settings.node.http);
        });
        refused("node.admin", "127.0.0.1:6380 is taken: node.resp listens there", |settings| {
            settings.node.resp = Some("127.0.0.1:6380".parse().unwrap());
            settings.node.admin = "127.0.0.1:6380".parse().unwrap();
        });
        refused("node.admin", "127.0.0.1:9999 is taken: node.http listens there", |settings| {
            settings.node.admin = settings.node.http;
        });
    }

    #[test]
    fn a_password_that_is_empty_or_cannot_be_offered_is_none() {
        let said = "has to be 1 byte or more, without control characters or spaces around it";
        for password in ["", "a\nb", " a", "a ", "\u{a0}a"] {
            refused("node.password", said, |settings| {
                settings.node.password = Some(Secret::new(password));
            });
            refused("resp.password", said, |settings| {
                settings.resp.password = Some(Secret::new(password));
            });
        }
    }

    #[test]
    fn groups_fit_into_the_node_s_memory() {
        let said = "127MiB is less than 128MiB, what the groups' capacities add up to";
        refused("node.memory", said, |settings| settings.node.memory = Some(ByteSize::mib(127)));
        assert_eq!(settings(|settings| settings.node.memory = Some(ByteSize::mib(128))), Ok(()));
        refused(
            "node.memory",
            "1GiB is less than 18446744073709551615B, what the groups' capacities add up to",
            |s| {
                s.node.memory = Some(ByteSize::gib(1));
                s.groups[0].capacity = ByteSize::bytes(u64::MAX);
            },
        );
    }

    #[test]
    fn keys_without_a_group_go_to_one_that_there_is() {
        let default = |name| Some(GroupName::new(name).unwrap());
        assert_eq!(settings(|settings| settings.resp.default_group = default("pages")), Ok(()));
        refused("resp.default_group", "none is not the name of a group", |settings| {
            settings.resp.default_group = default("none");
        });
    }

    #[test]
    fn groups_have_names_of_their_own_and_there_is_one_at_least() {
        refused("group.name", "scores is the name of a group before this one", |settings| {
            settings.groups[1].name = GroupName::new("scores").unwrap();
        });
        refused("group", "is missing: there is nothing to serve", |settings| settings.groups.clear());
    }

    #[test]
    fn hosts_and_peers_are_what_they_are_called() {
        let said = "\"http://a\" is not a host name, as in cache.example.org";
        refused("node.hosts", said, |settings| settings.node.hosts = vec!["a".into(), "http://a".into()]);
        for host in ["", "a/", "a b", "a:80", "ä", &"a".repeat(256)] {
            assert!(!is_host(host), "{host:?}");
        }
        let said = "\"https://b:1\" is not the address of a peer: peers speak plain http only";
        refused("cluster.peers", said, |settings| {
            settings.cluster.peers = vec!["http://a:1".into(), "https://b:1".into()];
        });
        refused("node.url", said, |settings| settings.node.url = Some("https://b:1".into()));
    }
}
