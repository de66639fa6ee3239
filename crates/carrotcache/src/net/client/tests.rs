//! The client against a peer port of ours, and against peers that answer with anything but a reply.

use std::net::SocketAddr;
use std::time::Duration;

use bytes::Bytes;
use proptest::prelude::*;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpSocket, TcpStream};
use tokio::sync::{Semaphore, mpsc};

use super::*;
use crate::message::Found;
use crate::net::listen::{ListenLimits, Listener, Serving};
use crate::net::reached::Answer;
use crate::net::reply::TEXT_LIMIT;
use crate::net::server::{Terms, serve};
use crate::net::upgrade::Hello;
use crate::net::wire::family;
use crate::units::{ByteSize, GroupName, Key};

mod connections;
mod many;
mod rows;

fn limits() -> Limits {
    Limits { key: ByteSize::kib(16), value: ByteSize::mib(1), ..Limits::default() }
}

fn member(address: SocketAddr) -> Member {
    named(&address.to_string())
}

fn named(authority: &str) -> Member {
    Member { name: Arc::from(authority), authority: Arc::from(authority) }
}

fn group() -> GroupName {
    GroupName::new("scores").unwrap()
}

fn get(key: &[u8]) -> Request {
    Request::Get { group: group(), key: Key::new(key), stand_in: false, cached_only: false }
}

fn set(value: impl Into<Bytes>) -> Request {
    Request::Set { group: group(), key: Key::from("Tom"), value: value.into(), ttl: None }
}

fn within(span: Duration) -> Instant {
    clock::after(clock::now(), span)
}

fn soon() -> Instant {
    within(Duration::from_secs(60))
}

/// All of a reply, the value's bytes too, which `Debug` leaves out.
fn told(reply: &Reply) -> String {
    match reply {
        Reply::Found(found) => format!("{:?} {:?}", &*found.value, found),
        other => format!("{other:?}"),
    }
}

async fn port(limits: &Limits, answer: impl Fn(Request) -> Reply + Send + Sync + 'static) -> Serving {
    port_of(Dialect::Native, limits, answer).await
}

/// The peer port of a node that speaks `dialect`.
async fn port_of(
    dialect: Dialect,
    limits: &Limits,
    answer: impl Fn(Request) -> Reply + Send + Sync + 'static,
) -> Serving {
    let listener = Listener::bind("127.0.0.1:0".parse().unwrap(), ListenLimits::from(limits)).await.unwrap();
    let answer: Answer = Arc::new(move |request| {
        let reply = answer(request);
        Box::pin(async move { reply })
    });
    let terms = Terms {
        dialect,
        limits: limits.clone(),
        stats: Arc::default(),
        dropped_ttl: Arc::default(),
        hello: Hello { node: Arc::from("a"), id: Arc::from("an-id"), cluster: Some(Arc::from("prod")) },
        frames: true,
    };
    serve(listener, answer, terms)
}

mod with_our_own_peer_port {
    use super::*;

    #[tokio::test]
    async fn every_reply_comes_over_as_it_was_given() {
        let found = Found {
            value: Bytes::from_static(b"\0\xff").into(),
            ttl: Some(Duration::from_secs(5)),
            age: Duration::from_millis(17),
            loaded: true,
            node: Arc::from("käse"),
            minute_qps: Some(0.5),
            view: Some(u64::MAX),
        };
        let why = || Arc::from("why, oh why");
        let replies = [
            Reply::Found(found),
            Reply::Found(family::bare(Bytes::new(), None)),
            Reply::NotFound,
            Reply::NotCached,
            Reply::NoGroup,
            Reply::LoadFailed(why()),
            Reply::Busy(why()),
            Reply::Deadline,
            Reply::TooLarge(why()),
            Reply::BadRequest(why()),
            Reply::NotOwner,
            Reply::Unsupported,
        ];
        let next = Arc::new(Mutex::new(Reply::Done));
        let given = next.clone();
        let port = port(&limits(), move |_| given.lock().unwrap().clone()).await;
        let transport = HttpTransport::new(Dialect::Native, limits());
        let member = member(port.address());
        let check = async |what: Request, reply: &Reply| {
            *next.lock().unwrap() = reply.clone();
            let back = transport.ask(&member, what, soon()).await.unwrap();
            assert_eq!(told(&back), told(reply));
        };
        for reply in &replies {
            check(get(b"Tom"), reply).await;
        }
        for reply in replies[2..].iter().chain([&Reply::Done]) {
            check(set("630"), reply).await;
            check(Request::Remove { group: group(), key: Key::from("Tom") }, reply).await;
        }
        check(Request::Id, &Reply::Id(Arc::from("x1"))).await;
        check(Request::Members, &Reply::Members(vec![Arc::from("a"), Arc::from("")])).await;
        assert_eq!(port.stats().accepted, 1, "one connection serves one caller");
    }

