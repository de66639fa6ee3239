//! Peers that ask and do not read what they are answered.

use std::sync::atomic::Ordering::Relaxed;

use super::*;

#[tokio::test]
async fn peers_that_read_nothing_leave_most_of_the_memory_to_others() {
    let memory = Memory::new(ByteSize::mib(64));
    let patient = Duration::from_secs(60);
    let node = Node::start(Limits { memory: memory.clone(), header_timeout: patient, ..limits() }).await;
    let mut peers = Vec::new();
    let mut good = Stranger::connect(&node).await;
    // Each may have 8 MiB, and all together 16.
    for nth in 1..=4 {
        let refused = || node.stats.refusals.snapshot().get(Refusal::InFlight);
        let before = refused();
        let mut peer = Stranger::connect(&node).await;
        peer.get(0, &["large"; 40]).await;
        while refused() == before {
            good.get(nth, &["one"]).await;
            assert_eq!(good.value().await, (nth, Bytes::from("one")));
        }
        peers.push(peer);
        assert!(memory.snapshot().unwrap().used_bytes <= 17 << 20);
    }
    drop(peers);
    while memory.snapshot().unwrap().used_bytes > 1 << 20 {
        tokio::task::yield_now().await;
    }
    good.get(9, &["large"]).await;
    let mut is_more = true;
    while is_more {
        let seen = good.next().await.unwrap();
        assert_eq!((seen.id, seen.kind), (9, Kind::FOUND));
        is_more = seen.more;
    }
}

#[tokio::test]
async fn long_answers_are_bounded_also_where_there_are_no_values_in_them() {
    let patient = Duration::from_secs(60);
    let bodies = ByteSize::mib(1);
    let node = Node::start(Limits { bodies, header_timeout: patient, ..limits() }).await;
    let (mut peer, mut good) = (Stranger::connect(&node).await, Stranger::connect(&node).await);
    let keys = vec![Bytes::from_static(b"none"); 8000];
    let many = GetKeys { group: "g".to_owned(), keys, ..GetKeys::default() }.encode_to_vec();
    let refused = || node.stats.refusals.snapshot().get(Refusal::InFlight);
    // The sockets take some of it.
    for id in 0..1000 {
        if refused() > 0 {
            break;
        }
        peer.send(id, Kind::GET_MANY, false, &many).await;
        good.get(id, &["one"]).await;
        assert_eq!(good.value().await, (id, Bytes::from("one")));
    }
    assert!(refused() > 0, "nothing was refused");
}

/// How many keys `some` were looked for once no more are: what is behind them waits.
async fn looked_for(node: &Node, good: &mut Stranger) -> usize {
    let mut asked = 0;
    while asked == 0 || asked != node.some.load(Relaxed) {
        asked = node.some.load(Relaxed);
        good.get(1, &["one"]).await;
        assert_eq!(good.value().await, (1, Bytes::from("one")));
    }
    asked
}

