//! The peer port over real sockets: each row's words, and everything that no peer would send.

use std::time::{Duration, Instant};

use http_body_util::Empty;
use tokio::sync::Notify;

use super::*;
use crate::message::Found;
use crate::net::listen::ListenLimits;
use crate::net::raw::{Raw, Seen, get};
use crate::net::wire::family;
use crate::units::ByteSize;

mod bodies;
mod changes;
mod frames;
mod many;
mod newer;
mod quick;

fn limits() -> Limits {
    Limits { key: ByteSize::bytes(100), value: ByteSize::kib(256), ..Limits::default() }
}

async fn port(limits: &Limits, answer: Answer) -> Serving {
    let listener = Listener::bind("127.0.0.1:0".parse().unwrap(), ListenLimits::from(limits)).await.unwrap();
    serve(listener, answer, terms(Dialect::Native, limits))
}

fn hello() -> Hello {
    Hello { node: Arc::from("a"), id: Arc::from("an-id"), cluster: Some(Arc::from("prod")) }
}

fn terms(dialect: Dialect, limits: &Limits) -> Terms {
    Terms {
        dialect,
        limits: limits.clone(),
        stats: Arc::default(),
        dropped_ttl: Arc::default(),
        hello: hello(),
        frames: true,
    }
}

/// A node with the group `scores`, in which Tom has 630, the empty key is unheard of, and every other key is missing.
/// What it was asked to set or remove it says in a refusal, so that tests can see it.
fn node() -> Answer {
    Arc::new(|request| {
        Box::pin(async move {
            match request {
                Request::Get { group, .. } if group.as_str() != "scores" => Reply::NoGroup,
                Request::Get { key, .. } if key.as_bytes() == b"Tom" => Reply::Found(tom()),
                Request::Get { .. } => Reply::NotFound,
                Request::Held { key, .. } if key.as_bytes() == b"a/../b" => Reply::Held(None),
                Request::Id => Reply::Id(Arc::from("an-id")),
                Request::Members => Reply::Members(vec![Arc::from("a")]),
                other => Reply::BadRequest(Arc::from(format!("{other:?}"))),
            }
        })
    })
}

fn tom() -> Found {
    family::bare(Bytes::from_static(b"630"), Some(1.5))
}

/// Asks for Tom over and over, until dropped; and whether every answer was right.
struct GoodPeer {
    stop: Arc<Notify>,
    task: tokio::task::JoinHandle<u32>,
}

impl GoodPeer {
    fn start(port: &Serving) -> Self {
        let stop = Arc::new(Notify::new());
        let (address, stopped) = (port.address(), stop.clone());
        let task = tokio::spawn(async move {
            let mut stopped = std::pin::pin!(stopped.notified());
            let mut answers = 0;
            loop {
                tokio::select! {
                    biased;
                    () = stopped.as_mut() => return answers,
                    seen = ask_for_tom(address) => {
                        let seen = seen.expect("a good peer is answered");
                        assert_eq!((seen.status, &*seen.body), (200, &b"\x0a\x03630"[..]));
                        answers += 1;
                    }
                }
            }
        });
        Self { stop, task }
    }

    /// Panics if one answer was wrong or there was none.
    async fn end(self) {
        self.stop.notify_one();
        assert!(self.task.await.unwrap() > 0);
    }
}

/// Over a connection of its own, so that no pause of a busy machine is taken for idleness.
async fn ask_for_tom(address: std::net::SocketAddr) -> Option<Seen> {
    Raw::connect(address).await.ask(get("/carrotCache/scores/Tom")).await
}

