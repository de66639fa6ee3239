//! Redirects: within the server they are followed, elsewhere they end.

use super::server::{Server, response};
use super::*;

fn to(code: u16, location: &str) -> String {
    response(&format!("{code} Moved\r\nLocation: {location}"), "it is not here")
}

#[tokio::test]
async fn a_redirect_within_the_server_is_followed() {
    let server = Server::following(|mut talk| async move {
        while let Some(head) = talk.request().await {
            let host = head.split("host: ").nth(1).unwrap().split("\r\n").next().unwrap().to_owned();
            talk.say(match head.split(' ').nth(1).unwrap() {
                "/items/a" => to(301, "/b?c=d#e"),
                "/b?c=d" => to(302, "x/../f"),
                "/f" => to(303, &format!("http://{host}/g")),
                "/g" => to(307, "?h"),
                "/g?h" => to(308, &format!("//{host}/there")),
                "/there" => response("200 OK", "found"),
                _ => response("404 Not Found", ""),
            })
            .await;
        }
    })
    .await;
    let mut settings = settings(&server);
    settings.headers = vec![("authorization".to_owned(), Secret::new("Bearer x"))];
    let http = Http::open(settings, bounds()).unwrap();
    assert_eq!(text(&http, "a").await.as_deref(), Some("found"));
    assert_eq!(server.targets(), ["/items/a", "/b?c=d", "/f", "/g", "/g?h", "/there"]);
    assert!(server.asked().iter().all(|head| head.contains("authorization: Bearer x\r\n")));
    assert_eq!((server.accepted(), http.loads()), (1, 6), "each of them is a request to the origin");
}

#[tokio::test]
async fn a_redirect_to_what_is_missing_is_missing() {
    let server = Server::answering(|target| match target {
        "/items/a" => to(302, "/gone"),
        _ => response("410 Gone", ""),
    })
    .await;
    assert_eq!(load(&open(&server), "a").await.unwrap(), None);
}

#[tokio::test]
async fn a_redirect_to_another_server_is_an_error_that_names_it_and_nobody_is_asked_there() {
    let other = Server::answering(|_| response("200 OK", "secret")).await;
    let elsewhere = format!("http://{}/items/a", other.address);
    let server = Server::answering(move |_| to(302, &elsewhere)).await;
    let line =
        format!("the origin redirects to another server, which is not asked: http://{}", other.address);
    assert_eq!(failure(&open(&server), "a").await, line);
    assert_eq!(other.accepted(), 0);
    // The same port, and a name for what is the same machine: still not what was configured.
    for elsewhere in ["http://localhost/", "http://169.254.169.254/latest/", "https://127.0.0.1/"] {
        let server = Server::answering(move |_| to(301, elsewhere)).await;
        assert!(matches!(load(&open(&server), "a").await, Err(OriginError::Elsewhere { .. })), "{elsewhere}");
    }
}

#[tokio::test]
async fn a_server_that_redirects_in_circles_is_left_after_a_few() {
    let server = Server::answering(|_| to(302, "")).await;
    assert!(matches!(load(&open(&server), "a").await, Err(OriginError::Location)));

    let server = Server::answering(|target| to(302, if target == "/x" { "/y" } else { "/x" })).await;
    let http = open(&server);
    assert_eq!(failure(&http, "a").await, "the origin redirected more than 5 times");
    assert_eq!((server.asked().len(), server.accepted()), (1 + REDIRECTS, 1));
}

#[tokio::test]
async fn a_redirect_without_a_location_is_an_error() {
    let server = Server::answering(|_| response("302 Found", "")).await;
    let line = "the origin redirects, and its Location is missing or no URL";
    assert_eq!(failure(&open(&server), "a").await, line);
}
