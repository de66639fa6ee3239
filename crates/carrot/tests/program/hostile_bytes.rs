//! Bytes from a stranger, on every port: they are refused or dropped, and whoever comes next is answered.

use std::net::SocketAddr;

use crate::awaiting::until;
use crate::client::{Client, ask, get, put};
use crate::database::{Pages, SERVE};
use crate::process::Node;

/// Enough to fill every buffer of a connection that holds a header.
const MUCH: usize = 100 << 10;

/// Bytes without sense, the same in each run.
fn noise(seed: u64) -> Vec<u8> {
    let mut state = seed;
    let mut next = || {
        // Xorshift, Marsaglia 2003.
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        state.to_le_bytes()[3]
    };
    (0..MUCH).map(|_| next()).collect()
}

/// What a connection says to these bytes until it closes.
fn answer(address: SocketAddr, bytes: &[u8]) -> Vec<u8> {
    let mut client = Client::connect(address);
    client.send(bytes);
    client.end();
    client.rest()
}

/// The status of the reply to these bytes.
fn status(address: SocketAddr, bytes: &[u8]) -> u16 {
    let mut client = Client::connect(address);
    client.send_whole(bytes);
    client.receive("PUT").status
}

/// The node answers everybody, and no connection is left behind.
fn is_well(node: &Node) {
    assert_eq!(node.get("/v1/pages/home").text(), "Hello");
    assert_eq!(get(node.peer, "/carrotCache/pages/home").body, b"\x0a\x05Hello");
    assert_eq!(get(node.admin, "/readyz").status, 200);
}

#[test]
fn no_bytes_stop_a_node() {
    let pages = Pages::new("delete", &[("home", "Hello")]);
    let node = Node::alone(pages.directory.path(), &SERVE);
    let head = b"GET /v1/pages/home HTTP/1.1\r\nHost: a\r\n\r\n";
    for address in [node.peer, node.http, node.admin] {
        for seed in 1..=5 {
            let said = answer(address, &noise(seed));
            assert!(said.is_empty() || said.starts_with(b"HTTP/1.1 4"), "{}", said.escape_ascii());
            // As the body of a request that is in order.
            let put = b"PUT /_carrot/pages/home HTTP/1.1\r\nHost: a\r\nContent-Length: 102400\r\n\r\n";
            assert_eq!(status(address, &[&put[..], &noise(seed)].concat()) / 100, 4);
            // As a target.
            let target: Vec<u8> = noise(seed).into_iter().filter(u8::is_ascii_graphic).take(9000).collect();
            let head = [b"GET /v1/pages/", &target[..], b" HTTP/1.1\r\nHost: a\r\n\r\n"].concat();
            assert_eq!(status(address, &head) / 100, 4);
        }
        for half in [0, 1, 10, 30, head.len() - 1] {
            answer(address, &head[..half]);
            drop(Client::connect(address));
        }
        for odd in [
            &b"\r\n\r\n\r\n"[..],
            b"GET\r\n\r\n",
            b"GET / HTTP/9.9\r\n\r\n",
            b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
            b"GET / HTTP/1.1\r\nContent-Length: x\r\n\r\n",
            b"GET / HTTP/1.1\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\nxx",
            b"GET / HTTP/1.1\r\n: no name\r\n\r\n",
            b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03",
        ] {
            let said = answer(address, odd);
            assert!(said.is_empty() || said.starts_with(b"HTTP/1."), "{}", said.escape_ascii());
            assert!(!said.starts_with(b"HTTP/1.1 2"), "{}", said.escape_ascii());
        }
        is_well(&node);
    }
}

#[test]
fn a_client_that_leaves_before_its_answer_harms_nobody() {
    let pages = Pages::new("delete", &[("home", "Hello")]);
    let node = Node::alone(pages.directory.path(), &SERVE);
    pages.lock();
    for address in [node.http, node.peer] {
        for _ in 0..20 {
            let mut client = Client::connect(address);
            client.send(b"GET /v1/pages/home HTTP/1.1\r\nHost: a\r\n\r\n");
            client.send(b"GET /_carrot/pages/home HTTP/1.1\r\nHost: a\r\n\r\n");
        }
    }
    pages.unlock();
    is_well(&node);
    until("all flights have landed", || node.page().sum("carrot_flights", "") == 0.0);
    assert_eq!(node.page().sum("carrot_waiters", ""), 0.0);
}

#[test]
fn the_peer_port_refuses_what_no_peer_asks() {
    let pages = Pages::new("delete", &[("home", "Hello")]);
    let node = Node::alone(pages.directory.path(), &SERVE);
    let mut client = Client::connect(node.peer);
    for target in ["/", "/v1/pages/home", "/api?key=home", "/metrics", "/_carrotx/pages/home", "*"] {
        assert_eq!(client.get(target).status, 404, "{target}");
    }
    for (target, allowed) in [
        ("/_carrot/pages/home", "GET, PUT, DELETE"),
        ("/carrotCache/pages/home", "GET"),
        ("/_groupcache/pages/home", "GET"),
        ("/_carrot/id", "GET"),
        ("/_carrot/members", "GET"),
    ] {
        for method in ["POST", "PATCH", "BREW"] {
            let reply = client.ask(method, target);
            assert_eq!((reply.status, reply.header("allow")), (405, Some(allowed)), "{method} {target}");
        }
    }
    for method in ["PUT", "DELETE"] {
        for base in ["carrotCache", "_groupcache"] {
            let reply = client.ask(method, &format!("/{base}/pages/home"));
            assert_eq!((reply.status, reply.header("allow")), (405, Some("GET")), "{method} {base}");
        }
    }
    for base in ["_carrot", "carrotCache", "_groupcache"] {
        for (target, status) in [
            ("none/home", 404),
            ("pages", 400),
            ("pages/", 400),
            ("pages/%zz", 400),
            ("pages/home", 200),
            ("%ff/home", 404),
        ] {
            assert_eq!(client.get(&format!("/{base}/{target}")).status, status, "{base} {target}");
        }
        let long = "k".repeat(4097);
        assert_eq!(client.get(&format!("/{base}/pages/{long}")).status, 413, "{base}");
        let missing = if base == "_carrot" { 404 } else { 500 };
        assert_eq!(client.get(&format!("/{base}/pages/none")).status, missing, "{base}");
    }
    let reply = client.get("/_carrot/none/home");
    assert_eq!((reply.text(), reply.header("x-carrot-outcome")), ("no such group: none\n", Some("no_group")));
    let reply = put(node.peer, "/_carrot/pages/home", b"\xff\xff\xff");
    assert_eq!((reply.status, reply.text()), (400, "the body is no SetRequest\n"));
    assert_eq!(ask(node.http, "GET", "/v1/pages/home").text(), "Hello");
}
