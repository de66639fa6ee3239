//! What the program tells of frames between nodes: who may have them, and which connections were cut.

use crate::client::Client;
use crate::command::Shell;
use crate::database::{Pages, SERVE};
use crate::process::Node;

/// What a node asks for frames by; `more` are header lines.
fn upgrade(more: &str) -> String {
    format!(
        "GET /_carrot/frames HTTP/1.1\r\nHost: a\r\nConnection: upgrade\r\nUpgrade: carrot-frames/1\r\n{more}\r\n"
    )
}

#[test]
fn a_connection_of_frames_that_is_cut_is_counted_by_its_cause_wherever_a_node_is_looked_at() {
    let pages = Pages::new("delete", &[("home", "Hello")]);
    let node = Node::alone(pages.directory.path(), &SERVE);
    let shell = Shell::watching(node.admin);
    assert!(!shell.run(&["stat", "-1"]).text().contains("connection cut"));
    let mut client = Client::connect(node.peer);
    client.send(upgrade("").as_bytes());
    // A frame of 4 GiB.
    client.send(&[0xff; 4]);
    let said = String::from_utf8(client.rest()).unwrap();
    assert!(said.starts_with("HTTP/1.1 101 ") && said.ends_with("\r\n\r\n"), "{said}");
    assert_eq!(node.page().number(r#"carrot_cuts_total{cause="malformed"}"#), 1.0);
    assert_eq!(node.page().sum("carrot_cuts_total", ""), 1.0);
    let told: serde_json::Value = serde_json::from_str(&shell.run(&["stat", "-1", "--json"]).text()).unwrap();
    assert_eq!(told["cuts"]["malformed"], 1);
    let table = shell.run(&["stat", "-1"]).text();
    let line = table.lines().find(|line| line.contains("connection cut: malformed"));
    assert!(line.is_some_and(|line| line.ends_with(" 1")), "{table}");
    assert_eq!(node.get("/v1/pages/home").text(), "Hello");
}

#[test]
fn a_node_of_another_cluster_is_refused_by_the_name_of_ours() {
    let pages = Pages::new("delete", &[("home", "Hello")]);
    let flags = [&SERVE[..], &["--cluster-name", "prod"]].concat();
    let node = Node::alone(pages.directory.path(), &flags);
    let mut client = Client::connect(node.peer);
    client.send(upgrade("X-Carrot-Cluster: test\r\n").as_bytes());
    let refused = client.receive("GET");
    assert_eq!((refused.status, refused.text()), (421, "this node is of another cluster, \"prod\"\n"));
    assert_eq!(refused.header("x-carrot-cluster"), Some("prod"));
    assert_eq!(node.page().number(r#"carrot_refusals_total{cause="other_cluster"}"#), 1.0);
    client.send(
        b"GET /_carrot/pages/home HTTP/1.1\r\nHost: a\r\nX-Carrot-Cluster: prod\r\nConnection: close\r\n\r\n",
    );
    assert_eq!(client.receive("GET").status, 200);
    let line = "a node of another cluster asks this one";
    let ended = node.stop();
    assert_eq!(ended.errors.matches(line).count(), 1, "{}", ended.errors);
}
