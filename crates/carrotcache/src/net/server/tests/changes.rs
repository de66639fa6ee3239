//! Changes and clears as a peer tells them: what the node hears, and what is refused before it does.

use super::*;
use crate::message::{ExpireIf, Life, SetIf};

fn request(method: &str, target: &str, body: &[u8]) -> Vec<u8> {
    let head = format!("{method} {target} HTTP/1.1\r\nhost: x\r\ncontent-length: {}\r\n\r\n", body.len());
    [head.as_bytes(), body].concat()
}

/// A node that makes the changes of Tom alone, and clears `scores` alone; it knows of nothing else.
fn changing() -> Answer {
    Arc::new(|request| {
        Box::pin(async move {
            match request {
                Request::Change { group, .. } | Request::Clear { group } if group.as_str() != "scores" => {
                    Reply::NoGroup
                }
                Request::Clear { .. } => Reply::Done,
                Request::Change { key, change: Change::Remove, .. } => {
                    Reply::Changed(key.as_bytes() == b"Tom")
                }
                Request::Change {
                    change: Change::Expire { life: Life::Of(ttl), only: ExpireIf::Sooner },
                    ..
                } => Reply::Changed(ttl == Duration::from_millis(7)),
                Request::Change { change: Change::Set { value, life: Life::Kept, only }, .. } => {
                    Reply::Changed(&*value == b"630" && only == SetIf::Absent)
                }
                other => panic!("{other:?}"),
            }
        })
    })
}

#[tokio::test]
async fn a_change_is_answered_by_whether_it_was_made() {
    let port = port(&limits(), changing()).await;
    let mut client = Raw::connect(port.address()).await;
    for (target, body, answer) in [
        ("/_carrot/~change/scores/Tom", &b"\x08\x03"[..], &b"\x08\x01"[..]),
        ("/_carrot/~change/scores/Tim", b"\x08\x03", b""),
        ("/_carrot/~change/scores/a/../b", b"\x08\x03", b""),
        ("/_carrot/~change/scores/Tom", b"\x08\x02\x10\x04\x18\x07", b"\x08\x01"),
        ("/_carrot/~change/scores/Tom", b"\x08\x01\x10\x01\x20\x01\x2a\x03630", b"\x08\x01"),
    ] {
        let seen = client.ask(request("POST", target, body)).await.unwrap();
        assert_eq!((seen.status, &*seen.body), (200, answer), "{target}");
        assert!(seen.head.contains("content-type: application/x-protobuf\r\n"), "{}", seen.head);
    }
}

#[tokio::test]
async fn what_is_no_change_is_refused_before_the_node_hears_of_it() {
    let port = port(&limits(), changing()).await;
    let none = &b"the body is no ChangeRequest\n"[..];
    let long = [&b"\x08\x01\x2a\x81\x80\x10"[..], &[b'v'; (256 << 10) + 1]].concat();
    let over = "value of 262145 bytes is over the limit of 262144\n".as_bytes();
    for (target, body, status, expected) in [
        // None, an unknown one, unknown conditions, half a message.
        ("/_carrot/~change/scores/Tom", &b""[..], 400, none),
        ("/_carrot/~change/scores/Tom", b"\x08\x04", 400, none),
        ("/_carrot/~change/scores/Tom", b"\x08\x01\x10\x03", 400, none),
        ("/_carrot/~change/scores/Tom", b"\x08\x02\x10\x06", 400, none),
        ("/_carrot/~change/scores/Tom", b"\x08\x01\x2a\x05630", 400, none),
        ("/_carrot/~change/scores/Tom", &long, 413, over),
        ("/_carrot/~change/scores/", b"\x08\x03", 400, b"key is required\n"),
        ("/_carrot/~change/scores", b"\x08\x03", 400, b"bad request: the path is no group/key\n"),
        ("/_carrot/~change/a%20b/Tom", b"\x08\x03", 404, b"no such group: a b\n"),
        ("/_carrot/~change/none/Tom", b"\x08\x03", 404, b"no such group: none\n"),
    ] {
        let seen = Raw::connect(port.address()).await.ask(request("POST", target, body)).await.unwrap();
        assert_eq!((seen.status, &*seen.body), (status, expected), "{target} {}", body.len());
    }
}

#[tokio::test]
async fn a_delete_without_a_key_clears_the_group() {
    let port = port(&limits(), changing()).await;
    let no_entry = &b"bad request: the path is no group/key\n"[..];
    for (target, status, expected) in [
        ("/_carrot/scores", 204, &b""[..]),
        ("/_carrot/none", 404, b"no such group: none\n"),
        // There may be groups of these names.
        ("/_carrot/id", 404, b"no such group: id\n"),
        ("/_carrot/members", 404, b"no such group: members\n"),
        ("/_carrot/a%20b", 404, b"no such group: a b\n"),
        ("/_carrot/", 400, no_entry),
        ("/carrotCache/scores", 400, no_entry),
        ("/_groupcache/scores", 400, no_entry),
    ] {
        let seen = Raw::connect(port.address()).await.ask(request("DELETE", target, b"")).await.unwrap();
        assert_eq!((seen.status, &*seen.body), (status, expected), "{target}");
    }
}
