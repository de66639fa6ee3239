//! What operators ask running nodes: whose a key is and who holds it, and what was counted. And under which names.

use std::collections::BTreeSet;
use std::net::SocketAddr;

use serde_json::{Value, json};

use crate::awaiting::until;
use crate::client::{Client, Reply, ask, get};
use crate::database::{Pages, SERVE, body};
use crate::process::Node;

const NAMES: [&str; 3] = ["a", "b", "c"];

/// Three nodes, which mirror whatever they fetch.
fn three(pages: &Pages, flags: &[&str]) -> Vec<Node> {
    let flags = [&SERVE[..], &["--hot", "always"], flags].concat();
    Node::cluster(pages.directory.path(), &NAMES, &[], &flags)
}

fn json_of(reply: &Reply) -> Value {
    assert_eq!(reply.header("content-type"), Some("application/json"));
    serde_json::from_str(reply.text()).unwrap()
}

/// What a node says of a key.
fn owner(node: &Node, path: &str) -> Value {
    let reply = node.get(&format!("/owner/pages/{path}"));
    assert_eq!(reply.status, 200, "{}", reply.text());
    json_of(&reply)
}

fn stats(node: &Node) -> Value {
    let reply = get(node.admin, "/admin/stats");
    assert_eq!(reply.status, 200);
    json_of(&reply)
}

/// A number of the node's one group, or of the node itself.
fn number(page: &Value, at: &str) -> u64 {
    page.pointer(at).and_then(Value::as_u64).unwrap_or_else(|| panic!("{at} in {page:#}"))
}

/// The nodes as the members of an answer rank them.
fn by_rank<'n>(nodes: &'n [Node], told: &Value) -> Vec<&'n Node> {
    let node = |member: &Value| {
        let is_it = |node: &&Node| member["member"] == json!(format!("http://{}", node.peer));
        nodes.iter().find(is_it).unwrap()
    };
    told["members"].as_array().unwrap().iter().map(node).collect()
}

/// What every node says alike, whenever and whoever is asked.
fn lasting(mut told: Value) -> Value {
    told["node"].take();
    for member in told["members"].as_array_mut().unwrap() {
        member.as_object_mut().unwrap().remove("self");
        if let Some(held) = member["held"].as_object_mut() {
            assert!(held.remove("age_ms").unwrap().is_u64());
            if let Some(ttl) = held.get_mut("ttl_ms") {
                assert!((1..=60_000).contains(&ttl.as_u64().unwrap()));
                *ttl = json!("some");
            }
        }
    }
    told
}

/// The page of metrics, but for the connections that reading it takes.
fn counted(node: &Node) -> Vec<String> {
    let reply = get(node.admin, "/metrics");
    let lines = reply.text().lines().filter(|line| !line.contains("carrot_connections"));
    lines.map(ToOwned::to_owned).collect()
}

#[test]
fn each_node_says_the_same_of_a_key_and_looking_for_it_changes_no_number() {
    let pages = Pages::numbered(1);
    let nodes = three(&pages, &[]);
    let nothing = owner(&nodes[0], "0");
    let ranked = by_rank(&nodes, &nothing);
    assert!(nothing["members"].as_array().unwrap().iter().all(|member| member["held"] == Value::Null));

    // The second by rank asks the first, and keeps a mirror.
    assert_eq!(ranked[1].get("/v1/pages/0").text(), body(0));
    let before: Vec<_> = nodes.iter().map(counted).collect();
    let told: Vec<_> = nodes.iter().map(|node| owner(node, "0")).collect();
    for ((told, name), node) in told.iter().zip(NAMES).zip(&nodes) {
        assert_eq!(told["node"], json!(name));
        for member in told["members"].as_array().unwrap() {
            let is_self = member["member"] == json!(format!("http://{}", node.peer));
            assert_eq!(member.get("self"), is_self.then_some(&json!(true)));
        }
    }
    let weight =
        |node: usize, region: &str| number(&stats(ranked[node]), &format!("/groups/0/weight_bytes/{region}"));
    let length = body(0).len();
    let member = |node: usize, held: Value| json!({ "member": format!("http://{}", ranked[node].peer), "rank": node + 1, "held": held });
    let expected = json!({
        "group": "pages", "key": "0", "placement": "slots", "slot": nothing["slot"], "node": null,
        "members": [
            member(0, json!({ "region": "owned", "bytes": length, "weight": weight(0, "owned") })),
            member(
                1,
                json!({ "region": "mirror", "bytes": length, "weight": weight(1, "mirrors"), "ttl_ms": "some" })
            ),
            member(2, Value::Null),
        ],
    });
    for told in told {
        assert_eq!(lasting(told), expected);
    }
    assert!(nothing["slot"].as_u64().unwrap() < 1 << 16);
    assert_eq!(nodes.iter().map(counted).collect::<Vec<_>>(), before);

    assert_eq!(ask(nodes[0].http, "DELETE", "/v1/pages/0").status, 204);
    assert_eq!(owner(&nodes[0], "0")["members"][0]["held"], Value::Null);
}

