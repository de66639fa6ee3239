//! The command line: what can be asked of the program, with every default and every environment variable.
//!
//! A flag wins over its `CARROT_*` variable, which wins over the default. Values are read here, by the library's
//! own words; that they go together is checked in `settings.rs`. Nothing is opened and nothing is started here.

use std::net::SocketAddr;
use std::num::NonZeroU32;
use std::time::Duration;

use carrotcache::net::dialect::Dialect;
use carrotcache::placement::PlacementKind;
use carrotcache::{ByteSize, GroupName, Hot, Span};
use clap::error::ErrorKind;
use clap::{ArgMatches, Args, CommandFactory, FromArgMatches, Parser, Subcommand};

use crate::ask::Ask;
use crate::origin::error::OpenError;
use crate::origin::url::OriginUrl;
use crate::settings::{ClusterSettings, GroupSettings, LimitSettings, NodeSettings, Settings};

const EXAMPLE: &str = "\
Example: a database and a cache in front of it
  sqlite3 app.db \"create table pages(id text primary key, body text);
                  insert into pages values ('home', 'Hello')\"
  carrot serve --group pages --origin sqlite:app.db \\
      --query 'select body from pages where id = ?1' --ttl 60s

Then, from another terminal
  curl -i http://127.0.0.1:9999/v1/pages/home

Setting and removing
  PUT and DELETE reach the node that owns the key and the node that was asked.
  Two kinds of copies live on for at most their ttl or 60 s: those of hot keys,
  mirrored on other nodes, and what a stand-in loaded while the owner was down.

Dialects
  Peers of any dialect but native cannot say whether a value was loaded: X-Cache
  calls a load at such an owner a hit. Those of carrot and golang keep no ttl, and
  have no set and no remove; in mailgun and groupcache-go these reach all nodes.

Sizes are written as 512B, 4KiB, 64MiB, 1GiB; times as 250ms, 60s, 5m, 12h, 7d.
The log goes to standard error; CARROT_LOG=debug says more, CARROT_LOG=warn less.
Exit codes: 0 done, 2 wrong usage, wrong settings, or a node that could not start.";

const DEMO: &str = "\
Ports, each plus N: 8001-8003 for the nodes among themselves, 9999-10001 for HTTP,
9990-9992 for health and metrics. All on this machine alone.

Then, from another terminal
  curl -i http://127.0.0.1:9999/v1/scores/Tom";

/// A distributed read-through cache: every key has one owner, and the owner asks the origin once.
#[derive(Debug, Parser)]
#[command(name = "carrot", version)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

/// What the program is to do.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Three nodes in this process, over sample data: the quickest look
    #[command(after_help = DEMO)]
    Demo(DemoArgs),
    /// One node: a cache in front of an origin
    #[command(after_help = EXAMPLE)]
    Serve(Box<ServeArgs>),
    #[command(flatten)]
    Ask(Ask),
}

/// Flags of `carrot demo`.
#[derive(Debug, Args)]
pub struct DemoArgs {
    // 10001 plus the largest offset is the last port there is.
    /// Added to every port
    #[arg(long, env = "CARROT_OFFSET", value_name = "N", default_value_t = 0,
        value_parser = clap::value_parser!(u16).range(..=55534))]
    pub offset: u16,
}

/// Flags of `carrot serve`.
#[derive(Debug, Args)]
pub struct ServeArgs {
    #[command(flatten)]
    group: GroupArgs,
    #[command(flatten)]
    node: NodeArgs,
    #[command(flatten)]
    cluster: ClusterArgs,
    #[command(flatten)]
    limits: LimitArgs,
}

