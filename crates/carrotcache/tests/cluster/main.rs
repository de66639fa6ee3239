//! Clusters as their users see them: through the public API alone, over real sockets of the loopback.
//!
//! Few, since the library's own tests play every case in memory. No test waits for a time to pass: a load that must
//! be under way waits at a gate. Without the feature `http` there is nothing here to test.

#![cfg(all(feature = "http", feature = "json"))]
#![allow(clippy::unwrap_used, reason = "in a test a panic is the report")]

mod dialects;

use std::collections::BTreeSet;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use carrotcache::net::dialect::Dialect;
use carrotcache::{
    Ask, BoxError, Cluster, ClusterBuilder, GetError, Group, Hot, Json, Key, Loaded, OpenError, Source,
    StartError, Utf8, WriteError,
};
use tokio::sync::Semaphore;

fn any_port() -> ClusterBuilder {
    Cluster::bind("127.0.0.1:0".parse().unwrap())
}

fn url(node: &Cluster) -> String {
    format!("http://{}", node.address().unwrap())
}

/// So many nodes that know each other.
async fn nodes(count: usize) -> Vec<Cluster> {
    let mut nodes = Vec::new();
    for _ in 0..count {
        nodes.push(any_port().start().await.unwrap());
    }
    let urls: Vec<_> = nodes.iter().map(url).collect();
    for node in &nodes {
        node.set_peers(urls.clone()).await.unwrap();
    }
    nodes
}

/// The group `scores` on each node, whose values are the numbers of the loads, and how many there were.
fn scores(nodes: &[Cluster]) -> (Vec<Group>, Arc<AtomicUsize>) {
    scores_with(nodes, Hot::default())
}

fn scores_with(nodes: &[Cluster], hot: Hot) -> (Vec<Group>, Arc<AtomicUsize>) {
    let loads = Arc::new(AtomicUsize::new(0));
    let open = |node: &Cluster| {
        let loads = loads.clone();
        let load = move |_: Key| {
            let load = loads.fetch_add(1, Ordering::Relaxed) + 1;
            async move { Ok::<_, BoxError>(Some(load.to_string())) }
        };
        node.group("scores").hot(hot).open(load).unwrap()
    };
    (nodes.iter().map(open).collect(), loads)
}

async fn source(group: &Group, key: &str) -> Source {
    group.answer(key, Ask::default()).await.unwrap().source
}

/// A key that this node owns: what it loads for itself it keeps in its own memory.
async fn key_of(owner: &Group) -> String {
    for n in 0..1000 {
        // The number first: on mailgun's ring, keys that differ at their end alone mostly have one owner.
        let key = format!("{n} is a key");
        source(owner, &key).await;
        if source(owner, &key).await == Source::Memory {
            owner.remove(&key).await.unwrap();
            return key;
        }
    }
    panic!("it owns none of a thousand keys");
}

#[tokio::test]
async fn each_key_is_loaded_once_over_three_nodes() {
    let nodes = nodes(3).await;
    let (groups, loads) = scores(&nodes);
    let mut givers = BTreeSet::new();
    for n in 0..60 {
        let key = n.to_string();
        let gets: Vec<_> = (0..12)
            .map(|caller| {
                let (group, key) = (groups[caller % 3].clone(), key.clone());
                tokio::spawn(async move { group.answer(key, Ask::default()).await.unwrap() })
            })
            .collect();
        for get in gets {
            let answer = get.await.unwrap();
            assert_eq!(answer.value, &*(n + 1).to_string());
            givers.insert(answer.node.to_string());
        }
    }
    assert_eq!(loads.load(Ordering::Relaxed), 60);
    assert_eq!(givers, nodes.iter().map(|node| node.name().to_owned()).collect());
    assert_eq!(nodes.iter().map(|node| node.stats().view_mismatches).sum::<u64>(), 0);
}

