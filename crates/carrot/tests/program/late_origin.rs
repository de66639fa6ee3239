//! An origin that is not there when the node starts: said once, waited for by `/readyz` alone, used when it comes.

use std::fs;
use std::path::PathBuf;

use crate::awaiting::until;
use crate::client::{Reply, get, put};
use crate::database::{Pages, SERVE};
use crate::process::{Ended, Node};

const WAITING: &str = "not ready: origin of group pages has not answered yet\n";

fn ready(node: &Node) -> Reply {
    get(node.admin, "/readyz")
}

/// A get that the origin had to answer, and did not.
fn fails_with(node: &Node, cause: &str) {
    let reply = node.get("/v1/pages/home");
    let body =
        format!(r#"{{"error":"load_failed","message":"loading home for group pages failed: {cause}"}}"#);
    assert_eq!((reply.status, reply.text()), (502, &*body));
}

/// Comes back when the log has said that the origin does not answer.
fn until_said(node: &Node) {
    until("it is said", || node.process.written().contains("asking again"));
}

/// The log says that the origin does not answer, and why, and then that it does; both once.
fn said_once(ended: &Ended, cause: &str) {
    assert_eq!(ended.status.code(), Some(0), "{}", ended.errors);
    let silent = format!("origin of group pages does not answer: {cause}; asking again");
    for line in [&*silent, "origin of group pages answers"] {
        assert_eq!(ended.errors.matches(line).count(), 1, "{line}: {}", ended.errors);
    }
}

/// A database that is away, and where it was.
fn pages_away() -> (Pages, [PathBuf; 2]) {
    let pages = Pages::new("delete", &[("home", "Hello")]);
    let places = ["app.db", "away.db"].map(|name| pages.directory.path().join(name));
    fs::rename(&places[0], &places[1]).unwrap();
    (pages, places)
}

#[test]
fn a_database_that_comes_later_makes_the_node_ready_by_itself() {
    let (pages, [here, away]) = pages_away();
    let node = Node::alone(pages.directory.path(), &SERVE);
    for _ in 0..3 {
        let reply = ready(&node);
        assert_eq!((reply.status, reply.text()), (503, WAITING));
        fails_with(&node, "no such file: app.db");
    }
    assert!(!here.exists(), "a database was made");
    assert_eq!(get(node.admin, "/livez").status, 200);
    until_said(&node);
    // What needs no origin works.
    assert_eq!(put(node.http, "/v1/pages/other", b"set").status, 204);
    assert_eq!(node.get("/v1/pages/other").text(), "set");

    fs::rename(away, here).unwrap();
    node.until_ready();
    assert_eq!(ready(&node).text(), "ok\n");
    let loads = node.page().loads();
    assert_eq!(node.get("/v1/pages/home").text(), "Hello");
    assert_eq!(node.page().loads(), loads + 1.0);
    said_once(&node.stop(), "no such file: app.db");
}

#[test]
fn a_load_that_succeeds_makes_the_node_ready_at_once_and_what_fails_later_does_not_unmake_it() {
    let (pages, [here, away]) = pages_away();
    let node = Node::alone(pages.directory.path(), &SERVE);
    fails_with(&node, "no such file: app.db");
    assert_eq!(ready(&node).text(), WAITING);
    until_said(&node);
    fs::rename(&away, &here).unwrap();
    // A key that the origin does not have: an answer like any other.
    assert_eq!(node.get("/v1/pages/none").status, 404);
    assert_eq!(ready(&node).status, 200);
    fs::rename(&here, &away).unwrap();
    fails_with(&node, "no such file: app.db");
    assert_eq!(ready(&node).status, 200);
    fs::rename(&away, &here).unwrap();
    assert_eq!(node.get("/v1/pages/home").text(), "Hello");
    said_once(&node.stop(), "no such file: app.db");
}

#[test]
fn a_table_that_is_made_later_and_a_file_that_is_mended_are_waited_for() {
    let pages = Pages::new("delete", &[("home", "Hello")]);
    let late = pages.directory.path().join("late.db");
    fs::write(&late, "no database, but long enough for a header".repeat(100)).unwrap();
    let flags = SERVE.map(|flag| if flag == "sqlite:app.db" { "sqlite:late.db" } else { flag });
    let node = Node::alone(pages.directory.path(), &flags);
    fails_with(&node, "cannot read late.db: file is not a database");
    until_said(&node);
    fs::write(&late, "").unwrap();
    fails_with(&node, "query refused: no such table: pages");
    assert_eq!(ready(&node).text(), WAITING);
    fs::copy(pages.directory.path().join("app.db"), &late).unwrap();
    node.until_ready();
    assert_eq!(node.get("/v1/pages/home").text(), "Hello");
    said_once(&node.stop(), "cannot read late.db: file is not a database");
}

#[test]
fn a_database_that_is_locked_at_start_holds_up_nobody_but_its_own_loads() {
    let pages = Pages::new("delete", &[("home", "Hello")]);
    pages.lock();
    let node = Node::alone(pages.directory.path(), &[&SERVE[..], &["--load-deadline", "100ms"]].concat());
    assert_eq!(ready(&node).text(), WAITING);
    assert_eq!(node.get("/v1/pages/home").status, 504);
    assert_eq!(ready(&node).text(), WAITING);
    pages.unlock();
    node.until_ready();
    assert_eq!(node.get("/v1/pages/home").text(), "Hello");
    assert_eq!(node.stop().status.code(), Some(0));
}

#[test]
fn a_directory_that_comes_later_makes_the_node_ready_and_no_key_of_it_is_not_found_before() {
    let directory = tempfile::tempdir().unwrap();
    let node = Node::alone(directory.path(), &["--group", "pages", "--origin", "dir:public"]);
    fails_with(&node, "no such directory: public");
    assert_eq!(node.get("/v1/pages/../home").status, 502);
    assert_eq!(ready(&node).text(), WAITING);
    until_said(&node);
    fs::create_dir(directory.path().join("public")).unwrap();
    fs::write(directory.path().join("public/home"), "Hello").unwrap();
    node.until_ready();
    assert_eq!(node.get("/v1/pages/home").text(), "Hello");
    said_once(&node.stop(), "no such directory: public");
}

#[test]
fn a_node_that_waits_for_its_origin_stops_as_any_other() {
    let directory = tempfile::tempdir().unwrap();
    let node = Node::alone(directory.path(), &SERVE);
    assert_eq!(ready(&node).status, 503);
    until_said(&node);
    let ended = node.stop();
    assert_eq!(ended.status.code(), Some(0), "{}", ended.errors);
    let said = ended.errors.matches("does not answer: no such file: app.db; asking again").count();
    assert_eq!(said, 1, "{}", ended.errors);
}
