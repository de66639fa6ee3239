//! INFO, CONFIG GET and SLOWLOG: what monitoring and tools of Redis ask for, in Redis's words.
//!
//! Numbers are the library's, or this front's; what has no meaning here is left out rather than made up.

use std::fmt::Write as _;
use std::process;
use std::sync::atomic::Ordering::Relaxed;

use carrotcache::{EvictionCause, GroupSnapshot};

use crate::resp::front::Front;
use crate::resp::glob;
use crate::resp::greet::REDIS_VERSION;
use crate::resp::help;
use crate::resp::integer::integer;
use crate::resp::refused;
use crate::resp::reply::Reply;
use crate::resp::request::Words;
use crate::resp::session::Session;
use crate::resp::slowlog::{KEPT, SLOW};
use crate::resp::walk::entries;

/// A part of INFO: its name, and what writes it.
type Section = (&'static str, fn(&Front, &mut Lines));

const SECTIONS: [Section; 6] = [
    ("Server", server),
    ("Clients", clients),
    ("Memory", memory),
    ("Stats", stats),
    ("Replication", replication),
    ("Keyspace", keyspace),
];

/// Lines of `name:value`.
#[derive(Default)]
struct Lines(String);

impl Lines {
    fn add(&mut self, name: &str, value: impl std::fmt::Display) {
        // Written into memory, which does not fail.
        let _ = write!(self.0, "{name}:{value}\r\n");
    }
}

/// `INFO [section …]`
pub fn info(_: &mut Session, front: &Front, words: Words<'_>) -> Reply {
    let asked = |section: &str| {
        let mut names = words.from(1);
        names.len() == 0
            || names.any(|name| {
                [section, "all", "everything", "default"]
                    .iter()
                    .any(|known| name.eq_ignore_ascii_case(known.as_bytes()))
            })
    };
    let mut lines = Lines::default();
    for (name, write) in SECTIONS {
        if asked(name) {
            if !lines.0.is_empty() {
                lines.0.push_str("\r\n");
            }
            lines.0.push_str(&format!("# {name}\r\n"));
            write(front, &mut lines);
        }
    }
    Reply::Lines(lines.0)
}

fn server(front: &Front, lines: &mut Lines) {
    let uptime = front.since.elapsed().as_secs();
    lines.add("redis_version", REDIS_VERSION);
    lines.add("redis_mode", "standalone");
    lines.add("carrot_version", env!("CARGO_PKG_VERSION"));
    lines.add("carrot_node", front.cluster.name().replace(['\r', '\n'], " "));
    lines.add("os", std::env::consts::OS);
    lines.add("arch_bits", usize::BITS);
    lines.add("process_id", process::id());
    lines.add("uptime_in_seconds", uptime);
    lines.add("uptime_in_days", uptime / 86_400);
}

fn clients(front: &Front, lines: &mut Lines) {
    lines.add("connected_clients", front.clients.len());
    lines.add("maxclients", front.allowed.connections);
    // There is no command that blocks.
    lines.add("blocked_clients", 0);
}

fn memory(front: &Front, lines: &mut Lines) {
    let (used, most) = weights(front);
    lines.add("used_memory", used);
    lines.add("used_memory_human", human(used));
    if let Some(resident) = status("VmRSS:") {
        lines.add("used_memory_rss", resident);
    }
    if let Some(peak) = status("VmHWM:") {
        lines.add("used_memory_peak", peak);
    }
    lines.add("maxmemory", most);
    lines.add("maxmemory_human", human(most));
    lines.add("maxmemory_policy", POLICY);
}

/// What fits best of Redis's words: entries leave for room, by how often they were used.
const POLICY: &str = "allkeys-lfu";

/// What entries are charged, and what they may be charged, together.
fn weights(front: &Front) -> (u64, u64) {
    let stats = front.cluster.stats();
    if let Some(memory) = stats.memory {
        return (memory.used_bytes, memory.capacity_bytes);
    }
    let used = |group: &GroupSnapshot| group.weight_bytes.iter().map(|(_, bytes)| bytes).sum::<u64>();
    (stats.groups.iter().map(used).sum(), stats.groups.iter().map(|group| group.capacity_bytes).sum())
}

/// A number of bytes that the system knows of this process.
fn status(name: &str) -> Option<u64> {
    let status = std::fs::read_to_string("/proc/self/status").ok()?;
    let kib = status.lines().find_map(|line| line.strip_prefix(name)?.trim().strip_suffix("kB"))?;
    kib.trim().parse::<u64>().ok()?.checked_mul(1024)
}

fn human(bytes: u64) -> String {
    let (unit, name) = match bytes {
        0..0x400 => return format!("{bytes}B"),
        0x400..0x10_0000 => (1_u64 << 10, "K"),
        0x10_0000..0x4000_0000 => (1 << 20, "M"),
        _ => (1 << 30, "G"),
    };
    format!("{:.2}{name}", bytes as f64 / unit as f64)
}

fn stats(front: &Front, lines: &mut Lines) {
    let (counts, stats) = (front.counts.snapshot(), front.cluster.stats());
    let sum = |of: fn(&GroupSnapshot) -> u64| stats.groups.iter().map(of).sum::<u64>();
    let (gets, hits) = (sum(|group| group.gets), sum(|group| group.hits.iter().map(|(_, hits)| hits).sum()));
    lines.add("total_connections_received", front.clients.entered());
    lines.add("total_commands_processed", counts.commands);
    lines.add("instantaneous_ops_per_sec", front.counts.rate());
    lines.add("total_error_replies", counts.errors);
    lines.add("total_writes_processed", front.counts.writes.load(Relaxed));
    lines.add("carrot_repeated_reads", front.counts.repeats.load(Relaxed));
    lines.add("keyspace_hits", hits);
    lines.add("keyspace_misses", gets.saturating_sub(hits));
    lines.add("evicted_keys", sum(|group| group.evictions.get(EvictionCause::Room)));
    lines.add("expired_keys", sum(|group| group.evictions.get(EvictionCause::Expired)));
}

fn replication(_: &Front, lines: &mut Lines) {
    lines.add("role", "master");
    lines.add("connected_slaves", 0);
}

fn keyspace(front: &Front, lines: &mut Lines) {
    let keys = entries(front);
    if keys > 0 {
        // How many have an end is not counted; tools want the line whole.
        lines.add("db0", format_args!("keys={keys},expires=0,avg_ttl=0"));
    }
}

/// `CONFIG GET pattern … | HELP`
pub fn config(_: &mut Session, front: &Front, words: Words<'_>) -> Reply {
    if let Some(help) = help::asked(words, "config", help::CONFIG) {
        return help;
    }
    if !words.get(1).eq_ignore_ascii_case(b"get") {
        return refused::unknown_sub("config", words.get(1));
    }
    if words.len() < 3 {
        return refused::arity("config|get");
    }
    let settings = [
        ("appendonly", "no".to_owned()),
        ("databases", "1".to_owned()),
        ("maxclients", front.allowed.connections.to_string()),
        ("maxmemory", weights(front).1.to_string()),
        ("maxmemory-policy", POLICY.to_owned()),
        ("proto-max-bulk-len", front.allowed.bulk.to_string()),
        ("save", String::new()),
        ("slowlog-log-slower-than", SLOW.as_micros().to_string()),
        ("slowlog-max-len", KEPT.to_string()),
        ("timeout", front.allowed.idle_timeout.as_secs().to_string()),
    ];
    let asked = |name: &str| {
        words.from(2).any(|pattern| {
            pattern.len() <= 64 && glob::matches(&pattern.to_ascii_lowercase(), name.as_bytes())
        })
    };
    let given = settings.into_iter().filter(|(name, _)| asked(name));
    Reply::Map(given.map(|(name, value)| (name, Reply::text(value))).collect())
}

/// `SLOWLOG GET [count] | LEN | RESET | HELP`
pub fn slowlog(_: &mut Session, front: &Front, words: Words<'_>) -> Reply {
    if let Some(help) = help::asked(words, "slowlog", help::SLOWLOG) {
        return help;
    }
    let sub = words.get(1).to_ascii_lowercase();
    match (&sub[..], words.len()) {
        (b"get", 2) => front.slowlog.latest(10),
        (b"get", 3) => match integer(words.get(2)) {
            Some(-1) => front.slowlog.latest(KEPT),
            Some(count @ 0..) => front.slowlog.latest(usize::try_from(count).unwrap_or(KEPT)),
            _ => Reply::error("ERR count should be greater than or equal to -1"),
        },
        (b"len", 2) => Reply::Number(front.slowlog.len() as i64),
        (b"reset", 2) => {
            front.slowlog.clear();
            Reply::OK
        }
        (b"get" | b"len" | b"reset", _) => {
            refused::arity(&format!("slowlog|{}", String::from_utf8_lossy(&sub)))
        }
        _ => refused::unknown_sub("slowlog", words.get(1)),
    }
}
