//! What becomes of a connection: whose it is, what goes over it both ways at once, and when it is closed.

use std::future::Future;
use std::task::Poll;

use prost::Message;
use tokio::runtime::{Builder, Runtime};

use super::*;
use crate::net::wire;
use crate::peers::{Sent, Then};

fn head(fields: &str) -> String {
    format!("HTTP/1.1 200 OK\r\ncontent-type: application/x-protobuf\r\n{fields}\r\n\r\n")
}

#[tokio::test]
async fn a_reply_that_comes_before_an_upload_is_over_is_taken_and_the_rest_is_not_sent() {
    let refusal =
        "HTTP/1.1 413 Content Too Large\r\nx-carrot-outcome: too_large\r\ncontent-length: 4\r\n\r\nwhy\n";
    let mut peer =
        Peer::play(vec![vec![Hear, say(refusal), Step::Await, Hold], vec![Hear, good(), Hold]]).await;
    let transport = HttpTransport::new(Dialect::Native, limits());
    // More than the system takes in for a peer that does not read.
    let reply = transport.ask(&peer.member, set(vec![0; 32 << 20]), soon()).await;
    assert!(matches!(&reply, Ok(Reply::TooLarge(why)) if **why == *"why"), "{reply:?}");
    peer.go_on.add_permits(1);
    assert_eq!(peer.ended.recv().await, Some(0), "the connection is closed");
    assert!(is_good(&transport.ask(&peer.member, get(b"Tom"), soon()).await));
}

#[tokio::test]
async fn a_large_value_comes_whole_in_one_piece_or_in_chunks_of_any_size() {
    let value: Vec<u8> = (0..700_000).map(|n: u32| u8::try_from(n % 251).unwrap()).collect();
    let body = wire::SetRequest::new(value.clone().into(), None).encode_to_vec();
    let whole = [head(&format!("content-length: {}", body.len())).as_bytes(), &body].concat();
    let mut chunked = head("transfer-encoding: chunked").into_bytes();
    let mut rest = &body[..];
    for size in [1, 16 << 10, 300_000, 2, 100_000, usize::MAX] {
        let (chunk, left) = rest.split_at(size.min(rest.len()));
        chunked.extend_from_slice(format!("{:x}\r\n", chunk.len()).as_bytes());
        chunked.extend_from_slice(chunk);
        chunked.extend_from_slice(b"\r\n");
        rest = left;
    }
    chunked.extend_from_slice(b"0\r\n\r\n");
    let peer = Peer::play(vec![vec![Hear, say(whole), Hear, say(chunked), Hear, good(), Hold]]).await;
    let transport = HttpTransport::new(Dialect::Native, limits());
    for _ in 0..2 {
        let reply = transport.ask(&peer.member, get(b"Tom"), soon()).await;
        assert!(matches!(&reply, Ok(Reply::Found(found)) if *found.value == *value), "{reply:?}");
    }
    assert!(is_good(&transport.ask(&peer.member, get(b"Tom"), soon()).await), "on the same connection");
}

#[tokio::test]
async fn a_large_value_that_is_cut_is_none() {
    for fields in ["content-length: 500000", "transfer-encoding: chunked"] {
        let mut cut = head(fields).into_bytes();
        if fields.ends_with("chunked") {
            cut.extend_from_slice(b"7a120\r\n");
        }
        cut.extend_from_slice(&[0; 499_999]);
        let peer = Peer::play(vec![vec![Hear, say(cut)], vec![Hear, good(), Hold]]).await;
        let transport = HttpTransport::new(Dialect::Native, limits());
        let reply = transport.ask(&peer.member, get(b"Tom"), soon()).await;
        assert!(matches!(reply, Err(PeerError::Broken(_))), "{reply:?}");
        assert!(is_good(&transport.ask(&peer.member, get(b"Tom"), soon()).await));
    }
}

#[tokio::test]
async fn a_chunk_over_the_limit_is_refused_also_where_nothing_of_it_has_come_with_its_size() {
    let limits = Limits { value: ByteSize::kib(1), ..limits() };
    // More than a value and what may stand beside it, and less than is read at once.
    let size = say(head("transfer-encoding: chunked") + "12000\r\n");
    let peer = Peer::play(vec![vec![Hear, size, Hold], vec![Hear, good(), Hold]]).await;
    let transport = HttpTransport::new(Dialect::Native, limits);
    let reply = transport.ask(&peer.member, get(b"Tom"), soon()).await;
    assert!(matches!(&reply, Err(PeerError::Broken(why)) if why.contains("over the limit")), "{reply:?}");
    assert!(is_good(&transport.ask(&peer.member, get(b"Tom"), soon()).await));
}