#[test]
fn a_member_that_is_gone_is_told_with_what_went_wrong_and_the_rest_all_the_same() {
    let pages = Pages::numbered(1);
    let mut nodes = three(&pages, &["--placement", "ring"]);
    let mut gone = nodes.pop().unwrap();
    let address = gone.peer;
    gone.process.kill();
    gone.process.end();
    let told = owner(&nodes[0], "a%20b/%0A");
    assert_eq!((&told["key"], &told["placement"]), (&json!("a b/\\n"), &json!("ring")));
    assert!(told["point"].is_u64() && told.get("slot").is_none(), "{told}");
    for member in told["members"].as_array().unwrap() {
        if member["member"] == json!(format!("http://{address}")) {
            let error = member["error"].as_str().unwrap();
            assert!(error.starts_with("cannot connect: "), "{error}");
            assert!(member.get("held").is_none());
        } else {
            assert_eq!((&member["held"], member.get("error")), (&Value::Null, None));
        }
    }
}

#[test]
fn a_key_that_cannot_be_is_refused_as_a_get_of_it_is() {
    let pages = Pages::numbered(1);
    let node = Node::alone(pages.directory.path(), &SERVE);
    let long = format!("/owner/pages/{}", "x".repeat(5000));
    for (target, status, error) in [
        ("/owner/pages/", 400, "bad_request"),
        ("/owner/pages/%zz", 400, "bad_request"),
        ("/owner/pages/0?verbose", 400, "bad_request"),
        ("/owner/nope/0", 404, "no_such_group"),
        ("/owner", 404, "not_found"),
        (&long, 413, "too_large"),
    ] {
        let reply = node.get(target);
        assert_eq!((reply.status, &json_of(&reply)["error"]), (status, &json!(error)), "{target}");
    }
    let refused = ask(node.http, "DELETE", "/owner/pages/0");
    assert_eq!((refused.status, refused.header("allow")), (405, Some("GET, HEAD")));
    assert_eq!(ask(node.http, "HEAD", "/owner/pages/0").status, 200);
}

