//! Golden bytes of each row's replies, and what is read from them and from things that are no replies.

use std::time::Duration;

use http::header::{CONTENT_ENCODING, HeaderName, LOCATION};

use super::*;
use crate::message::Holding;
use crate::stats::Region;

/// 2026-11-22.
const NOW: i64 = 1_795_305_600_000_000_000;
const TOM: Subject<'_> = Subject { group: b"scores", key: b"Tom", unix_nanos: NOW };
const LIMIT: u64 = 1000;
const NEWER: [Dialect; 2] = [Dialect::Mailgun, Dialect::GroupcacheGo];

fn found(value: &'static [u8]) -> Found {
    Found {
        value: Bytes::from_static(value).into(),
        ttl: Some(Duration::from_millis(1500)),
        age: Duration::from_millis(7),
        loaded: true,
        node: Arc::from("a"),
        minute_qps: Some(1.5),
        view: Some(258),
    }
}

fn held() -> Holding {
    Holding {
        region: Region::Mirrors,
        value_bytes: 3,
        weight_bytes: 88,
        age: Duration::from_millis(1200),
        ttl: Some(Duration::from_millis(58_800)),
        uses: 3,
    }
}

/// Status, content type, outcome and body.
fn said(dialect: Dialect, reply: Reply) -> (u16, String, String, Vec<u8>) {
    let response = encode(dialect.row(), TOM, reply);
    let header = |name: &str| {
        response.headers().get(name).map_or(String::new(), |value| value.to_str().unwrap().to_owned())
    };
    (response.status().as_u16(), header("content-type"), header(OUTCOME), response.body().to_vec())
}

/// What `dialect` reads in a response it gets for `verb`.
fn read(dialect: Dialect, verb: Verb, response: Response<Bytes>) -> Result<Reply, PeerError> {
    let (head, body) = response.into_parts();
    let giver = Arc::from("a");
    let asked = Asked { verb, group: "scores", giver: &giver, value_limit: LIMIT, unix_nanos: NOW };
    let field = |name: HeaderName| head.headers.get(name).map(HeaderValue::as_bytes);
    let fields = Fields {
        status: head.status,
        content_type: field(CONTENT_TYPE).unwrap_or_default(),
        is_encoded: field(CONTENT_ENCODING).is_some(),
        location: field(LOCATION),
        outcome: field(HeaderName::from_static(OUTCOME)),
        cluster: field(CLUSTER),
    };
    decode(dialect.row(), asked, fields, body)
}

fn response(status: u16, headers: &[(&'static str, &'static str)], body: &'static [u8]) -> Response<Bytes> {
    let mut builder = Response::builder().status(status);
    for (name, value) in headers {
        builder = builder.header(*name, *value);
    }
    builder.body(Bytes::from_static(body)).unwrap()
}

fn every_refusal() -> [Reply; 10] {
    let why = || Arc::from("why");
    [
        Reply::NotFound,
        Reply::NotCached,
        Reply::NoGroup,
        Reply::LoadFailed(why()),
        Reply::Busy(why()),
        Reply::Deadline,
        Reply::TooLarge(why()),
        Reply::BadRequest(why()),
        Reply::NotOwner,
        Reply::Unsupported,
    ]
}

#[test]
fn a_value_has_these_bytes_in_each_row() {
    assert_eq!(
        said(Dialect::Carrot, Reply::Found(found(b"630"))),
        (200, "application/octet-stream".to_owned(), String::new(), b"\x0a\x03630".to_vec())
    );
    assert_eq!(
        said(Dialect::Golang, Reply::Found(found(b"630"))),
        (
            200,
            "application/x-protobuf".to_owned(),
            String::new(),
            b"\x0a\x03630\x11\0\0\0\0\0\0\xf8\x3f".to_vec()
        )
    );
    assert_eq!(
        said(Dialect::Native, Reply::Found(found(b"630"))),
        (
            200,
            "application/x-protobuf".to_owned(),
            String::new(),
            b"\x0a\x03630\x11\0\0\0\0\0\0\xf8\x3f\x18\xdc\x0b\x20\x07\x28\x01\x32\x01a\x39\x02\x01\0\0\0\0\0\0".to_vec()
        )
    );
    for dialect in NEWER {
        let without_ttl = Found { ttl: None, minute_qps: None, ..found(b"630") };
        for (found, body) in [
            (
                found(b"630"),
                &b"\x0a\x03630\x11\0\0\0\0\0\0\xf8\x3f\x18\x80\xde\xb4\x85\xec\x9d\x8d\xf5\x18"[..],
            ),
            (without_ttl, b"\x0a\x03630\x18\0"),
        ] {
            assert_eq!(
                said(dialect, Reply::Found(found)),
                (200, "application/x-protobuf".to_owned(), String::new(), body.to_vec())
            );
        }
    }
}

