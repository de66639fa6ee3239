//! A cluster of which one peer breaks the rules of frames: who asks beside it gets every answer, or is told in time.
//!
//! Each cluster is two nodes and a peer that is played by hand, over real sockets of the loopback.

#![cfg(feature = "http")]
#![allow(clippy::unwrap_used, reason = "in a test a panic is the report")]

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use carrotcache::{
    Ask, BoxError, Cluster, ClusterBuilder, Cut, FetchOutcome, GetError, Group, Key, Limits, WriteError,
};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinHandle;

/// What peers call the kinds of frames that are played.
const FOUND: u8 = 128;
const DONE: u8 = 129;

/// A frame, as docs/protocol.md has it.
fn frame(id: u64, kind: u8, body: &[u8]) -> Vec<u8> {
    let length = u32::try_from(body.len() + 10).unwrap();
    [&length.to_le_bytes()[..], &id.to_le_bytes(), &[kind, 0], body].concat()
}

/// A `Response` whose value is that of every key.
fn found(id: u64) -> Vec<u8> {
    frame(id, FOUND, b"\x0a\x01v")
}

/// What the peer does with a connection, and the id of the first request on it.
#[derive(Clone, Copy)]
enum Breach {
    /// Answers what was not asked.
    Unasked,
    /// Answers twice.
    Twice,
    /// Says that 4 GiB come.
    FourGib,
    /// Answers each request with a kind that nobody knows.
    UnknownKind,
    /// Begins an answer.
    HalfAFrame,
    /// Answers byte by byte.
    Drip,
    /// Reads no more, and says nothing.
    Still,
    /// Reads all, and says nothing.
    Mute,
}

impl Breach {
    async fn play(self, mut stream: TcpStream, id: u64) {
        let bytes = match self {
            Self::Unasked => frame(id + 77, DONE, b""),
            Self::Twice => [found(id), found(id)].concat(),
            Self::FourGib => vec![0xff; 4],
            Self::UnknownKind => {
                let mut asked = Ok(id);
                while let Ok(id) = asked {
                    let _ = stream.write_all(&frame(id, 255, b"")).await;
                    asked = heard(&mut stream).await;
                }
                return;
            }
            Self::HalfAFrame => found(id)[..7].to_vec(),
            Self::Drip => {
                for byte in frame(id, FOUND, &[0; 60_000]) {
                    if stream.write_all(&[byte]).await.is_err() {
                        return;
                    }
                    tokio::time::sleep(Duration::from_millis(20)).await;
                }
                return;
            }
            // For as long as the test runs.
            Self::Still => return std::future::pending().await,
            Self::Mute => Vec::new(),
        };
        let _ = stream.write_all(&bytes).await;
        // Until it is hung up on.
        let _ = stream.read_to_end(&mut Vec::new()).await;
    }
}

/// The id of the next frame, which is read whole.
async fn heard(stream: &mut TcpStream) -> std::io::Result<u64> {
    let length = stream.read_u32_le().await?;
    let id = stream.read_u64_le().await?;
    stream.read_exact(&mut vec![0; length as usize - 8]).await?;
    Ok(id)
}

/// Gives frames to whoever asks for them, and does so with each connection.
fn play(listener: TcpListener, breach: Breach) -> JoinHandle<()> {
    tokio::spawn(async move {
        loop {
            let (mut stream, _) = listener.accept().await.unwrap();
            tokio::spawn(async move {
                let mut head = Vec::new();
                while !head.ends_with(b"\r\n\r\n") {
                    if stream.read_buf(&mut head).await.unwrap_or(0) == 0 {
                        return;
                    }
                }
                assert!(head.starts_with(b"GET /_carrot/frames "), "{}", head.escape_ascii());
                let yes = b"HTTP/1.1 101 Switching Protocols\r\nconnection: upgrade\r\n\
                    upgrade: carrot-frames/1\r\nx-carrot-node: played\r\n\r\n";
                let _ = stream.write_all(yes).await;
                // Of a set that is in parts the first, after which nothing is read.
                if let Ok(id) = heard(&mut stream).await {
                    breach.play(stream, id).await;
                }
            });
        }
    })
}

