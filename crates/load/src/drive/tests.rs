//! Loads against a server of the test's own, which answers as it is told.

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

use super::*;
use crate::protocol::Resp;

/// Answers requests number 0, 1, 2 … of all connections; a `Duration` before it is a stall of the whole server.
type Answers = Arc<dyn Fn(u64) -> (Duration, &'static [u8]) + Send + Sync>;

async fn server(answers: Answers) -> u16 {
    let listener = TcpListener::bind(("127.0.0.1", 0)).await.unwrap();
    let port = listener.local_addr().unwrap().port();
    let turn = Arc::new(tokio::sync::Mutex::new(0_u64));
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            tokio::spawn(serve(stream, turn.clone(), answers.clone()));
        }
    });
    port
}

async fn serve(mut stream: TcpStream, turn: Arc<tokio::sync::Mutex<u64>>, answers: Answers) {
    // With room, since only so much is read at once.
    let mut input = Vec::with_capacity(1 << 16);
    while stream.read_buf(&mut input).await.is_ok_and(|read| read > 0) {
        let requests = input.windows(4).filter(|four| *four == b"*2\r\n").count();
        assert!(input.ends_with(b"\r\n"), "requests come whole on loopback");
        input.clear();
        for _ in 0..requests {
            let mut number = turn.lock().await;
            let (stall, answer) = answers(*number);
            *number += 1;
            if !stall.is_zero() {
                tokio::time::sleep(stall).await;
            }
            drop(number);
            if answer.is_empty() || stream.write_all(answer).await.is_err() {
                return;
            }
        }
    }
}

fn load(port: u16) -> Load {
    Load {
        host: "127.0.0.1".to_owned(),
        port,
        protocol: Protocol::Resp(Resp::default()),
        law: Law::Uniform(100),
        names: Names::of_redis_benchmark(),
        connections: 4,
        depth: 3,
        rate: None,
        warm: Duration::from_millis(10),
        lasts: Duration::from_millis(200),
        timeout: Duration::from_secs(10),
        seed: 1,
    }
}

const NOW: Duration = Duration::ZERO;

#[tokio::test]
async fn a_closed_loop_counts_what_was_answered_by_what_it_was() {
    let port = server(Arc::new(|number| match number % 4 {
        0 => (NOW, b"$-1\r\n"),
        1 => (NOW, b"-BUSY 1 loads\r\n"),
        _ => (NOW, b"$3\r\n630\r\n"),
    }))
    .await;
    let mut edges = Vec::new();
    let found = load(port).run(|edge| edges.push(edge)).await.unwrap();
    let tally = &found.tally;
    assert_eq!(edges, [Edge::Opens, Edge::Closes]);
    assert!(tally.values > 0 && tally.value_bytes == 3 * tally.values, "{tally:?}");
    assert_eq!(tally.errors.keys().collect::<Vec<_>>(), ["BUSY"]);
    assert_eq!(tally.latency.count(), tally.values + tally.missing);
    // Each fourth, give or take what was in flight at the edges.
    assert!(tally.missing.abs_diff(tally.failed()) <= 24 && tally.values.abs_diff(2 * tally.missing) <= 48);
}

#[tokio::test]
async fn at_a_planned_rate_a_stall_is_felt_by_all_that_were_planned_in_it() {
    let stall = Duration::from_millis(100);
    let port =
        server(Arc::new(move |number| (if number == 200 { stall } else { NOW }, b"$3\r\n630\r\n"))).await;
    let planned = Load { rate: Some(1000.0), warm: NOW, lasts: Duration::from_millis(500), ..load(port) };
    let tally = planned.run(|_| {}).await.unwrap().tally;
    // None is left out, however long it took.
    assert_eq!((tally.values, tally.failed()), (500, 0));
    assert!(tally.latency.max() >= stall);
    // 100 of 500 were planned while nothing was answered, and half of these waited for half the stall at least. A client
    // that had not sent meanwhile would have seen it four times, once a connection.
    assert!(tally.latency.quantile(0.91) >= stall / 2, "{:?}", tally.latency.quantile(0.91));
}

#[tokio::test]
async fn what_a_broken_connection_owed_is_an_error_and_the_next_one_goes_on() {
    let port = server(Arc::new(|number| (NOW, if number == 100 { b"" } else { b"$3\r\n630\r\n" }))).await;
    let planned = Load { rate: Some(2000.0), warm: NOW, ..load(port) };
    let tally = planned.run(|_| {}).await.unwrap().tally;
    assert_eq!(tally.asked(), 400);
    let broken = tally.errors["connection broken"];
    assert!(tally.errors.len() == 1 && (1..=3).contains(&broken), "{:?}", tally.errors);
}

#[tokio::test]
async fn an_answer_that_does_not_come_is_late_and_no_hang() {
    let port = server(Arc::new(|_| (Duration::from_secs(3600), b""))).await;
    let waiting = Load { rate: Some(100.0), timeout: Duration::from_millis(50), warm: NOW, ..load(port) };
    let tally = waiting.run(|_| {}).await.unwrap().tally;
    assert_eq!(tally.errors.get("no answer in time"), Some(&20), "{:?}", tally.errors);
}

#[tokio::test]
async fn a_server_that_speaks_otherwise_is_named_so() {
    let port = server(Arc::new(|_| (NOW, b"HTTP/1.1 400 Bad Request\r\n\r\n"))).await;
    let tally = Load { rate: Some(100.0), warm: NOW, ..load(port) }.run(|_| {}).await.unwrap().tally;
    assert_eq!(tally.errors.get("garbled: no answer to GET in RESP2"), Some(&20), "{:?}", tally.errors);
}

#[tokio::test]
async fn nobody_there_is_an_error_before_anything_is_asked() {
    let listener = TcpListener::bind(("127.0.0.1", 0)).await.unwrap();
    let port = listener.local_addr().unwrap().port();
    drop(listener);
    let refused = load(port).run(|_| panic!("nothing opens")).await.unwrap_err();
    assert_eq!(refused.to_string(), format!("cannot connect to 127.0.0.1:{port}"));
}

#[tokio::test]
async fn a_password_that_is_refused_is_said_at_once() {
    let port = server(Arc::new(|_| (NOW, b"-WRONGPASS no\r\n"))).await;
    let protocol = Protocol::Resp(Resp { prefix: String::new(), password: Some("sesame".to_owned()) });
    let refused = Load { protocol, ..load(port) }.run(|_| {}).await.unwrap_err();
    assert_eq!(refused.to_string(), format!("127.0.0.1:{port}: refused at once: WRONGPASS"));
}
