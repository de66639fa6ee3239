//! Peers asked in frames: good ones, older ones, and ones that break the rules.

use std::collections::VecDeque;

use bytes::Bytes;
use prost::Message;
use tokio::net::TcpListener;
use tokio::sync::oneshot;

use super::*;
use crate::net::frame::{self, Frame, Kind};
use crate::net::inbox::Inbox;
use crate::net::wire::Answers;
use crate::net::wire::framed::{GetKeys, SetKey, Words};
use crate::peers::Sent;
use crate::stats::Cut;
use crate::units::{ByteSize, GroupName, Key};

mod abandoned;
mod lines;
mod unfit;

fn limits() -> Limits {
    Limits { value: ByteSize::mib(1), connect_timeout: Duration::from_secs(10), ..Limits::default() }
}

fn transport(limits: Limits) -> (Arc<NativeTransport>, Arc<NodeStats>) {
    let stats: Arc<NodeStats> = Arc::default();
    let hello = Hello { node: Arc::from("me"), id: Arc::from("1"), cluster: Some(Arc::from("prod")) };
    (Arc::new(NativeTransport::new(limits, hello, stats.clone())), stats)
}

fn get(key: &str) -> Request {
    let (group, key) = (GroupName::new("g").unwrap(), Key::new(key.as_bytes()));
    Request::Get { group, key, stand_in: false, cached_only: false }
}

fn soon() -> Instant {
    clock::now() + Duration::from_secs(30)
}

/// A peer that a test plays by hand.
struct Played {
    listener: TcpListener,
    member: Member,
}

/// A connection of its.
struct Conversation {
    stream: TcpStream,
    inbox: Inbox,
}

#[derive(Debug)]
struct Heard {
    id: u64,
    kind: Kind,
    more: bool,
    body: Vec<u8>,
}

impl Played {
    async fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let authority = listener.local_addr().unwrap().to_string().into();
        Self { listener, member: Member { name: Arc::from("peer"), authority } }
    }

    /// Accepts, reads a head, and answers this.
    async fn answer(&self, answer: &[u8]) -> (TcpStream, String) {
        let (mut stream, _) = self.listener.accept().await.unwrap();
        let mut head = Vec::new();
        while !head.ends_with(b"\r\n\r\n") {
            assert!(stream.read_buf(&mut head).await.unwrap() > 0);
        }
        stream.write_all(answer).await.unwrap();
        (stream, String::from_utf8(head).unwrap())
    }

    /// Accepts, and gives frames.
    async fn line(&self) -> Conversation {
        let yes = b"HTTP/1.1 101 Switching Protocols\r\nconnection: upgrade\r\nupgrade: carrot-frames/1\r\n\
            x-carrot-node: peer\r\n\r\n";
        let (stream, head) = self.answer(yes).await;
        assert!(head.starts_with("GET /_carrot/frames HTTP/1.1\r\n"), "{head}");
        Conversation { stream, inbox: Inbox::new(b"") }
    }
}

impl Conversation {
    async fn hear(&mut self) -> Option<Heard> {
        loop {
            if let Some(Frame { id, kind, more, body }) = self.inbox.next().unwrap() {
                return Some(Heard { id, kind, more, body: body.to_vec() });
            }
            let read = clock::timeout(Duration::from_secs(30), self.inbox.read(&mut self.stream));
            match read.await.expect("neither a frame nor an end") {
                Ok(1..) => {}
                Ok(0) | Err(_) => return None,
            }
        }
    }

    /// The next get's first id and its keys.
    async fn hear_get(&mut self) -> (u64, Vec<String>) {
        let heard = self.hear().await.expect("a get");
        assert_eq!(heard.kind, Kind::GET);
        let keys = GetKeys::decode(&*heard.body).unwrap().keys;
        (heard.id, keys.iter().map(|key| String::from_utf8(key.to_vec()).unwrap()).collect())
    }

    async fn say(&mut self, id: u64, kind: Kind, more: bool, body: &[u8]) {
        let mut out = Vec::new();
        frame::encode(&mut out, Frame { id, kind, more, body });
        let _ = self.stream.write_all(&out).await;
    }

    async fn say_value(&mut self, id: u64, value: &str) {
        self.say(id, Kind::FOUND, false, &response(value.as_bytes())).await;
    }
}

