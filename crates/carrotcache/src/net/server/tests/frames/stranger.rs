//! A live node, strangers that send it frames, and a good peer beside them.

use std::net::SocketAddr;
use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use bytes::Bytes;
use prost::Message;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::sync::Notify;

use crate::clock;
use crate::limits::Limits;
use crate::message::{Change, Found, Reply, Request};
use crate::net::dialect::Dialect;
use crate::net::frame::{self, Frame, Kind};
use crate::net::inbox::Inbox;
use crate::net::listen::{ListenLimits, Listener, Serving};
use crate::net::reached::Answer;
use crate::net::server::{Terms, serve};
use crate::net::upgrade::{self, Hello};
use crate::net::wire::Response;
use crate::net::wire::framed::{GetKeys, Words};
use crate::stats::{Cut, NodeStats};
use crate::units::{ByteSize, Key};
use crate::value::Value;

/// A value that goes in many frames.
pub(super) const LARGE: usize = 1 << 20;

/// One that just goes in one.
pub(super) const SOME: usize = 60_000;

pub(super) fn limits() -> Limits {
    let short = Duration::from_secs(1);
    Limits {
        value: ByteSize::mib(2),
        key: ByteSize::bytes(100),
        header_timeout: short,
        idle_timeout: short,
        ..Limits::default()
    }
}

pub(super) fn found(value: impl Into<Bytes>) -> Reply {
    Reply::Found(Found {
        value: Value::from(value.into()),
        ttl: None,
        age: Duration::ZERO,
        loaded: false,
        node: Arc::from("a"),
        minute_qps: None,
        view: None,
    })
}

/// A node whose answers are known, and what happened on it.
pub(super) struct Node {
    pub(super) port: Serving,
    pub(super) stats: Arc<NodeStats>,
    /// Gets of `hang` that wait now.
    pub(super) hanging: Arc<AtomicUsize>,
    /// Lets one of them go.
    pub(super) gate: Arc<Notify>,
    /// Gets of `some`.
    pub(super) some: Arc<AtomicUsize>,
}

/// One wait, counted for as long as it lasts.
pub(super) struct Hanging(Arc<AtomicUsize>);

impl Drop for Hanging {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}

impl Node {
    pub(super) async fn start(limits: Limits) -> Self {
        let (hanging, gate) = (Arc::new(AtomicUsize::new(0)), Arc::new(Notify::new()));
        let (waits, opens, some) = (hanging.clone(), gate.clone(), Arc::<AtomicUsize>::default());
        let counted = some.clone();
        let answer: Answer = Arc::new(move |request| {
            let (waits, opens, counted) = (waits.clone(), opens.clone(), counted.clone());
            Box::pin(async move {
                match request {
                    Request::Get { key, .. } if key.as_bytes().starts_with(b"hang") => {
                        waits.fetch_add(1, Ordering::Relaxed);
                        let _hanging = Hanging(waits);
                        opens.notified().await;
                        match key.as_bytes() {
                            b"hang" => found("late"),
                            b"hang large" => found(vec![7; LARGE]),
                            key => found(Bytes::copy_from_slice(key)),
                        }
                    }
                    Request::Get { key, .. } if key.as_bytes() == b"large" => found(vec![7; LARGE]),
                    Request::Get { key, .. } if key.as_bytes() == b"some" => {
                        counted.fetch_add(1, Ordering::Relaxed);
                        found(vec![7; SOME])
                    }
                    Request::Get { key, .. } if key.as_bytes() == b"none" => Reply::NotFound,
                    Request::Get { key, .. } => found(Bytes::copy_from_slice(key.as_bytes())),
                    Request::GetMany { keys, .. } => {
                        let answer = |key: &Key| match key.as_bytes() {
                            b"none" => Reply::NotFound,
                            b"large" => found(vec![7; LARGE]),
                            key => found(Bytes::copy_from_slice(key)),
                        };
                        Reply::Many(keys.iter().map(answer).collect())
                    }
                    Request::Set { value, .. } => Reply::LoadFailed(format!("{} bytes", value.len()).into()),
                    Request::Change { change: Change::Set { value, .. }, .. } => {
                        Reply::LoadFailed(format!("{} bytes", value.len()).into())
                    }
                    Request::Change { change, .. } => Reply::Changed(change == Change::Remove),
                    Request::Remove { .. } | Request::Clear { .. } => Reply::Done,
                    Request::Held { .. } => Reply::Held(None),
                    Request::Id => Reply::Id(Arc::from("an-id")),
                    Request::Members => Reply::Members(vec![Arc::from("a"), Arc::from("b")]),
                }
            })
        });
        let stats: Arc<NodeStats> = Arc::default();
        let listener =
            Listener::bind("127.0.0.1:0".parse().unwrap(), ListenLimits::from(&limits)).await.unwrap();
        let hello = Hello { node: Arc::from("a"), id: Arc::from("an-id"), cluster: None };
        let terms = Terms {
            dialect: Dialect::Native,
            limits,
            stats: stats.clone(),
            dropped_ttl: Arc::default(),
            hello,
            frames: true,
        };
        Self { port: serve(listener, answer, terms), stats, hanging, gate, some }
    }

