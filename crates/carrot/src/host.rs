//! The names under which the admin front may be called.
//!
//! A page of the web can make its own name stand for this machine's address (DNS rebinding), and its browser then
//! lets it read what is answered here. What such a page cannot do is hide that name: the browser sends it as `Host`.
//! So a request is answered only if its `Host` is an address, `localhost`, or a name that was configured; and if its
//! target names an authority, that one too. Ports are of no account. Pure; nothing is looked up.

use std::net::{Ipv4Addr, Ipv6Addr};

use http::header::HOST;
use http::{HeaderMap, StatusCode, Uri};

/// What is said of a name that is not this node's. A command knows the refusal by it.
pub const NOT_A_NAME: &str = "is not a name of this node";

/// The names that are this node's.
pub struct Hosts {
    /// In lower case, without port and trailing dot.
    names: Vec<String>,
}

/// A request under a name that is not this node's, or under none.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Stranger {
    /// 400 where there is no telling, else 403.
    pub status: StatusCode,
    /// What is wrong and how to allow it, in one line.
    pub message: String,
}

impl Hosts {
    /// These names, as `node.hosts` lists them, and that of the node's `url`; `localhost` is always among them. Whether
    /// they are names was looked at when the settings were; one that is none is never called.
    pub fn new(hosts: &[String], url: Option<&str>) -> Self {
        let of_url = url.map(|url| url.split_once("://").map_or(url, |(_, rest)| rest).trim_end_matches('/'));
        let listed = hosts.iter().map(String::as_str);
        let own = of_url.and_then(host).into_iter().chain(["localhost"]);
        Self { names: listed.chain(own).map(plain).collect() }
    }

    /// Whether a request with this target and these headers may be answered.
    ///
    /// # Errors
    /// If not; the line in it is for the answer.
    pub fn check(&self, target: &Uri, headers: &HeaderMap) -> Result<(), Stranger> {
        let mut hosts = headers.get_all(HOST).iter();
        let (Some(named), None) = (hosts.next(), hosts.next()) else {
            return Err(unclear("a request here has one Host header"));
        };
        let named = named.to_str().map_err(|_| unclear("Host is not a name or an address"))?;
        let in_target = target.authority().map(http::uri::Authority::as_str);
        [named].into_iter().chain(in_target).try_for_each(|named| self.check_one(named))
    }

    fn check_one(&self, named: &str) -> Result<(), Stranger> {
        let name = host(named).ok_or_else(|| unclear("Host is not a name or an address"))?;
        if is_address(name) || self.names.contains(&plain(name)) {
            return Ok(());
        }
        let shown: String = name.chars().take(80).collect();
        let message =
            format!("{} {NOT_A_NAME}: use its address, or list the name in node.hosts", shown.escape_debug());
        Err(Stranger { status: StatusCode::FORBIDDEN, message })
    }
}

fn unclear(why: &str) -> Stranger {
    Stranger { status: StatusCode::BAD_REQUEST, message: why.to_owned() }
}

/// The host of `host[:port]`, an IPv6 address still in its brackets. `None`: there is none, or it is not one.
fn host(text: &str) -> Option<&str> {
    let end = match text.strip_prefix('[') {
        Some(rest) => rest.find(']')? + 2,
        None => text.find(':').unwrap_or(text.len()),
    };
    let (host, port) = text.split_at(end);
    let is_port =
        port.is_empty() || port.strip_prefix(':').is_some_and(|n| n.bytes().all(|b| b.is_ascii_digit()));
    let is_host = !host.is_empty() && !host.contains(['@', '/', '?', '#', ' ']);
    (is_port && is_host).then_some(host)
}

fn is_address(host: &str) -> bool {
    match host.strip_prefix('[').and_then(|rest| rest.strip_suffix(']')) {
        Some(inside) => inside.parse::<Ipv6Addr>().is_ok(),
        None => host.parse::<Ipv4Addr>().is_ok(),
    }
}

/// A name as names are compared.
fn plain(name: &str) -> String {
    name.strip_suffix('.').unwrap_or(name).to_ascii_lowercase()
}