/// A `Response` of this value alone.
fn response(value: &[u8]) -> Vec<u8> {
    let mut body = vec![0x0a];
    prost::encoding::encode_varint(value.len() as u64, &mut body);
    body.extend_from_slice(value);
    body
}

type Asking = tokio::task::JoinHandle<Result<Reply, PeerError>>;

fn ask(transport: &Arc<NativeTransport>, peer: &Played, what: Request) -> Asking {
    let (transport, member) = (transport.clone(), peer.member.clone());
    tokio::spawn(async move { transport.ask(&member, what, soon()).await })
}

async fn value(asking: Asking) -> String {
    match asking.await.unwrap() {
        Ok(Reply::Found(found)) => String::from_utf8(found.value.to_vec()).unwrap(),
        other => panic!("{other:?}"),
    }
}

async fn broken(asking: Asking) -> String {
    match asking.await.unwrap() {
        Err(PeerError::Broken(why)) => why.to_string(),
        other => panic!("{other:?}"),
    }
}

#[tokio::test]
async fn many_are_asked_on_one_connection_and_answered_in_any_order() {
    let peer = Played::start().await;
    let (transport, _) = transport(limits());
    let asked: Vec<_> = (0..100).map(|n| ask(&transport, &peer, get(&n.to_string()))).collect();
    let mut line = peer.line().await;
    let (mut keys, mut frames) = (VecDeque::new(), 0);
    while keys.len() < 100 {
        let (id, together) = line.hear_get().await;
        frames += 1;
        keys.extend((id..).zip(together));
    }
    // One who is alone does not wait for others; what waits together goes together.
    assert!(frames < 10, "{frames} frames");
    while let Some((id, key)) = keys.pop_back() {
        line.say_value(id, &format!("value of {key}")).await;
    }
    for (n, asking) in asked.into_iter().enumerate() {
        assert_eq!(value(asking).await, format!("value of {n}"));
    }
}

#[tokio::test]
async fn many_keys_are_asked_for_in_one_message_however_long() {
    let peer = Played::start().await;
    let (transport, _) = transport(limits());
    let keys: Vec<Key> = (0..1000).map(|n| Key::new(format!("{n:0100}").as_bytes())).collect();
    let what = Request::GetMany {
        group: GroupName::new("g").unwrap(),
        keys: keys.clone(),
        stand_in: true,
        cached_only: false,
    };
    let asking = ask(&transport, &peer, what);
    let mut line = peer.line().await;
    let mut body = Vec::new();
    let id = loop {
        let heard = line.hear().await.expect("a get");
        assert_eq!(heard.kind, Kind::GET_MANY);
        body.extend(heard.body);
        if !heard.more {
            break heard.id;
        }
    };
    let asked = GetKeys::decode(&*body).unwrap();
    assert_eq!((&*asked.group, asked.stand_in, asked.cached_only), ("g", true, false));
    assert!(asked.keys.iter().map(|key| &key[..]).eq(keys.iter().map(Key::as_bytes)));
    let replies: Vec<Reply> = keys.iter().map(|_| Reply::NotFound).collect();
    line.say(id, Kind::MANY, false, &Answers::from(replies).encode_to_vec()).await;
    match asking.await.unwrap() {
        Ok(Reply::Many(replies)) => assert_eq!(replies.len(), 1000),
        other => panic!("{other:?}"),
    }
}

#[tokio::test]
async fn a_value_is_the_peers_unless_it_says_whose_it_is() {
    let peer = Played::start().await;
    let (transport, _) = transport(limits());
    let asking = ask(&transport, &peer, get("k"));
    let mut line = peer.line().await;
    let (id, _) = line.hear_get().await;
    line.say_value(id, "v").await;
    let Ok(Reply::Found(found)) = asking.await.unwrap() else { panic!() };
    assert_eq!(&*found.node, "peer");
}

