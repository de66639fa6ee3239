//! A listener with answers at once, whatever comes between the requests for them.

use std::sync::atomic::AtomicUsize;

use http::header::{CONNECTION, HeaderValue};
use http_body_util::Collected;

use super::*;
use crate::net::quick::{COPIED, Plain, Quick};
use crate::net::raw::Seen;
use crate::value::Value;

/// Answers what begins with `/quick` with the target; `/quick/large` with much. Counts what it is offered.
#[derive(Default)]
struct Front {
    offered: AtomicUsize,
}

impl Quick for Front {
    fn answer(&self, request: &Plain<'_>, replies: &mut Replies) -> bool {
        self.offered.fetch_add(1, Relaxed);
        let value = match request.path() {
            "/quick/large" => vec![b'x'; LARGE],
            path if path.starts_with("/quick") => path.as_bytes().to_vec(),
            _ => return false,
        };
        replies.found("quick/quick").value(Value::from(Bytes::from(value)));
        true
    }
}

/// Goes out without a copy.
const LARGE: usize = 4 * COPIED;

/// Answers with what was asked and the body of it; `/wait` only when told to, `/unread` without the body, `/bye` as the
/// last.
async fn serve(limits: ListenLimits) -> (Serving, Arc<Front>, Arc<Notify>) {
    let (front, go) = (Arc::new(Front::default()), Arc::new(Notify::new()));
    let told = go.clone();
    let new_service = move || {
        let go = go.clone();
        move |request| reply(go.clone(), request)
    };
    let serving = bind(limits).await.serve_each(Some(front.clone()), new_service);
    (serving, front, told)
}

async fn reply(go: Arc<Notify>, request: Request<Incoming>) -> Response<Full<Bytes>> {
    let (head, body) = request.into_parts();
    let mut said = format!("{} {} ", head.method, head.uri.path()).into_bytes();
    match head.uri.path() {
        "/wait" => go.notified().await,
        "/unread" | "/bye" => drop(body),
        _ => said.extend(body.collect().await.map(Collected::to_bytes).unwrap_or_default()),
    }
    let mut response = Response::new(Full::new(Bytes::from(said)));
    if head.uri.path() == "/bye" {
        response.headers_mut().insert(CONNECTION, HeaderValue::from_static("close"));
    }
    response
}

/// Whether it was answered at once, and the body.
fn told(seen: Option<Seen>) -> (bool, String) {
    let seen = seen.expect("an answer");
    assert_eq!(seen.status, 200, "{}", seen.head);
    (seen.head.contains("\r\ncontent-type: quick/quick\r\n"), String::from_utf8(seen.body).unwrap())
}

async fn ask(client: &mut Raw, request: &str) -> (bool, String) {
    told(client.ask(request).await)
}

fn quick(body: &str) -> (bool, String) {
    (true, body.to_owned())
}

fn slow(body: &str) -> (bool, String) {
    (false, body.to_owned())
}

fn put(target: &str, body: &str) -> String {
    format!("PUT {target} HTTP/1.1\r\nhost: x\r\ncontent-length: {}\r\n\r\n{body}", body.len())
}

/// Requests of all kinds, and their answers.
fn mix() -> (String, Vec<(bool, String)>) {
    let requests = [
        (get("/quick/1"), quick("/quick/1")),
        (get("/quick/2?x"), quick("/quick/2")),
        (get("/slow/3"), slow("GET /slow/3 ")),
        (
            put("/quick/4", "GET /quick/none HTTP/1.1\r\n\r\n"),
            slow("PUT /quick/4 GET /quick/none HTTP/1.1\r\n\r\n"),
        ),
        (get("/quick/5"), quick("/quick/5")),
        (get("/quick/large"), quick(&"x".repeat(LARGE))),
        (put("/6", ""), slow("PUT /6 ")),
        (get("/quick/7").replace("\r\n\r\n", "\r\nConnection: keep-alive\r\n\r\n"), quick("/quick/7")),
        (get("/slow/8"), slow("GET /slow/8 ")),
        (get("/quick/9"), quick("/quick/9")),
    ];
    (requests.iter().map(|(request, _)| &**request).collect(), requests.map(|(_, answer)| answer).into())
}

