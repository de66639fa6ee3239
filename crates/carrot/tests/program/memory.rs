//! A node with little memory: whatever brings a value in is told to come again while there is no room, and is answered
//! when there is.

use std::io::{BufRead, BufReader, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream};

use crate::awaiting::until;
use crate::client::Client;
use crate::database::Pages;
use crate::process::Node;

/// Half of what the nodes here have.
const HALF: usize = 512 << 10;

fn node(directory: &std::path::Path, origin: &[&str]) -> Node {
    let flags = ["--group", "pages", "--memory", "1MiB", "--capacity", "1MiB"];
    Node::alone(directory, &[&flags[..], origin].concat())
}

fn in_memory(node: &Node) -> f64 {
    node.page().number("carrot_memory_bytes")
}

fn refused(node: &Node) -> f64 {
    node.page().number(r#"carrot_refusals_total{cause="memory"}"#)
}

/// A client who has sent so much of a larger body, and sends no more.
fn begin_put(address: SocketAddr, target: &str, sent: usize) -> Client {
    let mut client = Client::connect(address);
    let head = format!("PUT {target} HTTP/1.1\r\nHost: localhost\r\nContent-Length: {}\r\n\r\n", sent + 1000);
    client.send_whole(head.as_bytes());
    client.send_whole(&vec![0; sent]);
    client
}

fn is_busy(node: &Node, target: &str) {
    let reply = Client::connect(node.http).get(target);
    assert_eq!((reply.status, reply.header("retry-after")), (503, Some("1")), "{}", reply.text());
    assert!(reply.text().contains(r#""error":"busy""#), "{}", reply.text());
    assert!(reply.text().contains("busy: memory of 1MiB is reached"), "{}", reply.text());
}

/// An origin that answers every request with a head and half a value, and is silent then.
fn half_an_answer() -> SocketAddr {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
    let address = listener.local_addr().unwrap();
    let answer = |stream: TcpStream| {
        let mut lines = BufReader::new(&stream).lines().map_while(Result::ok);
        if lines.by_ref().take_while(|line| !line.is_empty()).count() > 0 {
            let head = format!("HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n", 2 * HALF);
            let _ = (&stream).write_all(&[head.as_bytes(), &vec![b'v'; HALF]].concat());
        }
        lines.for_each(drop);
    };
    std::thread::spawn(move || {
        for stream in listener.incoming().map_while(Result::ok) {
            std::thread::spawn(move || answer(stream));
        }
    });
    address
}

#[test]
fn bodies_of_slow_clients_and_slow_peers_take_memory_until_they_are_done() {
    let directory = tempfile::tempdir().unwrap();
    let node = node(directory.path(), &[]);
    let put = |length: usize| {
        let head = format!("PUT /v1/pages/a HTTP/1.1\r\nHost: localhost\r\nContent-Length: {length}\r\n\r\n");
        let mut client = Client::connect(node.http);
        client.send(&[head.as_bytes(), &vec![b'v'; length]].concat());
        client.receive("PUT")
    };
    assert_eq!(put(1000).status, 204);
    let client = begin_put(node.http, "/v1/pages/slow", HALF);
    let peer = begin_put(node.peer, "/_carrot/pages/slow", HALF - 8000);
    until("both have come in", || in_memory(&node) >= (2 * HALF - 8000) as f64);
    let refusal = put(10_000);
    assert_eq!((refusal.status, refusal.header("retry-after")), (503, Some("1")));
    assert!(refusal.text().contains("busy: memory of 1MiB is reached"), "{}", refusal.text());
    assert!(refused(&node) >= 1.0 && in_memory(&node) <= f64::from(1 << 20));
    drop((client, peer));
    until("they are gone", || in_memory(&node) < 10_000.0);
    assert_eq!(put(10_000).status, 204);
    assert_eq!(Client::connect(node.http).get("/v1/pages/a").body.len(), 10_000);
}

#[test]
fn a_slow_answer_of_an_http_origin_takes_memory_from_its_first_byte() {
    let directory = tempfile::tempdir().unwrap();
    let origin = format!("http://{}/{{key}}", half_an_answer());
    let node = node(directory.path(), &["--origin", &origin, "--load-deadline", "60s"]);
    let mut first = Client::connect(node.http);
    first.send_whole(b"GET /v1/pages/a HTTP/1.1\r\nHost: localhost\r\n\r\n");
    until("half of it has come", || in_memory(&node) >= HALF as f64);
    // Another half is all there is room for.
    let others = begin_put(node.http, "/v1/pages/slow", HALF / 2);
    until("others have come", || in_memory(&node) >= (HALF + HALF / 2) as f64);
    is_busy(&node, "/v1/pages/b");
    let page = node.page();
    let loads =
        |outcome: &str| page.number(&format!(r#"carrot_loads_total{{group="pages",outcome="{outcome}"}}"#));
    assert!((loads("busy") - 1.0).abs() < f64::EPSILON && loads("failed").abs() < f64::EPSILON);
    drop(others);
}

#[test]
fn a_file_and_a_row_that_there_is_no_room_for_are_busy_until_there_is() {
    let body = "v".repeat(100_000);
    let pages = Pages::new("delete", &[("a", &body)]);
    let files = pages.directory.path().join("files");
    std::fs::create_dir(&files).unwrap();
    std::fs::write(files.join("a"), &body).unwrap();
    let query = ["--origin", "sqlite:app.db", "--query", crate::database::QUERY];
    for origin in [&["--origin", "dir:files"][..], &query] {
        let node = node(pages.directory.path(), origin);
        let others = begin_put(node.http, "/v1/pages/slow", 980_000);
        until("others have come", || in_memory(&node) >= 980_000.0);
        is_busy(&node, "/v1/pages/a");
        assert!((refused(&node) - 1.0).abs() < f64::EPSILON);
        drop(others);
        until("they are gone", || in_memory(&node) < 1.0);
        let reply = Client::connect(node.http).get("/v1/pages/a");
        assert_eq!((reply.status, reply.body.len()), (200, body.len()));
        // Kept, and charged once.
        let held = node.page().number(r#"carrot_weight_bytes{group="pages",region="owned"}"#);
        assert!(held > 100_000.0 && (in_memory(&node) - held).abs() < f64::EPSILON);
    }
}