#[tokio::test]
async fn a_peer_without_frames_is_asked_over_http_and_not_asked_for_them_again() {
    let peer = Played::start().await;
    let (transport, stats) = transport(limits());
    let asking = ask(&transport, &peer, get("k"));
    let (_stream, _) = peer.answer(b"HTTP/1.1 400 Bad Request\r\ncontent-length: 0\r\n\r\n").await;
    let no = b"HTTP/1.1 404 Not Found\r\nx-carrot-outcome: not_found\r\ncontent-length: 0\r\n\r\n";
    let (mut stream, head) = peer.answer(no).await;
    assert!(head.starts_with("GET /_carrot/g/k HTTP/1.1\r\n"), "{head}");
    assert!(matches!(asking.await.unwrap(), Ok(Reply::NotFound)));
    // On the connection that is kept, and without another handshake.
    let asking = ask(&transport, &peer, get("j"));
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        assert!(stream.read_buf(&mut head).await.unwrap() > 0);
    }
    assert!(head.starts_with(b"GET /_carrot/g/j HTTP/1.1\r\n"));
    stream.write_all(no).await.unwrap();
    assert!(matches!(asking.await.unwrap(), Ok(Reply::NotFound)));
    assert_eq!(stats.cuts.snapshot().total(), 0);
}

#[tokio::test]
async fn a_peer_that_does_not_say_whether_it_has_frames_is_asked_over_http() {
    let peer = Played::start().await;
    let (transport, _) = transport(Limits { connect_timeout: Duration::from_millis(100), ..limits() });
    let asking = ask(&transport, &peer, get("k"));
    let (silent, _) = peer.answer(b"").await;
    let (_stream, head) = peer
        .answer(b"HTTP/1.1 404 Not Found\r\nx-carrot-outcome: not_found\r\ncontent-length: 0\r\n\r\n")
        .await;
    assert!(head.starts_with("GET /_carrot/g/k HTTP/1.1\r\n"), "{head}");
    assert!(matches!(asking.await.unwrap(), Ok(Reply::NotFound)));
    drop(silent);
}

#[tokio::test]
async fn a_peer_that_cannot_be_reached_is_told_from_one_that_breaks() {
    let peer = Played::start().await;
    let (transport, _) = transport(limits());
    let asking = ask(&transport, &peer, get("k"));
    let mut line = peer.line().await;
    line.hear_get().await;
    drop(line);
    // It was made for this request: there is no second try.
    broken(asking).await;
    let Played { listener, member } = peer;
    drop(listener);
    let reply = transport.ask(&member, get("k"), soon()).await;
    assert!(matches!(reply, Err(PeerError::Connect(_))), "{reply:?}");
}

#[tokio::test]
async fn a_kept_connection_that_the_peer_has_closed_costs_no_request() {
    let peer = Played::start().await;
    let (transport, _) = transport(limits());
    let first = ask(&transport, &peer, get("a"));
    let mut line = peer.line().await;
    let (id, _) = line.hear_get().await;
    line.say_value(id, "1").await;
    assert_eq!(value(first).await, "1");
    let second = ask(&transport, &peer, get("b"));
    line.hear_get().await;
    drop(line);
    let mut line = peer.line().await;
    let (id, keys) = line.hear_get().await;
    assert_eq!(keys, ["b"]);
    line.say_value(id, "2").await;
    assert_eq!(value(second).await, "2");
}

#[tokio::test]
async fn a_peer_that_drains_answers_what_it_was_asked_and_is_dialled_for_more() {
    let peer = Played::start().await;
    let (transport, _) = transport(limits());
    let first = ask(&transport, &peer, get("a"));
    let mut line = peer.line().await;
    let (id, _) = line.hear_get().await;
    line.say(0, Kind::DRAIN, false, b"").await;
    // A pong says that the drain has been heard.
    line.say(9, Kind::PING, false, b"").await;
    assert_eq!(line.hear().await.unwrap().kind, Kind::PONG);
    let second = ask(&transport, &peer, get("b"));
    let mut next = peer.line().await;
    line.say_value(id, "1").await;
    assert_eq!(value(first).await, "1");
    assert!(line.hear().await.is_none());
    let (id, _) = next.hear_get().await;
    next.say_value(id, "2").await;
    assert_eq!(value(second).await, "2");
}

