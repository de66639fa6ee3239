//! Every setting, once: its key in a file, its flag, its variable, and what the help says of it.
//!
//! The command line and the file are read into the same parts, in which everything may be missing; `config/merge.rs`
//! puts one over the other and adds the defaults. The defaults that the help shows are held to the real ones by a test,
//! since clap cannot know them. Values are read one by one here; nothing is opened.

use carrotcache::net::dialect::Dialect;
use carrotcache::placement::PlacementKind;
use carrotcache::{ByteSize, GroupName, Hot, Policy, Span};
use clap::Args;
use clap::builder::BoolishValueParser;
use serde::Deserialize;

use crate::config::origin::OriginTable;
use crate::config::tables::{groups, some_table, table};
use crate::config::words::{Address, Count, word};
use crate::origin::url::OriginUrl;
use crate::secret::Secret;
use crate::some::{SomeSize, SomeTime};

/// A file, or a command line with its one group.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Parts {
    /// `[node]`
    #[serde(deserialize_with = "table")]
    pub node: NodePart,
    /// `[limits]`
    #[serde(deserialize_with = "table")]
    pub limits: LimitPart,
    /// `[cluster]`
    #[serde(deserialize_with = "table")]
    pub cluster: ClusterPart,
    /// `[resp]`
    #[serde(deserialize_with = "table")]
    pub resp: RespPart,
    /// `[[group]]`
    #[serde(rename = "group", deserialize_with = "groups")]
    pub groups: Vec<GroupPart>,
}

/// `[[group]]`
#[derive(Clone, Debug, Default, Args, Deserialize)]
#[serde(deny_unknown_fields, default)]
#[command(next_help_heading = "What is served")]
pub struct GroupPart {
    /// The group's name: 1 to 64 of A-Z a-z 0-9 _ . - (beside --config: the group of the file that these flags
    /// change, or one more; not needed where the file has one alone)
    #[arg(id = "group", long = "group", env = "CARROT_GROUP", value_name = "NAME")]
    #[serde(deserialize_with = "word")]
    pub name: Option<GroupName>,
    /// Where values come from: sqlite:FILE, http(s)://HOST/PATH/{key}, dir:PATH, or table:k=v,k2=v2
    /// (write %2C for a comma) [default: nowhere, a plain cache filled by PUT]
    #[arg(id = "origin", long = "origin", env = "CARROT_ORIGIN", value_name = "URL")]
    #[serde(skip)]
    pub origin_url: Option<OriginUrl>,
    /// For sqlite: one SELECT with one parameter, the key; its first column is the value
    #[arg(long, env = "CARROT_QUERY", value_name = "SQL")]
    #[serde(skip)]
    pub query: Option<String>,
    /// The same in a file.
    #[arg(skip)]
    #[serde(deserialize_with = "some_table")]
    pub origin: Option<OriginTable>,
    /// How long a value may be served after it was loaded [default: until it is evicted]
    #[arg(long, env = "CARROT_TTL", value_name = "TIME")]
    #[serde(deserialize_with = "word")]
    pub ttl: Option<SomeTime>,
    /// Memory for the group's entries [default: 64MiB]
    #[arg(long, env = "CARROT_CAPACITY", value_name = "SIZE")]
    #[serde(deserialize_with = "word")]
    pub capacity: Option<ByteSize>,
    /// How long a load may take, waiting included; one that waits for its turn gives up after half of it
    /// [default: 10s]
    #[arg(long, env = "CARROT_LOAD_DEADLINE", value_name = "TIME")]
    #[serde(deserialize_with = "word")]
    pub load_deadline: Option<SomeTime>,
    /// Loads that may run at once [default: 256]
    #[arg(long, env = "CARROT_MAX_LOADS", value_name = "N")]
    pub max_loads: Option<Count>,
    /// Callers that may wait for loads at once [default: 100000]
    #[arg(long, env = "CARROT_MAX_WAITERS", value_name = "N")]
    pub max_waiters: Option<Count>,
    /// Mirror another node's key after so many fetches: N/min, always or off [default: 100/min]
    #[arg(long, env = "CARROT_HOT", value_name = "RULE")]
    #[serde(deserialize_with = "word")]
    pub hot: Option<Hot>,
    /// Which entries leave for room: default or lru [default: default]
    #[arg(long, env = "CARROT_POLICY", value_name = "POLICY")]
    #[serde(deserialize_with = "word")]
    pub policy: Option<Policy>,
}

