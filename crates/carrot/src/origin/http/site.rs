//! The one server that an origin asks: scheme, host and port, as they stand in its URL.
//!
//! Read from what an operator wrote, and from what a server answers when it redirects; equal ones are the same server
//! to us. Nothing is looked up here.

use std::fmt;
use std::net::{IpAddr, Ipv6Addr};

use crate::origin::error::BadHttpUrl;

/// The longest host, which is the longest name that DNS has (RFC 1035 §2.3.4).
const HOST_MAX: usize = 253;

/// A server.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Site {
    /// Whether TLS is spoken to it.
    pub is_secure: bool,
    /// Its name in lower case, or its address; one of IPv6 without its brackets.
    pub host: String,
    /// Where it listens.
    pub port: u16,
}

impl Site {
    /// Splits a URL at the end of its authority: the server, and whatever follows.
    ///
    /// # Errors
    /// When it does not begin with `http://` or `https://` and a host.
    pub fn split(url: &str) -> Result<(Self, &str), BadHttpUrl> {
        let (scheme, rest) = url.split_once("://").ok_or(BadHttpUrl::Scheme)?;
        let is_secure = match () {
            () if scheme.eq_ignore_ascii_case("http") => false,
            () if scheme.eq_ignore_ascii_case("https") => true,
            () => return Err(BadHttpUrl::Scheme),
        };
        Self::split_authority(is_secure, rest)
    }

    /// The same behind the two slashes, where the scheme is known.
    ///
    /// # Errors
    /// When there is no host, or no port behind the colon, or a user's name before it.
    pub fn split_authority(is_secure: bool, rest: &str) -> Result<(Self, &str), BadHttpUrl> {
        let (authority, rest) = rest.split_at(rest.find(['/', '?', '#']).unwrap_or(rest.len()));
        if authority.contains('@') {
            return Err(BadHttpUrl::UserInfo);
        }
        let (host, port) = host_and_port(authority)?;
        let standard = if is_secure { 443 } else { 80 };
        let port = port.map_or(Ok(standard), |text| text.parse().map_err(|_| BadHttpUrl::Port))?;
        if port == 0 {
            return Err(BadHttpUrl::Port);
        }
        Ok((Self { is_secure, host: host.to_ascii_lowercase(), port }, rest))
    }

    /// Its address, where the URL says that and no name.
    pub fn address(&self) -> Option<IpAddr> {
        self.host.parse().ok()
    }

    /// What `Host` says of it: without the port where that is the scheme's own.
    pub fn authority(&self) -> String {
        let host = if self.host.contains(':') { format!("[{}]", self.host) } else { self.host.clone() };
        match (self.is_secure, self.port) {
            (false, 80) | (true, 443) => host,
            (_, port) => format!("{host}:{port}"),
        }
    }
}

impl fmt::Display for Site {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}://{}", if self.is_secure { "https" } else { "http" }, self.authority())
    }
}

/// Both as written; no port where there is none, or nothing behind its colon.
fn host_and_port(authority: &str) -> Result<(&str, Option<&str>), BadHttpUrl> {
    let (host, port, is_host) = match authority.strip_prefix('[') {
        Some(rest) => {
            let (host, port) = rest.split_once(']').ok_or(BadHttpUrl::Host)?;
            (host, port, host.parse::<Ipv6Addr>().is_ok())
        }
        None => {
            let (host, port) = authority.split_at(authority.find(':').unwrap_or(authority.len()));
            (host, port, is_name(host))
        }
    };
    if !is_host {
        return Err(if authority.is_empty() { BadHttpUrl::NoHost } else { BadHttpUrl::Host });
    }
    match port.strip_prefix(':') {
        Some("") => Ok((host, None)),
        // A sign would be read as part of the number.
        Some(digits) if digits.bytes().all(|byte| byte.is_ascii_digit()) => Ok((host, Some(digits))),
        None if port.is_empty() => Ok((host, None)),
        _ => Err(BadHttpUrl::Port),
    }
}

/// Underscores too, which are in the names that containers give each other.
fn is_name(host: &str) -> bool {
    let is_plain = |byte: u8| byte.is_ascii_alphanumeric() || b"-._".contains(&byte);
    (1..=HOST_MAX).contains(&host.len()) && host.bytes().all(is_plain)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_server_is_its_scheme_host_and_port_however_they_are_written() {
        for (url, shown, host, port, rest) in [
            ("http://a", "http://a", "a", 80, ""),
            ("HTTP://A.Example:80/x", "http://a.example", "a.example", 80, "/x"),
            ("https://a:443?x", "https://a", "a", 443, "?x"),
            ("https://a:80/", "https://a:80", "a", 80, "/"),
            ("http://a_b:/", "http://a_b", "a_b", 80, "/"),
            ("http://127.0.0.1:8080#x", "http://127.0.0.1:8080", "127.0.0.1", 8080, "#x"),
            ("http://[::1]:8080/", "http://[::1]:8080", "::1", 8080, "/"),
            ("https://[FE80::1]/", "https://[fe80::1]", "fe80::1", 443, "/"),
        ] {
            let (site, behind) = Site::split(url).unwrap();
            assert_eq!((&*site.to_string(), &*site.host, site.port, behind), (shown, host, port, rest));
        }
    }

    #[test]
    fn what_names_no_server_is_refused_for_what_is_wrong_with_it() {
        let long = format!("http://{}", "a".repeat(HOST_MAX + 1));
        for (url, why) in [
            ("", BadHttpUrl::Scheme),
            ("a/b", BadHttpUrl::Scheme),
            ("ftp://a", BadHttpUrl::Scheme),
            ("http:/a", BadHttpUrl::Scheme),
            ("http://", BadHttpUrl::NoHost),
            ("http:///a", BadHttpUrl::NoHost),
            ("http://:80", BadHttpUrl::Host),
            ("http://ä", BadHttpUrl::Host),
            ("http://a b", BadHttpUrl::Host),
            ("http://[::1", BadHttpUrl::Host),
            ("http://[a]", BadHttpUrl::Host),
            ("http://[127.0.0.1]", BadHttpUrl::Host),
            ("http://[fe80::1%25eth0]", BadHttpUrl::Host),
            ("http://::1", BadHttpUrl::Host),
            (&long, BadHttpUrl::Host),
            ("http://a:b", BadHttpUrl::Port),
            ("http://a:0", BadHttpUrl::Port),
            ("http://a:+1", BadHttpUrl::Port),
            ("http://a:65536", BadHttpUrl::Port),
            ("http://[::1]80", BadHttpUrl::Port),
            ("http://me:secret@a", BadHttpUrl::UserInfo),
        ] {
            assert_eq!(Site::split(url), Err(why), "{url}");
        }
    }
}
