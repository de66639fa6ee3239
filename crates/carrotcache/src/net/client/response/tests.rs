//! Responses that HTTP allows and such as it does not, whole, in two pieces and byte by byte.

use proptest::prelude::*;

use super::*;

/// What is read, which is the same however it comes.
fn read(bytes: &[u8]) -> Result<(u16, Vec<u8>, Vec<u8>), Malformed> {
    let at_once = whole(&[bytes]);
    let same = |pieces: &[&[u8]]| {
        let read = whole(pieces);
        assert_eq!(read.as_ref().ok(), at_once.as_ref().ok(), "{pieces:.200?}: {read:?}, {at_once:?}");
    };
    for at in 0..=bytes.len().min(2000) {
        let (front, back) = bytes.split_at(at);
        same(&[front, back]);
    }
    same(&bytes.chunks(1).collect::<Vec<_>>());
    at_once
}

fn is_refused(bytes: impl AsRef<[u8]>) -> bool {
    read(bytes.as_ref()).is_err()
}

fn head(bytes: &[u8]) -> Head {
    Search::default().look(bytes).unwrap().unwrap()
}

fn chunked(body: &str) -> Vec<u8> {
    format!("HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n{body}").into_bytes()
}

fn with(fields: &str) -> Vec<u8> {
    format!("HTTP/1.1 200 OK\r\n{fields}\r\n\r\nabc").into_bytes()
}

#[test]
fn a_body_ends_where_its_length_says_and_what_comes_behind_it_is_not_its() {
    let response = b"HTTP/1.1 200 OK\r\ncontent-length: 5\r\n\r\nvalueHTTP";
    assert_eq!(read(response), Ok((200, b"value".to_vec(), b"HTTP".to_vec())));
    let none = b"HTTP/1.1 500 Oh\r\ncontent-length: 0\r\n\r\n";
    assert_eq!(read(none), Ok((500, vec![], vec![])));
    assert!(is_refused(&response[..response.len() - 5]));
}

#[test]
fn chunks_are_put_together_whatever_is_said_beside_them() {
    for body in [
        "5\r\nvalue\r\n0\r\n\r\n",
        "2\r\nva\r\n3;a=b\r\nlue\r\n0\r\n\r\n",
        "1 \r\nv\r\n0004\r\nalue\r\n000;x\r\ntrailer: x\r\nanother: y\r\n\r\n",
        "1\r\nv\r\n1\r\na\r\n1\r\nl\r\n1\r\nu\r\n1\r\ne\r\n0\r\n\n",
    ] {
        assert_eq!(read(&chunked(body)), Ok((200, b"value".to_vec(), vec![])), "{body:?}");
    }
    let long = "v".repeat(0xABC);
    assert_eq!(
        read(&chunked(&format!("aBc\r\n{long}\r\n0\r\n\r\nx"))),
        Ok((200, long.into(), b"x".to_vec()))
    );
}

#[test]
fn chunks_that_are_none_are_refused() {
    for body in [
        "",
        "\r\n",
        "\r\n\r\n",
        ";x\r\n\r\n",
        "-1\r\nv\r\n0\r\n\r\n",
        "+1\r\nv\r\n0\r\n\r\n",
        "0x1\r\nv\r\n0\r\n\r\n",
        " 1\r\nv\r\n0\r\n\r\n",
        "1\nv\r\n0\r\n\r\n",
        "g\r\n",
        "1\r\nva\r\n0\r\n\r\n",
        "5\r\nvalue0\r\n\r\n",
        "5\r\nvalue\r0\r\n\r\n",
        "5\r\nvalue\r\n",
        "5\r\nvalue\r\n0\r\n",
        "5\r\nvalue\r\n0\r\nx: y\r\n",
        "ffffffffffffffff\r\nv",
        "10000000000000000\r\nv",
        "00000000000000000\r\n\r\n",
    ] {
        assert!(is_refused(chunked(body)), "{body:?}");
    }
}

