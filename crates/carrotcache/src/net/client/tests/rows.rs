//! Each row's client against the same row's server: what they tell each other, and what is never said.

use super::*;

const KEYS: [&[u8]; 9] =
    [b"Tom", b"a b", b"a+b", b"a/b", b"..", b"/abs", b"\0\xff%2F", b"_remove-keys/", b" "];
const NEWER: [Dialect; 2] = [Dialect::Mailgun, Dialect::GroupcacheGo];

/// A port of the dialect that notes what it hears, and a transport of the same that asks it.
struct Pair {
    port: Serving,
    transport: HttpTransport,
    heard: Arc<Mutex<Vec<Request>>>,
}

impl Pair {
    async fn of(dialect: Dialect, answer: impl Fn(&Request) -> Reply + Send + Sync + 'static) -> Self {
        let heard = Arc::new(Mutex::new(Vec::new()));
        let hears = heard.clone();
        let port = port_of(dialect, &limits(), move |request| {
            let reply = answer(&request);
            hears.lock().unwrap().push(request);
            reply
        })
        .await;
        Self { port, transport: HttpTransport::new(dialect, limits()), heard }
    }

    async fn ask(&self, what: Request) -> Reply {
        self.transport.ask(&member(self.port.address()), what, soon()).await.unwrap()
    }

    /// The last request that arrived.
    fn heard(&self) -> Request {
        self.heard.lock().unwrap().last().cloned().unwrap()
    }
}

fn remove(key: &[u8]) -> Request {
    Request::Remove { group: group(), key: Key::new(key) }
}

fn set_for(key: &[u8], ttl: Option<Duration>) -> Request {
    Request::Set { group: group(), key: Key::new(key), value: Bytes::from_static(b"\0\xff"), ttl }
}

fn value_of(what: &Request, minute_qps: Option<f64>) -> Found {
    let Request::Get { key, .. } = what else { panic!("{what:?} was sent") };
    family::bare(Bytes::copy_from_slice(key.as_bytes()), minute_qps)
}

/// As far as the family's rows can say it.
#[tokio::test]
async fn values_of_any_key_come_over_in_every_row() {
    for &dialect in Dialect::ALL {
        let pair = Pair::of(dialect, |what| Reply::Found(value_of(what, Some(2.0)))).await;
        let qps = if dialect == Dialect::Carrot { None } else { Some(2.0) };
        for key in KEYS {
            let expected = Reply::Found(value_of(&get(key), qps));
            assert_eq!(told(&pair.ask(get(key)).await), told(&expected), "{dialect}");
        }
    }
}

#[tokio::test]
async fn a_stand_in_is_told_that_it_is_one_in_every_row() {
    for &dialect in Dialect::ALL {
        let pair = Pair::of(dialect, |what| Reply::Found(value_of(what, None))).await;
        for stand_in in [true, false] {
            let key = Key::from("Tom");
            pair.ask(Request::Get { group: group(), key, stand_in, cached_only: false }).await;
            let heard = pair.heard();
            assert!(matches!(heard, Request::Get { stand_in: told, .. } if told == stand_in), "{dialect}");
        }
    }
}

