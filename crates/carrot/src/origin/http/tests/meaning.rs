//! What is asked for a key, and what comes of each answer.

use super::server::{Server, answer_all, response};
use super::*;

#[tokio::test]
async fn a_load_is_one_get_of_the_url_with_the_key_in_it() {
    let server = Server::answering(|_| response("200 OK", "630")).await;
    let mut settings = settings(&server);
    settings.headers = vec![("authorization".to_owned(), Secret::new("Bearer x"))];
    let http = Http::open(settings, bounds()).unwrap();
    assert_eq!(http.loads(), 0);
    assert_eq!(load(&http, "Tom").await.unwrap(), Some("630".into()));
    assert_eq!(http.loads(), 1);
    let asked = server.asked();
    let mut lines: Vec<&str> = asked[0].trim_end().split("\r\n").collect();
    assert_eq!((asked.len(), lines.remove(0)), (1, "GET /items/Tom HTTP/1.1"));
    lines.sort_unstable();
    let host = format!("host: {}", server.address);
    let agent = format!("user-agent: carrot/{}", env!("CARGO_PKG_VERSION"));
    assert_eq!(lines, ["accept-encoding: identity", "authorization: Bearer x", &host, &agent]);
}

#[tokio::test]
async fn every_byte_of_a_key_arrives_in_the_one_segment() {
    let server = Server::answering(|_| response("200 OK", "")).await;
    let http = open(&server);
    let mut keys: Vec<Vec<u8>> = (0..=255).map(|byte| vec![byte]).collect();
    keys.retain(|key| key != b".");
    keys.extend(
        [&b"a/../b"[..], b"../../x", b"/", b"//", b"a?b#c&d=e", b"%2e%2e", b"...", b"a\r\nHost: b"]
            .map(Vec::from),
    );
    keys.push("grüß dich, Möhre".as_bytes().to_vec());
    for key in &keys {
        assert!(http.load(&Key::new(key)).await.unwrap().is_some());
    }
    for (key, target) in keys.iter().zip(server.targets()) {
        let segments: Vec<&str> = target.split('/').collect();
        assert_eq!(segments[..2], ["", "items"], "{target}");
        let decoded: Vec<u8> = percent_encoding::percent_decode_str(segments[2]).collect();
        assert_eq!((segments.len(), &decoded), (3, key), "{target}");
    }
}

#[tokio::test]
async fn a_key_that_every_server_takes_for_a_step_is_not_found_and_not_asked_for() {
    let server = Server::answering(|_| response("200 OK", "")).await;
    let http = open(&server);
    for key in [".", "..", "."] {
        assert_eq!(load(&http, key).await.unwrap(), None);
    }
    assert_eq!((http.loads(), server.asked().len()), (0, 0));
    assert_eq!(server.accepted(), 1, "looked for, on a connection that is kept");
}

#[tokio::test]
async fn no_key_is_missing_at_a_server_that_is_not_there() {
    let address = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap().local_addr().unwrap();
    let settings = HttpSettings::new(&format!("http://{address}/{{key}}")).unwrap();
    let http = Http::open(settings, bounds()).unwrap();
    for key in ["..", "a"] {
        let error = load(&http, key).await.unwrap_err();
        assert!(matches!(error, OriginError::Connect { .. }), "{key}: {error}");
    }
}

#[tokio::test]
async fn a_status_says_whether_there_is_a_value() {
    let server = Server::answering(|target| match target.rsplit('/').next().unwrap() {
        "204" => "HTTP/1.1 204 No Content\r\n\r\n".to_owned(),
        "304" => "HTTP/1.1 304 Not Modified\r\n\r\n".to_owned(),
        "100" => format!("HTTP/1.1 100 Continue\r\n\r\n{}", response("200 OK", "after a while")),
        "chunked" => {
            "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nin \r\n6\r\nchunks\r\n0\r\n\r\n"
                .to_owned()
        }
        code => response(&format!("{code} Whatever"), "body"),
    })
    .await;
    let http = open(&server);
    for (key, value) in [
        ("200", Some("body")),
        ("203", Some("body")),
        ("204", Some("")),
        ("100", Some("after a while")),
        ("chunked", Some("in chunks")),
        ("404", None),
        ("410", None),
    ] {
        assert_eq!(text(&http, key).await.as_deref(), value, "{key}");
    }
    for key in ["201", "202", "206", "300", "304", "400", "401", "403", "405", "429", "500", "503", "599"] {
        let error = load(&http, key).await.unwrap_err();
        let OriginError::Status { status, .. } = &error else { panic!("{key}: {error}") };
        assert_eq!(status.as_str(), key);
    }
    assert_eq!(server.accepted(), 1, "whatever it says, the connection is as good as before");
}