    #[tokio::test]
    async fn every_request_comes_over_as_it_was_made() {
        let heard = Arc::new(Mutex::new(String::new()));
        let hears = heard.clone();
        let port = port(&limits(), move |request| {
            *hears.lock().unwrap() = format!("{request:?}");
            Reply::Unsupported
        })
        .await;
        let transport = HttpTransport::new(Dialect::Native, limits());
        let every_byte: Vec<u8> = (0..=255).collect();
        let mut requests = Vec::new();
        for key in [&b"Tom"[..], b"a b", b"a+b", b"/", b"..", b"\0", &every_byte, &vec![0xff; 16 << 10]] {
            let key = Key::new(key);
            for (stand_in, cached_only) in [(false, false), (true, false), (false, true)] {
                requests.push(Request::Get { group: group(), key: key.clone(), stand_in, cached_only });
            }
            let value = Bytes::from_static(b"\0\xff");
            let ttl = Some(Duration::from_millis(1500));
            requests.push(Request::Set { group: group(), key: key.clone(), value, ttl });
            requests.push(Request::Remove { group: group(), key });
        }
        for request in requests {
            let made = format!("{request:?}");
            transport.ask(&member(port.address()), request, soon()).await.unwrap();
            assert_eq!(*heard.lock().unwrap(), made);
        }
    }

    #[tokio::test]
    async fn values_up_to_the_limit_come_over_whole_both_ways() {
        let limits = limits();
        let length = usize::try_from(limits.value.as_u64()).unwrap();
        let value: Bytes = (0..length).map(|n| u8::try_from(n % 251).unwrap()).collect();
        let (given, expected) = (value.clone(), value.clone());
        let port = port(&limits, move |request| match request {
            Request::Set { value, .. } if value == expected => Reply::Done,
            Request::Get { .. } => Reply::Found(family::bare(given.clone(), None)),
            _ => Reply::Unsupported,
        })
        .await;
        let transport = HttpTransport::new(Dialect::Native, limits.clone());
        let ask = async |what| transport.ask(&member(port.address()), what, soon()).await.unwrap();
        assert!(matches!(ask(set(value.clone())).await, Reply::Done));
        assert!(matches!(ask(get(b"Tom")).await, Reply::Found(found) if *found.value == *value));
        let too_large = vec![0; length + 1];
        assert!(matches!(ask(set(too_large)).await, Reply::TooLarge(_)));
        assert!(matches!(ask(set(vec![0; length + length / 2])).await, Reply::TooLarge(_)));
        assert!(matches!(ask(get(b"Tom")).await, Reply::Found(_)));
    }

