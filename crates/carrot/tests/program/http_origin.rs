//! A slow API over HTTP behind a node: a thousand callers of one key cost it one request, and its errors are told.

use std::io::{BufRead, BufReader, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::sync::{Arc, Condvar, Mutex};

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

use crate::awaiting::until;
use crate::client::Client;
use crate::process::{Node, Process};

const CALLERS: usize = 1000;

/// An API that answers nobody before it is told to.
struct Api {
    address: SocketAddr,
    door: Arc<Door>,
}

#[derive(Default)]
struct Door {
    state: Mutex<State>,
    opened: Condvar,
}

#[derive(Default)]
struct State {
    is_open: bool,
    targets: Vec<String>,
}

impl Api {
    fn start() -> Self {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
        let (address, door) = (listener.local_addr().unwrap(), Arc::<Door>::default());
        let shared = door.clone();
        std::thread::spawn(move || {
            for stream in listener.incoming() {
                let door = shared.clone();
                std::thread::spawn(move || door.answer(&stream.unwrap()));
            }
        });
        Self { address, door }
    }

    fn open_the_door(&self) {
        self.door.state.lock().unwrap().is_open = true;
        self.door.opened.notify_all();
    }

    fn targets(&self) -> Vec<String> {
        self.door.state.lock().unwrap().targets.clone()
    }

    /// What a node in front of it is started with.
    fn node(&self, more: &[&str]) -> Node {
        let origin = format!("http://{}/items/{{key}}", self.address);
        let directory = tempfile::tempdir().unwrap();
        let flags = ["--group", "items", "--origin", &origin, "--hot", "off"];
        Node::alone(directory.path(), &[&flags[..], more].concat())
    }
}

impl Door {
    /// Answers the requests of one connection.
    fn answer(&self, stream: &TcpStream) {
        let mut lines = BufReader::new(stream).lines().map_while(Result::ok);
        while let Some(first) = lines.next() {
            let headers = lines.by_ref().take_while(|line| !line.is_empty()).count();
            assert!(headers > 0, "a request says whom it is for");
            let target = first.split(' ').nth(1).unwrap().to_owned();
            let mut state = self.state.lock().unwrap();
            state.targets.push(target.clone());
            let opened = self.opened.wait_while(state, |state| !state.is_open).unwrap();
            drop(opened);
            let (status, header, body) = match &*target {
                "/items/missing" => ("404 Not Found", "", "no such item"),
                "/items/broken" => ("500 Internal Server Error", "", "out of order"),
                "/items/fresh" => ("200 OK", "Cache-Control: no-store\r\n", "never kept"),
                _ => ("200 OK", "", "an item"),
            };
            let length = body.len();
            let response = format!("HTTP/1.1 {status}\r\n{header}Content-Length: {length}\r\n\r\n{body}");
            if (&*stream).write_all(response.as_bytes()).is_err() {
                return;
            }
        }
    }
}

/// A caller is a socket here and one in the node, which inherits the limit; a shell's is often 1024.
fn allow_many_files() {
    let limit = getrlimit(Resource::Nofile);
    setrlimit(Resource::Nofile, Rlimit { current: limit.maximum, ..limit }).unwrap();
}

#[test]
fn a_thousand_callers_of_one_key_cost_a_slow_api_one_request() {
    allow_many_files();
    let api = Api::start();
    let node = api.node(&["--load-deadline", "60s"]);
    let mut callers: Vec<Client> = (0..CALLERS).map(|_| Client::connect(node.http)).collect();
    for caller in &mut callers {
        caller.send_whole(b"GET /v1/items/a%2Fb HTTP/1.1\r\nHost: test\r\n\r\n");
    }
    let waiters = r#"carrot_waiters{group="items"}"#;
    until("all callers wait", || node.page().number(waiters) >= CALLERS as f64);
    api.open_the_door();
    for caller in &mut callers {
        let reply = caller.receive("GET");
        assert_eq!((reply.status, reply.text()), (200, "an item"));
        assert_eq!((reply.cache().0, reply.cache().1), ("miss", "origin"));
    }
    assert_eq!(api.targets(), ["/items/a%2Fb"]);
    let page = node.page();
    assert_eq!(page.loads(), 1.0);
    assert_eq!(page.number(r#"carrot_gets_total{group="items"}"#), CALLERS as f64);
    assert_eq!(node.get("/v1/items/a/b").cache().0, "hit");
    assert_eq!(api.targets().len(), 1);
}

#[test]
fn what_an_api_says_is_what_the_nodes_clients_are_told() {
    let api = Api::start();
    api.open_the_door();
    let node = api.node(&[]);
    let missing = node.get("/v1/items/missing");
    assert_eq!(missing.status, 404);
    assert!(missing.text().starts_with(r#"{"error":"not_found""#), "{}", missing.text());
    let broken = node.get("/v1/items/broken");
    assert_eq!(broken.status, 502);
    let said = r#"the origin answered 500 Internal Server Error: \"out of order\""#;
    assert!(broken.text().contains(said), "{}", broken.text());
    // A step to every server: nobody is asked for it.
    assert_eq!(node.get("/v1/items/%2E%2E").status, 404);
    // What must not be stored is asked for each time.
    for _ in 0..2 {
        let fresh = node.get("/v1/items/fresh");
        assert_eq!((fresh.text(), fresh.cache().0), ("never kept", "miss"));
    }
    assert_eq!(api.targets(), ["/items/missing", "/items/broken", "/items/fresh", "/items/fresh"]);
}

#[test]
fn a_node_whose_url_is_none_does_not_start_and_says_what_was_expected() {
    let directory = tempfile::tempdir().unwrap();
    for (url, why) in [
        ("http://127.0.0.1/", "it has to hold {key} once, where the key belongs; it is there 0 times"),
        ("https://me:secret@a/{key}", "no user and password there; send a header, as in authorization"),
    ] {
        let ended = Process::start(directory.path(), &["serve", "--group", "items", "--origin", url]).end();
        assert_eq!(ended.status.code(), Some(2));
        assert_eq!(ended.errors, format!("carrot: --origin is no URL of an origin: {why}\n"));
    }
}
