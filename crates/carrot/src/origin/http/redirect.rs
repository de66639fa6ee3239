//! Where a redirect leads: to another target of the same server, or nowhere that we go.
//!
//! Another server gets neither our key nor our headers, and the same host over another scheme or port is another
//! server. A `Location` is a reference as in RFC 3986; relative ones are resolved after §5.2 of it.

use http::HeaderValue;
use http::uri::PathAndQuery;

use crate::origin::error::{BadHttpUrl, OriginError};
use crate::origin::http::site::Site;
use crate::origin::http::template::is_step;

/// What to ask `site` for next, when the answer for `from` says to go to `location`.
///
/// # Errors
/// When that is another server, or cannot be read.
pub fn next(
    site: &Site,
    from: &PathAndQuery,
    location: Option<&HeaderValue>,
) -> Result<PathAndQuery, OriginError> {
    let bytes = location.map(HeaderValue::as_bytes).unwrap_or_default();
    let location = std::str::from_utf8(bytes).map_err(|_| OriginError::Location)?;
    let location = location.split_once('#').map_or(location, |(before, _)| before);
    if location.is_empty() {
        return Err(OriginError::Location);
    }
    let target = match server(site, location)? {
        Some((other, _)) if other != *site => return Err(OriginError::Elsewhere { to: other.to_string() }),
        Some((_, target)) => rooted(target),
        None => relative(from, location),
    };
    target.parse().map_err(|_| OriginError::Location)
}

/// The server that a reference names, and the rest of it; `None` where it names none.
fn server<'a>(site: &Site, location: &'a str) -> Result<Option<(Site, &'a str)>, OriginError> {
    let read = |split: Result<_, BadHttpUrl>| split.map(Some).map_err(|_| OriginError::Location);
    if let Some(rest) = location.strip_prefix("//") {
        return read(Site::split_authority(site.is_secure, rest));
    }
    let path = &location[..location.find(['/', '?']).unwrap_or(location.len())];
    // A colon before the first slash ends a scheme.
    if path.contains(':') { read(Site::split(location)) } else { Ok(None) }
}

fn relative(from: &PathAndQuery, reference: &str) -> String {
    match reference.as_bytes() {
        [b'/', ..] => rooted(reference),
        [b'?', ..] => [from.path(), reference].concat(),
        _ => {
            let directory = from.path().rfind('/').map_or("/", |slash| &from.path()[..=slash]);
            rooted(&[directory, reference].concat())
        }
    }
}

/// A target with a path from the root, without steps.
fn rooted(target: &str) -> String {
    let (path, query) = target.split_at(target.find('?').unwrap_or(target.len()));
    let mut segments: Vec<&str> = Vec::new();
    let mut ends_in_step = false;
    for segment in path.strip_prefix('/').unwrap_or(path).split('/') {
        ends_in_step = is_step(segment);
        match (ends_in_step, segment.len()) {
            (false, _) => segments.push(segment),
            // One dot, escaped or not, is one or three characters long; two are two, four or six.
            (true, 1 | 3) => {}
            (true, _) => {
                segments.pop();
            }
        }
    }
    if ends_in_step {
        segments.push("");
    }
    ["/", &segments.join("/"), query].concat()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn led(from: &str, location: &str) -> Result<String, OriginError> {
        let (site, target) = Site::split(from).unwrap();
        let location = HeaderValue::from_str(location).unwrap();
        next(&site, &target.parse().unwrap(), Some(&location)).map(|target| target.as_str().to_owned())
    }

    #[test]
    fn references_are_resolved_as_the_rfc_has_it() {
        // The examples of RFC 3986 §5.4 that stay with the server.
        for (reference, target) in [
            ("g", "/b/c/g"),
            ("./g", "/b/c/g"),
            ("g/", "/b/c/g/"),
            ("/g", "/g"),
            ("?y", "/b/c/d;p?y"),
            ("g?y", "/b/c/g?y"),
            ("g?y#s", "/b/c/g?y"),
            (";x", "/b/c/;x"),
            (".", "/b/c/"),
            ("./", "/b/c/"),
            ("..", "/b/"),
            ("../g", "/b/g"),
            ("../..", "/"),
            ("../../g", "/g"),
            ("../../../g", "/g"),
            ("/./g", "/g"),
            ("/../g", "/g"),
            ("g.", "/b/c/g."),
            ("..g", "/b/c/..g"),
            ("./../g", "/b/g"),
            ("g/./h", "/b/c/g/h"),
            ("g/../h", "/b/c/h"),
            ("g;x=1/../y", "/b/c/y"),
            ("g?y/../x", "/b/c/g?y/../x"),
            ("%2E%2e/g", "/b/g"),
            ("http://a", "/"),
            ("http://a/x?y", "/x?y"),
            ("HTTP://A:80/x", "/x"),
            ("//a/x", "/x"),
        ] {
            assert_eq!(led("http://a/b/c/d;p?q", reference).unwrap(), target, "{reference}");
        }
    }

    #[test]
    fn another_server_is_named_without_its_path_and_query_and_not_asked() {
        let long = format!("http://b/{}", "x".repeat(9999));
        for (location, server) in [
            ("http://b/x?token=sesame", "http://b"),
            ("//b/sesame", "http://b"),
            ("https://a/x", "https://a"),
            ("http://a:81/x", "http://a:81"),
            ("http://a.b?sesame", "http://a.b"),
            ("http://169.254.169.254/latest/meta-data/", "http://169.254.169.254"),
            (&long, "http://b"),
        ] {
            let line = led("http://a/x", location).unwrap_err().to_string();
            let expected = "the origin redirects to another server, which is not asked: ";
            assert_eq!(line, format!("{expected}{server}"));
        }
    }

    #[test]
    fn a_location_that_cannot_be_read_is_an_error() {
        let (site, _) = Site::split("http://a/x").unwrap();
        let from: PathAndQuery = "/x".parse().unwrap();
        let bytes: [&[u8]; 8] =
            [b"", b"#top", b"mailto:me", b"http:/x", b"http://me@a/x", b"/a b", b"/\xff", b"//"];
        for location in bytes {
            let value = HeaderValue::from_bytes(location).unwrap();
            let led = next(&site, &from, Some(&value));
            assert!(matches!(led, Err(OriginError::Location)), "{location:?}: {led:?}");
        }
        assert!(matches!(next(&site, &from, None), Err(OriginError::Location)));
    }

    proptest! {
        #[test]
        fn wherever_a_redirect_leads_it_stays_below_the_root_of_its_server(
            location in "[a./?%2eE:#\\-]{0,20}",
        ) {
            if let Ok(target) = led("http://a/b/c", &location) {
                prop_assert!(target.starts_with('/'));
                let path = &target[..target.find('?').unwrap_or(target.len())];
                prop_assert!(!path.split('/').any(is_step), "{}", target);
            }
        }

        #[test]
        fn no_bytes_make_it_panic(bytes in proptest::collection::vec(any::<u8>(), 0..100)) {
            let (site, _) = Site::split("http://a/x").unwrap();
            if let Ok(value) = HeaderValue::from_bytes(&bytes) {
                let _ = next(&site, &"/x".parse().unwrap(), Some(&value));
            }
        }
    }
}
