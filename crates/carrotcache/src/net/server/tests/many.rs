//! A POST of a group, which asks for many keys: what is taken, and what is refused before the node hears of it.

use super::*;
use crate::memory::Memory;

fn post(target: &str, body: &[u8]) -> Vec<u8> {
    let head = format!("POST {target} HTTP/1.1\r\nhost: x\r\ncontent-length: {}\r\n\r\n", body.len());
    [head.as_bytes(), body].concat()
}

/// A node that has 630 for Tom, fails for none, and is asked for many keys alone.
fn many() -> Answer {
    Arc::new(|request| {
        Box::pin(async move {
            let Request::GetMany { group, keys, .. } = request else { panic!("{request:?}") };
            if group.as_str() != "scores" {
                return Reply::NoGroup;
            }
            let reply =
                |key: Key| if key == Key::from("Tom") { Reply::Found(tom()) } else { Reply::NotFound };
            Reply::Many(keys.into_iter().map(reply).collect())
        })
    })
}

#[tokio::test]
async fn many_keys_are_answered_in_one_message_and_a_body_that_is_none_is_refused() {
    let port = port(&limits(), many()).await;
    let found = b"\x0a\x10\x0a\x0e\x0a\x03630\x11\0\0\0\0\0\0\xf8\x3f";
    let not_found = b"\x0a\x0b\x12\x09not_found";
    let both = [&found[..], not_found].concat();
    let long = [&b"\x0a\x80\x80\x04"[..], &[b'k'; 65_536]].concat();
    let too_many = b"\x0a\0".repeat(16_385);
    let most = b"\x0a\0".repeat(16_384);
    for (target, body, status, expected) in [
        ("/_carrot/scores", &b"\x0a\x03Tom\x0a\x03Tim"[..], 200, &*both),
        ("/_carrot/scores", b"\x0a\x03Tom", 200, found),
        ("/_carrot/scores", b"", 200, b""),
        ("/_carrot/none", b"\x0a\x03Tom", 404, b"no such group: none\n"),
        ("/_carrot/id", b"\x0a\x03Tom", 404, b"no such group: id\n"),
        ("/_carrot/a%20b", b"\x0a\x03Tom", 404, b"no such group: a b\n"),
        ("/_carrot/scores", b"\x0a\x04Tom", 400, b"the body is no GetManyRequest\n"),
        ("/_carrot/scores", &long, 413, b"more than 64KiB of keys in one request\n"),
        ("/_carrot/scores", &too_many, 413, b"more than 16384 keys in one request\n"),
        ("/carrotCache/scores", b"\x0a\x03Tom", 400, b"bad request: the path is no group/key\n"),
        ("/_groupcache/scores", b"\x0a\x03Tom", 400, b"bad request: the path is no group/key\n"),
    ] {
        let seen = Raw::connect(port.address()).await.ask(post(target, body)).await.unwrap();
        assert_eq!((seen.status, &*seen.body), (status, expected), "{target} {}", body.len());
    }
    let seen = Raw::connect(port.address()).await.ask(post("/_carrot/scores", &most)).await.unwrap();
    assert_eq!((seen.status, seen.body.len()), (200, not_found.len() * 16_384));
    assert!(seen.head.contains("content-type: application/x-protobuf\r\n"), "{}", seen.head);
}

#[tokio::test]
async fn the_values_of_many_answers_are_charged_together_and_without_room_the_answer_is_busy() {
    let memory = Memory::new(ByteSize::bytes(400_000));
    let limits = Limits { memory: memory.clone(), ..limits() };
    let large: Answer = Arc::new(|_| {
        Box::pin(async {
            let found = |_| Reply::Found(family::bare(vec![b'v'; 150_000].into(), None));
            Reply::Many((0..3).map(found).collect())
        })
    });
    let port = port(&limits, large).await;
    let seen = Raw::connect(port.address()).await.ask(post("/_carrot/scores", b"\x0a\x03Tom")).await.unwrap();
    assert_eq!((seen.status, &*seen.body), (503, &b"memory of 400000B is reached\n"[..]));
    assert_eq!(memory.snapshot().unwrap().used_bytes, 0);
}

#[tokio::test]
async fn a_request_for_many_keys_takes_one_place_among_those_in_flight() {
    let port = port(&Limits { in_flight: 1, ..limits() }, many()).await;
    let mut slow = Raw::connect(port.address()).await;
    // Its head is here, and its body is not.
    slow.send_all(b"POST /_carrot/scores HTTP/1.1\r\nhost: x\r\ncontent-length: 5\r\n\r\n").await;
    let busy = b"1 requests from peers in flight\n";
    loop {
        let seen = Raw::connect(port.address()).await.ask(post("/_carrot/scores", b"")).await.unwrap();
        if (seen.status, &*seen.body) == (503, &busy[..]) {
            break;
        }
        assert_eq!(seen.status, 200, "the slow one has not been read yet");
    }
    slow.send_all(b"\x0a\x03Tom").await;
    assert_eq!(slow.response().await.unwrap().status, 200);
}