#[tokio::test]
async fn each_row_is_answered_under_its_own_path_in_its_own_words() {
    let port = port(&limits(), node()).await;
    let mut client = Raw::connect(port.address()).await;
    for (target, status, body) in [
        ("/carrotCache/scores/Tom", 200, &b"\x0a\x03630"[..]),
        ("/_groupcache/scores/Tom", 200, b"\x0a\x03630\x11\0\0\0\0\0\0\xf8\x3f"),
        ("/_carrot/scores/Tom", 200, b"\x0a\x03630\x11\0\0\0\0\0\0\xf8\x3f"),
        ("/_carrot/scores/%54o%6d?x=y", 200, b"\x0a\x03630\x11\0\0\0\0\0\0\xf8\x3f"),
        ("/carrotCache/scores/Tim", 500, b"no such key: Tim\n"),
        ("/_groupcache/scores/a+b", 500, b"no such key: a b\n"),
        ("/_carrot/scores/a+b", 404, b"no such key: a+b\n"),
        ("/_carrot/scores/../Tom", 404, b"no such key: ../Tom\n"),
        ("/_carrot/scores//Tom", 404, b"no such key: /Tom\n"),
        ("/_carrot/Scores/Tom", 404, b"no such group: Scores\n"),
        ("/carrotCache/nope/Tom", 404, b"no such group: nope\n"),
        ("/_carrot/a%20b/Tom", 404, b"no such group: a b\n"),
        ("/_carrot/%FF/Tom", 404, b"no such group: \\xff\n"),
        ("/_carrot//Tom", 404, b"no such group: \n"),
        ("/_carrot/../Tom", 404, b"no such group: ..\n"),
        ("/_carrot/scores/", 400, b"key is required\n"),
        ("/carrotCache/scores/", 400, b"key is required\n"),
        ("/_groupcache/scores/", 400, b"key is required\n"),
        ("/_carrot/scores/%zz", 400, b"bad request: bad percent escape\n"),
        ("/_groupcache/scores/%1", 400, b"bad request: bad percent escape\n"),
        ("/_carrot/scores", 400, b"bad request: the path is no group/key\n"),
        ("/carrotCache/", 400, b"bad request: the path is no group/key\n"),
        ("/_carrot/id", 200, b"an-id\n"),
        ("/_carrot/members", 200, b"\x0a\x01a"),
        ("/_carrot/~held/scores/a/../b", 200, b""),
        ("/_carrot/~held/scores/", 400, b"key is required\n"),
        ("/_carrot/~held/scores", 400, b"bad request: the path is no group/key\n"),
        ("/_carrot/~held/a%20b/Tom", 404, b"no such group: a b\n"),
        ("/_carrot/~held", 400, b"bad request: the path is no group/key\n"),
        ("/_carrot/%7Eheld/scores/Tom", 404, b"no such group: ~held\n"),
        ("/carrotCache/~held/scores/Tom", 404, b"no such group: ~held\n"),
        ("/", 404, b"no such path\n"),
        ("/_galaxycache/scores/Tom", 404, b"no such path\n"),
        ("//_carrot/scores/Tom", 404, b"no such path\n"),
        ("http://elsewhere/carrotCache/scores/Tom", 200, b"\x0a\x03630"),
    ] {
        let seen = client.ask(get(target)).await.unwrap();
        assert_eq!((seen.status, &*seen.body), (status, body), "{target}");
    }
}

#[tokio::test]
async fn a_path_takes_its_methods_and_lists_them_to_any_other() {
    let port = port(&limits(), node()).await;
    for (method, target, allow) in [
        ("POST", "/_carrot/scores/Tom", "GET, PUT, DELETE"),
        ("HEAD", "/_carrot/scores/Tom", "GET, PUT, DELETE"),
        ("BREW", "/_carrot/scores/Tom", "GET, PUT, DELETE"),
        ("PUT", "/carrotCache/scores/Tom", "GET"),
        ("DELETE", "/carrotCache/scores/Tom", "GET"),
        ("DELETE", "/_groupcache/scores/Tom", "GET"),
        ("POST", "/_groupcache/scores/_remove-keys/", "GET"),
        ("PUT", "/_carrot/id", "GET, POST, DELETE"),
        ("PUT", "/_carrot/members", "GET, POST, DELETE"),
        ("PUT", "/_carrot/~held/scores/Tom", "GET"),
    ] {
        let mut client = Raw::connect(port.address()).await;
        client
            .send(format!("{method} {target} HTTP/1.1\r\nhost: x\r\ncontent-length: 0\r\n\r\n").as_bytes())
            .await;
        client.send(b"").await;
        let seen = head_only(&mut client, method).await;
        assert!(seen.starts_with("http/1.1 405 "), "{method} {target} {seen}");
        assert!(
            seen.contains(&format!("\r\nallow: {}\r\n", allow.to_lowercase())),
            "{method} {target} {seen}"
        );
    }
    for (method, status) in [("CONNECT", 404), ("OPTIONS", 404)] {
        let mut client = Raw::connect(port.address()).await;
        let target = if method == "CONNECT" { "x:80" } else { "*" };
        let seen = client.ask(format!("{method} {target} HTTP/1.1\r\nhost: x\r\n\r\n")).await.unwrap();
        assert_eq!(seen.status, status, "{method}");
    }
}