#[test]
fn what_is_said_beside_a_body_is_bounded() {
    let aside = |bytes: usize| "x".repeat(bytes);
    for (body, is_taken) in [
        (format!("0;{}\r\n\r\n", aside(8000)), true),
        (format!("0;{}\r\n\r\n", aside(ASIDE_MAX + 18)), false),
        (format!("0\r\nx: {}\r\n\r\n", aside(8000)), true),
        (format!("0\r\nx: {}\r\n\r\n", aside(ASIDE_MAX + 18)), false),
        (format!("{}0\r\n\r\n", format!("1;{}\r\nv\r\n", aside(1000)).repeat(15)), true),
        (format!("{}0\r\n\r\n", format!("1;{}\r\nv\r\n", aside(1000)).repeat(18)), false),
    ] {
        let bytes = chunked(&body);
        assert_eq!(whole(&[&bytes]).is_ok(), is_taken, "{body:.20}");
        assert_eq!(whole(&bytes.chunks(1000).collect::<Vec<_>>()).is_ok(), is_taken, "{body:.20}");
    }
    // Also where it never ends.
    let endless = chunked(&format!("0;{}", aside(2 * ASIDE_MAX)));
    let mut body = head(&endless).body;
    let mut bytes = &endless[head(&endless).end..];
    assert!(body.take(&mut bytes).is_err());
}

#[test]
fn a_length_is_said_once_in_digits_and_not_beside_chunks() {
    for fields in [
        "content-length: 3\r\ncontent-length: 3",
        "content-length: 3\r\ncontent-length: 4",
        "content-length: 3, 3",
        "content-length: -3",
        "content-length: +3",
        "content-length: 0x3",
        "content-length: 3 3",
        "content-length:",
        "content-length: 99999999999999999999999",
        "content-length: 3\r\ntransfer-encoding: chunked",
        "transfer-encoding: chunked\r\ncontent-length: 3",
        "transfer-encoding: gzip, chunked",
        "transfer-encoding: gzip",
        "transfer-encoding: chunked\r\ntransfer-encoding: chunked",
        "transfer-encoding:",
    ] {
        assert!(is_refused(with(fields)), "{fields}");
    }
    for fields in ["Content-Length:3", "content-length: \t3 "] {
        assert_eq!(read(&with(fields)), Ok((200, b"abc".to_vec(), vec![])), "{fields}");
    }
    let mut huge = head(&with("content-length: 18446744073709551615")).body;
    assert_eq!(huge.run(), Some(u64::MAX));
    huge.came(3);
    assert_eq!(huge.run(), Some(u64::MAX - 3));
    let old = "HTTP/1.0 200 OK\r\ntransfer-encoding: chunked\r\n\r\n0\r\n\r\n";
    assert!(is_refused(old));
}

#[test]
fn without_a_length_a_body_ends_with_its_connection_and_some_responses_have_none() {
    assert_eq!(read(&with("x: y")), Ok((200, b"abc".to_vec(), vec![])));
    assert!(head(&with("x: y")).body.has_no_end() && head(&with("x: y")).is_last);
    for status in ["204 No Content", "304 Not Modified"] {
        for fields in ["", "content-length: 3\r\n"] {
            let response = format!("HTTP/1.1 {status}\r\n{fields}\r\nabc");
            let code = status[..3].parse().unwrap();
            assert_eq!(read(response.as_bytes()), Ok((code, vec![], b"abc".to_vec())));
            assert!(!head(response.as_bytes()).is_last);
        }
    }
}

#[test]
fn responses_before_the_response_are_passed_over_but_not_a_change_of_the_protocol() {
    let early =
        "HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 103 Early Hints\r\nlink: x\r\nx-carrot-outcome: busy\r\n\r\n";
    let response = format!("{early}HTTP/1.1 200 OK\r\ncontent-type: a/b\r\ncontent-length: 1\r\n\r\nv");
    assert_eq!(read(response.as_bytes()), Ok((200, b"v".to_vec(), vec![])));
    let head = head(response.as_bytes());
    let fields = head.fields(response.as_bytes());
    assert_eq!((fields.content_type, fields.outcome), (&b"a/b"[..], None));
    assert!(is_refused("HTTP/1.1 101 Switching Protocols\r\n\r\n"));
    assert!(is_refused(early));
}

