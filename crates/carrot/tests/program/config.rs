//! Configuration as an operator meets it: a file that is written, checked, served from, overridden and read again.

use std::fs;
use std::net::SocketAddr;
use std::os::unix::fs::{OpenOptionsExt, PermissionsExt};
use std::path::Path;

use rustix::fs::{CWD, Mode, OFlags, mkfifoat};

use crate::awaiting::{eventually, until};
use crate::client::{get, put};
use crate::database::Pages;
use crate::process::{Ended, Node, Process, free_ports};

const FREE_PORTS: &str =
    "[node]\nname = 'a'\npeer = '127.0.0.1:0'\nhttp = '127.0.0.1:0'\nadmin = '127.0.0.1:0'\n";
const SCORES: &str = "[[group]]\nname = 'scores'\norigin = { kind = 'table', values = { Tom = '630' } }\n";

fn write(directory: &Path, text: &str) {
    let file = directory.join("carrot.toml");
    fs::write(&file, text).unwrap();
    fs::set_permissions(file, fs::Permissions::from_mode(0o600)).unwrap();
}

fn run(directory: &Path, arguments: &[&str]) -> Ended {
    Process::start(directory, arguments).end()
}

/// The line of a run that has to fail with exit code 2 and nothing on standard output.
fn refusal(directory: &Path, arguments: &[&str]) -> String {
    let ended = run(directory, arguments);
    assert_eq!(ended.status.code(), Some(2), "{}", ended.errors);
    assert_eq!(ended.lines, [""; 0]);
    assert_eq!(ended.errors.lines().count(), 1, "{}", ended.errors);
    ended.errors.trim_end().to_owned()
}

/// A node of the file in `directory`, with these flags and variables over it.
fn serve(directory: &Path, flags: &[&str], variables: &[(&str, &str)]) -> Node {
    begin(directory, flags, variables).unwrap_or_else(|ended| panic!("{}", ended.errors))
}

fn begin(directory: &Path, flags: &[&str], variables: &[(&str, &str)]) -> Result<Node, Ended> {
    let line = [&["serve", "--config", "carrot.toml"], flags].concat();
    let process = Process::start_with(directory, &line, variables);
    match Node::listening(&process) {
        Some([peer, http, admin]) => Ok(Node { process, peer, http, admin }),
        None => Err(process.end()),
    }
}

/// A node whose port is known before it starts; tried anew where another program takes it in between.
fn on_known_port(mut begin: impl FnMut(SocketAddr) -> Result<Node, Ended>) -> Node {
    eventually("nobody takes our port", || match begin(free_ports(1)[0]) {
        Ok(node) => Some(node),
        Err(ended) if ended.errors.contains("address already in use") => None,
        Err(ended) => panic!("{}", ended.errors),
    })
}

#[test]
fn what_init_writes_is_in_order_and_serves() {
    let directory = tempfile::tempdir().unwrap();
    let directory = directory.path();
    let written = run(directory, &["init"]);
    assert!(written.status.success() && written.errors.is_empty(), "{}", written.errors);
    write(directory, &(written.lines.join("\n") + "\n"));

    let checked = run(directory, &["check", "carrot.toml"]);
    assert!(checked.status.success() && checked.errors.is_empty(), "{}", checked.errors);
    assert!(checked.lines[0].starts_with("node     "), "{:?}", checked.lines);
    let rest = [
        "listens  peer 127.0.0.1:8001, http 127.0.0.1:9999, admin 127.0.0.1:9990",
        "cluster  this node alone, dialect native, placement slots",
        "group    scores: 64MiB, without ttl, from a table of 3",
        "memory   64MiB of 64MiB",
    ];
    assert_eq!(checked.lines[1..], rest);

    let node = Node::alone(directory, &["--config", "carrot.toml"]);
    assert_eq!(node.get("/v1/scores/Tom").text(), "630");
    assert_eq!(node.get("/v1/scores/Tim").status, 404);
    assert_eq!(node.stop().errors.matches("WARN").count(), 0);
}