    #[tokio::test]
    async fn a_hundred_callers_share_the_connections_allowed_and_all_are_answered() {
        let port = port(&limits(), |request| match request {
            Request::Get { key, .. } => {
                Reply::Found(family::bare(Bytes::copy_from_slice(key.as_bytes()), None))
            }
            _ => Reply::Unsupported,
        })
        .await;
        let limits = Limits { connections_per_peer: 4, ..limits() };
        let transport = Arc::new(HttpTransport::new(Dialect::Native, limits));
        let mut callers = tokio::task::JoinSet::new();
        for n in 0..100 {
            let (transport, member) = (transport.clone(), member(port.address()));
            callers.spawn(async move {
                let key = format!("key {n}");
                let reply = transport.ask(&member, get(key.as_bytes()), soon()).await.unwrap();
                assert!(matches!(reply, Reply::Found(found) if *found.value == *key.as_bytes()));
            });
        }
        while let Some(ended) = callers.join_next().await {
            ended.unwrap();
        }
        assert!(port.stats().accepted <= 4);
    }
}

/// What a peer does on one connection, step by step.
#[derive(Clone, Debug)]
enum Step {
    /// Wait for a whole request without a body.
    Hear,
    Say(Vec<u8>),
    /// The same bytes until the other side hangs up.
    SayForEver(&'static [u8]),
    /// Wait for the test to say so, and read nothing.
    Await,
    /// Wait for the other side to hang up.
    Hold,
}

use Step::{Hear, Hold, SayForEver};

fn say(bytes: impl Into<Vec<u8>>) -> Step {
    Step::Say(bytes.into())
}

/// A good reply of the native row.
fn good() -> Step {
    say("HTTP/1.1 200 OK\r\ncontent-type: application/x-protobuf\r\ncontent-length: 5\r\n\r\n\x0a\x03630")
}

fn is_good(reply: &Result<Reply, PeerError>) -> bool {
    matches!(reply, Ok(Reply::Found(found)) if found.value == b"630")
}

/// A peer that plays one script for each connection, and then hangs up.
struct Peer {
    member: Member,
    /// The number of each connection whose script is over.
    ended: mpsc::UnboundedReceiver<usize>,
    /// A permit for each step that waits for the test.
    go_on: Arc<Semaphore>,
}

impl Peer {
    async fn play(scripts: Vec<Vec<Step>>) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let member = member(listener.local_addr().unwrap());
        let (end, ended) = mpsc::unbounded_channel();
        let go_on = Arc::new(Semaphore::new(0));
        let told = go_on.clone();
        tokio::spawn(async move {
            for (number, script) in scripts.into_iter().enumerate() {
                let (stream, _) = listener.accept().await.unwrap();
                let (end, told) = (end.clone(), told.clone());
                tokio::spawn(async move {
                    play(stream, script, &told).await;
                    let _ = end.send(number);
                });
            }
        });
        Self { member, ended, go_on }
    }
}

async fn play(mut stream: TcpStream, script: Vec<Step>, go_on: &Semaphore) {
    let mut heard = Vec::new();
    for step in script {
        match step {
            Hear => {
                while !heard.windows(4).any(|four| four == b"\r\n\r\n") {
                    if !matches!(stream.read_buf(&mut heard).await, Ok(1..)) {
                        return;
                    }
                }
                heard.clear();
            }
            Step::Say(bytes) => stream.write_all(&bytes).await.unwrap_or_default(),
            SayForEver(bytes) => while stream.write_all(bytes).await.is_ok() {},
            Step::Await => go_on.acquire().await.unwrap().forget(),
            Hold => while matches!(stream.read_buf(&mut heard).await, Ok(1..)) {},
        }
    }
}

mod with_a_peer_that_is_none {
    use super::*;

    /// Asks once and gets `Broken`, asks again and gets the value from the same peer's second connection.
    async fn check_broken(dialect: Dialect, bad: Vec<Step>) {
        let label = format!("{dialect} {bad:.200?}");
        let mut peer = Peer::play(vec![bad, vec![Hear, good(), Hold]]).await;
        let transport = HttpTransport::new(dialect, limits());
        let first = transport.ask(&peer.member, get(b"Tom"), soon()).await;
        assert!(matches!(first, Err(PeerError::Broken(_))), "{label} {first:?}");
        let second = transport.ask(&peer.member, get(b"Tom"), soon()).await;
        assert!(is_good(&second), "{label} {second:?}");
        assert_eq!(peer.ended.recv().await, Some(0), "{label}: the broken connection is closed");
    }