#[tokio::test]
async fn a_body_where_none_may_be_is_never_taken_for_the_next_reply() {
    for fields in ["content-length: 18", "transfer-encoding: chunked"] {
        let none = say(format!("HTTP/1.1 204 No Content\r\n{fields}\r\n\r\n"));
        let wrong = say(head("content-length: 3") + "\x0a\x01x");
        let peer = Peer::play(vec![vec![Hear, none, Hear, wrong, Hold], vec![Hear, good(), Hold]]).await;
        let transport = HttpTransport::new(Dialect::Native, limits());
        assert!(transport.ask(&peer.member, get(b"Tom"), soon()).await.is_err());
        let reply = transport.ask(&peer.member, get(b"Tom"), soon()).await;
        assert!(is_good(&reply), "{reply:?}");
    }
}

#[tokio::test]
async fn a_refusal_that_ends_with_its_connection_is_taken_and_the_connection_not_used_again() {
    let refusal = "HTTP/1.0 500 Oh\r\ncontent-type: text/plain\r\n\r\nit failed";
    let peer = Peer::play(vec![vec![Hear, say(refusal)], vec![Hear, good(), Hold]]).await;
    let transport = HttpTransport::new(Dialect::Golang, limits());
    let reply = transport.ask(&peer.member, get(b"Tom"), soon()).await;
    assert!(matches!(&reply, Ok(Reply::LoadFailed(why)) if **why == *"it failed"), "{reply:?}");
    assert!(is_good(&transport.ask(&peer.member, get(b"Tom"), soon()).await));
}

#[tokio::test]
async fn each_time_that_connections_are_idle_they_are_closed_in_time() {
    let script = || vec![Hear, good(), Hold];
    let mut peer = Peer::play(vec![script(), script(), script()]).await;
    let limits = Limits { idle_timeout: Duration::from_millis(20), ..limits() };
    let transport = HttpTransport::new(Dialect::Native, limits);
    for nth in 0..3 {
        assert!(is_good(&transport.ask(&peer.member, get(b"Tom"), soon()).await));
        assert_eq!(peer.ended.recv().await, Some(nth));
    }
    assert_eq!(transport.pool(&peer.member).idle(), 0);
}

fn runtime() -> Runtime {
    Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap()
}

#[test]
fn a_connection_serves_the_callers_of_all_runtimes_and_those_that_stay_when_its_own_stops() {
    let (first, second, peers) = (runtime(), runtime(), runtime());
    let port = peers.block_on(port(&limits(), |_| Reply::NotFound));
    let transport = HttpTransport::new(Dialect::Native, limits());
    let member = member(port.address());
    let asked_on = |runtime: &Runtime| {
        let reply = runtime.block_on(transport.ask(&member, get(b"Tom"), soon()));
        assert!(matches!(reply, Ok(Reply::NotFound)), "{reply:?}");
    };
    for runtime in [&first, &second, &first] {
        asked_on(runtime);
    }
    assert_eq!(port.stats().accepted, 1);
    drop(first);
    asked_on(&second);
    asked_on(&second);
    assert_eq!(transport.pool(&member).idle(), 1);
}

/// How a request on the line ended.
async fn sent(line: &dyn Line, deadline: Instant) -> Sent {
    let (tell, told) = tokio::sync::oneshot::channel();
    let then = Box::new(|sent, _| drop(tell.send(sent)));
    line.send(&get(b"Tom"), clock::now(), deadline, then);
    told.await.unwrap()
}

/// A transport whose first get was answered, so that a connection is idle.
async fn warm(scripts: Vec<Vec<Step>>) -> (Peer, HttpTransport, Arc<dyn Line>) {
    warm_with(limits(), scripts).await
}

async fn warm_with(limits: Limits, scripts: Vec<Vec<Step>>) -> (Peer, HttpTransport, Arc<dyn Line>) {
    let peer = Peer::play(scripts).await;
    let transport = HttpTransport::new(Dialect::Native, limits);
    assert!(transport.line(&peer.member).is_none(), "nothing is connected");
    assert!(is_good(&transport.ask(&peer.member, get(b"Tom"), soon()).await));
    let line = transport.line(&peer.member).unwrap();
    (peer, transport, line)
}

#[tokio::test]
async fn a_line_stands_while_a_connection_is_idle_and_carries_one_request_at_a_time() {
    let (peer, transport, line) = warm(vec![vec![Hear, good(), Hear, Step::Await, good(), Hold]]).await;
    let mut first = Box::pin(sent(&*line, soon()));
    assert!(std::future::poll_fn(|cx| Poll::Ready(first.as_mut().poll(cx).is_pending())).await);
    assert!(transport.line(&peer.member).is_none(), "its connection is in use");
    assert!(matches!(sent(&*line, soon()).await, Sent::Unseen));
    peer.go_on.add_permits(1);
    assert!(matches!(first.await, Sent::Answered(reply) if is_good(&reply)));
    assert!(transport.line(&peer.member).is_some());
    assert_eq!(transport.pool(&peer.member).free().0, limits().connections_per_peer);
}

