//! The URL of an HTTP origin: a server, and a path or query with a place for the key.
//!
//! The key stands in it as one piece, whatever its bytes. It is put together as text and never normalised, so that no parser takes a part of a key for a step.

use carrotcache::Key;
use http::uri::PathAndQuery;

use crate::escape::escaped;
use crate::origin::error::{BadHttpUrl, OriginError};
use crate::origin::http::site::Site;

/// What stands for the key.
const KEY: &str = "{key}";
/// The longest URL with its `{key}`. With the longest key, three bytes for each of 16 KiB, a target stays below the
/// 64 KiB that the `http` crate can hold.
const URL_MAX: usize = 8 * 1024;

/// A URL with a place for the key.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Template {
    /// Whom it asks.
    pub site: Site,
    /// From the slash of the path on.
    before: String,
    after: String,
}

impl Template {
    /// Reads a URL that holds `{key}` once.
    ///
    /// # Errors
    /// What is wrong with it, and what was expected.
    pub fn parse(url: &str) -> Result<Self, BadHttpUrl> {
        if url.len() > URL_MAX {
            return Err(BadHttpUrl::Long(URL_MAX));
        }
        // Before the server, whose name would be refused for the braces alone.
        if authority(url).contains(KEY) {
            return Err(BadHttpUrl::KeyInHost);
        }
        let (site, target) = Site::split(url)?;
        if target.contains('#') {
            return Err(BadHttpUrl::Fragment);
        }
        let (before, after) = target.split_once(KEY).ok_or(BadHttpUrl::Keys(0))?;
        if after.contains(KEY) {
            return Err(BadHttpUrl::Keys(target.matches(KEY).count()));
        }
        if let Some(odd) = before.chars().chain(after.chars()).find(|&c| !stands_in_a_url(c)) {
            return Err(BadHttpUrl::Character(odd));
        }
        let root = if before.starts_with('/') { "" } else { "/" };
        Ok(Self { site, before: format!("{root}{before}"), after: after.to_owned() })
    }

    /// What is asked for `key`; `None` where no server could be asked for it: as a whole segment of a path `.` and
    /// `..` are steps to every server and proxy, escaped or not, and would ask for something else.
    ///
    /// # Errors
    /// When the URL cannot be sent.
    pub fn target(&self, key: &Key) -> Result<Option<PathAndQuery>, OriginError> {
        let key = escaped(key).to_string();
        if self.makes_a_step(&key) {
            return Ok(None);
        }
        let target = [&*self.before, &*key, &*self.after].concat();
        target.parse().map(Some).map_err(OriginError::Target)
    }

    fn makes_a_step(&self, key: &str) -> bool {
        let begin = self.before.rfind('/').map_or(0, |slash| slash + 1);
        let end = self.after.find(['/', '?']).unwrap_or(self.after.len());
        let segment = [&self.before[begin..], key, &self.after[..end]].concat();
        !self.before.contains('?') && is_step(&segment)
    }
}

/// What stands where a server's name does.
fn authority(url: &str) -> &str {
    let rest = url.split_once("://").map_or("", |(_, rest)| rest);
    &rest[..rest.find(['/', '?', '#']).unwrap_or(rest.len())]
}

/// The characters that RFC 3986 has, and the percent sign. Braces are not among them: `{id}` is a mistake.
fn stands_in_a_url(c: char) -> bool {
    c.is_ascii_graphic() && !"\"<>\\^`{|}".contains(c)
}