    pub(super) fn address(&self) -> SocketAddr {
        self.port.address()
    }

    pub(super) fn cuts(&self, cut: Cut) -> u64 {
        self.stats.cuts.snapshot().get(cut)
    }

    pub(super) async fn until_hanging(&self, count: usize) {
        while self.hanging.load(Ordering::Relaxed) != count {
            tokio::task::yield_now().await;
        }
    }
}

/// The body of a GET.
pub(super) fn keys_of(keys: &[&'static str]) -> Vec<u8> {
    let keys = keys.iter().map(|key| Bytes::from_static(key.as_bytes())).collect();
    GetKeys { group: "g".to_owned(), keys, ..GetKeys::default() }.encode_to_vec()
}

/// A connection on which a test writes what it likes.
pub(super) struct Stranger {
    pub(super) stream: TcpStream,
    pub(super) inbox: Inbox,
}

#[derive(Debug, PartialEq)]
pub(super) struct Seen {
    pub(super) id: u64,
    pub(super) kind: Kind,
    pub(super) more: bool,
    pub(super) body: Vec<u8>,
}

impl Stranger {
    pub(super) async fn connect(node: &Node) -> Self {
        Self::connect_to(node.address()).await
    }

    pub(super) async fn connect_to(address: SocketAddr) -> Self {
        let mut stream = TcpStream::connect(address).await.unwrap();
        let hello = Hello { node: Arc::from("stranger"), id: Arc::from("1"), cluster: None };
        stream.write_all(&upgrade::request("a", &hello)).await.unwrap();
        let mut read = Vec::new();
        let taken = loop {
            assert!(stream.read_buf(&mut read).await.unwrap() > 0);
            if let Some((answer, taken)) = upgrade::read(&read, None) {
                assert_eq!(answer, upgrade::Answer::Yes { node: Arc::from("a") });
                break taken;
            }
        };
        Self { stream, inbox: Inbox::new(&read[taken..]) }
    }

    pub(super) async fn send(&mut self, id: u64, kind: Kind, more: bool, body: &[u8]) {
        let mut out = Vec::new();
        frame::encode(&mut out, Frame { id, kind, more, body });
        // The node may have hung up.
        let _ = self.stream.write_all(&out).await;
    }

    pub(super) async fn get(&mut self, id: u64, keys: &[&'static str]) {
        self.send(id, Kind::GET, false, &keys_of(keys)).await;
    }

    /// Frames that the node reads together.
    pub(super) async fn send_together(&mut self, frames: &[(u64, Kind, &[u8])]) {
        let mut out = Vec::new();
        for &(id, kind, body) in frames {
            frame::encode(&mut out, Frame { id, kind, more: false, body });
        }
        self.stream.write_all(&out).await.unwrap();
    }

    /// The next frame, or `None` when the node hangs up.
    pub(super) async fn next(&mut self) -> Option<Seen> {
        loop {
            if let Some(Frame { id, kind, more, body }) = self.inbox.next().unwrap() {
                return Some(Seen { id, kind, more, body: body.to_vec() });
            }
            let read = clock::timeout(Duration::from_secs(30), self.inbox.read(&mut self.stream));
            match read.await.expect("neither a frame nor an end") {
                Ok(1..) => {}
                Ok(0) | Err(_) => return None,
            }
        }
    }

    /// The next frame's id and kind, and the text in it.
    pub(super) async fn text(&mut self) -> (u64, Kind, String) {
        let seen = self.next().await.expect("an answer");
        (seen.id, seen.kind, Words::decode(&*seen.body).unwrap().text)
    }

    pub(super) async fn value(&mut self) -> (u64, Bytes) {
        let seen = self.next().await.expect("an answer");
        assert_eq!(seen.kind, Kind::FOUND);
        (seen.id, Response::decode(&*seen.body).unwrap().into_found(&Arc::from("")).value.into())
    }

    /// Whether the node hangs up, without another word.
    pub(super) async fn is_cut(&mut self) -> bool {
        self.next().await.is_none()
    }
}

/// Asks over and over until it is ended; every answer has to be right.
pub(super) struct GoodPeer {
    pub(super) stop: Arc<Notify>,
    pub(super) task: tokio::task::JoinHandle<u64>,
}

impl GoodPeer {
    pub(super) fn start(node: &Node) -> Self {
        let stop = Arc::new(Notify::new());
        let (stopped, address) = (stop.clone(), node.address());
        let task = tokio::spawn(async move {
            let mut stopped = pin!(stopped.notified());
            for answers in 0.. {
                // On a connection of its own, so that no pause of a busy machine is taken for idleness.
                let asking = async {
                    let mut peer = Stranger::connect_to(address).await;
                    peer.get(1, &["good"]).await;
                    assert_eq!(peer.value().await, (1, Bytes::from("good")));
                };
                tokio::select! {
                    biased;
                    () = stopped.as_mut() => return answers,
                    () = asking => {}
                }
            }
            0
        });
        Self { stop, task }
    }

    pub(super) async fn end(self) {
        self.stop.notify_one();
        assert!(self.task.await.unwrap() > 0);
    }
}