/// Two nodes that have the played peer in their lists, and what the group `g` on each is opened with.
struct Beside {
    nodes: Vec<Cluster>,
    groups: Vec<Group>,
    played: JoinHandle<()>,
}

impl Beside {
    async fn start(breach: Breach, load_deadline: Duration) -> Self {
        Self::start_with(breach, load_deadline, &Limits::default()).await
    }

    async fn start_with(breach: Breach, load_deadline: Duration, limits: &Limits) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let mut urls = vec![format!("http://{}", listener.local_addr().unwrap())];
        let mut limits = limits.clone();
        limits.header_timeout = Duration::from_millis(200);
        limits.value = carrotcache::ByteSize::mib(64);
        let builder =
            || -> ClusterBuilder { Cluster::bind("127.0.0.1:0".parse().unwrap()).limits(limits.clone()) };
        let nodes = vec![builder().start().await.unwrap(), builder().start().await.unwrap()];
        urls.extend(nodes.iter().map(|node| format!("http://{}", node.address().unwrap())));
        let load = |_: Key| async move { Ok::<_, BoxError>(Some("v")) };
        let mut groups = Vec::new();
        for node in &nodes {
            node.set_peers(urls.clone()).await.unwrap();
            let builder = node.group("g").load_deadline(load_deadline);
            groups.push(builder.capacity(carrotcache::ByteSize::mib(512)).open(load).unwrap());
        }
        Self { nodes, groups, played: play(listener, breach) }
    }

    fn cuts(&self, cut: Cut) -> u64 {
        self.nodes[0].stats().cuts.get(cut)
    }

    /// Gets other keys until a connection has been cut so.
    async fn is_cut(&self, cut: Cut) {
        let cut = async {
            let mut n = 0;
            while self.cuts(cut) == 0 {
                // The answer may be anything: some of these keys are the peer's.
                let _ = self.groups[0].get(format!("other {n}")).await;
                n += 1;
            }
        };
        tokio::time::timeout(Duration::from_secs(30), cut).await.expect("a cut");
    }

    fn fetches(&self, outcome: FetchOutcome) -> u64 {
        self.nodes[0].stats().groups[0].fetches.get(outcome)
    }

    /// The other node owns a third of the keys, and serves them.
    async fn good_peer_answers(&self) {
        let mut givers = BTreeSet::new();
        for n in 0..60 {
            if let Ok(answer) = self.groups[0].answer(format!("good {n}"), Ask::default()).await {
                assert_eq!(answer.value, b"v");
                givers.insert(answer.node.to_string());
            }
        }
        for node in &self.nodes {
            assert!(givers.contains(node.name()), "{givers:?}");
        }
    }
}

impl Drop for Beside {
    fn drop(&mut self) {
        self.played.abort();
    }
}

#[tokio::test]
async fn a_peer_that_breaks_the_rules_is_cut_and_counts_as_unreachable_and_every_get_is_answered() {
    for (breach, cut) in [
        (Breach::Unasked, Some(Cut::Unasked)),
        (Breach::Twice, Some(Cut::Unasked)),
        (Breach::FourGib, Some(Cut::Malformed)),
        (Breach::UnknownKind, None),
        (Breach::HalfAFrame, Some(Cut::Overdue)),
        (Breach::Drip, Some(Cut::Overdue)),
    ] {
        let beside = Beside::start(breach, Duration::from_secs(30)).await;
        let mut gets = Vec::new();
        for n in 0..60 {
            let group = beside.groups[n % 2].clone();
            let get = tokio::spawn(async move { group.get(n.to_string()).await });
            // The peer that answers all knows of one key at a time.
            if cut.is_none() {
                assert_eq!(get.await.unwrap().unwrap(), b"v");
            } else {
                gets.push(get);
            }
        }
        for get in gets {
            assert_eq!(get.await.unwrap().unwrap(), b"v");
        }
        assert!(beside.fetches(FetchOutcome::Unreachable) > 0);
        let cuts = beside.nodes[0].stats().cuts;
        match cut {
            Some(cut) => assert!(cuts.get(cut) > 0 && cuts.get(cut) == cuts.total(), "{cuts:?}"),
            None => assert_eq!(cuts.total(), 0),
        }
        beside.good_peer_answers().await;
    }
}

