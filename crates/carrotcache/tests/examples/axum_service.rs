//! The example of a web service: its statuses, its cluster of two, and how it leaves.
//!
//! Its database is a file that the test has a connection to as well: a lock that the test holds is how the service's
//! origin gets slow, and a table that is gone is how it fails.

use std::net::SocketAddr;
use std::path::Path;

use rusqlite::Connection;
use tempfile::TempDir;

use crate::client::{Asked, ask, get, send};
use crate::process::{Process, free_addresses};

/// One process of the service.
struct Service {
    process: Process,
    http: SocketAddr,
}

impl Service {
    /// `None`: it could not start, since a port is taken.
    fn start(args: &[&str]) -> Option<Self> {
        let process = Process::start("axum_service", &[&["--http", "127.0.0.1:0"], args].concat());
        let http = process.says("http ")?.parse().unwrap();
        Some(Self { process, http })
    }

    /// One alone, over the database in this directory.
    fn alone(directory: &Path) -> Self {
        Self::start(&["--peer", "127.0.0.1:0", "--database", &file(directory)]).unwrap()
    }

    /// Two that know each other, over one database.
    fn two(directory: &Path) -> [Self; 2] {
        let start = |_| {
            let peers = free_addresses::<2>();
            let urls = peers.map(|peer| format!("http://{peer}")).join(",");
            let [one, other] = peers.map(|peer| {
                let flags = ["--peer", &peer.to_string(), "--peers", &urls, "--database", &file(directory)];
                Self::start(&flags)
            });
            Some([one?, other?])
        };
        (0..20)
            .find_map(start)
            .expect("of twenty pairs of ports none was free, or the example does not start")
    }

    fn get(&self, id: u32) -> (u16, String) {
        let reply = get(self.http, &format!("/users/{id}"));
        (reply.status, reply.body)
    }

    fn put(&self, id: u32, user: &str) -> u16 {
        ask(self.http, "PUT", &format!("/users/{id}"), user).status
    }

    fn delete(&self, id: u32) -> u16 {
        ask(self.http, "DELETE", &format!("/users/{id}"), "").status
    }

    /// Stops it as an operator does: it has to leave, and to say so.
    fn leave(self) {
        self.process.terminate();
        let ended = self.process.end();
        assert!(ended.success, "{}", ended.errors);
        assert_eq!(ended.lines.last().map(String::as_str), Some("left"));
    }
}

fn file(directory: &Path) -> String {
    directory.join("users.db").to_str().unwrap().to_owned()
}

fn found(user: &str) -> (u16, String) {
    (200, user.to_owned())
}

fn refused(status: u16, reason: &str) -> (u16, String) {
    (status, format!("{reason}\n"))
}

const TOM: &str = r#"{"name":"Tom","score":630}"#;