impl GroupPart {
    /// The settings of a group that have a flag, but for its name.
    pub const FLAGS: [&str; 9] = [
        "group.origin",
        "group.origin.query",
        "group.ttl",
        "group.capacity",
        "group.load_deadline",
        "group.max_loads",
        "group.max_waiters",
        "group.hot",
        "group.policy",
    ];
}

/// `[node]`
#[derive(Clone, Debug, Default, Args, Deserialize)]
#[serde(deny_unknown_fields, default)]
#[command(next_help_heading = "This node")]
pub struct NodePart {
    /// What other nodes and users call it [default: host name and peer port]
    #[arg(long, env = "CARROT_NAME")]
    pub name: Option<String>,
    /// How other nodes reach it, as in http://10.0.0.5:8001 [default: the peer address]
    #[arg(long, env = "CARROT_URL")]
    pub url: Option<String>,
    /// Where other nodes ask [default: 127.0.0.1:8001]
    #[arg(long, env = "CARROT_PEER", value_name = "ADDR")]
    #[serde(deserialize_with = "word")]
    pub peer: Option<Address>,
    /// Where data is served over HTTP [default: 127.0.0.1:9999]
    #[arg(long, env = "CARROT_HTTP", value_name = "ADDR")]
    #[serde(deserialize_with = "word")]
    pub http: Option<Address>,
    /// Where data is served over the Redis protocol, as in 127.0.0.1:6380 [default: nowhere]
    #[arg(long, env = "CARROT_RESP", value_name = "ADDR")]
    #[serde(deserialize_with = "word")]
    pub resp: Option<Address>,
    /// Where health and metrics are served [default: 127.0.0.1:9990]
    #[arg(long, env = "CARROT_ADMIN", value_name = "ADDR")]
    #[serde(deserialize_with = "word")]
    pub admin: Option<Address>,
    /// Memory for all groups together and for values on their way [default: a capacity for each group]
    #[arg(long, env = "CARROT_MEMORY", value_name = "SIZE")]
    #[serde(deserialize_with = "word")]
    pub memory: Option<SomeSize>,
    /// How long a stop waits for answers in flight; from its signal on no connection is taken, and /readyz says 503
    /// [default: 10s]
    #[arg(long, env = "CARROT_DRAIN", value_name = "TIME")]
    #[serde(deserialize_with = "word")]
    pub drain: Option<Span>,
    /// A flag would show it to whoever lists processes: on a command line it is `CARROT_PASSWORD` alone.
    #[arg(skip)]
    pub password: Option<Secret>,
    /// Names under which --admin may be called, with commas between, beside IP addresses and localhost
    /// [default: none]
    #[arg(long, env = "CARROT_HOSTS", value_name = "NAMES", value_delimiter = ',')]
    pub hosts: Option<Vec<String>>,
    /// Let --http, --resp and --admin be open to other machines without a password [default: false]
    #[arg(long, env = "CARROT_INSECURE", value_name = "BOOL")]
    #[arg(num_args = 0..=1, require_equals = true, default_missing_value = "true")]
    #[arg(value_parser = BoolishValueParser::new(), hide_possible_values = true)]
    pub insecure: Option<bool>,
}

