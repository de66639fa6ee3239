//! What is asked on a line that stands, and how each who asked is told.

use std::collections::HashMap;

use super::*;

/// The line to a peer, once a get has made the connection, and that connection.
async fn lined(transport: &Arc<NativeTransport>, peer: &Played) -> (Arc<dyn Line>, Conversation) {
    let first = ask(transport, peer, get("first"));
    let mut line = peer.line().await;
    let (id, _) = line.hear_get().await;
    line.say_value(id, "first").await;
    assert_eq!(value(first).await, "first");
    (transport.line(&peer.member).expect("it stands"), line)
}

/// Asks on a line, to be told within so long.
fn send(line: &Arc<dyn Line>, key: &str, within: Duration) -> oneshot::Receiver<Sent> {
    tell_within(line, &get(key), within)
}

/// As `send`, of any request, within long.
fn tell(line: &Arc<dyn Line>, what: &Request) -> oneshot::Receiver<Sent> {
    tell_within(line, what, LONG)
}

fn tell_within(line: &Arc<dyn Line>, what: &Request, within: Duration) -> oneshot::Receiver<Sent> {
    let (tell, told) = oneshot::channel();
    let now = clock::now();
    line.send(what, now, now + within, Box::new(|sent, _| drop(tell.send(sent))));
    told
}

const LONG: Duration = Duration::from_secs(30);

#[tokio::test]
async fn what_is_asked_on_a_line_is_told_when_it_is_answered() {
    let peer = Played::start().await;
    let (transport, _) = transport(limits());
    assert!(transport.line(&peer.member).is_none());
    let (line, mut heard) = lined(&transport, &peer).await;
    let told = send(&line, "k", LONG);
    let (id, keys) = heard.hear_get().await;
    assert_eq!(keys, ["k"]);
    heard.say_value(id, "v").await;
    match told.await.unwrap() {
        Sent::Answered(Ok(Reply::Found(found))) => assert_eq!(found.value, "v"),
        _ => panic!("it was answered"),
    }
}

#[tokio::test]
async fn what_is_not_answered_on_a_line_in_time_is_ended_and_cancelled_and_a_late_answer_harms_nobody() {
    let peer = Played::start().await;
    let (transport, stats) = transport(limits());
    let (line, mut heard) = lined(&transport, &peer).await;
    let patient = send(&line, "patient", LONG);
    let hasty = send(&line, "hasty", Duration::from_millis(20));
    let late = hasty.await.unwrap();
    assert!(matches!(late, Sent::Answered(Err(PeerError::Timeout(after))) if after.as_millis() == 20));
    let mut ids = HashMap::new();
    let cancelled = loop {
        let heard = heard.hear().await.expect("gets and a cancel");
        if heard.kind == Kind::CANCEL {
            break heard.id;
        }
        for (id, key) in (heard.id..).zip(GetKeys::decode(&*heard.body).unwrap().keys) {
            ids.insert(key, id);
        }
    };
    assert_eq!(cancelled, ids[&b"hasty"[..]]);
    heard.say_value(cancelled, "late").await;
    heard.say_value(ids[&b"patient"[..]], "in time").await;
    assert!(
        matches!(patient.await.unwrap(), Sent::Answered(Ok(Reply::Found(found))) if found.value == "in time")
    );
    assert_eq!(stats.cuts.snapshot().get(Cut::Unasked), 0);
}

#[tokio::test]
async fn a_line_that_ends_unheard_says_that_nobody_saw_the_request_and_one_that_was_heard_why_it_broke() {
    let peer = Played::start().await;
    let (transport, _) = transport(limits());
    let (line, heard) = lined(&transport, &peer).await;
    drop(heard);
    assert!(matches!(send(&line, "k", LONG).await.unwrap(), Sent::Unseen));
    // It is gone, and says so at once.
    assert!(matches!(send(&line, "k", LONG).await.unwrap(), Sent::Unseen));

    let again = ask(&transport, &peer, get("first"));
    let mut heard = peer.line().await;
    let (id, _) = heard.hear_get().await;
    heard.say_value(id, "first").await;
    assert_eq!(value(again).await, "first");
    let line = transport.line(&peer.member).expect("a new one");
    let (answered, lost) = (send(&line, "a", LONG), send(&line, "b", LONG));
    let (id, keys) = heard.hear_get().await;
    assert_eq!(keys[0], "a");
    heard.say_value(id, "v").await;
    assert!(matches!(answered.await.unwrap(), Sent::Answered(Ok(_))));
    drop(heard);
    assert!(matches!(lost.await.unwrap(), Sent::Answered(Err(PeerError::Broken(_)))));
}

#[tokio::test]
async fn of_answers_that_come_with_one_that_nobody_asked_for_none_is_believed_and_each_line_is_told() {
    let peer = Played::start().await;
    let (transport, stats) = transport(limits());
    let (line, mut heard) = lined(&transport, &peer).await;
    let told = send(&line, "k", LONG);
    let (id, _) = heard.hear_get().await;
    let mut both = Vec::new();
    for id in [id, id] {
        let body = &response(b"v")[..];
        frame::encode(&mut both, Frame { id, kind: Kind::FOUND, more: false, body });
    }
    heard.stream.write_all(&both).await.unwrap();
    match told.await.expect("it is told, whatever came") {
        Sent::Answered(Err(PeerError::Broken(why))) => assert_eq!(&*why, "the connection was cut: unasked"),
        _ => panic!("it broke"),
    }
    assert_eq!(stats.cuts.snapshot().get(Cut::Unasked), 1);
}

