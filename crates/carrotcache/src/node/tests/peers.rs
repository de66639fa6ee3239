//! What a node knows of its peers: their share of the keys, whether they rest, how they were asked.

use super::*;
use crate::error::WriteError;
use crate::peers::{PeerRequests, PeerState};
use crate::stats::FetchOutcome;

fn asked(node: &Node, name: &str) -> Option<PeerRequests> {
    node.peers().into_iter().find(|peer| *peer.member.name == *name).unwrap().asked
}

#[tokio::test(start_paused = true)]
async fn the_members_shares_are_all_keys_and_a_node_does_not_ask_itself() {
    let town = Town::of(&["a", "b", "c"]);
    let peers = town.nodes[1].peers();
    let seen: Vec<_> = peers.iter().map(|peer| (&*peer.member.name, peer.asked.is_none())).collect();
    assert_eq!(seen, [("a", false), ("b", true), ("c", false)]);
    assert!((peers.iter().map(|peer| peer.share).sum::<f64>() - 1.0).abs() < 1e-9);
    assert!(peers.iter().all(|peer| (0.3..0.36).contains(&peer.share)), "{peers:?}");
}

#[tokio::test(start_paused = true)]
async fn requests_to_a_peer_are_counted_and_timed_save_those_whose_caller_went_away() {
    let town = Town::of(&["a", "b"]);
    let groups = town.open(&with_hot(Hot::Off), &Origin::taking(A_SECOND));
    let untried = asked(&town.nodes[0], "b").unwrap();
    assert_eq!((untried.state, untried.requests, untried.seconds.count), (PeerState::Untried, 0, 0));

    let key = key(&groups[0], &["b"]);
    groups[0].get(&key).await.unwrap();
    groups[0].get(&key).await.unwrap();
    groups[0].remove(&key).await.unwrap();
    let after = asked(&town.nodes[0], "b").unwrap();
    assert_eq!((after.state, after.failures, after.requests), (PeerState::Up, 0, 3));
    assert_eq!((after.seconds.count, after.seconds.sum_seconds), (3, 1.0));

    town.wires.set("b", Health::Hangs);
    let in_haste = Ask::default().cached_only().within(Duration::from_millis(5));
    assert!(groups[0].answer(&key, in_haste).await.is_err());
    let after = asked(&town.nodes[0], "b").unwrap();
    assert_eq!((after.requests, after.seconds.count), (4, 3));
    assert_eq!(asked(&town.nodes[1], "a").unwrap().state, PeerState::Untried, "b asked nobody");
}

#[tokio::test(start_paused = true)]
async fn a_peer_that_rests_is_told_with_its_failures_and_what_is_left_of_its_rest() {
    let town = Town::of(&["a", "b"]);
    let groups = town.open(&Settings::default(), &Origin::prompt());
    // Another key each time: what stands in for the owner has the last one.
    let keys: Vec<_> = keys(&groups[0], &["b"]).take(5).collect();
    town.wires.set("b", Health::Down);
    for key in &keys[..3] {
        groups[0].get(key).await.unwrap();
    }
    town.pass(Duration::from_millis(200));
    let resting = asked(&town.nodes[0], "b").unwrap();
    let wait = Duration::from_millis(300);
    assert_eq!((resting.state, resting.failures), (PeerState::Resting { wait }, 3));
    // What it is spared while it rests is no request.
    let before = resting.requests;
    groups[0].get(&keys[3]).await.unwrap();
    assert_eq!(asked(&town.nodes[0], "b").unwrap().requests, before);
    town.pass(A_SECOND);
    let due = asked(&town.nodes[0], "b").unwrap();
    assert_eq!(due.state, PeerState::Resting { wait: Duration::ZERO });
    town.wires.set("b", Health::Up);
    groups[0].get(&keys[4]).await.unwrap();
    let back = asked(&town.nodes[0], "b").unwrap();
    assert_eq!((back.state, back.failures, back.requests), (PeerState::Up, 0, before + 1));
}

#[tokio::test(start_paused = true)]
async fn what_cannot_be_said_to_a_peer_is_no_request_and_no_sign_of_its_life() {
    let town = Town::of(&["a", "b"]);
    town.wires.gets_alone.store(true, Ordering::Relaxed);
    let groups = town.open(&Settings::default(), &Origin::prompt());
    let keys: Vec<_> = keys(&groups[0], &["b"]).take(4).collect();
    town.wires.set("b", Health::Down);
    for (failures, key) in (1..).zip(&keys[..3]) {
        groups[0].get(key).await.unwrap();
        assert!(matches!(groups[0].remove(key).await, Err(WriteError::Unsupported { .. })));
        let in_memory = groups[0].answer(&keys[3], Ask::default().cached_only()).await;
        assert!(matches!(in_memory, Err(GetError::NotCached { .. })), "{in_memory:?}");
        let seen = asked(&town.nodes[0], "b").unwrap();
        assert_eq!(
            (seen.failures, seen.requests, seen.seconds.count),
            (failures, failures.into(), failures.into())
        );
    }
    // Now it rests, and that it still cannot be told so is as true as before.
    town.pass(A_SECOND);
    assert!(matches!(groups[0].set(&keys[3], "set").await, Err(WriteError::Unsupported { .. })));
    let due = PeerState::Resting { wait: Duration::ZERO };
    assert_eq!(asked(&town.nodes[0], "b").unwrap().state, due, "nobody has tried it");
    let fetches = groups[0].stats().fetches;
    assert_eq!((fetches.get(FetchOutcome::Unreachable), fetches.get(FetchOutcome::Refused)), (3, 0));
}