#[test]
fn an_empty_value_is_an_empty_body_for_the_seed_and_an_empty_field_for_go() {
    let bare = || Reply::Found(family::bare(Bytes::new(), None));
    assert_eq!(said(Dialect::Carrot, bare()).3, b"");
    assert_eq!(said(Dialect::Golang, bare()).3, b"\x0a\0");
    assert_eq!(said(Dialect::Native, bare()).3, b"");
    for dialect in NEWER {
        assert_eq!(said(dialect, bare()).3, b"\x0a\0\x18\0");
    }
    for &dialect in Dialect::ALL {
        let reply = read(dialect, Verb::Get, encode(dialect.row(), TOM, bare())).unwrap();
        assert!(matches!(reply, Reply::Found(found) if found.value.is_empty()));
    }
    let absent = response(200, &[("content-type", "application/x-protobuf")], b"");
    for dialect in [Dialect::Golang, Dialect::Mailgun, Dialect::GroupcacheGo] {
        let read = read(dialect, Verb::Get, absent.clone());
        assert!(matches!(read, Ok(Reply::Found(found)) if found.value.is_empty() && found.ttl.is_none()));
    }
}

#[test]
fn refusals_have_these_statuses_outcomes_and_lines_in_each_row() {
    let native = [
        (404, "not_found", "no such key: Tom\n"),
        (404, "not_cached", "not cached: Tom\n"),
        (404, "no_group", "no such group: scores\n"),
        (502, "load_failed", "why\n"),
        (503, "busy", "why\n"),
        (504, "deadline", "the load did not end in time\n"),
        (413, "too_large", "why\n"),
        (400, "bad_request", "why\n"),
        (421, "not_owner", "another owns the key by this node's list\n"),
        (501, "unsupported", "not supported\n"),
    ];
    let family = [500, 500, 404, 500, 503, 500, 413, 400, 500, 500];
    let text = "text/plain; charset=utf-8";
    for ((reply, (status, outcome, line)), family) in every_refusal().into_iter().zip(native).zip(family) {
        let expected = (status, text.to_owned(), outcome.to_owned(), line.as_bytes().to_vec());
        assert_eq!(said(Dialect::Native, reply.clone()), expected);
        let expected = (family, text.to_owned(), String::new(), line.as_bytes().to_vec());
        assert_eq!(said(Dialect::Carrot, reply.clone()), expected);
        assert_eq!(said(Dialect::Golang, reply), expected);
    }
}

#[test]
fn refusals_have_these_statuses_and_lines_in_the_newer_rows() {
    let newer = [
        (404, "no such key: Tom\n"),
        (500, "not cached: Tom\n"),
        (404, "no such group: scores\n"),
        (503, "why\n"),
        (503, "busy: why\n"),
        (503, "the load did not end in time\n"),
        (413, "why\n"),
        (400, "why\n"),
        // Not the owner: but then it was not asked for more than to forget.
        (200, ""),
        (500, "not supported\n"),
    ];
    for dialect in NEWER {
        for (reply, (status, line)) in every_refusal().into_iter().zip(newer) {
            let text = if line.is_empty() { "" } else { "text/plain; charset=utf-8" };
            let expected = (status, text.to_owned(), String::new(), line.as_bytes().to_vec());
            assert_eq!(said(dialect, reply), expected);
        }
    }
}

