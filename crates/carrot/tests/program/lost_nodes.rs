//! One of three nodes goes, in the midst of its work: killed without a word, or stopped as an operator does.
//!
//! Clients talk to the two that stay. What they are promised: no failed get, and every value right.

use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use crate::awaiting::until;
use crate::client::{Client, get};
use crate::database::{Pages, SERVE, body};
use crate::process::Node;

const PAGES: usize = 300;
/// Before the node goes, and again after it went.
const GETS: u64 = 3000;

/// Clients that ask some nodes for all pages over and over, each on one connection, and believe nothing.
struct Load {
    gets: AtomicU64,
    is_over: AtomicBool,
}

impl Load {
    fn run(&self, client: usize, http: SocketAddr) {
        let mut connection = Client::connect(http);
        let mut number = client * 37;
        while !self.is_over.load(Ordering::Relaxed) {
            // A step that has no factor in common with their count: every client comes by every page.
            number = (number + 7) % PAGES;
            let reply = connection.get(&format!("/v1/pages/{number}"));
            assert_eq!((reply.status, reply.text()), (200, &*body(number)));
            self.gets.fetch_add(1, Ordering::Relaxed);
        }
    }

    /// Lets that many more gets come in.
    fn await_more(&self, gets: u64) {
        let enough = self.gets.load(Ordering::Relaxed) + gets;
        until("the gets come in", || {
            self.gets.load(Ordering::Relaxed) >= enough || self.is_over.load(Ordering::Relaxed)
        });
    }
}

/// Ends the load when a client or the test itself fails, so that nobody waits for it.
struct Over<'a>(&'a Load);

impl Drop for Over<'_> {
    fn drop(&mut self) {
        self.0.is_over.store(true, Ordering::Relaxed);
    }
}

/// Loses the last of three nodes by `lose`, under load on the other two.
fn under_load(lose: impl FnOnce(Node)) {
    let pages = Pages::numbered(PAGES);
    // Nothing is mirrored and nothing is kept for long: gets go on needing the node that owns their page.
    let flags = [&SERVE[..], &["--hot", "off", "--ttl", "200ms"]].concat();
    let mut nodes = Node::cluster(pages.directory.path(), &["a", "b", "c"], &[], &flags);
    let lost = nodes.pop().unwrap();
    let load = Load { gets: AtomicU64::new(0), is_over: AtomicBool::new(false) };
    let fetched = |outcome: &str| {
        let series = format!(r#"carrot_fetches_total{{group="pages",outcome="{outcome}"}}"#);
        nodes.iter().map(|node| node.page().number(&series)).sum::<f64>()
    };
    std::thread::scope(|scope| {
        let _over = Over(&load);
        for client in 0..8 {
            let (load, http) = (&load, nodes[client % 2].http);
            scope.spawn(move || {
                let _over = Over(load);
                load.run(client, http);
            });
        }
        load.await_more(GETS);
        assert_eq!(fetched("unreachable"), 0.0);
        assert!(lost.page().loads() > 0.0, "the node that is about to go had nothing to do");
        lose(lost);
        load.await_more(GETS);
    });
    assert!(load.gets.load(Ordering::Relaxed) >= 2 * GETS);
    assert!(fetched("unreachable") > 0.0, "nobody missed the node");
    assert!(nodes.iter().map(|node| node.page().sum("carrot_stand_ins_total", "pages")).sum::<f64>() > 0.0);
    for node in nodes {
        assert!(node.stop().status.success());
    }
}

#[test]
fn a_node_that_is_killed_under_load_costs_no_get_and_no_value() {
    under_load(|mut lost| lost.process.kill());
}

#[test]
fn a_node_that_is_stopped_under_load_costs_no_get_and_no_value() {
    under_load(|lost| {
        let ended = lost.stop();
        assert_eq!(ended.status.code(), Some(0), "{}", ended.errors);
        assert!(!ended.errors.contains("unanswered"), "{}", ended.errors);
    });
}

#[test]
fn a_stop_answers_what_is_in_flight_and_is_not_ready_meanwhile() {
    let pages = Pages::numbered(2);
    let node = Node::alone(pages.directory.path(), &SERVE);
    node.until_ready();
    let mut idle = Client::connect(node.http);
    assert_eq!(idle.get("/v1/pages/1").status, 200);
    pages.lock();
    std::thread::scope(|scope| {
        let by_http = scope.spawn(|| node.get("/v1/pages/0"));
        let by_peer = scope.spawn(|| get(node.peer, "/carrotCache/pages/0"));
        until("both wait", || node.page().number(r#"carrot_waiters{group="pages"}"#) >= 2.0);
        node.process.terminate();
        until("it is not ready", || get(node.admin, "/readyz").status == 503);
        assert_eq!(get(node.admin, "/livez").status, 200, "it is alive while it drains");
        assert!(idle.rest().is_empty(), "an idle connection is closed");
        pages.unlock();
        let reply = by_http.join().unwrap();
        assert_eq!((reply.status, reply.text()), (200, &*body(0)));
        assert_eq!(reply.header("connection"), Some("close"));
        let reply = by_peer.join().unwrap();
        assert_eq!((reply.status, &reply.body[2..]), (200, body(0).as_bytes()));
    });
    let ended = node.process.end();
    assert_eq!(ended.status.code(), Some(0), "{}", ended.errors);
    assert!(!ended.errors.contains("unanswered"), "{}", ended.errors);
}

#[test]
fn a_second_signal_stops_at_once() {
    let pages = Pages::numbered(1);
    let node = Node::alone(pages.directory.path(), &SERVE);
    node.until_ready();
    pages.lock();
    std::thread::scope(|scope| {
        let mut client = Client::connect(node.http);
        client.send(b"GET /v1/pages/0 HTTP/1.1\r\nHost: test\r\n\r\n");
        let cut = scope.spawn(move || client.rest());
        until("the load waits", || node.page().number(r#"carrot_waiters{group="pages"}"#) >= 1.0);
        node.process.terminate();
        until("it is not ready", || get(node.admin, "/readyz").status == 503);
        node.process.interrupt();
        assert!(cut.join().unwrap().is_empty());
    });
    let ended = node.process.end();
    assert_eq!(ended.status.code(), Some(0), "{}", ended.errors);
    assert!(ended.errors.contains("stopped at once"), "{}", ended.errors);
}
