//! `carrot demo`: three nodes in one process over sample origins, and what to type to see them work.

use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use anyhow::Context;
use carrotcache::net::dialect::Dialect;
use carrotcache::{ByteSize, GroupName, Hot, Limits, Policy};
use tokio::runtime::Handle;

use crate::demo_data::DemoData;
use crate::node::{GroupPlan, NodePlan, RespPlan, RunningNode, with_advice};
use crate::origin::{Allowance, Origin, OriginSettings, table};
use crate::print::print_lines;
use crate::stop::{Signals, stop_on};

/// What every load takes at least, so that a miss can be told from a hit by hand.
const SLOWED: Duration = Duration::from_millis(20);

/// How long a name is served: short enough to wait for.
const CHARS_TTL: Duration = Duration::from_secs(10);
const LOAD_DEADLINE: Duration = Duration::from_secs(10);
const MAX_LOADS: usize = 256;
const DRAIN: Duration = Duration::from_secs(5);

/// The table of the first carrotCache's example.
const SCORES: &str = "Tom=630,Jack=589,Sam=567,Lily=589,Pity=567";

/// Unicode's names of some thousand characters, by code point; see `data/README.md`.
const CHARS: &[u8] = include_bytes!("../data/chars.db");
const CHARS_QUERY: &str = "select name from chars where code = ?1";

/// How wide the longest thing to type is, at the largest offset.
const COLUMN: usize = 54;

/// Starts the three nodes, each on all of these runtimes, says what to type, and waits for a signal.
///
/// # Errors
/// Whatever keeps one of them from starting whole; none is left running.
pub async fn demo(offset: u16, cores: Vec<Handle>) -> anyhow::Result<()> {
    let signals = Signals::begin()?;
    let data = DemoData::write("chars.db", CHARS).context("the demonstration's database")?;
    let origins = Origins::open(&data)?;
    let nodes = start(offset, &origins, &cores).await?;
    let mut lines: Vec<String> = nodes.iter().flat_map(RunningNode::listeners).collect();
    lines.push(banner(offset, &data));
    print_lines(&lines)?;
    stop_on(signals, nodes).await;
    print_lines(&[format!("The origins were asked {} times.", origins.loads())])?;
    drop(origins);
    data.remove().context("the demonstration's database")
}

/// One of each for all three nodes: behind a cluster there is one database, not three.
struct Origins {
    scores: Arc<Origin>,
    chars: Arc<Origin>,
}

impl Origins {
    fn open(data: &DemoData) -> anyhow::Result<Self> {
        let scores = OriginSettings::Table(table::parse(SCORES)?);
        let chars = OriginSettings::Sqlite { file: data.file().to_owned(), query: CHARS_QUERY.to_owned() };
        let scores = Origin::open(scores, allowance(MAX_LOADS, None))?;
        let chars = Origin::open(chars, allowance(3 * MAX_LOADS, Some(CHARS_TTL)))?;
        Ok(Self { scores: Arc::new(scores), chars: Arc::new(chars) })
    }

    fn loads(&self) -> u64 {
        self.scores.loads() + self.chars.loads()
    }
}

fn allowance(max_loads: usize, ttl: Option<Duration>) -> Allowance {
    Allowance { load_deadline: LOAD_DEADLINE, max_loads, value_max: Limits::default().value, ttl }
}

async fn start(offset: u16, origins: &Origins, cores: &[Handle]) -> anyhow::Result<Vec<RunningNode>> {
    let peers: Vec<String> = (0..3).map(|n| format!("http://127.0.0.1:{}", 8001 + n + offset)).collect();
    let mut nodes = Vec::new();
    for (n, name) in (0..3).zip(["a", "b", "c"]) {
        let local = |port: u16| SocketAddr::from((Ipv4Addr::LOCALHOST, port + n + offset));
        let groups =
            vec![group("scores", None, &origins.scores)?, group("chars", Some(CHARS_TTL), &origins.chars)?];
        let plan = NodePlan {
            name: Some(name.to_owned()),
            url: None,
            peer: local(8001),
            http: local(9999),
            resp: Some(RespPlan { address: local(6380), default_group: None, password: None }),
            admin: local(9990),
            cluster: None,
            peers: peers.clone(),
            dialect: Dialect::Native,
            placement: None,
            limits: Limits::default(),
            drain: DRAIN,
            password: None,
            hosts: Vec::new(),
            groups,
        };
        let started = RunningNode::start(plan, cores).await;
        let advice = |_: &str| "--offset moves all ports".to_owned();
        nodes.push(started.map_err(|fault| with_advice(fault, advice))?);
    }
    Ok(nodes)
}

