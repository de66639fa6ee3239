//! The address of a node, as it is given to a command: `http://HOST:PORT` and nothing behind it.
//!
//! Pure. Strict, since a password may be sent there: what cannot be kept, TLS or a path, is refused rather than
//! dropped.

use std::fmt;
use std::str::FromStr;

/// What http means without a port.
const DEFAULT_PORT: u16 = 80;

/// Where a node is asked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NodeUrl {
    /// Host and port as they were written.
    authority: String,
    /// Of the host; without brackets, as it is looked up.
    host: String,
    port: u16,
}

/// A text that is no address of a node.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0}, as in http://127.0.0.1:9999")]
pub struct BadUrl(&'static str);

impl NodeUrl {
    /// What is connected to.
    pub fn target(&self) -> (&str, u16) {
        (&self.host, self.port)
    }

    /// What a request names as its `Host`.
    pub fn authority(&self) -> &str {
        &self.authority
    }
}

impl FromStr for NodeUrl {
    type Err = BadUrl;

    fn from_str(text: &str) -> Result<Self, BadUrl> {
        let authority = match text.split_once("://") {
            Some((scheme, rest)) if scheme.eq_ignore_ascii_case("http") => rest,
            Some((scheme, _)) if scheme.eq_ignore_ascii_case("https") => {
                return Err(BadUrl("a node is asked over plain http"));
            }
            _ => return Err(BadUrl("the URL has to begin with http://")),
        };
        let authority = authority.strip_suffix('/').unwrap_or(authority);
        if authority.contains('@') {
            return Err(BadUrl("a password goes into CARROT_PASSWORD, not into the URL"));
        }
        let (host, port) = match authority.rsplit_once(':') {
            Some((host, port)) if !port.ends_with(']') => (host, port_of(port)?),
            _ => (authority, DEFAULT_PORT),
        };
        Ok(Self { host: bare_host(host)?.to_owned(), port, authority: authority.to_owned() })
    }
}

fn port_of(text: &str) -> Result<u16, BadUrl> {
    let digits = text.bytes().all(|b| b.is_ascii_digit());
    let port = text.parse().ok().filter(|port| digits && *port != 0);
    port.ok_or(BadUrl("the URL ends with a port from 1 to 65535 and nothing behind it"))
}

/// A name or an IPv4 address, or what stands between the brackets of an IPv6 address.
fn bare_host(host: &str) -> Result<&str, BadUrl> {
    let bare = host.strip_prefix('[').and_then(|rest| rest.strip_suffix(']'));
    let fits = match bare {
        Some(address) => address.parse::<std::net::Ipv6Addr>().is_ok(),
        None => !host.is_empty() && host.bytes().all(|b| b.is_ascii_alphanumeric() || b"-._".contains(&b)),
    };
    let wrong = BadUrl("the URL names a host and a port, IPv6 in brackets, and nothing behind them");
    if fits { Ok(bare.unwrap_or(host)) } else { Err(wrong) }
}

impl fmt::Display for NodeUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "http://{}", self.authority)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_node_is_named_by_scheme_host_and_port() {
        for (text, host, port, authority) in [
            ("http://127.0.0.1:9999", "127.0.0.1", 9999, "127.0.0.1:9999"),
            ("HTTP://localhost:80/", "localhost", 80, "localhost:80"),
            ("http://cache-1.my_net", "cache-1.my_net", 80, "cache-1.my_net"),
            ("http://[::1]:9999", "::1", 9999, "[::1]:9999"),
            ("http://[::1]", "::1", 80, "[::1]"),
        ] {
            let url: NodeUrl = text.parse().unwrap();
            assert_eq!(url.target(), (host, port), "{text}");
            assert_eq!(url.authority(), authority, "{text}");
            assert_eq!(url.to_string(), format!("http://{authority}"));
        }
    }

    #[test]
    fn what_is_no_plain_address_is_refused_with_a_reason() {
        for (text, why) in [
            ("https://a:1", "a node is asked over plain http"),
            ("127.0.0.1:9999", "the URL has to begin with http://"),
            ("ftp://a:1", "the URL has to begin with http://"),
            ("", "the URL has to begin with http://"),
            ("http://:password@a:1", "a password goes into CARROT_PASSWORD"),
            ("http://", "the URL names a host and a port"),
            ("http://:1", "the URL names a host and a port"),
            ("http://a b:1", "the URL names a host and a port"),
            ("http://a\n:1", "the URL names a host and a port"),
            ("http://::1:9999", "the URL names a host and a port"),
            ("http://[::1:9999", "the URL names a host and a port"),
            ("http://a/path", "the URL names a host and a port"),
            ("http://a:1/path", "the URL ends with a port from 1 to 65535"),
            ("http://a:0", "the URL ends with a port from 1 to 65535"),
            ("http://a:+1", "the URL ends with a port from 1 to 65535"),
            ("http://a:70000", "the URL ends with a port from 1 to 65535"),
            ("http://a:", "the URL ends with a port from 1 to 65535"),
        ] {
            let line = text.parse::<NodeUrl>().unwrap_err().to_string();
            assert!(
                line.starts_with(why) && line.ends_with(", as in http://127.0.0.1:9999"),
                "{text}: {line}"
            );
        }
    }
}