async fn expect(client: &mut Raw, answers: &[(bool, String)]) {
    for answer in answers {
        let seen = told(client.response().await);
        assert!(seen == *answer, "{:?} and not {:?}", seen.1.get(..40), answer.1.get(..40));
    }
}

#[tokio::test]
async fn requests_that_come_together_are_answered_in_their_order_by_whoever_can() {
    let (serving, ..) = serve(limits()).await;
    let mut client = Raw::connect(serving.address()).await;
    let (requests, answers) = mix();
    for times in [1, 2, 50] {
        client.send(requests.repeat(times).as_bytes()).await;
        for _ in 0..times {
            expect(&mut client, &answers).await;
        }
    }
}

#[tokio::test]
async fn requests_are_answered_the_same_wherever_they_are_torn_apart() {
    let (serving, ..) = serve(limits()).await;
    let (mut client, mut other) =
        (Raw::connect(serving.address()).await, Raw::connect(serving.address()).await);
    let (requests, answers) = mix();
    for at in 1..requests.len() {
        let (first, second) = requests.as_bytes().split_at(at);
        client.send(first).await;
        // By now the first part has been read.
        assert_eq!(ask(&mut other, &get("/quick")).await, quick("/quick"));
        client.send(second).await;
        expect(&mut client, &answers).await;
    }
    let mut slow = Raw::connect(serving.address()).await;
    for byte in requests.as_bytes() {
        slow.send(&[*byte]).await;
    }
    expect(&mut slow, &answers).await;
}

#[tokio::test]
async fn each_plain_request_is_offered_once() {
    let (serving, front, _) = serve(limits()).await;
    let mut client = Raw::connect(serving.address()).await;
    for (request, offers) in [
        (get("/quick"), 1),
        (get("/slow"), 1),
        (put("/quick", "a"), 0),
        (format!("HEAD{}", &get("/q")[3..]), 0),
    ] {
        let before = front.offered.load(Relaxed);
        client.send(request.as_bytes()).await;
        client.send(get("/quick").as_bytes()).await;
        let head = request.starts_with("HEAD");
        if !head {
            client.response().await.unwrap();
        }
        // The answer to a HEAD says a length and has no body: it is the next head that is read for one.
        if head {
            until(&serving, |_| front.offered.load(Relaxed) > before).await;
            break;
        }
        client.response().await.unwrap();
        assert_eq!(front.offered.load(Relaxed) - before, offers + 1, "{request}");
    }
}

#[tokio::test]
async fn a_body_comes_in_pieces_and_what_follows_it_is_answered_at_once_again() {
    let (serving, ..) = serve(limits()).await;
    let (mut client, mut other) =
        (Raw::connect(serving.address()).await, Raw::connect(serving.address()).await);
    let body = "0123456789".repeat(100_000);
    let sent = [&put("/large", &body), &*get("/quick")].concat();
    for piece in sent.as_bytes().chunks(300_001) {
        client.send_all(piece).await;
        assert_eq!(ask(&mut other, &get("/quick")).await, quick("/quick"));
    }
    assert_eq!(told(client.response().await), slow(&format!("PUT /large {body}")));
    assert_eq!(told(client.response().await), quick("/quick"));
}

#[tokio::test]
async fn where_a_request_has_no_end_that_can_be_told_hyper_answers_from_there_on() {
    let chunked = "PUT /a HTTP/1.1\r\nhost: x\r\ntransfer-encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\n\r\n";
    let long = get(&format!("/long/{}", "x".repeat(10_000)));
    let many = get("/many").replace("\r\n\r\n", &format!("\r\n{}\r\n", "a: b\r\n".repeat(70)));
    let expecting = "PUT /a HTTP/1.1\r\nhost: x\r\nexpect: x\r\ncontent-length: 3\r\n\r\nabc";
    let (serving, ..) = serve(limits()).await;
    for request in [chunked, &long, &many, expecting] {
        let mut client = Raw::connect(serving.address()).await;
        assert_eq!(ask(&mut client, &get("/quick")).await, quick("/quick"));
        client.send([request, &get("/quick/after"), &get("/b")].concat().as_bytes()).await;
        assert!(!told(client.response().await).0);
        assert_eq!(told(client.response().await), slow("GET /quick/after "));
        assert_eq!(told(client.response().await), slow("GET /b "));
    }
    let mut old = Raw::connect(serving.address()).await;
    assert_eq!(ask(&mut old, "GET /quick HTTP/1.0\r\n\r\n").await, slow("GET /quick "));
    assert!(old.end().await.is_empty());
    let mut last = Raw::connect(serving.address()).await;
    let bye = "GET /quick HTTP/1.1\r\nconnection: close\r\n\r\n";
    assert_eq!(ask(&mut last, bye).await, slow("GET /quick "));
    assert!(last.end().await.is_empty());
}

