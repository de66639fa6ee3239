//! Starts that fail: one line, exit code 2, and nothing left that answers.

use std::net::{SocketAddr, TcpListener};

use crate::database::{Pages, SERVE};
use crate::process::{Node, Process, free_ports};

/// The line of a start that has to fail before it has said a word.
fn refusal(directory: &std::path::Path, arguments: &[&str]) -> String {
    let process = Process::start(directory, &[&["serve"], arguments].concat());
    let ended = process.end();
    assert_eq!(ended.status.code(), Some(2), "{}", ended.errors);
    assert!(ended.lines.is_empty(), "{:?}", ended.lines);
    assert_eq!(ended.errors.lines().count(), 1, "{}", ended.errors);
    ended.errors.trim_end().to_owned()
}

#[test]
fn a_port_in_use_is_named_and_no_other_is_left_open() {
    let pages = Pages::new("delete", &[]);
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let taken = taken.local_addr().unwrap();
    for (at, listener) in ["peer", "http", "admin"].into_iter().enumerate() {
        let mut addresses = free_ports(3);
        addresses[at] = taken;
        let [peer, http, admin] = [0, 1, 2].map(|n| addresses[n].to_string());
        let ports = ["--peer", &peer, "--http", &http, "--admin", &admin];
        let line = refusal(pages.directory.path(), &[&ports[..], &SERVE].concat());
        let advice = format!("set node.{listener} or --{listener}");
        assert_eq!(line, format!("carrot: {listener} {taken}: address already in use; {advice}"));
        let others = addresses.iter().filter(|address| **address != taken);
        assert!(others.into_iter().all(|address| is_free(*address)), "{line}");
    }
}

fn is_free(address: SocketAddr) -> bool {
    TcpListener::bind(address).is_ok()
}

#[test]
fn an_origin_that_can_never_be_asked_stops_the_start_before_any_port_is_open() {
    let pages = Pages::new("delete", &[]);
    let directory = pages.directory.path();
    let taken = [0, 1].map(|_| TcpListener::bind("127.0.0.1:0").unwrap());
    let [peer, http] = [0, 1].map(|n| taken[n].local_addr().unwrap().to_string());
    // If a port were tried first, it would be the line.
    let start = |origin: &str, query: &str| {
        let flags =
            ["--group", "pages", "--origin", origin, "--query", query, "--peer", &peer, "--http", &http];
        refusal(directory, &flags)
    };
    let line = start("sqlite:app.db", "select body from pages");
    assert!(line.contains("it has 0 parameters and needs exactly one"), "{line}");
    let line = start("sqlite:app.db", "select body from pages where id = ?1 and body = ?2");
    assert!(line.contains("it has 2 parameters and needs exactly one"), "{line}");
    let line = start("sqlite:app.db", "delete from pages where id = ?1 returning body");
    assert!(line.contains("it writes, and an origin is only read"), "{line}");
    let line = start("sqlite:app.db", "selec nonsense");
    assert!(line.starts_with("carrot: query refused: near \"selec\": syntax error"), "{line}");
}

#[test]
fn a_list_of_peers_that_cannot_be_is_refused() {
    let pages = Pages::new("delete", &[]);
    let ports = ["--peer", "127.0.0.1:0", "--http", "127.0.0.1:0", "--admin", "127.0.0.1:0"];
    let start = |flags: &[&str]| refusal(pages.directory.path(), &[&ports[..], &SERVE, flags].concat());
    let line = start(&["--peers", "https://a:1"]);
    let said = r#"carrot: --peers "https://a:1" is not the address of a peer: peers speak plain http only"#;
    assert_eq!(line, said);
    let line = start(&["--peers", "http://a:1", "--dialect", "carrot"]);
    assert!(line.contains("is not in the list of peers"), "{line}");
}

#[test]
fn a_node_in_no_list_owns_nothing_and_serves_all_the_same() {
    let pages = Pages::new("delete", &[("home", "Hello")]);
    let other = Node::alone(pages.directory.path(), &SERVE);
    let peers = format!("http://{}", other.peer);
    let node = Node::alone(pages.directory.path(), &[&SERVE[..], &["--peers", &peers]].concat());
    let name = other.peer.to_string();
    assert_eq!(node.get("/v1/pages/home").cache(), ("miss", "origin", &*name));
    assert_eq!(node.get("/v1/pages/home").cache(), ("hit", "owner", &*name));
    let ended = node.stop();
    assert_eq!(ended.errors.matches("not in its list of peers").count(), 1, "{}", ended.errors);
}
