//! Connections of frames as strangers use them, each beside a good peer on a live node that gets every answer.

use std::time::Duration;

use bytes::Bytes;
use prost::Message;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use crate::clock;
use crate::limits::Limits;
use crate::memory::Memory;
use crate::message::{Change, ExpireIf, Life, Reply, SetIf};
use crate::net::frame::{self, Frame, Kind};
use crate::net::inbox::Inbox;
use crate::net::wire::framed::{GetKeys, OneKey, SetKey};
use crate::net::wire::{Answers, ChangeKey, ChangeRequest, Changed, Members, Response};
use crate::stats::{Cut, Refusal};
use crate::units::ByteSize;

mod stranger;
mod unread;
use stranger::*;

#[tokio::test]
async fn each_request_is_answered_under_its_id() {
    let node = Node::start(limits()).await;
    let mut peer = Stranger::connect(&node).await;
    peer.get(10, &["one", "none", "two"]).await;
    assert_eq!(peer.value().await, (10, Bytes::from("one")));
    assert_eq!(peer.text().await, (11, Kind::NOT_FOUND, String::new()));
    assert_eq!(peer.value().await, (12, Bytes::from("two")));
    let one = OneKey { group: "g".to_owned(), key: Bytes::from_static(b"k") }.encode_to_vec();
    peer.send(1, Kind::REMOVE, false, &one).await;
    assert_eq!(peer.text().await, (1, Kind::DONE, String::new()));
    peer.send(2, Kind::HELD, false, &one).await;
    assert_eq!(peer.text().await, (2, Kind::HELD_IS, String::new()));
    peer.send(3, Kind::ID, false, b"").await;
    assert_eq!(peer.text().await, (3, Kind::ID_IS, "an-id".to_owned()));
    peer.send(4, Kind::PING, false, b"").await;
    assert_eq!(peer.text().await, (4, Kind::PONG, String::new()));
    peer.send(5, Kind::MEMBERS, false, b"").await;
    let seen = peer.next().await.unwrap();
    assert_eq!(
        (seen.kind, Members::decode(&*seen.body).unwrap().names),
        (Kind::MEMBERS_ARE, vec!["a".into(), "b".into()])
    );
}

#[tokio::test]
async fn many_keys_are_answered_together_in_their_order() {
    let node = Node::start(limits()).await;
    let mut peer = Stranger::connect(&node).await;
    let ask = |group: &str, keys: &[&'static str]| {
        let keys = keys.iter().map(|key| Bytes::from_static(key.as_bytes())).collect();
        GetKeys { group: group.to_owned(), keys, ..GetKeys::default() }.encode_to_vec()
    };
    for (id, keys) in [(1, &["one", "none", "two"][..]), (2, &["one", "large", "two"]), (3, &[])] {
        peer.send(id, Kind::GET_MANY, false, &ask("g", keys)).await;
        let (mut body, mut frames) = (Vec::new(), 0);
        loop {
            let seen = peer.next().await.expect("an answer");
            assert_eq!((seen.id, seen.kind), (id, Kind::MANY));
            body.extend(seen.body);
            frames += 1;
            if !seen.more {
                break;
            }
        }
        let values = Answers::decode(&*body)
            .unwrap()
            .into_replies(&std::sync::Arc::from(""))
            .unwrap()
            .into_iter()
            .map(|reply| match reply {
                Reply::Found(found) => found.value.to_vec(),
                other => other.to_string().into_bytes(),
            });
        let expected = keys.iter().map(|key| match *key {
            "none" => b"not found".to_vec(),
            "large" => vec![7; LARGE],
            key => key.as_bytes().to_vec(),
        });
        assert!(values.eq(expected), "{keys:?}");
        assert_eq!(frames > 1, keys.contains(&"large"));
    }
    peer.send(4, Kind::GET_MANY, false, &ask("a b", &["one"])).await;
    assert_eq!(peer.text().await, (4, Kind::NO_GROUP, String::new()));
    peer.send(5, Kind::GET_MANY, false, b"\xff").await;
    assert_eq!(peer.next().await.map(|seen| (seen.id, seen.kind)), Some((5, Kind::BAD_REQUEST)));
    peer.send(6, Kind::GET_MANY, false, &ask("g", &["k"; Limits::KEYS_MAX + 1])).await;
    let more = "more than 16384 keys in one request".to_owned();
    assert_eq!(peer.text().await, (6, Kind::TOO_LARGE, more));
    peer.send(7, Kind::GET, false, &ask("g", &["k"; 1025])).await;
    assert_eq!(peer.text().await, (7, Kind::TOO_LARGE, "more than 1024 keys in one GET".to_owned()));
    assert_eq!(node.stats.refusals.snapshot().get(Refusal::Malformed), 3);
}

