//! How a connection of HTTP/1.1 becomes one of frames: what is asked for, and what is answered.
//!
//! `GET /_carrot/frames` with an `Upgrade`; a 101 is yes, and the first frame may follow at once. Anything else is no:
//! the peer is older, or does not want to, and is asked over HTTP as ever; but for one of another cluster, which is not
//! asked at all. Each side says who it is.
//! Pure: heads come in whole and go out whole.

use std::sync::Arc;

use bytes::Bytes;
use http::header::{CONNECTION, HeaderMap, HeaderName, HeaderValue, UPGRADE};
use http::{Response, StatusCode};

use crate::net::cluster_name::{self, CLUSTER, OTHER_CLUSTER};
use crate::net::dialect::OUTCOME;
use crate::net::wire::LONGEST_NAME;

/// Where frames are asked for.
pub(super) const TARGET: &str = "/_carrot/frames";

/// What is asked for: the protocol and its version.
pub(super) const PROTOCOL: &str = "carrot-frames/1";

/// The longest head of an answer that is read, in bytes.
pub(super) const HEAD_MAX: usize = 8 << 10;

const NODE: HeaderName = HeaderName::from_static("x-carrot-node");
const ID: HeaderName = HeaderName::from_static("x-carrot-id");

/// Who a node says it is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Hello {
    /// Its name, as answers carry it.
    pub(crate) node: Arc<str>,
    /// Random, made at its start.
    pub(crate) id: Arc<str>,
    /// What its cluster is called, if it has a name.
    pub(crate) cluster: Option<Arc<str>>,
}

/// What was answered.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Answer {
    /// Frames from here on; the name of the peer, if it said one.
    Yes {
        node: Arc<str>,
    },
    No,
    /// The peer is of another cluster, of this name.
    Stranger(Arc<str>),
}

/// The request for frames, to a peer at `authority`.
pub(super) fn request(authority: &str, hello: &Hello) -> Vec<u8> {
    let mut head = format!("GET {TARGET} HTTP/1.1\r\nhost: {authority}\r\n").into_bytes();
    head.extend_from_slice(b"connection: upgrade\r\nupgrade: ");
    head.extend_from_slice(PROTOCOL.as_bytes());
    for (name, value) in said(hello) {
        head.extend_from_slice(b"\r\n");
        head.extend_from_slice(name.as_str().as_bytes());
        head.extend_from_slice(b": ");
        head.extend_from_slice(value.as_bytes());
    }
    head.extend_from_slice(b"\r\n\r\n");
    head
}

/// What a node says of itself, as far as a header can.
fn said(hello: &Hello) -> impl Iterator<Item = (HeaderName, HeaderValue)> {
    let said = [(NODE, &hello.node), (ID, &hello.id)].into_iter();
    said.chain(hello.cluster.as_ref().map(|name| (CLUSTER, name)))
        .filter_map(|(name, text)| Some((name, HeaderValue::from_bytes(text.as_bytes()).ok()?)))
}

/// Whether frames are asked for, of our version.
pub(super) fn is_asked(headers: &HeaderMap) -> bool {
    let has = |name, token: &str| {
        let values = headers.get_all(name).iter().filter_map(|value| value.to_str().ok());
        values.flat_map(|list| list.split(',')).any(|one| one.trim().eq_ignore_ascii_case(token))
    };
    has(CONNECTION, "upgrade") && has(UPGRADE, PROTOCOL)
}

/// The answer that says yes.
pub(super) fn accept(hello: &Hello) -> Response<Bytes> {
    let mut response = Response::new(Bytes::new());
    *response.status_mut() = StatusCode::SWITCHING_PROTOCOLS;
    response.headers_mut().insert(CONNECTION, HeaderValue::from_static("upgrade"));
    response.headers_mut().insert(UPGRADE, HeaderValue::from_static(PROTOCOL));
    response.headers_mut().extend(said(hello));
    response
}

