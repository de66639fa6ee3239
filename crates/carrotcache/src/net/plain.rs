//! What a client sends, cut into requests: which are plain, where the others end, and of which that cannot be told.
//!
//! Plain is a GET of HTTP/1.1 with a path, without a body and without wishes about the connection: what nearly all
//! clients send nearly always. It is read where it lies. Everything else is hyper's to read, to judge and to refuse; of
//! that only the length is found out here, if the head says it as plainly. A target that hyper might refuse, or read
//! otherwise than as it stands, is not plain. Heads are parsed by what hyper parses them with.
//! Pure: the bytes come in as an argument, and nothing is kept.

use std::mem::MaybeUninit;
use std::time::Instant;

use httparse::{Header, Request, Status};

/// The most headers of a request that is looked at. Browsers send some twenty.
const HEADERS: usize = 64;

/// A plain request.
#[derive(Debug)]
pub struct Plain<'a> {
    target: &'a str,
    headers: &'a [Header<'a>],
    arrived: Instant,
}

/// What the first request of some bytes is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Cut {
    /// Its head is not whole.
    Part,
    /// Plain, of this length, and answered.
    Answered(usize),
    /// Not answered; with its body it has this length.
    Other(u64),
    /// Not answered, and there is no telling where it ends, or whether it is one.
    Endless,
}

impl<'a> Plain<'a> {
    /// The target up to its query. It begins with a slash.
    pub fn path(&self) -> &'a str {
        self.target.split_once('?').map_or(self.target, |(path, _)| path)
    }

    /// What follows the first question mark, if there is one.
    pub fn query(&self) -> Option<&'a str> {
        self.target.split_once('?').map(|(_, query)| query)
    }

    /// The values of each header of that name, in the order sent.
    pub fn header(&self, name: &str) -> impl Iterator<Item = &'a [u8]> {
        let headers = self.headers.iter();
        headers.filter(move |header| header.name.eq_ignore_ascii_case(name)).map(|header| header.value)
    }

    /// When it was read.
    pub fn arrived(&self) -> Instant {
        self.arrived
    }
}

