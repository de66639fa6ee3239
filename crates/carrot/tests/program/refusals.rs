//! Every refusal a client of the data front can meet: its status, its word, its line, and that nothing is kept of it.

use crate::awaiting::until;
use crate::client::{Client, Reply, ask, get, put};
use crate::database::{Pages, SERVE};
use crate::process::Node;

/// The whole reply to a refused request, as the architecture fixes it.
fn check(reply: &Reply, status: u16, error: &str, message: &str) {
    let body = format!(r#"{{"error":"{error}","message":"{message}"}}"#);
    assert_eq!((reply.status, reply.text()), (status, &*body));
    assert_eq!(reply.header("content-type"), Some("application/json"));
    assert_eq!(reply.header("x-cache"), None);
    assert_eq!(reply.header("retry-after").is_some(), status == 503);
}

fn weight(node: &Node) -> f64 {
    node.page().sum("carrot_weight_bytes", "")
}

#[test]
fn a_request_that_makes_no_sense_is_told_what_is_wrong_with_it() {
    let pages = Pages::new("delete", &[("home", "Hello")]);
    let node = Node::alone(pages.directory.path(), &SERVE);
    let mut client = Client::connect(node.http);
    for (method, target, status, error, message) in [
        ("GET", "/v1/pages/", 400, "bad_request", "key is required"),
        ("GET", "/v1/pages", 400, "bad_request", "key is required"),
        ("PUT", "/v1/pages/", 400, "bad_request", "key is required"),
        ("DELETE", "/v1/pages/", 400, "bad_request", "key is required"),
        ("DELETE", "/v1/pages?ttl=1s", 400, "bad_request", "ttl goes with PUT alone"),
        ("DELETE", "/v1/none", 404, "no_such_group", "no such group: none"),
        ("GET", "/v1/pages/%", 400, "bad_request", "bad percent-escape"),
        ("GET", "/v1/pages/%2", 400, "bad_request", "bad percent-escape"),
        ("GET", "/v1/pages/a%zzb", 400, "bad_request", "bad percent-escape"),
        ("GET", "/v1/%fg/home", 400, "bad_request", "bad percent-escape"),
        ("GET", "/v1/%ff/home", 400, "bad_request", "the group is not UTF-8"),
        (
            "GET",
            "/v1/pages/home?x=1",
            400,
            "bad_request",
            "unknown parameter: x; a ? that belongs to a key is written %3F",
        ),
        ("GET", "/v1/pages/home?ttl=1s", 400, "bad_request", "ttl goes with PUT alone"),
        ("DELETE", "/v1/pages/home?ttl=1s", 400, "bad_request", "ttl goes with PUT alone"),
        ("PUT", "/v1/pages/home?ttl=0s", 400, "bad_request", "ttl: it has to be longer than nothing"),
        ("GET", "/v1/pages/none", 404, "not_found", "group pages has no key none"),
        ("GET", "/v1/none/home", 404, "no_such_group", "no such group: none"),
        ("PUT", "/v1/none/home", 404, "no_such_group", "no such group: none"),
        ("DELETE", "/v1/none/home", 404, "no_such_group", "no such group: none"),
        ("GET", "/v1/Pages/home", 404, "no_such_group", "no such group: Pages"),
        ("GET", "/", 404, "not_found", "no such path: see /v1/{group}/{key}"),
        ("GET", "/v2/pages/home", 404, "not_found", "no such path: see /v1/{group}/{key}"),
        ("GET", "//v1/pages/home", 404, "not_found", "no such path: see /v1/{group}/{key}"),
        ("OPTIONS", "*", 404, "not_found", "no such path: see /v1/{group}/{key}"),
    ] {
        check(&client.ask(method, target), status, error, message);
    }
    for method in ["POST", "PATCH", "OPTIONS", "TRACE", "BREW"] {
        let reply = client.ask(method, "/v1/pages/home");
        check(&reply, 405, "method_not_allowed", "allowed here: GET, HEAD, PUT, DELETE");
        assert_eq!(reply.header("allow"), Some("GET, HEAD, PUT, DELETE"));
    }
    assert_eq!(
        node.page().sum("carrot_loads_total", ""),
        1.0,
        "the origin was asked for the missing key alone"
    );
    assert_eq!(weight(&node), 0.0);
}

#[test]
fn the_first_carrotcaches_path_refuses_in_lines_of_text() {
    let directory = tempfile::tempdir().unwrap();
    let node = Node::alone(directory.path(), &["--group", "scores", "--origin", "table:Tom=630"]);
    let mut client = Client::connect(node.http);
    for (method, target, status, line) in [
        ("GET", "/api", 400, "key is required\n"),
        ("GET", "/api?key=", 400, "key is required\n"),
        ("GET", "/api?key=%zz", 400, "bad percent-escape\n"),
        ("GET", "/api?key=Tim", 404, "group scores has no key Tim\n"),
        ("GET", "/api?key=Tom&group=none", 404, "no such group: none\n"),
        ("POST", "/api?key=Tom", 405, "allowed here: GET, HEAD\n"),
    ] {
        let reply = client.ask(method, target);
        assert_eq!((reply.status, reply.text()), (status, line), "{target}");
        assert_eq!(reply.header("content-type"), Some("text/plain; charset=utf-8"));
        assert_eq!(reply.header("allow"), (status == 405).then_some("GET, HEAD"));
    }
    let reply = client.get("/api?key=Tom");
    assert_eq!((reply.status, reply.text()), (200, "630"));
    assert_eq!(reply.header("content-type"), Some("application/octet-stream"));
}

#[test]
fn what_is_too_long_is_refused_at_each_of_its_limits() {
    let pages = Pages::new("delete", &[("home", "Hello")]);
    let node = Node::alone(pages.directory.path(), &SERVE);
    let longest = "k".repeat(4096);
    assert_eq!(node.get(&format!("/v1/pages/{longest}")).status, 404);
    let message = "key of 4097 bytes is over the limit of 4096";
    for method in ["GET", "DELETE"] {
        check(&ask(node.http, method, &format!("/v1/pages/{longest}k")), 413, "too_large", message);
    }
    check(&put(node.http, &format!("/v1/pages/{longest}k"), b"x"), 413, "too_large", message);
    let reply = node.get(&format!("/api?group=pages&key={longest}k"));
    assert_eq!((reply.status, reply.text()), (413, &*format!("{message}\n")));
    // All escaped it is three times as long on the way, and still a key.
    assert_eq!(node.get(&format!("/v1/pages/{}", "%6b".repeat(4096))).status, 404);

    for address in [node.http, node.admin, node.peer] {
        assert_eq!(
            get(address, &format!("/{}", "k".repeat(66_000))).status,
            414,
            "the target is refused below us"
        );
        let mut client = Client::connect(address);
        client.send(b"GET /livez HTTP/1.1\r\n");
        client.send(format!("Flood: {}\r\n", "x".repeat(200 << 10)).as_bytes());
        assert_eq!(client.receive("GET").status, 431);
        let mut client = Client::connect(address);
        client.send(b"GET /livez HTTP/1.1\r\n");
        client.send("Flood: x\r\n".repeat(1000).as_bytes());
        client.send(b"\r\n");
        assert_eq!(client.receive("GET").status, 431);
    }
    assert_eq!(weight(&node), 0.0);
}

#[test]
fn a_value_over_the_limit_is_refused_however_it_is_sent_and_nothing_is_stored() {
    let pages = Pages::new("delete", &[("home", "Hello")]);
    let node = Node::alone(pages.directory.path(), &[&SERVE[..], &["--limit-value", "1KiB"]].concat());
    assert_eq!(put(node.http, "/v1/pages/full", &[7; 1024]).status, 204);
    assert_eq!(node.get("/v1/pages/full").body, [7; 1024]);
    assert_eq!(ask(node.http, "DELETE", "/v1/pages/full").status, 204);

    let announced = "value of 1025 bytes is over the limit of 1024";
    check(&put(node.http, "/v1/pages/home", &[7; 1025]), 413, "too_large", announced);
    // It is refused before it is sent, and need not be.
    let mut client = Client::connect(node.http);
    client.send(b"PUT /v1/pages/home HTTP/1.1\r\nHost: a\r\nExpect: 100-continue\r\n");
    client.send(b"Content-Length: 1000000000000\r\n\r\n");
    let reply = client.receive("PUT");
    check(&reply, 413, "too_large", "value of 1000000000000 bytes is over the limit of 1024");

    let mut client = Client::connect(node.http);
    client.send(b"PUT /v1/pages/home HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n");
    client.send(format!("400\r\n{0}\r\n400\r\n{0}\r\n0\r\n\r\n", "x".repeat(1024)).as_bytes());
    check(&client.receive("PUT"), 413, "too_large", "value is over the limit of 1024 bytes");

    assert_eq!(weight(&node), 0.0);
    assert_eq!(node.get("/v1/pages/home").text(), "Hello");
}

#[test]
fn a_client_that_sends_all_of_a_value_over_the_limit_is_told_so_in_the_end() {
    let pages = Pages::new("delete", &[("home", "Hello")]);
    let node = Node::alone(pages.directory.path(), &SERVE);
    // More than the system's buffers hold: if nobody reads it, it cannot be sent.
    let value = vec![7; 12 << 20];
    for _ in 0..3 {
        let mut client = Client::connect(node.http);
        let head =
            format!("PUT /v1/pages/home HTTP/1.1\r\nHost: a\r\nContent-Length: {}\r\n\r\n", value.len());
        client.send_whole(head.as_bytes());
        client.send_whole(&value);
        let message = format!("value of {} bytes is over the limit of 8388608", value.len());
        check(&client.receive("PUT"), 413, "too_large", &message);
    }
    assert_eq!(weight(&node), 0.0);
}

#[test]
fn a_body_that_breaks_off_is_no_value() {
    let pages = Pages::new("delete", &[("home", "Hello")]);
    let node = Node::alone(pages.directory.path(), &SERVE);
    let mut told = 0.0;
    for body in [
        &b"Content-Length: 100\r\n\r\nten bytes."[..],
        b"Transfer-Encoding: chunked\r\n\r\n64\r\nten bytes.",
        b"Transfer-Encoding: chunked\r\n\r\nno length\r\n",
    ] {
        let mut client = Client::connect(node.http);
        client.send(b"PUT /v1/pages/home HTTP/1.1\r\nHost: a\r\n");
        client.send(body);
        client.end();
        let answered = client.rest();
        let said = String::from_utf8_lossy(&answered);
        assert!(said.is_empty() || said.starts_with("HTTP/1.1 400 "), "{said}");
        told += if said.is_empty() { 0.0 } else { 1.0 };
    }
    assert_eq!(node.page().number(r#"carrot_refusals_total{cause="malformed"}"#), told);
    assert_eq!(weight(&node), 0.0);
    assert_eq!(node.get("/v1/pages/home").text(), "Hello");
}

#[test]
fn a_loaded_value_over_the_limit_is_refused_by_its_size_and_not_stored() {
    let pages = Pages::new("delete", &[("fits", &"x".repeat(1024)), ("large", &"x".repeat(1025))]);
    let node = Node::alone(pages.directory.path(), &[&SERVE[..], &["--limit-value", "1KiB"]].concat());
    let message = "value of 1025 bytes for large in group pages is over the limit of 1024";
    for _ in 0..2 {
        check(&node.get("/v1/pages/large"), 502, "load_failed", message);
    }
    assert_eq!(node.page().number(r#"carrot_loads_total{group="pages",outcome="too_large"}"#), 2.0);
    assert_eq!(weight(&node), 0.0);
    assert_eq!(node.get("/v1/pages/fits").body.len(), 1024);
}

#[test]
fn a_loader_that_fails_is_named_with_its_cause_and_the_next_get_works() {
    let pages = Pages::new("delete", &[("home", "Hello")]);
    let node = Node::alone(pages.directory.path(), &SERVE);
    let (here, away) = (pages.directory.path().join("app.db"), pages.directory.path().join("away.db"));
    std::fs::rename(&here, &away).unwrap();
    let message = "loading home for group pages failed: no such file: app.db";
    check(&node.get("/v1/pages/home"), 502, "load_failed", message);
    assert_eq!(get(node.peer, "/_carrot/pages/home").status, 502);
    assert_eq!(weight(&node), 0.0);
    std::fs::rename(&away, &here).unwrap();
    assert_eq!(node.get("/v1/pages/home").text(), "Hello");
}

#[test]
fn an_origin_that_does_not_answer_costs_its_deadline_and_keeps_nobody_else_waiting_for_longer() {
    let pages = Pages::new("delete", &[("home", "Hello"), ("other", "Hello")]);
    let flags = [&SERVE[..], &["--load-deadline", "2s", "--max-loads", "1"]].concat();
    let node = Node::alone(pages.directory.path(), &flags);
    pages.lock();
    std::thread::scope(|scope| {
        let first = scope.spawn(|| node.get("/v1/pages/home"));
        until("the load runs", || node.page().number(r#"carrot_flights{group="pages"}"#) >= 1.0);
        // There is no room for another load, nor will there be in half of the deadline.
        let busy = node.get("/v1/pages/other");
        check(&busy, 503, "busy", "busy: max_loads of 1 is reached");
        assert_eq!(busy.header("retry-after"), Some("1"));
        check(&first.join().unwrap(), 504, "deadline", "no value of home in group pages within 2s");
    });
    pages.unlock();
    assert_eq!(weight(&node), 0.0);
    let page = node.page();
    assert_eq!(page.number(r#"carrot_loads_total{group="pages",outcome="deadline"}"#), 1.0);
    assert_eq!(page.number(r#"carrot_refusals_total{cause="loads"}"#), 1.0);
    assert_eq!(node.get("/v1/pages/home").text(), "Hello");
}

#[test]
fn a_load_past_its_deadline_is_always_called_that() {
    let pages = Pages::new("delete", &[("home", "Hello")]);
    let node = Node::alone(pages.directory.path(), &[&SERVE[..], &["--load-deadline", "50ms"]].concat());
    pages.lock();
    for _ in 0..20 {
        check(&node.get("/v1/pages/home"), 504, "deadline", "no value of home in group pages within 50ms");
    }
    pages.unlock();
}

#[test]
fn a_query_without_end_is_ended_and_leaves_the_origin_to_others() {
    let pages = Pages::new("delete", &[("home", "Hello")]);
    let endless = "with recursive n(x) as (select 1 union all select x + 1 from n
        where x < 3 or (?1 like 'forever%' and x < 1000000000)) select max(x) from n";
    let flags =
        ["--group", "pages", "--origin", "sqlite:app.db", "--query", endless, "--load-deadline", "1s"];
    let node = Node::alone(pages.directory.path(), &flags);
    std::thread::scope(|scope| {
        // As many as the origin has threads.
        let node = &node;
        let forever: Vec<_> =
            (0..4).map(|n| scope.spawn(move || node.get(&format!("/v1/pages/forever{n}")))).collect();
        for (n, get) in forever.into_iter().enumerate() {
            let late = format!("no value of forever{n} in group pages within 1s");
            check(&get.join().unwrap(), 504, "deadline", &late);
        }
    });
    until("the threads are free", || node.get("/v1/pages/once").status == 200);
}

#[test]
fn callers_past_their_limit_are_refused_at_once() {
    let pages = Pages::new("delete", &[("home", "Hello")]);
    let node = Node::alone(pages.directory.path(), &[&SERVE[..], &["--max-waiters", "2"]].concat());
    pages.lock();
    std::thread::scope(|scope| {
        let waiting: Vec<_> = (0..2).map(|_| scope.spawn(|| node.get("/v1/pages/home"))).collect();
        until("both wait", || node.page().number(r#"carrot_waiters{group="pages"}"#) >= 2.0);
        check(&node.get("/v1/pages/home"), 503, "busy", "busy: max_waiters of 2 is reached");
        pages.unlock();
        assert!(waiting.into_iter().all(|get| get.join().unwrap().text() == "Hello"));
    });
    assert_eq!(node.page().number(r#"carrot_refusals_total{cause="waiters"}"#), 1.0);
}

#[test]
fn what_is_refused_is_counted_by_its_cause() {
    let pages = Pages::new("delete", &[("home", "Hello")]);
    let node = Node::alone(pages.directory.path(), &[&SERVE[..], &["--limit-value", "1KiB"]].concat());
    let long = "k".repeat(5000);
    node.get("/v1/pages/");
    node.get(&format!("/v1/pages/{long}"));
    ask(node.http, "DELETE", &format!("/v1/pages/{long}"));
    get(node.peer, "/_carrot/none/home");
    for target in ["/v1/none/home", "/api?key=home&group=none"] {
        assert_eq!(node.get(target).status, 404, "{target}");
    }
    for target in ["/v1/pages/%", "/v1/%ff/home", "/api?key=%zz"] {
        assert_eq!(node.get(target).status, 400, "{target}");
    }
    assert_eq!(put(node.http, "/v1/pages/home?ttl=soon", b"x").status, 400);
    assert_eq!(put(node.http, "/v1/pages/home", &[7; 1025]).status, 413);
    // Neither is counted: the one is a miss, the other is asked of the wrong path.
    assert_eq!(node.get("/v1/pages/none").status, 404);
    assert_eq!(ask(node.http, "POST", "/v1/pages/home").status, 405);
    let page = node.page();
    for (cause, count) in [("key", 3.0), ("no_group", 3.0), ("malformed", 4.0), ("value", 1.0)] {
        assert_eq!(page.number(&format!(r#"carrot_refusals_total{{cause="{cause}"}}"#)), count, "{cause}");
    }
}