#[tokio::test]
async fn a_node_that_speaks_frames_and_one_that_speaks_http_alone_form_one_cluster() {
    let nodes = [any_port().start().await.unwrap(), any_port().without_frames().start().await.unwrap()];
    let urls = nodes.each_ref().map(url);
    for node in &nodes {
        node.set_peers(urls.clone()).await.unwrap();
    }
    let (groups, loads) = scores(&nodes);
    let mut givers = BTreeSet::new();
    for n in 0..40 {
        let key = n.to_string();
        for _ in 0..2 {
            for group in &groups {
                let answer = group.answer(&key, Ask::default()).await.unwrap();
                assert_eq!(answer.value, &*(n + 1).to_string());
                givers.insert(answer.node.to_string());
            }
        }
        groups[n % 2].remove(&key).await.unwrap();
    }
    assert_eq!(loads.load(Ordering::Relaxed), 40);
    assert_eq!(givers, nodes.iter().map(|node| node.name().to_owned()).collect());
    for node in &nodes {
        node.leave().await.unwrap();
    }
}

#[tokio::test]
async fn gets_at_once_share_one_connection_to_their_owner() {
    let nodes = nodes(2).await;
    let (groups, _) = scores(&nodes);
    let gets: Vec<_> = (0..200)
        .map(|n| {
            let group = groups[0].clone();
            tokio::spawn(async move { group.answer(n.to_string(), Ask::default()).await.unwrap().node })
        })
        .collect();
    let mut fetched = 0;
    for get in gets {
        fetched += usize::from(*get.await.unwrap() == *nodes[1].name());
    }
    assert!(fetched > 60, "{fetched}");
    assert_eq!(nodes[1].port_stats().unwrap().accepted, 1);
    for node in &nodes {
        node.leave().await.unwrap();
        assert_eq!(node.stats().cuts.total(), 0);
    }
}

#[tokio::test]
async fn a_node_finds_itself_in_a_list_that_spells_its_address_otherwise() {
    let nodes = [any_port().start().await.unwrap(), any_port().start().await.unwrap()];
    let urls = nodes.each_ref().map(|node| format!("http://LocalHost:{}/", node.address().unwrap().port()));
    for node in &nodes {
        node.set_peers(urls.clone()).await.unwrap();
    }
    let (groups, loads) = scores(&nodes);
    for group in &groups {
        let key = key_of(group).await;
        let before = loads.load(Ordering::Relaxed);
        for group in &groups {
            group.get(&key).await.unwrap();
        }
        assert_eq!(loads.load(Ordering::Relaxed) - before, 1);
    }
}

#[tokio::test]
async fn a_node_that_is_in_no_list_owns_nothing_and_answers_all_the_same() {
    let nodes = nodes(2).await;
    let stranger = any_port().peers(nodes.iter().map(url)).start().await.unwrap();
    let (members, _) = scores(&nodes);
    let (strangers, own_loads) = scores(std::slice::from_ref(&stranger));
    for n in 0..20 {
        let answer = strangers[0].answer(n.to_string(), Ask::default()).await.unwrap();
        assert_ne!(*answer.node, *stranger.name());
        assert_eq!(members[n % 2].get(n.to_string()).await.unwrap(), answer.value);
    }
    assert_eq!(own_loads.load(Ordering::Relaxed), 0);
}

/// An address nobody listens at for the moment.
fn free_address() -> SocketAddr {
    std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap()
}

#[tokio::test]
async fn a_node_that_does_not_start_leaves_nothing_running() {
    let address = free_address();
    let start = |dialect, list: &str| {
        let list = list.to_owned();
        async move { Cluster::bind(address).dialect(dialect).peers([list]).start().await.err() }
    };
    let own = format!("http://{address}/");
    let refused = start(Dialect::Golang, &own).await;
    assert!(
        matches!(&refused, Some(StartError::NotListed { url }) if *url == format!("http://{address}")),
        "a family's peers are listed by the letter: {refused:?}"
    );
    let refused = start(Dialect::Native, "http://a:1/path").await;
    assert!(matches!(refused, Some(StartError::Peer { .. })), "{refused:?}");
    assert!(start(Dialect::Native, &own).await.is_none(), "the port is free again");
}

