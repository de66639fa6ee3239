//! `carrot init` and `carrot check`: a configuration to begin with, and what a node would make of one.
//!
//! Both only print. Nothing is opened but the file itself, unless the origins are to be asked too.

use std::collections::BTreeSet;
use std::io::Write;
use std::path::Path;

use carrotcache::net::dialect::Dialect;
use carrotcache::placement::PlacementKind;
use carrotcache::{Hot, Member, Span, with_causes};

use crate::config::sample::SAMPLE;
use crate::config::{self, Configured};
use crate::line::in_one_line;
use crate::origin::error::{OpenError, OriginError};
use crate::origin::{Origin, OriginSettings};
use crate::plan::{default_name, plan};
use crate::print::print_lines;
use crate::settings::name::Setting;
use crate::settings::{ClusterSettings, GroupSettings, Settings};

/// Prints a configuration with every key in it.
///
/// # Errors
/// When nobody takes it.
pub fn init() -> anyhow::Result<()> {
    print_lines(&[SAMPLE.trim_end().to_owned()])
}

/// Reads a file as a node would and prints what it says; warnings go to standard error. With `origins`, each origin is
/// opened, and asked once whether it answers: one that does not is a warning, since a node would start and ask again.
/// Of a group without one there is nothing more to say.
///
/// # Errors
/// The first thing that is wrong with it; with `origins`, also an origin that could never be asked, and a query that the
/// database as it is does not take, when all have been asked.
pub async fn check(file: &Path, origins: bool) -> anyhow::Result<()> {
    let configured = config::read_alone(file.to_owned(), &|name| std::env::var(name))?;
    warn(&warnings(&configured));
    print_lines(&summary(&configured.settings))?;
    if !origins {
        return Ok(());
    }
    let Configured { settings, sources, .. } = configured;
    let groups = plan(settings, &sources)?.groups;
    let mut refused = Ok(());
    for (at, group) in groups.iter().enumerate() {
        if matches!(*group.origin, Origin::Nothing) {
            continue;
        }
        let probing = group.origin.probe();
        match tokio::time::timeout(group.load_deadline, probing).await {
            Ok(Ok(())) => print_lines(&[format!("origin   {}: answers", group.name)])?,
            Ok(Err(error @ OriginError::Open(OpenError::Query(_)))) => {
                let place = sources.place(&Setting::at("group.origin.query", at));
                let place = place.map_or_else(String::new, |place| format!("{place}: "));
                refused = refused.and(Err(anyhow::anyhow!("{place}group {}: {error}", group.name)));
            }
            Ok(Err(error)) => {
                warn(&[format!("origin of group {} does not answer: {}", group.name, with_causes(&error))]);
            }
            Err(_) => {
                let waited = Span(group.load_deadline);
                warn(&[format!("origin of group {} does not answer: nothing within {waited}", group.name)]);
            }
        }
    }
    refused
}

fn warn(warnings: &[String]) {
    let mut errors = std::io::stderr().lock();
    for warning in warnings {
        // With standard error gone there is nobody to warn.
        let _ = writeln!(errors, "carrot: warning: {}", in_one_line(warning));
    }
}

/// What is no fault, and yet may not be what was meant.
fn warnings(configured: &Configured) -> Vec<String> {
    let dialect = configured.settings.cluster.dialect;
    let drops_ttl = matches!(dialect, Dialect::Carrot | Dialect::Golang);
    let groups = configured.settings.groups.iter().enumerate().filter(|_| drops_ttl);
    let dropped = groups.flat_map(|(at, group)| {
        dropped_by(dialect, group).into_iter().filter_map(move |(key, said)| {
            let place = configured.sources.place(&Setting::at(key, at))?;
            Some(format!("{place}: {said}"))
        })
    });
    configured.exposed.iter().cloned().chain(little_memory(configured)).chain(dropped).collect()
}

/// A value is there twice while it is stored: as it came, and as it is kept.
fn little_memory(configured: &Configured) -> Option<String> {
    let Settings { node, limits, .. } = &configured.settings;
    let memory = node.memory.filter(|memory| memory.as_u64() / 2 < limits.value.as_u64())?;
    let place = configured.sources.place(&Setting::of("node.memory"))?;
    let value = limits.value;
    Some(format!("{place}: values of more than half of {memory} are not kept, and limits.value is {value}"))
}

