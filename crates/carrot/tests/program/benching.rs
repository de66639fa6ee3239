//! `bench`: what it finds of a real node, over HTTP and the Redis protocol, and what it says where it cannot ask.

use std::fs;

use serde_json::Value;
use tempfile::TempDir;

use crate::command::Shell;
use crate::process::{Node, free_ports};

/// A node with two values, its fronts, and a place for files.
struct Served {
    node: Node,
    redis: String,
    directory: TempDir,
}

const ORIGIN: [&str; 4] = ["--group", "scores", "--origin", "table:Tom=630,Jack=589"];

fn served(variables: &[(&str, &str)]) -> Served {
    let directory = tempfile::tempdir().unwrap();
    let (node, resp) = Node::with_redis(directory.path(), &ORIGIN, variables);
    Served { node, redis: format!("redis://{resp}"), directory }
}

impl Served {
    fn http(&self) -> String {
        format!("http://{}", self.node.http)
    }

    fn file(&self, name: &str, text: &str) -> String {
        let path = self.directory.path().join(name);
        fs::write(&path, text).unwrap();
        path.to_str().unwrap().to_owned()
    }
}

const SHORT: [&str; 6] = ["--warm", "20ms", "--duration", "200ms", "--connections", "4"];

fn found(shell: &Shell, arguments: &[&str]) -> Value {
    let text = shell.run(&[&["bench", "scores", "--json"], &SHORT[..], arguments].concat()).text();
    serde_json::from_str(&text).unwrap()
}

#[test]
fn a_node_is_asked_over_http_and_over_redis_and_both_find_the_same_values() {
    let served = served(&[]);
    let keys = served.file("keys", "Tom\nJack\nnobody\n");
    for (url, pipeline) in [(served.http(), "1"), (served.redis.clone(), "1"), (served.redis.clone(), "16")] {
        let arguments = ["--node", &url, "--keys-from", &keys, "--pipeline", pipeline];
        let found = found(&Shell::default(), &arguments);
        let number = |name: &str| found[name].as_u64().unwrap();
        assert_eq!((found["node"].as_str(), found["group"].as_str()), (Some(&*url), Some("scores")));
        assert!(number("values") > 0 && number("not_found") > 0, "{found}");
        assert_eq!(number("value_bytes"), 3 * number("values"));
        assert_eq!((&found["errors"], &found["rate"]), (&serde_json::json!({}), &Value::Null));
        // Two of three keys have a value: far from all and far from none, by any stream of a seed.
        let part = number("values") as f64 / (number("values") + number("not_found")) as f64;
        assert!((0.5..0.85).contains(&part), "{found}");
        let latency = |name: &str| found["latency_us"][name].as_f64().unwrap();
        assert!(0.0 < latency("p50") && latency("p50") <= latency("p99") && latency("p99") <= latency("max"));
    }
}

#[test]
fn at_a_planned_rate_each_request_that_was_planned_is_in_the_result() {
    let served = served(&[]);
    let found =
        found(&Shell::asking(served.node.http), &["--rate", "1000", "--key", "Tom{}", "--zipf", "0.99"]);
    assert_eq!((&found["not_found"], &found["values"]), (&Value::from(200), &Value::from(0)), "{found}");
    assert_eq!(found["rate"], 1000.0);
}

#[test]
fn numbers_are_shown_for_eyes_and_drawn() {
    let served = served(&[]);
    let keys = served.file("keys", "Tom\n");
    let plot = served.directory.path().join("latency.svg");
    let (shell, plot_file) = (Shell::asking(served.node.http), plot.to_str().unwrap());
    let arguments = ["bench", "scores", "--keys-from", &keys, "--plot", plot_file];
    let text = shell.run(&[&arguments, &SHORT[..]].concat()).text();
    for said in [
        "group scores: 4 connections, pipeline 1, as fast as it answers",
        "p99.9",
        "not found ",
        "of 3 B on average",
    ] {
        assert!(text.contains(said), "{said}: {text}");
    }
    let plot = fs::read_to_string(plot).unwrap();
    assert!(plot.starts_with("<svg") && plot.contains("percentile of answers") && plot.contains("polyline"));
}