#[tokio::test]
async fn a_peer_that_says_nothing_costs_its_callers_the_deadline_once_and_is_left_alone_then() {
    let beside = Beside::start(Breach::Still, Duration::from_millis(300)).await;
    let gets: Vec<_> = (0..60)
        .map(|n| {
            let group = beside.groups[0].clone();
            tokio::spawn(async move { group.get(n.to_string()).await })
        })
        .collect();
    let (mut answered, mut late) = (0, 0);
    for get in gets {
        match get.await.unwrap() {
            Ok(value) => {
                assert_eq!(value, b"v");
                answered += 1;
            }
            Err(GetError::Deadline { owner: Some(_), .. }) => late += 1,
            Err(other) => panic!("{other}"),
        }
    }
    assert!(answered > 0 && late > 0, "{answered} {late}");
    assert_eq!(beside.fetches(FetchOutcome::Deadline), late);
    // It is asked whether it lives, and its keys have another then.
    beside.is_cut(Cut::Silent).await;
    beside.good_peer_answers().await;
    for n in 0..60 {
        assert_eq!(beside.groups[0].get(n.to_string()).await.unwrap(), b"v");
    }
}

#[tokio::test]
async fn a_peer_that_says_nothing_is_replaced_also_where_as_much_is_asked_of_it_as_may_be() {
    let mut limits = Limits::default();
    limits.waiting_per_peer = 2;
    let beside = Beside::start_with(Breach::Mute, Duration::from_millis(300), &limits).await;
    let mut gets: Vec<_> = (0..60)
        .map(|n| {
            let group = beside.groups[0].clone();
            tokio::spawn(async move { group.get(n.to_string()).await })
        })
        .collect();
    for get in gets.drain(..) {
        match get.await.unwrap() {
            Ok(value) => assert_eq!(value, b"v"),
            Err(GetError::Deadline { owner: Some(_), .. } | GetError::Busy { .. }) => {}
            Err(other) => panic!("{other}"),
        }
    }
    let (busy, late) = (beside.fetches(FetchOutcome::Busy), beside.fetches(FetchOutcome::Deadline));
    assert!(busy > 0 && late > 0, "{busy} {late}");
    beside.is_cut(Cut::Silent).await;
    beside.good_peer_answers().await;
    for n in 0..60 {
        assert_eq!(beside.groups[0].get(n.to_string()).await.unwrap(), b"v");
    }
}

#[tokio::test]
async fn a_peer_that_stops_reading_is_cut_and_a_set_that_it_did_not_take_is_unconfirmed() {
    let beside = Beside::start(Breach::Still, Duration::from_millis(300)).await;
    // More than the system keeps on its way.
    let value: Arc<[u8]> = vec![7; 48 << 20].into();
    let mut unconfirmed = 0;
    for n in 0..1000 {
        if unconfirmed > 0 {
            break;
        }
        let key = n.to_string();
        match beside.groups[0].set(&key, value.to_vec()).await {
            Ok(()) => beside.groups[0].remove(&key).await.unwrap(),
            Err(WriteError::Unconfirmed { .. }) => unconfirmed += 1,
            Err(other) => panic!("{other}"),
        }
    }
    assert_eq!((unconfirmed, beside.cuts(Cut::Stalled)), (1, 1));
    beside.good_peer_answers().await;
}