/// What of a group is lost on peers that take a value without its time: by which key, and what becomes of it.
fn dropped_by(dialect: Dialect, group: &GroupSettings) -> Vec<(&'static str, String)> {
    let mut dropped = Vec::new();
    if group.ttl.is_some() {
        dropped.push(("group.ttl", format!("peers of dialect {dialect} drop a ttl and keep the value")));
    }
    if matches!(group.origin, OriginSettings::Http(_)) {
        let rest = match group.hot {
            Hot::Off => "",
            _ => "; hot = \"off\" keeps it from our own nodes' mirrors",
        };
        let said = format!("what its Cache-Control says is dropped by peers of dialect {dialect}{rest}");
        dropped.push(("group.origin", said));
    }
    dropped
}

/// The settings, for a reader who wants to know whether they are what was meant.
fn summary(settings: &Settings) -> Vec<String> {
    let Settings { node, cluster, limits: _, resp: _, groups } = settings;
    let name = node.name.clone().or_else(|| default_name(node.peer.port()));
    let name = name.unwrap_or_else(|| node.peer.to_string());
    let (resp, fronts) = match node.resp {
        Some(resp) => (format!(", resp {resp}"), "http, resp and admin"),
        None => (String::new(), "http and admin"),
    };
    let guarded = if node.password.is_some() { format!(", {fronts} by password") } else { String::new() };
    let mut lines = vec![
        format!("node     {name}"),
        format!("listens  peer {}, http {}{resp}, admin {}{guarded}", node.peer, node.http, node.admin),
        format!("cluster  {}", cluster_line(cluster)),
    ];
    lines.extend(groups.iter().map(|group| format!("group    {}", group_line(group))));
    let capacity = settings.capacity();
    lines.push(format!("memory   {capacity} of {}", node.memory.unwrap_or(capacity)));
    lines
}

fn cluster_line(cluster: &ClusterSettings) -> String {
    let ClusterSettings { name, peers, dialect, placement } = cluster;
    let name = name.as_ref().map_or_else(String::new, |name| format!("{name}: "));
    let members = match members(peers, *dialect) {
        0 => "this node alone".to_owned(),
        1 => "1 member".to_owned(),
        count => format!("{count} members"),
    };
    let of_dialect = if *dialect == Dialect::Native { PlacementKind::Slots } else { PlacementKind::Ring };
    format!("{name}{members}, dialect {dialect}, placement {}", placement.unwrap_or(of_dialect))
}

/// How many there are: who is listed twice is one. The native dialect knows a member by its address, however written.
fn members(peers: &[String], dialect: Dialect) -> usize {
    let name = |entry: &String| match entry.parse::<Member>() {
        Ok(member) if dialect == Dialect::Native => member.name.to_string(),
        _ => entry.clone(),
    };
    peers.iter().map(name).collect::<BTreeSet<_>>().len()
}

fn group_line(group: &GroupSettings) -> String {
    let ttl = group.ttl.map_or("without ttl".to_owned(), |ttl| format!("ttl {}", Span(ttl)));
    format!("{}: {}, {ttl}, {}", group.name, group.capacity, origin(&group.origin))
}

fn origin(origin: &OriginSettings) -> String {
    match origin {
        OriginSettings::Nothing => "no origin, filled by set".to_owned(),
        OriginSettings::Table(entries) => format!("from a table of {}", entries.len()),
        OriginSettings::Sqlite { file, .. } => format!("from sqlite {}", file.display()),
        OriginSettings::Http(http) => format!("from {}", without_query(&http.url)),
        OriginSettings::Directory { path } => format!("from directory {}", path.display()),
    }
}

/// A URL as it may be shown: APIs take tokens in the query, and `${TOKEN}` in it is replaced by now.
fn without_query(url: &str) -> String {
    url.split_once('?').map_or_else(|| url.to_owned(), |(before, _)| format!("{before}?…"))
}

#[cfg(test)]
mod tests {
    use std::env::VarError;

    use super::*;

    fn read(text: &str) -> (Vec<String>, Vec<String>) {
        let directory = tempfile::tempdir().unwrap();
        let file = directory.path().join("carrot.toml");
        std::fs::write(&file, text).unwrap();
        let configured = config::read_alone(file, &|_| Err(VarError::NotPresent)).unwrap();
        let leave_out = |line: String| line.replace(&format!("{}/", directory.path().display()), "");
        let lines = |lines: Vec<String>| lines.into_iter().map(leave_out).collect();
        (lines(summary(&configured.settings)), lines(warnings(&configured)))
    }

