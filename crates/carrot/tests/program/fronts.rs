//! What a node alone answers a stranger: the commands of the README, health, metrics, and what help tells him.

use std::process::Command;

use crate::awaiting::until;
use crate::client::{Client, ask, get};
use crate::database::{Pages, SERVE};
use crate::process::{Node, Process, free_ports};

#[test]
fn a_database_made_a_minute_ago_is_served_as_the_readme_says() {
    let pages = Pages::new("delete", &[("home", "Hello")]);
    // As it is typed, save that the ports are free ones.
    let ports = ["--peer", "127.0.0.1:0", "--http", "127.0.0.1:0", "--admin", "127.0.0.1:0"];
    let typed = ["serve", "--group", "pages", "--origin", "sqlite:app.db"];
    let rest = ["--query", "select body from pages where id = ?1", "--ttl", "60s"];
    let process = Process::start(pages.directory.path(), &[&typed[..], &rest, &ports].concat());
    let [peer, http, admin] = Node::listening(&process).unwrap();
    assert!([peer, http, admin].iter().all(|address| address.ip().is_loopback() && address.port() != 0));

    let first = get(http, "/v1/pages/home");
    assert_eq!((first.status, first.text()), (200, "Hello"));
    assert_eq!((first.cache(), first.age()), (("miss", "origin", &*peer.to_string()), 0));
    assert_eq!(first.header("content-type"), Some("application/octet-stream"));
    let second = get(http, "/v1/pages/home");
    assert_eq!((second.status, second.text()), (200, "Hello"));
    assert_eq!(second.cache(), ("hit", "memory", &*peer.to_string()));
    until("it grows older", || get(http, "/v1/pages/home").age() >= 1);
    assert_eq!(get(http, "/v1/pages/none").status, 404);

    process.terminate();
    let ended = process.end();
    assert_eq!((ended.status.code(), ended.lines.len()), (Some(0), 0), "{}", ended.errors);
}

#[test]
fn standard_output_holds_one_line_for_each_listener_and_nothing_else() {
    let [peer, http, admin] = free_ports(3)[..] else { panic!("three were asked for") };
    let directory = tempfile::tempdir().unwrap();
    let [a, b, c] = [peer, http, admin].map(|address| address.to_string());
    let flags = ["serve", "--group", "g", "--origin", "table:k=v", "--peer", &a, "--http", &b, "--admin", &c];
    let process = Process::start(directory.path(), &flags);
    let mut lines = vec![process.line().unwrap_or_default()];
    lines.extend((0..2).map_while(|_| process.line()));
    assert_eq!(get(http, "/v1/g/k").text(), "v");
    assert_eq!(get(http, "/v1/g/none").status, 404);
    process.interrupt();
    let ended = process.end();
    lines.extend(ended.lines);
    assert_eq!(lines, [format!("peer {a}"), format!("http {b}"), format!("admin {c}")], "{}", ended.errors);
    assert!(ended.status.success());
}

#[test]
fn a_head_is_answered_as_a_get_without_its_body() {
    let pages = Pages::new("delete", &[("home", "Hello")]);
    let node = Node::alone(pages.directory.path(), &SERVE);
    let mut client = Client::connect(node.http);
    // On one connection: a body that came all the same would be taken for the next reply.
    for (target, status) in
        [("/v1/pages/home", 200), ("/v1/pages/none", 404), ("/v1/none/home", 404), ("/v1/pages/", 400)]
    {
        let (get, head) = (client.get(target), client.ask("HEAD", target));
        assert_eq!((get.status, head.status), (status, status), "{target}");
        assert_eq!((head.length(), head.body.len()), (get.body.len(), 0), "{target}");
        assert_eq!(head.header("content-type"), get.header("content-type"), "{target}");
    }
    assert_eq!(client.ask("HEAD", "/v1/pages/home").cache().0, "hit");
    let mut admin = Client::connect(node.admin);
    for target in ["/livez", "/metrics"] {
        let head = admin.ask("HEAD", target);
        assert_eq!((head.status, head.body.len()), (200, 0), "{target}");
        assert!(head.length() > 0, "{target}");
    }
}