#[test]
fn a_node_that_refuses_all_is_a_failure_and_says_so_of_the_first_request() {
    let served = served(&[("CARROT_PASSWORD", "sesame")]);
    let arguments = |group, url: &str| {
        let node = ["bench", group, "--node", url].map(str::to_owned);
        node.into_iter().chain(SHORT.map(str::to_owned)).collect::<Vec<_>>()
    };
    let (http, redis) = (served.http(), served.redis.clone());
    let knows = Shell::default().with("CARROT_PASSWORD", "sesame");
    for url in [&http, &redis] {
        assert!(knows.run(&arguments("scores", url)).text().contains("errors"), "{url}");
    }
    // What every request would be told is told of the first: nobody waits an hour for it.
    let for_an_hour = |group, url| ["bench", group, "--node", url, "--warm", "1h"].map(str::to_owned);
    let wrong = Shell::default().with("CARROT_PASSWORD", "wrong");
    for url in [&http, &redis] {
        let line = knows.refusal(&for_an_hour("nothing", url), 3);
        assert_eq!(line, format!("{url} has no group nothing"));
        let line = Shell::default().refusal(&for_an_hour("scores", url), 3);
        assert_eq!(line, format!("{url} wants a password: set CARROT_PASSWORD"));
    }
    let line = wrong.refusal(&for_an_hour("scores", &http), 3);
    assert_eq!(line, format!("{http} does not take the password in CARROT_PASSWORD"));
    let swapped = redis.replace("redis", "http");
    let line = knows.refusal(&for_an_hour("scores", &swapped), 3);
    assert!(
        line.starts_with(&format!("{swapped} does not answer as a front of a carrot node: garbled")),
        "{line}"
    );
    let line = Shell::default().with("CARROT_PASSWORD", "wrong").refusal(&arguments("scores", &redis), 4);
    assert!(line.ends_with("refused at once: WRONGPASS"), "{line}");
}

#[test]
fn a_node_that_answers_nothing_is_a_failure_with_the_kind_of_error_that_was_most() {
    let directory = tempfile::tempdir().unwrap();
    let origin = ["--group", "scores", "--origin", "sqlite:none.db", "--query", "select ?1"];
    let (node, _) = Node::with_redis(directory.path(), &origin, &[]);
    let line = Shell::asking(node.http).refusal(&[&["bench", "scores"], &SHORT[..]].concat(), 3);
    let said = format!("http://{} answered nothing: load_failed, ", node.http);
    assert!(line.starts_with(&said) && line.ends_with(" times"), "{line}");
}

#[test]
fn without_a_warm_up_all_that_is_asked_counts() {
    let served = served(&[]);
    let arguments = [
        "bench",
        "scores",
        "--json",
        "--warm",
        "0s",
        "--duration",
        "200ms",
        "--rate",
        "100",
        "--key",
        "Tom{}",
    ];
    let found: Value = serde_json::from_str(&Shell::asking(served.node.http).run(&arguments).text()).unwrap();
    assert_eq!(found["not_found"], 20, "{found}");
}

#[test]
fn what_cannot_be_asked_is_said_in_one_line() {
    let nowhere = free_ports(1)[0];
    let line = Shell::asking(nowhere).refusal(&["bench", "scores"], 4);
    assert!(line.starts_with(&format!("cannot connect to {nowhere}: ")), "{line}");
    let shell = Shell::default();
    for (arguments, said) in [
        (&["bench"][..], "required arguments were not provided"),
        (
            &["bench", "scores", "--rate", "0"],
            "\"0\" is not a number of requests a second from 0.1 to 10000000",
        ),
        (&["bench", "scores", "--connections", "0"], "\"0\" is not a whole number from 1 to 10000"),
        (&["bench", "scores", "--pipeline", "many"], "\"many\" is not a whole number from 1 to 1000"),
        (&["bench", "scores", "--zipf", "-1"], "unexpected argument '-1' found"),
        (&["bench", "scores", "--key", "user"], "\"user\" does not have one {} for the number of a key"),
        (&["bench", "scores", "--node", "memcached://a:1"], "the URL has to begin with http://"),
        (&["bench", "scores", "--duration", "10"], "\"10\" is not a time with its unit"),
        (&["bench", "scores", "--plot", "/nowhere/a.svg"], "plot /nowhere/a.svg: No such file or directory"),
        (&["bench", "scores", "--plot", "a.gif"], "a plot is a file NAME.svg or NAME.png"),
        (
            &["bench", "scores", "--keys-from", "/nowhere/keys"],
            "keys /nowhere/keys: No such file or directory",
        ),
        (&["bench", "scores", "--keys-from", "a", "--keys", "1"], "cannot be used with"),
    ] {
        let line = shell.refusal(arguments, 2);
        assert!(line.contains(said), "{arguments:?}: {line}");
    }
}
