//! A listener under clients that dawdle, crowd, send nonsense and stay on.

use std::io::{Read, Write};
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::time::Duration;

use http_body_util::{BodyExt, Full};
use tokio::runtime::Handle;
use tokio::sync::Notify;

use super::*;
use crate::net::listen::ListenStats;
use crate::net::raw::{Raw, get};
use crate::units::ByteSize;

mod quick;

fn limits() -> ListenLimits {
    ListenLimits {
        connections: 100,
        header_timeout: Duration::from_secs(60),
        idle_timeout: Duration::from_secs(60),
        head: ByteSize::kib(128),
    }
}

async fn bind(limits: ListenLimits) -> Listener {
    Listener::bind("127.0.0.1:0".parse().unwrap(), limits).await.unwrap()
}

/// Answers every path with itself; `/wait` only when told to, `/panic` with one, `/large` with much.
async fn echo(limits: ListenLimits) -> (Serving, Arc<Notify>) {
    let go = Arc::new(Notify::new());
    let told = go.clone();
    let serving = bind(limits).await.serve(move |request: Request<Incoming>| {
        let go = go.clone();
        async move {
            match request.uri().path() {
                "/wait" => go.notified().await,
                "/panic" => panic!("as asked"),
                // More than the system's buffers hold.
                "/large" => return Response::new(Full::new(vec![b'x'; 16 << 20].into())),
                _ => {}
            }
            Response::new(Full::new(Bytes::copy_from_slice(request.uri().path().as_bytes())))
        }
    });
    (serving, told)
}

/// Waits for the counters to say so; a test that waits in vain is stopped by whoever runs it.
async fn until(serving: &Serving, says: impl Fn(ListenStats) -> bool) {
    while !says(serving.stats()) {
        clock::sleep(Duration::from_millis(1)).await;
    }
}

#[tokio::test]
async fn a_service_for_each_connection_keeps_in_mind_what_happened_on_its_own() {
    let serving = bind(limits()).await.serve_each(None, || {
        let requests = AtomicU64::new(0);
        move |_| {
            let nth = requests.fetch_add(1, Relaxed) + 1;
            async move { Response::new(Full::new(Bytes::from(nth.to_string()))) }
        }
    });
    let mut clients = [Raw::connect(serving.address()).await, Raw::connect(serving.address()).await];
    for nth in [&b"1"[..], b"2", b"3"] {
        for client in &mut clients {
            assert_eq!(client.ask(get("/")).await.unwrap().body, nth);
        }
    }
}

#[tokio::test]
async fn a_silent_client_and_half_a_header_are_closed_at_the_header_deadline() {
    let (serving, _) = echo(ListenLimits { header_timeout: Duration::from_millis(300), ..limits() }).await;
    let mut good = Raw::connect(serving.address()).await;
    assert_eq!(good.ask(get("/good")).await.unwrap().body, b"/good");
    for beginning in ["", "G", "GET / HTTP/1.1\r\nhost: x\r\n", "PRI * HT"] {
        let mut slow = Raw::connect(serving.address()).await;
        slow.send(beginning.as_bytes()).await;
        assert!(slow.end().await.is_empty(), "{beginning:?}");
        // Past the header deadline since its last request, and not closed: between two requests it has longer.
        assert_eq!(good.ask(get("/good")).await.unwrap().body, b"/good");
    }
    until(&serving, |stats| stats.overdue == 4 && stats.open == 1).await;
}

#[tokio::test]
async fn a_second_header_that_never_ends_is_closed_too() {
    let (serving, _) = echo(ListenLimits { header_timeout: Duration::from_millis(300), ..limits() }).await;
    let mut slow = Raw::connect(serving.address()).await;
    assert_eq!(slow.ask(get("/once")).await.unwrap().status, 200);
    slow.send(b"GET /twice HT").await;
    assert!(slow.end().await.is_empty());
}