/// `[cluster]`
#[derive(Clone, Debug, Default, Args, Deserialize)]
#[serde(deny_unknown_fields, default)]
#[command(next_help_heading = "Other nodes")]
pub struct ClusterPart {
    /// What the cluster is called, the same on every node; nodes of two names do not serve each other: 1 to 64 visible
    /// ASCII characters [default: no name, which goes with every one]
    #[arg(id = "cluster_name", long = "cluster-name", env = "CARROT_CLUSTER_NAME", value_name = "NAME")]
    pub name: Option<String>,
    /// All nodes, this one included, with commas between [default: this node alone]
    #[arg(long, env = "CARROT_PEERS", value_name = "URLS", value_delimiter = ',')]
    pub peers: Option<Vec<String>>,
    /// What this node speaks to the others: native, carrot, golang, mailgun or groupcache-go; it answers every
    /// dialect (see below) [default: native]
    #[arg(long, env = "CARROT_DIALECT", value_name = "DIALECT")]
    #[serde(deserialize_with = "word")]
    pub dialect: Option<Dialect>,
    /// How keys are given to nodes: slots or ring [default: slots; ring with the dialects of Go]
    #[arg(long, env = "CARROT_PLACEMENT", value_name = "PLACEMENT")]
    #[serde(deserialize_with = "word")]
    pub placement: Option<PlacementKind>,
}

/// `[resp]`
#[derive(Clone, Debug, Default, Args, Deserialize)]
#[serde(deny_unknown_fields, default)]
#[command(next_help_heading = "The Redis protocol")]
pub struct RespPart {
    /// The group of keys that do not begin with a group's name and a colon [default: none]
    #[arg(long, env = "CARROT_DEFAULT_GROUP", value_name = "NAME")]
    #[serde(deserialize_with = "word")]
    pub default_group: Option<GroupName>,
    /// As the node's: on a command line it is `CARROT_RESP_PASSWORD` alone.
    #[arg(skip)]
    pub password: Option<Secret>,
}

/// `[limits]`
#[derive(Clone, Copy, Debug, Default, Args, Deserialize)]
#[serde(deny_unknown_fields, default)]
#[command(next_help_heading = "Limits")]
pub struct LimitPart {
    /// The longest key, at most 16KiB [default: 4KiB]
    #[arg(id = "limit_key", long = "limit-key", env = "CARROT_LIMIT_KEY", value_name = "SIZE")]
    #[serde(deserialize_with = "word")]
    pub key: Option<SomeSize>,
    /// The largest value [default: 8MiB]
    #[arg(id = "limit_value", long = "limit-value", env = "CARROT_LIMIT_VALUE", value_name = "SIZE")]
    #[serde(deserialize_with = "word")]
    pub value: Option<SomeSize>,
    /// Connections open at once, on each listener [default: 10000]
    #[arg(
        id = "limit_connections",
        long = "limit-connections",
        env = "CARROT_LIMIT_CONNECTIONS",
        value_name = "N"
    )]
    pub connections: Option<Count>,
    /// Requests of other nodes under way at once [default: 10000]
    #[arg(
        id = "limit_in_flight",
        long = "limit-in-flight",
        env = "CARROT_LIMIT_IN_FLIGHT",
        value_name = "N"
    )]
    pub in_flight: Option<Count>,
    /// The same of one node, on its connection of frames [default: half of --limit-in-flight]
    #[arg(
        id = "limit_in_flight_per_connection",
        long = "limit-in-flight-per-connection",
        env = "CARROT_LIMIT_IN_FLIGHT_PER_CONNECTION",
        value_name = "N"
    )]
    pub in_flight_per_connection: Option<Count>,
    /// Requests of this node that may wait for one other [default: 10000]
    #[arg(
        id = "limit_waiting_per_peer",
        long = "limit-waiting-per-peer",
        env = "CARROT_LIMIT_WAITING_PER_PEER",
        value_name = "N"
    )]
    pub waiting_per_peer: Option<Count>,
    /// What bodies of other nodes' requests may hold together, and as much again long answers that wait to be sent to them
    /// [default: 256MiB]
    #[arg(id = "limit_bodies", long = "limit-bodies", env = "CARROT_LIMIT_BODIES", value_name = "SIZE")]
    #[serde(deserialize_with = "word")]
    pub bodies: Option<SomeSize>,
}