    #[test]
    fn the_summary_says_what_a_node_would_be() {
        let text = "\
[node]
name = 'a'
http = '0.0.0.0:80'
password = 'sesame'
memory = '256MiB'
[cluster]
name = 'prod'
peers = ['http://127.0.0.1:8001', 'http://b:8001']
[[group]]
name = 'scores'
ttl = '90s'
origin = { kind = 'table', values = { Tom = '630' } }
[[group]]
name = 'pages'
capacity = '1MiB'
origin = { kind = 'sqlite', path = 'app.db', query = 'select ?1' }
[[group]]
name = 'items'
capacity = '512KiB'
origin = { kind = 'http', url = 'https://api.example/{key}?token=sesame' }
[[group]]
name = 'files'
capacity = '512KiB'
origin = { kind = 'directory', path = '/srv/public' }
[[group]]
name = 'sessions'
";
        let expected = [
            "node     a",
            "listens  peer 127.0.0.1:8001, http 0.0.0.0:80, admin 127.0.0.1:9990, http and admin by password",
            "cluster  prod: 2 members, dialect native, placement slots",
            "group    scores: 64MiB, ttl 90s, from a table of 1",
            "group    pages: 1MiB, without ttl, from sqlite app.db",
            "group    items: 512KiB, without ttl, from https://api.example/{key}?…",
            "group    files: 512KiB, without ttl, from directory /srv/public",
            "group    sessions: 64MiB, without ttl, no origin, filled by set",
            "memory   130MiB of 256MiB",
        ];
        assert_eq!(read(text).0, expected);
    }

    #[test]
    fn a_memory_that_the_largest_values_do_not_fit_is_warned_of() {
        let text =
            |memory: &str| format!("[node]\nmemory = '{memory}'\n[[group]]\nname = 'a'\ncapacity = '1MiB'\n");
        let warning = "carrot.toml:2:10: node.memory: values of more than half of 15MiB are not kept, \
                       and limits.value is 8MiB";
        assert_eq!(read(&text("15MiB")).1, [warning]);
        assert_eq!(read(&text("16MiB")).1, [""; 0]);
    }

    #[test]
    fn a_member_that_is_listed_twice_is_counted_once() {
        let text = "[cluster]\npeers = ['http://127.0.0.1:8001', '127.0.0.1:8001']\n[[group]]\nname = 'a'\n";
        assert_eq!(read(text).0[2], "cluster  1 member, dialect native, placement slots");
    }

    #[test]
    fn without_a_list_and_a_limit_the_node_is_alone_and_has_what_its_groups_have() {
        let (summary, warnings) = read("[node]\nname = 'a'\n[[group]]\nname = 'scores'\n");
        assert_eq!(summary[2], "cluster  this node alone, dialect native, placement slots");
        assert_eq!(summary[4], "memory   64MiB of 64MiB");
        assert_eq!(warnings, [""; 0]);
    }

    #[test]
    fn a_ttl_beside_peers_that_drop_it_is_warned_of_where_it_stands() {
        for dialect in ["golang", "carrot"] {
            let text = format!(
                "[cluster]\ndialect = '{dialect}'\n[[group]]\nname = 'a'\n[[group]]\nname = 'b'\nttl = '5m'\n"
            );
            let (summary, warnings) = read(&text);
            assert_eq!(summary[2], format!("cluster  this node alone, dialect {dialect}, placement ring"));
            let warning = format!(
                "carrot.toml:7:7: group.ttl: peers of dialect {dialect} drop a ttl and keep the value"
            );
            assert_eq!(warnings, [warning]);
        }
    }

    #[test]
    fn an_origin_that_says_how_long_values_live_is_warned_of_beside_peers_that_drop_it() {
        let text = |dialect: &str| {
            format!(
                "[cluster]\ndialect = '{dialect}'\n[[group]]\nname = 'a'\nttl = '5m'\n\
                 origin = {{ kind = 'http', url = 'http://a.example/{{key}}' }}\n[[group]]\nname = 'b'\nhot = 'off'\n\
                 [group.origin]\nkind = 'http'\nurl = 'http://b.example/{{key}}'\n[[group]]\nname = 'c'\n\
                 origin = {{ kind = 'table', values = {{ a = 'b' }} }}\n"
            )
        };
        for dialect in ["golang", "carrot"] {
            let said = format!("what its Cache-Control says is dropped by peers of dialect {dialect}");
            let warnings = read(&text(dialect)).1;
            assert_eq!(
                warnings[0],
                format!(
                    "carrot.toml:5:7: group.ttl: peers of dialect {dialect} drop a ttl and keep the value"
                )
            );
            let mirrors = "; hot = \"off\" keeps it from our own nodes' mirrors";
            assert_eq!(warnings[1], format!("carrot.toml:6:10: group.origin: {said}{mirrors}"));
            assert_eq!(warnings[2..], [format!("carrot.toml:10:1: group.origin: {said}")]);
        }
        for dialect in ["native", "mailgun", "groupcache-go"] {
            assert_eq!(read(&text(dialect)).1, [""; 0]);
        }
    }
}