#[test]
fn check_says_what_is_wrong_in_one_line_and_serve_says_the_same() {
    let directory = tempfile::tempdir().unwrap();
    let directory = directory.path();
    for (text, said) in [
        (
            "[node]\ndrain = \"10\"\n",
            "carrot.toml:2:9: node.drain: \"10\" is not a time with its unit: ms, s, m, h or d, as in 5m",
        ),
        ("[[group]]\nname = \"${NAME}\"\n", "carrot.toml:2:8: group.name: variable NAME is not set"),
        (
            "[node]\nhttp = \"0.0.0.0:1\"\n[[group]]\nname = \"a\"\n",
            "carrot.toml:2:8: node.http: 0.0.0.0:1 is open \
          to other machines without a password: set node.password, or node.insecure to allow that",
        ),
    ] {
        write(directory, text);
        assert_eq!(refusal(directory, &["check", "carrot.toml"]), format!("carrot: {said}"));
        assert_eq!(refusal(directory, &["serve", "--config", "carrot.toml"]), format!("carrot: {said}"));
    }
    assert_eq!(refusal(directory, &["check", "none.toml"]), "carrot: cannot read none.toml: no such file");
    let line = refusal(directory, &["check"]);
    assert!(line.ends_with("required arguments were not provided: <FILE>"), "{line}");
}

#[test]
fn check_asks_the_origins_if_it_is_told_to_and_warns_of_one_that_does_not_answer() {
    let pages = Pages::new("delete", &[]);
    let directory = pages.directory.path();
    let pages_of = |name, file, query| {
        format!(
            "[[group]]\nname = '{name}'\norigin = {{ kind = 'sqlite', path = '{file}', query = '{query}' }}\n"
        )
    };
    let query = "select body from pages where id = ?1";
    let without_origin = "[[group]]\nname = 'c'\n".to_owned();
    let text = [pages_of("a", "app.db", query), pages_of("b", "none.db", query), without_origin].concat();
    write(directory, &text);
    let unasked = run(directory, &["check", "carrot.toml"]);
    assert_eq!((unasked.status.code(), &*unasked.errors), (Some(0), ""));
    // No filter for a log, and none is begun.
    let line = ["check", "carrot.toml", "--origins"];
    let asked = Process::start_with(directory, &line, &[("CARROT_LOG", "carrot=loud")]).end();
    assert_eq!(asked.status.code(), Some(0), "{}", asked.errors);
    let answers: Vec<_> = asked.lines.iter().filter(|line| line.starts_with("origin ")).collect();
    assert_eq!(answers, ["origin   a: answers"]);
    let warning = "carrot: warning: origin of group b does not answer: no such file: ";
    assert!(asked.errors.starts_with(warning) && asked.errors.lines().count() == 1, "{}", asked.errors);

    write(directory, &pages_of("a", "app.db", "select body from pages"));
    let ended = run(directory, &["check", "carrot.toml", "--origins"]);
    assert_eq!(ended.status.code(), Some(2));
    let why = "query refused: it has 0 parameters and needs exactly one";
    assert!(
        ended.errors.starts_with(&format!("carrot: carrot.toml:3:10: group.origin: {why}")),
        "{}",
        ended.errors
    );
}

#[test]
fn check_fails_over_a_query_that_the_database_does_not_take_and_asks_the_other_origins_first() {
    let pages = Pages::new("delete", &[]);
    let directory = pages.directory.path();
    let group = |name, query| {
        format!(
            "[[group]]\nname = '{name}'\norigin = {{ kind = 'sqlite', path = 'app.db', query = '{query}' }}\n"
        )
    };
    let wrong = "select body from leaves where id = ?1";
    write(directory, &[group("a", wrong), group("b", "select body from pages where id = ?1")].concat());
    let ended = run(directory, &["check", "carrot.toml", "--origins"]);
    assert_eq!(ended.status.code(), Some(2), "{}", ended.errors);
    let answers: Vec<_> = ended.lines.iter().filter(|line| line.starts_with("origin ")).collect();
    assert_eq!(answers, ["origin   b: answers"]);
    let why = "group a: query refused: no such table: leaves";
    assert_eq!(ended.errors.trim(), format!("carrot: carrot.toml:3:54: group.origin.query: {why}"));
}