/// The head of a response whose body may be missing though it has a length, as after HEAD.
async fn head_only(client: &mut Raw, method: &str) -> String {
    if method == "HEAD" {
        client.send(b"GET / HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n").await;
        return String::from_utf8(client.end().await).unwrap().to_lowercase();
    }
    client.response().await.unwrap().head
}

#[tokio::test]
async fn sets_removes_and_flags_reach_the_node_as_they_were_sent() {
    let answer: Answer =
        Arc::new(|request| Box::pin(async move { Reply::LoadFailed(Arc::from(format!("{request:?}"))) }));
    let port = port(&limits(), answer).await;
    let mut client = Raw::connect(port.address()).await;
    let mut told = async |request: &str| String::from_utf8(client.ask(request).await.unwrap().body).unwrap();
    let put = |body: &str| {
        format!("PUT /_carrot/scores/Tom HTTP/1.1\r\nhost: x\r\ncontent-length: {}\r\n\r\n{body}", body.len())
    };
    assert!(told(&put("\x0a\x03630\x10\x07")).await.contains("value: b\"630\", ttl: Some(7ms)"));
    assert!(told(&put("")).await.contains("value: b\"\", ttl: None"));
    assert_eq!(told(&put("\x0a\x7f630")).await, "the body is no SetRequest\n");
    let chunked = "PUT /_carrot/scores/Tom HTTP/1.1\r\nhost: x\r\ntransfer-encoding: chunked\r\n\r\n\
                   2\r\n\x0a\x03\r\n3\r\n630\r\n0\r\n\r\n";
    assert!(told(chunked).await.contains("value: b\"630\", ttl: None"));
    let remove = "DELETE /_carrot/scores/T%00m HTTP/1.1\r\nhost: x\r\n\r\n";
    assert!(told(remove).await.starts_with("Remove { group: GroupName(\"scores\"), key: Key(T\\0m) }"));
    let flagged =
        |path: &str, header: &str| format!("GET {path}/scores/Tom HTTP/1.1\r\nhost: x\r\n{header}\r\n\r\n");
    assert!(
        told(&flagged("/_carrot", "X-Carrot-Stand-In: 1"))
            .await
            .contains("stand_in: true, cached_only: false")
    );
    assert!(
        told(&flagged("/_carrot", "X-Carrot-Cached-Only: 1"))
            .await
            .contains("stand_in: false, cached_only: true")
    );
    assert!(
        told(&flagged("/_carrot", "X-Carrot-Stand-In: 0"))
            .await
            .contains("stand_in: false, cached_only: false")
    );
    for base in ["/carrotCache", "/_groupcache"] {
        let both = "X-Carrot-Stand-In: 1\r\nX-Carrot-Cached-Only: 1";
        assert!(told(&flagged(base, both)).await.contains("stand_in: true, cached_only: false"), "{base}");
    }
}

#[tokio::test]
async fn keys_and_values_over_the_limit_are_refused_by_their_size_and_at_the_limit_are_not() {
    let limits = limits();
    let port = port(&limits, node()).await;
    let mut client = Raw::connect(port.address()).await;
    for base in ["/_carrot", "/carrotCache", "/_groupcache"] {
        let at = client.ask(get(&format!("{base}/scores/{}", "%00".repeat(100)))).await.unwrap();
        assert!(matches!(at.status, 404 | 500));
        let over = client.ask(get(&format!("{base}/scores/{}", "%00".repeat(101)))).await.unwrap();
        assert_eq!((over.status, &*over.body), (413, &b"key of 101 bytes is over the limit of 100\n"[..]));
    }
    let limit = usize::try_from(limits.value.as_u64()).unwrap();
    for (length, status) in [(limit, 400), (limit + 1, 413), (2 * limit, 413)] {
        let set = wire::SetRequest::new(vec![0; length].into(), None).encode_to_vec();
        for head in [
            format!("content-length: {}\r\n\r\n", set.len()),
            "transfer-encoding: chunked\r\n\r\n".to_owned(),
        ] {
            let is_chunked = head.contains("chunked");
            let mut client = Raw::connect(port.address()).await;
            client.send(format!("PUT /_carrot/scores/Tom HTTP/1.1\r\nhost: x\r\n{head}").as_bytes()).await;
            if is_chunked {
                client.send(format!("{:x}\r\n", set.len()).as_bytes()).await;
            }
            client.send(&set).await;
            if is_chunked {
                client.send(b"\r\n0\r\n\r\n").await;
            }
            let seen = client.response().await.unwrap();
            assert_eq!(seen.status, status, "{length} {:?}", String::from_utf8_lossy(&seen.body));
        }
    }
}