#[tokio::test]
async fn refusals_come_over_as_far_as_a_row_can_say_them() {
    let why = || Arc::from("why");
    for (reply, older, newer) in [
        (Reply::NotFound, r#"LoadFailed("no such key: Tom")"#, "NotFound"),
        (Reply::NoGroup, "NoGroup", "NoGroup"),
        (Reply::LoadFailed(why()), r#"LoadFailed("why")"#, r#"LoadFailed("why")"#),
        (Reply::Busy(why()), r#"Busy("why")"#, r#"Busy("why")"#),
        (
            Reply::Deadline,
            r#"LoadFailed("the load did not end in time")"#,
            r#"LoadFailed("the load did not end in time")"#,
        ),
        (Reply::TooLarge(why()), r#"TooLarge("why")"#, r#"TooLarge("why")"#),
        (Reply::BadRequest(why()), r#"BadRequest("why")"#, r#"BadRequest("why")"#),
    ] {
        for &dialect in Dialect::ALL {
            let given = reply.clone();
            let pair = Pair::of(dialect, move |_| given.clone()).await;
            let expected = match dialect {
                Dialect::Native => format!("{reply:?}"),
                Dialect::Carrot | Dialect::Golang => older.to_owned(),
                Dialect::Mailgun | Dialect::GroupcacheGo => newer.to_owned(),
            };
            assert_eq!(format!("{:?}", pair.ask(get(b"Tom")).await), expected, "{dialect}");
        }
    }
}

#[tokio::test]
async fn sets_and_removes_of_any_key_come_over_in_the_rows_that_have_them() {
    for dialect in [Dialect::Native, Dialect::Mailgun, Dialect::GroupcacheGo] {
        let pair = Pair::of(dialect, |_| Reply::Done).await;
        for key in KEYS {
            for what in [set_for(key, None), set_for(key, Some(Duration::ZERO)), remove(key)] {
                let made = format!("{what:?}");
                assert!(matches!(pair.ask(what).await, Reply::Done), "{dialect} {made}");
                assert_eq!(format!("{:?}", pair.heard()), made, "{dialect}");
            }
        }
    }
}

#[tokio::test]
async fn a_ttl_crosses_the_newer_rows_as_an_end_by_the_clock() {
    let hour = Duration::from_secs(3600);
    // What is lost is the time on the way, by this machine's clock: it is not looked at closely.
    let near = |ttl: Option<Duration>| ttl.is_some_and(|ttl| (22 * hour..=26 * hour).contains(&ttl));
    for dialect in NEWER {
        let pair = Pair::of(dialect, move |what| match what {
            Request::Set { .. } => Reply::Done,
            get => Reply::Found(Found { ttl: Some(24 * hour), ..value_of(get, None) }),
        })
        .await;
        let Reply::Found(found) = pair.ask(get(b"Tom")).await else { panic!("a value was given") };
        assert!(near(found.ttl), "{:?}", found.ttl);
        pair.ask(set_for(b"Tom", Some(24 * hour))).await;
        let heard = pair.heard();
        assert!(matches!(heard, Request::Set { ttl, .. } if near(ttl)), "{heard:?}");
        pair.ask(set_for(b"Tom", Some(Duration::MAX))).await;
        let heard = pair.heard();
        assert!(matches!(heard, Request::Set { ttl: Some(ttl), .. } if ttl > 10_000 * hour), "{heard:?}");
    }
}

#[tokio::test]
async fn a_member_that_is_not_the_owner_has_done_what_the_newer_rows_ask_of_it() {
    for dialect in NEWER {
        let pair = Pair::of(dialect, |_| Reply::NotOwner).await;
        for what in [set_for(b"Tom", None), remove(b"Tom")] {
            assert!(matches!(pair.ask(what).await, Reply::Done), "{dialect}");
        }
    }
}

/// As golang/groupcache and the seed do, a peer of the wrong dialect in the list answers every method with a value.
#[tokio::test]
async fn a_peer_that_takes_a_remove_for_a_get_has_removed_nothing() {
    let value =
        "HTTP/1.1 200 OK\r\ncontent-type: application/x-protobuf\r\ncontent-length: 5\r\n\r\n\x0a\x03630";
    for dialect in NEWER {
        let peer = Peer::play(vec![vec![Hear, say(value), Hold]]).await;
        let transport = HttpTransport::new(dialect, limits());
        let reply = transport.ask(&peer.member, remove(b"Tom"), soon()).await;
        assert!(matches!(reply, Err(PeerError::Broken(_))), "{reply:?}");
    }
}

#[tokio::test]
async fn a_peer_of_the_family_is_asked_whether_it_lives_and_no_request_comes_of_it() {
    for &dialect in &Dialect::ALL[1..] {
        let pair = Pair::of(dialect, |what| panic!("{what:?}")).await;
        assert!(matches!(pair.ask(Request::Id).await, Reply::BadRequest(_)), "{dialect}");
        // As golang/groupcache 1.19 answers its base path, with a ServeMux before it and without.
        let refusal = "HTTP/1.1 400 Bad Request\r\ncontent-type: text/plain; charset=utf-8\r\n\
                       content-length: 12\r\n\r\nbad request\n";
        let peer = Peer::play(vec![vec![Hear, say(refusal), Hold]]).await;
        let reply = HttpTransport::new(dialect, limits()).ask(&peer.member, Request::Id, soon()).await;
        assert!(matches!(reply, Ok(Reply::BadRequest(_))), "{dialect} {reply:?}");
    }
}

#[tokio::test]
async fn what_a_row_cannot_say_is_never_sent() {
    let nobody = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let member = member(nobody.local_addr().unwrap());
    let cached_only =
        || Request::Get { group: group(), key: Key::from("Tom"), stand_in: false, cached_only: true };
    let change = || Request::Change { group: group(), key: Key::from("Tom"), change: Change::Remove };
    let clear = || Request::Clear { group: group() };
    let held = || Request::Held { group: group(), key: Key::from("Tom") };
    for &dialect in Dialect::ALL {
        let unsayable = match dialect {
            Dialect::Native => Vec::new(),
            Dialect::Carrot | Dialect::Golang => {
                vec![set("630"), remove(b"Tom"), change(), clear(), cached_only(), held(), Request::Members]
            }
            Dialect::Mailgun | Dialect::GroupcacheGo => {
                vec![change(), clear(), cached_only(), held(), Request::Members]
            }
        };
        let transport = HttpTransport::new(dialect, limits());
        for what in unsayable {
            assert!(!transport.can_say(&what), "{dialect} {what:?}");
            assert!(matches!(transport.ask(&member, what, soon()).await, Ok(Reply::Unsupported)));
        }
        assert!(transport.lock().is_empty(), "not even a connection was made");
    }
}
