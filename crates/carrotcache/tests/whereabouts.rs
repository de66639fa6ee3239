//! Where a key is, as operators ask it: through the public API alone, over real sockets of the loopback.
//!
//! Without the feature `http` there is nothing here to test.

#![cfg(feature = "http")]
#![allow(clippy::unwrap_used, reason = "in a test a panic is the report")]

use std::net::{SocketAddr, TcpListener};
use std::time::Duration;

use carrotcache::net::dialect::Dialect;
use carrotcache::placement::{GroupHash, PlacementKind, Ring, RingHash, Slots, Spot};
use carrotcache::{
    AtMember, BoxError, Cluster, Group, HeldError, Holding, Hot, Key, PeerState, Region, Source, Whereabouts,
};

/// Three nodes that know each other, and their group `scores`, which mirrors whatever is fetched.
async fn three(placement: PlacementKind) -> (Vec<Cluster>, Vec<Group>) {
    let mut nodes = Vec::new();
    for _ in 0..3 {
        let bound = Cluster::bind("127.0.0.1:0".parse().unwrap()).placement(placement);
        nodes.push(bound.start().await.unwrap());
    }
    let urls: Vec<_> = nodes.iter().map(|node| format!("http://{}", node.address().unwrap())).collect();
    for node in &nodes {
        node.set_peers(urls.clone()).await.unwrap();
    }
    let groups = nodes.iter().map(open).collect();
    (nodes, groups)
}

fn open(node: &Cluster) -> Group {
    let load = |key: Key| async move { Ok::<_, BoxError>(Some(key.as_bytes().to_vec())) };
    node.group("scores").hot(Hot::Always).open(load).unwrap()
}

/// Which of the members has that rank, as an index into the nodes.
fn at_rank(nodes: &[Cluster], seen: &Whereabouts, rank: usize) -> usize {
    let at = seen.members.iter().find(|at| at.rank == Some(rank)).unwrap();
    let is_at = |node: &Cluster| node.address().unwrap().to_string() == *at.member.authority;
    nodes.iter().position(is_at).unwrap()
}

/// Name, rank and holding, without the times, which differ from one moment to the next.
fn lasting(at: &AtMember) -> (String, Option<usize>, Option<Holding>) {
    let held = at.held.as_ref().unwrap().map(|mut holding| {
        holding.age = Duration::ZERO;
        holding.ttl = holding.ttl.map(|_| Duration::ZERO);
        holding
    });
    (at.member.name.to_string(), at.rank, held)
}

fn numbers(nodes: &[Cluster]) -> Vec<String> {
    nodes.iter().map(|node| format!("{:?} {:?}", node.stats(), node.peers())).collect()
}

#[tokio::test]
async fn each_node_says_the_same_of_a_key_and_looking_changes_no_number() {
    for placement in [PlacementKind::Slots, PlacementKind::Ring] {
        let (nodes, groups) = three(placement).await;
        let key = &b"a/../b \xff"[..];
        let seen = groups[0].whereabouts(key).await.unwrap();
        assert_eq!(seen.spot, spot(placement, key));
        assert!(seen.members.iter().all(|at| matches!(at.held, Ok(None))), "{seen:?}");

        let (owner, reader) = (at_rank(&nodes, &seen, 0), at_rank(&nodes, &seen, 1));
        // Loaded by its owner, and mirrored by one of the two others.
        groups[reader].get(key).await.unwrap();
        let before = numbers(&nodes);
        let mut told = Vec::new();
        for (n, group) in groups.iter().enumerate() {
            let seen = group.whereabouts(key).await.unwrap();
            assert_eq!(seen.spot, spot(placement, key));
            let selves: Vec<_> = seen.members.iter().filter(|at| at.is_self).collect();
            assert_eq!(selves.len(), 1);
            assert_eq!(*selves[0].member.authority, nodes[n].address().unwrap().to_string());
            told.push(seen.members.iter().map(lasting).collect::<Vec<_>>());
        }
        assert_eq!(numbers(&nodes), before);
        assert!(told.iter().all(|node| *node == told[0]), "{told:?}");
        let [(_, Some(0), Some(owned)), (_, Some(1), Some(mirror)), (_, Some(2), None)] = &told[0][..] else {
            panic!("{told:?}")
        };
        let length = key.len() as u64;
        assert_eq!((owned.region, owned.value_bytes, owned.ttl), (Region::Owned, length, None));
        let ends = Some(Duration::ZERO);
        assert_eq!((mirror.region, mirror.value_bytes, mirror.ttl), (Region::Mirrors, length, ends));
        let charged = |node: usize, region| nodes[node].stats().groups[0].weight_bytes.get(region);
        assert_eq!(charged(owner, Region::Owned), owned.weight_bytes);
        assert_eq!(charged(reader, Region::Mirrors), mirror.weight_bytes);
    }
}