#[test]
fn a_connection_is_kept_for_the_next_request_on_every_port() {
    let pages = Pages::new("delete", &[("home", "Hello")]);
    let node = Node::alone(pages.directory.path(), &SERVE);
    for (address, target) in
        [(node.http, "/v1/pages/home"), (node.admin, "/livez"), (node.peer, "/_carrot/pages/home")]
    {
        let mut client = Client::connect(address);
        for _ in 0..50 {
            assert_eq!(client.get(target).status, 200, "{target}");
        }
        // Two at once are answered in their order.
        client.send(format!("GET {target} HTTP/1.1\r\nHost: localhost\r\n\r\n").repeat(2).as_bytes());
        assert_eq!((client.receive("GET").status, client.receive("GET").status), (200, 200), "{target}");
        client.send(
            format!("GET {target} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n").as_bytes(),
        );
        assert_eq!(client.receive("GET").status, 200, "{target}");
        assert!(client.rest().is_empty(), "{target}");
    }
}

#[test]
fn keys_are_the_rest_of_the_path_unescaped_once() {
    let names = ["a b", "a+b", "a/b/", "/abs", "..", "a/../b", "%25", "ключ", "a?b", "a#b"];
    let rows: Vec<(&str, &str)> = names.iter().map(|name| (*name, *name)).collect();
    let pages = Pages::new("delete", &rows);
    let node = Node::alone(pages.directory.path(), &SERVE);
    for (target, name) in [
        ("a%20b", "a b"),
        ("a+b", "a+b"),
        ("a%2Bb", "a+b"),
        ("a/b/", "a/b/"),
        ("/abs", "/abs"),
        ("..", ".."),
        ("a/../b", "a/../b"),
        ("a%2F..%2Fb", "a/../b"),
        ("%2525", "%25"),
        ("%D0%BA%D0%BB%D1%8E%D1%87", "ключ"),
        ("a%3fb", "a?b"),
        ("a%23b", "a#b"),
    ] {
        let reply = node.get(&format!("/v1/pages/{target}"));
        assert_eq!((reply.status, reply.text()), (200, name), "{target}");
    }
    // In a query a plus is a space, as the first carrotCache had it.
    for (query, name) in [("key=a+b", "a b"), ("key=a%2Bb", "a+b"), ("x=1&key=a/b/", "a/b/")] {
        let reply = node.get(&format!("/api?group=pages&{query}"));
        assert_eq!((reply.status, reply.text()), (200, name), "{query}");
    }
}