#[tokio::test]
async fn what_is_refused_at_the_door_is_counted_by_its_cause() {
    let (limits, stats) = (Limits { in_flight: 0, ..limits() }, Arc::<NodeStats>::default());
    let listener = Listener::bind("127.0.0.1:0".parse().unwrap(), ListenLimits::from(&limits)).await.unwrap();
    let terms = Terms { stats: stats.clone(), ..terms(Dialect::Native, &limits) };
    let port = serve(listener, node(), terms);
    let mut client = Raw::connect(port.address()).await;
    for (target, cause) in [
        ("/_carrot/scores/".to_owned(), Refusal::Key),
        (format!("/_carrot/scores/{}", "k".repeat(101)), Refusal::Key),
        ("/_carrot/sc%20ores/k".to_owned(), Refusal::NoGroup),
        ("/_carrot/scores/%zz".to_owned(), Refusal::Malformed),
        ("/_carrot/scores/Tom".to_owned(), Refusal::InFlight),
    ] {
        let before = stats.refusals.snapshot();
        client.ask(get(&target)).await.unwrap();
        let after = stats.refusals.snapshot();
        assert_eq!(after.get(cause), before.get(cause) + 1, "{target}");
        assert_eq!(after.total(), before.total() + 1, "{target}");
    }
}

#[tokio::test]
async fn a_base_path_alone_is_refused_and_counts_for_no_fault() {
    for &dialect in Dialect::ALL {
        let terms = terms(dialect, &limits());
        let stats = terms.stats.clone();
        let listener = Listener::bind("127.0.0.1:0".parse().unwrap(), (&terms.limits).into()).await.unwrap();
        let port = serve(listener, node(), terms);
        let mut client = Raw::connect(port.address()).await;
        for base in ["/_carrot/", "/carrotCache/", "/_groupcache/"] {
            let seen = client.ask(get(base)).await.unwrap();
            assert_eq!((seen.status, &*seen.body), (400, &b"bad request: the path is no group/key\n"[..]));
        }
        assert_eq!(stats.refusals.snapshot().total(), 0);
    }
}

#[tokio::test]
async fn a_body_that_is_announced_too_large_is_refused_before_it_comes() {
    let port = port(&limits(), node()).await;
    let mut client = Raw::connect(port.address()).await;
    let head = "PUT /_carrot/scores/Tom HTTP/1.1\r\nhost: x\r\ncontent-length: 99999999999\r\n\r\n";
    assert_eq!(client.ask(head).await.unwrap().status, 413);
}

#[tokio::test]
async fn a_body_that_stops_half_way_is_given_up_at_the_deadline_and_its_place_is_free_again() {
    let limits = Limits { in_flight: 1, header_timeout: Duration::from_millis(300), ..limits() };
    let port = port(&limits, node()).await;
    for _ in 0..3 {
        let mut client = Raw::connect(port.address()).await;
        client.send(b"PUT /_carrot/scores/Tom HTTP/1.1\r\nhost: x\r\ncontent-length: 9\r\n\r\nab").await;
        let seen = client.response().await.unwrap();
        assert_eq!((seen.status, &*seen.body), (400, &b"the body did not come in time\n"[..]));
        let mut good = Raw::connect(port.address()).await;
        assert_eq!(good.ask(get("/_carrot/scores/Tom")).await.unwrap().status, 200);
    }
}