    #[tokio::test]
    async fn whatever_is_no_whole_reply_is_broken_and_its_connection_is_not_used_again() {
        let typed = |rest: &str| {
            say(format!("HTTP/1.1 200 OK\r\ncontent-type: application/x-protobuf\r\n{rest}").into_bytes())
        };
        let bad = [
            vec![Hear],
            vec![Hear, say("garbage\r\n\r\n"), Hold],
            vec![Hear, say(vec![0xff; 1000]), Hold],
            vec![Hear, say("HTTP/1.1 200 OK\r\ncontent-le")],
            vec![Hear, typed("content-length: 5\r\n\r\n\x0a\x0363")],
            vec![Hear, typed("transfer-encoding: chunked\r\n\r\n5\r\n\x0a\x03630\r\n")],
            vec![Hear, typed("transfer-encoding: chunked\r\n\r\nzz\r\n"), Hold],
            vec![Hear, typed("\r\n\x0a\x03630")],
            vec![Hear, typed("content-length: 99999999999\r\n\r\nxx"), Hold],
            vec![Hear, typed("content-length: 99999999999999999999999\r\n\r\nxx"), Hold],
            vec![Hear, typed("content-length: -5\r\n\r\n"), Hold],
            vec![Hear, typed("transfer-encoding: chunked\r\n\r\n"), SayForEver(b"a\r\n0123456789\r\n")],
            vec![Hear, typed("x: "), SayForEver(b"yyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyy")],
            vec![Hear, typed(&"a: b\r\n".repeat(101)), Hold],
            vec![
                Hear,
                say("HTTP/1.1 101 Switching Protocols\r\nupgrade: x\r\nconnection: upgrade\r\n\r\n"),
                Hold,
            ],
            vec![Hear, say("HTTP/2.0 200 OK\r\n\r\n"), Hold],
        ];
        for dialect in [Dialect::Native, Dialect::Golang] {
            for script in &bad {
                check_broken(dialect, script.clone()).await;
            }
        }
    }

    #[tokio::test]
    async fn whole_responses_that_mean_nothing_are_broken_and_the_next_ask_is_well() {
        for bad in [
            &b"HTTP/1.1 302 Found\r\nlocation: /elsewhere\r\ncontent-length: 0\r\n\r\n"[..],
            b"HTTP/1.1 200 OK\r\ncontent-type: application/x-protobuf\r\ncontent-length: 3\r\n\r\n\x0a\x05x",
            b"HTTP/1.1 200 OK\r\ncontent-type: text/html\r\ncontent-length: 0\r\n\r\n",
            b"HTTP/1.1 404 Not Found\r\ncontent-length: 0\r\n\r\n",
            b"HTTP/1.1 204 No Content\r\n\r\n",
        ] {
            let peer =
                Peer::play(vec![vec![Hear, say(bad), Hear, good(), Hold], vec![Hear, good(), Hold]]).await;
            let transport = HttpTransport::new(Dialect::Native, limits());
            let first = transport.ask(&peer.member, get(b"Tom"), soon()).await;
            assert!(matches!(first, Err(PeerError::Broken(_))), "{} {first:?}", bad.escape_ascii());
            assert!(is_good(&transport.ask(&peer.member, get(b"Tom"), soon()).await));
        }
    }

