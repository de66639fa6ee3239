//! The good clients beside the hostile ones: they ask without pause, and every answer has to be right.

use std::net::SocketAddr;
use std::path::Path;
use std::sync::Barrier;
use std::sync::atomic::{AtomicBool, Ordering};

use crate::client::Client;
use crate::process::Node;

/// A node whose group `pages` has the one page `home`.
pub(crate) fn node(directory: &Path, flags: &[&str]) -> Node {
    Node::alone(directory, &[&["--group", "pages", "--origin", "table:home=Hello"], flags].concat())
}

/// The body of `home` in the words of the first carrotCache's peers.
pub(crate) const HOME_FOR_PEERS: &[u8] = b"\x0a\x05Hello";

/// Does what is hostile while a good client asks at the peer port and another at the data front, each on a connection
/// that it had before. Each is answered at least once before, and once after.
pub(crate) fn beside<T>(node: &Node, hostile: impl FnOnce() -> T) -> T {
    let (begun, over) = (Barrier::new(3), AtomicBool::new(false));
    std::thread::scope(|scope| {
        scope.spawn(|| ask_on(node.peer, peers_round, &begun, &over));
        scope.spawn(|| ask_on(node.http, clients_round, &begun, &over));
        begun.wait();
        // Also when the hostile part fails: the scope waits for the two.
        let _over = Over(&over);
        hostile()
    })
}

/// Says that it is over when it is dropped.
pub(crate) struct Over<'a>(pub(crate) &'a AtomicBool);

impl Drop for Over<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

/// Round after round on one connection, the last one after it was over.
fn ask_on(address: SocketAddr, round: fn(&mut Client, usize), begun: &Barrier, over: &AtomicBool) {
    let mut client = Client::connect(address);
    round(&mut client, 0);
    begun.wait();
    let mut rounds = 1;
    let mut is_last = false;
    while !is_last {
        is_last = over.load(Ordering::Relaxed);
        round(&mut client, rounds);
        rounds += 1;
    }
}

fn peers_round(client: &mut Client, _: usize) {
    let reply = client.get("/carrotCache/pages/home");
    assert_eq!((reply.status, &*reply.body), (200, HOME_FOR_PEERS));
    assert_eq!(client.get("/_carrot/pages/none").status, 404);
}

fn clients_round(client: &mut Client, nth: usize) {
    let reply = client.get("/v1/pages/home");
    assert_eq!((reply.status, reply.text()), (200, "Hello"));
    let value = format!("round {nth}");
    let length = value.len();
    client.send(
        format!("PUT /v1/pages/own HTTP/1.1\r\nHost: test\r\nContent-Length: {length}\r\n\r\n{value}")
            .as_bytes(),
    );
    assert_eq!(client.receive("PUT").status, 204);
    let reply = client.get("/v1/pages/own");
    assert_eq!((reply.status, reply.text()), (200, &*value));
    assert_eq!(client.get("/v1/pages/none").status, 404);
}