#[tokio::test]
async fn a_change_and_a_clear_are_answered_and_what_is_no_change_is_refused() {
    let limits = limits();
    let most = usize::try_from(limits.value.as_u64()).unwrap();
    let node = Node::start(limits).await;
    let mut peer = Stranger::connect(&node).await;
    let change = |key: &'static str, what: Change, value: Vec<u8>| {
        let (change, _) = ChangeRequest::from(what).without_value();
        let (group, key) = ("g".to_owned(), Bytes::from_static(key.as_bytes()));
        ChangeKey { group, key, change: Some(change), value: value.into() }.encode_to_vec()
    };
    let set = || Change::Set { value: Bytes::new(), life: Life::OfGroup, only: SetIf::Absent };
    let expire = Change::Expire { life: Life::OfGroup, only: ExpireIf::Always };
    for (id, what, changed) in [(1, Change::Remove, true), (2, expire, false)] {
        peer.send(id, Kind::CHANGE, false, &change("k", what, Vec::new())).await;
        let seen = peer.next().await.unwrap();
        assert_eq!((seen.id, seen.kind), (id, Kind::CHANGED));
        assert_eq!(Changed::decode(&*seen.body).unwrap().changed, changed);
    }
    peer.send(3, Kind::CLEAR, false, &OneKey { group: "g".to_owned(), key: Bytes::new() }.encode_to_vec())
        .await;
    assert_eq!(peer.text().await, (3, Kind::DONE, String::new()));
    peer.send(4, Kind::CHANGE, false, &change("k", set(), vec![7; 3])).await;
    assert_eq!(peer.text().await, (4, Kind::LOAD_FAILED, "3 bytes".to_owned()));
    // In parts, and one byte too long.
    let long = change("k", set(), vec![7; most + 1]);
    let parts: Vec<_> = long.chunks(frame::BODY_MAX).collect();
    for (at, part) in parts.iter().enumerate() {
        peer.send(5, Kind::CHANGE, at + 1 < parts.len(), part).await;
    }
    let over = format!("value of {} bytes is over the limit of {most}", most + 1);
    assert_eq!(peer.text().await, (5, Kind::TOO_LARGE, over));
    let unknown = ChangeKey { group: "g".to_owned(), ..ChangeKey::default() }.encode_to_vec();
    for (id, kind, body, why) in [
        (6, Kind::CHANGE, &unknown[..], "a change that is not known"),
        (7, Kind::CHANGE, &change("", Change::Remove, Vec::new()), "key is required"),
        (8, Kind::CHANGE, b"\xff", ""),
        (9, Kind::CLEAR, b"\xff", ""),
    ] {
        peer.send(id, kind, false, body).await;
        let (seen, kind, text) = peer.text().await;
        assert_eq!((seen, kind), (id, Kind::BAD_REQUEST));
        assert!(text == why || why.is_empty(), "{text}");
    }
    peer.send(10, Kind::CLEAR, false, b"").await;
    assert_eq!(peer.text().await, (10, Kind::NO_GROUP, String::new()));
}