fn spot(placement: PlacementKind, key: &[u8]) -> Spot {
    match placement {
        PlacementKind::Slots => Spot::Slot(Slots::slot(GroupHash::of("scores"), key)),
        PlacementKind::Ring => Spot::Place(RingHash::Crc32.place(key)),
    }
}

#[tokio::test]
async fn a_member_that_is_gone_is_said_to_be_and_what_is_known_of_it_is_told() {
    let (mut nodes, mut groups) = three(PlacementKind::Slots).await;
    assert_eq!((nodes[0].placement(), nodes[0].dialect()), (PlacementKind::Slots, Some(Dialect::Native)));
    assert_eq!(nodes[0].view_hash(), nodes[1].view_hash());
    let gone = nodes.pop().unwrap();
    drop(groups.pop());
    let address = gone.address().unwrap();
    gone.leave().await.unwrap();
    drop(gone);

    let seen = groups[0].whereabouts("Tom").await.unwrap();
    for at in &seen.members {
        let is_gone = *at.member.authority == address.to_string();
        assert_eq!(matches!(at.held, Err(HeldError::Peer(_))), is_gone, "{at:?}");
    }
    // An owner who cannot be asked is named.
    let mut unasked = 0;
    for n in 0..100 {
        if let Err(error) = groups[0].holding(n.to_string()).await {
            assert_eq!(error.to_string(), format!("http://{address} could not be asked"));
            unasked += 1;
        }
    }
    assert!(unasked > 0 && unasked < 100, "{unasked}");
    // Looking is no request; keys of it are.
    let asked = |state: fn(&PeerState) -> bool| {
        let peers = nodes[0].peers();
        let peer = peers.iter().find(|peer| *peer.member.authority == address.to_string()).unwrap();
        state(&peer.asked.as_ref().unwrap().state)
    };
    assert!(asked(|state| *state == PeerState::Untried));
    for n in 0..100 {
        groups[0].get(format!("key {n}")).await.unwrap();
    }
    assert!(asked(|state| matches!(state, PeerState::Resting { .. })));
    let peers = nodes[0].peers();
    assert!((peers.iter().map(|peer| peer.share).sum::<f64>() - 1.0).abs() < 1e-9);
    let up: Vec<_> = peers.iter().filter_map(|peer| peer.asked.as_ref()).collect();
    let up = up.iter().find(|asked| asked.state == PeerState::Up).unwrap();
    assert!(up.requests > 0 && up.requests == up.seconds.count, "{up:?}");
}

#[tokio::test]
async fn a_family_peer_is_never_asked_what_it_holds() {
    let free = || TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let addresses: [SocketAddr; 2] = [free(), free()];
    let urls = addresses.map(|address| format!("http://{address}"));
    let start = |n: usize| Cluster::bind(addresses[n]).dialect(Dialect::Golang).peers(urls.clone()).start();
    let nodes = [start(0).await.unwrap(), start(1).await.unwrap()];
    let groups = [open(&nodes[0]), open(&nodes[1])];
    let ring = Ring::new(RingHash::Crc32, &urls).unwrap();
    let key = (0..)
        .map(|n: u32| n.to_string())
        .find(|key| ring.ranks(ring.place(key.as_bytes())).owner() == Some(0))
        .unwrap();
    assert_eq!(groups[0].answer(&key, carrotcache::Ask::default()).await.unwrap().source, Source::Origin);
    let seen = groups[0].whereabouts(&key).await.unwrap();
    assert!(matches!(seen.members[0].held, Ok(Some(held)) if held.region == Region::Owned), "{seen:?}");
    let Err(error @ HeldError::Unsupported { .. }) = &seen.members[1].held else { panic!("{seen:?}") };
    assert_eq!(error.to_string(), "peers of dialect golang cannot be asked what they hold");
    assert_eq!(nodes[1].port_stats().unwrap().accepted, 0);
}

