//! Bytes from a stranger, on every port: they are refused or dropped, and whoever else is there is answered.

use std::net::SocketAddr;

use crate::awaiting::until;
use crate::client::{Client, ask, get, put};
use crate::database::{Pages, SERVE};
use crate::good_client::{HOME_FOR_PEERS, beside, node};
use crate::process::Node;

/// Nearly enough to fill every buffer of a connection that holds a header.
const MUCH: usize = 100_000;

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

/// The statuses of the replies to these bytes, until the connection is closed from the other side.
fn statuses(address: SocketAddr, bytes: &[u8]) -> Vec<u16> {
    let mut client = Client::connect(address);
    client.send(bytes);
    client.replies().iter().map(|reply| reply.status).collect()
}

/// The node answers everybody.
fn is_well(node: &Node) {
    assert_eq!(node.get("/v1/pages/home").text(), "Hello");
    assert_eq!(get(node.peer, "/carrotCache/pages/home").body, HOME_FOR_PEERS);
    assert_eq!(get(node.admin, "/readyz").status, 200);
}

#[test]
fn no_bytes_stop_a_node() {
    let directory = tempfile::tempdir().unwrap();
    let node = node(directory.path(), &[]);
    let ports = [(node.peer, "/_carrot/pages/home"), (node.http, "/v1/pages/home"), (node.admin, "/livez")];
    beside(&node, || {
        for (address, target) in ports {
            for seed in 1..=20 {
                senseless(address, target, &noise(seed));
            }
            let head = format!("GET {target} HTTP/1.1\r\nHost: localhost\r\n\r\n");
            for half in (0..head.len()).step_by(5) {
                assert!(answer(address, &head.as_bytes()[..half]).is_empty(), "half a request is none");
                drop(Client::connect(address));
            }
        }
    });
    is_well(&node);
}

/// The same bytes as all that is said, after a request that is in order, as its headers, as its target, as its body.
fn senseless(address: SocketAddr, target: &str, noise: &[u8]) {
    let said = answer(address, noise);
    assert!(said.is_empty() || said.starts_with(b"HTTP/1.1 4"), "{}", said.escape_ascii());

    let first = format!("GET {target} HTTP/1.1\r\nHost: localhost\r\n");
    let after = statuses(address, &[first.as_bytes(), b"\r\n", noise].concat());
    assert!(matches!(after[..], [200, 400..=499]), "{after:?}");
    // It may begin with the end of a line, and what comes then is a second request.
    let as_headers = statuses(address, &[first.as_bytes(), noise].concat());
    assert!(matches!(as_headers[..], [400..=499] | [200, 400..=499]), "{as_headers:?}");

    let last = "Host: localhost\r\nConnection: close\r\n";
    let graphic: String =
        noise.iter().filter(|byte| byte.is_ascii_graphic()).map(|byte| char::from(*byte)).collect();
    let strange = format!("GET {target}/{} HTTP/1.1\r\n{last}\r\n", &graphic[..9000]);
    let as_target = statuses(address, strange.as_bytes());
    assert!(matches!(as_target[..], [400..=499]), "{as_target:?}");

    // No peer's words, and at the other ports no path.
    let put = format!("PUT /_carrot/pages/home HTTP/1.1\r\n{last}Content-Length: {MUCH}\r\n\r\n");
    let as_body = statuses(address, &[put.as_bytes(), noise].concat());
    assert!(matches!(as_body[..], [400..=499]), "{as_body:?}");
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
    // A waiter is counted until it has taken what its flight brought, which may be a moment later.
    for gauge in ["carrot_flights", "carrot_waiters"] {
        until(gauge, || node.page().sum(gauge, "") == 0.0);
    }
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
    ] {
        for method in ["POST", "PATCH", "BREW"] {
            let reply = client.ask(method, target);
            assert_eq!((reply.status, reply.header("allow")), (405, Some(allowed)), "{method} {target}");
        }
    }
    for target in ["/_carrot/id", "/_carrot/members"] {
        for method in ["PUT", "PATCH", "BREW"] {
            let reply = client.ask(method, target);
            assert_eq!(
                (reply.status, reply.header("allow")),
                (405, Some("GET, POST, DELETE")),
                "{method} {target}"
            );
        }
        // A POST asks for many keys of a group of that name.
        let reply = client.ask("POST", target);
        assert_eq!((reply.status, reply.header("x-carrot-outcome")), (404, Some("no_group")), "{target}");
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