#[tokio::test]
async fn what_is_no_request_is_refused_after_answers_at_once_as_it_is_without() {
    let (serving, ..) = serve(limits()).await;
    for (request, status) in [
        ("nonsense\r\n\r\n".to_owned(), 400),
        (get(&format!("/{}", "x".repeat(70_000))), 414),
        (get("/").replace("host", &"y".repeat(200_000)), 431),
        (get("/\"<>"), 400),
    ] {
        let mut client = Raw::connect(serving.address()).await;
        assert_eq!(ask(&mut client, &get("/quick")).await, quick("/quick"));
        assert_eq!(client.ask(&request).await.map(|seen| seen.status), Some(status), "{}", &request[..8]);
        assert!(client.end().await.is_empty());
    }
}

#[tokio::test]
async fn a_body_that_nobody_reads_ends_the_connection_or_is_skipped_and_is_never_a_request() {
    let (serving, ..) = serve(limits()).await;
    let mut client = Raw::connect(serving.address()).await;
    let smuggled = get("/quick/smuggled");
    assert_eq!(ask(&mut client, &put("/unread", &smuggled)).await, slow("PUT /unread "));
    assert_eq!(ask(&mut client, &get("/quick")).await, quick("/quick"));
    let long = smuggled.repeat(100_000);
    client.send_all(put("/unread", &long).as_bytes()).await;
    assert_eq!(told(client.response().await), slow("PUT /unread "));
    assert!(client.end().await.is_empty());
    drop(client);
    until(&serving, |stats| stats.open == 0 && stats.overdue == 0).await;
}

#[tokio::test]
async fn a_stop_ends_a_connection_that_was_only_answered_at_once() {
    let (serving, ..) = serve(limits()).await;
    let mut client = Raw::connect(serving.address()).await;
    let mut silent = Raw::connect(serving.address()).await;
    assert_eq!(ask(&mut client, &get("/quick")).await, quick("/quick"));
    until(&serving, |stats| stats.accepted == 2).await;
    assert_eq!(serving.stop(Duration::from_secs(60)).await, 0);
    assert!(client.end().await.is_empty());
    assert!(silent.end().await.is_empty());
}

#[tokio::test]
async fn who_is_amid_a_request_when_the_stop_comes_is_answered_and_told_to_go() {
    let (serving, ..) = serve(limits()).await;
    let meter = serving.meter();
    let (mut half, mut other) =
        (Raw::connect(serving.address()).await, Raw::connect(serving.address()).await);
    assert_eq!(ask(&mut half, &get("/quick")).await, quick("/quick"));
    half.send(&get("/quick/half").as_bytes()[..12]).await;
    assert_eq!(ask(&mut other, &get("/quick")).await, quick("/quick"));
    let stopping = tokio::spawn(serving.stop(Duration::from_secs(60)));
    assert!(other.end().await.is_empty());
    assert_eq!(meter.stats().open, 1);
    half.send(&get("/quick/half").as_bytes()[12..]).await;
    let seen = half.response().await.unwrap();
    assert_eq!(seen.body, b"GET /quick/half ");
    assert!(seen.head.contains("\r\nconnection: close\r\n"), "{}", seen.head);
    assert!(half.end().await.is_empty());
    assert_eq!(stopping.await.unwrap(), 0);
}