    #[tokio::test]
    async fn what_http_allows_before_and_after_a_reply_is_put_up_with() {
        let early = say("HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 103 Early Hints\r\nlink: x\r\n\r\n");
        let chunked = say(
            "HTTP/1.1 200 OK\r\ncontent-type: application/x-protobuf\r\ntransfer-encoding: chunked\r\n\r\n\
             2;x=y\r\n\x0a\x03\r\n3\r\n630\r\n0\r\ntrailer: z\r\n\r\n",
        );
        let last = say("HTTP/1.1 200 OK\r\ncontent-type: application/x-protobuf\r\nconnection: close\r\n\
             content-length: 5\r\n\r\n\x0a\x03630");
        let peer =
            Peer::play(vec![vec![Hear, early, good(), Hear, chunked, Hear, last], vec![Hear, good()]]).await;
        let transport = HttpTransport::new(Dialect::Native, limits());
        for _ in 0..4 {
            let reply = transport.ask(&peer.member, get(b"Tom"), soon()).await;
            assert!(is_good(&reply), "{reply:?}");
        }
    }

    #[tokio::test]
    async fn what_comes_unasked_after_a_reply_is_never_taken_for_the_next_one() {
        let wrong =
            "HTTP/1.1 200 OK\r\ncontent-type: application/x-protobuf\r\ncontent-length: 3\r\n\r\n\x0a\x01x";
        let Step::Say(reply) = good() else { panic!("it says something") };
        let both = [reply, wrong.as_bytes().to_vec()].concat();
        let peer = Peer::play(vec![vec![Hear, say(both), Hold], vec![Hear, good(), Hold]]).await;
        let transport = HttpTransport::new(Dialect::Native, limits());
        for _ in 0..2 {
            let reply = transport.ask(&peer.member, get(b"Tom"), soon()).await;
            assert!(is_good(&reply), "{reply:?}");
        }
    }

    #[tokio::test]
    async fn a_long_refusal_is_cut_and_the_rest_of_it_not_read() {
        let head = "HTTP/1.1 500 Oh\r\ntransfer-encoding: chunked\r\n\r\n";
        let peer = Peer::play(vec![
            vec![Hear, say(head), SayForEver(b"a\r\n0123456789\r\n")],
            vec![Hear, good(), Hold],
        ])
        .await;
        let transport = HttpTransport::new(Dialect::Golang, limits());
        let reply = transport.ask(&peer.member, get(b"Tom"), soon()).await;
        assert!(matches!(reply, Ok(Reply::LoadFailed(why)) if why.len() == TEXT_LIMIT));
        assert!(is_good(&transport.ask(&peer.member, get(b"Tom"), soon()).await));
    }

    #[tokio::test]
    async fn silence_ends_at_the_deadline_wherever_it_falls() {
        let header =
            "HTTP/1.1 200 OK\r\ncontent-type: application/x-protobuf\r\ncontent-length: 5\r\n\r\n\x0a";
        for silent in
            [vec![Hold], vec![Hear, Hold], vec![Hear, say("HTTP"), Hold], vec![Hear, say(header), Hold]]
        {
            let mut peer = Peer::play(vec![silent, vec![Hear, good(), Hold]]).await;
            let transport =
                HttpTransport::new(Dialect::Native, Limits { connections_per_peer: 1, ..limits() });
            let reply = transport.ask(&peer.member, get(b"Tom"), within(Duration::from_millis(50))).await;
            assert!(matches!(reply, Err(PeerError::Timeout(_))), "{reply:?}");
            assert_eq!(peer.ended.recv().await, Some(0));
            assert!(is_good(&transport.ask(&peer.member, get(b"Tom"), soon()).await));
        }
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(64))]
        #[test]
        fn no_response_whatever_makes_the_client_panic(
            reply in prop::collection::vec(any::<u8>(), 0..500),
            is_http in any::<bool>(),
        ) {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
            let head = if is_http { "HTTP/1.1 200 OK\r\ncontent-type: application/x-protobuf\r\ncontent-length: 400\r\n\r\n" } else { "" };
            runtime.block_on(async {
                let peer = Peer::play(vec![vec![Hear, say([head.as_bytes(), &reply].concat())]]).await;
                let transport = HttpTransport::new(Dialect::Native, limits());
                let _ = transport.ask(&peer.member, get(b"Tom"), soon()).await;
            });
        }
    }
}