#[test]
fn a_set_or_remove_that_is_done_is_an_empty_body_in_each_row_that_has_them() {
    for (dialect, status) in [(Dialect::Native, 204), (Dialect::Mailgun, 200), (Dialect::GroupcacheGo, 200)] {
        assert_eq!(said(dialect, Reply::Done), (status, String::new(), String::new(), Vec::new()));
        for verb in [Verb::Set, Verb::Remove] {
            let back = read(dialect, verb, encode(dialect.row(), TOM, Reply::Done));
            assert!(matches!(back, Ok(Reply::Done)), "{back:?}");
        }
    }
    // What golang/groupcache answers to a DELETE, which it takes for a get.
    for dialect in NEWER {
        let value = response(200, &[("content-type", "application/x-protobuf")], b"\x0a\x03630");
        assert!(matches!(read(dialect, Verb::Remove, value), Err(PeerError::Broken(_))));
        assert!(matches!(read(dialect, Verb::Remove, response(204, &[], b"")), Err(PeerError::Broken(_))));
    }
}

#[test]
fn what_strangers_name_is_escaped_and_what_failed_at_length_is_cut() {
    let about = Subject { group: b"a\r\n\x1b[31m\xff", key: b"", unix_nanos: NOW };
    let response = encode(Dialect::Golang.row(), about, Reply::NoGroup);
    assert_eq!(
        response.body(),
        &br"no such group: a\r\n\u{1b}[31m\xff"[..].iter().chain(b"\n").copied().collect::<Bytes>()
    );
    assert_eq!(response.headers()["x-content-type-options"], "nosniff");

    let long: Arc<str> = "ä".repeat(5000).into();
    let body = said(Dialect::Native, Reply::LoadFailed(long.clone())).3;
    assert_eq!(body.len(), TEXT_LIMIT + 1);
    let page = response_of(502, "load_failed", &long);
    assert!(
        matches!(read(Dialect::Native, Verb::Get, page), Ok(Reply::LoadFailed(why)) if why.len() == TEXT_LIMIT)
    );
}

fn response_of(status: u16, outcome: &'static str, text: &str) -> Response<Bytes> {
    let body = Bytes::copy_from_slice(text.as_bytes());
    Response::builder().status(status).header(OUTCOME, outcome).body(body).unwrap()
}

#[test]
fn the_native_row_loses_nothing_on_the_way() {
    let replies = every_refusal().into_iter().chain([
        Reply::Found(found(b"630")),
        Reply::Found(family::bare(Bytes::from_static(b"\0\xff"), Some(0.0))),
        Reply::Done,
        Reply::Id(Arc::from("5f2c-1")),
        Reply::Members(vec![Arc::from("http://a:1"), Arc::from("b")]),
        Reply::Members(Vec::new()),
        Reply::Held(None),
        Reply::Held(Some(held())),
        Reply::Changed(true),
        Reply::Changed(false),
    ]);
    for reply in replies {
        let verb = match reply {
            Reply::Done => Verb::Remove,
            Reply::Id(_) => Verb::Id,
            Reply::Members(_) => Verb::Members,
            Reply::Held(_) => Verb::Held,
            Reply::Changed(_) => Verb::Change,
            _ => Verb::Get,
        };
        let back = read(Dialect::Native, verb, encode(Dialect::Native.row(), TOM, reply.clone())).unwrap();
        assert_eq!(told(&back), told(&reply));
    }
}

/// All of a reply, the value's bytes too, which `Debug` leaves out.
fn told(reply: &Reply) -> String {
    match reply {
        Reply::Found(found) => format!("{:?} {:?}", &*found.value, found),
        other => format!("{other:?}"),
    }
}

#[test]
fn the_family_rows_say_what_they_can_and_are_read_no_further() {
    for dialect in [Dialect::Carrot, Dialect::Golang] {
        let back = read(dialect, Verb::Get, encode(dialect.row(), TOM, Reply::Found(found(b"630")))).unwrap();
        let qps = if dialect == Dialect::Golang { Some(1.5) } else { None };
        assert_eq!(told(&back), told(&Reply::Found(family::bare(Bytes::from_static(b"630"), qps))));
        for (reply, expected) in every_refusal().into_iter().zip([
            r#"LoadFailed("no such key: Tom")"#,
            r#"LoadFailed("not cached: Tom")"#,
            "NoGroup",
            r#"LoadFailed("why")"#,
            r#"Busy("why")"#,
            r#"LoadFailed("the load did not end in time")"#,
            r#"TooLarge("why")"#,
            r#"BadRequest("why")"#,
            r#"LoadFailed("another owns the key by this node's list")"#,
            r#"LoadFailed("not supported")"#,
        ]) {
            let back = read(dialect, Verb::Get, encode(dialect.row(), TOM, reply)).unwrap();
            assert_eq!(format!("{back:?}"), expected);
        }
    }
}