#[tokio::test]
async fn what_is_not_known_or_makes_no_sense_is_refused_under_its_id() {
    let node = Node::start(limits()).await;
    let mut peer = Stranger::connect(&node).await;
    for kind in [0, 11, 63] {
        peer.send(1, Kind(kind), false, b"whatever").await;
        assert_eq!(peer.text().await, (1, Kind::UNSUPPORTED, String::new()));
    }
    // A notice that is not known is passed over.
    peer.send(2, Kind(100), false, b"whatever").await;
    peer.send(3, Kind::GET, false, b"\xff").await;
    let (id, kind, why) = peer.text().await;
    assert_eq!((id, kind), (3, Kind::BAD_REQUEST));
    assert!(why.starts_with("the body is no message of kind 1: "), "{why}");
    let get = |group: &str, key: &[u8]| {
        let keys = vec![Bytes::copy_from_slice(key)];
        GetKeys { group: group.to_owned(), keys, ..GetKeys::default() }.encode_to_vec()
    };
    peer.send(4, Kind::GET, false, &get("a b", b"k")).await;
    assert_eq!(peer.text().await, (4, Kind::NO_GROUP, String::new()));
    peer.send(5, Kind::GET, false, &get("g", b"")).await;
    assert_eq!(peer.text().await, (5, Kind::BAD_REQUEST, "key is required".to_owned()));
    let none = GetKeys { group: "g".to_owned(), ..GetKeys::default() }.encode_to_vec();
    peer.send(7, Kind::GET, false, &none).await;
    assert_eq!(peer.text().await, (7, Kind::BAD_REQUEST, "a GET without a key".to_owned()));
    peer.send(6, Kind::GET, false, &get("g", &[b'k'; 101])).await;
    assert_eq!(
        peer.text().await,
        (6, Kind::TOO_LARGE, "key of 101 bytes is over the limit of 100".to_owned())
    );
}

#[tokio::test]
async fn what_waits_holds_up_nothing_and_is_answered_when_it_can_be() {
    let node = Node::start(Limits { idle_timeout: Duration::from_secs(60), ..limits() }).await;
    let mut peer = Stranger::connect(&node).await;
    peer.get(1, &["hang", "one", "hang"]).await;
    peer.send(4, Kind::PING, false, b"").await;
    assert_eq!(peer.value().await, (2, Bytes::from("one")));
    assert_eq!(peer.text().await, (4, Kind::PONG, String::new()));
    node.until_hanging(2).await;
    // Longer than any look at the clock: what waits is not idle.
    peer.get(5, &["two"]).await;
    assert_eq!(peer.value().await, (5, Bytes::from("two")));
    node.gate.notify_one();
    assert_eq!(peer.value().await.1, "late");
    node.gate.notify_one();
    assert_eq!(peer.value().await.1, "late");
}

#[tokio::test]
async fn a_request_that_is_cancelled_is_dropped_and_answered_once() {
    let node = Node::start(limits()).await;
    let mut peer = Stranger::connect(&node).await;
    peer.get(1, &["hang"]).await;
    node.until_hanging(1).await;
    peer.send(1, Kind::CANCEL, false, b"").await;
    assert_eq!(peer.text().await, (1, Kind::CANCELLED, String::new()));
    node.until_hanging(0).await;
    // Answered, or never asked.
    peer.send(1, Kind::CANCEL, false, b"").await;
    peer.send(7, Kind::CANCEL, false, b"").await;
    peer.send(2, Kind::PING, false, b"").await;
    assert_eq!(peer.text().await, (2, Kind::PONG, String::new()));
}

#[tokio::test]
async fn a_deadline_that_was_carried_ends_the_wait() {
    let node = Node::start(limits()).await;
    let mut peer = Stranger::connect(&node).await;
    let keys = vec![Bytes::from_static(b"hang")];
    let get = GetKeys { group: "g".to_owned(), deadline_ms: Some(1), keys, ..GetKeys::default() };
    peer.send(1, Kind::GET, false, &get.encode_to_vec()).await;
    assert_eq!(peer.text().await, (1, Kind::DEADLINE, String::new()));
    node.until_hanging(0).await;
}

#[tokio::test]
async fn a_large_value_comes_in_pieces_and_small_ones_pass_it() {
    let node = Node::start(limits()).await;
    let mut peer = Stranger::connect(&node).await;
    peer.get(1, &["large", "small"]).await;
    let (mut body, mut at, mut frames) = (Vec::new(), None, 0);
    loop {
        let seen = peer.next().await.unwrap();
        frames += 1;
        if seen.id == 2 {
            at = Some(frames);
            continue;
        }
        assert_eq!((seen.id, seen.kind), (1, Kind::FOUND));
        body.extend(seen.body);
        if !seen.more {
            break;
        }
    }
    assert_eq!(at, Some(1));
    assert!(frames > LARGE / frame::BODY_MAX);
    assert_eq!(
        Response::decode(&*body).unwrap().into_found(&std::sync::Arc::from("")).value,
        vec![7; LARGE][..]
    );
}

