//! Requests whole and in pieces, what is refused, and that the pieces make no difference.

use proptest::collection::vec;
use proptest::prelude::*;

use super::*;

const BOUNDS: Bounds = Bounds { bulk: 1 << 20, is_stranger: false };

/// All requests of these bytes, which come in pieces that end there, and how it ended.
fn requests(bytes: &[u8], cuts: &[usize], bounds: Bounds) -> (Vec<Vec<Vec<u8>>>, Option<BadRequest>) {
    let mut parser = Parser::default();
    let (mut requests, mut start) = (Vec::new(), 0);
    for end in cuts.iter().copied().chain([bytes.len()]) {
        loop {
            match parser.read(&bytes[start..end], bounds) {
                Ok(Some(length)) => {
                    let words = parser.words(&bytes[start..end]);
                    requests.push(words.from(0).map(<[u8]>::to_vec).collect());
                    start += length;
                }
                Ok(None) => break,
                Err(bad) => return (requests, Some(bad)),
            }
        }
    }
    (requests, None)
}

fn whole(bytes: &[u8]) -> (Vec<Vec<Vec<u8>>>, Option<BadRequest>) {
    requests(bytes, &[], BOUNDS)
}

fn refused(bytes: &[u8], bounds: Bounds) -> String {
    requests(bytes, &[], bounds).1.map_or_else(String::new, |bad| bad.to_string())
}

fn words(bytes: &[u8]) -> Vec<String> {
    let (requests, bad) = whole(bytes);
    assert_eq!((requests.len(), bad), (1, None), "{}", bytes.escape_ascii());
    requests[0].iter().map(|word| word.escape_ascii().to_string()).collect()
}

#[test]
fn an_array_of_strings_is_a_request() {
    assert_eq!(words(b"*2\r\n$3\r\nGET\r\n$1\r\na\r\n"), ["GET", "a"]);
    assert_eq!(words(b"*3\r\n$3\r\nSET\r\n$2\r\n\r\n\r\n$0\r\n\r\n"), ["SET", "\\r\\n", ""]);
}

#[test]
fn a_request_without_words_asks_for_nothing() {
    let (requests, bad) = whole(b"*0\r\n*-1\r\n\r\n\n  \r\nPING\r\n");
    let lengths: Vec<usize> = requests.iter().map(Vec::len).collect();
    assert_eq!((lengths, bad), (vec![0, 0, 0, 0, 0, 1], None));
}

