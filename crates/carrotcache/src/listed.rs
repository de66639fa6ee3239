//! Members as a user lists them: addresses turned into names to place by and authorities to connect to.
//!
//! Pure. Native peers take one spelling for one address, since placement hashes the name and two spellings would be
//! two members. The family's peers hash the string exactly as listed, and so must we beside them.

use std::fmt::Write as _;
use std::str::FromStr;
use std::sync::Arc;

use crate::error::StartError;
use crate::view::Member;

/// How a listed address becomes a name.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Spelling {
    /// Scheme and host in lower case, the port written out, no path.
    One,
    /// Exactly as listed, as most of the family's rings do.
    AsListed,
    /// As listed, without scheme and closing slash: groupcache-go lists a peer as bare `host:port`.
    Bare,
}

/// As a native node lists it: `http://host:port`, or `host:port` for short.
impl FromStr for Member {
    type Err = StartError;
    /// # Errors
    /// `StartError::Peer` with what is wrong. Nothing is looked up.
    fn from_str(entry: &str) -> Result<Self, StartError> {
        member(entry, Spelling::One)
    }
}

/// The member that `entry` names: `http://host:port`, or `host:port` for short.
///
/// # Errors
/// `StartError::Peer` with what is wrong. Nothing is looked up.
pub(crate) fn member(entry: &str, spelling: Spelling) -> Result<Member, StartError> {
    let authority = authority(entry).map_err(|why| StartError::Peer { entry: entry.to_owned(), why })?;
    let name: Arc<str> = match spelling {
        Spelling::One => format!("http://{authority}").into(),
        Spelling::AsListed => entry.into(),
        Spelling::Bare => bare(entry).into(),
    };
    Ok(Member { name, authority: authority.into() })
}

/// An address without its scheme, and otherwise as it is.
fn bare(entry: &str) -> &str {
    without_slash(entry.split_once("://").map_or(entry, |(_, rest)| rest))
}

fn without_slash(address: &str) -> &str {
    address.strip_suffix('/').unwrap_or(address)
}

/// `host:port` of an address, host in lower case.
fn authority(entry: &str) -> Result<String, &'static str> {
    let rest = match entry.split_once("://") {
        Some((scheme, rest)) if scheme.eq_ignore_ascii_case("http") => rest,
        Some((scheme, _)) if scheme.eq_ignore_ascii_case("https") => {
            return Err("peers speak plain http only");
        }
        Some(_) => return Err("the scheme must be http"),
        None => entry,
    };
    let rest = without_slash(rest);
    if rest.bytes().any(|b| b.is_ascii_control() || matches!(b, b' ' | b'/' | b'?' | b'#' | b'@')) {
        return Err("expected http://host:port and nothing behind it");
    }
    let (host, port) = match rest.rsplit_once(':') {
        Some((host, port)) if !host.ends_with(':') && !port.ends_with(']') => (host, port),
        // 80 is what http means without a port.
        _ => (rest, "80"),
    };
    if host.is_empty()
        || host.contains(':') != host.starts_with('[')
        || host.starts_with('[') != host.ends_with(']')
    {
        return Err("expected a host name or an address, IPv6 in brackets");
    }
    let port: u16 = port.parse().ok().filter(|port| *port != 0).ok_or("expected a port from 1 to 65535")?;
    let mut authority = host.to_ascii_lowercase();
    let _ = write!(authority, ":{port}");
    Ok(authority)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_address_has_one_name_however_it_is_spelled() {
        for entry in
            ["http://LocalHost:8001", "localhost:8001", "HTTP://localhost:8001/", "http://localhost:08001"]
        {
            let member = member(entry, Spelling::One).unwrap();
            assert_eq!(
                (&*member.name, &*member.authority),
                ("http://localhost:8001", "localhost:8001"),
                "{entry}"
            );
        }
        assert_eq!(&*member("http://[::1]:8001", Spelling::One).unwrap().authority, "[::1]:8001");
        assert_eq!(&*member("http://[::1]", Spelling::One).unwrap().authority, "[::1]:80");
        assert_eq!(&*member("cache", Spelling::One).unwrap().authority, "cache:80");
    }

    #[test]
    fn a_family_peer_keeps_its_string_as_listed() {
        let member = member("http://LocalHost:8001/", Spelling::AsListed).unwrap();
        assert_eq!((&*member.name, &*member.authority), ("http://LocalHost:8001/", "localhost:8001"));
    }

    #[test]
    fn a_bare_peer_loses_its_scheme_and_keeps_the_rest_as_listed() {
        for entry in ["http://LocalHost:8001/", "LocalHost:8001", "HTTP://LocalHost:8001"] {
            let member = member(entry, Spelling::Bare).unwrap();
            assert_eq!((&*member.name, &*member.authority), ("LocalHost:8001", "localhost:8001"), "{entry}");
        }
    }

    #[test]
    fn what_is_no_address_of_a_peer_is_refused_with_a_reason() {
        for entry in [
            "",
            "http://",
            "http://:8001",
            "https://a:1",
            "ftp://a:1",
            "http://a:0",
            "http://a:70000",
            "a:b",
            "http://a:1/path",
            "http://u@a:1",
            "http://::1:8001",
            "http://[::1:8001",
            "a b:1",
            "a:1\n",
            "http://a::1",
        ] {
            let refused = member(entry, Spelling::One);
            assert!(matches!(refused, Err(StartError::Peer { .. })), "{entry:?}: {refused:?}");
        }
    }
}
