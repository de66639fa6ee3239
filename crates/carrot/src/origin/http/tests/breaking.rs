//! Servers that refuse, hang, break off, or never come to an end.

use tokio::net::TcpListener;
use tokio::sync::mpsc::unbounded_channel;

use super::server::{Server, Talk, response};
use super::*;

/// A server that says this once it was asked, and then waits to be left.
async fn saying(bytes: &'static str) -> Server {
    Server::following(move |mut talk: Talk| async move {
        talk.request().await;
        talk.say(bytes).await;
        talk.closed().await;
    })
    .await
}

/// A server that says this once it was asked, and closes.
async fn closing_after(bytes: &'static str) -> Server {
    Server::following(move |mut talk: Talk| async move {
        talk.request().await;
        talk.say(bytes).await;
    })
    .await
}

#[tokio::test]
async fn a_server_that_is_not_there_is_named_with_its_address() {
    let address = TcpListener::bind("127.0.0.1:0").await.unwrap().local_addr().unwrap();
    let http =
        Http::open(HttpSettings::new(&format!("http://{address}/{{key}}")).unwrap(), bounds()).unwrap();
    let line = failure(&http, "a").await;
    assert!(line.starts_with(&format!("cannot connect to {address}: ")), "{line}");
    assert_eq!(http.loads(), 0, "nothing was asked");
    assert!(matches!(http.probe().await, Err(OriginError::Connect { .. })));
}

#[tokio::test]
async fn a_server_that_never_accepts_runs_into_the_first_byte_timeout() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}/{{key}}", listener.local_addr().unwrap());
    let mut settings = HttpSettings::new(&url).unwrap();
    settings.first_byte_timeout = Some(SHORT);
    let http = Http::open(settings, bounds()).unwrap();
    let line = "the origin began no answer within 50ms, the first-byte timeout";
    assert_eq!(failure(&http, "a").await, line);
}

#[tokio::test]
async fn a_server_that_accepts_and_says_nothing_runs_into_either_timeout() {
    let server = saying("").await;
    let mut settings = settings(&server);
    settings.first_byte_timeout = Some(SHORT);
    let http = Http::open(settings, bounds()).unwrap();
    assert!(matches!(load(&http, "a").await, Err(OriginError::FirstByteTimeout { waited: SHORT })));

    let mut http = open(&server);
    http.bounds.deadline = SHORT;
    let line = "the origin gave no whole answer within 50ms, all the time that a load has";
    assert_eq!(failure(&http, "a").await, line);
}

#[tokio::test]
async fn a_server_that_stops_within_its_answer_runs_into_the_deadline() {
    for begun in [
        "HTTP/1.1 200 OK\r\nContent-Len",
        "HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\n",
        "HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nhalf",
        "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n4\r\nhalf\r\n",
        "HTTP/1.1 100 Continue\r\n\r\n",
    ] {
        let mut http = open(&saying(begun).await);
        http.bounds.deadline = SHORT;
        let error = load(&http, "a").await.unwrap_err();
        assert!(matches!(error, OriginError::Overdue { waited: SHORT }), "{begun:?}: {error}");
    }
}

#[tokio::test]
async fn half_a_body_is_an_error_and_never_a_value() {
    for (begun, line) in [
        ("HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\n", "the origin's answer was cut off after 0 bytes: "),
        (
            "HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nhalf",
            "the origin's answer was cut off after 4 bytes: ",
        ),
        (
            "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n4\r\nhalf\r\n",
            "the origin's answer was cut off after 4 bytes: ",
        ),
        (
            "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n4\r\nhalf\r\n0\r\n",
            "the origin's answer was cut off after 4 bytes: ",
        ),
        (
            "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nno chunk\r\n",
            "the origin's answer was cut off after 0 bytes: ",
        ),
    ] {
        let http = open(&closing_after(begun).await);
        let said = failure(&http, "a").await;
        assert!(said.starts_with(line), "{begun:?}: {said}");
        assert_eq!(http.loads(), 1, "it was asked once");
    }
}

#[tokio::test]
async fn a_body_whose_end_is_not_marked_is_refused() {
    let line = "the origin's answer has neither a Content-Length nor chunks, and may have been cut off";
    for said in [
        "HTTP/1.1 200 OK\r\n\r\nas much as there is until I close",
        // Codings that say nothing, which are read until the close as well, whatever the length says beside them.
        "HTTP/1.1 200 OK\r\nTransfer-Encoding:\r\n\r\nhalf",
        "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked,\r\n\r\nhalf",
        "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nTransfer-Encoding: ,\r\n\r\nhalf",
        "HTTP/1.1 200 OK\r\nTransfer-Encoding:\r\nContent-Length: 10\r\n\r\nhalf",
    ] {
        let http = open(&closing_after(said).await);
        assert_eq!(failure(&http, "a").await, line, "{said:?}");
    }
}