#[test]
fn a_connection_is_kept_unless_either_version_of_http_says_otherwise() {
    for (version, fields, is_last) in [
        ("1.1", "", false),
        ("1.1", "connection: keep-alive\r\n", false),
        ("1.1", "connection: close\r\n", true),
        ("1.1", "connection: x, CLOSE\r\n", true),
        ("1.1", "connection: keep-alive\r\nconnection: close\r\n", true),
        ("1.1", "connection: closed\r\n", false),
        ("1.0", "", true),
        ("1.0", "connection: Keep-Alive\r\n", false),
        ("1.0", "connection: keep-alive, close\r\n", true),
    ] {
        let response = format!("HTTP/{version} 200 OK\r\ncontent-length: 0\r\n{fields}\r\n");
        assert_eq!(head(response.as_bytes()).is_last, is_last, "{response}");
    }
}

#[test]
fn of_fields_that_stand_there_twice_the_first_counts_however_its_name_is_written() {
    let response = b"HTTP/1.1 409 Oh\r\nCONTENT-TYPE: a\r\ncontent-type: b\r\nX-Carrot-Outcome: not_owner\r\n\
        x-carrot-outcome: busy\r\nLocation: /\r\nlocation: x\r\nx-Carrot-Cluster: prod\r\nx-carrot-cluster: y\r\n\r\n";
    let head = head(response);
    let fields = head.fields(response);
    assert_eq!((fields.status.as_u16(), fields.content_type, fields.is_encoded), (409, &b"a"[..], false));
    assert_eq!(fields.outcome, Some(&b"not_owner"[..]));
    assert_eq!((fields.location, fields.cluster), (Some(&b"/"[..]), Some(&b"prod"[..])));
    let encoded = b"HTTP/1.1 200 OK\r\ncontent-encoding: gzip\r\n\r\n";
    assert!(self::head(encoded).fields(encoded).is_encoded);
}

#[test]
fn what_is_no_head_is_refused_and_one_has_its_limits() {
    for bytes in [
        &b"garbage\r\n\r\n"[..],
        b"\xff\xff\xff\xff\xff\xff\xff\xff",
        b"HTTP/2.0 200 OK\r\n\r\n",
        b"HTTP/1.1 20 OK\r\n\r\n",
        b"HTTP/1.1 099 OK\r\n\r\n",
        b"HTTP/1.1 200 OK\r\n a: b\r\n\r\n",
        b"HTTP/1.1 200 OK\r\na b\r\n\r\n",
        b"HTTP/1.1 200 OK\r\na: b\r\n",
        b"",
    ] {
        assert!(is_refused(bytes), "{}", bytes.escape_ascii());
    }
    let many = |fields: usize| format!("HTTP/1.1 204 No\r\n{}\r\n", "a: b\r\n".repeat(fields));
    assert!(whole(&[many(FIELDS_MAX).as_bytes()]).is_ok());
    assert!(whole(&[many(FIELDS_MAX + 1).as_bytes()]).is_err());
}

#[test]
fn a_head_that_does_not_end_is_given_up_at_the_limit_and_taken_apart_a_few_times() {
    let (mut search, mut bytes) = (Search::default(), b"HTTP/1.1 200 OK\r\nx: ".to_vec());
    let mut tries = Vec::new();
    while bytes.len() < HEAD_MAX {
        assert!(search.look(&bytes).unwrap().is_none());
        if tries.last() != Some(&search.tried) {
            tries.push(search.tried);
        }
        bytes.push(b'y');
    }
    assert!(search.look(&bytes).is_err());
    assert!(tries.len() < 20, "{tries:?}");
    // Nor do responses before the response come without an end.
    let early = b"HTTP/1.1 100 Continue\r\n\r\n".repeat(HEAD_MAX / 25 + 1);
    assert!(Search::default().look(&early).is_err());
}

proptest! {
    #[test]
    fn any_bytes_are_read_alike_in_whatever_pieces_they_come(
        head in prop::sample::select(vec![
            "",
            "HTTP/1.1 200 OK\r\n",
            "HTTP/1.1 200 OK\r\ncontent-length: 9\r\n\r\n",
            "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n",
            "HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 500 Oh\r\n\r\n",
        ]),
        rest in prop::collection::vec(
            prop::sample::select(b"0123a\r\n\r\n:; \xff\0".to_vec()),
            0..60,
        ),
    ) {
        let _ = read(&[head.as_bytes(), &rest].concat());
    }
}