#[tokio::test]
async fn a_connection_that_stays_idle_is_closed_at_the_idle_deadline_whichever_is_shorter() {
    for header_timeout in [Duration::from_secs(60), Duration::from_millis(300)] {
        let idle_timeout = Duration::from_millis(400);
        let (serving, _) = echo(ListenLimits { header_timeout, idle_timeout, ..limits() }).await;
        let mut idle = Raw::connect(serving.address()).await;
        assert_eq!(idle.ask(get("/a")).await.unwrap().status, 200);
        assert!(idle.end().await.is_empty());
        until(&serving, |stats| stats.overdue == 1 && stats.open == 0).await;
    }
}

#[tokio::test]
async fn an_answer_may_take_longer_than_any_deadline_of_the_clients() {
    let short = Duration::from_millis(300);
    let (serving, go) = echo(ListenLimits { header_timeout: short, idle_timeout: short, ..limits() }).await;
    let mut waiting = Raw::connect(serving.address()).await;
    waiting.send(get("/wait").as_bytes()).await;
    for _ in 0..3 {
        Raw::connect(serving.address()).await.end().await;
    }
    go.notify_one();
    assert_eq!(waiting.response().await.unwrap().body, b"/wait");
}

#[tokio::test]
async fn at_the_cap_of_connections_the_next_one_waits_and_is_answered_later() {
    let (serving, _) = echo(ListenLimits { connections: 2, ..limits() }).await;
    let mut first = Raw::connect(serving.address()).await;
    let mut second = Raw::connect(serving.address()).await;
    for open in [&mut first, &mut second] {
        assert_eq!(open.ask(get("/a")).await.unwrap().status, 200);
    }
    let mut third = Raw::connect(serving.address()).await;
    third.send(get("/third").as_bytes()).await;
    for _ in 0..50 {
        assert_eq!(second.ask(get("/b")).await.unwrap().status, 200);
    }
    let stats = serving.stats();
    assert_eq!((stats.open, stats.accepted, stats.full), (2, 2, 1));
    drop(first);
    assert_eq!(third.response().await.unwrap().body, b"/third");
    until(&serving, |stats| stats.accepted == 3).await;
}

#[tokio::test]
async fn a_meter_reads_on_after_its_listener_has_stopped() {
    let (serving, _) = echo(limits()).await;
    let meter = serving.meter();
    let mut client = Raw::connect(serving.address()).await;
    assert_eq!(client.ask(get("/a")).await.unwrap().status, 200);
    assert_eq!(meter.stats(), serving.stats());
    assert_eq!((meter.stats().open, meter.stats().accepted), (1, 1));
    assert_eq!(serving.stop(Duration::from_secs(60)).await, 0);
    assert_eq!((meter.stats().open, meter.stats().accepted), (0, 1));
}

#[tokio::test]
async fn a_stop_closes_what_is_idle_and_lets_what_is_in_flight_end() {
    let (serving, go) = echo(limits()).await;
    let address = serving.address();
    let mut busy = Raw::connect(address).await;
    let mut idle = Raw::connect(address).await;
    let mut silent = Raw::connect(address).await;
    assert_eq!(idle.ask(get("/a")).await.unwrap().status, 200);
    busy.send(get("/wait").as_bytes()).await;
    until(&serving, |stats| stats.accepted == 3).await;
    // The request may still be on its way; a connection that is silent when the stop comes is closed by it.
    assert_eq!(Raw::connect(address).await.ask(get("/b")).await.unwrap().status, 200);
    let stopping = tokio::spawn(serving.stop(Duration::from_secs(60)));
    assert!(idle.end().await.is_empty());
    assert!(silent.end().await.is_empty());
    assert!(TcpStream::connect(address).await.is_err());
    assert!(!stopping.is_finished());
    go.notify_one();
    let last = busy.response().await.unwrap();
    assert_eq!(last.body, b"/wait");
    assert!(last.head.contains("connection: close"), "{}", last.head);
    assert_eq!(stopping.await.unwrap(), 0);
}

