//! The example of three processes, as three processes: its answers, and what its origin was asked for.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU32, Ordering::Relaxed};
use std::thread;

use carrotcache::placement::{GroupHash, Placement, PlacementKind};

use crate::client::get;
use crate::process::Process;

const SCORES: [(&str, &str); 5] =
    [("Tom", "630"), ("Jack", "589"), ("Sam", "567"), ("Lily", "589"), ("Pity", "567")];

fn start(args: &[&str]) -> Process {
    Process::start("three_processes", args)
}

/// Waits until everything it listens on accepts: its peer port is told last. Not so if it ends before.
fn accepts(process: &Process) -> bool {
    process.says("peer ").is_some()
}

/// Ends it, and gives the keys it has loaded.
fn loaded_by(mut process: Process) -> Vec<String> {
    process.kill();
    let load = |line: String| line.strip_prefix("[origin] load ").map(str::to_owned);
    process.end().lines.into_iter().filter_map(load).collect()
}

/// The example's three processes, the third with the api.
struct Three {
    processes: [Process; 3],
    /// What their ports are moved by.
    offset: u16,
}

impl Three {
    /// Three that accept, on ports that were free.
    fn started() -> Self {
        // From a start of this process's own, so that two runs at once seldom meet. All below the ports that
        // systems hand out for connections.
        static NEXT: AtomicU32 = AtomicU32::new(0);
        let offset = || 1000 + (std::process::id() * 40 + NEXT.fetch_add(1, Relaxed)) % 2000 * 10;
        let mut tried = (0..20).filter_map(|_| Self::at(u16::try_from(offset()).unwrap()));
        tried.next().expect("of twenty places none was free, or the example does not start")
    }

    /// `None`: a port there is taken.
    fn at(offset: u16) -> Option<Self> {
        let moved = format!("-offset={offset}");
        // The spellings that the original's flags took.
        let processes = [
            start(&["-port", "8001", &moved]),
            start(&["--port=8002", &moved]),
            start(&["-port=8003", "-api=1", &moved]),
        ];
        processes.iter().all(accepts).then_some(Self { processes, offset })
    }

    fn api(&self) -> Api {
        Api { port: 9999 + self.offset }
    }

    /// Whether the process with the api owns the key, by the family's ring.
    fn api_owns(&self, key: &str) -> bool {
        let nodes = [8001, 8002, 8003].map(|port| format!("http://localhost:{}", port + self.offset));
        let ring = Placement::new(PlacementKind::Ring, nodes).unwrap();
        ring.place(GroupHash::of("scores"), key.as_bytes()).owner() == Some(2)
    }

    /// Ends the processes, and gives how often each key was loaded, by all three together.
    fn loads(self) -> BTreeMap<String, usize> {
        let mut loads = BTreeMap::new();
        for key in self.processes.into_iter().flat_map(loaded_by) {
            *loads.entry(key).or_default() += 1;
        }
        loads
    }
}

/// Where clients ask.
#[derive(Clone, Copy)]
struct Api {
    port: u16,
}

impl Api {
    /// Status, content type and body of the answer.
    fn ask(self, target: &str) -> (u16, String, String) {
        let reply = get(([127, 0, 0, 1], self.port).into(), target);
        (reply.status, reply.header("content-type").to_owned(), reply.body)
    }
}

fn found(value: &str) -> (u16, String, String) {
    (200, "application/octet-stream".to_owned(), value.to_owned())
}

fn refused(status: u16, line: &str) -> (u16, String, String) {
    (status, "text/plain; charset=utf-8".to_owned(), format!("{line}\n"))
}

#[test]
fn ten_gets_are_answered_and_each_key_is_loaded_once() {
    let three = Three::started();
    let api = three.api();
    // Every key, three of them by several callers at once.
    let asked = [0, 0, 0, 1, 1, 2, 2, 3, 4].map(|at| SCORES[at]);
    thread::scope(|scope| {
        for (name, score) in asked {
            scope.spawn(move || assert_eq!(api.ask(&format!("/api?key={name}")), found(score), "{name}"));
        }
    });
    assert_eq!(api.ask("/api?key=Tom"), found("630"), "Tom once more");
    let once = SCORES.map(|(name, _)| (name.to_owned(), 1));
    assert_eq!(three.loads(), BTreeMap::from(once));
}

#[test]
fn what_the_api_cannot_give_is_refused_by_its_status() {
    let three = Three::started();
    let api = three.api();
    assert_eq!(api.ask("/api?key="), refused(400, "key is required"));
    assert_eq!(api.ask("/api"), refused(400, "key is required"));
    assert_eq!(api.ask("/other?key=Tom"), refused(404, "no such path"));
    // The peers' words have one status for a key that is not there and for a load that failed.
    for name in ["Tim", "Ann", "Bob", "Eve", "Ida", "Jan", "Kim", "Max", "Ute", "Zoe"] {
        let (status, _, why) = api.ask(&format!("/api?key={name}"));
        assert_eq!(status, if three.api_owns(name) { 404 } else { 502 }, "{name}: {why}");
        assert!(why.contains(name), "{why}");
    }
    let (status, _, why) = api.ask("/api?key=%FF");
    assert_eq!(status, 502, "{why}");
    assert!(why.contains("utf-8"), "the loader's own words: {why}");
    assert_eq!(api.ask("/api?key=To%6D"), found("630"), "after all that");
}