#[tokio::test]
async fn a_cluster_of_one_has_every_key_to_itself() {
    let node = Cluster::local().start().await.unwrap();
    let group = open(&node);
    group.get("Tom").await.unwrap();
    let seen = group.whereabouts("Tom").await.unwrap();
    let [only] = &seen.members[..] else { panic!("{seen:?}") };
    assert!(only.is_self && only.rank == Some(0) && matches!(only.held, Ok(Some(_))), "{only:?}");
    assert!((node.peers()[0].share - 1.0).abs() < f64::EPSILON && node.dialect().is_none());
}

#[tokio::test]
async fn the_owner_says_what_it_holds_and_nothing_is_loaded_or_counted() {
    let (nodes, groups) = three(PlacementKind::Slots).await;
    let seen = groups[0].whereabouts("Tom").await.unwrap();
    let (owner, other) = (at_rank(&nodes, &seen, 0), at_rank(&nodes, &seen, 1));
    let before = numbers(&nodes);
    for group in &groups {
        assert_eq!((group.holding("Tom").await.unwrap(), group.hit("Tom").unwrap()), (None, None));
    }
    assert_eq!(numbers(&nodes), before);
    groups[owner].get("Tom").await.unwrap();
    for group in &groups {
        let held = group.holding("Tom").await.unwrap().unwrap();
        assert_eq!((held.region, held.value_bytes, held.ttl), (Region::Owned, 3, None));
    }
    assert!(matches!(groups[other].holding("").await, Err(HeldError::Key(_))));

    assert_eq!(groups[other].hit("Tom").unwrap(), None, "it is the owner's");
    let of_owner = nodes[owner].stats();
    assert_eq!(groups[owner].hit("Tom").unwrap().unwrap(), "Tom");
    assert_eq!(nodes[owner].stats().groups[0].gets, of_owner.groups[0].gets + 1);
    assert!(groups[owner].holding("Tom").await.unwrap().unwrap().uses > 0);
}

#[tokio::test]
async fn a_remove_tells_whether_the_key_was_cached_at_its_owner_or_here() {
    let (nodes, groups) = three(PlacementKind::Slots).await;
    let seen = groups[0].whereabouts("Tom").await.unwrap();
    let (owner, other) = (at_rank(&nodes, &seen, 0), at_rank(&nodes, &seen, 1));
    for (loads, removes) in [(owner, owner), (owner, other), (other, other), (other, owner)] {
        assert!(!groups[removes].remove_held("Tom").await.unwrap());
        groups[loads].get("Tom").await.unwrap();
        assert!(groups[removes].remove_held("Tom").await.unwrap(), "{loads} {removes}");
        assert_eq!(groups[removes].holding("Tom").await.unwrap(), None);
    }
}

#[tokio::test]
async fn a_walk_in_steps_gives_every_key_of_this_node_once() {
    let cluster = Cluster::local().start().await.unwrap();
    let group = open(&cluster);
    assert_eq!((group.entries(), group.scan(0, 10)), (0, (Vec::new(), None)));
    for n in 0..300 {
        group.set(format!("key {n}"), "v").await.unwrap();
    }
    group.remove("key 7").await.unwrap();
    assert_eq!(group.entries(), 299);
    let (mut seen, mut cursor) = (Vec::new(), Some(0));
    while let Some(at) = cursor {
        let (keys, next) = group.scan(at, 20);
        assert!(keys.len() >= 20 || next.is_none());
        seen.extend(keys);
        cursor = next;
    }
    let unique: std::collections::BTreeSet<_> = seen.iter().map(ToString::to_string).collect();
    assert_eq!((seen.len(), unique.len()), (299, 299));
    assert_eq!(cluster.stats().groups[0].gets, 0);
}