#[tokio::test]
async fn who_waits_in_the_queue_when_the_stop_comes_is_answered_also_at_the_cap() {
    for connections in [100, 3] {
        let (serving, _) = echo(ListenLimits { connections, ..limits() }).await;
        // Blocking: the runtime of this test accepts nothing meanwhile.
        let waiting: Vec<_> = (0..20)
            .map(|_| {
                let mut client = std::net::TcpStream::connect(serving.address()).unwrap();
                client.write_all(get("/late").as_bytes()).unwrap();
                client
            })
            .collect();
        let meter = serving.meter();
        assert_eq!(meter.stats().accepted, 0);
        assert_eq!(serving.stop(Duration::from_secs(60)).await, 0);
        for mut client in waiting {
            let mut seen = String::new();
            client.read_to_string(&mut seen).unwrap();
            assert!(seen.starts_with("HTTP/1.1 200") && seen.ends_with("/late"), "{seen}");
        }
        assert_eq!(meter.stats().accepted, 20);
    }
}

#[test]
fn connections_are_handed_round_and_stay_where_they_were_handed() {
    let runtime =
        || tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
    let (first, second, elsewhere) = (runtime(), runtime(), runtime());
    let name = |runtime: &tokio::runtime::Runtime| format!("{:?}", runtime.handle().id()).into_bytes();
    let names = [name(&first), name(&second)];
    let handles = [first.handle().clone(), second.handle().clone()];
    elsewhere.block_on(async {
        let any = "127.0.0.1:0".parse().unwrap();
        let serving = Listener::bind_on(any, limits(), handles)
            .await
            .unwrap()
            .serve(async |_| Response::new(Full::new(Bytes::from(format!("{:?}", Handle::current().id())))));
        let (mut clients, mut seen) = (Vec::new(), Vec::new());
        for _ in 0..4 {
            let mut client = Raw::connect(serving.address()).await;
            seen.push(client.ask(get("/a")).await.unwrap().body);
            clients.push(client);
        }
        assert_eq!(seen, [&names[..], &names[..]].concat());
        for (client, name) in clients.iter_mut().zip(&seen) {
            assert_eq!(client.ask(get("/b")).await.unwrap().body, *name);
        }
        assert_eq!(serving.stop(Duration::from_secs(60)).await, 0);
    });
}

#[tokio::test]
async fn what_outlasts_the_drain_is_broken_and_counted() {
    let (serving, _go) = echo(limits()).await;
    let mut busy = Raw::connect(serving.address()).await;
    busy.send(get("/wait").as_bytes()).await;
    until(&serving, |stats| stats.accepted == 1).await;
    assert_eq!(Raw::connect(serving.address()).await.ask(get("/a")).await.unwrap().status, 200);
    assert_eq!(serving.stop(Duration::from_millis(50)).await, 1);
    assert!(busy.end().await.is_empty());
}

#[tokio::test]
async fn dropping_the_handle_breaks_everything() {
    let (serving, _go) = echo(limits()).await;
    let address = serving.address();
    let mut busy = Raw::connect(address).await;
    busy.send(get("/wait").as_bytes()).await;
    until(&serving, |stats| stats.accepted == 1).await;
    drop(serving);
    assert!(busy.end().await.is_empty());
}

#[tokio::test]
async fn a_panic_breaks_its_own_connection_only() {
    let (serving, _) = echo(limits()).await;
    let mut good = Raw::connect(serving.address()).await;
    assert_eq!(good.ask(get("/a")).await.unwrap().status, 200);
    assert!(Raw::connect(serving.address()).await.ask(get("/panic")).await.is_none());
    until(&serving, |stats| stats.panics == 1 && stats.open == 1).await;
    assert_eq!(good.ask(get("/b")).await.unwrap().body, b"/b");
}

#[tokio::test]
async fn targets_and_headers_without_end_are_refused_by_name() {
    let (serving, _) = echo(limits()).await;
    let long = |length| get(&format!("/{}", "x".repeat(length)));
    let header = |length| format!("GET / HTTP/1.1\r\nhost: x\r\nx: {}\r\n\r\n", "y".repeat(length));
    let many = format!("GET / HTTP/1.1\r\nhost: x\r\n{}\r\n", "a: b\r\n".repeat(101));
    for (request, status) in [
        (long(60_000), 200),
        (long(65_534), 414),
        (long(100_000), 414),
        (header(60_000), 200),
        (header(10 << 20), 431),
        (many, 431),
        ("nonsense\r\n\r\n".to_owned(), 400),
        ("GET /\0 HTTP/1.1\r\n\r\n".to_owned(), 400),
    ] {
        let shown = request[..request.len().min(60)].to_owned();
        let mut client = Raw::connect(serving.address()).await;
        assert_eq!(client.ask(&request).await.map(|seen| seen.status), Some(status), "{shown}");
    }
}

