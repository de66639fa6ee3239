//! The demonstration, as a newcomer types it from what it prints.

use std::net::{Ipv4Addr, SocketAddr, TcpListener};

use rusqlite::Connection;
use tempfile::TempDir;

use crate::awaiting::{eventually, until};
use crate::client::{ask, get};
use crate::page::Page;
use crate::process::Process;

/// Below the ports that systems give to whoever asks for any.
const OFFSETS: std::ops::Range<u16> = 10_000..22_000;
const FIRST: [u16; 4] = [8001, 9999, 6380, 9990];

/// The demonstration on ports that were free, and what it printed when all its nodes accepted.
struct Demo {
    process: Process,
    offset: u16,
    banner: String,
    directory: TempDir,
}

impl Demo {
    fn start() -> Self {
        let span = u32::from(OFFSETS.end - OFFSETS.start);
        // Two test runs at once begin at different places.
        let mut step = std::process::id();
        eventually("twelve ports in rows of three are free", || {
            step = step.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            Self::at(OFFSETS.start + u16::try_from((step >> 8) % span).unwrap())
        })
    }

    fn at(offset: u16) -> Option<Self> {
        let ports = FIRST.iter().flat_map(|first| (0..3).map(move |n| first + n + offset));
        let free = ports.map(|port| TcpListener::bind((Ipv4Addr::LOCALHOST, port)).ok());
        free.collect::<Option<Vec<_>>>()?;
        let directory = tempfile::tempdir().unwrap();
        let process = Process::start(directory.path(), &["demo", "--offset", &offset.to_string()]);
        for n in 0..3 {
            for (kind, first) in ["peer", "http", "resp", "admin"].into_iter().zip(FIRST) {
                // Without a line it found a port taken meanwhile.
                assert_eq!(process.line()?, format!("{kind} 127.0.0.1:{}", first + n + offset));
            }
        }
        let mut banner = String::new();
        while !banner.contains("Ctrl-C stops.") {
            banner += &process.line().unwrap();
            banner.push('\n');
        }
        Some(Self { process, offset, banner, directory })
    }

    fn addresses(&self, first: u16) -> [SocketAddr; 3] {
        [0, 1, 2].map(|n| (Ipv4Addr::LOCALHOST, first + n + self.offset).into())
    }

    /// The argument of the banner's command that begins like this.
    fn printed(&self, command: &str) -> &str {
        let line = self.banner.lines().find_map(|line| line.trim_start().strip_prefix(command));
        line.unwrap_or_else(|| panic!("{command} is not in\n{}", self.banner))
    }

    fn database(&self) -> Connection {
        let file = self.printed("sqlite3 ").split(' ').next().unwrap();
        assert!(std::path::Path::new(file).starts_with(self.directory.path()), "{file}");
        Connection::open(file).unwrap()
    }
}

