//! Hits that are answered where they are read, beside the same through hyper.

use super::*;
use crate::net::frame::{self, Frame, Kind};
use crate::net::quick::COPIED;
use crate::net::reached::Served;
use crate::peers::BoxFuture;
use crate::value::Value;

/// A node whose memory holds `Tom`, `empty`, `brim` and `large`, and which says by the gets a second how it was asked.
struct Held;

const AT_ONCE: f64 = 1.0;
const ASKED: f64 = 2.0;

impl Held {
    fn found(key: &[u8], minute_qps: f64) -> Option<Found> {
        let value = match key {
            b"Tom" | b"a/../b c" => b"630".to_vec(),
            b"empty" => Vec::new(),
            b"brim" => vec![b'b'; COPIED],
            b"large" => vec![b'l'; COPIED + 1],
            _ => return None,
        };
        Some(Found {
            value: Value::from(Bytes::from(value)),
            ttl: Some(Duration::from_secs(20)),
            age: Duration::from_millis(1500),
            loaded: false,
            node: Arc::from("node-a"),
            minute_qps: Some(minute_qps),
            view: Some(7),
        })
    }
}

impl Served for Held {
    fn look_for_one(&self, group: &str, key: &[u8], room: usize, _: Instant) -> Option<Found> {
        let found = Self::found(key, AT_ONCE).filter(|_| group == "scores")?;
        (found.value.len() <= room).then_some(found)
    }

    fn answer(&self, what: Request) -> BoxFuture<'static, Reply> {
        let Request::Get { key, .. } = what else { panic!("{what:?}") };
        Box::pin(async move { Self::found(key.as_bytes(), ASKED).map_or(Reply::NotFound, Reply::Found) })
    }
}

/// The request, with more headers than are looked at before hyper is asked.
fn by_hyper(request: &str) -> String {
    request.replace("\r\n\r\n", &format!("\r\n{}\r\n", "a: b\r\n".repeat(70)))
}

/// The lines of a head, but for the date, which comes last.
fn lines(seen: &Seen) -> Vec<&str> {
    let lines: Vec<_> = seen.head.trim_end().lines().collect();
    assert!(
        lines.last().is_some_and(|line| line.starts_with("date: ") && line.ends_with(" gmt")),
        "{lines:?}"
    );
    lines[..lines.len() - 1].to_vec()
}

/// A value and its gets a second, from a body of any row: what is told of these keys is short, but for the value.
fn value(row: Dialect, body: &[u8]) -> (Found, f64) {
    let found = match row {
        Dialect::Native => wire::Response::decode(body).unwrap().into_found(&Arc::from("")),
        Dialect::Carrot => family::bare(family::CarrotResponse::decode(body).unwrap().value, None),
        _ => family::GetResponse::decode(body).unwrap().into_found_without_end(),
    };
    let minute_qps = found.minute_qps.unwrap_or(-1.0);
    (Found { minute_qps: None, ..found }, minute_qps)
}

#[tokio::test]
async fn a_hit_is_answered_at_once_with_what_hyper_would_have_answered() {
    for &own in Dialect::ALL {
        let listener = Listener::bind("127.0.0.1:0".parse().unwrap(), (&limits()).into()).await.unwrap();
        let port = serve(listener, Arc::new(Held), terms(own, &limits()));
        for (base, row) in [
            ("/_carrot", Dialect::Native),
            ("/carrotCache", Dialect::Carrot),
            ("/_groupcache", if own.is_family() && own != Dialect::Carrot { own } else { Dialect::Golang }),
        ] {
            let (mut quick, mut slow) =
                (Raw::connect(port.address()).await, Raw::connect(port.address()).await);
            for (key, at_once) in [
                ("Tom", AT_ONCE),
                ("%54om?x=y", AT_ONCE),
                ("a/../b%20c", AT_ONCE),
                ("empty", AT_ONCE),
                ("brim", AT_ONCE),
                ("large", ASKED),
            ] {
                let request = get(&format!("{base}/scores/{key}"));
                let one = quick.ask(&request).await.unwrap();
                let other = slow.ask(by_hyper(&request)).await.unwrap();
                assert_eq!(lines(&one), lines(&other), "{row} {key}");
                let ((one, told), (other, asked)) = (value(row, &one.body), value(row, &other.body));
                assert_eq!(format!("{one:?}"), format!("{other:?}"), "{row} {key}");
                let expected = if row == Dialect::Carrot { (-1.0, -1.0) } else { (at_once, ASKED) };
                assert_eq!((told, asked), expected, "{row} {key}");
            }
        }
    }
}

#[tokio::test]
async fn what_memory_does_not_hold_and_who_is_of_another_cluster_is_answered_as_ever() {
    let terms = terms(Dialect::Native, &limits());
    let stats = terms.stats.clone();
    let listener = Listener::bind("127.0.0.1:0".parse().unwrap(), (&limits()).into()).await.unwrap();
    let port = serve(listener, Arc::new(Held), terms);
    let mut client = Raw::connect(port.address()).await;
    let of = |cluster: &str| {
        get("/_carrot/scores/Tom").replace("\r\n\r\n", &format!("\r\nx-carrot-cluster: {cluster}\r\n\r\n"))
    };
    for (request, status, counted) in [
        (get("/_carrot/scores/Tim"), 404, 0),
        (get("/_carrot/scores/"), 400, 1),
        (get("/_carrot/sc%20ores/Tom"), 404, 1),
        (get("/_carrot/scores/%zz"), 400, 1),
        (get("/elsewhere"), 404, 0),
        (of("test"), 421, 1),
        (of("prod"), 200, 0),
        (of(""), 200, 0),
    ] {
        let before = stats.refusals.snapshot().total();
        assert_eq!(client.ask(&request).await.unwrap().status, status, "{request}");
        assert_eq!(stats.refusals.snapshot().total() - before, counted, "{request}");
    }
}

#[tokio::test]
async fn a_connection_becomes_one_of_frames_after_hits_and_what_came_with_them_is_read() {
    let listener = Listener::bind("127.0.0.1:0".parse().unwrap(), (&limits()).into()).await.unwrap();
    let port = serve(listener, Arc::new(Held), terms(Dialect::Native, &limits()));
    let mut client = Raw::connect(port.address()).await;
    let mut sent = get("/_carrot/scores/Tom").repeat(2).into_bytes();
    sent.extend(upgrade::request("a", &hello()));
    let frame = |kind| {
        let mut bytes = Vec::new();
        frame::encode(&mut bytes, Frame { id: 4, kind, more: false, body: b"" });
        bytes
    };
    sent.extend(frame(Kind::PING));
    client.send(&sent).await;
    for status in [200, 200, 101] {
        assert_eq!(client.response().await.unwrap().status, status);
    }
    client.finish().await;
    assert_eq!(client.end().await, frame(Kind::PONG));
}