#[tokio::test]
async fn whoever_stops_waiting_has_the_request_cancelled_and_a_late_answer_harms_nobody() {
    let peer = Played::start().await;
    let (transport, stats) = transport(limits());
    let gone = ask(&transport, &peer, get("gone"));
    let mut line = peer.line().await;
    let (id, _) = line.hear_get().await;
    gone.abort();
    let cancel = line.hear().await.unwrap();
    assert_eq!((cancel.id, cancel.kind), (id, Kind::CANCEL));
    line.say_value(id, "late").await;
    let stays = ask(&transport, &peer, get("stays"));
    let (id, _) = line.hear_get().await;
    line.say_value(id, "1").await;
    assert_eq!(value(stays).await, "1");
    assert_eq!(stats.cuts.snapshot().total(), 0);
}

#[tokio::test]
async fn an_answer_that_nobody_asked_for_ends_the_connection() {
    for twice in [false, true] {
        let peer = Played::start().await;
        let (transport, stats) = transport(limits());
        let first = ask(&transport, &peer, get("a"));
        let mut line = peer.line().await;
        let (id, _) = line.hear_get().await;
        let second = ask(&transport, &peer, get("b"));
        line.hear_get().await;
        if twice {
            line.say_value(id, "1").await;
            line.say_value(id, "1").await;
            // Both may come with one read, of which nothing is believed then.
            let _ = first.await.unwrap();
        } else {
            line.say(id + 77, Kind::DONE, true, b"").await;
            assert_eq!(broken(first).await, "the connection was cut: unasked");
        }
        assert_eq!(broken(second).await, "the connection was cut: unasked");
        assert!(line.hear().await.is_none());
        assert_eq!(stats.cuts.snapshot().get(Cut::Unasked), 1);
    }
}

#[tokio::test]
async fn what_is_no_frame_and_a_frame_that_does_not_end_break_the_connection() {
    for (bytes, cut) in [
        (&u32::MAX.to_le_bytes()[..], Cut::Malformed),
        (b"HTTP/1.1 200 OK", Cut::Malformed),
        (b"\x20\0\0", Cut::Overdue),
    ] {
        let peer = Played::start().await;
        let (transport, stats) = transport(Limits { header_timeout: Duration::from_millis(200), ..limits() });
        let asking = ask(&transport, &peer, get("a"));
        let mut line = peer.line().await;
        line.hear_get().await;
        line.stream.write_all(bytes).await.unwrap();
        assert_eq!(broken(asking).await, format!("the connection was cut: {}", cut.as_str()));
        assert_eq!(stats.cuts.snapshot().get(cut), 1);
    }
}

#[tokio::test]
async fn an_answer_that_is_none_to_what_was_asked_is_broken_and_others_are_not() {
    let peer = Played::start().await;
    let (transport, _) = transport(limits());
    let first = ask(&transport, &peer, get("a"));
    let mut line = peer.line().await;
    let (id, _) = line.hear_get().await;
    let words = Words { text: "an-id".to_owned() }.encode_to_vec();
    line.say(id, Kind::ID_IS, false, &words).await;
    assert_eq!(broken(first).await, "kind 140 is no answer to kind 1");
    for (kind, body) in [(Kind(255), &b""[..]), (Kind::FOUND, b"\xff")] {
        let next = ask(&transport, &peer, get("b"));
        let (id, _) = line.hear_get().await;
        line.say(id, kind, false, body).await;
        broken(next).await;
    }
    let last = ask(&transport, &peer, get("c"));
    let (id, _) = line.hear_get().await;
    line.say(id, Kind::BUSY, false, &Words { text: "full".to_owned() }.encode_to_vec()).await;
    assert!(matches!(last.await.unwrap(), Ok(Reply::Busy(why)) if &*why == "full"));
}

#[tokio::test]
async fn a_large_value_comes_in_pieces_and_one_over_the_limit_is_dropped_as_it_comes() {
    let memory = crate::memory::Memory::new(ByteSize::mib(4));
    let peer = Played::start().await;
    let (transport, _) = transport(Limits { memory: memory.clone(), ..limits() });
    let used = || memory.snapshot().unwrap().used_bytes;
    let fits = ask(&transport, &peer, get("fits"));
    let mut line = peer.line().await;
    let (id, _) = line.hear_get().await;
    let body = response(&[b'x'; 1 << 20]);
    for piece in body.chunks(frame::BODY_MAX) {
        line.say(id, Kind::FOUND, true, piece).await;
    }
    line.say(id, Kind::FOUND, false, b"").await;
    let Ok(Reply::Found(found)) = fits.await.unwrap() else { panic!() };
    assert_eq!((found.value.len(), used()), (1 << 20, body.len() as u64));
    drop(found);
    assert_eq!(used(), 0);
    let over = ask(&transport, &peer, get("over"));
    let (id, _) = line.hear_get().await;
    for _ in 0..100 {
        line.say(id, Kind::FOUND, true, &[0; frame::BODY_MAX]).await;
    }
    line.say(id, Kind::FOUND, false, b"").await;
    assert_eq!(broken(over).await, "a reply over the limit");
    assert_eq!(used(), 0);
}