#[derive(Debug, Args)]
#[command(next_help_heading = "What is served")]
struct GroupArgs {
    /// The group's name: 1 to 64 of A-Z a-z 0-9 _ . -
    #[arg(long, env = "CARROT_GROUP", value_name = "NAME")]
    group: GroupName,
    /// Where values come from: sqlite:FILE, http(s)://HOST/PATH/{key}, dir:PATH, or table:k=v,k2=v2
    /// (write %2C for a comma)
    #[arg(long, env = "CARROT_ORIGIN", value_name = "URL")]
    origin: OriginUrl,
    /// For sqlite: one SELECT with one parameter, the key; its first column is the value
    #[arg(long, env = "CARROT_QUERY", value_name = "SQL")]
    query: Option<String>,
    /// How long a value may be served after it was loaded [default: until it is evicted]
    #[arg(long, env = "CARROT_TTL", value_name = "TIME", value_parser = some_time)]
    ttl: Option<Duration>,
    /// Memory for the group's entries
    #[arg(long, env = "CARROT_CAPACITY", value_name = "SIZE", default_value = "64MiB")]
    capacity: ByteSize,
    /// How long a load may take, waiting included; one that waits for its turn gives up after half of it
    #[arg(long, env = "CARROT_LOAD_DEADLINE", value_name = "TIME", default_value = "10s", value_parser = some_time)]
    load_deadline: Duration,
    /// Loads that may run at once
    #[arg(long, env = "CARROT_MAX_LOADS", value_name = "N", default_value = "256")]
    max_loads: NonZeroU32,
    /// Callers that may wait for loads at once
    #[arg(long, env = "CARROT_MAX_WAITERS", value_name = "N", default_value = "100000")]
    max_waiters: NonZeroU32,
    /// Mirror another node's key after so many fetches: N/min, always or off
    #[arg(long, env = "CARROT_HOT", value_name = "RULE", default_value = "100/min")]
    hot: Hot,
}

#[derive(Debug, Args)]
#[command(next_help_heading = "This node")]
struct NodeArgs {
    /// What other nodes and users call it [default: host name and peer port]
    #[arg(long, env = "CARROT_NAME")]
    name: Option<String>,
    /// How other nodes reach it, as in http://10.0.0.5:8001 [default: the peer address]
    #[arg(long, env = "CARROT_URL")]
    url: Option<String>,
    /// Where other nodes ask
    #[arg(long, env = "CARROT_PEER", value_name = "ADDR", default_value = "127.0.0.1:8001", value_parser = address)]
    peer: SocketAddr,
    /// Where data is served over HTTP
    #[arg(long, env = "CARROT_HTTP", value_name = "ADDR", default_value = "127.0.0.1:9999", value_parser = address)]
    http: SocketAddr,
    /// Where health and metrics are served
    #[arg(long, env = "CARROT_ADMIN", value_name = "ADDR", default_value = "127.0.0.1:9990", value_parser = address)]
    admin: SocketAddr,
    /// Let --http and --admin be open to other machines; there is no password yet
    #[arg(long, env = "CARROT_INSECURE")]
    insecure: bool,
    /// How long a stop waits for answers in flight
    #[arg(long, env = "CARROT_DRAIN", value_name = "TIME", default_value = "10s", value_parser = any_time)]
    drain: Duration,
}

#[derive(Debug, Args)]
#[command(next_help_heading = "Other nodes")]
struct ClusterArgs {
    /// All nodes, this one included, with commas between [default: this node alone]
    #[arg(long, env = "CARROT_PEERS", value_name = "URLS", value_delimiter = ',')]
    peers: Vec<String>,
    #[arg(long, env = "CARROT_DIALECT", value_name = "DIALECT", default_value = "native", help = dialect_help())]
    dialect: Dialect,
    /// How keys are given to nodes: slots or ring [default: slots; ring with the dialects of Go]
    #[arg(long, env = "CARROT_PLACEMENT", value_name = "PLACEMENT")]
    placement: Option<PlacementKind>,
}

fn dialect_help() -> String {
    format!("What this node speaks to the others: {} (see below)", Dialect::names())
}

#[derive(Debug, Args)]
#[command(next_help_heading = "Limits")]
struct LimitArgs {
    /// The longest key, at most 16KiB
    #[arg(long, env = "CARROT_LIMIT_KEY", value_name = "SIZE", default_value = "4KiB", value_parser = some_size)]
    limit_key: ByteSize,
    /// The largest value
    #[arg(long, env = "CARROT_LIMIT_VALUE", value_name = "SIZE", default_value = "8MiB", value_parser = some_size)]
    limit_value: ByteSize,
    /// Connections open at once, on each listener
    #[arg(long, env = "CARROT_LIMIT_CONNECTIONS", value_name = "N", default_value = "10000")]
    limit_connections: NonZeroU32,
}

impl ServeArgs {
    /// The settings that were asked for.
    ///
    /// # Errors
    /// When they do not go together.
    pub fn settings(self) -> anyhow::Result<Settings> {
        let settings = Settings {
            node: self.node.settings(),
            cluster: self.cluster.settings(),
            limits: self.limits.settings(),
            groups: vec![self.group.settings()?],
        };
        settings.validate()?;
        Ok(settings)
    }
}