#[tokio::test]
async fn a_port_in_use_is_told_by_its_address() {
    let node = any_port().start().await.unwrap();
    let taken = node.address().unwrap();
    let refused = Cluster::bind(taken).start().await.err();
    assert!(matches!(&refused, Some(StartError::Bind { address, .. }) if *address == taken), "{refused:?}");
}

#[tokio::test]
async fn a_list_that_is_refused_leaves_the_old_one_in_force() {
    let nodes = nodes(2).await;
    let before = nodes[0].members();
    assert_eq!(before.len(), 2);
    let refused = nodes[0].set_peers(["ftp://a:1"]).await;
    assert!(matches!(refused, Err(StartError::Peer { .. })), "{refused:?}");
    assert_eq!(nodes[0].members(), before);
}

#[tokio::test]
async fn set_and_remove_through_another_node_reach_the_owner() {
    let nodes = nodes(2).await;
    let (groups, loads) = scores(&nodes);
    let key = key_of(&groups[1]).await;
    let before = loads.load(Ordering::Relaxed);
    groups[0].set(&key, Loaded::from("set").ttl(Duration::from_secs(1000))).await.unwrap();
    let answer = groups[1].answer(&key, Ask::default()).await.unwrap();
    assert_eq!((answer.value, answer.source), (bytes("set"), Source::Memory));
    assert!(answer.ttl.unwrap() <= Duration::from_secs(1000));
    let answer = groups[0].answer(&key, Ask::default()).await.unwrap();
    assert_eq!((answer.value, answer.source), (bytes("set"), Source::Owner));
    assert_eq!(loads.load(Ordering::Relaxed), before);

    groups[0].remove(&key).await.unwrap();
    assert_eq!(source(&groups[1], &key).await, Source::Origin);
    assert_eq!(loads.load(Ordering::Relaxed), before + 1);
}

fn bytes(text: &'static str) -> carrotcache::Value {
    bytes::Bytes::from(text).into()
}

#[tokio::test]
async fn another_list_moves_ownership_at_run_time_and_old_entries_do_not_come_back_with_it() {
    let nodes = nodes(2).await;
    let (groups, loads) = scores(&nodes);
    let key = key_of(&groups[0]).await;
    let first = groups[0].get(&key).await.unwrap();

    // Alone, the second owns every key; the first asks it, and the key is removed there.
    for node in &nodes {
        node.set_peers([url(&nodes[1])]).await.unwrap();
    }
    let second = groups[0].answer(&key, Ask::default()).await.unwrap();
    assert_eq!((second.source, &*second.node), (Source::Origin, nodes[1].name()));
    assert_ne!(second.value, first);
    assert_eq!(source(&groups[1], &key).await, Source::Memory);
    groups[1].remove(&key).await.unwrap();

    let both: Vec<_> = nodes.iter().map(url).collect();
    for node in &nodes {
        node.set_peers(both.clone()).await.unwrap();
    }
    let before = loads.load(Ordering::Relaxed);
    let third = groups[0].answer(&key, Ask::default()).await.unwrap();
    assert_eq!((third.source, &*third.node), (Source::Origin, nodes[0].name()));
    assert_eq!(loads.load(Ordering::Relaxed), before + 1);
    assert_ne!(third.value, first);
}