#[tokio::test]
async fn past_what_may_wait_for_one_peer_it_counts_as_busy() {
    let peer = Played::start().await;
    let (transport, _) = transport(Limits { waiting_per_peer: 2, ..limits() });
    let first = ask(&transport, &peer, get("a"));
    let mut line = peer.line().await;
    let (one, _) = line.hear_get().await;
    let second = ask(&transport, &peer, get("b"));
    let (two, _) = line.hear_get().await;
    let third = transport.ask(&peer.member, get("c"), soon()).await;
    assert!(matches!(third, Err(PeerError::Busy(2))), "{third:?}");
    line.say_value(one, "1").await;
    line.say_value(two, "2").await;
    assert_eq!((value(first).await, value(second).await), ("1".to_owned(), "2".to_owned()));
}

#[tokio::test]
async fn a_connection_on_which_no_sign_of_life_comes_is_given_up() {
    let peer = Played::start().await;
    let (transport, stats) = transport(limits());
    let waits = ask(&transport, &peer, get("a"));
    let mut line = peer.line().await;
    line.hear_get().await;
    let hurry = clock::now() + Duration::from_millis(50);
    let probe = transport.ask(&peer.member, Request::Id, hurry).await;
    assert!(matches!(probe, Err(PeerError::Timeout(_))), "{probe:?}");
    assert_eq!(broken(waits).await, "the connection was cut: silent");
    assert_eq!(stats.cuts.snapshot().get(Cut::Silent), 1);
    // The next request has a new one.
    let next = ask(&transport, &peer, get("b"));
    let mut line = peer.line().await;
    let (id, _) = line.hear_get().await;
    line.say_value(id, "1").await;
    assert_eq!(value(next).await, "1");
}

#[tokio::test]
async fn a_set_of_a_large_value_goes_in_pieces_and_a_get_passes_it() {
    let peer = Played::start().await;
    let (transport, _) = transport(limits());
    let (group, key) = (GroupName::new("g").unwrap(), Key::new(b"k"));
    // More than the system keeps on its way.
    let value_sent = Bytes::from(vec![7; 64 << 20]);
    let set = ask(&transport, &peer, Request::Set { group, key, value: value_sent.clone(), ttl: None });
    let mut line = peer.line().await;
    let (mut pieces, mut asked, mut is_passed) = (Vec::new(), None, false);
    loop {
        let heard = line.hear().await.unwrap();
        if heard.kind == Kind::GET {
            is_passed = true;
            line.say_value(heard.id, "1").await;
            continue;
        }
        assert_eq!(heard.kind, Kind::SET);
        pieces.extend(heard.body);
        if asked.is_none() {
            asked = Some(ask(&transport, &peer, get("a")));
        }
        if !heard.more {
            line.say(heard.id, Kind::DONE, false, b"").await;
            break;
        }
    }
    assert!(is_passed);
    assert_eq!(value(asked.unwrap()).await, "1");
    assert!(matches!(set.await.unwrap(), Ok(Reply::Done)));
    assert_eq!(SetKey::decode(&*pieces).unwrap().value, value_sent);
}

#[tokio::test]
async fn a_peer_that_is_let_go_of_is_hung_up_on_once_it_has_answered() {
    let peer = Played::start().await;
    let (transport, _) = transport(limits());
    let asking = ask(&transport, &peer, get("a"));
    let mut line = peer.line().await;
    let (id, _) = line.hear_get().await;
    transport.retain(&[]);
    line.say_value(id, "1").await;
    assert_eq!(value(asking).await, "1");
    assert!(line.hear().await.is_none());
}