fn group(name: &str, ttl: Option<Duration>, origin: &Arc<Origin>) -> anyhow::Result<GroupPlan> {
    Ok(GroupPlan {
        name: GroupName::new(name)?,
        capacity: ByteSize::mib(8),
        ttl,
        load_deadline: LOAD_DEADLINE,
        max_loads: MAX_LOADS,
        max_waiters: 100_000,
        hot: Hot::default(),
        policy: Policy::default(),
        origin: origin.clone(),
        slowed: SLOWED,
    })
}

/// What to type, beside what it shows.
fn commands(offset: u16) -> [(String, &'static str); 8] {
    let (http, other, peer, admin) = (9999 + offset, 10_000 + offset, 8001 + offset, 9990 + offset);
    let redis = 6380 + offset;
    // The commands ask the nodes of no offset by themselves.
    let flag = |flag: &str, port: u16| match offset {
        0 => String::new(),
        _ => format!(" --{flag} http://localhost:{port}"),
    };
    [
        (format!("curl 'localhost:{http}/api?key=Tom'"), "630; the others are Jack Sam Lily Pity"),
        (format!("curl -i localhost:{http}/v1/scores/Sam"), "twice: X-Cache says miss, then hit"),
        (format!("curl -i localhost:{other}/v1/chars/1F955"), "CARROT, from a SQLite file, by node b"),
        (format!("redis-cli -p {redis} get scores:Lily"), "the same values, for any Redis client"),
        (
            format!("curl -s localhost:{peer}/carrotCache/scores/Tom | xxd"),
            "what a Go carrotCache peer would get",
        ),
        (format!("carrot owner scores Sam{}", flag("node", http)), "which node owns Sam, and who holds it"),
        (format!("carrot stat -1{}", flag("admin", admin)), "node a at a glance"),
        (format!("curl localhost:{admin}/metrics"), "all that node a has counted"),
    ]
}

fn banner(offset: u16, data: &DemoData) -> String {
    let (http, file) = (9999 + offset, data.file().display());
    let commands =
        commands(offset).map(|(command, shows)| format!("  {command:<COLUMN$}  {shows}\n")).concat();
    format!(
        "
Three nodes, a, b and c, share two groups. Every load from an origin is slowed by {SLOWED:?}.
Type in another terminal:

{commands}
Change a row, and see it served after {CHARS_TTL:?}, or at once after the DELETE:

  sqlite3 {file} \"update chars set name = 'ROOT' where code = '1F955'\"
  curl -X DELETE localhost:{http}/v1/chars/1F955

Ctrl-C stops."
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_to_type_stands_in_two_columns_and_names_the_ports_where_they_are_moved() {
        let data = DemoData::write("chars.db", b"").unwrap();
        for (offset, owner, stat) in [
            (0, "carrot owner scores Sam  ", "carrot stat -1  "),
            (
                10_000,
                "carrot owner scores Sam --node http://localhost:19999  ",
                "carrot stat -1 --admin http://localhost:19990  ",
            ),
            (55_534, "carrot owner scores Sam --node http://localhost:65533  ", "carrot stat -1 --admin "),
        ] {
            let banner = banner(offset, &data);
            assert!(banner.contains(owner) && banner.contains(stat), "{banner}");
            for (command, shows) in commands(offset) {
                let line = banner.lines().find(|line| line.contains(&command)).unwrap();
                assert_eq!(line.find(shows), Some(2 + COLUMN + 2), "{line}");
            }
            // A directory for temporary files may have any name.
            let lines = banner.lines().filter(|line| !line.contains("sqlite3"));
            assert!(lines.into_iter().all(|line| line.len() < 100), "{banner}");
        }
    }
}