#[tokio::test]
async fn a_set_in_pieces_is_taken_whole_and_one_over_the_limit_refused() {
    let node = Node::start(limits()).await;
    let mut peer = Stranger::connect(&node).await;
    for (id, length, kind, text) in [
        (1, 100, Kind::LOAD_FAILED, "100 bytes"),
        (2, LARGE, Kind::LOAD_FAILED, "1048576 bytes"),
        (3, 2 << 20, Kind::LOAD_FAILED, "2097152 bytes"),
        (4, (2 << 20) + 1, Kind::TOO_LARGE, "value of 2097153 bytes is over the limit of 2097152"),
        (5, 3 << 20, Kind::TOO_LARGE, "value of 2162688 bytes is over the limit of 2097152"),
    ] {
        let (group, key, value) = ("g".to_owned(), Bytes::from_static(b"k"), vec![1; length].into());
        let body = SetKey { group, key, ttl_ms: None, value }.encode_to_vec();
        let last = body.len().div_ceil(frame::BODY_MAX) - 1;
        for (n, piece) in body.chunks(frame::BODY_MAX).enumerate() {
            peer.send(id, Kind::SET, n < last, piece).await;
        }
        let (answered, answer, why) = peer.text().await;
        assert_eq!((answered, answer), (id, kind));
        // How much had come when it was refused is where the limit lies within a frame.
        assert!(why == text || (id == 5 && why.ends_with("is over the limit of 2097152")), "{why}");
    }
}

#[tokio::test]
async fn past_a_limit_of_requests_the_answer_is_busy() {
    let node = Node::start(Limits { in_flight_per_connection: 2, in_flight: 3, ..limits() }).await;
    let (mut one, mut other) = (Stranger::connect(&node).await, Stranger::connect(&node).await);
    one.get(1, &["hang", "hang", "hang"]).await;
    assert_eq!(one.text().await, (3, Kind::BUSY, "2 requests from peers in flight".to_owned()));
    other.get(1, &["hang", "hang"]).await;
    assert_eq!(other.text().await, (2, Kind::BUSY, "3 requests from peers in flight".to_owned()));
    assert_eq!(node.stats.refusals.snapshot().get(Refusal::InFlight), 2);
    node.gate.notify_waiters();
    for _ in 0..2 {
        assert_eq!(one.value().await.1, "late");
    }
    one.get(4, &["one"]).await;
    assert_eq!(one.value().await, (4, Bytes::from("one")));
}

#[tokio::test]
async fn what_is_no_frame_ends_the_connection_and_no_other() {
    let node = Node::start(limits()).await;
    let good = GoodPeer::start(&node);
    let longest = u32::try_from(frame::BODY_MAX + 10).unwrap();
    let flagged = [&10u32.to_le_bytes()[..], &[0; 8], &[1, 2]].concat();
    let nothing = [&10u32.to_le_bytes()[..], &[0; 8], &[128, 0]].concat();
    for (bytes, cut) in [
        (u32::MAX.to_le_bytes().to_vec(), Cut::Malformed),
        ((longest + 1).to_le_bytes().to_vec(), Cut::Malformed),
        (9u32.to_le_bytes().to_vec(), Cut::Malformed),
        (flagged, Cut::Malformed),
        (b"GET / HTTP/1.1\r\n\r\n".to_vec(), Cut::Malformed),
        // An answer, where nothing was asked.
        (nothing, Cut::Unasked),
    ] {
        let (mut peer, before) = (Stranger::connect(&node).await, node.cuts(cut));
        peer.stream.write_all(&bytes).await.unwrap();
        assert!(peer.is_cut().await, "{}", bytes.escape_ascii());
        assert_eq!(node.cuts(cut), before + 1);
    }
    good.end().await;
}

