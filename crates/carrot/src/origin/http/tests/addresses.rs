//! Which addresses a name may lead to, by a resolver that says what a test wants.

use std::collections::VecDeque;
use std::sync::Mutex;

use super::server::{Server, response};
use super::*;

const NOWHERE: &str = "169.254.169.254";

/// A resolver that gives these answers in turn, and the last of them ever after.
fn resolver(answers: &[&[&str]]) -> Resolver {
    let parse = |answer: &&[&str]| answer.iter().map(|address| address.parse().unwrap()).collect();
    let answers: Mutex<VecDeque<Vec<IpAddr>>> = Mutex::new(answers.iter().map(parse).collect());
    Resolver::new(move |host| {
        assert_eq!(host, "api.example");
        let mut answers = answers.lock().unwrap();
        let answer = if answers.len() > 1 { answers.pop_front() } else { answers.front().cloned() };
        Box::pin(async move { Ok(answer.unwrap()) })
    })
}

fn named(port: u16, resolver: Resolver) -> Http {
    let settings = HttpSettings::new(&format!("http://api.example:{port}/{{key}}")).unwrap();
    Http::open_with(settings, bounds(), resolver).unwrap()
}

async fn closing_server() -> Server {
    Server::answering(|_| response("200 OK\r\nConnection: close", "value")).await
}

#[tokio::test]
async fn an_address_of_a_metadata_server_is_refused_however_it_is_written() {
    for host in
        [NOWHERE, "[::ffff:169.254.169.254]", "[fe80::1]", "[fd00:ec2::254]", "100.100.100.200", "0.0.0.0"]
    {
        let http =
            Http::open(HttpSettings::new(&format!("http://{host}/{{key}}")).unwrap(), bounds()).unwrap();
        assert!(matches!(load(&http, "a").await, Err(OriginError::Address { .. })), "{host}");
        assert!(matches!(http.probe().await, Err(OriginError::Address { .. })), "{host}");
        assert_eq!(http.loads(), 0);
    }
}

#[tokio::test]
async fn a_number_that_the_system_reads_as_such_an_address_is_refused_too() {
    // 169.254.169.254 as one number, and in hexadecimal: names to us, addresses to the C library.
    for host in ["2852039166", "0xa9fea9fe"] {
        let http =
            Http::open(HttpSettings::new(&format!("http://{host}/{{key}}")).unwrap(), bounds()).unwrap();
        let error = load(&http, "a").await.unwrap_err();
        // Where the C library does not read them, they are names without an address.
        assert!(
            matches!(error, OriginError::Address { .. } | OriginError::Resolve { .. }),
            "{host}: {error}"
        );
    }
}

#[tokio::test]
async fn a_name_that_leads_to_a_metadata_server_is_refused_with_its_address() {
    let http = named(80, resolver(&[&[NOWHERE]]));
    let line = "api.example is at 169.254.169.254, a link-local address, which is asked only where the origin's \
                allow names it";
    assert_eq!(failure(&http, "a").await, line);
}

#[tokio::test]
async fn a_name_that_leads_elsewhere_the_second_time_is_refused_then() {
    let server = closing_server().await;
    let http = named(server.address.port(), resolver(&[&["127.0.0.1"], &[NOWHERE]]));
    assert_eq!(text(&http, "a").await.as_deref(), Some("value"));
    for _ in 0..2 {
        assert!(matches!(load(&http, "a").await, Err(OriginError::Address { .. })));
    }
    assert_eq!((server.accepted(), http.loads()), (1, 1));
}

#[tokio::test]
async fn of_several_addresses_those_are_tried_that_may_be_asked() {
    let server = closing_server().await;
    let port = server.address.port();
    // Nobody listens at the second.
    let http = named(port, resolver(&[&[NOWHERE, "127.0.0.2", "127.0.0.1"]]));
    assert_eq!(text(&http, "a").await.as_deref(), Some("value"));
    let http = named(port, resolver(&[&[NOWHERE, "127.0.0.2"]]));
    assert!(matches!(load(&http, "a").await, Err(OriginError::Connect { .. })));
}

#[tokio::test]
async fn an_address_that_the_settings_name_is_asked() {
    // The unspecified address leads to this machine, and is refused like the others.
    let server = closing_server().await;
    let url = format!("http://0.0.0.0:{}/{{key}}", server.address.port());
    let mut settings = HttpSettings::new(&url).unwrap();
    settings.allow = vec!["0.0.0.0".parse().unwrap()];
    let http = Http::open(settings, bounds()).unwrap();
    assert_eq!(text(&http, "a").await.as_deref(), Some("value"));
}

#[tokio::test]
async fn a_name_without_an_address_and_one_that_cannot_be_looked_up_are_errors() {
    assert_eq!(failure(&named(80, resolver(&[&[]])), "a").await, "api.example has no address");
    let failing = Resolver::new(|_| Box::pin(async { Err(std::io::Error::other("no name server")) }));
    let line = failure(&named(80, failing), "a").await;
    assert_eq!(line, "cannot find the address of api.example: no name server");
}

#[tokio::test]
async fn a_look_up_that_never_ends_runs_into_the_connect_timeout() {
    let mut settings = HttpSettings::new("http://api.example/{key}").unwrap();
    settings.connect_timeout = SHORT;
    let hanging = Resolver::new(|_| Box::pin(std::future::pending()));
    let http = Http::open_with(settings, bounds(), hanging).unwrap();
    assert_eq!(
        failure(&http, "a").await,
        "no connection to http://api.example within 50ms, the connect timeout"
    );
}

#[tokio::test]
async fn no_more_than_a_few_addresses_of_one_name_are_heeded() {
    let many: Vec<IpAddr> = (0..=255).map(|last| IpAddr::from([127, 0, 1, last])).collect();
    let resolver = Resolver::new(move |_| {
        let many = many.clone();
        Box::pin(async move { Ok(many) })
    });
    assert_eq!(resolver.resolve("api.example").await.unwrap().len(), 8);
}