#[test]
fn the_demonstration_shows_what_it_promises() {
    let demo = Demo::start();
    let [http, ..] = demo.addresses(9999);
    let peers = demo.addresses(8001);
    let admins = demo.addresses(9990);

    // Any node's peer port, as a Go peer would ask: a node that does not own the key loads it, and keeps nothing.
    for peer in peers {
        let reply = get(peer, "/carrotCache/scores/Tom");
        assert_eq!((reply.status, &*reply.body), (200, &b"\x0a\x03630"[..]));
    }
    let weight = |admin: &SocketAddr| Page::read(*admin).sum("carrot_weight_bytes", r#"group="scores""#);
    assert_eq!(
        admins.iter().filter(|admin| weight(admin) > 0.0).count(),
        1,
        "more nodes than its owner keep Tom"
    );
    let loads: f64 = admins.iter().map(|admin| Page::read(*admin).loads()).sum();
    assert_eq!(loads, 3.0);

    let tom = get(http, "/api?key=Tom");
    assert_eq!((tom.status, tom.text()), (200, "630"));
    let tim = get(http, "/api?key=Tim");
    assert_eq!((tim.status, tim.text()), (404, "group scores has no key Tim\n"));
    assert_eq!(get(http, "/v1/scores/Sam").cache().0, "miss");
    let sam = get(http, "/v1/scores/Sam");
    assert_eq!((sam.cache().0, sam.text()), ("hit", "567"));
    for (name, score) in [("Tom", "630"), ("Jack", "589"), ("Sam", "567"), ("Lily", "589"), ("Pity", "567")] {
        for http in demo.addresses(9999) {
            assert_eq!(get(http, &format!("/v1/scores/{name}")).text(), score);
        }
    }
    let carrot = get(demo.addresses(9999)[1], "/v1/chars/1F955");
    assert_eq!(carrot.text(), "CARROT");
    for admin in admins {
        until("the node is ready", || get(admin, "/readyz").status == 200);
    }

    let process = demo.process;
    process.interrupt();
    let ended = process.end();
    assert_eq!(ended.status.code(), Some(0), "{}", ended.errors);
    let [last] = &ended.lines[..] else { panic!("{:?}", ended.lines) };
    // Three for Tom by the peer ports, one each for the four others, Tim and the carrot.
    assert_eq!(last, "The origins were asked 9 times.");
    let left: Vec<_> = std::fs::read_dir(demo.directory.path()).unwrap().collect();
    assert!(left.is_empty(), "{left:?}");
}

#[test]
fn the_banner_says_what_is_slow_and_what_it_says_to_type_works() {
    let demo = Demo::start();
    assert!(demo.banner.contains("slowed by 20ms"), "{}", demo.banner);
    let mut typed = 0;
    let local = |url: &str| {
        let (port, path) = url.strip_prefix("localhost:").unwrap().split_once('/').unwrap();
        (SocketAddr::from((Ipv4Addr::LOCALHOST, port.parse().unwrap())), format!("/{path}"))
    };
    for line in demo.banner.lines().filter(|line| line.trim_start().starts_with("curl ")) {
        let words: Vec<&str> = line.split_whitespace().map(|word| word.trim_matches('\'')).collect();
        let (address, path) = local(words.iter().find(|word| word.starts_with("localhost:")).unwrap());
        let method = if words.contains(&"DELETE") { "DELETE" } else { "GET" };
        let reply = ask(address, method, &path);
        assert!(matches!(reply.status, 200 | 204), "{line}: {reply:?}");
        typed += 1;
    }
    assert_eq!(typed, 6, "{}", demo.banner);

    let commands = demo.banner.lines().filter_map(|line| line.strip_prefix("  carrot "));
    let commands = commands.map(|line| line.split("  ").next().unwrap().split(' ').collect::<Vec<_>>());
    let shown: Vec<_> = commands.map(|words| Process::start(demo.directory.path(), &words).end()).collect();
    assert!(shown.iter().all(|ended| ended.status.success()), "{}", shown[0].errors);
    let [owner, stat] = &shown[..] else { panic!("{}", demo.banner) };
    assert!(owner.lines[0].starts_with("scores/Sam"), "{:?}", owner.lines);
    assert!(stat.lines.iter().any(|line| line.contains("chars")), "{:?}", stat.lines);
}

#[test]
fn a_row_of_the_demonstration_that_another_program_changes_is_served_in_time() {
    let demo = Demo::start();
    let https = demo.addresses(9999);
    let writer = demo.database();
    let sql = demo.printed("sqlite3 ").split('"').nth(1).unwrap();
    let name = |http: SocketAddr, code: &str| get(http, &format!("/v1/chars/{code}")).text().to_owned();
    assert_eq!(name(https[0], "1F955"), "CARROT");
    let leek = name(https[1], "1F96C");
    assert_ne!(leek, "LEEK");

    // What the banner says to type.
    writer.execute_batch(sql).unwrap();
    writer.execute("update chars set name = 'LEEK' where code = '1F96C'", []).unwrap();
    assert_eq!(name(https[0], "1F955"), "CARROT");
    let owner = get(https[0], "/v1/chars/1F955").cache().2.to_owned();
    let owner = ["a", "b", "c"].iter().position(|name| *name == owner).unwrap();
    assert_eq!(ask(https[owner], "DELETE", "/v1/chars/1F955").status, 204);
    for http in https {
        assert_eq!(name(http, "1F955"), "ROOT");
    }
    // The other is served when its time is up.
    until("the ttl passes", || {
        let now = name(https[2], "1F96C");
        assert!(now == leek || now == "LEEK", "{now}");
        now == "LEEK"
    });
}