#[tokio::test]
async fn a_node_that_leaves_finishes_what_is_in_flight_and_then_the_others_do_without_it() {
    let nodes = nodes(2).await;
    let gate = Arc::new(Semaphore::new(0));
    let began = Arc::new(Semaphore::new(0));
    let open = |node: &Cluster| {
        let (gate, began) = (gate.clone(), began.clone());
        let load = move |key: Key| {
            let (gate, began) = (gate.clone(), began.clone());
            async move {
                began.add_permits(1);
                gate.acquire().await?.forget();
                Ok::<_, BoxError>(Some(key.as_bytes().to_vec()))
            }
        };
        node.group("scores").open(load).unwrap()
    };
    let groups: Vec<_> = nodes.iter().map(open).collect();
    gate.add_permits(1000);
    let key = key_of(&groups[1]).await;
    let (left, begun) = (gate.available_permits(), began.available_permits());
    assert_eq!((gate.forget_permits(left), began.forget_permits(begun)), (left, begun));

    let get = tokio::spawn({
        let (group, key) = (groups[0].clone(), key.clone());
        async move { group.answer(key, Ask::default()).await }
    });
    began.acquire().await.unwrap().forget();
    let leave = tokio::spawn({
        let node = nodes[1].clone();
        async move { node.leave().await }
    });
    // It has begun to leave once it takes up no more loads. Each time another key: what was asked before may hang.
    for n in 0.. {
        let cold = groups[1].answer(format!("cold {n}"), Ask::default().within(Duration::ZERO)).await;
        if matches!(cold, Err(GetError::Leaving)) {
            break;
        }
        tokio::task::yield_now().await;
    }
    assert!(!leave.is_finished());
    gate.add_permits(1000);
    let answer = get.await.unwrap().unwrap();
    assert_eq!((&*answer.node, answer.source), (nodes[1].name(), Source::Origin));
    leave.await.unwrap().unwrap();

    gate.add_permits(1);
    let answer = groups[0].answer(&key, Ask::default()).await.unwrap();
    assert_eq!((&*answer.node, answer.source), (nodes[0].name(), Source::Origin));
    assert_eq!(source(&groups[0], &key).await, Source::Mirror, "it stands in for the one that left");
}

#[tokio::test(start_paused = true)]
async fn a_node_whose_loads_do_not_end_says_so_after_its_drain() {
    let node = Cluster::local().drain(Duration::from_secs(2)).start().await.unwrap();
    let hanging = node
        .group("scores")
        .open(|_| async { std::future::pending::<Result<Option<String>, BoxError>>().await })
        .unwrap();
    let began = tokio::time::Instant::now();
    let get = tokio::spawn(async move { hanging.get("Tom").await });
    tokio::task::yield_now().await;
    assert_eq!(node.leave().await.unwrap_err().drain, Duration::from_secs(2));
    assert_eq!(began.elapsed(), Duration::from_secs(2));
    assert!(matches!(get.await.unwrap(), Err(GetError::Deadline { .. })));
}

#[tokio::test]
async fn a_node_that_is_gone_under_load_costs_no_get() {
    let mut nodes = nodes(3).await;
    let mut groups: Vec<Group> = Vec::new();
    for node in &nodes {
        let load = |key: Key| async move { Ok::<_, BoxError>(Some(key.as_bytes().to_vec())) };
        groups.push(node.group("scores").open(load).unwrap());
    }
    let done = Arc::new(AtomicUsize::new(0));
    let callers: Vec<_> = (0..20)
        .map(|caller| {
            let (group, done) = (groups[caller % 2].clone(), done.clone());
            tokio::spawn(async move {
                for n in 0..300 {
                    let key = format!("key {}", (caller * 300 + n) % 1000);
                    assert_eq!(group.get(&key).await.unwrap(), key.as_str());
                    done.fetch_add(1, Ordering::Relaxed);
                }
            })
        })
        .collect();
    while done.load(Ordering::Relaxed) < 1000 {
        tokio::task::yield_now().await;
    }
    let gone = nodes.pop().unwrap();
    let address = gone.address().unwrap();
    drop(gone);
    for caller in callers {
        caller.await.unwrap();
    }
    while tokio::net::TcpStream::connect(address).await.is_ok() {
        tokio::task::yield_now().await;
    }
}