#[test]
fn a_user_is_written_read_and_deleted_by_json_and_the_service_leaves_when_told_to() {
    let directory = tempfile::tempdir().unwrap();
    let service = Service::alone(directory.path());
    assert_eq!(get(service.http, "/healthz").body, "ok\n");
    assert_eq!(service.get(1), refused(404, "Not Found"));

    assert_eq!(service.put(1, TOM), 204);
    let reply = get(service.http, "/users/1");
    assert_eq!((reply.status, &*reply.body), (200, TOM));
    assert_eq!(reply.header("content-type"), "application/json");

    // Written behind its back: what was set is served on.
    let database = Connection::open(file(directory.path())).unwrap();
    database.execute("update users set score = 0", []).unwrap();
    assert_eq!(service.get(1), found(TOM));

    assert_eq!(service.delete(1), 204);
    assert_eq!(service.get(1), refused(404, "Not Found"));
    assert_eq!(service.put(1, r#"{"name":"Tom"}"#), 422);
    assert_eq!(get(service.http, "/users/tom").status, 400);
    assert_eq!(ask(service.http, "POST", "/users/1", TOM).status, 405);
    service.leave();
}

#[test]
fn a_database_that_is_slow_or_fails_is_told_by_its_status_and_the_next_get_works() {
    let directory = tempfile::tempdir().unwrap();
    let service = Service::alone(directory.path());
    let database = Connection::open(file(directory.path())).unwrap();
    database.execute("insert into users values (1, 'Tom', 630)", []).unwrap();

    database.execute_batch("begin exclusive").unwrap();
    assert_eq!(service.get(1), refused(504, "Gateway Timeout"));
    // Many at once wait for their turn at the one connection, and not for longer than half the deadline.
    loop {
        let asked: Vec<_> =
            (1..10).map(|id| send(service.http, "GET", &format!("/users/{id}"), "")).collect();
        let replies: Vec<_> = asked.into_iter().map(Asked::reply).collect();
        assert!(replies.iter().all(|reply| matches!(reply.status, 503 | 504)), "{replies:?}");
        if let Some(busy) = replies.iter().find(|reply| reply.status == 503) {
            assert_eq!((busy.header("retry-after"), &*busy.body), ("1", "Service Unavailable\n"));
            break;
        }
    }
    database.execute_batch("commit").unwrap();
    assert_eq!(service.get(1), found(TOM));

    database.execute_batch("alter table users rename to away").unwrap();
    assert_eq!(service.get(2), refused(502, "Bad Gateway"));
    assert_eq!(service.put(2, TOM), 502);
    assert_eq!(service.get(1), found(TOM), "what is cached is served all the same");
    database.execute_batch("alter table away rename to users").unwrap();
    assert_eq!(service.get(2), refused(404, "Not Found"));

    service.process.terminate();
    let log = service.process.end().errors;
    for why in ["no value of 1 in group users within", "busy: ", "no such table: users"] {
        assert!(log.contains(why), "{why}: {log}");
    }
}

#[test]
fn two_processes_are_one_cache_and_either_does_without_the_other() {
    let directory = tempfile::tempdir().unwrap();
    let [one, other] = Service::two(directory.path());
    let database = Connection::open(file(directory.path())).unwrap();
    let user = |id: u32, score: u32| format!(r#"{{"name":"user {id}","score":{score}}}"#);

    for id in 0..20 {
        assert_eq!(one.put(id, &user(id, 1)), 204);
    }
    // Behind their backs: whichever of the two is asked, what was set at a user's owner is what is served.
    database.execute("update users set score = 2", []).unwrap();
    for id in 0..20 {
        assert_eq!((one.get(id), other.get(id)), (found(&user(id, 1)), found(&user(id, 1))));
        assert_eq!(other.put(id, &user(id, 3)), 204);
        assert_eq!((one.get(id), other.get(id)), (found(&user(id, 3)), found(&user(id, 3))));
        assert_eq!(one.delete(id), 204);
        assert_eq!((one.get(id), other.get(id)), (refused(404, "Not Found"), refused(404, "Not Found")));
        assert_eq!(one.put(id, &user(id, 4)), 204);
    }
    one.leave();
    for id in 0..20 {
        assert_eq!(other.get(id), found(&user(id, 4)), "from memory, or from the database anew");
    }
    other.leave();
}

#[test]
fn a_cluster_without_a_database_of_its_own_is_refused() {
    let directory = TempDir::new().unwrap();
    for (flags, why) in [
        (&["--peers", "http://127.0.0.1:1"][..], "--peers needs --database FILE"),
        (&["--database"], "--database needs a value"),
        (&["--port", "1"], "--port is none of --http, --peer, --peers and --database"),
        (&["--database", &directory.path().display().to_string()], "unable to open database file"),
    ] {
        let ended = Process::start("axum_service", flags).end();
        assert!(!ended.success && ended.errors.contains(why), "{flags:?}: {}", ended.errors);
        assert!(ended.errors.starts_with("axum_service: ") && ended.lines.is_empty(), "{}", ended.errors);
    }
}
