//! GET in HTTP/1.1 on a connection that is kept, and what may answer it: a body with a length.

use super::answer::{Answer, Garbled, HEAD_MAX, Read};
use super::line::{first_word, length};

/// The longest word of a refusal that is taken for one.
const WORD_MAX: usize = 40;

/// A server of HTTP/1.1 that says how long its bodies are.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Http {
    /// What is asked for: this, and the escaped key behind it.
    pub path: String,
    /// What the Host header says.
    pub host: String,
    /// What the Authorization header says, if there is one.
    pub authorization: Option<String>,
}

impl Http {
    pub(super) fn ask(&self, key: &[u8], out: &mut Vec<u8>) {
        out.extend_from_slice(b"GET ");
        out.extend_from_slice(self.path.as_bytes());
        for &byte in key {
            if byte.is_ascii_alphanumeric() || b"-._~/:".contains(&byte) {
                out.push(byte);
            } else {
                out.extend_from_slice(format!("%{byte:02X}").as_bytes());
            }
        }
        out.extend_from_slice(b" HTTP/1.1\r\nHost: ");
        out.extend_from_slice(self.host.as_bytes());
        if let Some(authorization) = &self.authorization {
            out.extend_from_slice(b"\r\nAuthorization: ");
            out.extend_from_slice(authorization.as_bytes());
        }
        out.extend_from_slice(b"\r\n\r\n");
    }

    pub(super) fn read(bytes: &[u8]) -> Read {
        let front = &bytes[..bytes.len().min(HEAD_MAX)];
        let Some(end) = front.windows(4).position(|four| four == b"\r\n\r\n") else {
            let garbled = bytes.len() >= HEAD_MAX || !begins_alike(bytes, b"HTTP/1.1 ");
            return if garbled { Err(Garbled("no answer in HTTP/1.1")) } else { Ok(None) };
        };
        let mut lines = front[..end].split(|b| *b == b'\n').map(<[u8]>::trim_ascii);
        let status = status(lines.next().unwrap_or_default())?;
        let mut body = None;
        for line in lines {
            let Some(colon) = line.iter().position(|b| *b == b':') else {
                return Err(Garbled("a header without a name"));
            };
            let (name, value) = (&line[..colon], line[colon + 1..].trim_ascii());
            if name.eq_ignore_ascii_case(b"content-length") {
                body = Some(length(value)?);
            }
        }
        let body = match (body, status) {
            (Some(body), _) => body,
            (None, 204 | 304) => 0,
            (None, _) => return Err(Garbled("an answer does not say how long it is")),
        };
        let whole = end + 4 + body;
        if bytes.len() < whole {
            return Ok(None);
        }
        let body = &bytes[end + 4..whole];
        let answer = match (status, word(body)) {
            (200..300, _) => Answer::Value(body.len()),
            (404, None | Some("not_found")) => Answer::Missing,
            (_, Some(word)) => Answer::Refused(word.to_owned()),
            (status, None) => Answer::Refused(format!("status {status}")),
        };
        Ok(Some((whole, answer)))
    }
}

/// What a node calls its refusal: `{"error":"busy",…`. By the same status it says that there is no such key and no such
/// group.
fn word(body: &[u8]) -> Option<&str> {
    let word = body.strip_prefix(b"{\"error\":\"")?.split(|b| *b == b'"').next()?;
    let plain = word.len() <= WORD_MAX && word.iter().all(|b| b.is_ascii_lowercase() || *b == b'_');
    std::str::from_utf8(word).ok().filter(|_| plain)
}

fn begins_alike(bytes: &[u8], with: &[u8]) -> bool {
    bytes.iter().zip(with).all(|(a, b)| a == b)
}

fn status(line: &[u8]) -> Result<u16, Garbled> {
    let garbled = Garbled("no answer in HTTP/1.1");
    let rest = line.strip_prefix(b"HTTP/1.1 ").ok_or(garbled)?;
    first_word(rest).parse().map_err(|_| garbled)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_get_escapes_its_key() {
        let http = Http {
            path: "/v1/scores/".to_owned(),
            host: "a:1".to_owned(),
            authorization: Some("Bearer sesame".to_owned()),
        };
        let mut out = Vec::new();
        http.ask(b"a b/\xFF?", &mut out);
        let asked =
            "GET /v1/scores/a%20b/%FF%3F HTTP/1.1\r\nHost: a:1\r\nAuthorization: Bearer sesame\r\n\r\n";
        assert_eq!(String::from_utf8(out).unwrap(), asked);
    }

    #[test]
    fn answers_are_told_apart_and_wait_until_they_are_whole() {
        for (bytes, answer) in [
            (&b"HTTP/1.1 200 OK\r\nX: y\r\ncontent-LENGTH: 3\r\n\r\n630"[..], Answer::Value(3)),
            (b"HTTP/1.1 204 No Content\r\n\r\n", Answer::Value(0)),
            (b"HTTP/1.1 404 Not Found\r\nContent-Length: 1\r\n\r\n.", Answer::Missing),
            (
                b"HTTP/1.1 404 Not Found\r\nContent-Length: 21\r\n\r\n{\"error\":\"not_found\"}",
                Answer::Missing,
            ),
            (
                b"HTTP/1.1 404 Not Found\r\nContent-Length: 25\r\n\r\n{\"error\":\"no_such_group\"}",
                Answer::Refused("no_such_group".to_owned()),
            ),
            (b"HTTP/1.1 503 Busy\r\nContent-Length: 0\r\n\r\n", Answer::Refused("status 503".to_owned())),
        ] {
            for end in 0..bytes.len() {
                assert_eq!(Http::read(&bytes[..end]), Ok(None), "{}", bytes[..end].escape_ascii());
            }
            let two = [bytes, b"HTTP/1.1"].concat();
            assert_eq!(Http::read(&two), Ok(Some((bytes.len(), answer))));
        }
    }

    #[test]
    fn what_is_no_answer_is_garbled() {
        for bytes in [
            &b"-ERR\r\n"[..],
            b"HTTP/1.0 200 OK\r\n\r\n",
            b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n",
            b"HTTP/1.1 200 OK\r\nContent-Length: -1\r\n\r\n",
            b"HTTP/1.1 200 OK\r\nx\r\n\r\n",
        ] {
            assert!(Http::read(bytes).is_err(), "{}", bytes.escape_ascii());
        }
    }
}
