//! Peers that answer, and not with a reply: each of their keys is answered by somebody else, and what they said is
//! neither believed nor stored.

use std::io::{BufRead, BufReader, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use crate::awaiting::LONG;
use crate::client::{Client, ask, put};
use crate::database::{Pages, SERVE, body};
use crate::process::Node;

const PAGES: usize = 200;

/// A listener that says the same to everybody. Its thread ends with the test's process.
struct FakePeer {
    address: SocketAddr,
    asked: Arc<AtomicU64>,
}

impl FakePeer {
    fn saying(reply: impl Into<Vec<u8>>) -> Self {
        let (listener, reply) = (TcpListener::bind("127.0.0.1:0").unwrap(), reply.into());
        let (address, asked) = (listener.local_addr().unwrap(), Arc::new(AtomicU64::new(0)));
        let count = asked.clone();
        std::thread::spawn(move || {
            for stream in listener.incoming() {
                count.fetch_add(1, Ordering::Relaxed);
                // Whoever asked may be gone.
                let _ = say(stream.unwrap(), &reply);
            }
        });
        Self { address, asked }
    }

    fn asked(&self) -> u64 {
        self.asked.load(Ordering::Relaxed)
    }
}

/// Reads one header, answers it, and closes.
fn say(stream: TcpStream, reply: &[u8]) -> std::io::Result<()> {
    stream.set_read_timeout(Some(LONG))?;
    let mut stream = BufReader::new(stream);
    let mut line = String::new();
    while stream.read_line(&mut line)? > 2 {
        line.clear();
    }
    stream.get_mut().write_all(reply)
}

fn with_head(status: &str, headers: &str, body: &[u8]) -> Vec<u8> {
    let length = body.len();
    [format!("HTTP/1.1 {status}\r\n{headers}Content-Length: {length}\r\n\r\n").as_bytes(), body].concat()
}

const PROTOBUF: &str = "Content-Type: application/x-protobuf\r\n";
/// What a peer says that has the value `wrong`.
const WRONG: &[u8] = b"\x0a\x05wrong";

#[test]
fn a_peer_that_does_not_speak_as_one_is_unreachable_and_its_keys_are_answered_by_others() {
    let elsewhere = FakePeer::saying(with_head("200 OK", PROTOBUF, WRONG));
    let redirect = format!("Location: http://{}/_carrot/pages/0\r\n{PROTOBUF}", elsewhere.address);
    let fakes = [
        ("no protobuf", with_head("200 OK", PROTOBUF, b"\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff")),
        ("another type", with_head("200 OK", "Content-Type: text/html\r\n", WRONG)),
        ("a value over the limit", with_head("200 OK", PROTOBUF, &over_the_limit())),
        ("a length beyond reason", b"HTTP/1.1 200 OK\r\nContent-Type: application/x-protobuf\r\nContent-Length: 99999999999\r\n\r\n\x0a\x05wrong".to_vec()),
        ("cut short", b"HTTP/1.1 200 OK\r\nContent-Type: application/x-protobuf\r\nContent-Length: 100\r\n\r\n\x0a\x05wrong".to_vec()),
        ("without a length", b"HTTP/1.1 200 OK\r\nContent-Type: application/x-protobuf\r\nConnection: close\r\n\r\n\x0a\x05wrong".to_vec()),
        ("cut in a chunk", b"HTTP/1.1 200 OK\r\nContent-Type: application/x-protobuf\r\nTransfer-Encoding: chunked\r\n\r\n7\r\n\x0a\x05wrong\r\n".to_vec()),
        ("a redirect", with_head("302 Found", &redirect, WRONG)),
        ("a permanent redirect", with_head("308 Permanent Redirect", &redirect, WRONG)),
        ("compressed", with_head("200 OK", &format!("{PROTOBUF}Content-Encoding: gzip\r\n"), WRONG)),
        ("an error of a proxy", with_head("502 Bad Gateway", "Content-Type: text/html\r\n", b"<html>")),
        ("no HTTP", b"SSH-2.0-OpenSSH_9.9\r\n".to_vec()),
        ("nothing", Vec::new()),
    ];
    for (name, reply) in fakes {
        let fake = FakePeer::saying(reply);
        check(name, &fake);
    }
    assert_eq!(elsewhere.asked(), 0, "a redirect was followed");
}

/// A message whose value is longer than the nodes below take.
fn over_the_limit() -> Vec<u8> {
    // 2,000 as a varint.
    [&b"\x0a\xd0\x0f"[..], &[b'x'; 2000]].concat()
}

/// A node whose one peer is a fake: every page is served, and none by the fake.
fn check(name: &str, fake: &FakePeer) {
    let pages = Pages::numbered(PAGES);
    let flags = [&SERVE[..], &["--hot", "always", "--limit-value", "1KiB"]].concat();
    let [node] = &Node::cluster(pages.directory.path(), &["a"], &[fake.address], &flags)[..] else {
        panic!("one was asked for");
    };
    let mut client = Client::connect(node.http);
    for round in 0..2 {
        for number in 0..PAGES {
            let reply = client.get(&format!("/v1/pages/{number}"));
            assert_eq!((reply.status, reply.text()), (200, &*body(number)), "{name}");
            // Never as the owner's, and the second time from this node's own memory.
            let kept = ["memory", "mirror"].contains(&reply.cache().1);
            assert_eq!((reply.cache().2, kept), ("a", round == 1), "{name}: {:?}", reply.cache());
        }
    }
    let page = node.page();
    let unreachable = page.number(r#"carrot_fetches_total{group="pages",outcome="unreachable"}"#);
    let stand_ins = page.number(r#"carrot_stand_ins_total{group="pages"}"#);
    assert!(unreachable > 20.0, "{name}: {unreachable}");
    assert_eq!(unreachable, stand_ins, "{name}");
    assert_eq!(page.sum("carrot_fetches_total", ""), unreachable, "{name}");
    assert_eq!(page.loads(), 200.0, "{name}: each page was loaded once");
    assert!(fake.asked() >= 3, "{name}: the fake was asked {} times", fake.asked());
}

#[test]
fn a_write_that_its_owner_does_not_confirm_is_no_success() {
    let fake = FakePeer::saying(with_head("200 OK", PROTOBUF, b"\xff\xff\xff"));
    let pages = Pages::numbered(PAGES);
    let nodes = Node::cluster(pages.directory.path(), &["a"], &[fake.address], &SERVE);
    let http = nodes[0].http;
    let mut unconfirmed = 0;
    for number in 0..40 {
        let target = format!("/v1/pages/{number}");
        for reply in [put(http, &target, b"set"), ask(http, "DELETE", &target)] {
            if reply.status != 204 {
                unconfirmed += 1;
                let start = format!(r#"{{"error":"unconfirmed","members":["http://{}"],"#, fake.address);
                assert!(reply.status == 503 && reply.text().starts_with(&start), "{reply:?}");
                assert_eq!(reply.header("retry-after"), Some("1"));
            }
        }
        assert_eq!(nodes[0].get(&target).text(), body(number));
    }
    assert!(unconfirmed > 0, "the fake owns none of forty pages");
}
