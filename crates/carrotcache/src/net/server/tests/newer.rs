//! The rows of mailgun's fork and of groupcache-go, byte by byte, and the warning of a ttl that older peers drop.

use std::sync::Mutex;

use super::*;
use crate::dropped_ttl::tests::{Warnings, line};

const NEWER: [Dialect; 2] = [Dialect::Mailgun, Dialect::GroupcacheGo];

/// Everything that a node was asked, as it is shown.
type Heard = Arc<Mutex<Vec<String>>>;

/// A node of this dialect that does all it is told.
async fn willing(dialect: Dialect, limits: &Limits) -> (Serving, Heard) {
    let heard = Heard::default();
    let hears = heard.clone();
    let answer: Answer = Arc::new(move |request| {
        hears.lock().unwrap().push(format!("{request:?}"));
        Box::pin(async move {
            match request {
                Request::Get { .. } => Reply::Found(tom()),
                Request::Remove { group, .. } if group.as_str() != "scores" => Reply::NoGroup,
                Request::Remove { key, .. } if key.as_bytes() == b"another" => Reply::NotOwner,
                _ => Reply::Done,
            }
        })
    });
    (bound(answer, terms(dialect, limits)).await, heard)
}

async fn bound(answer: Answer, terms: Terms) -> Serving {
    let limits = ListenLimits::from(&terms.limits);
    let listener = Listener::bind("127.0.0.1:0".parse().unwrap(), limits).await.unwrap();
    serve(listener, answer, terms)
}

fn with_body(method: &str, target: &str, body: &[u8]) -> Vec<u8> {
    let head = format!("{method} {target} HTTP/1.1\r\nhost: x\r\ncontent-length: {}\r\n\r\n", body.len());
    [head.as_bytes(), body].concat()
}

fn taken(heard: &Heard) -> Vec<String> {
    std::mem::take(&mut heard.lock().unwrap())
}

#[tokio::test]
async fn each_row_answers_in_its_own_words() {
    for dialect in NEWER {
        let port = bound(node(), terms(dialect, &limits())).await;
        let mut client = Raw::connect(port.address()).await;
        for (target, status, body) in [
            ("/_groupcache/scores/Tom", 200, &b"\x0a\x03630\x11\0\0\0\0\0\0\xf8\x3f\x18\0"[..]),
            ("/_groupcache/scores/Tim", 404, b"no such key: Tim\n"),
            ("/_groupcache/scores/a+b", 404, b"no such key: a+b\n"),
            ("/_groupcache/nope/Tom", 404, b"no such group: nope\n"),
            ("/_groupcache/scores/", 400, b"key is required\n"),
            ("/_groupcache/scores", 400, b"bad request: the path is no group/key\n"),
            // The rows of the other base paths are as ever.
            ("/carrotCache/scores/Tim", 500, b"no such key: Tim\n"),
            ("/_carrot/scores/Tim", 404, b"no such key: Tim\n"),
        ] {
            let seen = client.ask(get(target)).await.unwrap();
            assert_eq!((seen.status, &*seen.body), (status, body), "{target}");
        }
        let seen = client.ask(get("/_groupcache/scores/Tim")).await.unwrap();
        for line in
            ["\r\ncontent-type: text/plain; charset=utf-8\r\n", "\r\nx-content-type-options: nosniff\r\n"]
        {
            assert!(seen.head.contains(line), "{}", seen.head);
        }
    }
}

#[tokio::test]
async fn other_methods_are_refused_with_those_that_the_path_takes() {
    for (dialect, method, target, allow) in [
        (Dialect::Mailgun, "POST", "/_groupcache/scores/_remove-keys/", "get, put, delete"),
        (Dialect::Mailgun, "PATCH", "/_groupcache/scores/Tom", "get, put, delete"),
        (Dialect::GroupcacheGo, "POST", "/_groupcache/scores/Tom", "get, put, delete"),
        (Dialect::GroupcacheGo, "PATCH", "/_groupcache/scores/_remove-keys/", "get, put, delete, post"),
        (Dialect::GroupcacheGo, "POST", "/_carrot/scores/_remove-keys/", "get, put, delete"),
        (Dialect::Golang, "PUT", "/_groupcache/scores/Tom", "get"),
        (Dialect::Native, "DELETE", "/_groupcache/scores/Tom", "get"),
    ] {
        let (port, heard) = willing(dialect, &limits()).await;
        let mut client = Raw::connect(port.address()).await;
        let seen = client.ask(with_body(method, target, b"")).await.unwrap();
        assert_eq!(seen.status, 405, "{dialect} {method} {target}");
        assert!(seen.head.contains(&format!("\r\nallow: {allow}\r\n")), "{dialect} {}", seen.head);
        assert!(taken(&heard).is_empty());
    }
}

