//! How long a value is kept, between the response's word and the group's.

use super::server::{Server, response};
use super::*;

/// For how long a response with these header lines is kept, in seconds, by a group with this ttl.
async fn kept(ttl: Option<u64>, lines: &'static str) -> Option<u64> {
    let server = Server::answering(move |_| response(&format!("200 OK\r\n{lines}X: y"), "value")).await;
    let bounds = Bounds { ttl: ttl.map(Duration::from_secs), ..bounds() };
    let http = Http::open(settings(&server), bounds).unwrap();
    let loaded = load(&http, "a").await.unwrap().unwrap();
    assert_eq!(loaded.value, "value", "whatever becomes of it later, whoever waits has it");
    loaded.ttl.map(|ttl| ttl.as_secs())
}

#[tokio::test]
async fn a_value_is_kept_as_long_as_both_the_response_and_the_group_say() {
    for (ttl, lines, seconds) in [
        (None, "", None),
        (Some(300), "", None),
        (None, "Cache-Control: max-age=60\r\n", Some(60)),
        (Some(300), "Cache-Control: max-age=60\r\n", Some(60)),
        (Some(30), "Cache-Control: max-age=60\r\n", Some(30)),
        (Some(300), "cache-control: public\r\nCACHE-CONTROL: S-MaxAge=\"20\", max-age=60\r\n", Some(20)),
        (Some(300), "Age: 15\r\nCache-Control: max-age=60\r\n", Some(45)),
        (Some(300), "Age: 61\r\nCache-Control: max-age=60\r\n", Some(0)),
        (Some(300), "Cache-Control: no-store\r\n", Some(0)),
        (None, "Cache-Control: private, max-age=60\r\n", Some(0)),
        (Some(300), "Cache-Control: no-cache\r\n", Some(0)),
        (Some(300), "Set-Cookie: a=b\r\n", Some(0)),
    ] {
        assert_eq!(kept(ttl, lines).await, seconds, "{ttl:?} {lines:?}");
    }
}

#[tokio::test]
async fn an_empty_value_is_kept_by_the_same_rules() {
    let server = Server::answering(|_| "HTTP/1.1 204 No Content\r\nCache-Control: max-age=60\r\n\r\n").await;
    let loaded = load(&open(&server), "a").await.unwrap().unwrap();
    assert_eq!((&*loaded.value, loaded.ttl), (&b""[..], Some(Duration::from_secs(60))));
}

#[tokio::test]
async fn a_redirect_that_holds_for_a_moment_gives_a_value_for_a_moment() {
    for (redirect, value, seconds) in [
        ("", "max-age=60", Some(60)),
        ("Cache-Control: no-store\r\n", "max-age=60", Some(0)),
        ("Cache-Control: max-age=5\r\n", "max-age=60", Some(5)),
        ("Cache-Control: max-age=60\r\n", "max-age=5", Some(5)),
        ("Cache-Control: max-age=60\r\n", "public", Some(60)),
        ("", "public", None),
    ] {
        let server = Server::answering(move |target| match target {
            "/items/a" => response(&format!("302 Found\r\n{redirect}Location: b"), ""),
            _ => response(&format!("200 OK\r\nCache-Control: {value}"), "value"),
        })
        .await;
        let loaded = load(&open(&server), "a").await.unwrap().unwrap();
        assert_eq!(loaded.ttl.map(|ttl| ttl.as_secs()), seconds, "{redirect} {value}");
    }
}