#[tokio::test]
async fn typed_values_travel_as_their_codec_writes_them() {
    let nodes = nodes(2).await;
    let numbers: Vec<_> = nodes
        .iter()
        .map(|node| {
            let load = |key: Key| async move {
                Ok::<_, BoxError>(match key.to_str()? {
                    "nobody" => None,
                    name => Some(vec![name.to_owned(), "630".to_owned()]),
                })
            };
            node.group("lists").codec(Json).open(load).unwrap()
        })
        .collect();
    for list in &numbers {
        for n in 0..10 {
            let key = format!("Tom {n}");
            assert_eq!(list.get(&key).await.unwrap(), [key, "630".to_owned()]);
        }
        assert!(matches!(list.get("nobody").await, Err(GetError::NotFound { .. })));
        assert_eq!(list.bytes().get("Tom 0").await.unwrap(), br#"["Tom 0","630"]"#);
    }
    numbers[0].set("Tom 0", vec!["set".to_owned()]).await.unwrap();
    assert_eq!(numbers[1].get("Tom 0").await.unwrap(), ["set"]);
    numbers[1].remove("Tom 0").await.unwrap();
    assert_eq!(numbers[0].get("Tom 0").await.unwrap(), ["Tom 0", "630"]);

    let texts: Vec<_> = nodes
        .iter()
        .map(|node| {
            let load = |key: Key| async move { Ok::<_, BoxError>(Some(key.to_str()?.to_uppercase())) };
            node.group("texts").codec(Utf8).open(load).unwrap()
        })
        .collect();
    for text in &texts {
        assert_eq!(text.get("ünï").await.unwrap(), "ÜNÏ");
        text.bytes().set("broken", b"\xff".to_vec()).await.unwrap();
        for text in &texts {
            assert!(matches!(text.get("broken").await, Err(GetError::Decode { .. })));
        }
    }
}

#[tokio::test]
async fn clusters_of_one_process_share_nothing_though_their_groups_have_one_name() {
    let one = [Cluster::local().start().await.unwrap()];
    let other = [Cluster::local().start().await.unwrap()];
    let ((ones, one_loads), (others, other_loads)) = (scores(&one), scores(&other));
    ones[0].set("Tom", "of one").await.unwrap();
    assert_eq!(others[0].get("Tom").await.unwrap(), "1");
    others[0].remove("Tom").await.unwrap();
    assert_eq!(ones[0].get("Tom").await.unwrap(), "of one");
    assert_eq!((one_loads.load(Ordering::Relaxed), other_loads.load(Ordering::Relaxed)), (0, 1));
    assert_eq!((one[0].stats().groups[0].gets, other[0].stats().groups[0].gets), (1, 1));
    one[0].leave().await.unwrap();
    assert_eq!(others[0].get("Jack").await.unwrap(), "2");
}

#[tokio::test]
async fn a_group_needs_a_name_of_its_own_in_the_alphabet() {
    let node = Cluster::local().start().await.unwrap();
    let open = |name| node.group(name).open(|_| async { Ok::<_, BoxError>(Some("630")) });
    let first = open("scores").unwrap();
    assert!(matches!(open("scores"), Err(OpenError::Exists(name)) if name.as_str() == "scores"));
    for name in ["", ".", "..", "api", "a b", "a/b", "ü"] {
        assert!(matches!(open(name), Err(OpenError::Name(_))), "{name:?}");
    }
    assert_eq!(first.get("Tom").await.unwrap(), "630");
    assert_eq!(node.stats().groups.len(), 1);
}

#[tokio::test]
async fn a_name_that_cannot_travel_beside_values_is_refused_at_the_start() {
    for name in ["", "a\nb", &"n".repeat(256)] {
        let refused = any_port().name(name).start().await.map(|_| ());
        assert!(matches!(refused, Err(StartError::Settings(_))), "{name:?}: {refused:?}");
    }
    any_port().name("n".repeat(255)).start().await.unwrap();
}

#[tokio::test]
async fn a_list_whose_caller_goes_away_is_put_in_force_all_the_same() {
    let node = any_port().start().await.unwrap();
    let peers = [url(&node), "http://127.0.0.1:1".to_owned()];
    let given_up = tokio::time::timeout(Duration::ZERO, node.set_peers(peers)).await;
    let in_force = async {
        while node.members().len() != 2 {
            tokio::task::yield_now().await;
        }
    };
    tokio::time::timeout(Duration::from_secs(60), in_force).await.unwrap();
    drop(given_up);
}