/// Cuts the first request off. One that is plain is offered to `answer`, which says whether it has answered it.
pub(super) fn cut(bytes: &[u8], arrived: Instant, answer: impl FnOnce(&Plain<'_>) -> bool) -> Cut {
    let mut headers = [const { MaybeUninit::uninit() }; HEADERS];
    let mut request = Request::new(&mut []);
    let length = match request.parse_with_uninit_headers(bytes, &mut headers) {
        Ok(Status::Complete(length)) => length,
        Ok(Status::Partial) => return Cut::Part,
        Err(_) => return Cut::Endless,
    };
    let (Some(1), Some(method), Some(target)) = (request.version, request.method, request.path) else {
        return Cut::Endless;
    };
    let Some(body) = body(request.headers).filter(|_| method != "CONNECT") else { return Cut::Endless };
    if method == "GET" && body == Body::None && is_plain(target) {
        let plain = Plain { target, headers: request.headers, arrived };
        if answer(&plain) {
            return Cut::Answered(length);
        }
    }
    let body = if let Body::Length(length) = body { length } else { 0 };
    (length as u64).checked_add(body).map_or(Cut::Endless, Cut::Other)
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Body {
    None,
    Length(u64),
}

/// The body that follows these headers. `None`: one whose end they do not say, or the connection is to change.
fn body(headers: &[Header<'_>]) -> Option<Body> {
    let mut body = Body::None;
    for Header { name, value } in headers {
        // By its length first: most names are none of these.
        match name.len() {
            6 if name.eq_ignore_ascii_case("expect") => return None,
            7 if name.eq_ignore_ascii_case("upgrade") => return None,
            10 if name.eq_ignore_ascii_case("connection") && !value.eq_ignore_ascii_case(b"keep-alive") => {
                return None;
            }
            14 if name.eq_ignore_ascii_case("content-length") => {
                let is_number = !value.is_empty() && value.iter().all(u8::is_ascii_digit);
                let length = std::str::from_utf8(value).ok().filter(|_| is_number && body == Body::None)?;
                body = Body::Length(length.parse().ok()?);
            }
            17 if name.eq_ignore_ascii_case("transfer-encoding") => return None,
            _ => {}
        }
    }
    Some(body)
}

/// By byte, since each of each target is looked at.
const PLAIN: [bool; 256] = {
    let (mut plain, mut byte) = ([false; 256], 0);
    while byte < 128_u8 {
        plain[byte as usize] = byte.is_ascii_alphanumeric();
        byte += 1;
    }
    let (others, mut at) = (b"-._~%!$&'()*+,;=:@/?", 0);
    while at < others.len() {
        plain[others[at] as usize] = true;
        at += 1;
    }
    plain
};

/// Whether a target is a path of characters that every reader takes as they stand, with a query of such or without.
fn is_plain(target: &str) -> bool {
    target.starts_with('/') && target.bytes().all(|byte| PLAIN[usize::from(byte)])
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::clock;

    /// What the bytes are to who answers each target that begins with `/yes`.
    fn seen(bytes: impl AsRef<[u8]>) -> Cut {
        cut(bytes.as_ref(), clock::now(), |plain| plain.target.starts_with("/yes"))
    }

    const PLAIN: &str = "GET /yes/a%20b?c=d HTTP/1.1\r\nHost: x\r\nAccept: */*\r\nACCEPT: b\r\n\r\n";

    #[test]
    fn a_plain_request_is_told_with_its_path_its_query_and_its_headers() {
        let whole = [PLAIN, "GET /next"].concat();
        let cut = cut(whole.as_bytes(), clock::now(), |plain| {
            assert_eq!((plain.path(), plain.query()), ("/yes/a%20b", Some("c=d")));
            assert_eq!(plain.header("accept").collect::<Vec<_>>(), [&b"*/*"[..], b"b"]);
            assert_eq!(plain.header("x").next(), None);
            true
        });
        assert_eq!(cut, Cut::Answered(PLAIN.len()));
    }

    #[test]
    fn a_head_is_a_part_up_to_its_last_byte() {
        for end in 0..PLAIN.len() {
            assert_eq!(seen(&PLAIN[..end]), Cut::Part, "{end}");
        }
        assert_eq!(seen(PLAIN), Cut::Answered(PLAIN.len()));
    }

    #[test]
    fn what_is_declined_or_not_plain_has_the_length_that_its_head_says() {
        for (request, body) in [
            ("GET /no HTTP/1.1\r\n\r\n", 0),
            ("HEAD /yes HTTP/1.1\r\n\r\n", 0),
            ("DELETE /yes HTTP/1.1\r\nhost: x\r\nconnection: Keep-Alive\r\n\r\n", 0),
            ("PUT /yes HTTP/1.1\r\nContent-Length: 17\r\n\r\n", 17),
            ("GET /yes HTTP/1.1\r\ncontent-length: 0\r\n\r\n", 0),
            ("GET http://x/yes HTTP/1.1\r\n\r\n", 0),
            ("GET /yes#x HTTP/1.1\r\n\r\n", 0),
            ("GET /yes\"<> HTTP/1.1\r\n\r\n", 0),
            ("OPTIONS * HTTP/1.1\r\n\r\n", 0),
            ("\r\nBREW /yes HTTP/1.1\r\n\r\n", 0),
        ] {
            let sent = [request, "GET /yes HTTP/1.1\r\n\r\n"].concat();
            assert_eq!(seen(&sent), Cut::Other(request.len() as u64 + body), "{request:?}");
        }
    }

    #[test]
    fn of_what_says_no_end_or_is_no_request_there_is_no_telling() {
        let get = |headers: &str| format!("GET /yes HTTP/1.1\r\n{headers}\r\n\r\n");
        for request in [
            get("transfer-encoding: chunked"),
            get("content-length: 3\r\ntransfer-encoding: chunked"),
            get("content-length: 3\r\ncontent-length: 3"),
            get("content-length: 3, 3"),
            get("content-length: -1"),
            get("content-length: +1"),
            get("content-length:"),
            get("content-length: 18446744073709551616"),
            get("content-length: 18446744073709551615"),
            get("connection: close"),
            get("connection: keep-alive, upgrade"),
            get("upgrade: x"),
            get("expect: 100-continue"),
            get(&["a: b"; HEADERS + 1].join("\r\n")),
            get("a b: c"),
            "GET /yes HTTP/1.0\r\n\r\n".to_owned(),
            "CONNECT x:80 HTTP/1.1\r\n\r\n".to_owned(),
            "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n".to_owned(),
            "GET /yes HTTP/1.1\r\nhost".to_owned() + "\0",
            "nonsense\r\n\r\n".to_owned(),
        ] {
            assert_eq!(seen(&request), Cut::Endless, "{request:?}");
        }
        assert!(matches!(seen(get(&["a: b"; HEADERS].join("\r\n"))), Cut::Answered(_)));
    }
}