#[tokio::test]
async fn past_the_cap_of_requests_in_flight_the_answer_is_busy_in_every_row() {
    let go = Arc::new(Notify::new());
    let began = Arc::new(Notify::new());
    let (wait, begin) = (go.clone(), began.clone());
    let answer: Answer = Arc::new(move |_| {
        let (wait, begin) = (wait.clone(), begin.clone());
        Box::pin(async move {
            begin.notify_one();
            wait.notified().await;
            Reply::Found(tom())
        })
    });
    let port = port(&Limits { in_flight: 1, ..limits() }, answer).await;
    let mut first = Raw::connect(port.address()).await;
    first.send(get("/_carrot/scores/Tom").as_bytes()).await;
    began.notified().await;
    let mut second = Raw::connect(port.address()).await;
    for base in ["/_carrot", "/carrotCache", "/_groupcache"] {
        let seen = second.ask(get(&format!("{base}/scores/Tom"))).await.unwrap();
        assert_eq!((seen.status, &*seen.body), (503, &b"1 requests from peers in flight\n"[..]));
    }
    let put = "PUT /_carrot/scores/Tom HTTP/1.1\r\nhost: x\r\ncontent-length: 0\r\n\r\n";
    assert_eq!(second.ask(put).await.unwrap().status, 503);
    go.notify_one();
    assert_eq!(first.response().await.unwrap().status, 200);
    // A peer that goes away gives its place back as well.
    first.send(get("/_carrot/scores/Tom").as_bytes()).await;
    began.notified().await;
    drop(first);
    let again = tokio::spawn(async move {
        loop {
            let seen = second.ask(get("/_carrot/scores/Tom")).await.unwrap();
            if seen.status != 503 {
                return seen.status;
            }
        }
    });
    began.notified().await;
    go.notify_one();
    assert_eq!(again.await.unwrap(), 200);
}

#[tokio::test]
async fn pipelined_requests_are_answered_in_order_and_http_1_0_is_answered_and_closed() {
    let port = port(&limits(), node()).await;
    let mut client = Raw::connect(port.address()).await;
    let three = ["Tom", "Tim", "Tom"].map(|key| get(&format!("/_carrot/scores/{key}"))).concat();
    client.send(three.as_bytes()).await;
    for status in [200, 404, 200] {
        assert_eq!(client.response().await.unwrap().status, status);
    }
    let mut old = Raw::connect(port.address()).await;
    assert_eq!(old.ask("GET /carrotCache/scores/Tom HTTP/1.0\r\n\r\n").await.unwrap().body, b"\x0a\x03630");
    assert!(old.end().await.is_empty());
}

#[tokio::test]
async fn nothing_that_strangers_send_harms_the_peers_beside_them() {
    let short = Duration::from_secs(1);
    let limits = Limits { header_timeout: short, idle_timeout: short, ..limits() };
    let port = port(&limits, node()).await;
    let good = GoodPeer::start(&port);
    let mut noise = 0x2545_f491_4f6c_dd1d_u64;
    let mut random = |length: usize| -> Vec<u8> {
        let step = || {
            noise ^= noise << 13;
            noise ^= noise >> 7;
            noise ^= noise << 17;
            noise.to_le_bytes()[3]
        };
        std::iter::repeat_with(step).take(length).collect()
    };
    let mut attacks: Vec<Vec<u8>> = (0..20).map(|_| random(100 << 10)).collect();
    attacks.extend((0..50).map(|_| [b"GET /_carrot/scores/", &*random(50), b" HTTP/1.1\r\n\r\n"].concat()));
    attacks.extend([
        b"GET /_carrot/scores/To".to_vec(),
        b"GET /_carrot/\0 HTTP/1.1\r\n\r\n".to_vec(),
        b"GET /_carrot/scores/\xff\xfe HTTP/1.1\r\nhost: x\r\n\r\n".to_vec(),
        b"GET _carrot HTTP/1.1\r\n\r\n".to_vec(),
        b"GET http:// HTTP/1.1\r\n\r\n".to_vec(),
        b"PUT /_carrot/scores/Tom HTTP/1.1\r\ncontent-length: -1\r\n\r\n".to_vec(),
        b"PUT /_carrot/scores/Tom HTTP/1.1\r\ncontent-length: 3\r\ncontent-length: 4\r\n\r\nabcd".to_vec(),
        b"PUT /_carrot/scores/Tom HTTP/1.1\r\ntransfer-encoding: chunked\r\n\r\nfffffffffffffffff\r\n"
            .to_vec(),
        b"PUT /_carrot/scores/Tom HTTP/1.1\r\ntransfer-encoding: chunked\r\ncontent-length: 3\r\n\r\nabc"
            .to_vec(),
        b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n".to_vec(),
        b"*1\r\n".repeat(10_000),
        [b"GET / HTTP/1.1\r\nx: ", &*vec![b'y'; 10 << 20], b"\r\n\r\n"].concat(),
    ]);
    let mut strangers = tokio::task::JoinSet::new();
    for attack in attacks {
        let address = port.address();
        strangers.spawn(async move {
            let mut stranger = Raw::connect(address).await;
            stranger.send(&attack).await;
            // Closed at once or at a deadline: in any case closed.
            stranger.end().await;
        });
    }
    while let Some(ended) = strangers.join_next().await {
        ended.unwrap();
    }
    good.end().await;
    assert_eq!(port.stats().panics, 0);
}