impl GroupArgs {
    fn settings(self) -> Result<GroupSettings, OpenError> {
        let Self { group, origin, query, ttl, capacity, load_deadline, max_loads, max_waiters, hot } = self;
        Ok(GroupSettings {
            name: group,
            capacity,
            ttl,
            load_deadline,
            max_loads,
            max_waiters,
            hot,
            origin: origin.settings(query)?,
        })
    }
}

impl NodeArgs {
    fn settings(self) -> NodeSettings {
        let Self { name, url, peer, http, admin, insecure, drain } = self;
        NodeSettings {
            name,
            url,
            peer,
            http,
            admin,
            drain,
            memory: None,
            password: None,
            hosts: Vec::new(),
            insecure,
        }
    }
}

impl ClusterArgs {
    fn settings(self) -> ClusterSettings {
        let Self { peers, dialect, placement } = self;
        ClusterSettings { peers, dialect, placement }
    }
}

impl LimitArgs {
    fn settings(&self) -> LimitSettings {
        LimitSettings { key: self.limit_key, value: self.limit_value, connections: self.limit_connections }
    }
}

/// A command line that asks for nothing that can be done.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
pub struct BadUsage(String);

/// Reads the command line and the environment. Prints and ends the process where help or the version is asked for.
///
/// # Errors
/// One line that says what is wrong, in place of the parser's paragraph.
pub fn read() -> Result<Command, BadUsage> {
    let matches = command().try_get_matches();
    matches.and_then(|matches: ArgMatches| Cli::from_arg_matches(&matches)).map(|cli| cli.command).map_err(
        |fault| match fault.kind() {
            ErrorKind::DisplayHelp
            | ErrorKind::DisplayVersion
            | ErrorKind::DisplayHelpOnMissingArgumentOrSubcommand => fault.exit(),
            _ => BadUsage(in_one_line(&fault.to_string())),
        },
    )
}

/// The parser. Help names the variables and keeps their values to itself.
fn command() -> clap::Command {
    Cli::command().mut_subcommands(|command| command.mut_args(|arg| arg.hide_env_values(true)))
}

/// The parser's paragraphs, what is wrong and its tips, without the usage that follows.
fn in_one_line(paragraphs: &str) -> String {
    let telling = |text: &&str| !text.starts_with("Usage:") && !text.starts_with("For more information");
    let lines = paragraphs.split("\n\n").map(str::trim).filter(telling);
    let joined = lines.collect::<Vec<_>>().join("; ");
    let words = joined.split_whitespace().collect::<Vec<_>>().join(" ");
    words.strip_prefix("error: ").map(str::to_owned).unwrap_or(words)
}

fn any_time(text: &str) -> Result<Duration, String> {
    text.parse::<Span>().map(|span| span.0).map_err(|bad| bad.to_string())
}

fn some_time(text: &str) -> Result<Duration, String> {
    let time = any_time(text)?;
    if time.is_zero() { Err("it has to be longer than nothing".to_owned()) } else { Ok(time) }
}

fn some_size(text: &str) -> Result<ByteSize, String> {
    let size: ByteSize = text.parse().map_err(|bad: carrotcache::BadUnit| bad.to_string())?;
    if size.as_u64() == 0 { Err("it has to be larger than nothing".to_owned()) } else { Ok(size) }
}

