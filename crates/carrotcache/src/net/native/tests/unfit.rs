//! Peers that keep to no rule, or are none to ask.

use super::*;

#[tokio::test]
async fn a_peer_of_another_cluster_is_asked_neither_in_frames_nor_over_http() {
    let peer = Played::start().await;
    let (transport, _) = transport(limits());
    for answer in [
        &b"HTTP/1.1 101 Switching Protocols\r\nupgrade: carrot-frames/1\r\nx-carrot-cluster: test\r\n\r\n"[..],
        b"HTTP/1.1 421 Misdirected Request\r\nx-carrot-outcome: other_cluster\r\nx-carrot-cluster: test\r\n\r\n",
    ] {
        let asking = ask(&transport, &peer, get("k"));
        // The first and the next connection: there was none of HTTP between them.
        let (mut stream, head) = peer.answer(answer).await;
        assert!(head.starts_with("GET /_carrot/frames HTTP/1.1\r\n"), "{head}");
        assert!(head.contains("\r\nx-carrot-cluster: prod\r\n"), "{head}");
        match asking.await.unwrap() {
            Err(error @ PeerError::OtherCluster(_)) => {
                assert!(error.is_unreachable());
                assert_eq!(error.to_string(), "it is of another cluster, \"test\"");
            }
            other => panic!("{other:?}"),
        }
        assert_eq!(stream.read(&mut [0]).await.unwrap(), 0, "nothing is asked on it");
    }
}

/// How one who waited was told that his connection is cut, and what was counted.
async fn is_cut(asking: Asking, stats: &NodeStats, cut: Cut) {
    assert_eq!(broken(asking).await, format!("the connection was cut: {}", cut.as_str()));
    assert_eq!((stats.cuts.snapshot().get(cut), stats.cuts.snapshot().total()), (1, 1));
}

/// The next request has a connection of its own, and is answered.
async fn is_asked_anew(transport: &Arc<NativeTransport>, peer: &Played) {
    let next = ask(transport, peer, get("next"));
    let mut line = peer.line().await;
    let (id, _) = line.hear_get().await;
    line.say_value(id, "1").await;
    assert_eq!(value(next).await, "1");
}

#[tokio::test]
async fn a_peer_that_stops_reading_is_cut_and_what_waits_for_it_is_let_go() {
    let memory = crate::memory::Memory::new(ByteSize::mib(512));
    let peer = Played::start().await;
    let limits = Limits { header_timeout: Duration::from_millis(200), memory: memory.clone(), ..limits() };
    let (transport, stats) = transport(limits);
    let (group, key) = (GroupName::new("g").unwrap(), Key::new(b"k"));
    // More than the system keeps on its way.
    let value = Bytes::from(vec![7; 64 << 20]);
    let set = ask(&transport, &peer, Request::Set { group, key, value, ttl: None });
    let line = peer.line().await;
    let waits = ask(&transport, &peer, get("a"));
    is_cut(set, &stats, Cut::Stalled).await;
    is_cut(waits, &stats, Cut::Stalled).await;
    assert_eq!(memory.snapshot().unwrap().used_bytes, 0);
    is_asked_anew(&transport, &peer).await;
    drop(line);
}

#[tokio::test]
async fn an_answer_that_comes_byte_by_byte_ends_the_connection() {
    let peer = Played::start().await;
    let (transport, stats) = transport(Limits { header_timeout: Duration::from_millis(200), ..limits() });
    let asking = ask(&transport, &peer, get("a"));
    let mut line = peer.line().await;
    let (id, _) = line.hear_get().await;
    let drip = tokio::spawn(async move {
        let mut frame = Vec::new();
        frame::encode(&mut frame, Frame { id, kind: Kind::FOUND, more: false, body: &[0; 60_000] });
        for byte in frame {
            if line.stream.write_all(&[byte]).await.is_err() {
                return;
            }
            clock::sleep(Duration::from_millis(20)).await;
        }
    });
    is_cut(asking, &stats, Cut::Overdue).await;
    is_asked_anew(&transport, &peer).await;
    drip.abort();
}

#[tokio::test]
async fn an_answer_in_parts_that_does_not_end_is_held_for_so_long_and_no_longer() {
    let memory = crate::memory::Memory::new(ByteSize::mib(4));
    let peer = Played::start().await;
    let idle_timeout = Duration::from_millis(200);
    let (transport, stats) = transport(Limits { idle_timeout, memory: memory.clone(), ..limits() });
    let asking = ask(&transport, &peer, get("a"));
    let mut line = peer.line().await;
    let (id, _) = line.hear_get().await;
    line.say(id, Kind::FOUND, true, &[0; 1000]).await;
    // It goes on talking all the while.
    let talk = tokio::spawn(async move {
        loop {
            line.say(7, Kind::PING, false, b"").await;
            if line.hear().await.is_none() {
                return;
            }
        }
    });
    is_cut(asking, &stats, Cut::Overdue).await;
    assert_eq!(memory.snapshot().unwrap().used_bytes, 0);
    talk.await.unwrap();
}

#[tokio::test]
async fn a_list_of_more_members_than_can_be_placed_is_none() {
    let peer = Played::start().await;
    let (transport, _) = transport(limits());
    let asking = ask(&transport, &peer, Request::Members);
    let mut line = peer.line().await;
    let heard = line.hear().await.unwrap();
    assert_eq!(heard.kind, Kind::MEMBERS);
    let names = b"\x0a\0".repeat(crate::placement::MEMBERS_MAX + 1);
    for piece in names.chunks(frame::BODY_MAX) {
        line.say(heard.id, Kind::MEMBERS_ARE, true, piece).await;
    }
    line.say(heard.id, Kind::MEMBERS_ARE, false, b"").await;
    assert_eq!(broken(asking).await, "more members than can be placed");
}