#[tokio::test]
async fn an_id_that_is_taken_and_a_message_that_changes_its_kind_end_the_connection() {
    let node = Node::start(limits()).await;
    let good = GoodPeer::start(&node);
    let mut peer = Stranger::connect(&node).await;
    peer.get(1, &["hang"]).await;
    peer.get(1, &["hang"]).await;
    assert!(peer.is_cut().await);
    // Its requests went with it.
    node.until_hanging(0).await;
    let mut peer = Stranger::connect(&node).await;
    peer.send(1, Kind::SET, true, b"a").await;
    peer.send(1, Kind::REMOVE, false, b"b").await;
    assert!(peer.is_cut().await);
    // Nor may it be the id of a later key of a get, which goes without one in its frame.
    let mut peer = Stranger::connect(&node).await;
    peer.get(2, &["hang"]).await;
    peer.get(1, &["a", "hang"]).await;
    assert!(peer.is_cut().await);
    node.until_hanging(0).await;
    assert_eq!((node.cuts(Cut::Unasked), node.cuts(Cut::Malformed)), (2, 1));
    good.end().await;
}

#[tokio::test]
async fn an_id_is_taken_until_the_last_of_its_answer_has_gone_out() {
    let node = Node::start(limits()).await;
    // In one read, so that no piece of the large value has gone out.
    let frames = |frames: &[(u64, Kind, &[&'static str])]| {
        let mut out = Vec::new();
        for (id, kind, keys) in frames {
            let keys = keys.iter().map(|key| Bytes::from_static(key.as_bytes())).collect::<Vec<_>>();
            let get = GetKeys { group: "g".to_owned(), keys, ..GetKeys::default() }.encode_to_vec();
            let body = if *kind == Kind::GET { &get[..] } else { b"" };
            frame::encode(&mut out, Frame { id: *id, kind: *kind, more: false, body });
        }
        out
    };
    for (cuts, second) in [(1, (3, Kind::ID, &[][..])), (2, (2, Kind::GET, &["a", "b"][..]))] {
        let mut peer = Stranger::connect(&node).await;
        peer.stream.write_all(&frames(&[(3, Kind::GET, &["large"]), second])).await.unwrap();
        assert!(peer.is_cut().await);
        assert_eq!(node.cuts(Cut::Unasked), cuts);
    }
    // One that is cancelled is free again, and so are those beside it.
    let mut peer = Stranger::connect(&node).await;
    let gets = [
        (3, Kind::GET, &["large"][..]),
        (1, Kind::GET, &["a", "b"]),
        (4, Kind::GET, &["c"]),
        (3, Kind::CANCEL, &[]),
        (3, Kind::GET, &["d"]),
    ];
    peer.stream.write_all(&frames(&gets)).await.unwrap();
    for (id, value) in [(1, "a"), (2, "b"), (4, "c")] {
        assert_eq!(peer.value().await, (id, Bytes::from(value)));
    }
    assert_eq!(peer.text().await, (3, Kind::CANCELLED, String::new()));
    assert_eq!(peer.value().await, (3, Bytes::from("d")));
}

#[tokio::test]
async fn silence_where_something_is_due_ends_the_connection() {
    let node = Node::start(Limits { idle_timeout: Duration::from_millis(1500), ..limits() }).await;
    let good = GoodPeer::start(&node);
    // No frame at all; half a frame; the first part of a message.
    let mut frame = Vec::new();
    frame::encode(&mut frame, Frame { id: 1, kind: Kind::SET, more: true, body: b"a part" });
    for (n, bytes) in (1..).zip([&b""[..], &frame[..10], &frame]) {
        let mut peer = Stranger::connect(&node).await;
        peer.stream.write_all(bytes).await.unwrap();
        assert!(peer.is_cut().await);
        assert_eq!(node.cuts(Cut::Overdue), n);
    }
    good.end().await;
}

#[tokio::test]
async fn a_frame_that_comes_byte_by_byte_ends_the_connection() {
    let node = Node::start(limits()).await;
    let good = GoodPeer::start(&node);
    let peer = Stranger::connect(&node).await;
    let (mut reader, mut writer) = peer.stream.into_split();
    let drip = tokio::spawn(async move {
        let mut frame = Vec::new();
        frame::encode(&mut frame, Frame { id: 1, kind: Kind::SET, more: false, body: &[0; 60_000] });
        for byte in frame {
            if writer.write_all(&[byte]).await.is_err() {
                return;
            }
            clock::sleep(Duration::from_millis(20)).await;
        }
    });
    let mut inbox = Inbox::new(b"");
    let ended = clock::timeout(Duration::from_secs(30), inbox.read(&mut reader)).await.expect("an end");
    assert!(matches!(ended, Ok(0) | Err(_)));
    drip.abort();
    assert_eq!(node.cuts(Cut::Overdue), 1);
    good.end().await;
}

#[tokio::test]
async fn a_peer_that_stops_reading_is_cut_and_what_waits_for_it_is_bounded() {
    let memory = Memory::new(ByteSize::mib(64));
    let node = Node::start(Limits { memory: memory.clone(), ..limits() }).await;
    let good = GoodPeer::start(&node);
    let mut peer = Stranger::connect(&node).await;
    let asking = async {
        for id in (0..).step_by(4) {
            peer.get(id, &["large", "one", "large", "two"]).await;
            // Half of what peers may have together, which is a quarter of the memory, and one value; and what is short.
            assert!(memory.snapshot().unwrap().used_bytes <= (8 << 20) + LARGE as u64 + (2 << 20));
            if node.cuts(Cut::Stalled) > 0 {
                return;
            }
        }
    };
    clock::timeout(Duration::from_secs(30), asking).await.expect("the connection is cut");
    assert!(node.stats.refusals.snapshot().get(Refusal::InFlight) > 0);
    good.end().await;
}

#[tokio::test]
async fn an_idle_peer_is_told_to_go_and_one_that_stays_is_let_go_of() {
    let node = Node::start(limits()).await;
    let mut peer = Stranger::connect(&node).await;
    peer.get(1, &["one"]).await;
    assert_eq!(peer.value().await.0, 1);
    assert_eq!(peer.next().await.unwrap().kind, Kind::DRAIN);
    // What crosses with that is answered.
    peer.get(2, &["two"]).await;
    assert_eq!(peer.value().await, (2, Bytes::from("two")));
    assert!(peer.is_cut().await);
    // In good order.
    assert_eq!(node.stats.cuts.snapshot().total(), 0);
}

#[tokio::test]
async fn a_node_that_stops_lets_every_answer_out() {
    let node = Node::start(Limits { idle_timeout: Duration::from_secs(60), ..limits() }).await;
    let mut peer = Stranger::connect(&node).await;
    peer.get(1, &["hang"]).await;
    node.until_hanging(1).await;
    let Node { port, gate, .. } = node;
    let stop = tokio::spawn(port.stop(Duration::from_secs(30)));
    assert_eq!(peer.next().await.unwrap().kind, Kind::DRAIN);
    gate.notify_one();
    assert_eq!(peer.value().await, (1, Bytes::from("late")));
    drop(peer);
    assert_eq!(stop.await.unwrap(), 0);
}

#[tokio::test]
async fn frames_are_had_by_a_get_with_an_upgrade_alone() {
    let node = Node::start(limits()).await;
    for (request, status) in [
        ("GET /_carrot/frames HTTP/1.1\r\nhost: a\r\n\r\n", "400"),
        (
            "GET /_carrot/frames HTTP/1.1\r\nhost: a\r\nconnection: upgrade\r\nupgrade: carrot-frames/2\r\n\r\n",
            "400",
        ),
        (
            "PUT /_carrot/frames HTTP/1.1\r\nhost: a\r\nconnection: upgrade\r\nupgrade: carrot-frames/1\r\n\r\n",
            "405",
        ),
    ] {
        let mut stream = TcpStream::connect(node.address()).await.unwrap();
        stream.write_all(request.as_bytes()).await.unwrap();
        let mut head = [0; 12];
        stream.read_exact(&mut head).await.unwrap();
        assert_eq!(&head[9..], status.as_bytes());
    }
}