mod pool {
    use super::*;

    #[tokio::test]
    async fn a_kept_connection_that_was_closed_meanwhile_is_replaced_without_the_caller_noticing() {
        let peer = Peer::play(vec![vec![Hear, good(), Hear], vec![Hear, good(), Hold]]).await;
        let transport = HttpTransport::new(Dialect::Native, limits());
        for _ in 0..2 {
            let reply = transport.ask(&peer.member, get(b"Tom"), soon()).await;
            assert!(is_good(&reply), "{reply:?}");
        }
    }

    #[tokio::test]
    async fn a_kept_connection_that_breaks_within_its_reply_is_not_tried_again() {
        let peer =
            Peer::play(vec![vec![Hear, good(), Hear, say("HTTP/1.1 2")], vec![Hear, good(), Hold]]).await;
        let transport = HttpTransport::new(Dialect::Native, limits());
        assert!(is_good(&transport.ask(&peer.member, get(b"Tom"), soon()).await));
        let reply = transport.ask(&peer.member, get(b"Tom"), soon()).await;
        assert!(matches!(reply, Err(PeerError::Broken(_))), "{reply:?}");
    }

    #[tokio::test]
    async fn a_second_try_that_fails_as_well_is_the_end_of_it() {
        let peer = Peer::play(vec![vec![Hear, good(), Hear], vec![Hear], vec![Hear, good(), Hold]]).await;
        let transport = HttpTransport::new(Dialect::Native, limits());
        assert!(is_good(&transport.ask(&peer.member, get(b"Tom"), soon()).await));
        let reply = transport.ask(&peer.member, get(b"Tom"), soon()).await;
        assert!(matches!(reply, Err(PeerError::Broken(_))), "{reply:?}");
        assert!(is_good(&transport.ask(&peer.member, get(b"Tom"), soon()).await));
    }

    #[tokio::test]
    async fn past_the_callers_allowed_to_wait_the_peer_is_busy() {
        let mut peer = Peer::play(vec![vec![Hear, Hold], vec![Hear, good(), Hold]]).await;
        let limits = Limits { connections_per_peer: 1, waiting_per_peer: 1, ..limits() };
        let transport = HttpTransport::new(Dialect::Native, limits);
        let mut first = transport.ask(&peer.member, get(b"Tom"), soon());
        let mut second = transport.ask(&peer.member, get(b"Tom"), soon());
        // Each gets as far as it can: the first waits for its reply, the second for the first.
        assert!(futures_pending(&mut first).await && futures_pending(&mut second).await);
        let third = transport.ask(&peer.member, get(b"Tom"), soon()).await;
        assert!(matches!(third, Err(PeerError::Busy(1))), "{third:?}");
        // A caller that goes away takes its connection with it and leaves its place to the next.
        drop(first);
        assert_eq!(peer.ended.recv().await, Some(0));
        assert!(is_good(&second.await));
    }

    /// Polls once; whether there is no result yet.
    async fn futures_pending<T>(future: &mut BoxFuture<'_, T>) -> bool {
        std::future::poll_fn(|cx| std::task::Poll::Ready(future.as_mut().poll(cx).is_pending())).await
    }

    #[tokio::test]
    async fn callers_that_go_away_at_any_moment_leave_all_places_free() {
        let port = port(&limits(), |_| Reply::NotFound).await;
        let limits = Limits { connections_per_peer: 2, waiting_per_peer: 2, ..limits() };
        let transport = HttpTransport::new(Dialect::Native, limits);
        let member = member(port.address());
        for polls in 0..40 {
            let mut asked = transport.ask(&member, get(b"Tom"), soon());
            for _ in 0..polls {
                if !futures_pending(&mut asked).await {
                    break;
                }
                tokio::task::yield_now().await;
            }
            drop(asked);
        }
        assert_eq!(transport.pool(&member).free(), (2, 2));
        let (one, two) = tokio::join!(
            transport.ask(&member, get(b"Tom"), soon()),
            transport.ask(&member, get(b"Tom"), soon())
        );
        assert!(matches!((one, two), (Ok(Reply::NotFound), Ok(Reply::NotFound))));
    }