#[tokio::test]
async fn a_client_that_is_answered_while_it_still_sends_can_send_it_all_and_is_told() {
    let (serving, _) = echo(limits()).await;
    // More than the system's buffers hold, and the service reads none of it.
    let body = "x".repeat(16 << 20);
    for _ in 0..3 {
        let mut client = Raw::connect(serving.address()).await;
        let head = format!("PUT /refused HTTP/1.1\r\nhost: x\r\ncontent-length: {}\r\n\r\n", body.len());
        client.send_all(head.as_bytes()).await;
        client.send_all(body.as_bytes()).await;
        assert_eq!(client.response().await.unwrap().body, b"/refused");
        assert!(client.end().await.is_empty(), "the rest of a body is no request");
    }
    until(&serving, |stats| stats.open == 0).await;
    assert_eq!(serving.stats().overdue, 0);
}

#[tokio::test]
async fn a_client_that_sends_without_end_is_heard_for_as_long_as_a_header_may_take() {
    let limits = ListenLimits { header_timeout: Duration::from_millis(300), ..limits() };
    let (serving, _) = echo(limits).await;
    let mut client = Raw::connect(serving.address()).await;
    client.send(b"PUT /refused HTTP/1.1\r\nhost: x\r\ntransfer-encoding: chunked\r\n\r\n").await;
    let chunk = [&b"10000\r\n"[..], &[b'x'; 0x10000], b"\r\n"].concat();
    while client.sends(&chunk).await {}
    until(&serving, |stats| stats.open == 0).await;
    assert_eq!(serving.stats().overdue, 1, "it was cut off, and not at its deadline");
}

#[tokio::test]
async fn a_client_that_asks_on_and_stops_taking_answers_is_closed_at_its_deadline() {
    let short = Duration::from_millis(300);
    let (serving, _) = echo(ListenLimits { header_timeout: short, idle_timeout: short, ..limits() }).await;
    // After the second, whose body nobody reads, hyper takes up a request while the last answer is on its way.
    let bodies = ["\r\n", "transfer-encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\n"];
    for (nth, body) in (1..).zip(bodies) {
        let mut client = Raw::connect(serving.address()).await;
        client.send(format!("GET /large HTTP/1.1\r\nhost: x\r\n{body}").repeat(3).as_bytes()).await;
        client.take(1 << 20).await;
        until(&serving, |stats| stats.accepted == nth && stats.open == 0).await;
    }
    assert_eq!(serving.stats().overdue, 2, "they were cut off, and not at their deadline");
}

#[tokio::test]
async fn a_stop_does_not_wait_for_a_client_that_has_its_answer_and_still_sends() {
    let (serving, _) = echo(limits()).await;
    let mut client = Raw::connect(serving.address()).await;
    let seen = client.ask("PUT /refused HTTP/1.1\r\nhost: x\r\ncontent-length: 100\r\n\r\n").await;
    assert_eq!(seen.unwrap().body, b"/refused");
    assert_eq!(serving.stop(Duration::from_secs(60)).await, 0);
}

#[tokio::test]
async fn a_port_in_use_is_refused_by_its_address() {
    let taken = bind(limits()).await;
    let error = Listener::bind(taken.address(), limits()).await.unwrap_err();
    assert!(error.to_string().ends_with(&format!("cannot listen on {}", taken.address())), "{error}");
}

#[tokio::test]
async fn limits_beyond_all_reckoning_are_as_good_as_none() {
    let without_end = ListenLimits {
        header_timeout: Duration::MAX,
        idle_timeout: Duration::MAX,
        head: ByteSize::bytes(0),
        ..limits()
    };
    let (serving, _) = echo(without_end).await;
    let mut client = Raw::connect(serving.address()).await;
    assert_eq!(client.ask(get("/a")).await.unwrap().status, 200);
    assert_eq!(client.ask(get("/b")).await.unwrap().status, 200);
}
