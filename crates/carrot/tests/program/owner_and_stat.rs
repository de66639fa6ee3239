//! `owner` and `stat` against real nodes: what they say is what the nodes did.

use std::io::{BufRead, BufReader};

use crate::awaiting::until;
use crate::command::Shell;
use crate::database::{Pages, SERVE, body};
use crate::process::{Node, Process, free_ports};

const NAMES: [&str; 3] = ["a", "b", "c"];

/// The lines of `carrot owner`, its first apart, each split at the columns' gaps.
fn owner(shell: &Shell, key: &str) -> (String, Vec<Vec<String>>) {
    let text = shell.run(&["owner", "pages", key]).text();
    let mut lines = text.lines();
    let first = lines.next().unwrap().to_owned();
    let cells = |line: &str| {
        line.split("  ").map(str::trim).filter(|cell| !cell.is_empty()).map(str::to_owned).collect()
    };
    (first, lines.map(cells).collect())
}

#[test]
fn every_node_says_who_owns_a_key_and_what_each_holds_of_it() {
    let pages = Pages::numbered(20);
    let nodes = Node::cluster(pages.directory.path(), &NAMES, &[], &[&SERVE[..], &["--ttl", "7d"]].concat());
    let shells: Vec<Shell> = nodes.iter().map(|node| Shell::asking(node.http)).collect();
    for number in 0..20 {
        let key = number.to_string();
        let before: Vec<_> = shells.iter().map(|shell| owner(shell, &key)).collect();
        for (first, lines) in &before {
            assert!(first.starts_with(&format!("pages/{key}  slot ")), "{first}");
            assert_eq!(first, &before[0].0, "all agree on the slot");
            assert_eq!(lines.len(), 3);
            assert_eq!((&*lines[0][0], &*lines[0][2]), ("1", "owner"), "{lines:?}");
            assert_eq!((&*lines[1][0], &*lines[1][2]), ("2", "stand-in"), "{lines:?}");
            assert!(lines.iter().all(|line| line.last().unwrap() == "nothing"), "{lines:?}");
        }
        assert_eq!(shells[number % 3].run(&["get", "pages", &key]).text(), body(number));
        for (shell, name) in shells.iter().zip(NAMES) {
            let (_, lines) = owner(shell, &key);
            let held = format!("{} B (", body(number).len());
            assert_eq!((&*lines[0][2], &*lines[0][3]), ("owner", "owned"), "{lines:?}");
            assert!(lines[0][4].starts_with(&held), "{lines:?}");
            assert!(lines[0][4].ends_with("6 d 23 h to live"), "{lines:?}");
            // The one that was asked stands there with its name, and only that one.
            let named = lines.iter().filter(|line| line[1].ends_with(')')).collect::<Vec<_>>();
            assert!(named.len() == 1 && named[0][1].ends_with(&format!(" ({name})")), "{lines:?}");
        }
    }
    // Looking was no get.
    let gets: f64 = nodes.iter().map(|node| node.page().sum("carrot_gets_total", "")).sum();
    assert!((20.0..=40.0).contains(&gets), "{gets}");
}

#[test]
fn on_the_ring_of_every_dialect_a_key_has_a_point() {
    let pages = Pages::numbered(0);
    for (dialect, has_signs) in
        [("carrot", false), ("golang", false), ("mailgun", true), ("groupcache-go", true)]
    {
        let flags = [&SERVE[..], &["--dialect", dialect]].concat();
        let node = Node::alone(pages.directory.path(), &flags);
        let shell = Shell::asking(node.http);
        let point = |key: usize| {
            let (first, lines) = owner(&shell, &key.to_string());
            assert_eq!((lines.len(), &*lines[0][2]), (1, "owner"), "{dialect}: {lines:?}");
            let (_, point) = first.split_once("  point ").unwrap_or_else(|| panic!("{dialect}: {first}"));
            point.parse::<i64>().unwrap()
        };
        // Of the places of 64 bits one half is below zero.
        let points: Vec<i64> = (0..20).map(point).collect();
        assert_eq!(points.iter().any(|&point| point < 0), has_signs, "{dialect}: {points:?}");
        assert!(points.iter().any(|&point| point > i64::from(i32::MAX)), "{dialect}: {points:?}");
    }
}

#[test]
fn a_member_that_is_gone_is_told_as_unknown_and_the_others_are_told_all_the_same() {
    let pages = Pages::numbered(1);
    let gone = free_ports(1);
    let nodes = Node::cluster(pages.directory.path(), &["a", "b"], &gone, &SERVE);
    let (_, lines) = owner(&Shell::asking(nodes[0].http), "0");
    assert_eq!(lines.len(), 3);
    let url = format!("http://{}", gone[0]);
    for line in lines {
        let held = line.iter().any(|cell| cell == "nothing");
        assert_eq!(line[1] != url, held, "{line:?}");
        assert_eq!(line[1] == url, line.iter().any(|cell| cell == "unknown"), "{line:?}");
    }
}

