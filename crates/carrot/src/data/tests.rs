//! What clients of the data front are answered, at once and by hyper.

use carrotcache::net::listen::ListenLimits;
use carrotcache::{BoxError, HitSource, Limits};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use super::*;
use crate::secret::Secret;

#[tokio::test]
async fn a_hit_is_answered_with_the_bytes_that_the_cache_holds_and_not_a_copy() {
    let cluster = Cluster::local().name("a").start().await.unwrap();
    let load = async |_| Ok::<_, BoxError>(Some("x".repeat(100_000)));
    let group = cluster.group("scores").open(load).unwrap();
    group.get("Tom").await.unwrap();
    let answer = group.answer("Tom", Ask::default()).await.unwrap();
    assert_eq!(answer.source, Source::Memory);
    let held = answer.value.as_ptr();
    let response = found(answer);
    assert_eq!(response.headers()[X_CACHE], "hit; source=memory; node=a");
    let body = response.into_body().frame().await.unwrap().unwrap().into_data().unwrap();
    assert_eq!((body.as_ptr(), body.len()), (held, 100_000));
}

#[tokio::test]
async fn a_name_that_no_header_can_carry_is_left_out() {
    let cluster = Cluster::local().start().await.unwrap();
    let load = async |_| Ok::<_, BoxError>(Some("630"));
    let group = cluster.group("scores").open(load).unwrap();
    let mut answer = group.answer("Tom", Ask::default()).await.unwrap();
    answer.node = "a\nb".into();
    assert_eq!(found(answer).headers()[X_CACHE], "miss; source=origin");
}

/// A node with the group `scores`, in which Tom has 630 and `large` much, and its front on a port.
async fn node(name: &str, password: Option<&str>) -> (Cluster, Group, Arc<DataFront>, Serving) {
    let cluster = Cluster::local().name(name).start().await.unwrap();
    let load = async |key: carrotcache::Key| {
        Ok::<_, BoxError>(match key.as_bytes() {
            b"Tom" | b"a b/c" => Some("630".to_owned()),
            b"empty" => Some(String::new()),
            b"large" => Some("x".repeat(100_000)),
            _ => None,
        })
    };
    let group = cluster.group("scores").ttl(Duration::from_secs(300)).open(load).unwrap();
    let gate = Gate::new(password.map(Secret::new));
    let front = DataFront::new(cluster.clone(), [group.clone()], ByteSize::mib(1), gate);
    let limits = ListenLimits::from(&Limits::default());
    let listener = Listener::bind("127.0.0.1:0".parse().unwrap(), limits).await.unwrap();
    let serving = front.clone().serve(listener);
    (cluster, group, front, serving)
}

async fn connect(serving: &Serving) -> TcpStream {
    TcpStream::connect(serving.address()).await.unwrap()
}

/// The lines of an answer's head but for the date, which comes last, and its body.
async fn ask(client: &mut TcpStream, request: &str) -> (Vec<String>, Vec<u8>) {
    client.write_all(request.as_bytes()).await.unwrap();
    let mut read = Vec::new();
    loop {
        let end = read.windows(4).position(|four| four == b"\r\n\r\n");
        if let Some(end) = end {
            let head = String::from_utf8(read[..end].to_vec()).unwrap();
            let mut lines: Vec<_> = head.lines().map(str::to_owned).collect();
            let length = lines.iter().find_map(|line| line.strip_prefix("content-length: "));
            let whole = end + 4 + length.map_or(0, |length| length.parse::<usize>().unwrap());
            if read.len() >= whole {
                assert_eq!(read.len(), whole, "more than one answer");
                assert!(lines.pop().is_some_and(|line| line.starts_with("date: ")), "{head}");
                return (lines, read.split_off(end + 4));
            }
        }
        assert!(client.read_buf(&mut read).await.unwrap() > 0, "{}", read.escape_ascii());
    }
}

fn get(target: &str, headers: &str) -> String {
    format!("GET {target} HTTP/1.1\r\nhost: x\r\n{headers}\r\n")
}

/// More headers than are looked at before hyper is asked.
fn by_hyper() -> String {
    "a: b\r\n".repeat(70)
}