/// The configurations that the documentation shows, each as `carrot check` sees it.
#[test]
fn the_configurations_of_the_documentation_are_in_order() {
    let pages = [include_str!("../../../../docs/migrating.md"), include_str!("../../../../README.md")];
    let directory = tempfile::tempdir().unwrap();
    let mut shown = 0;
    let blocks = pages.iter().flat_map(|page| page.split("```toml\n").skip(1));
    // What a service of one's own depends on is Cargo's to read.
    for block in blocks.filter(|block| !block.starts_with("[dependencies]")) {
        let (text, _) = block.split_once("```").unwrap();
        // Where only a part is shown, the rest of the file has a group.
        let rest = if text.contains("[[group]]") { "" } else { "[[group]]\nname = 'scores'\n" };
        write(directory.path(), &format!("{text}{rest}"));
        let checked = run(directory.path(), &["check", "carrot.toml"]);
        assert_eq!(checked.status.code(), Some(0), "{}\n{text}", checked.errors);
        shown += 1;
    }
    assert!(shown >= 2, "{shown}");
}

#[test]
fn an_origin_that_could_never_be_asked_is_named_by_its_place() {
    let pages = Pages::new("delete", &[]);
    let directory = pages.directory.path();
    let origin = "origin = { kind = 'sqlite', path = 'app.db', query = 'delete from pages where id = ?1' }";
    write(directory, &format!("{FREE_PORTS}{SCORES}[[group]]\nname = 'b'\n{origin}\n"));
    let line = refusal(directory, &["serve", "--config", "carrot.toml"]);
    let why = "query refused: it writes, and an origin is only read";
    assert_eq!(line, format!("carrot: carrot.toml:11:10: group.origin: {why}"));
}

#[test]
fn flags_stand_over_variables_and_both_over_the_file() {
    let directory = tempfile::tempdir().unwrap();
    let directory = directory.path();
    write(directory, &format!("{FREE_PORTS}{SCORES}"));
    let variable = [("CARROT_ORIGIN", "table:Tom=1")];
    for (flags, variables, score) in
        [(&[][..], &[][..], "630"), (&[], &variable, "1"), (&["--origin", "table:Tom=2"], &variable, "2")]
    {
        let node = serve(directory, flags, variables);
        assert_eq!(node.get("/v1/scores/Tom").text(), score);
    }
    let all = [("CARROT_CONFIG", "carrot.toml"), ("CARROT_GROUP", "more"), ("CARROT_ORIGIN", "table:a=b")];
    let process = Process::start_with(directory, &["serve"], &all);
    let [_, http, _] = Node::listening(&process).unwrap();
    assert_eq!(get(http, "/v1/scores/Tom").text(), "630");
    assert_eq!(get(http, "/v1/more/a").text(), "b");
}

#[test]
fn variables_are_read_into_strings_and_paths_begin_at_the_file() {
    let pages = Pages::new("delete", &[("home", "Hello")]);
    let directory = pages.directory.path();
    let etc = directory.join("etc");
    fs::create_dir(&etc).unwrap();
    fs::rename(directory.join("app.db"), etc.join("app.db")).unwrap();
    let query = "select body || ' $${x} ' || '${WORD}' from pages where id = ?1";
    let origin = format!("origin = {{ kind = 'sqlite', path = 'app.db', query = \"{query}\" }}");
    fs::write(etc.join("carrot.toml"), format!("{FREE_PORTS}[[group]]\nname = 'pages'\n{origin}\n")).unwrap();
    let line = ["serve", "--config", "etc/carrot.toml"];
    let process = Process::start_with(directory, &line, &[("WORD", "wörld\"")]);
    let [_, http, _] = Node::listening(&process).unwrap();
    assert_eq!(get(http, "/v1/pages/home").text(), "Hello ${x} wörld\"");
}

