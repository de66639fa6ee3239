//! Three nodes over one database: one load for a key that all of them are asked for, and where answers come from.

use std::net::SocketAddr;

use crate::awaiting::until;
use crate::client::{Client, ask, get, put};
use crate::database::{Pages, SERVE, body};
use crate::page::Page;
use crate::process::Node;

const NAMES: [&str; 3] = ["a", "b", "c"];

#[test]
fn two_hundred_callers_of_one_cold_key_over_three_nodes_cost_one_load() {
    let pages = Pages::numbered(1);
    let nodes = Node::cluster(pages.directory.path(), &NAMES, &[], &SERVE);
    let sum = |series: &str| nodes.iter().map(|node| node.page().number(series)).sum::<f64>();
    // The origin answers nobody before all callers wait.
    pages.lock();
    std::thread::scope(|scope| {
        let callers: Vec<_> = (0..200)
            .map(|n| {
                let http = nodes[n % 3].http;
                scope.spawn(move || get(http, "/v1/pages/0"))
            })
            .collect();
        // Two more wait at the owner: the other nodes.
        until("all callers wait", || sum(r#"carrot_waiters{group="pages"}"#) >= 202.0);
        pages.unlock();
        for caller in callers {
            let reply = caller.join().unwrap();
            assert_eq!((reply.status, reply.text()), (200, &*body(0)));
            assert_eq!((reply.cache().0, reply.cache().1), ("miss", "origin"));
        }
    });
    assert_eq!(sum(r#"carrot_loads_total{group="pages",outcome="found"}"#), 1.0);
    assert_eq!(nodes.iter().map(|node| node.page().loads()).sum::<f64>(), 1.0);
    assert_eq!(sum(r#"carrot_gets_total{group="pages"}"#), 202.0);
    assert_eq!(sum(r#"carrot_flights{group="pages"}"#), 0.0);
    // One of each node's callers, and one of each node that asked the owner, led; the others shared.
    assert!(sum(r#"carrot_shares_total{group="pages"}"#) >= 197.0);
}

/// A page that `asked` does not own, and the name of the node that does.
fn remote_page(asked: SocketAddr, asked_name: &str) -> (String, String) {
    for number in 0..100 {
        let target = format!("/v1/pages/{number}");
        let reply = get(asked, &target);
        let (cache, source, node) = reply.cache();
        assert_eq!((cache, source), ("miss", "origin"));
        if node != asked_name {
            return (target, node.to_owned());
        }
        let again = get(asked, &target);
        assert_eq!(again.cache(), ("hit", "memory", asked_name));
    }
    panic!("{asked_name} owns a hundred pages in a row");
}

#[test]
fn an_answer_says_whose_memory_or_whose_loader_it_came_from() {
    let pages = Pages::numbered(100);
    let nodes = Node::cluster(pages.directory.path(), &NAMES, &[], &SERVE);
    let mut client = Client::connect(nodes[0].http);
    let (target, owner) = remote_page(nodes[0].http, "a");
    let again = client.get(&target);
    assert_eq!(again.cache(), ("hit", "owner", &*owner));
    // What the owner has in memory it answers from there, and all others from the owner.
    for (node, name) in nodes.iter().zip(NAMES) {
        let source = if name == owner { "memory" } else { "owner" };
        assert_eq!(node.get(&target).cache(), ("hit", source, &*owner), "{name}");
    }
    // A hundred fetches a minute make a key hot: it is mirrored where it is read, and its age travels with it.
    until("the page is mirrored", || client.get(&target).cache() == ("hit", "mirror", "a"));
    let before = nodes[0].page().number(r#"carrot_fetches_total{group="pages",outcome="found"}"#);
    assert!((90.0..=150.0).contains(&before), "{before} fetches until the key was hot");
    let mirrored = client.get(&target);
    assert_eq!((mirrored.status, mirrored.cache()), (200, ("hit", "mirror", "a")));
    assert!(mirrored.age() <= 60);
    let page = nodes[0].page();
    assert_eq!(page.number(r#"carrot_fetches_total{group="pages",outcome="found"}"#), before);
    assert!(page.number(r#"carrot_mirrors_total{group="pages"}"#) >= 1.0);
    assert!(page.number(r#"carrot_weight_bytes{group="pages",region="mirrors"}"#) > 0.0);
    assert!(page.number(r#"carrot_hits_total{group="pages",source="mirror"}"#) >= 2.0);

    // The owner takes what is set, and the node that was asked drops its mirror.
    let set = put(nodes[0].http, &target, b"set");
    assert_eq!((set.status, set.length_if_any()), (204, None));
    for node in &nodes {
        assert_eq!(node.get(&target).text(), "set");
    }
    assert_eq!(ask(nodes[0].http, "DELETE", &target).status, 204);
    assert_eq!(client.get(&target).cache(), ("miss", "origin", &*owner));
}

#[test]
fn a_remove_or_a_set_through_any_node_reaches_the_owner() {
    let pages = Pages::numbered(40);
    let off = [&SERVE[..], &["--hot", "off"]].concat();
    let nodes = Node::cluster(pages.directory.path(), &NAMES, &[], &off);
    let all_say = |number: usize, said: &str| {
        for node in &nodes {
            assert_eq!(node.get(&format!("/v1/pages/{number}")).text(), said, "page {number}");
        }
    };
    for number in 0..40 {
        let (target, through) = (format!("/v1/pages/{number}"), nodes[number % 3].http);
        all_say(number, &body(number));
        pages.write(&number.to_string(), "changed");
        all_say(number, &body(number));
        assert_eq!(ask(through, "DELETE", &target).status, 204);
        all_say(number, "changed");
        assert_eq!(put(through, &target, b"set").status, 204);
        all_say(number, "set");
    }
    let owned = |node: &Node| node.page().number(r#"carrot_weight_bytes{group="pages",region="owned"}"#);
    assert!(nodes.iter().all(|node| owned(node) > 0.0), "each node owns some of forty pages");
    assert_eq!(nodes.iter().map(|node| Page::read(node.admin).loads()).sum::<f64>(), 80.0);
}

#[test]
fn a_delete_of_a_group_reaches_every_node_and_names_those_it_does_not_reach() {
    let pages = Pages::numbered(30);
    let mut nodes =
        Node::cluster(pages.directory.path(), &NAMES, &[], &[&SERVE[..], &["--hot", "always"]].concat());
    let all_say = |nodes: &[Node], said: &dyn Fn(usize) -> String| {
        for node in nodes {
            for number in 0..30 {
                assert_eq!(node.get(&format!("/v1/pages/{number}")).text(), said(number));
            }
        }
    };
    all_say(&nodes, &body);
    for number in 0..30 {
        pages.write(&number.to_string(), "changed");
    }
    // A slash announces a key, and there is none: nothing is cleared by it.
    assert_eq!(ask(nodes[1].http, "DELETE", "/v1/pages/").status, 400);
    all_say(&nodes, &body);
    let cleared = ask(nodes[1].http, "DELETE", "/v1/pages");
    assert_eq!((cleared.status, cleared.length_if_any()), (204, None));
    all_say(&nodes, &|_| "changed".to_owned());
    let gone = nodes.remove(2);
    let name = format!("http://{}", gone.peer);
    drop(gone);
    let reply = ask(nodes[0].http, "DELETE", "/v1/pages");
    assert_eq!(reply.status, 503);
    assert!(
        reply.text().starts_with(r#"{"error":"unconfirmed","#) && reply.text().contains(&name),
        "{reply:?}"
    );
    let held = |node: &Node| {
        ["owned", "mirrors"].map(|region| {
            node.page().number(&format!(r#"carrot_weight_bytes{{group="pages",region="{region}"}}"#))
        })
    };
    assert!(nodes.iter().all(|node| held(node) == [0.0, 0.0]));
}