/// Whether a segment means this directory or the one above.
pub fn is_step(segment: &str) -> bool {
    // No longer than six characters when it is one; the rest need not be looked at.
    segment.len() <= 6 && matches!(&*segment.to_ascii_lowercase().replace("%2e", "."), "." | "..")
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::origin::error::OpenError;

    fn target(url: &str, key: &[u8]) -> Option<String> {
        let target = Template::parse(url).unwrap().target(&Key::new(key)).unwrap();
        target.map(|target| target.as_str().to_owned())
    }

    #[test]
    fn a_key_is_one_piece_of_the_path_or_the_query() {
        for (url, key, expected) in [
            ("http://a/{key}", &b"Tom"[..], "/Tom"),
            ("http://a/items/{key}.json?v=2", b"a/b c", "/items/a%2Fb%20c.json?v=2"),
            ("http://a/q?id={key}&x", b"1&x=2#%", "/q?id=1%26x%3D2%23%25&x"),
            ("http://a?{key}", b"+", "/?%2B"),
            ("http://a/{key}", b"AZaz09-._~", "/AZaz09-._~"),
            ("http://a/{key}", b"\x00\xff?", "/%00%FF%3F"),
            ("http://a//x/{key}/", "ü".as_bytes(), "//x/%C3%BC/"),
        ] {
            assert_eq!(target(url, key).as_deref(), Some(expected));
        }
    }

    #[test]
    fn a_key_that_would_be_a_step_cannot_be_asked_for() {
        for (url, key) in [
            ("http://a/{key}", "."),
            ("http://a/{key}", ".."),
            ("http://a/x/{key}/y", ".."),
            ("http://a/{key}?x=/", ".."),
            ("http://a/.{key}", "."),
            ("http://a/%2E{key}", "."),
            ("http://a/{key}%2e", "."),
        ] {
            assert_eq!(target(url, key.as_bytes()), None, "{url} {key}");
        }
        for (url, key) in [
            ("http://a/{key}", "..."),
            ("http://a/{key}.json", ".."),
            ("http://a/v{key}", "."),
            ("http://a/?q={key}", ".."),
            ("http://a/q?path=/x/{key}", ".."),
            ("http://a/{key}", "%2e"),
        ] {
            assert!(target(url, key.as_bytes()).is_some(), "{url} {key}");
        }
    }

    #[test]
    fn a_url_is_refused_with_what_was_expected() {
        let long = format!("http://a/{{key}}{}", "a".repeat(URL_MAX));
        for (url, line) in [
            ("ftp://a/{key}", "is no URL of an origin: it has to begin with http:// or https://"),
            ("http:///{key}", "is no URL of an origin: a host is missing behind the //"),
            (
                "http://a/",
                "is no URL of an origin: it has to hold {key} once, where the key belongs; it is there 0 times",
            ),
            (
                "http://a/{key}/{key}",
                "is no URL of an origin: it has to hold {key} once, where the key belongs; it is there 2 times",
            ),
            (
                "http://{key}.example/{key}",
                "is no URL of an origin: {key} belongs into the path or the query, not into the host",
            ),
            (
                "http://me:secret@a/{key}",
                "is no URL of an origin: no user and password there; send a header, as in authorization",
            ),
            (
                "http://a/{key}#top",
                "is no URL of an origin: a # and what follows is not sent; a # itself is %23",
            ),
            ("http://a/{id}/{key}", "is no URL of an origin: '{' has to be percent-encoded"),
            ("http://a/ü/{key}", "is no URL of an origin: 'ü' has to be percent-encoded"),
            ("http://a/\n{key}", "is no URL of an origin: '\\n' has to be percent-encoded"),
            ("http://a:99999/{key}", "is no URL of an origin: the port has to be 1 to 65535"),
            (&long, "is no URL of an origin: it is longer than 8192 bytes"),
        ] {
            assert_eq!(OpenError::from(Template::parse(url).unwrap_err()).to_string(), line, "{url}");
        }
    }

    #[test]
    fn the_longest_url_can_be_sent_with_the_longest_key() {
        let url = format!("http://a/{{key}}{}", "a".repeat(URL_MAX - "http://a/{key}".len()));
        let longest = usize::try_from(carrotcache::Limits::KEY_MAX.as_u64()).unwrap();
        assert!(target(&url, &vec![0; longest]).is_some());
    }

    proptest! {
        #[test]
        fn no_text_makes_reading_a_url_panic(url in "(https?://)?\\PC*(\\{key\\})?\\PC*") {
            let _ = Template::parse(&url);
        }

        #[test]
        fn a_key_comes_out_of_its_segment_as_it_went_in(key in proptest::collection::vec(any::<u8>(), 1..40)) {
            match target("http://a/x/{key}/y", &key) {
                None => prop_assert!(key == b"." || key == b".."),
                Some(target) => {
                    let segments: Vec<&str> = target.split('/').collect();
                    prop_assert_eq!(segments.len(), 4);
                    let read: Vec<u8> = percent_encoding::percent_decode_str(segments[2]).collect();
                    prop_assert_eq!(read, key);
                }
            }
        }
    }
}