#[tokio::test]
async fn a_put_keeps_the_key_of_its_body_in_the_group_of_its_path() {
    for dialect in NEWER {
        let (port, heard) = willing(dialect, &limits()).await;
        let mut client = Raw::connect(port.address()).await;
        let body = b"\x0a\x05other\x12\x03Tom\x1a\x03630\x20\0";
        let seen = client.ask(with_body("PUT", "/_groupcache/scores/Jack", body)).await.unwrap();
        assert_eq!((seen.status, &*seen.body), (200, &b""[..]));
        assert!(seen.head.contains("\r\ncontent-length: 0\r\n"), "{}", seen.head);
        assert_eq!(
            taken(&heard),
            [r#"Set { group: GroupName("scores"), key: Key(Tom), value: b"630", ttl: None }"#]
        );
        for (body, said) in [
            // Without a value; with an end in the past; before 1970; fields of a later version.
            (&b"\x12\x01k"[..], r#"key: Key(k), value: b"", ttl: None"#),
            (b"\x12\x01k\x20\x01", r#"key: Key(k), value: b"", ttl: Some(0ns)"#),
            (b"\x12\x01k\x20\xff\xff\xff\xff\xff\xff\xff\xff\xff\x01", "ttl: Some(0ns)"),
            (b"\x7a\x01z\x1a\x01v\x12\x02\xff\x00", r#"value: b"v", ttl: None"#),
        ] {
            let seen = client.ask(with_body("PUT", "/_groupcache/scores/Jack", body)).await.unwrap();
            assert_eq!(seen.status, 200);
            let heard = taken(&heard);
            assert!(heard.len() == 1 && heard[0].contains(said), "{heard:?}");
        }
        let long = [&b"\x12\x65"[..], &[b'k'; 101]].concat();
        for (body, status, line) in [
            (&b"\x1a\x03630"[..], 400, "key is required\n"),
            (b"", 400, "key is required\n"),
            (b"\x12\x7fk", 400, "the body is no SetRequest\n"),
            (&long, 413, "key of 101 bytes is over the limit of 100\n"),
        ] {
            let seen = client.ask(with_body("PUT", "/_groupcache/scores/Jack", body)).await.unwrap();
            assert_eq!((seen.status, String::from_utf8_lossy(&seen.body)), (status, line.into()));
            assert!(taken(&heard).is_empty());
        }
    }
}

#[tokio::test]
async fn a_delete_is_done_also_where_another_owns_the_key() {
    for dialect in NEWER {
        let (port, heard) = willing(dialect, &limits()).await;
        let mut client = Raw::connect(port.address()).await;
        for target in ["/_groupcache/scores/a+b", "/_groupcache/scores/another"] {
            let seen = client.ask(with_body("DELETE", target, b"")).await.unwrap();
            assert_eq!((seen.status, &*seen.body), (200, &b""[..]), "{target}");
        }
        assert_eq!(taken(&heard)[0], r#"Remove { group: GroupName("scores"), key: Key(a+b) }"#);
        let seen = client.ask(with_body("DELETE", "/_groupcache/nope/Tom", b"")).await.unwrap();
        assert_eq!((seen.status, &*seen.body), (404, &b"no such group: nope\n"[..]));
    }
}

#[tokio::test]
async fn many_keys_are_removed_by_one_post() {
    let (port, heard) = willing(Dialect::GroupcacheGo, &limits()).await;
    let mut client = Raw::connect(port.address()).await;
    let target = "/_groupcache/scores/_remove-keys/";
    // One that no node takes is passed over, and the rest is removed.
    let over = "k".repeat(101);
    let body = format!(r#"{{"group":"other","keys":["a","another","","{over}","\u00fc"]}}"#);
    let seen = client.ask(with_body("POST", target, body.as_bytes())).await.unwrap();
    assert_eq!((seen.status, &*seen.body), (200, &b""[..]));
    let removed = |key: &str| format!(r#"Remove {{ group: GroupName("scores"), key: Key({key}) }}"#);
    assert_eq!(taken(&heard), ["a", "another", "ü"].map(removed));
    // Go's own escape of the path, a list at its limit, and one beyond.
    let list = |count: usize| format!(r#"{{"keys":[{}]}}"#, vec![r#""k""#; count].join(","));
    let escaped = "/_groupcache/scores/_remove-keys%2F";
    let seen = client.ask(with_body("POST", escaped, list(REMOVED_KEYS_MAX).as_bytes())).await.unwrap();
    assert_eq!((seen.status, taken(&heard).len()), (200, 16_384));
    let seen = client.ask(with_body("POST", target, list(REMOVED_KEYS_MAX + 1).as_bytes())).await.unwrap();
    assert_eq!((seen.status, &*seen.body), (413, &b"more than 16384 keys in one request\n"[..]));
    for (body, status) in [(&b"{\"keys\":[1]}"[..], 400), (b"", 400), (b"[", 400), (b"{\"keys\":[]}", 200)] {
        let seen = client.ask(with_body("POST", target, body)).await.unwrap();
        assert_eq!(seen.status, status, "{}", body.escape_ascii());
    }
    let large = vec![b' '; 400 << 10];
    assert_eq!(client.ask(with_body("POST", target, &large)).await.unwrap().status, 413);
    assert!(taken(&heard).is_empty());
    let mut other = Raw::connect(port.address()).await;
    let nowhere = with_body("POST", "/_groupcache/nope/_remove-keys/", b"{\"keys\":[\"a\",\"b\"]}");
    let seen = other.ask(nowhere).await.unwrap();
    assert_eq!((seen.status, &*seen.body), (404, &b"no such group: nope\n"[..]));
    // And the key of that name is one like any other.
    assert_eq!(other.ask(get(target)).await.unwrap().status, 200);
}

#[tokio::test]
async fn a_remove_of_many_keys_is_one_request_in_flight() {
    let (port, _heard) = willing(Dialect::GroupcacheGo, &Limits { in_flight: 1, ..limits() }).await;
    let mut slow = Raw::connect(port.address()).await;
    let target = "/_groupcache/scores/_remove-keys/";
    slow.send(format!("POST {target} HTTP/1.1\r\nhost: x\r\ncontent-length: 14\r\n\r\n").as_bytes()).await;
    let mut other = Raw::connect(port.address()).await;
    // Until its header has arrived there is room.
    let busy = loop {
        let seen = other.ask(with_body("POST", target, b"{}")).await.unwrap();
        if seen.status != 200 {
            break seen;
        }
    };
    assert_eq!((busy.status, &*busy.body), (503, &b"busy: 1 requests from peers in flight\n"[..]));
    slow.send(b"{\"keys\":[\"a\"]").await;
    assert_eq!(slow.response().await.unwrap().status, 400, "fourteen bytes of it are no JSON");
    assert_eq!(other.ask(with_body("POST", target, b"{}")).await.unwrap().status, 200);
}

#[tokio::test]
async fn a_ttl_that_a_peer_drops_is_warned_of_once_and_others_not_at_all() {
    let (warnings, _for_this_thread) = Warnings::heard();
    let answer = |ttl: Option<Duration>| -> Answer {
        Arc::new(move |_| Box::pin(async move { Reply::Found(Found { ttl, ..tom() }) }))
    };
    let limits = limits();
    let without = bound(answer(None), terms(Dialect::Native, &limits)).await;
    let with = || bound(answer(Some(Duration::from_secs(9))), terms(Dialect::Native, &limits));
    for (port, targets, said) in [
        (&without, ["/carrotCache/g/k", "/_groupcache/g/k", "/_carrot/g/k"], None),
        (&with().await, ["/_carrot/g/k", "/_carrot/g/k", "/_carrot/g/k"], None),
        (&with().await, ["/_groupcache/g/k", "/_groupcache/g/k", "/carrotCache/g/k"], Some("golang")),
        (&with().await, ["/_carrot/g/k", "/carrotCache/g/k", "/_groupcache/g/k"], Some("carrot")),
    ] {
        let mut client = Raw::connect(port.address()).await;
        for target in targets {
            assert_eq!(client.ask(get(target)).await.unwrap().status, 200);
        }
        assert_eq!(warnings.take(), Vec::from_iter(said.map(line)));
    }
}