#[test]
fn a_group_without_an_origin_is_filled_by_put() {
    let directory = tempfile::tempdir().unwrap();
    let node = Node::alone(directory.path(), &["--group", "sessions"]);
    assert_eq!(node.get("/v1/sessions/a").status, 404);
    assert_eq!(put(node.http, "/v1/sessions/a", b"x").status, 204);
    assert_eq!(node.get("/v1/sessions/a").text(), "x");
}

#[test]
fn a_secret_that_others_may_read_is_warned_of_and_the_node_starts() {
    let directory = tempfile::tempdir().unwrap();
    let directory = directory.path();
    write(directory, &format!("{FREE_PORTS}password = 'sesame'\n{SCORES}"));
    fs::set_permissions(directory.join("carrot.toml"), fs::Permissions::from_mode(0o644)).unwrap();
    let said = "carrot.toml:6:12: node.password: a secret in a file that others may read (mode 644): \
                chmod 600 carrot.toml, or have it in a variable, as in \"${SECRET}\"";
    let checked = run(directory, &["check", "carrot.toml"]);
    assert!(checked.status.success());
    assert_eq!(checked.errors, format!("carrot: warning: {said}\n"));
    let node = serve(directory, &[], &[]);
    let line = node.process.has_said(said);
    assert!(line.contains("WARN"), "{line}");
    assert!(!node.stop().errors.contains("sesame"));
}

#[test]
fn a_node_that_is_let_be_open_to_other_machines_says_so_once() {
    let directory = tempfile::tempdir().unwrap();
    write(directory.path(), &format!("{FREE_PORTS}{SCORES}"));
    let node = serve(directory.path(), &["--http=0.0.0.0:0", "--insecure"], &[]);
    let said =
        "no password is set: whoever reaches this machine may read, set and remove values at http 0.0.0.0:0";
    let line = node.process.has_said(said);
    assert!(line.contains("WARN") && line.ends_with(said), "{line}");
    assert_eq!(node.stop().errors.matches("WARN").count(), 1);
}

/// Keys that a node answers for, among the first hundred, by the name of the node that gave them.
fn given_by(node: &Node, name: &str) -> usize {
    let key = |n| format!("/v1/sessions/{n}");
    (0..100).filter(|n| node.get(&key(*n)).cache().2 == name).count()
}

/// A file of the node `a` on that port, with this list.
fn of_list(peer: SocketAddr, peers: &[SocketAddr], more: &str) -> String {
    let peers: Vec<String> = peers.iter().map(|peer| format!("'http://{peer}'")).collect();
    let list = peers.join(", ");
    let table = "origin = { kind = 'sqlite', path = 'app.db', query = 'select ?1' }";
    format!(
        "[node]\nname = 'a'\npeer = '{peer}'\nhttp = '127.0.0.1:0'\nadmin = '127.0.0.1:0'\n\
         [cluster]\npeers = [{list}]\n[[group]]\nname = 'sessions'\n{table}\n{more}"
    )
}