    #[tokio::test]
    async fn a_connection_that_stays_idle_is_closed_by_us() {
        let mut peer = Peer::play(vec![vec![Hear, good(), Hold], vec![Hear, good(), Hold]]).await;
        let limits = Limits { idle_timeout: Duration::from_millis(30), ..limits() };
        let transport = HttpTransport::new(Dialect::Native, limits);
        assert!(is_good(&transport.ask(&peer.member, get(b"Tom"), soon()).await));
        assert_eq!(peer.ended.recv().await, Some(0));
        assert!(is_good(&transport.ask(&peer.member, get(b"Tom"), soon()).await));
    }

    #[tokio::test]
    async fn a_request_may_take_longer_than_a_connection_may_be_idle() {
        let mut slow = Peer::play(vec![vec![Hear, Hold]]).await;
        let limits = Limits { idle_timeout: Duration::from_millis(20), ..limits() };
        let transport = HttpTransport::new(Dialect::Native, limits);
        let reply = transport.ask(&slow.member, get(b"Tom"), within(Duration::from_millis(200))).await;
        assert!(matches!(reply, Err(PeerError::Timeout(_))), "{reply:?}");
        assert_eq!(slow.ended.recv().await, Some(0));
    }

    #[tokio::test]
    async fn members_that_are_gone_lose_their_connections_and_the_others_keep_theirs() {
        let mut gone = Peer::play(vec![vec![Hear, good(), Hold]]).await;
        let mut stays = Peer::play(vec![vec![Hear, good(), Hear, good(), Hold]]).await;
        let transport = HttpTransport::new(Dialect::Native, limits());
        for peer in [&gone, &stays] {
            assert!(is_good(&transport.ask(&peer.member, get(b"Tom"), soon()).await));
        }
        transport.retain(std::slice::from_ref(&stays.member));
        assert_eq!(gone.ended.recv().await, Some(0));
        assert!(is_good(&transport.ask(&stays.member, get(b"Tom"), soon()).await));
        drop(transport);
        assert_eq!(stays.ended.recv().await, Some(0));
    }

    #[tokio::test]
    async fn a_peer_that_cannot_be_reached_has_not_seen_the_request() {
        let transport = HttpTransport::new(Dialect::Native, limits());
        let free = TcpListener::bind("127.0.0.1:0").await.unwrap().local_addr().unwrap().to_string();
        for authority in
            [free.as_str(), "", ":", "no port", "127.0.0.1", "127.0.0.1:99999", "a\r\nb:80", "\0:1"]
        {
            let reply = transport.ask(&named(authority), get(b"Tom"), soon()).await;
            assert!(matches!(reply, Err(PeerError::Connect(_))), "{authority:?} {reply:?}");
        }
    }

    #[tokio::test]
    async fn a_peer_that_does_not_accept_is_given_up_at_the_connect_timeout() {
        // With a queue of one that is full, the system lets further connections wait.
        let socket = TcpSocket::new_v4().unwrap();
        socket.bind("127.0.0.1:0".parse().unwrap()).unwrap();
        let full = socket.listen(1).unwrap();
        let address = full.local_addr().unwrap();
        let mut waiting = Vec::new();
        while let Ok(stream) = clock::timeout(Duration::from_millis(50), TcpStream::connect(address)).await {
            waiting.push(stream.unwrap());
        }
        let limits = Limits { connect_timeout: Duration::from_millis(50), ..limits() };
        let transport = HttpTransport::new(Dialect::Native, limits);
        let reply = transport.ask(&member(address), get(b"Tom"), soon()).await;
        assert!(matches!(&reply, Err(PeerError::Connect(why)) if why.starts_with("not within")), "{reply:?}");
    }
}
