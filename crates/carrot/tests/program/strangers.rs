//! Commands that meet somebody else at a node's address: each ends with one line, and with exit code 4 where it is no
//! carrot node that answered.

use crate::command::Shell;
use crate::scripted::Scripted;

const HTML: &str = "Content-Type: text/html\r\n";
const VALUE: &str = "X-Cache: hit; source=memory; node=a\r\n";

#[test]
fn somebody_who_is_no_carrot_node_is_told_from_one_in_one_line() {
    let not = "does not answer as the data front of a carrot node: ";
    let no_cache = "does not answer as the data front of a carrot node: its answer has no X-Cache";
    let off = "broke off before its answer was whole";
    let page = |status, headers| Scripted::with_body(status, headers, b"<html>\x1b[2J</html>");
    let head = |headers: &str| format!("HTTP/1.1 200 OK\r\n{headers}");
    for (stranger, said) in [
        (page("200 OK", HTML), no_cache),
        (page("200 OK", "X-Cache: HIT from a.cloud\r\n"), no_cache),
        (page("404 Not Found", HTML), "it says 404 Not Found"),
        (page("502 Bad Gateway", HTML), "it says 502 Bad Gateway"),
        (page("302 Found", "Location: http://127.0.0.1:1/\r\n"), "it says 302 Found"),
        (page("206 Partial Content", VALUE), "it says 206 Partial Content"),
        (Scripted::saying("HTTP/1.1 204 No Content\r\nConnection: close\r\n\r\n"), "it says 204 No Content"),
        (Scripted::with_body("404 Not Found", "", br#"{"error":"not_found"}"#), "it says 404 Not Found"),
        (Scripted::saying("SSH-2.0-OpenSSH_9.9\r\n"), not),
        (Scripted::saying("\x16\x03\x01\0\0\0\0"), not),
        (Scripted::saying(""), off),
        (Scripted::saying(head(&format!("{VALUE}Content-Length: 100\r\n\r\nten bytes."))), off),
        (Scripted::saying(head(&format!("{VALUE}Transfer-Encoding: chunked\r\n\r\n64\r\nten"))), off),
    ] {
        let line = Shell::asking(stranger.address).refusal(&["get", "g", "k"], 4);
        assert!(line.starts_with(&format!("http://{} ", stranger.address)), "{line}");
        assert!(line.contains(said), "{said}: {line}");
    }
}

#[test]
fn a_stranger_who_takes_a_write_is_not_believed() {
    for status in ["200 OK", "201 Created"] {
        let stranger = Scripted::with_body(status, HTML, b"<html>");
        for arguments in [&["set", "g", "k", "v"][..], &["remove", "g", "k"]] {
            let line = Shell::asking(stranger.address).refusal(arguments, 4);
            let node = format!("http://{}", stranger.address);
            let said = format!("{node} does not answer as the data front of a carrot node: it says {status}");
            assert_eq!(line, said);
        }
    }
}

#[test]
fn an_answer_beyond_reason_is_not_taken_in() {
    let long = Scripted::saying(format!("HTTP/1.1 200 OK\r\n{VALUE}Content-Length: 99999999999\r\n\r\nx"));
    let line = Shell::asking(long.address).refusal(&["get", "g", "k"], 3);
    assert_eq!(
        line,
        format!("the answer of http://{} is over 1GiB, the longest that is taken", long.address)
    );
    let page = Scripted::with_body("500 Internal Server Error", HTML, &vec![b' '; 65_537]);
    let line = Shell::asking(page.address).refusal(&["get", "g", "k"], 3);
    assert_eq!(
        line,
        format!("the answer of http://{} is over 64KiB, the longest that is taken", page.address)
    );
}

#[test]
fn a_message_of_a_node_is_shown_and_not_obeyed() {
    let body = format!(r#"{{"error":"busy","message":"\u001b[2Ja\nb{}"}}"#, "x".repeat(5000));
    let node = Scripted::with_body("503 Service Unavailable", "", body.as_bytes());
    let line = Shell::asking(node.address).refusal(&["get", "g", "k"], 3);
    assert!(line.starts_with("\\u{1b}[2Ja\\nbxxx") && line.ends_with("xxx…"), "{line}");
    assert_eq!(line.chars().count(), 1001);
}

#[test]
fn a_password_is_sent_where_there_is_one_and_asked_for_where_it_is_needed() {
    let node = Scripted::with_body("401 Unauthorized", "WWW-Authenticate: Basic realm=\"carrot\"\r\n", b"no");
    let url = format!("http://{}", node.address);
    let shell = Shell::asking(node.address);
    let line = shell.refusal(&["get", "g", "k"], 3);
    assert_eq!(line, format!("{url} wants a password: set CARROT_PASSWORD"));
    // Empty is as good as none.
    assert_eq!(shell.clone().with("CARROT_PASSWORD", "").refusal(&["get", "g", "k"], 3), line);
    let with = shell.with("CARROT_PASSWORD", "open sesamé");
    let wrong = format!("{url} does not take the password in CARROT_PASSWORD");
    for arguments in
        [&["get", "g", "k"][..], &["set", "g", "k", "v"], &["remove", "g", "k"], &["owner", "g", "k"]]
    {
        assert_eq!(with.refusal(arguments, 3), wrong);
    }
    let admin = Shell::watching(node.address).with("CARROT_PASSWORD", "open sesamé");
    assert_eq!(admin.refusal(&["stat"], 3), wrong);
    let heads = node.heads();
    let (without, with) = heads.split_at(2);
    assert!(without.iter().all(|head| !head.contains("authorization")), "{heads:?}");
    assert_eq!(with.len(), 5);
    assert!(with.iter().all(|head| head.contains("authorization: Bearer open sesamé\r\n")), "{heads:?}");
    assert!(heads.iter().all(|head| head.contains(&format!("host: {}\r\n", node.address))), "{heads:?}");
}

#[test]
fn owners_and_numbers_that_cannot_be_read_are_no_carrot_nodes() {
    for (body, said) in [
        (&b"<html>"[..], "its answer cannot be read: expected value at line 1 column 1"),
        (b"{}", "its answer cannot be read: missing field"),
        (b"[]", "its answer cannot be read: invalid"),
        (br#"{"node":1}"#, "its answer cannot be read: invalid type"),
        (b"", "its answer cannot be read: EOF"),
    ] {
        let stranger = Scripted::with_body("200 OK", "", body);
        for flags in [&[][..], &["--json"]] {
            let line = Shell::asking(stranger.address).refusal(&[&["owner", "g", "k"], flags].concat(), 4);
            assert!(
                line.contains("the data front of a carrot node") && line.contains(said),
                "{said}: {line}"
            );
            let line = Shell::watching(stranger.address).refusal(&[&["stat", "-1"], flags].concat(), 4);
            assert!(
                line.contains("the admin front of a carrot node") && line.contains(said),
                "{said}: {line}"
            );
        }
    }
    // The ports are easily mixed up.
    let data = r#"{"error":"not_found","message":"no such path: see /v1/{group}/{key}"}"#;
    let data = Scripted::with_body("404 Not Found", "", data.as_bytes());
    let line = Shell::watching(data.address).refusal(&["stat", "-1"], 4);
    assert!(
        line.ends_with("does not answer as the admin front of a carrot node: it says 404 Not Found"),
        "{line}"
    );
    let admin = Scripted::with_body("404 Not Found", "", b"no such path: see /livez\n");
    let line = Shell::asking(admin.address).refusal(&["get", "g", "k"], 4);
    assert!(
        line.ends_with("does not answer as the data front of a carrot node: it says 404 Not Found"),
        "{line}"
    );
}

#[test]
fn a_node_that_is_not_called_by_that_name_says_how_to_allow_it() {
    let message = "cache.example is not a name of this node: use its address, or list the name in node.hosts";
    let admin = Scripted::with_body("403 Forbidden", "", format!("{message}\n").as_bytes());
    assert_eq!(Shell::watching(admin.address).refusal(&["stat", "-1"], 3), message);
    let proxy = Scripted::with_body("403 Forbidden", HTML, b"<html>no");
    let line = Shell::watching(proxy.address).refusal(&["stat", "-1"], 4);
    assert!(line.ends_with("the admin front of a carrot node: it says 403 Forbidden"), "{line}");
}
