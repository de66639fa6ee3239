//! Requests that are none, or that say two things at once: each is refused by its status or closed, and what stands
//! behind it on the connection is never taken for a part of it, nor the other way round.
//!
//! All are tried on every port, with good clients beside. What the parser below us settles is pinned here as well: it
//! is what a stranger sees.

use std::net::SocketAddr;

use crate::client::{Client, Reply};
use crate::good_client::{HOME_FOR_PEERS, beside, node};
use crate::process::Node;

/// A port, and a request there that is in order.
struct Port {
    address: SocketAddr,
    target: &'static str,
    body: &'static [u8],
    /// What is answered below that target. A peer of the first carrotCache has one word for missing and failed.
    below: u16,
}

fn ports(node: &Node) -> [Port; 3] {
    [
        Port { address: node.peer, target: "/carrotCache/pages/home", body: HOME_FOR_PEERS, below: 500 },
        Port { address: node.http, target: "/v1/pages/home", body: b"Hello", below: 404 },
        Port { address: node.admin, target: "/livez", body: b"ok\n", below: 404 },
    ]
}

/// What becomes of a connection on which a case is sent, and behind it a request that is in order.
#[derive(Clone, Copy, Debug)]
enum Fate {
    /// Closed without a word.
    Closed,
    /// Refused by this status, and closed: what came after it is not looked at.
    Refused(u16),
    /// Answered by this status, and the next request as well.
    GoesOn(u16),
    /// Answered by this status, with a body that nobody has read behind it: whether the connection goes on depends on
    /// how much of that has come. If it does, the next request is answered rightly.
    MayEnd(u16),
}

use Fate::{Closed, GoesOn, MayEnd, Refused};

impl Port {
    /// A whole request with these header lines.
    fn with(&self, method: &str, fields: &str) -> Vec<u8> {
        format!("{method} {} HTTP/1.1\r\nHost: localhost\r\n{fields}\r\n", self.target).into_bytes()
    }

    fn check(&self, case: &[u8], fate: Fate) {
        let mut client = Client::connect(self.address);
        // In one piece, so that a body is there when its request is answered.
        client.send(&[case, &self.with("GET", "Connection: close\r\n")].concat());
        let replies = client.replies();
        let statuses: Vec<u16> = replies.iter().map(|reply| reply.status).collect();
        let is_so = match fate {
            Closed => statuses.is_empty(),
            Refused(status) => statuses == [status],
            GoesOn(status) => statuses == [status, 200],
            MayEnd(status) => statuses == [status] || statuses == [status, 200],
        };
        let shown = case[..case.len().min(200)].escape_ascii();
        assert!(is_so, "{statuses:?} and not {fate:?} at {}: {shown}", self.target);
        let is_right = |reply: &Reply| reply.status != 200 || reply.body == self.body;
        assert!(replies.iter().all(is_right), "{replies:?} at {}: {shown}", self.target);
    }
}

fn try_all(cases: impl Fn(&Port) -> Vec<(Vec<u8>, Fate)>) {
    let directory = tempfile::tempdir().unwrap();
    let node = node(directory.path(), &[]);
    beside(&node, || {
        for port in ports(&node) {
            for (case, fate) in cases(&port) {
                port.check(&case, fate);
            }
        }
    });
}

#[test]
fn a_request_line_that_is_none_is_refused_and_a_strange_target_is_not_there() {
    try_all(|port| {
        let line = |line: &str| [line.as_bytes(), b" HTTP/1.1\r\nHost: localhost\r\n\r\n"].concat();
        let target = port.target;
        vec![
            (line(&format!("GET {target}\0")), Refused(400)),
            (line(&format!("GET {target}\u{7f}")), Refused(400)),
            ([b"GET ".as_slice(), b"/\xff", &line("")].concat(), Refused(400)),
            (line("GET"), Refused(400)),
            (line(""), Refused(400)),
            (line(&format!("G\u{e4}T {target}")), Refused(400)),
            (line(&format!("GET  {target}")), Refused(400)),
            (line(&format!("GET {target} x")), Refused(400)),
            (line(&format!("GET {target}/../..")), GoesOn(port.below)),
            (line(&format!("GET /{target}")), GoesOn(404)),
            (line(&format!("GET /..{target}")), GoesOn(404)),
            (line("GET /../../etc/passwd"), GoesOn(404)),
            (line("GET /%2e%2e/%2e%2e"), GoesOn(404)),
            (line("GET //"), GoesOn(404)),
            (line("GET .."), GoesOn(404)),
            (line("GET *"), GoesOn(404)),
            // A proxy is asked so. We are none, and what is asked for is ours or not there.
            (line(&format!("GET http://elsewhere{target}")), GoesOn(200)),
            (line("GET http://elsewhere/"), GoesOn(404)),
            (line("CONNECT elsewhere:443"), GoesOn(404)),
            (line(&format!("CONNECT {target}")), GoesOn(405)),
            // Longer than a target may be, and longer than a header may be.
            (line(&format!("GET /{}", "x".repeat(100_000))), Refused(414)),
            (line(&format!("GET /{}", "x".repeat(10 << 20))), Refused(431)),
            (line(&"G".repeat(10 << 20)), Refused(431)),
        ]
    });
}