#[cfg(test)]
mod tests {
    use super::*;
    use http::header::HeaderValue;

    fn hosts() -> Hosts {
        let listed = ["carrot.internal", "Ops.Example", "fqdn.example."].map(str::to_owned);
        Hosts::new(&listed, Some("http://Node-A.example:8001/"))
    }

    /// The status of the refusal, 200 where there is none.
    fn status(target: &str, named: &[&[u8]]) -> u16 {
        let mut headers = HeaderMap::new();
        for name in named {
            headers.append(HOST, HeaderValue::from_bytes(name).unwrap());
        }
        let checked = hosts().check(&target.parse().unwrap(), &headers);
        checked.map_or_else(|stranger| stranger.status.as_u16(), |()| 200)
    }

    #[test]
    fn addresses_localhost_and_the_nodes_own_names_are_answered() {
        for named in [
            "127.0.0.1",
            "10.0.0.5:9990",
            "0.0.0.0:1",
            "[::1]",
            "[::1]:9990",
            "[2001:DB8::5]:80",
            "localhost",
            "localhost:9990",
            "LocalHost.",
            "LOCALHOST.:1",
            "carrot.internal",
            "CARROT.internal.:9990",
            "ops.example",
            "fqdn.example",
            "fqdn.example.",
            "node-a.example:1234",
            "localhost:",
        ] {
            assert_eq!(status("/metrics", &[named.as_bytes()]), 200, "{named}");
        }
    }

    #[test]
    fn other_names_are_refused_with_a_line_that_says_how_to_allow_them() {
        for named in [
            "evil.example",
            "evil.example:9990",
            "localhost.evil.example",
            "xlocalhost",
            "127.0.0.1.evil.example",
            "127.1",
            "2130706433",
            "0x7f.0.0.1",
            "[::1%25lo]",
            "[evil.example]",
            "carrot.internal..",
            "node-a",
        ] {
            assert_eq!(status("/livez", &[named.as_bytes()]), 403, "{named}");
        }
        let mut headers = HeaderMap::new();
        headers.insert(HOST, HeaderValue::from_static("evil.example:9990"));
        let refused = hosts().check(&"/metrics".parse().unwrap(), &headers).unwrap_err();
        assert_eq!(
            refused.message,
            "evil.example is not a name of this node: use its address, or list the name in node.hosts"
        );
        headers.insert(HOST, HeaderValue::from_str(&"x".repeat(5000)).unwrap());
        assert!(hosts().check(&"/".parse().unwrap(), &headers).unwrap_err().message.len() < 200);
    }

    #[test]
    fn a_request_that_names_no_host_or_two_or_none_that_can_be_read_makes_no_sense() {
        let none: &[&[u8]] = &[];
        for named in [none, &[b"localhost", b"localhost"], &[b"localhost", b"evil.example"]] {
            assert_eq!(status("/livez", named), 400);
        }
        for named in [
            &b""[..],
            b":9990",
            b"::1",
            b"u@localhost",
            b"localhost:80:90",
            b"localhost:x",
            b"[::1",
            b"a b",
            b"\xff",
        ] {
            assert_eq!(status("/livez", &[named]), 400, "{}", named.escape_ascii());
        }
    }

    #[test]
    fn a_target_that_names_an_authority_has_to_name_this_node_too() {
        assert_eq!(status("http://localhost:9990/metrics", &[b"127.0.0.1"]), 200);
        assert_eq!(status("http://evil.example/metrics", &[b"localhost"]), 403);
        assert_eq!(status("http://localhost/metrics", &[b"evil.example"]), 403);
        assert_eq!(status("http://u@localhost/metrics", &[b"localhost"]), 400);
        assert_eq!(status("http://localhost/metrics", &[]), 400);
    }

    #[test]
    fn localhost_is_a_name_of_every_node() {
        let mut headers = HeaderMap::new();
        headers.insert(HOST, HeaderValue::from_static("localhost"));
        let hosts = Hosts::new(&[], None);
        assert_eq!(hosts.check(&"/".parse().unwrap(), &headers), Ok(()));
    }
}