#[tokio::test]
async fn an_error_repeats_what_the_server_said_if_that_is_short_and_text() {
    let server = Server::answering(|target| match target {
        "/items/short" => response("503 Service Unavailable", " out of \"order\"\n\x1b[31m\n"),
        "/items/long" => response("503 Service Unavailable", &"x".repeat(201)),
        "/items/longer" => response("503 Service Unavailable", &"x".repeat(100_000)),
        _ => response("500 Internal Server Error", ""),
    })
    .await;
    let http = open(&server);
    let said = "the origin answered 503 Service Unavailable: \"out of \\\"order\\\"\\n\\u{1b}[31m\"";
    assert_eq!(failure(&http, "short").await, said);
    for key in ["long", "longer"] {
        assert_eq!(failure(&http, key).await, "the origin answered 503 Service Unavailable");
    }
    assert_eq!(failure(&http, "x").await, "the origin answered 500 Internal Server Error");
}

#[tokio::test]
async fn a_missing_key_is_missing_even_if_the_rest_of_the_answer_never_comes() {
    let server = Server::following(|mut talk| async move {
        talk.request().await;
        talk.say("HTTP/1.1 404 Not Found\r\nContent-Length: 100\r\n\r\n").await;
        talk.closed().await;
    })
    .await;
    let http = open(&server);
    assert_eq!(load(&http, "a").await.unwrap(), None);
    assert_eq!(load(&http, "b").await.unwrap(), None);
    assert_eq!(server.accepted(), 2, "a connection with an answer still to come is not used again");
}

#[tokio::test]
async fn a_value_as_large_as_allowed_is_taken_whole_and_a_larger_one_refused() {
    let server = Server::answering(|target| {
        let length: usize = target.rsplit('/').next().unwrap().parse().unwrap();
        response("200 OK", &"x".repeat(length))
    })
    .await;
    let http = open(&server);
    let largest = load(&http, &VALUE_MAX.to_string()).await.unwrap().unwrap();
    assert_eq!(largest.value, "x".repeat(VALUE_MAX));
    let line = failure(&http, &(VALUE_MAX + 1).to_string()).await;
    assert_eq!(line, "the origin's answer is over 64KiB, the limit for values");
}

#[tokio::test]
async fn a_coded_answer_is_refused_for_its_coding() {
    let server = Server::answering(|target| {
        let header = match target {
            "/items/gzip" => "Content-Encoding: gzip",
            "/items/both" => "Content-Encoding: identity, BR",
            "/items/odd" => "Content-Encoding: \u{fc}",
            _ => "Content-Encoding: Identity",
        };
        response(&format!("200 OK\r\n{header}"), "body")
    })
    .await;
    let http = open(&server);
    for (key, coding) in [("gzip", "gzip"), ("both", "BR"), ("odd", "unreadable")] {
        let line =
            format!("the origin's answer is coded (content-encoding: {coding}) and was asked for as it is");
        assert_eq!(failure(&http, key).await, line);
    }
    assert_eq!(text(&http, "plain").await.as_deref(), Some("body"));

    let server = Server::answering(
        |_| "HTTP/1.1 200 OK\r\nTransfer-Encoding: gzip, chunked\r\n\r\n1\r\nx\r\n0\r\n\r\n",
    )
    .await;
    let line = failure(&open(&server), "a").await;
    assert!(line.contains("(transfer-encoding: gzip)"), "{line}");
}

#[tokio::test]
async fn settings_are_checked_whatever_they_were_made_of() {
    let made = |change: fn(&mut HttpSettings)| {
        let mut settings = HttpSettings::new("http://a/{key}").unwrap();
        change(&mut settings);
        Http::open(settings, bounds()).map(|_| ()).unwrap_err().to_string()
    };
    let line = made(|settings| settings.url = "http://a/".to_owned());
    assert!(line.starts_with("is no URL of an origin: it has to hold {key} once"), "{line}");
    let line = made(|settings| settings.headers = vec![("host".to_owned(), Secret::new("b"))]);
    assert!(line.starts_with("header \"host\" of the origin is not for settings"), "{line}");
    let line = made(|settings| settings.ca = Some(PathBuf::from("ca.pem")));
    assert_eq!(line, "a file of certificates is for https origins alone");
    let line = made(|settings| settings.url = "https://a..b/{key}".to_owned());
    assert_eq!(line, "is no URL of an origin: no certificate can be for this host");
}

#[tokio::test]
async fn a_url_may_name_the_server_by_its_address_or_a_name() {
    let server = Server::following(|talk| answer_all(talk, |_| response("200 OK", "here"))).await;
    let url = format!("http://localhost:{}/{{key}}", server.address.port());
    let http = Http::open(HttpSettings::new(&url).unwrap(), bounds()).unwrap();
    assert_eq!(text(&http, "a").await.as_deref(), Some("here"));
    assert!(server.asked()[0].contains(&format!("host: localhost:{}\r\n", server.address.port())));
}