#[test]
fn on_a_hangup_the_list_of_peers_is_read_again_and_a_bad_file_changes_nothing() {
    let pages = Pages::new("delete", &[]);
    let directory = pages.directory.path();
    let origin = ["--group", "sessions", "--origin", "sqlite:app.db", "--query", "select ?1"];
    let other = Node::alone(directory, &[&origin[..], &["--name", "b"]].concat());
    let node = on_known_port(|own| {
        write(directory, &of_list(own, &[own], ""));
        begin(directory, &[], &[])
    });
    let own = node.peer;
    assert_eq!(given_by(&node, "a"), 100);

    write(directory, &of_list(own, &[own, other.peer], "ttl = '5'"));
    node.process.hang_up();
    let line = node.process.has_said("SIGHUP: nothing has changed: ");
    let said = "carrot.toml:11:7: group.ttl: \"5\" is not a time with its unit: ms, s, m, h or d, as in 5m";
    assert!(line.contains("WARN") && line.ends_with(said), "{line}");
    fs::remove_file(directory.join("carrot.toml")).unwrap();
    node.process.hang_up();
    node.process.has_said("SIGHUP: nothing has changed: cannot read carrot.toml: no such file");
    assert_eq!(given_by(&node, "a"), 100);

    write(directory, &of_list(own, &[own, other.peer], "ttl = '5m'\ncapacity = '1MiB'"));
    node.process.hang_up();
    until("keys have another owner", || given_by(&node, "b") > 0);
    let line = node.process.has_said("SIGHUP: these wait for a restart: ");
    assert!(line.ends_with("capacity of group sessions, ttl of group sessions"), "{line}");

    write(directory, &of_list(own, &[own], ""));
    node.process.hang_up();
    until("the node is alone again", || given_by(&node, "a") == 100);
    node.process.hang_up();
    node.process.has_said("SIGHUP: cluster.peers is as it was");
    write(directory, &of_list(own, &[], ""));
    node.process.hang_up();
    node.process.has_said("SIGHUP: cluster.peers is in force: none, this node is alone");
    assert!(node.stop().status.success());
}

#[test]
fn a_file_that_hangs_whoever_reads_it_again_does_not_hold_up_the_node_or_its_stop() {
    let directory = tempfile::tempdir().unwrap();
    write(directory.path(), &format!("{FREE_PORTS}{SCORES}"));
    let node = serve(directory.path(), &[], &[]);
    let file = directory.path().join("carrot.toml");
    fs::remove_file(&file).unwrap();
    mkfifoat(CWD, &file, Mode::RWXU).unwrap();
    node.process.hang_up();
    // A pipe is opened for writing only while somebody reads it; what would be read is never written.
    let mut writing = fs::OpenOptions::new();
    writing.write(true).custom_flags(OFlags::NONBLOCK.bits().cast_signed());
    let _pipe = eventually("the pipe is read", || writing.open(&file).ok());
    assert_eq!(node.get("/v1/scores/Tom").text(), "630");
    assert!(node.stop().status.success());
}

#[test]
fn a_list_on_the_command_line_stands_over_the_file_after_a_hangup_too() {
    let pages = Pages::new("delete", &[]);
    let directory = pages.directory.path();
    let node = on_known_port(|own| {
        write(directory, &of_list(own, &[own], ""));
        begin(directory, &["--peers", &format!("http://{own}")], &[])
    });
    write(directory, &of_list(node.peer, &[node.peer, free_ports(1)[0]], ""));
    node.process.hang_up();
    node.process.has_said("SIGHUP: cluster.peers is as it was");
    assert_eq!(given_by(&node, "a"), 100);
}

#[test]
fn without_a_file_a_hangup_is_no_end() {
    let directory = tempfile::tempdir().unwrap();
    let node = Node::alone(directory.path(), &["--group", "a", "--origin", "table:b=c"]);
    node.process.hang_up();
    node.process.has_said("SIGHUP: there is no --config to read again");
    assert_eq!(node.get("/v1/a/b").text(), "c");
    assert!(node.stop().status.success());
}

#[test]
fn a_port_that_another_node_has_is_named_with_what_moves_it() {
    let directory = tempfile::tempdir().unwrap();
    let directory = directory.path();
    let group = ["--group", "a"];
    let node = Node::alone(directory, &group);
    for (listener, taken) in [("peer", node.peer), ("http", node.http), ("admin", node.admin)] {
        let ports: Vec<String> = ["peer", "http", "admin"]
            .into_iter()
            .map(|kind| {
                format!("--{kind}={}", if kind == listener { taken } else { "127.0.0.1:0".parse().unwrap() })
            })
            .collect();
        let ports: Vec<&str> = ports.iter().map(String::as_str).collect();
        let line = refusal(directory, &[&["serve"], &group[..], &ports].concat());
        let said = format!(
            "carrot: {listener} {taken}: address already in use; set node.{listener} or --{listener}"
        );
        assert_eq!(line, said);
    }
    assert_eq!(node.get("/v1/a/b").status, 404, "the first node goes on");
}