/// A peer whose answers wait: it asks for `first`, then for more than is written to it, and has not read any of it. What
/// comes `then` has been read of it, and waits as well.
async fn unread(
    node: &Node,
    good: &mut Stranger,
    first: &[&'static str],
    then: &[(u64, Kind, &[u8])],
) -> Stranger {
    let mut peer = Stranger::connect(node).await;
    peer.get(0, first).await;
    let much = keys_of(&["some"; 1024]);
    peer.send_together(&[&[(10_000, Kind::GET, &much[..])], then].concat()).await;
    looked_for(node, good).await;
    peer
}

#[tokio::test]
async fn what_lands_while_a_peer_reads_nothing_is_bounded_too() {
    let memory = Memory::new(ByteSize::mib(64));
    let patient = Duration::from_secs(60);
    let node = Node::start(Limits { memory: memory.clone(), header_timeout: patient, ..limits() }).await;
    let mut good = Stranger::connect(&node).await;
    let mut peer = unread(&node, &mut good, &["hang large"; 40], &[]).await;
    node.until_hanging(40).await;
    for _ in 0..40 {
        node.gate.notify_one();
        tokio::task::yield_now().await;
    }
    node.until_hanging(0).await;
    let used = memory.snapshot().unwrap().used_bytes;
    assert!(((15 << 20)..(20 << 20)).contains(&used), "{used}");
    // And each is answered: with a value, or that there was no room.
    let mut answered = 0;
    while answered < 40 {
        let seen = peer.next().await.unwrap();
        answered += usize::from(seen.id < 40 && !seen.more);
    }
    assert!(node.stats.refusals.snapshot().get(Refusal::InFlight) >= 24);
}

#[tokio::test]
async fn an_id_that_is_cancelled_and_taken_again_is_not_answered_for_what_it_was() {
    let patient = Duration::from_secs(60);
    let node = Node::start(Limits { header_timeout: patient, ..limits() }).await;
    let mut good = Stranger::connect(&node).await;
    let again = keys_of(&["hang again"]);
    let then = [(0, Kind::CANCEL, &b""[..]), (0, Kind::GET, &again[..])];
    let mut peer = unread(&node, &mut good, &["hang"], &then).await;
    node.until_hanging(1).await;
    // The first has its answer, which nobody has looked at, when those two are.
    node.gate.notify_one();
    node.until_hanging(0).await;
    loop {
        let seen = peer.next().await.unwrap();
        if seen.id == 0 {
            assert_eq!(seen.kind, Kind::CANCELLED);
            break;
        }
    }
    node.until_hanging(1).await;
    node.gate.notify_one();
    loop {
        let (id, value) = peer.value().await;
        if id == 0 {
            assert_eq!(value, Bytes::from("hang again"));
            break;
        }
    }
}

#[cfg(target_os = "linux")]
#[tokio::test]
async fn what_is_small_waits_for_no_more_of_a_large_value_than_the_sockets_hold_unsent() {
    let patient = Duration::from_secs(60);
    let node = Node::start(Limits { header_timeout: patient, idle_timeout: patient, ..limits() }).await;
    let mut peer = Stranger::connect(&node).await;
    let mut good = Stranger::connect(&node).await;
    peer.get(0, &["large"; 16]).await;
    // By then as much is written as the system takes.
    for id in 0..1000 {
        good.get(id, &["one"]).await;
        assert_eq!(good.value().await, (id, Bytes::from("one")));
    }
    peer.send(5000, Kind::PING, false, b"").await;
    let mut before = 0;
    loop {
        let seen = peer.next().await.unwrap();
        if seen.kind == Kind::PONG {
            break;
        }
        before += seen.body.len();
    }
    assert!(before < 2 * LARGE, "{before} bytes were before it");
}

#[tokio::test]
async fn gets_for_which_there_is_no_room_wait_until_what_is_before_them_is_read() {
    let memory = Memory::new(ByteSize::mib(64));
    let patient = Duration::from_secs(60);
    let node = Node::start(Limits { memory: memory.clone(), header_timeout: patient, ..limits() }).await;
    let mut peer = Stranger::connect(&node).await;
    peer.get(0, &["some"; 1024]).await;
    peer.send(5000, Kind::PING, false, b"").await;
    let mut good = Stranger::connect(&node).await;
    let asked = looked_for(&node, &mut good).await;
    // What the sockets have taken of 60 MB, and a batch or two.
    assert!(asked < 512, "{asked} keys were looked for");
    assert!(memory.snapshot().unwrap().used_bytes < 4 << 20);
    for id in 0..1024 {
        let (seen, value) = peer.value().await;
        assert_eq!((seen, value.len()), (id, SOME));
    }
    assert_eq!(peer.text().await, (5000, Kind::PONG, String::new()));
    assert_eq!(node.stats.refusals.snapshot().total(), 0);
}