fn address(text: &str) -> Result<SocketAddr, String> {
    text.parse().map_err(|_| "it is not an IP address and a port, as in 127.0.0.1:9999".to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::origin::OriginSettings;

    const NEEDED: [&str; 4] = ["--group", "pages", "--origin", "table:a=b"];

    fn serve(flags: &[&str]) -> Result<Settings, String> {
        let line = ["carrot", "serve"].iter().chain(&NEEDED).chain(flags);
        let matches =
            command().try_get_matches_from(line).map_err(|fault| in_one_line(&fault.to_string()))?;
        match Cli::from_arg_matches(&matches).unwrap().command {
            Command::Serve(args) => args.settings().map_err(|fault| fault.to_string()),
            _ => unreachable!("serve was asked for"),
        }
    }

    #[test]
    fn the_parser_is_in_order() {
        command().debug_assert();
    }

    #[test]
    fn without_flags_the_defaults_are_those_of_the_documentation() {
        let Settings { node, cluster, limits, groups } = serve(&[]).unwrap();
        let [group] = &groups[..] else { unreachable!("one group was asked for") };
        assert_eq!(node.peer.to_string(), "127.0.0.1:8001");
        assert_eq!(node.http.to_string(), "127.0.0.1:9999");
        assert_eq!(node.admin.to_string(), "127.0.0.1:9990");
        assert_eq!((node.name, node.url, node.drain), (None, None, Duration::from_secs(10)));
        assert_eq!((cluster.peers.len(), cluster.dialect, cluster.placement), (0, Dialect::Native, None));
        assert_eq!((limits.key, limits.value), (ByteSize::kib(4), ByteSize::mib(8)));
        assert_eq!(limits.connections.get(), 10_000);
        assert_eq!((group.name.as_str(), group.capacity, group.ttl), ("pages", ByteSize::mib(64), None));
        assert_eq!((group.max_loads.get(), group.max_waiters.get()), (256, 100_000));
        assert_eq!(group.load_deadline, Duration::from_secs(10));
        assert_eq!(group.hot, "100/min".parse().unwrap());
        assert!(matches!(group.origin, OriginSettings::Table(_)));
    }

    #[test]
    fn flags_are_read_with_their_units() {
        let flags = [
            "--ttl=5m",
            "--capacity=1GiB",
            "--hot=off",
            "--peers=http://a:1,http://b:2",
            "--limit-value=64MiB",
            "--dialect=carrot",
            "--peer=0.0.0.0:0",
            "--url=http://a:1",
            "--drain=0s",
        ];
        let settings = serve(&flags).unwrap();
        assert_eq!(settings.groups[0].ttl, Some(Duration::from_secs(300)));
        assert_eq!(settings.groups[0].capacity, ByteSize::gib(1));
        assert_eq!(settings.groups[0].hot, Hot::Off);
        assert_eq!(settings.cluster.peers, ["http://a:1", "http://b:2"]);
        assert_eq!(settings.cluster.dialect, Dialect::Carrot);
        assert_eq!(settings.limits.value, ByteSize::mib(64));
        assert_eq!(settings.node.drain, Duration::ZERO);
    }

    #[test]
    fn what_is_wrong_is_said_in_one_line_that_names_the_flag() {
        for (flag, said) in [
            ("--ttl=60", "'--ttl <TIME>': \"60\" is not a time with its unit: ms, s, m, h or d, as in 5m"),
            ("--ttl=0s", "'--ttl <TIME>': it has to be longer than nothing"),
            ("--capacity=64", "'--capacity <SIZE>': \"64\" is not a size with its unit: B, KiB, MiB or GiB"),
            ("--limit-key=0B", "'--limit-key <SIZE>': it has to be larger than nothing"),
            ("--limit-key=17KiB", "--limit-key 17KiB is over 16KiB, the longest key any node takes"),
            ("--max-loads=0", "invalid value '0' for '--max-loads <N>'"),
            ("--hot=owner", "'--hot <RULE>': \"owner\" is not a rule for hot keys"),
            ("--http=:9999", "'--http <ADDR>': it is not an IP address and a port, as in 127.0.0.1:9999"),
            (
                "--http=0.0.0.0:1",
                "--http 0.0.0.0:1 is open to other machines, without a password; --insecure allows",
            ),
            ("--admin=[::]:1", "--admin [::]:1 is open to other machines"),
            (
                "--peer=0.0.0.0:1",
                "--peer 0.0.0.0:1 stands for every address of this machine: --url has to say",
            ),
            ("--name=", "--name has to be 1 to 255 bytes, without control characters"),
            ("--name=a\nb", "--name has to be 1 to 255 bytes, without control characters"),
            ("--dialect=redis", "'--dialect <DIALECT>': \"redis\" is no dialect: native, carrot, golang"),
            ("--placement=maglev", "'--placement <PLACEMENT>': \"maglev\" is not a placement"),
            ("--config=a.toml", "unexpected argument '--config' found"),
            ("--join=a:1", "unexpected argument '--join' found"),
        ] {
            let line = serve(&[flag]).unwrap_err();
            assert!(line.contains(said), "{flag}: {line}");
            assert!(!line.contains('\n') && !line.contains("Usage"), "{line}");
        }
        let line = serve(&["--dialect=golang", "--placement=slots"]).unwrap_err();
        assert!(line.contains("--placement slots goes with the native dialect alone"), "{line}");
    }

    #[test]
    fn listeners_open_to_other_machines_have_to_be_allowed() {
        let settings = serve(&["--http=0.0.0.0:1", "--admin=10.0.0.1:2", "--insecure"]).unwrap();
        assert_eq!(settings.node.http.to_string(), "0.0.0.0:1");
        assert!(serve(&["--http=[::1]:1", "--admin=127.0.0.2:2"]).is_ok());
    }
}
