//! Which connections are used again, and what becomes of one that the server has closed meanwhile.

use tokio::sync::mpsc::{UnboundedReceiver, unbounded_channel};

use super::server::{Server, Talk, response};
use super::*;
use crate::origin::http::pool::IDLE_TIME;

#[tokio::test]
async fn one_connection_serves_one_load_after_another() {
    let server = Server::answering(|target| response("200 OK", target)).await;
    let http = open(&server);
    for key in 0..100 {
        let key = key.to_string();
        assert_eq!(text(&http, &key).await, Some(format!("/items/{key}")));
    }
    assert_eq!((server.accepted(), http.loads()), (1, 100));
}

#[tokio::test]
async fn loads_at_once_have_a_connection_each_and_leave_them_to_the_next() {
    let gate = Arc::new(tokio::sync::Barrier::new(8));
    let server = Server::following(move |mut talk: Talk| {
        let gate = gate.clone();
        async move {
            while talk.request().await.is_some() {
                // Answers when eight have been asked.
                gate.wait().await;
                talk.say(response("200 OK", "")).await;
            }
        }
    })
    .await;
    let http = Arc::new(open(&server));
    for _ in 0..3 {
        let ask = |key: u32| {
            let http = http.clone();
            tokio::spawn(async move { text(&http, &key.to_string()).await })
        };
        let asked: Vec<_> = (0..8).map(ask).collect();
        for answer in asked {
            assert_eq!(answer.await.unwrap().as_deref(), Some(""));
        }
    }
    assert_eq!((server.accepted(), http.loads()), (8, 24));
}

#[tokio::test]
async fn a_connection_that_the_server_closes_is_not_used_again() {
    for head in ["200 OK\r\nConnection: close", "200 OK"] {
        let server = Server::following(move |mut talk: Talk| async move {
            talk.request().await;
            talk.say(response(head, "once")).await;
        })
        .await;
        let http = open(&server);
        for _ in 0..3 {
            assert_eq!(text(&http, "a").await.as_deref(), Some("once"));
        }
        assert_eq!(server.accepted(), 3);
        assert_eq!(server.asked().len(), 3, "each load was asked once");
    }
}

#[tokio::test]
async fn a_request_that_a_kept_connection_swallowed_is_sent_once_more() {
    let server = Server::following(|mut talk: Talk| async move {
        // Answers the first request of each connection, and closes on the second without a word.
        talk.request().await;
        talk.say(response("200 OK", "first")).await;
        talk.request().await;
    })
    .await;
    let http = open(&server);
    assert_eq!(text(&http, "a").await.as_deref(), Some("first"));
    assert_eq!(text(&http, "b").await.as_deref(), Some("first"));
    assert_eq!(server.targets(), ["/items/a", "/items/b", "/items/b"]);
    assert_eq!((server.accepted(), http.loads()), (2, 3));
}

#[tokio::test]
async fn a_request_that_was_begun_to_be_answered_is_not_sent_again() {
    let server = Server::following(|mut talk: Talk| async move {
        talk.request().await;
        talk.say(response("200 OK", "first")).await;
        talk.request().await;
        talk.say("H").await;
    })
    .await;
    let http = open(&server);
    assert_eq!(text(&http, "a").await.as_deref(), Some("first"));
    assert!(matches!(load(&http, "b").await, Err(OriginError::Broken(_))));
    assert_eq!(server.targets(), ["/items/a", "/items/b"]);
}

#[tokio::test]
async fn a_new_connection_that_swallows_a_request_fails_the_load() {
    let server = Server::following(|mut talk: Talk| async move {
        if talk.number == 0 {
            talk.request().await;
            talk.say(response("200 OK", "first")).await;
        }
        talk.request().await;
    })
    .await;
    let http = open(&server);
    assert_eq!(text(&http, "a").await.as_deref(), Some("first"));
    assert!(matches!(load(&http, "b").await, Err(OriginError::Broken(_))));
    assert_eq!(server.targets(), ["/items/a", "/items/b", "/items/b"]);
}

/// A server that answers each connection once, and tells when its client has closed it.
async fn answering_once() -> (Server, UnboundedReceiver<()>) {
    let (told, tell) = unbounded_channel();
    let server = Server::following(move |mut talk: Talk| {
        let told = told.clone();
        async move {
            talk.request().await;
            talk.say(response("200 OK", "once")).await;
            talk.closed().await;
            told.send(()).unwrap();
        }
    });
    (server.await, tell)
}

#[tokio::test]
async fn a_connection_that_nobody_uses_is_closed_after_a_while() {
    let (server, mut tell) = answering_once().await;
    let http = open(&server);
    assert_eq!(text(&http, "a").await.as_deref(), Some("once"));
    // From here on the clock runs by itself whenever nothing else is to be done.
    tokio::time::pause();
    let began = tokio::time::Instant::now();
    tell.recv().await.unwrap();
    assert!(began.elapsed() >= IDLE_TIME / 2, "{:?}", began.elapsed());
    assert_eq!(http.loads(), 1);
}

#[tokio::test]
async fn all_connections_end_with_the_origin() {
    let (server, mut tell) = answering_once().await;
    let http = open(&server);
    assert_eq!(text(&http, "a").await.as_deref(), Some("once"));
    drop(http);
    tell.recv().await.unwrap();
}

#[tokio::test]
async fn a_probe_connects_asks_nothing_and_leaves_its_connection_to_the_first_load() {
    let server = Server::answering(|_| response("200 OK", "value")).await;
    let http = open(&server);
    http.probe().await.unwrap();
    assert_eq!(http.loads(), 0);
    assert_eq!(text(&http, "a").await.as_deref(), Some("value"));
    assert_eq!((server.accepted(), server.asked().len(), http.loads()), (1, 1, 1));
}
