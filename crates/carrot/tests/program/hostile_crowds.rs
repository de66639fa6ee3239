//! Many at once who want nothing good: they are silent, they crowd, they send without end, they take no answers.
//!
//! Beside each crowd good clients are answered all the while. Its connections are closed within the node's deadlines,
//! and what they cost in memory is bounded by the node's limits, not by what was sent.

use std::io::{ErrorKind, Write};
use std::net::{SocketAddr, TcpStream};
use std::thread;

use crate::awaiting::{eventually, until};
use crate::client::{Client, put};
use crate::good_client::{beside, node};
use crate::process::Node;

/// More than a node of one page ever needs in these tests, and less than what is sent to it would take.
const PLENTY: u64 = 128 << 20;

fn has_little_memory(node: &Node) {
    let peak = node.process.peak_memory();
    assert!(peak < PLENTY, "{} MiB", peak >> 20);
}

/// The number of a port's connections that came to such an end.
fn connections(node: &Node, name: &str, listener: &str) -> f64 {
    node.page().number(&format!(r#"carrot_connections{name}{{listener="{listener}"}}"#))
}

#[test]
fn whoever_is_silent_is_closed_at_his_deadline_whatever_he_had_begun() {
    let directory = tempfile::tempdir().unwrap();
    let node = node(directory.path(), &[]);
    let beginnings =
        ["", "G", "GET /livez HTTP/1.1\r\nHost: local", "GET /livez HTTP/1.1\r\nHost: localhost\r\n"];
    let ports = [node.peer, node.http, node.admin];
    let bodies = [
        (node.peer, "PUT /_carrot/pages/half", "the body did not come in time\n"),
        (node.http, "PUT /v1/pages/half", r#"{"error":"bad_request","message":"no whole body within 30s"}"#),
    ];
    beside(&node, || {
        let begin = |address, bytes: &str| {
            let mut client = Client::connect(address);
            client.send_whole(bytes.as_bytes());
            client
        };
        let mut silent = Vec::new();
        let mut halves = Vec::new();
        for _ in 0..25 {
            let each = ports.iter().flat_map(|port| beginnings.map(|beginning| (*port, beginning)));
            silent.extend(each.map(|(port, beginning)| begin(port, beginning)));
        }
        for (address, line, told) in bodies {
            for body in [
                "Content-Length: 100\r\n\r\nten bytes.",
                "Transfer-Encoding: chunked\r\n\r\n64\r\nten bytes.",
            ] {
                let request = format!("{line} HTTP/1.1\r\nHost: localhost\r\n{body}");
                halves.push((begin(address, &request), told));
            }
        }
        for client in &mut silent {
            assert!(client.rest().is_empty(), "half a request is not answered");
        }
        for (client, told) in &mut halves {
            let reply = client.receive("PUT");
            assert_eq!((reply.status, reply.text()), (400, *told));
            assert!(client.rest().is_empty());
        }
    });
    for listener in ["peer", "http"] {
        assert!(connections(&node, "_overdue_total", listener) >= 100.0, "{listener}");
        until("all are gone", || connections(&node, "", listener) == 0.0);
    }
    assert_eq!(node.get("/v1/pages/half").status, 404);
    has_little_memory(&node);
}

#[test]
fn a_crowd_past_the_limit_of_connections_takes_no_answer_from_who_was_there_and_passes_at_its_deadline() {
    let directory = tempfile::tempdir().unwrap();
    let node = node(directory.path(), &["--limit-connections", "40"]);
    beside(&node, || {
        for address in [node.peer, node.http] {
            for _ in 0..500 {
                drop(Client::connect(address));
            }
        }
        // The good client's alone is left on either port.
        let fullness = ["peer", "http"].map(|listener| {
            until("those who left are gone", || connections(&node, "", listener) == 1.0);
            (listener, connections(&node, "_full_total", listener))
        });
        let idle = [node.peer, node.http].map(|address| [(); 60].map(|()| Client::connect(address)));
        for (listener, before) in fullness {
            until("it is full", || connections(&node, "_full_total", listener) > before);
        }
        // Behind all of them in the queue: they are closed, first those who got in, and then it is their turn.
        assert_eq!(node.get("/v1/pages/home").text(), "Hello");
        assert_eq!(Client::connect(node.peer).get("/_carrot/pages/home").status, 200);
        drop(idle);
    });
    has_little_memory(&node);
}

/// Bytes of a header or a body that has no end, in the order sent.
const ENDLESS: [(&str, &str); 6] = [
    ("GET /", "x"),
    ("GET /livez HTTP/1.1\r\nX: ", "y"),
    ("GET /livez HTTP/1.1\r\n", "X: y\r\n"),
    ("PUT /v1/pages/much HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n", "X: y\r\n"),
    ("PUT /v1/pages/much HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: chunked\r\n\r\n1;", "x"),
    (
        "PUT /v1/pages/much HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: chunked\r\n\r\n",
        "10\r\nsixteen bytes on\r\n",
    ),
];

#[test]
fn what_has_no_end_is_refused_at_its_limit_however_many_send_it_at_once() {
    const EACH: usize = 12 << 20;
    let directory = tempfile::tempdir().unwrap();
    let node = node(directory.path(), &["--limit-value", "1MiB"]);
    let flood = |address, (begin, on): (&str, &str)| {
        let mut client = Client::connect(address);
        client.send(begin.as_bytes());
        let piece = on.repeat((1 << 20) / on.len());
        for _ in 0..EACH >> 20 {
            client.send(piece.as_bytes());
        }
        let said = client.replies();
        let [reply] = &said[..] else { panic!("{begin}: {said:?}") };
        assert!((400..500).contains(&reply.status), "{begin}: {reply:?}");
    };
    beside(&node, || {
        for address in [node.peer, node.http, node.admin] {
            thread::scope(|scope| {
                for case in ENDLESS.repeat(2) {
                    scope.spawn(move || flood(address, case));
                }
            });
        }
    });
    assert_eq!(node.get("/v1/pages/much").status, 404);
    has_little_memory(&node);
}

#[test]
fn values_that_come_at_once_are_no_more_than_a_node_holds_whoever_sends_them() {
    let directory = tempfile::tempdir().unwrap();
    let node = node(directory.path(), &["--limit-value", "1KiB"]);
    let value = [b'v'; 1 << 10];
    let begin = |nth: usize| {
        let mut client = Client::connect(node.http);
        let head = format!("PUT /v1/pages/{nth} HTTP/1.1\r\nHost: localhost\r\nContent-Length: 1024\r\n\r\n");
        client.send_whole(head.as_bytes());
        client.send_whole(&value[1..]);
        client
    };
    let mut slow: Vec<Client> = (0..32).map(begin).collect();
    let busy = || {
        // While one more is held there is no room for the last of them: whoever was refused for it begins anew.
        for (nth, client) in slow.iter_mut().enumerate().filter(|(_, client)| client.has_heard()) {
            assert_eq!(client.receive("PUT").status, 503);
            *client = begin(nth);
        }
        Some(put(node.http, "/v1/pages/more", &value)).filter(|reply| reply.status == 503)
    };
    let busy = eventually("all but their last bytes have come", busy);
    let line = "busy: values of 32768 bytes together are on their way";
    assert_eq!(busy.text(), format!(r#"{{"error":"busy","message":"{line}"}}"#));
    assert_eq!(busy.header("retry-after"), Some("1"));
    assert_eq!(node.get("/v1/pages/home").text(), "Hello");
    for client in &mut slow {
        client.send_whole(&value[..1]);
        assert_eq!(client.receive("PUT").status, 204);
    }
    assert_eq!(put(node.http, "/v1/pages/more", &value).status, 204);
}

/// A client who asks and asks and takes no answer. It stops when it is dropped.
struct Greedy {
    stream: TcpStream,
    requests: Vec<u8>,
    sent: usize,
}

impl Greedy {
    fn new(address: SocketAddr, target: &str) -> Self {
        let stream = TcpStream::connect(address).unwrap();
        stream.set_nonblocking(true).unwrap();
        let requests = format!("GET {target} HTTP/1.1\r\nHost: localhost\r\n\r\n").repeat(10_000);
        Self { stream, requests: requests.into_bytes(), sent: 0 }
    }

    /// Asks on, as far as there is room, and says how much of the requests is sent and how much of the answers is there.
    fn ask_on(&mut self, room: &mut [u8]) -> (usize, usize) {
        loop {
            match self.stream.write(&self.requests[self.sent..]) {
                Ok(0) => break,
                Ok(sent) => self.sent += sent,
                Err(error) if error.kind() == ErrorKind::WouldBlock => break,
                Err(error) => panic!("{error}"),
            }
        }
        (self.sent, self.stream.peek(room).unwrap_or_default())
    }
}

#[test]
fn answers_that_nobody_takes_do_not_pile_up_in_the_node() {
    let directory = tempfile::tempdir().unwrap();
    let node = node(directory.path(), &[]);
    assert_eq!(put(node.http, "/v1/pages/large", &[7; 256 << 10]).status, 204);
    let ports =
        [(node.peer, "/_carrot/pages/large"), (node.http, "/v1/pages/large"), (node.admin, "/metrics")];
    beside(&node, || {
        let mut crowd: Vec<_> = ports
            .iter()
            .flat_map(|(address, target)| [(); 8].map(|()| Greedy::new(*address, target)))
            .collect();
        let mut room = vec![0; 16 << 20];
        let mut before = Vec::new();
        until("nothing moves any more, however many answers others get meanwhile", || {
            let now: Vec<_> = crowd.iter_mut().map(|greedy| greedy.ask_on(&mut room)).collect();
            for _ in 0..50 {
                assert_eq!(node.get("/v1/pages/home").text(), "Hello");
            }
            std::mem::replace(&mut before, now) == before
        });
        has_little_memory(&node);
    });
    for listener in ["peer", "http"] {
        until("all are gone", || connections(&node, "", listener) == 0.0);
    }
}