#[tokio::test]
async fn what_is_asked_of_a_peer_that_takes_nothing_ends_in_time() {
    let peer = Played::start().await;
    let (transport, _) = transport(Limits { header_timeout: LONG, ..limits() });
    let (line, mut heard) = lined(&transport, &peer).await;
    let (group, key) = (GroupName::new("g").unwrap(), Key::new(b"k"));
    // More than the system keeps on its way.
    let value = Bytes::from(vec![7; 64 << 20]);
    let _set = ask(&transport, &peer, Request::Set { group, key, value, ttl: None });
    heard.hear().await.expect("a part of it");
    for _ in 0..1000 {
        tokio::task::yield_now().await;
    }
    let hasty = send(&line, "hasty", Duration::from_millis(20));
    let told =
        clock::timeout(Duration::from_secs(5), hasty).await.expect("long before the next look").unwrap();
    assert!(matches!(told, Sent::Answered(Err(PeerError::Timeout(_)))));
}

#[tokio::test]
async fn a_line_tells_here_what_is_still_to_be_told_and_no_more_once_it_is_gone() {
    let peer = Played::start().await;
    let (transport, _) = transport(limits());
    let (line, heard) = lined(&transport, &peer).await;
    let what = Request::Get {
        group: GroupName::new("g").unwrap(),
        key: Key::new(b"k"),
        stand_in: false,
        cached_only: false,
    };
    let is_here = || line.send(&what, clock::now(), clock::after(clock::now(), LONG), Box::new(|_, _| {}));
    assert!(is_here(), "its task has this thread to itself");
    let lost = send(&line, "lost", LONG);
    drop(heard);
    assert!(matches!(lost.await.unwrap(), Sent::Answered(Err(_)) | Sent::Unseen));
    assert!(!is_here(), "that was told at once");
}

#[test]
fn a_connection_whose_runtime_stops_before_its_task_begins_takes_nothing() {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let link = runtime.block_on(async {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let stream = TcpStream::connect(listener.local_addr().unwrap()).await.unwrap();
        let values = Intake::new(u64::MAX);
        Link::start(stream, b"", Arc::from("peer"), Arc::new(limits()), Arc::default(), &values)
    });
    drop(runtime);
    let line: Arc<dyn Line> = link;
    assert!(matches!(send(&line, "k", LONG).try_recv(), Ok(Sent::Unseen)));
}

#[tokio::test]
async fn as_much_as_may_wait_for_one_peer_may_be_asked_of_it_at_once() {
    let peer = Played::start().await;
    let (transport, _) = transport(limits());
    let (line, mut heard) = lined(&transport, &peer).await;
    // 16,384 keys of a hundred bytes each, as one call may ask for, and sets of 50 KB; all before the task writes.
    let many: Vec<Key> = (0..600).map(|n| Key::new(format!("{n:0100}").as_bytes())).collect();
    let (group, value) = (GroupName::new("g").unwrap(), Bytes::from(vec![7; 50_000]));
    let mut asked = Vec::new();
    for n in 0..30 {
        let keys = many.clone();
        let what = Request::GetMany { group: group.clone(), keys, stand_in: false, cached_only: false };
        asked.push(tell(&line, &what));
        let key = Key::new(format!("{n}").as_bytes());
        asked.push(tell(&line, &Request::Set { group: group.clone(), key, value: value.clone(), ttl: None }));
    }
    for _ in 0..asked.len() {
        let heard_now = heard.hear().await.expect("all of them");
        heard.say(heard_now.id, Kind::NOT_FOUND, false, b"").await;
    }
    for told in asked {
        assert!(matches!(told.await.unwrap(), Sent::Answered(Ok(Reply::NotFound))));
    }
}

#[tokio::test]
async fn a_peer_that_pings_while_much_waits_for_it_is_answered() {
    let peer = Played::start().await;
    let (transport, stats) = transport(limits());
    let (line, mut heard) = lined(&transport, &peer).await;
    let (group, value) = (GroupName::new("g").unwrap(), Bytes::from(vec![7; 50_000]));
    let set = |n: usize| {
        let key = Key::new(format!("{n}").as_bytes());
        Request::Set { group: group.clone(), key, value: value.clone(), ttl: None }
    };
    // Many times what waits in one batch and in the system between the two.
    let mut asked: Vec<_> = (0..1000).map(|n| tell(&line, &set(n))).collect();
    let first = heard.hear().await.expect("a set");
    heard.say(first.id, Kind::DONE, false, b"").await;
    // The task has those in hand; these wait behind them.
    asked.extend((1000..1100).map(|n| tell(&line, &set(n))));
    heard.say(7, Kind::PING, false, b"").await;
    let mut is_ponged = false;
    for _ in 0..asked.len() {
        let now = heard.hear().await.expect("all sets, and a pong");
        match now.kind {
            Kind::PONG => is_ponged = now.id == 7,
            _ => heard.say(now.id, Kind::DONE, false, b"").await,
        }
    }
    assert!(is_ponged);
    for told in asked.drain(..) {
        assert!(matches!(told.await.unwrap(), Sent::Answered(Ok(Reply::Done))));
    }
    assert_eq!(stats.cuts.snapshot().total(), 0);
}