#[tokio::test]
async fn what_is_no_response_is_an_error() {
    let long_head = format!("HTTP/1.1 200 OK\r\nX: {}\r\n\r\n", "x".repeat(100_000));
    let many_headers = format!("HTTP/1.1 200 OK\r\n{}\r\n", "X: y\r\n".repeat(1000));
    for said in [
        "",
        "H",
        "SSH-2.0-OpenSSH_9.7\r\n",
        "HTTP/1.1 200",
        "HTTP/3.0 200 OK\r\n\r\n",
        "HTTP/1.1 9 OK\r\n\r\n",
        "HTTP/1.1 200 OK\r\nContent-Length: -1\r\n\r\n",
        "HTTP/1.1 200 OK\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\nab",
        "HTTP/1.1 200 OK\r\nno header\r\n\r\n",
        long_head.leak(),
        many_headers.leak(),
    ] {
        let http = open(&closing_after(said).await);
        let error = load(&http, "a").await.unwrap_err();
        let shown = said.chars().take(40).collect::<String>();
        assert!(matches!(error, OriginError::Broken(_)), "{shown:?}: {error}");
        assert!(!carrotcache::with_causes(&error).contains('\n'));
        assert_eq!(http.loads(), 1, "{shown:?}");
    }
}

#[tokio::test]
async fn a_value_without_end_is_refused_and_its_connection_closed() {
    for (head, piece) in [
        ("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n", "5\r\nxxxxx\r\n".repeat(100)),
        ("HTTP/1.1 200 OK\r\nContent-Length: 99999999999\r\n\r\n", "x".repeat(1000)),
        ("HTTP/1.1 200 OK\r\n\r\n", "x".repeat(1000)),
        ("HTTP/1.1 503 Service Unavailable\r\n\r\n", "x".repeat(1000)),
        ("HTTP/1.1 404 Not Found\r\nTransfer-Encoding: chunked\r\n\r\n", "5\r\nxxxxx\r\n".repeat(100)),
    ] {
        let (left, mut leaving) = unbounded_channel();
        let server = Server::following(move |mut talk: Talk| {
            let (left, piece) = (left.clone(), piece.clone());
            async move {
                talk.request().await;
                talk.say(head).await;
                while talk.say(&piece).await {}
                left.send(()).unwrap();
            }
        })
        .await;
        let http = open(&server);
        match load(&http, "a").await {
            Err(OriginError::TooLarge { .. } | OriginError::Endless | OriginError::Status { .. }) => {}
            Ok(None) => assert!(head.contains("404")),
            other => panic!("{head}: {other:?}"),
        }
        // It could write for ever, were it not left alone.
        leaving.recv().await.unwrap();
    }
}

#[tokio::test]
async fn a_load_that_nobody_waits_for_closes_its_connection() {
    for begun in ["", "HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nhalf"] {
        let (told, mut tell) = unbounded_channel();
        let server = Server::following(move |mut talk: Talk| {
            let told = told.clone();
            async move {
                talk.request().await;
                talk.say(begun).await;
                told.send("asked").unwrap();
                talk.closed().await;
                told.send("left").unwrap();
            }
        })
        .await;
        let http = Arc::new(open(&server));
        let asking = http.clone();
        let asked = tokio::spawn(async move { load(&asking, "a").await });
        assert_eq!(tell.recv().await, Some("asked"));
        asked.abort();
        assert_eq!(tell.recv().await, Some("left"), "{begun:?}");
    }
}

#[tokio::test]
async fn an_answer_that_broke_off_does_not_spoil_the_next_load() {
    let server = Server::following(|mut talk: Talk| async move {
        while let Some(head) = talk.request().await {
            if head.starts_with("GET /items/bad ") {
                talk.say("HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nhalf").await;
                return;
            }
            talk.say(response("200 OK", "whole")).await;
        }
    })
    .await;
    let http = open(&server);
    for _ in 0..3 {
        assert!(matches!(load(&http, "bad").await, Err(OriginError::Cut { taken: 4, .. })));
        assert_eq!(text(&http, "good").await.as_deref(), Some("whole"));
    }
}