#[test]
fn owner_ends_as_get_does_and_gives_the_nodes_json() {
    let pages = Pages::new("delete", &[("home", "Hello")]);
    let node = Node::alone(pages.directory.path(), &[&SERVE[..], &["--name", "a"]].concat());
    let shell = Shell::asking(node.http);
    assert_eq!(shell.refusal(&["owner", "none", "home"], 3), "no such group: none");
    let long = "k".repeat(4097);
    let line = shell.refusal(&["owner", "pages", &long], 3);
    assert_eq!(line, "key of 4097 bytes is over the limit of 4096");
    // Of a key that nobody has there is an owner too.
    let (first, lines) = owner(&shell, "a/../\u{1b}b ");
    assert!(first.starts_with("pages/a/../\\u{1b}b   slot "), "{first}");
    assert_eq!(lines.len(), 1);

    shell.run(&["get", "pages", "home"]).done();
    let json = shell.run(&["owner", "pages", "home", "--json"]).text();
    let told: serde_json::Value = serde_json::from_str(&json).unwrap();
    assert_eq!((&told["group"], &told["key"], &told["node"]), (&"pages".into(), &"home".into(), &"a".into()));
    // Of a key that nobody holds the same is told at any time.
    let json = shell.run(&["owner", "pages", "none", "--json"]).text();
    assert_eq!(json, format!("{}\n", node.get("/owner/pages/none").text()));
}

#[test]
fn stat_counts_what_was_asked() {
    let pages = Pages::numbered(10);
    let nodes = Node::cluster(pages.directory.path(), &["a", "b"], &[], &SERVE);
    let asking = Shell::asking(nodes[0].http);
    for _ in 0..3 {
        for number in 0..10 {
            asking.run(&["get", "pages", &number.to_string()]).done();
        }
    }
    assert_eq!(asking.refusal(&["get", "none", "k"], 3), "no such group: none");
    let shell = Shell::watching(nodes[0].admin);
    let text = shell.run(&["stat", "-1"]).text();
    assert!(text.starts_with("node a, carrot "), "{text}");
    assert!(text.lines().all(|line| line.chars().count() <= 100), "{text}");
    let row = |title: &str| -> Vec<String> {
        let mut lines = text.lines().skip_while(|line| !line.contains(title));
        lines
            .nth(1)
            .unwrap()
            .split("  ")
            .map(str::trim)
            .filter(|cell| !cell.is_empty())
            .map(str::to_owned)
            .collect()
    };
    let page = nodes[0].page();
    let (fetches, loads) = (page.sum("carrot_fetches_total", ""), page.loads());
    let gets = row("gets");
    assert_eq!(gets[..3], ["pages", "start", "30"], "{text}");
    assert_eq!((&gets[9], &gets[10]), (&loads.to_string(), &(30.0 - fetches - loads).to_string()), "{text}");
    let times = row("hit p50");
    assert!(times.len() == 8 && times[2] != "-", "{text}");
    assert!(row("trouble").concat().contains("refused: no_group"), "{text}");
    for (member, state) in [(nodes[0].peer, "this node"), (nodes[1].peer, "up")] {
        let line = text.lines().find(|line| line.starts_with(&format!("http://{member}"))).unwrap();
        assert!(line.contains(state), "{text}");
    }

    let json = shell.run(&["stat", "-1", "--json"]).text();
    let told: serde_json::Value = serde_json::from_str(&json).unwrap();
    assert_eq!((&told["node"], &told["groups"][0]["gets"]), (&"a".into(), &30.into()));
}

#[test]
fn a_node_that_goes_away_while_it_is_watched_is_asked_on_until_it_comes_back() {
    let directory = tempfile::tempdir().unwrap();
    let serve = ["serve", "--group", "g", "--origin", "table:k=v", "--name"];
    let start = |name: &str, admin: &str| {
        let ports = ["--peer", "127.0.0.1:0", "--http", "127.0.0.1:0", "--admin", admin];
        let process = Process::start(directory.path(), &[&serve[..], &[name], &ports].concat());
        let listening = Node::listening(&process);
        (process, listening.expect("its ports are free"))
    };
    let (mut first, [_, _, admin]) = start("a", "127.0.0.1:0");
    let mut child = Shell::watching(admin).command(&["stat", "--interval", "20ms"]).spawn().unwrap();
    let mut shown = BufReader::new(child.stdout.take().unwrap()).lines().map(Result::unwrap);
    let mut told = BufReader::new(child.stderr.take().unwrap()).lines().map(Result::unwrap);
    assert!(shown.any(|line| line.starts_with("node a, carrot ")));
    first.kill();
    drop(first);
    // Whether it was killed between two questions or within one, the line names it.
    let line = told.next().unwrap();
    assert!(line.starts_with("carrot: ") && line.contains(&format!("http://{admin}")), "{line}");
    assert!(line.ends_with("; asking on"), "{line}");
    let (_second, _) = start("b", &admin.to_string());
    assert!(shown.any(|line| line.starts_with("node b, carrot ")));
    child.kill().unwrap();
    until("it is gone", || child.try_wait().unwrap().is_some());
}