#[test]
fn the_newer_rows_say_what_they_can_and_are_read_no_further() {
    for dialect in NEWER {
        let back = read(dialect, Verb::Get, encode(dialect.row(), TOM, Reply::Found(found(b"630")))).unwrap();
        let expected = Found {
            ttl: Some(Duration::from_millis(1500)),
            ..family::bare(Bytes::from_static(b"630"), Some(1.5))
        };
        assert_eq!(told(&back), told(&Reply::Found(expected)));
        for (reply, expected) in every_refusal().into_iter().zip([
            "NotFound",
            r#"LoadFailed("not cached: Tom")"#,
            "NoGroup",
            r#"LoadFailed("why")"#,
            r#"Busy("why")"#,
            r#"LoadFailed("the load did not end in time")"#,
            r#"TooLarge("why")"#,
            r#"BadRequest("why")"#,
            "Done",
            r#"LoadFailed("not supported")"#,
        ]) {
            let verb = if matches!(reply, Reply::NotOwner) { Verb::Remove } else { Verb::Get };
            let back = read(dialect, verb, encode(dialect.row(), TOM, reply)).unwrap();
            assert_eq!(format!("{back:?}"), expected);
        }
    }
}

#[test]
fn what_go_peers_of_the_newer_rows_answer_is_read_by_status_and_text() {
    for dialect in NEWER {
        for (status, body, expected) in [
            (404, &b"no such group: scores\n"[..], "NoGroup"),
            (404, b"no such group: other\n", "NotFound"),
            (404, b"no such group: scores, or is there\n", "NotFound"),
            (404, b"", "NotFound"),
            (503, b"dial tcp: timeout\n", r#"LoadFailed("dial tcp: timeout")"#),
            (503, b"", r#"LoadFailed("")"#),
            (500, b"proto: bad wire type\n", r#"LoadFailed("proto: bad wire type")"#),
            (400, b"bad request\n", r#"BadRequest("bad request")"#),
            (405, b"Only GET\n", "Unsupported"),
        ] {
            // As Go's `http.Error` has it.
            let text = [("content-type", "text/plain; charset=utf-8")];
            let back = read(dialect, Verb::Get, response(status, &text, body)).unwrap();
            assert_eq!(format!("{back:?}"), expected, "{dialect} {}", body.escape_ascii());
        }
        for status in [201, 301, 307, 401, 418, 502, 504] {
            let back = read(dialect, Verb::Get, response(status, &[], b"no such group: scores\n"));
            assert!(matches!(back, Err(PeerError::Broken(_))), "{status} {back:?}");
        }
    }
}

#[test]
fn that_there_is_no_key_is_believed_of_a_pool_and_of_no_other_server() {
    for dialect in NEWER {
        for (content_type, body) in [
            ("text/plain; charset=utf-8", &b"404 page not found\n"[..]),
            ("text/html", b"<html>not found</html>"),
            ("application/json", b"{}"),
            ("", b"no such key: Tom\n"),
        ] {
            let back = read(dialect, Verb::Get, response(404, &[("content-type", content_type)], body));
            assert!(matches!(back, Err(PeerError::Broken(_))), "{content_type} {back:?}");
        }
    }
}

#[test]
fn a_value_from_a_newer_peer_lives_until_the_end_it_names() {
    let protobuf = [("content-type", "application/x-protobuf")];
    for (body, ttl) in [
        (&b"\x0a\x01x\x18\0"[..], None),
        (b"\x0a\x01x", None),
        // In the past, by a second and by all there is.
        (b"\x0a\x01x\x18\x80\xec\xa8\xdd\xe2\x9d\x8d\xf5\x18", Some(Duration::ZERO)),
        (b"\x0a\x01x\x18\x80\x80\x80\x80\x80\x80\x80\x80\x80\x01", Some(Duration::ZERO)),
        (b"\x18\x80\x94\xff\x96\xea\x9d\x8d\xf5\x18\x7a\x02zz\x0a\x01x", Some(Duration::from_secs(1))),
    ] {
        for dialect in NEWER {
            let read = read(dialect, Verb::Get, response(200, &protobuf, body));
            assert!(
                matches!(&read, Ok(Reply::Found(found)) if found.value == b"x" && found.ttl == ttl),
                "{} {read:?}",
                body.escape_ascii()
            );
        }
        // The older ones know no end: there field 3 is whatever a fork made of it.
        let older = read(Dialect::Golang, Verb::Get, response(200, &protobuf, body));
        assert!(matches!(older, Ok(Reply::Found(found)) if found.ttl.is_none()));
    }
}

#[test]
fn what_is_no_reply_of_the_row_is_broken() {
    let protobuf = ("content-type", "application/x-protobuf");
    let names: &[u8] = b"\x0a\0".repeat(crate::placement::MEMBERS_MAX + 1).leak();
    let cases: [(Verb, Response<Bytes>); 15] = [
        (Verb::Get, response(200, &[protobuf], b"\x0a\x05ab")),
        (Verb::Get, response(200, &[protobuf], b"\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff")),
        (Verb::Get, response(200, &[("content-type", "text/html")], b"")),
        (Verb::Get, response(200, &[protobuf, ("content-encoding", "gzip")], b"")),
        (Verb::Get, response(301, &[("location", "/elsewhere")], b"")),
        (Verb::Get, response(304, &[], b"")),
        (Verb::Get, response(204, &[], b"")),
        (Verb::Get, response(206, &[protobuf], b"")),
        (Verb::Get, response(418, &[], b"")),
        (Verb::Set, response(301, &[("location", "/elsewhere")], b"")),
        (Verb::Id, response(200, &[("content-type", "text/html")], b"<html>")),
        (Verb::Members, response(200, &[("content-type", "text/html")], b"")),
        (Verb::Members, response(200, &[protobuf], names)),
        (Verb::Held, response(200, &[("content-type", "text/html")], b"")),
        (Verb::Held, response(200, &[("content-type", "application/x-protobuf")], b"\x08")),
    ];
    for (verb, case) in cases {
        for &dialect in Dialect::ALL {
            let told = format!("{case:?}");
            assert!(
                matches!(read(dialect, verb, case.clone()), Err(PeerError::Broken(_))),
                "{dialect} {told}"
            );
        }
    }
}

#[test]
fn a_native_peer_is_believed_only_in_native_words() {
    for (status, expected) in [
        (404, "Broken"),
        (500, "Broken"),
        (502, "Broken"),
        (503, "Broken"),
        (414, "TooLarge"),
        (431, "TooLarge"),
        (405, "Unsupported"),
    ] {
        let told = format!("{:?}", read(Dialect::Native, Verb::Get, response(status, &[], b"")));
        assert!(told.contains(expected), "{status} {told}");
    }
    let newer = response_of(404, "gone_fishing", "");
    assert!(matches!(read(Dialect::Native, Verb::Get, newer), Err(PeerError::Broken(_))));
    let untyped = response(200, &[], b"");
    assert!(matches!(read(Dialect::Native, Verb::Get, untyped), Err(PeerError::Broken(_))));
    let set = response(200, &[("content-type", "application/x-protobuf")], b"");
    assert!(matches!(read(Dialect::Native, Verb::Set, set), Err(PeerError::Broken(_))));
}

#[test]
fn a_value_at_the_limit_is_taken_and_one_byte_more_is_not() {
    for &dialect in Dialect::ALL {
        let sized = |length| Reply::Found(family::bare(vec![b'x'; length].into(), None));
        let back = |length| read(dialect, Verb::Get, encode(dialect.row(), TOM, sized(length)));
        assert!(matches!(back(1000), Ok(Reply::Found(_))));
        assert!(matches!(back(1001), Err(PeerError::Broken(_))));
    }
}

#[test]
fn an_id_is_one_short_word() {
    let id = |text: &str| {
        read(Dialect::Native, Verb::Id, encode(Dialect::Native.row(), TOM, Reply::Id(Arc::from(text))))
    };
    assert!(id(&"x".repeat(128)).is_ok());
    for bad in ["", " ", "a b", "ä", &"x".repeat(129)] {
        assert!(matches!(id(bad), Err(PeerError::Broken(_))), "{bad:?}");
    }
}
