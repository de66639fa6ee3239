//! What nobody waits for any more: it takes no place from others, and a peer that does not answer it is found out.

use super::*;

/// Asks, waits until the peer has heard that, gives up, and waits until it has heard that too. Gives the id.
async fn abandoned(transport: &Arc<NativeTransport>, peer: &Played, line: &mut Conversation) -> u64 {
    let gone = ask(transport, peer, get("gone"));
    let (id, _) = line.hear_get().await;
    gone.abort();
    let cancel = line.hear().await.expect("a cancel");
    assert_eq!((cancel.id, cancel.kind), (id, Kind::CANCEL));
    id
}

/// A peer that was asked once and answered, and the connection.
async fn acquainted(limits: Limits) -> (Played, Arc<NativeTransport>, Arc<NodeStats>, Conversation) {
    let peer = Played::start().await;
    let (transport, stats) = transport(limits);
    let first = ask(&transport, &peer, get("first"));
    let mut line = peer.line().await;
    let (id, _) = line.hear_get().await;
    line.say_value(id, "first").await;
    assert_eq!(value(first).await, "first");
    (peer, transport, stats, line)
}

#[tokio::test]
async fn what_is_abandoned_takes_no_place_from_others_and_its_late_answer_harms_nobody() {
    let (peer, transport, stats, mut line) = acquainted(Limits { waiting_per_peer: 2, ..limits() }).await;
    let late = [abandoned(&transport, &peer, &mut line).await, abandoned(&transport, &peer, &mut line).await];
    let both = [ask(&transport, &peer, get("a")), ask(&transport, &peer, get("b"))];
    let mut asked = VecDeque::new();
    while asked.len() < 2 {
        let (id, keys) = line.hear_get().await;
        asked.extend((id..).zip(keys));
    }
    // One of them in parts, of which nothing is kept.
    line.say(late[0], Kind::FOUND, true, &response(&[7; 60_000])).await;
    line.say(late[0], Kind::FOUND, false, b"").await;
    line.say(late[1], Kind::CANCELLED, false, b"").await;
    for (id, key) in asked {
        line.say_value(id, &format!("value of {key}")).await;
    }
    for (asking, key) in both.into_iter().zip(["a", "b"]) {
        assert_eq!(value(asking).await, format!("value of {key}"));
    }
    assert_eq!(stats.cuts.snapshot().total(), 0);
}

#[tokio::test]
async fn an_answer_to_what_was_abandoned_is_taken_once() {
    let (peer, transport, stats, mut line) = acquainted(limits()).await;
    let id = abandoned(&transport, &peer, &mut line).await;
    line.say(id, Kind::CANCELLED, false, b"").await;
    line.say(id, Kind::CANCELLED, false, b"").await;
    assert!(line.hear().await.is_none());
    assert_eq!(stats.cuts.snapshot().get(Cut::Unasked), 1);
}

#[tokio::test]
async fn a_peer_that_is_full_is_asked_for_a_sign_of_life_and_cut_where_it_gives_none() {
    let peer = Played::start().await;
    let (transport, stats) = transport(Limits { waiting_per_peer: 2, ..limits() });
    let both = [ask(&transport, &peer, get("a")), ask(&transport, &peer, get("b"))];
    let (mut line, mut asked) = (peer.line().await, 0);
    while asked < 2 {
        asked += line.hear_get().await.1.len();
    }
    let third = transport.ask(&peer.member, get("c"), soon()).await;
    assert!(matches!(third, Err(PeerError::Busy(2))), "{third:?}");
    let hurry = clock::now() + Duration::from_millis(50);
    let probe = transport.ask(&peer.member, Request::Id, hurry).await;
    assert!(matches!(probe, Err(PeerError::Timeout(_))), "{probe:?}");
    for asking in both {
        assert_eq!(broken(asking).await, "the connection was cut: silent");
    }
    assert_eq!(line.hear().await.expect("the probe").kind, Kind::ID);
    assert_eq!(stats.cuts.snapshot().get(Cut::Silent), 1);
}

#[tokio::test]
async fn a_peer_that_says_nothing_of_what_was_abandoned_is_cut_as_silent() {
    let idle_timeout = Duration::from_millis(200);
    let (peer, transport, stats, mut line) = acquainted(Limits { idle_timeout, ..limits() }).await;
    abandoned(&transport, &peer, &mut line).await;
    assert!(line.hear().await.is_none());
    assert_eq!((stats.cuts.snapshot().get(Cut::Silent), stats.cuts.snapshot().total()), (1, 1));
}

#[tokio::test]
async fn a_peer_that_has_lost_a_request_is_asked_on_a_new_connection_and_who_waits_on_the_old_is_answered() {
    let idle_timeout = Duration::from_millis(200);
    let (peer, transport, stats, mut line) = acquainted(Limits { idle_timeout, ..limits() }).await;
    abandoned(&transport, &peer, &mut line).await;
    let waits = ask(&transport, &peer, get("waits"));
    let (id, _) = line.hear_get().await;
    // It lives, and says so.
    while stats.cuts.snapshot().get(Cut::Unanswered) == 0 {
        line.say(9, Kind::PING, false, b"").await;
        assert_eq!(line.hear().await.expect("a pong").kind, Kind::PONG);
    }
    let next = ask(&transport, &peer, get("next"));
    let mut anew = peer.line().await;
    let (next_id, _) = anew.hear_get().await;
    anew.say_value(next_id, "2").await;
    assert_eq!(value(next).await, "2");
    line.say_value(id, "1").await;
    assert_eq!(value(waits).await, "1");
    assert!(line.hear().await.is_none(), "nobody waits there any more");
    assert_eq!(stats.cuts.snapshot().total(), 1);
}

#[tokio::test]
async fn a_peer_that_leaves_more_unanswered_than_may_wait_for_it_is_cut() {
    let (peer, transport, stats, mut line) = acquainted(Limits { waiting_per_peer: 2, ..limits() }).await;
    let waits = ask(&transport, &peer, get("waits"));
    line.hear_get().await;
    for _ in 0..2 {
        abandoned(&transport, &peer, &mut line).await;
        line.say(9, Kind::PING, false, b"").await;
        assert_eq!(line.hear().await.expect("a pong").kind, Kind::PONG);
    }
    abandoned(&transport, &peer, &mut line).await;
    assert_eq!(broken(waits).await, "the connection was cut: unanswered");
    assert_eq!((stats.cuts.snapshot().get(Cut::Unanswered), stats.cuts.snapshot().total()), (1, 1));
}

#[tokio::test]
async fn a_peer_that_is_let_go_of_is_hung_up_on_whatever_it_owes_to_those_who_wait_no_more() {
    let (peer, transport, stats, mut line) = acquainted(limits()).await;
    abandoned(&transport, &peer, &mut line).await;
    transport.retain(&[]);
    assert!(line.hear().await.is_none());
    assert_eq!(stats.cuts.snapshot().total(), 0);
}
