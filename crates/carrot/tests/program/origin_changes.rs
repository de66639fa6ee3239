//! Another program changes a row: the change is served after the ttl, or at once after a DELETE. And what a PUT does.

use crate::awaiting::{eventually, until};
use crate::client::{Client, ask, put};
use crate::database::{Pages, SERVE};
use crate::process::Node;

#[test]
fn a_row_that_another_program_changed_is_served_after_its_ttl() {
    for journal_mode in ["delete", "wal"] {
        let pages = Pages::new(journal_mode, &[("home", "first")]);
        let flags = [&SERVE[..], &["--ttl", "500ms"]].concat();
        let node = Node::alone(pages.directory.path(), &flags);
        for (before, after) in [("first", "second"), ("second", "third")] {
            // From memory at least once, so that it is the ttl that ends it.
            until("it is in memory", || node.get("/v1/pages/home").cache().0 == "hit");
            pages.write("home", after);
            let reply = eventually("the new row is served", || {
                let reply = node.get("/v1/pages/home");
                assert!([before, after].contains(&reply.text()), "{journal_mode}: {reply:?}");
                (reply.text() == after).then_some(reply)
            });
            assert_eq!(reply.age(), 0, "{journal_mode}");
        }
    }
}

#[test]
fn a_row_that_another_program_changed_is_served_at_once_after_a_delete() {
    for journal_mode in ["delete", "wal"] {
        let pages = Pages::new(journal_mode, &[("home", "first")]);
        let node = Node::alone(pages.directory.path(), &SERVE);
        assert_eq!(node.get("/v1/pages/home").text(), "first");
        pages.write("home", "second");
        assert_eq!(node.get("/v1/pages/home").text(), "first", "{journal_mode}");
        let deleted = ask(node.http, "DELETE", "/v1/pages/home");
        assert_eq!((deleted.status, deleted.length_if_any()), (204, None));
        let reply = node.get("/v1/pages/home");
        assert_eq!((reply.text(), reply.cache().0), ("second", "miss"), "{journal_mode}");
    }
}

#[test]
fn a_key_that_is_not_cached_is_deleted_all_the_same() {
    let pages = Pages::new("delete", &[("home", "first")]);
    let node = Node::alone(pages.directory.path(), &SERVE);
    for target in ["/v1/pages/home", "/v1/pages/never-heard-of"] {
        assert_eq!(ask(node.http, "DELETE", target).status, 204, "{target}");
    }
    assert_eq!(node.page().loads(), 0.0, "a DELETE asks the origin nothing");
}

#[test]
fn a_value_that_is_put_is_served_until_its_ttl_and_then_the_origin_is_asked() {
    let pages = Pages::new("delete", &[("home", "first")]);
    let node = Node::alone(pages.directory.path(), &SERVE);
    assert_eq!(put(node.http, "/v1/pages/home", b"set").status, 204);
    let reply = node.get("/v1/pages/home");
    assert_eq!((reply.text(), reply.cache().0, reply.cache().1), ("set", "hit", "memory"));
    assert_eq!(node.page().loads(), 0.0);

    assert_eq!(put(node.http, "/v1/pages/home?ttl=500ms", b"for a while").status, 204);
    let reply = eventually("the ttl passes", || {
        let reply = node.get("/v1/pages/home");
        (reply.text() != "for a while").then_some(reply)
    });
    assert_eq!((reply.text(), reply.cache().0), ("first", "miss"));
    assert_eq!(node.page().loads(), 1.0);

    // A key that the origin does not have, any bytes, and none at all.
    for value in [&b"\0\xff\r\n"[..], b""] {
        assert_eq!(put(node.http, "/v1/pages/a%2Fb%20%00", value).status, 204);
        let reply = node.get("/v1/pages/a/b%20%00");
        assert_eq!((reply.status, &*reply.body), (200, value));
    }

    let refused = put(node.http, "/v1/pages/home?ttl=30", b"without a unit");
    assert_eq!(refused.status, 400, "{refused:?}");
    assert!(refused.text().starts_with(r#"{"error":"bad_request","message":"ttl: \"30\" is not a time"#));
    assert_eq!(node.get("/v1/pages/home").text(), "first");
}

#[test]
fn a_put_may_come_in_chunks_and_may_ask_before_it_sends() {
    let pages = Pages::new("delete", &[("home", "first")]);
    let node = Node::alone(pages.directory.path(), &SERVE);
    let mut client = Client::connect(node.http);
    client.send(b"PUT /v1/pages/home HTTP/1.1\r\nHost: test\r\nTransfer-Encoding: chunked\r\n\r\n");
    client.send(b"3\r\nin \r\n6\r\nchunks\r\n0\r\n\r\n");
    assert_eq!(client.receive("PUT").status, 204);
    assert_eq!(client.get("/v1/pages/home").text(), "in chunks");

    client.send(
        b"PUT /v1/pages/home HTTP/1.1\r\nHost: test\r\nExpect: 100-continue\r\nContent-Length: 5\r\n\r\n",
    );
    assert_eq!(client.receive("PUT").status, 100);
    client.send(b"asked");
    assert_eq!(client.receive("PUT").status, 204);
    assert_eq!(client.get("/v1/pages/home").text(), "asked");
}