#[tokio::test]
async fn a_request_on_a_line_ends_at_its_deadline_and_its_connection_with_it() {
    let head = head("content-length: 5");
    for silent in [vec![Hear, good(), Hear, Hold], vec![Hear, good(), Hear, say(head), Hold]] {
        let (mut peer, transport, line) = warm(vec![silent, vec![Hear, good(), Hold]]).await;
        let late = sent(&*line, within(Duration::from_millis(30))).await;
        assert!(matches!(late, Sent::Answered(Err(PeerError::Timeout(_)))));
        assert_eq!(peer.ended.recv().await, Some(0));
        assert!(is_good(&transport.ask(&peer.member, get(b"Tom"), soon()).await));
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_request_on_a_line_ends_at_its_deadline_also_while_the_peer_sends_on() {
    // A value that would be over the limit after some minutes, in drops and in floods; these come faster than they are read.
    let drop = &b"1\r\nx\r\n"[..];
    let flood: &'static [u8] = drop.repeat(20_000).leak();
    for endless in [drop, flood] {
        let head = head("transfer-encoding: chunked");
        let sends_on = vec![Hear, good(), Hear, say(head), SayForEver(endless)];
        let limits = Limits { value: ByteSize::gib(1), ..limits() };
        let (mut peer, transport, line) = warm_with(limits, vec![sends_on, vec![Hear, good(), Hold]]).await;
        let late = clock::timeout(Duration::from_secs(30), sent(&*line, within(Duration::from_millis(30))));
        let late = late.await.expect("whoever asks has no other timer");
        assert!(matches!(late, Sent::Answered(Err(PeerError::Timeout(_)))));
        assert_eq!(peer.ended.recv().await, Some(0));
        assert!(is_good(&transport.ask(&peer.member, get(b"Tom"), soon()).await));
    }
}

#[test]
fn a_line_tells_on_the_thread_that_asks_only_where_its_connection_lives_on_a_runtime_of_that_thread() {
    let lone = || Builder::new_current_thread().enable_all().build().unwrap();
    let (first, second, several) = (lone(), lone(), runtime());
    for (home, asks, is_here) in [
        (&first, &first, true),
        (&first, &second, false),
        (&first, &several, false),
        (&several, &several, false),
        (&several, &first, false),
    ] {
        let peer = several.block_on(Peer::play(vec![vec![Hear, good(), Hear, good(), Hold]]));
        let transport = HttpTransport::new(Dialect::Native, limits());
        assert!(is_good(&home.block_on(transport.ask(&peer.member, get(b"Tom"), soon()))));
        let line = transport.line(&peer.member).unwrap();
        let (tell, told) = tokio::sync::oneshot::channel();
        let send = |then: Then| asks.block_on(async { line.send(&get(b"Tom"), clock::now(), soon(), then) });
        assert_eq!(send(Box::new(|sent, _| drop(tell.send(sent)))), is_here);
        // What is not sent is told at once, by whoever asked.
        assert!(!send(Box::new(|sent, _| assert!(matches!(sent, Sent::Unseen)))));
        assert!(matches!(home.block_on(told), Ok(Sent::Answered(reply)) if is_good(&reply)));
    }
}

#[tokio::test]
async fn a_line_that_the_peer_closes_as_it_is_used_has_carried_nothing() {
    let (peer, transport, line) = warm(vec![vec![Hear, good(), Hear], vec![Hear, good(), Hold]]).await;
    assert!(matches!(sent(&*line, soon()).await, Sent::Unseen));
    assert!(transport.line(&peer.member).is_none());
    assert!(is_good(&transport.ask(&peer.member, get(b"Tom"), soon()).await));
}

#[tokio::test]
async fn a_connection_on_which_the_peer_speaks_unasked_is_closed_at_once() {
    let unasked = "HTTP/1.1 408 Request Timeout\r\nconnection: close\r\ncontent-length: 0\r\n\r\n";
    let script = vec![Hear, good(), Step::Await, say(unasked), Hold];
    let (mut peer, transport, _) = warm(vec![script, vec![Hear, good(), Hold]]).await;
    peer.go_on.add_permits(1);
    assert_eq!(peer.ended.recv().await, Some(0));
    assert!(transport.line(&peer.member).is_none());
    assert!(is_good(&transport.ask(&peer.member, get(b"Tom"), soon()).await));
}

#[tokio::test(flavor = "multi_thread")]
async fn requests_on_a_line_that_loses_its_runtime_are_told_so() {
    let peer = Peer::play(vec![vec![Hear, good(), Hear, Hold]]).await;
    let transport = HttpTransport::new(Dialect::Native, limits());
    let connects = runtime();
    let asks = || connects.block_on(transport.ask(&peer.member, get(b"Tom"), soon()));
    assert!(is_good(&std::thread::scope(|threads| threads.spawn(asks).join().unwrap())));
    let line = transport.line(&peer.member).unwrap();
    let (tell, told) = tokio::sync::oneshot::channel::<()>();
    let then = Box::new(move |_: Sent, _| drop(tell));
    line.send(&get(b"Tom"), clock::now(), soon(), then);
    connects.shutdown_background();
    assert!(told.await.is_err());
    assert!(transport.line(&peer.member).is_none());
}