#[tokio::test]
async fn a_stop_lets_what_hyper_has_in_hand_end_and_what_waits_behind_it_is_not_begun() {
    let (serving, front, go) = serve(limits()).await;
    let mut client = Raw::connect(serving.address()).await;
    client.send([get("/quick"), get("/wait"), get("/quick/behind")].concat().as_bytes()).await;
    assert_eq!(told(client.response().await), quick("/quick"));
    until(&serving, |_| front.offered.load(Relaxed) >= 2).await;
    let stopping = tokio::spawn(serving.stop(Duration::from_secs(60)));
    tokio::task::yield_now().await;
    go.notify_one();
    let seen = client.response().await.unwrap();
    assert_eq!(seen.body, b"GET /wait ");
    client.end().await;
    assert_eq!(stopping.await.unwrap(), 0);
}

#[tokio::test]
async fn a_client_that_takes_no_answers_is_answered_no_more_and_closed_at_its_deadline() {
    let short = Duration::from_millis(300);
    let (serving, front, _) =
        serve(ListenLimits { header_timeout: short, idle_timeout: short, ..limits() }).await;
    for (nth, target) in [(1, "/quick/large"), (2, "/quick")] {
        let mut client = Raw::connect(serving.address()).await;
        while client.sends(get(target).repeat(1000).as_bytes()).await {}
        until(&serving, |stats| stats.accepted == nth && stats.open == 0).await;
        assert_eq!(serving.stats().overdue, nth, "it was cut off, and not at its deadline");
    }
    assert!(front.offered.load(Relaxed) > 0);
}

#[tokio::test]
async fn half_a_request_after_answers_at_once_is_closed_at_the_header_deadline_and_silence_at_the_other() {
    let limits = ListenLimits { header_timeout: Duration::from_millis(200), ..limits() };
    let (serving, ..) = serve(limits).await;
    let mut idle = Raw::connect(serving.address()).await;
    assert_eq!(ask(&mut idle, &get("/quick")).await, quick("/quick"));
    for _ in 0..2 {
        let mut slow = Raw::connect(serving.address()).await;
        assert_eq!(ask(&mut slow, &get("/quick")).await, quick("/quick"));
        slow.send(b"GET /quick HTTP/1.1\r\n").await;
        assert!(slow.end().await.is_empty());
        // Past the header deadline since its last request.
        assert_eq!(ask(&mut idle, &get("/quick")).await, quick("/quick"));
    }
    until(&serving, |stats| stats.overdue == 2 && stats.open == 1).await;
}

#[tokio::test]
async fn who_sends_all_and_closes_its_side_is_answered_all() {
    let (serving, ..) = serve(limits()).await;
    let mut client = Raw::connect(serving.address()).await;
    client.send(get("/quick").repeat(100).as_bytes()).await;
    client.finish().await;
    for _ in 0..100 {
        assert_eq!(told(client.response().await), quick("/quick"));
    }
    assert!(client.end().await.is_empty());
}

#[tokio::test]
async fn behind_an_answer_that_is_the_last_nothing_is_begun() {
    let (serving, front, _) = serve(limits()).await;
    for request in [get("/bye"), put("/bye", "abc")] {
        let before = front.offered.load(Relaxed);
        let offers = before + usize::from(request.starts_with("GET"));
        let mut client = Raw::connect(serving.address()).await;
        client.send([&request, &*get("/quick/behind")].concat().as_bytes()).await;
        assert!(client.response().await.unwrap().head.contains("\r\nconnection: close\r\n"));
        client.send(get("/quick/later").as_bytes()).await;
        assert!(client.end().await.is_empty());
        drop(client);
        until(&serving, |stats| stats.open == 0).await;
        assert_eq!(front.offered.load(Relaxed), offers, "{request}");
    }
}

#[tokio::test]
async fn the_rest_of_a_body_that_nobody_wanted_is_not_the_beginning_of_a_request() {
    let header_timeout = Duration::from_millis(200);
    let (serving, ..) = serve(ListenLimits { header_timeout, ..limits() }).await;
    let mut client = Raw::connect(serving.address()).await;
    // More than is read at once, and there when it is answered.
    assert_eq!(ask(&mut client, &put("/unread", &"x".repeat(12_000))).await, slow("PUT /unread "));
    // Past the header deadline, each of them.
    for _ in 0..3 {
        assert!(Raw::connect(serving.address()).await.end().await.is_empty());
    }
    assert_eq!(ask(&mut client, &get("/quick")).await, quick("/quick"));
}