#[test]
fn header_lines_that_are_none_are_refused() {
    try_all(|port| {
        let get = |fields: &str| port.with("GET", fields);
        vec![
            (get("X: a\0b\r\n"), Refused(400)),
            (get("X: a\rb\r\n"), Refused(400)),
            (get("X: a\r\n folded\r\n"), Refused(400)),
            (get("no colon\r\n"), Refused(400)),
            (get(": no name\r\n"), Refused(400)),
            (get("two words: x\r\n"), Refused(400)),
            (get("Space-Before : x\r\n"), Refused(400)),
            (get(&format!("X: {}\r\n", "y".repeat(10 << 20))), Refused(431)),
            (get(&"X: y\r\n".repeat(5000)), Refused(431)),
            ("\r\n".repeat(1 << 20).into_bytes(), Refused(431)),
            // A line may end so, by RFC 9112, 2.2.
            (format!("GET {} HTTP/1.1\nHost: localhost\n\n", port.target).into_bytes(), GoesOn(200)),
        ]
    });
}

#[test]
fn lengths_that_contradict_each_other_never_make_two_requests_of_one_or_one_of_two() {
    try_all(|port| {
        let get = |fields: &str, body: &str| [port.with("GET", fields), body.into()].concat();
        let of = |length: &str| get(&format!("Content-Length: {length}\r\n"), "x");
        let coded = |coding: &str| get(&format!("Transfer-Encoding: {coding}\r\n"), "0\r\n\r\n");
        let chunked = "Transfer-Encoding: chunked\r\n";
        vec![
            // The chunks count and not the length, and after that nothing does: RFC 9112, 6.1.
            (get(&format!("Content-Length: 4\r\n{chunked}"), "0\r\n\r\n"), Refused(200)),
            (get(&format!("{chunked}Content-Length: 4\r\n"), "0\r\n\r\n"), Refused(200)),
            (get("Content-Length: 1\r\nContent-Length: 2\r\n", "xx"), Refused(400)),
            (get("Content-Length: 1\r\nContent-Length: 1\r\n", "x"), MayEnd(200)),
            (of("1, 1"), Refused(400)),
            (of("1 1"), Refused(400)),
            (of("-1"), Refused(400)),
            (of("+1"), Refused(400)),
            (of("0x1"), Refused(400)),
            (of(""), Refused(400)),
            (of("99999999999999999999999"), Refused(400)),
            // The largest number is not a length to the parser, and too large in its words.
            (of("18446744073709551615"), Refused(431)),
            // It will never come, and need not: nobody reads it.
            (of("9223372036854775808"), MayEnd(200)),
            (coded("identity"), Refused(400)),
            (coded("xchunked"), Refused(400)),
            (coded("chunked, identity"), Refused(400)),
            (coded("\x0bchunked"), Refused(400)),
            (coded("identity, chunked"), MayEnd(200)),
            (get("Transfer-Encoding : chunked\r\n", "0\r\n\r\n"), Refused(400)),
            (format!("GET {} HTTP/1.0\r\n{chunked}\r\n0\r\n\r\n", port.target).into_bytes(), Refused(400)),
        ]
    });
}