/// The answer to a node of the cluster `ours`, and how many bytes its head takes; `None` while that is not whole.
pub(super) fn read(bytes: &[u8], ours: Option<&str>) -> Option<(Answer, usize)> {
    let end = bytes.windows(4).position(|four| four == b"\r\n\r\n")? + 4;
    let mut lines = bytes[..end].split(|byte| *byte == b'\n').map(<[u8]>::trim_ascii);
    let is_yes = lines.next().is_some_and(|line| line.starts_with(b"HTTP/1.1 101"));
    let fields = lines.filter_map(|line| {
        let colon = line.iter().position(|byte| *byte == b':')?;
        Some((line[..colon].trim_ascii(), line[colon + 1..].trim_ascii()))
    });
    let said = |name: &str| {
        let is_it = |(field, _): &(&[u8], &[u8])| field.eq_ignore_ascii_case(name.as_bytes());
        fields.clone().find(is_it).map(|(_, value)| value)
    };
    let cluster = said(CLUSTER.as_str());
    let answer = if is_yes
        && said(UPGRADE.as_str()).is_some_and(|value| value.eq_ignore_ascii_case(PROTOCOL.as_bytes()))
    {
        match cluster_name::other(ours, cluster) {
            Some(other) => Answer::Stranger(other),
            None => {
                let node = said(NODE.as_str()).filter(|name| name.len() <= LONGEST_NAME).unwrap_or_default();
                Answer::Yes { node: String::from_utf8_lossy(node).into() }
            }
        }
    } else if !is_yes && said(OUTCOME).is_some_and(|outcome| outcome == OTHER_CLUSTER.as_bytes()) {
        Answer::Stranger(cluster_name::shown(cluster.unwrap_or_default()))
    } else {
        Answer::No
    };
    Some((answer, end))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn hello() -> Hello {
        Hello { node: Arc::from("nöde"), id: Arc::from("0123"), cluster: None }
    }

    fn headers(lines: &[(HeaderName, &'static str)]) -> HeaderMap {
        lines.iter().map(|(name, value)| (name.clone(), HeaderValue::from_static(value))).collect()
    }

    #[test]
    fn the_request_is_as_documented() {
        let expected = "GET /_carrot/frames HTTP/1.1\r\nhost: a:1\r\nconnection: upgrade\r\nupgrade: carrot-frames/1\r\n\
            x-carrot-node: nöde\r\nx-carrot-id: 0123\r\n\r\n";
        assert_eq!(String::from_utf8(request("a:1", &hello())).unwrap(), expected);
        let named = Hello { cluster: Some(Arc::from("prod")), ..hello() };
        let expected = expected.replace("0123\r\n", "0123\r\nx-carrot-cluster: prod\r\n");
        assert_eq!(String::from_utf8(request("a:1", &named)).unwrap(), expected);
    }

    #[test]
    fn frames_are_asked_for_by_both_headers_and_in_our_version() {
        let asked = |connection, upgrade| is_asked(&headers(&[(CONNECTION, connection), (UPGRADE, upgrade)]));
        assert!(asked("Upgrade", "carrot-frames/1"));
        assert!(asked("keep-alive, upgrade", "h2c, Carrot-Frames/1"));
        assert!(!asked("upgrade", "carrot-frames/2"));
        assert!(!asked("keep-alive", "carrot-frames/1"));
        assert!(!is_asked(&headers(&[(UPGRADE, "carrot-frames/1")])));
    }

    #[test]
    fn only_a_101_with_our_protocol_is_a_yes() {
        let yes =
            b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: carrot-frames/1\r\nX-Carrot-Node:  b \r\n\r\n";
        let whole = yes.len();
        assert_eq!(read(yes, None), Some((Answer::Yes { node: Arc::from("b") }, whole)));
        assert_eq!(read(&[&yes[..], b"frames"].concat(), None).unwrap().1, whole);
        for cut in 0..whole {
            assert_eq!(read(&yes[..cut], None), None);
        }
        for no in [
            &b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: h2c\r\n\r\n"[..],
            b"HTTP/1.1 101 Switching Protocols\r\n\r\n",
            b"HTTP/1.1 400 Bad Request\r\nUpgrade: carrot-frames/1\r\n\r\n",
            b"\x00\xff: :\r\n:\r\n\r\n",
            b"\r\n\r\n",
        ] {
            assert_eq!(read(no, None).unwrap().0, Answer::No, "{}", no.escape_ascii());
        }
    }

    #[test]
    fn a_peer_of_another_cluster_is_none_to_ask_and_one_that_names_none_is_taken() {
        let yes = |said: &str| {
            format!("HTTP/1.1 101 Switching Protocols\r\nUpgrade: carrot-frames/1\r\n{said}\r\n").into_bytes()
        };
        let taken = Answer::Yes { node: Arc::from("") };
        for (ours, said, answer) in [
            (Some("prod"), "X-Carrot-Cluster: prod\r\n", &taken),
            (Some("prod"), "", &taken),
            (Some("prod"), "X-Carrot-Cluster:\r\n", &taken),
            (None, "X-Carrot-Cluster: test\r\n", &taken),
            (Some("prod"), "X-Carrot-Cluster: test\r\n", &Answer::Stranger(Arc::from("test"))),
        ] {
            assert_eq!(read(&yes(said), ours).unwrap().0, *answer, "{ours:?} {said:?}");
        }
        let no = b"HTTP/1.1 421 Misdirected Request\r\nx-carrot-outcome: other_cluster\r\nx-carrot-cluster: test\r\n\r\n";
        assert_eq!(read(no, Some("prod")).unwrap().0, Answer::Stranger(Arc::from("test")));
    }
}