#[test]
fn a_typed_line_is_split_as_redis_splits_it() {
    for (line, expected) in [
        ("GET a", vec!["GET", "a"]),
        ("  GET\ta  ", vec!["GET", "a"]),
        (r#"SET a "b c""#, vec!["SET", "a", "b c"]),
        (r#"SET a "\x00\xFf\n\"\\""#, vec!["SET", "a", r#"\x00\xff\n\"\\"#]),
        (r#"SET a "\xz1""#, vec!["SET", "a", "xz1"]),
        (r"SET a '\n\'x'", vec!["SET", "a", r"\\n\'x"]),
        (r#"SET a """#, vec!["SET", "a", ""]),
        (r#"SET a b"c d""#, vec!["SET", "a", "bc d"]),
    ] {
        assert_eq!(words(format!("{line}\r\n").as_bytes()), expected, "{line}");
        assert_eq!(words(format!("{line}\n").as_bytes()), expected, "{line}");
    }
    for line in [r#"GET "a"#, "GET 'a", r#"GET "a"b"#, "GET 'a''b'", r#"GET "a\""#] {
        let said = refused(format!("{line}\r\n").as_bytes(), BOUNDS);
        assert_eq!(said, "Protocol error: unbalanced quotes in request", "{line}");
    }
}

#[test]
fn what_is_no_request_is_refused_in_redis_s_words() {
    for (bytes, said) in [
        ("*\r\n", "invalid multibulk length"),
        ("*+1\r\n", "invalid multibulk length"),
        ("*1x\r\n", "invalid multibulk length"),
        ("*2000000000\r\n", "invalid multibulk length"),
        ("*99999999999999999999\r\n", "invalid multibulk length"),
        ("*1\r\n*1\r\n", "expected '$', got '*'"),
        ("*1\r\n:1\r\n", "expected '$', got ':'"),
        ("*1\r\n\r\n\r\n", "expected '$', got ' '"),
        ("*1\r\n$-2\r\n", "invalid bulk length"),
        ("*1\r\n$-1\r\n", "invalid bulk length"),
        ("*1\r\n$\r\n", "invalid bulk length"),
        ("*1\r\n$536870912\r\n", "invalid bulk length"),
        ("*1\r\n$1048577\r\n", "invalid bulk length"),
    ] {
        assert_eq!(refused(bytes.as_bytes(), BOUNDS), format!("Protocol error: {said}"), "{bytes:?}");
    }
    for (begin, said) in [
        ("*", "too big mbulk count string"),
        ("*1\r\n$", "too big bulk count string"),
        ("a", "too big inline request"),
    ] {
        let endless = [begin.as_bytes(), &[b'1'; LINE_MAX + 1]].concat();
        assert_eq!(refused(&endless, BOUNDS), format!("Protocol error: {said}"));
    }
}

#[test]
fn nothing_nested_leads_anywhere_however_deep() {
    let deep = "*1\r\n".repeat(1_000_000);
    assert_eq!(whole(deep.as_bytes()), (Vec::new(), Some(BadRequest::Kind(b'*'))));
}

#[test]
fn a_stranger_may_send_little() {
    let stranger = Bounds { is_stranger: true, ..BOUNDS };
    for (bytes, said) in [("*11\r\n", "multibulk"), ("*1\r\n$16385\r\n", "bulk")] {
        let said = format!("Protocol error: unauthenticated {said} length");
        assert_eq!(refused(bytes.as_bytes(), stranger), said);
        assert_eq!(refused(bytes.as_bytes(), BOUNDS), "", "{bytes}");
    }
    let most = format!("*2\r\n$4\r\nAUTH\r\n$16384\r\n{}\r\n", "p".repeat(16384));
    assert_eq!(requests(most.as_bytes(), &[], stranger).0.len(), 1);
}

#[test]
fn a_claim_reserves_nothing() {
    let mut parser = Parser::default();
    assert_eq!(parser.read(b"*65536\r\n$1048576\r\n", BOUNDS), Ok(None));
    assert_eq!(parser.ranges.capacity(), 0);
}

#[test]
fn a_copy_of_the_words_is_the_words() {
    let bytes = b"*2\r\n$3\r\nGET\r\n$1\r\na\r\n";
    let mut parser = Parser::default();
    parser.read(bytes, BOUNDS).unwrap();
    let request = parser.words(bytes).to_request();
    let words = request.words();
    assert_eq!(
        (words.len(), words.get(0), words.get(1), words.get(2)),
        (2, &b"GET"[..], &b"a"[..], &b""[..])
    );
    assert_eq!(words.from(1).collect::<Vec<_>>(), [b"a"]);
    assert_eq!(words.from(3).len(), 0);
}

fn array(words: &[Vec<u8>]) -> Vec<u8> {
    let mut bytes = format!("*{}\r\n", words.len()).into_bytes();
    for word in words {
        bytes.extend_from_slice(format!("${}\r\n", word.len()).as_bytes());
        bytes.extend_from_slice(word);
        bytes.extend_from_slice(b"\r\n");
    }
    bytes
}

/// Bytes that a client might send: requests, lines, and what looks like either.
fn stream() -> impl Strategy<Value = Vec<u8>> {
    let piece = prop_oneof![
        4 => vec(vec(any::<u8>(), 0..20), 0..6).prop_map(|words| array(&words)),
        2 => "[ -~]{0,20}\r?\n".prop_map(String::into_bytes),
        1 => r"\*-?[0-9]{0,3}\r\n".prop_map(String::into_bytes),
        1 => r"\$-?[0-9]{0,3}\r\n".prop_map(String::into_bytes),
        1 => vec(any::<u8>(), 0..8),
    ];
    vec(piece, 0..12).prop_map(|pieces| pieces.concat())
}

proptest! {
    #[test]
    fn in_whatever_pieces_the_bytes_come_they_say_the_same(
        bytes in stream(),
        cuts in vec(any::<prop::sample::Index>(), 0..12),
        is_stranger in any::<bool>(),
    ) {
        let mut cuts: Vec<usize> = cuts.iter().map(|cut| cut.index(bytes.len() + 1)).collect();
        cuts.sort_unstable();
        let bounds = Bounds { bulk: 100, is_stranger };
        let together = requests(&bytes, &[], bounds);
        prop_assert_eq!(&together, &requests(&bytes, &cuts, bounds));
        let each: Vec<usize> = (0..bytes.len()).collect();
        prop_assert_eq!(&together, &requests(&bytes, &each, bounds));
    }

    #[test]
    fn what_is_written_as_an_array_is_read_as_it_was(words in vec(vec(any::<u8>(), 0..50), 1..20)) {
        let (requests, bad) = whole(&array(&words));
        prop_assert_eq!((requests, bad), (vec![words], None));
    }
}