/// hyper's own client, as one whose requests are surely well-formed, to see what it makes of our responses.
#[tokio::test]
async fn responses_are_well_formed_for_another_client() {
    let port = port(&limits(), node()).await;
    let stream = tokio::net::TcpStream::connect(port.address()).await.unwrap();
    let io = hyper_util::rt::TokioIo::new(stream);
    let (mut sender, connection) = hyper::client::conn::http1::handshake(io).await.unwrap();
    tokio::spawn(connection);
    let request =
        HttpRequest::get("/_groupcache/scores/Tim").header("host", "x").body(Empty::<Bytes>::new()).unwrap();
    let response = sender.send_request(request).await.unwrap();
    assert_eq!(response.headers()["content-type"], "text/plain; charset=utf-8");
    assert_eq!(response.headers()["x-content-type-options"], "nosniff");
    assert_eq!(response.into_body().collect().await.unwrap().to_bytes(), "no such key: Tim\n");
}

#[tokio::test]
async fn a_node_of_another_cluster_is_refused_whatever_it_asks() {
    let limits = limits();
    let listener = Listener::bind("127.0.0.1:0".parse().unwrap(), ListenLimits::from(&limits)).await.unwrap();
    let terms = terms(Dialect::Native, &limits);
    let stats = terms.stats.clone();
    let port = serve(listener, node(), terms);
    let mut client = Raw::connect(port.address()).await;
    let upgrade = "connection: upgrade\r\nupgrade: carrot-frames/1\r\n";
    let requests = [
        ("GET /_carrot/scores/Tom", ""),
        ("GET /_carrot/~held/scores/a/../b", ""),
        ("GET /_carrot/id", ""),
        ("GET /_carrot/members", ""),
        ("DELETE /_carrot/scores", ""),
        ("PUT /_carrot/scores/Tom", "content-length: 0\r\n"),
        ("GET /_carrot/frames", upgrade),
    ];
    let of = |cluster: &str, (asked, more): (&str, &str)| {
        format!("{asked} HTTP/1.1\r\nhost: x\r\nx-carrot-cluster: {cluster}\r\n{more}\r\n")
    };
    for request in requests {
        let seen = client.ask(of("test", request)).await.unwrap();
        assert_eq!((seen.status, &*seen.body), (421, &b"this node is of another cluster, \"prod\"\n"[..]));
        for line in ["x-carrot-outcome: other_cluster", "x-carrot-cluster: prod"] {
            assert!(seen.head.lines().any(|said| said == line), "{}", seen.head);
        }
    }
    assert_eq!(stats.refusals.snapshot().get(Refusal::OtherCluster), 7);
    assert_eq!(client.ask(of("prod", requests[0])).await.unwrap().status, 200);
    let seen = client.ask(of("prod", requests[6])).await.unwrap();
    assert_eq!(seen.status, 101);
    assert!(seen.head.lines().any(|said| said == "x-carrot-cluster: prod"), "{}", seen.head);
    assert_eq!(stats.refusals.snapshot().total(), 7);
}