#[test]
fn operators_are_told_whether_it_lives_whether_it_is_ready_and_what_it_counts() {
    let pages = Pages::new("delete", &[("home", "Hello")]);
    let node = Node::alone(pages.directory.path(), &SERVE);
    node.until_ready();
    for target in ["/livez", "/readyz"] {
        let reply = get(node.admin, target);
        assert_eq!((reply.status, reply.text()), (200, "ok\n"), "{target}");
    }
    for target in ["/livez", "/metrics", "/admin/stats", "/none"] {
        assert_eq!(get(node.admin, target).header("x-content-type-options"), Some("nosniff"), "{target}");
    }
    for _ in 0..3 {
        node.get("/v1/pages/home");
    }
    node.get("/v1/pages/none");
    let reply = get(node.admin, "/metrics");
    let kind = "application/openmetrics-text; version=1.0.0; charset=utf-8";
    assert_eq!(reply.header("content-type"), Some(kind));
    assert!(reply.text().ends_with("# EOF\n"));
    assert_eq!(reply.text().matches("# EOF").count(), 1);
    let page = node.page();
    for (series, expected) in [
        (r#"carrot_gets_total{group="pages"}"#, 4.0),
        (r#"carrot_hits_total{group="pages",source="memory"}"#, 2.0),
        (r#"carrot_hits_total{group="pages",source="mirror"}"#, 0.0),
        (r#"carrot_fetches_total{group="pages",outcome="found"}"#, 0.0),
        (r#"carrot_loads_total{group="pages",outcome="found"}"#, 1.0),
        (r#"carrot_loads_total{group="pages",outcome="not_found"}"#, 1.0),
        (r#"carrot_stale_total{group="pages"}"#, 0.0),
        (r#"carrot_shares_total{group="pages"}"#, 0.0),
        (r#"carrot_evictions_total{group="pages",cause="room"}"#, 0.0),
        (r#"carrot_weight_bytes{group="pages",region="mirrors"}"#, 0.0),
        (r#"carrot_capacity_bytes{group="pages"}"#, 67_108_864.0),
        (r#"carrot_flights{group="pages"}"#, 0.0),
        (r#"carrot_refusals_total{cause="waiters"}"#, 0.0),
        (r#"carrot_load_seconds_count{group="pages"}"#, 2.0),
        (r#"carrot_fetch_seconds_count{group="pages"}"#, 0.0),
    ] {
        assert_eq!(page.number(series), expected, "{series}");
    }
    assert!(page.number(r#"carrot_weight_bytes{group="pages",region="owned"}"#) > 9.0);
    assert!(page.number(r#"carrot_load_seconds_sum{group="pages"}"#) > 0.0);

    assert_eq!(get(node.admin, "/v1/pages/home").status, 404, "values are served elsewhere");
    assert_eq!(get(node.http, "/metrics").status, 404);
    let refused = ask(node.admin, "POST", "/livez");
    assert_eq!((refused.status, refused.header("allow")), (405, Some("GET, HEAD")));
}

#[test]
fn connections_are_counted_for_each_listener_and_so_is_their_limit() {
    let directory = tempfile::tempdir().unwrap();
    let flags = ["--group", "g", "--origin", "table:k=v", "--limit-connections", "2"];
    let node = Node::alone(directory.path(), &flags);
    let number = |name: &str, listener: &str| {
        node.page().number(&format!(r#"carrot_connections{name}{{listener="{listener}"}}"#))
    };
    let mut clients = [Client::connect(node.http), Client::connect(node.http)];
    for client in &mut clients {
        assert_eq!(client.get("/v1/g/k").text(), "v");
    }
    // The third waits until one of the two is gone.
    let mut third = Client::connect(node.http);
    assert_eq!((number("", "http"), number("_accepted_total", "http")), (2.0, 2.0));
    assert_eq!((number("_full_total", "http"), number("_full_total", "peer")), (1.0, 0.0));
    let [_, second] = clients;
    drop(second);
    assert_eq!(third.get("/v1/g/k").text(), "v");
    assert_eq!(number("_accepted_total", "http"), 3.0);

    assert_eq!(number("_accepted_total", "peer"), 0.0);
    assert_eq!(get(node.peer, "/_carrot/g/k").status, 200);
    assert_eq!(number("_accepted_total", "peer"), 1.0);
    until("it is gone again", || number("", "peer") == 0.0);
    for listener in ["peer", "http"] {
        assert_eq!(number("_overdue_total", listener), 0.0);
        assert_eq!(number("_broken_total", listener), 0.0);
    }
}

#[test]
fn labels_hold_nothing_that_a_client_sent() {
    let pages = Pages::new("delete", &[("home", "Hello")]);
    let node = Node::alone(pages.directory.path(), &SERVE);
    let lines = || get(node.admin, "/metrics").text().lines().count();
    let before = lines();
    for n in 0..50 {
        node.get(&format!("/v1/pages/strange-{n}"));
        node.get(&format!("/v1/strange-{n}/home"));
        ask(node.http, &format!("STRANGE{n}"), "/v1/pages/home");
        get(node.peer, &format!("/_carrot/strange-{n}/home"));
    }
    assert_eq!(lines(), before);
    assert!(!get(node.admin, "/metrics").text().contains("strange"));
}

fn help(arguments: &[&str]) -> String {
    let output = Command::new(env!("CARGO_BIN_EXE_carrot")).args(arguments).env_clear().output().unwrap();
    assert!(output.status.success(), "{arguments:?}");
    String::from_utf8(output.stdout).unwrap()
}

#[test]
fn help_tells_a_stranger_what_there_is_and_what_to_type() {
    let all = help(&["--help"]);
    for said in
        ["demo", "serve", "init", "check", "every key has one owner, and the owner asks the origin once"]
    {
        assert!(all.contains(said), "{said}: {all}");
    }
    let demo = help(&["demo", "--help"]);
    for said in ["--offset <N>", "8001-8003", "9999-10001", "9990-9992", "/v1/scores/Tom"] {
        assert!(demo.contains(said), "{said}: {demo}");
    }
    // Where its lines end is of no account here.
    let serve = help(&["serve", "--help"]).split_whitespace().collect::<Vec<_>>().join(" ");
    for said in [
        "carrot serve --group pages --origin sqlite:app.db",
        "--query 'select body from pages where id = ?1' --ttl 60s",
        "curl -i http://127.0.0.1:9999/v1/pages/home",
        "sqlite:FILE, http(s)://HOST/PATH/{key}, dir:PATH, or table:k=v,k2=v2",
        "Two kinds of copies live on for at most their ttl or 60 s",
        "what a stand-in loaded while the owner was down",
        "X-Cache calls a load at such an owner a hit",
        "one that waits for its turn gives up after half of it",
        "[env: CARROT_PEERS]",
        "[default: 127.0.0.1:9999]",
        "--drain <TIME>",
        "Exit codes: 0 done, 2 wrong usage",
    ] {
        assert!(serve.contains(said), "{said}: {serve}");
    }
}
