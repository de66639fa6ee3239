//! What every request to an origin carries: what HTTP asks for, and what the operator has configured.
//!
//! Made once. Headers that say how a message is framed, or whom it is for, are ours alone: with one of those a
//! request would mean something else than a load.

use http::header::{
    ACCEPT_ENCODING, CONNECTION, CONTENT_LENGTH, EXPECT, HOST, HeaderMap, HeaderName, HeaderValue, TE,
    TRAILER, TRANSFER_ENCODING, UPGRADE, USER_AGENT,
};

use crate::origin::error::OpenError;
use crate::origin::http::site::Site;
use crate::secret::Secret;

/// Ours. `keep-alive` and `proxy-connection` go with a connection as `connection` does, RFC 9110 §7.6.1.
const OURS: [HeaderName; 11] = [
    ACCEPT_ENCODING,
    CONNECTION,
    CONTENT_LENGTH,
    EXPECT,
    HOST,
    HeaderName::from_static("keep-alive"),
    HeaderName::from_static("proxy-connection"),
    TE,
    TRAILER,
    TRANSFER_ENCODING,
    UPGRADE,
];
/// Who asks, where nothing else is configured.
const AGENT: HeaderValue = HeaderValue::from_static(concat!("carrot/", env!("CARGO_PKG_VERSION")));
/// Values are kept and served as they come, to clients that may not have asked for any coding.
const PLAIN: HeaderValue = HeaderValue::from_static("identity");

/// The headers of every request to `site`.
///
/// # Errors
/// The name of the first header that cannot be sent, or must not be. A value is never shown.
pub fn sent(site: &Site, configured: &[(String, Secret)]) -> Result<HeaderMap, OpenError> {
    let mut headers = HeaderMap::new();
    for (name, secret) in configured {
        let shown = || name.chars().take(80).collect::<String>();
        let parsed = HeaderName::from_bytes(name.as_bytes()).map_err(|_| OpenError::HeaderName(shown()))?;
        if OURS.contains(&parsed) {
            return Err(OpenError::HeaderOfOurs(shown()));
        }
        let mut value =
            HeaderValue::from_str(secret.reveal()).map_err(|_| OpenError::HeaderValue(shown()))?;
        value.set_sensitive(true);
        headers.append(parsed, value);
    }
    headers.entry(USER_AGENT).or_insert(AGENT);
    headers.insert(ACCEPT_ENCODING, PLAIN);
    let host = site.authority();
    headers.insert(HOST, HeaderValue::from_str(&host).map_err(|_| OpenError::HeaderValue(host))?);
    Ok(headers)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn made(configured: &[(&str, &str)]) -> Result<HeaderMap, OpenError> {
        let (site, _) = Site::split("https://a.example:8443/").unwrap();
        let secret = |(name, value): &(&str, &str)| ((*name).to_owned(), Secret::new(*value));
        sent(&site, &configured.iter().map(secret).collect::<Vec<_>>())
    }

    #[test]
    fn a_request_says_whom_it_is_for_and_who_asks() {
        let headers = made(&[("authorization", "Bearer x"), ("X-Two", "1"), ("x-two", "2")]).unwrap();
        assert_eq!(headers[HOST], "a.example:8443");
        assert_eq!(headers[USER_AGENT], format!("carrot/{}", env!("CARGO_PKG_VERSION")));
        assert_eq!(headers[ACCEPT_ENCODING], "identity");
        assert_eq!(headers["authorization"], "Bearer x");
        assert_eq!(headers.get_all("x-two").iter().collect::<Vec<_>>(), ["1", "2"]);
        assert!(!format!("{headers:?}").contains("Bearer"), "a secret is not printed");
        let other = made(&[("User-Agent", "me")]).unwrap();
        assert_eq!(other.get_all(USER_AGENT).iter().collect::<Vec<_>>(), ["me"]);
    }

    #[test]
    fn a_header_that_cannot_be_sent_is_refused_by_its_name() {
        for (name, value, line) in [
            ("", "x", "header \"\" of the origin is no name that HTTP has"),
            ("a b", "x", "header \"a b\" of the origin is no name that HTTP has"),
            ("a\r\nb", "x", "header \"a\\r\\nb\" of the origin is no name that HTTP has"),
            (
                "token",
                "secret\nx",
                "header \"token\" of the origin has a value that HTTP cannot send, such as a line end",
            ),
            ("Host", "b", "header \"Host\" of the origin is not for settings: the request itself makes it"),
            (
                "connection",
                "close",
                "header \"connection\" of the origin is not for settings: the request itself makes it",
            ),
        ] {
            assert_eq!(made(&[(name, value)]).unwrap_err().to_string(), line);
        }
        for name in OURS {
            assert!(matches!(made(&[(name.as_str(), "x")]), Err(OpenError::HeaderOfOurs(_))), "{name}");
        }
    }
}