#[tokio::test]
async fn a_hit_is_answered_at_once_with_what_hyper_would_have_answered_and_counted_the_same() {
    for (name, password, offer) in [
        ("a", None, ""),
        ("node a", Some("open: sesame"), "Authorization: Bearer open: sesame\r\n"),
        ("\u{fc}", Some("p"), "authorization: basic OnA=\r\n"),
        ("b", None, "authorization: Bearer whatever\r\n"),
    ] {
        let (cluster, group, front, serving) = node(name, password).await;
        for key in ["Tom", "a b/c", "empty", "large"] {
            group.get(key).await.unwrap();
        }
        let (mut quick, mut slow) = (connect(&serving).await, connect(&serving).await);
        for target in [
            "/v1/scores/Tom",
            "/v1/scor%65s/a%20b/c",
            "/v1/scores/empty",
            "/v1/scores/large",
            "/api?x=1&key=a+b/c",
            "/api?group=scores&key=Tom",
        ] {
            let counts = || {
                let stats = &cluster.stats().groups[0];
                (stats.gets, stats.hits.get(HitSource::Memory), front.hit_seconds()["scores"].count)
            };
            let before = counts();
            let at_once = ask(&mut quick, &get(target, offer)).await;
            let between = counts();
            let other = ask(&mut slow, &get(target, &[offer, &by_hyper()].concat())).await;
            let after = counts();
            assert_eq!(at_once, other, "{name} {target}");
            assert_eq!(at_once.0[0], "HTTP/1.1 200 OK");
            for (before, after) in [(before, between), (between, after)] {
                assert_eq!(after, (before.0 + 1, before.1 + 1, before.2 + 1), "{name} {target}");
            }
        }
    }
}

#[tokio::test]
async fn what_is_no_hit_is_answered_and_counted_as_if_nobody_had_looked_for_one() {
    let (cluster, _, _, serving) = node("a", None).await;
    let (mut plain, mut slow) = (connect(&serving).await, connect(&serving).await);
    for (target, status) in [
        ("/v1/scores/none", 404),
        ("/v1/scores/", 400),
        ("/v1/nope/Tom", 404),
        ("/v1/scores/Tom?ttl=3s", 400),
        ("/v1/scores/%zz", 400),
        ("/v1/scores", 400),
        ("/owner/scores/Tom", 200),
        ("/elsewhere", 404),
        ("/api", 400),
    ] {
        let counts = || {
            let stats = cluster.stats();
            let group = &stats.groups[0];
            (stats.refusals.total() + group.refusals.total(), group.gets, group.hits.total())
        };
        let before = counts();
        let seen = ask(&mut plain, &get(target, "")).await;
        assert!(seen.0[0].starts_with(&format!("HTTP/1.1 {status} ")), "{target} {:?}", seen.0);
        let between = counts();
        assert_eq!(seen, ask(&mut slow, &get(target, &by_hyper())).await, "{target}");
        let after = counts();
        let grown = |a: (u64, u64, u64), b: (u64, u64, u64)| (b.0 - a.0, b.1 - a.1, b.2 - a.2);
        assert_eq!(grown(before, between), grown(between, after), "{target}");
    }
}

#[tokio::test]
async fn a_wrong_password_is_one_try_however_plain_the_request_is() {
    let (_cluster, group, _, serving) = node("a", Some("p")).await;
    group.get("Tom").await.unwrap();
    let mut client = connect(&serving).await;
    for nth in 1..=8 {
        let (head, _) = ask(&mut client, &get("/v1/scores/Tom", "authorization: Bearer q\r\n")).await;
        assert!(head[0].starts_with("HTTP/1.1 401 "), "{head:?}");
        assert_eq!(head.contains(&"connection: close".to_owned()), nth == 8, "{nth} {head:?}");
        if nth < 8 {
            let known = ask(&mut client, &get("/v1/scores/Tom", "authorization: Bearer p\r\n")).await;
            assert_eq!(known.1, b"630");
        }
    }
    assert_eq!(client.read(&mut [0]).await.unwrap(), 0);
}