#[test]
fn statistics_move_with_the_traffic_and_agree_over_the_nodes() {
    let pages = Pages::numbered(60);
    let nodes = three(&pages, &["--ttl", "1h"]);
    for (node, name) in nodes.iter().zip(NAMES) {
        let page = stats(node);
        assert_eq!((&page["node"], &page["dialect"]), (&json!(name), &json!("native")));
        assert_eq!((number(&page, "/groups/0/gets"), number(&page, "/groups/0/hit_seconds/count")), (0, 0));
        for peer in page["peers"].as_array().unwrap() {
            let expected = if peer["self"] == json!(true) { Value::Null } else { json!("untried") };
            assert_eq!(peer["state"], expected, "{peer}");
        }
    }
    // Each page through each node, twice: one load, two fetches, and then memory and mirrors.
    for number in 0..120 {
        for node in &nodes {
            assert_eq!(node.get(&format!("/v1/pages/{}", number % 60)).text(), body(number % 60));
        }
    }
    nodes[0].get("/v1/nope/0");
    let seen: Vec<_> = nodes.iter().map(stats).collect();
    let sum = |at: &str| seen.iter().map(|page| number(page, at)).sum::<u64>();
    assert_eq!((sum("/groups/0/loads/found"), sum("/groups/0/fetches/found")), (60, 120));
    // 360 of callers, and 120 of peers. All but the loads and fetches were hits, of which a peer's are not timed.
    assert_eq!(sum("/groups/0/gets"), 480);
    let of_peers = 480 - 60 - 120 - sum("/groups/0/hit_seconds/count");
    assert_eq!(sum("/groups/0/hits/memory") + sum("/groups/0/hits/mirror"), 480 - 60 - 120);
    assert!((60..=120).contains(&of_peers), "{of_peers}");
    assert_eq!(sum("/groups/0/mirrors"), 120);
    for at in ["fetch_seconds", "load_seconds"] {
        let counted = sum(&format!("/groups/0/{at}/count"));
        assert_eq!(counted, if at == "fetch_seconds" { 120 } else { 60 });
    }
    assert_eq!((number(&seen[0], "/refusals/no_group"), sum("/refusals/no_group")), (1, 1));
    assert_eq!(seen.iter().map(|page| page["view"].as_str().unwrap()).collect::<BTreeSet<_>>().len(), 1);
    for page in &seen {
        let peers = page["peers"].as_array().unwrap();
        let shares: f64 = peers.iter().map(|peer| peer["share"].as_f64().unwrap()).sum();
        assert!((shares - 1.0).abs() < 1e-9, "{shares}");
        let others = peers.iter().filter(|peer| peer["self"] == json!(false));
        let requests: u64 = others
            .map(|peer| {
                assert_eq!(
                    (&peer["state"], &peer["failures"], &peer["rest_ms"]),
                    (&json!("up"), &json!(0), &json!(0))
                );
                assert_eq!(peer["seconds"]["count"], peer["requests"]);
                number(peer, "/requests")
            })
            .sum();
        assert_eq!(requests, number(page, "/groups/0/fetches/found"));
        let names: Vec<_> = page["listeners"].as_array().unwrap().iter().map(|it| &it["listener"]).collect();
        assert_eq!(names, [&json!("peer"), &json!("http")]);
        assert!(number(page, "/listeners/1/accepted") >= 120);
        assert!(number(page, "/groups/0/weight_bytes/owned") > 0);
        for times in ["hit_seconds", "fetch_seconds", "load_seconds"] {
            is_histogram(&page["groups"][0][times]);
        }
    }
    // The same numbers as on the page of metrics.
    let page = nodes[1].page();
    let hits = page.number(r#"carrot_hit_seconds_count{group="pages"}"#);
    assert_eq!(hits, seen[1]["groups"][0]["hit_seconds"]["count"].as_f64().unwrap());
}

/// Bounds and cumulative counts that rise, to no more than the count; and a sum, if anything took time.
fn is_histogram(times: &Value) {
    let buckets: Vec<(f64, u64)> = serde_json::from_value(times["buckets"].clone()).unwrap();
    assert!(buckets.is_sorted_by(|a, b| a.0 < b.0 && a.1 <= b.1), "{times}");
    let count = number(times, "/count");
    assert!(buckets.last().unwrap().1 <= count);
    assert_eq!(times["sum"].as_f64().unwrap() > 0.0, count > 0, "{times}");
}

#[test]
fn a_peer_that_is_gone_rests_in_the_statistics_of_those_that_need_it() {
    let pages = Pages::numbered(200);
    let mut nodes = three(&pages, &[]);
    let mut gone = nodes.pop().unwrap();
    let member = json!(format!("http://{}", gone.peer));
    gone.process.kill();
    gone.process.end();
    let mut next = (0..200).cycle();
    let mut peer = Value::Null;
    until("it rests", || {
        assert_eq!(nodes[0].get(&format!("/v1/pages/{}", next.next().unwrap())).status, 200);
        let page = stats(&nodes[0]);
        peer =
            page["peers"].as_array().unwrap().iter().find(|peer| peer["member"] == member).unwrap().clone();
        peer["state"] == json!("resting")
    });
    assert!(number(&peer, "/failures") >= 3 && number(&peer, "/rest_ms") <= 500, "{peer}");
    assert!(number(&peer, "/requests") >= 3, "{peer}");
}

/// The status and the line of a request to the admin front that is made of these lines.
fn raw(admin: SocketAddr, request: &str) -> (u16, String) {
    let mut client = Client::connect(admin);
    client.send(request.as_bytes());
    let reply = client.receive("GET");
    (reply.status, reply.text().to_owned())
}

#[test]
fn operators_call_a_node_by_an_address_or_a_name_that_is_its_own() {
    let pages = Pages::numbered(1);
    let flags = [&SERVE[..], &["--url", "http://Node-A.example:8001"]].concat();
    let node = Node::alone(pages.directory.path(), &flags);
    let status =
        |target: &str, lines: &str| raw(node.admin, &format!("GET {target} HTTP/1.1\r\n{lines}\r\n")).0;
    let port = node.admin.port();
    for target in ["/livez", "/readyz", "/metrics", "/admin/stats"] {
        for host in [
            "127.0.0.1",
            "10.1.2.3:80",
            "[::1]",
            "[fe80::1]:9990",
            "localhost",
            "LOCALHOST.:1",
            "node-a.EXAMPLE",
        ] {
            assert_eq!(status(target, &format!("Host: {host}\r\n")), 200, "{target} {host}");
        }
        for host in ["evil.example", &format!("evil.example:{port}"), "localhost.evil.example", "127.1"] {
            assert_eq!(status(target, &format!("Host: {host}\r\n")), 403, "{target} {host}");
        }
        for lines in [
            "",
            "Host: localhost\r\nHost: localhost\r\n",
            "Host:\r\n",
            "Host: ::1\r\n",
            "Host: u@localhost\r\n",
        ] {
            assert_eq!(status(target, lines), 400, "{target} {lines:?}");
        }
        let whole = format!("http://evil.example{target}");
        assert_eq!(status(&whole, "Host: localhost\r\n"), 403, "{whole}");
        let whole = format!("http://localhost:{port}{target}");
        assert_eq!(status(&whole, "Host: localhost\r\n"), 200, "{whole}");
    }
    assert_eq!(status("/admin/other", "Host: localhost\r\n"), 404);
    assert_eq!(status("/admin/", "Host: evil.example\r\n"), 403);
    let (_, line) = raw(node.admin, "GET /metrics HTTP/1.1\r\nHost: evil.example\r\n\r\n");
    assert_eq!(
        line,
        "evil.example is not a name of this node: use its address, or list the name in node.hosts\n"
    );
    // Not on the data front: clients there may call it as they like.
    assert_eq!(raw(node.http, "GET /v1/pages/0 HTTP/1.1\r\nHost: evil.example\r\n\r\n").0, 200);
    let refused = stats(&node);
    assert!(number(&refused, "/refusals/unauthorized") > 0 && number(&refused, "/refusals/malformed") > 0);
}