/// Bodies whose chunks are none, or have no end.
fn bad_chunks() -> Vec<String> {
    let long = "x".repeat(1 << 20);
    let short = [
        "zz\r\nx\r\n0\r\n\r\n",
        "-1\r\nx\r\n0\r\n\r\n",
        "0x1\r\nx\r\n0\r\n\r\n",
        " 1\r\nx\r\n0\r\n\r\n",
        "1\nx\n0\n\n",
        "1\r\nxy0\r\n\r\n",
        "fffffffffffffffff\r\nx",
        "\r\n\r\n",
        "0\r\n\0\r\n\r\n",
    ];
    let endless = [
        format!("1;{long}\r\nx\r\n0\r\n\r\n"),
        format!("0\r\nX: {long}\r\n\r\n"),
        format!("0\r\n{}\r\n", "X: y\r\n".repeat(100_000)),
    ];
    short.map(str::to_owned).into_iter().chain(endless).collect()
}

#[test]
fn chunks_that_are_none_end_the_connection_whether_somebody_reads_them_or_not() {
    try_all(|port| {
        let request = port.with("GET", "Transfer-Encoding: chunked\r\n");
        let case = |chunks: String| ([request.clone(), chunks.into()].concat(), Refused(200));
        bad_chunks().into_iter().map(case).collect()
    });
}

#[test]
fn a_value_of_bad_chunks_or_of_a_claimed_length_is_refused_and_not_stored() {
    let directory = tempfile::tempdir().unwrap();
    let node = node(directory.path(), &[]);
    beside(&node, || {
        for (port, junk) in ports(&node).iter().zip(["/_carrot/pages/junk", "/v1/pages/junk"]) {
            let put = |field: &str| format!("PUT {junk} HTTP/1.1\r\nHost: localhost\r\n{field}\r\n\r\n");
            let chunked = put("Transfer-Encoding: chunked");
            for chunks in bad_chunks() {
                port.check(&[&*chunked, &*chunks].concat().into_bytes(), Refused(400));
            }
            for length in ["9223372036854775808", "18446744073709551613"] {
                let claimed = put(&format!("Content-Length: {length}"));
                port.check(&[claimed.as_bytes(), b"x"].concat(), Refused(413));
            }
            assert_eq!(node.get("/v1/pages/junk").status, 404, "{junk}");
        }
        // Extensions and trailers are what a proxy may add, and nothing of ours.
        let whole = "PUT /v1/pages/junk HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: chunked\r\n\r\n\
                     5;name=value\r\nHello\r\n0\r\nTrailer: x\r\n\r\n";
        let mut client = Client::connect(node.http);
        client.send(whole.as_bytes());
        assert_eq!(client.receive("PUT").status, 204);
        assert_eq!(client.get("/v1/pages/junk").text(), "Hello");
    });
}

#[test]
fn other_protocols_are_told_so_or_closed() {
    try_all(|port| {
        let line =
            |version: &str| format!("GET {} {version}\r\nHost: localhost\r\n\r\n", port.target).into_bytes();
        let hello = [&b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03"[..], &[0xa5; 501]].concat();
        vec![
            (b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\x04\0\0\0\0\0".to_vec(), Closed),
            (format!("GET {}\r\n\r\n", port.target).into_bytes(), Refused(400)),
            (line("HTTP/0.9"), Refused(400)),
            (line("HTTP/1.2"), Refused(400)),
            (line("HTTP/2.0"), Refused(400)),
            (line("HTTP/11"), Refused(400)),
            (line("http/1.1"), Refused(400)),
            (hello, Refused(400)),
            (b"*1\r\n".repeat(30_000), Refused(400)),
            (b"*2\r\n$3\r\nGET\r\n$4\r\nhome\r\n".to_vec(), Refused(400)),
            (b"SSH-2.0-OpenSSH_9.9\r\n".to_vec(), Refused(400)),
            // What nobody takes up is HTTP/1.1 as before.
            (port.with("GET", "Connection: Upgrade\r\nUpgrade: websocket\r\n"), GoesOn(200)),
            (
                port.with(
                    "GET",
                    "Connection: Upgrade, HTTP2-Settings\r\nUpgrade: h2c\r\nHTTP2-Settings: AA\r\n",
                ),
                GoesOn(200),
            ),
        ]
    });
}

#[test]
fn a_request_that_comes_byte_by_byte_is_answered() {
    let directory = tempfile::tempdir().unwrap();
    let node = node(directory.path(), &[]);
    for port in ports(&node) {
        let mut client = Client::connect(port.address);
        for byte in port.with("GET", "Connection: close\r\n") {
            client.send_whole(&[byte]);
        }
        let replies = client.replies();
        assert!(matches!(&replies[..], [reply] if reply.body == port.body), "{replies:?}");
    }
}
