//! Many keys in one request: `POST /v1/{group}`, over three nodes and by hostile hands.

use serde_json::Value;

use crate::client::{Client, Reply, get};
use crate::database::{Pages, SERVE, body};
use crate::process::Node;

fn post(client: &mut Client, target: &str, body: &str) -> Reply {
    let head = format!("POST {target} HTTP/1.1\r\nHost: localhost\r\nContent-Length: {}\r\n\r\n", body.len());
    client.send([head.as_bytes(), body.as_bytes()].concat().as_slice());
    client.receive("POST")
}

fn results(reply: &Reply) -> Vec<Value> {
    assert_eq!((reply.status, reply.header("content-type")), (200, Some("application/json")), "{reply:?}");
    let Value::Object(mut told) = serde_json::from_str(reply.text()).unwrap() else { panic!("{reply:?}") };
    let Some(Value::Array(results)) = told.remove("results") else { panic!("{reply:?}") };
    assert!(told.is_empty(), "{told:?}");
    results
}

/// Of a text of bytes, in base64.
fn base64(text: &str) -> String {
    use base64::Engine;
    base64::engine::general_purpose::STANDARD.encode(text)
}

#[test]
fn many_keys_are_answered_in_the_order_asked_as_the_documents_show() {
    let pages = Pages::new("delete", &[("Tom", "630"), ("Jack", "589")]);
    let node = Node::alone(pages.directory.path(), &[&SERVE[..], &["--name", "a"]].concat());
    let mut client = Client::connect(node.http);
    assert_eq!(client.get("/v1/pages/Tom").status, 200);
    let reply = post(&mut client, "/v1/pages", r#"{"keys":["Tom","none","Jack","Tom"]}"#);
    let told = results(&reply);
    let age = told[0]["age"].as_u64().unwrap();
    assert!(age < 60);
    let hit = |age| {
        format!(r#"{{"status":200,"value_base64":"NjMw","cache":"hit; source=memory; node=a","age":{age}}}"#)
    };
    let jack = r#"{"status":200,"value_base64":"NTg5","cache":"miss; source=origin; node=a","age":0}"#;
    let none = r#"{"status":404,"error":"not_found"}"#;
    let expected =
        format!(r#"{{"results":[{},{none},{jack},{}]}}"#, hit(age), hit(told[3]["age"].as_u64().unwrap()));
    assert_eq!(reply.text(), expected);
    // The same by their bytes, also with the closing slash that keys have before them.
    for target in ["/v1/pages", "/v1/pages/"] {
        let told = results(&post(&mut client, target, r#"{"keys_base64":["SmFjaw==","/w=="]}"#));
        assert_eq!((told[0]["value_base64"].as_str(), told[1]["status"].as_u64()), (Some("NTg5"), Some(404)));
    }
    assert!(results(&post(&mut client, "/v1/pages", r#"{"keys":[]}"#)).is_empty());
}

#[test]
fn keys_of_all_three_nodes_come_by_one_request_and_each_is_loaded_once() {
    const PAGES: usize = 200;
    let pages = Pages::numbered(PAGES);
    let nodes = Node::cluster(pages.directory.path(), &["a", "b", "c"], &[], &SERVE);
    let keys: Vec<_> = (0..PAGES).map(|n| format!("\"{n}\"")).collect();
    let asked = format!("{{\"keys\":[{}]}}", keys.join(","));
    let mut givers = std::collections::BTreeSet::new();
    for node in &nodes {
        let told = results(&post(&mut Client::connect(node.http), "/v1/pages", &asked));
        assert_eq!(told.len(), PAGES);
        for (n, told) in told.iter().enumerate() {
            assert_eq!(told["value_base64"].as_str(), Some(&*base64(&body(n))), "{told}");
            givers.insert(told["cache"].as_str().unwrap().rsplit_once('=').unwrap().1.to_owned());
        }
    }
    assert_eq!(givers.len(), 3, "{givers:?}");
    let sum = |series: &str| nodes.iter().map(|node| node.page().sum(series, "")).sum::<f64>();
    assert_eq!(sum("carrot_loads_total"), PAGES as f64);
    // Each owns some, and fetches the others of two.
    assert_eq!(sum("carrot_fetches_total"), 2.0 * PAGES as f64);
    let requests = sum("carrot_fetch_seconds_count");
    assert!(requests <= 6.0, "{requests} requests between nodes");
}

#[test]
fn a_request_for_many_keys_that_makes_no_sense_is_told_what_is_wrong_with_it() {
    let pages = Pages::new("delete", &[("home", "Hello")]);
    let node = Node::alone(pages.directory.path(), &SERVE);
    let many = format!("{{\"keys\":[{}]}}", vec!["\"a\""; 16_385].join(","));
    for (target, body, status, error, message) in [
        ("/v1/none", r#"{"keys":["a"]}"#, 404, "no_such_group", "no such group: none"),
        ("/v1/pages?ttl=1s", r#"{"keys":["a"]}"#, 400, "bad_request", "ttl goes with PUT alone"),
        ("/v1/pages", "{}", 400, "bad_request", "one of keys and keys_base64 is required, and not both"),
        ("/v1/pages", r#"{"keys_base64":["?"]}"#, 400, "bad_request", "keys_base64[0] is no base64"),
        ("/v1/pages", &many, 413, "too_large", "16385 keys in one call are over the limit of 16384"),
    ] {
        let reply = post(&mut Client::connect(node.http), target, body);
        assert_eq!(reply.text(), format!(r#"{{"error":"{error}","message":"{message}"}}"#));
        assert_eq!(reply.status, status);
    }
    let reply = post(&mut Client::connect(node.http), "/v1/pages", "[");
    assert_eq!(
        (reply.status, reply.text().contains("the body is no list of keys")),
        (400, true),
        "{reply:?}"
    );
    // One that is too long is refused by what it says of its length.
    let mut client = Client::connect(node.http);
    client.send(b"POST /v1/pages HTTP/1.1\r\nHost: localhost\r\nContent-Length: 4194305\r\n\r\n");
    assert_eq!(client.receive("POST").status, 413);
    let reply = Client::connect(node.http).ask("PATCH", "/v1/pages");
    assert_eq!((reply.status, reply.header("allow")), (405, Some("POST, DELETE")));
    // What is wrong with one key is that key's.
    let keys = format!(r#"{{"keys":["home","","{}"]}}"#, "x".repeat(5000));
    let told = results(&post(&mut Client::connect(node.http), "/v1/pages", &keys));
    let of = |at: usize| (told[at]["status"].as_u64().unwrap(), told[at]["error"].as_str());
    assert_eq!([of(0), of(1), of(2)], [(200, None), (400, Some("bad_request")), (413, Some("too_large"))]);
    assert_eq!(get(node.http, "/v1/pages/home").text(), "Hello");
}

#[test]
fn values_that_have_no_room_in_one_answer_are_told_to_come_again_and_do() {
    let large = "x".repeat(700);
    let pages = Pages::new("delete", &[("a", &large), ("b", &large), ("c", "small")]);
    std::fs::write(
        pages.directory.path().join("carrot.toml"),
        format!(
            "[node]\npeer = \"127.0.0.1:0\"\nhttp = \"127.0.0.1:0\"\nadmin = \"127.0.0.1:0\"\n[limits]\nvalue = \"1KiB\"\n\
             [[group]]\nname = \"pages\"\norigin = {{ kind = \"sqlite\", path = \"app.db\", query = \"{}\" }}\n",
            crate::database::QUERY
        ),
    )
    .unwrap();
    let process =
        crate::process::Process::start(pages.directory.path(), &["serve", "--config", "carrot.toml"]);
    let [_, http, _] = Node::listening(&process).unwrap();
    let mut client = Client::connect(http);
    let told = results(&post(&mut client, "/v1/pages", r#"{"keys":["a","b","c"]}"#));
    let of = |at: usize| (told[at]["status"].as_u64().unwrap(), told[at]["error"].as_str());
    // Whichever is loaded first has the room.
    let left_out = usize::from(of(0).0 == 200);
    assert_eq!([of(left_out), of(1 - left_out)], [(503, Some("busy")), (200, None)]);
    let again = format!(r#"{{"keys":["{}"]}}"#, ["a", "b"][left_out]);
    let told = results(&post(&mut client, "/v1/pages", &again));
    assert_eq!(told[0]["value_base64"].as_str(), Some(&*base64(&large)));
    assert!(told[0]["cache"].as_str().unwrap().starts_with("hit; source=memory"));
}
