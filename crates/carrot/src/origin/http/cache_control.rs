//! How long a response may be kept, by its own words: `Cache-Control` and `Age`, after RFC 9111.
//!
//! We are a shared cache in its sense: what one caller's load brought is given to all, so `s-maxage` goes before
//! `max-age` and `private` forbids. Of two answers the more careful one is taken: what cannot be understood is not
//! kept, what is said twice counts as the lesser. `Expires` and `Pragma` are not read; an origin that means to say
//! something to a cache says it in `Cache-Control`.

use std::time::Duration;

use http::HeaderMap;
use http::header::{AGE, CACHE_CONTROL, SET_COOKIE, VARY};

/// The most seconds that a number can say: RFC 9111 §1.2.2 has larger ones read as this.
const MOST_SECONDS: u64 = 1 << 31;

/// How long a response with these headers may be served from now on. `None`: they do not say. Zero: it is not kept.
pub fn lifetime(headers: &HeaderMap) -> Option<Duration> {
    let said = Said::read(headers);
    // A cookie is meant for one client. RFC 9111 §7.3 leaves it to servers to say so, and many forget to.
    if said.forbids || headers.contains_key(SET_COOKIE) || varies_by_everything(headers) {
        return Some(Duration::ZERO);
    }
    let seconds = said.s_maxage.or(said.max_age)?;
    Some(Duration::from_secs(seconds.saturating_sub(age(headers))))
}

/// Whether the response fits no request but its own, RFC 9110 §12.5.5. All that is named otherwise is the same in every
/// request of ours.
fn varies_by_everything(headers: &HeaderMap) -> bool {
    let lists = headers.get_all(VARY).into_iter().map(http::HeaderValue::as_bytes);
    lists.flat_map(|list| list.split(|byte| *byte == b',')).any(|name| name.trim_ascii() == b"*")
}

/// What all the directives of a response come to.
#[derive(Default)]
struct Said {
    forbids: bool,
    s_maxage: Option<u64>,
    max_age: Option<u64>,
}

impl Said {
    fn read(headers: &HeaderMap) -> Self {
        let mut said = Self::default();
        for value in headers.get_all(CACHE_CONTROL) {
            match directives(value.as_bytes()) {
                Some(directives) => directives.into_iter().for_each(|directive| said.take(directive)),
                None => said.forbids = true,
            }
        }
        said
    }

    fn take(&mut self, directive: &[u8]) {
        let equals = directive.iter().position(|&byte| byte == b'=').unwrap_or(directive.len());
        let (name, argument) = directive.split_at(equals);
        let name = name.trim_ascii();
        let least = |known: Option<u64>| {
            // A number that is none counts as a response that is stale already, RFC 9111 §4.2.1.
            let seconds = seconds(argument.get(1..).unwrap_or_default()).unwrap_or(0);
            Some(known.map_or(seconds, |known| known.min(seconds)))
        };
        // With the name of a header behind it, `private` or `no-cache` would be about that header alone. No header
        // is served from here, but the value may well be made of it.
        match () {
            () if [&b"no-store"[..], b"private", b"no-cache"]
                .iter()
                .any(|no| name.eq_ignore_ascii_case(no)) =>
            {
                self.forbids = true;
            }
            () if name.eq_ignore_ascii_case(b"s-maxage") => self.s_maxage = least(self.s_maxage),
            () if name.eq_ignore_ascii_case(b"max-age") => self.max_age = least(self.max_age),
            () => {}
        }
    }
}

/// The pieces between commas that stand outside quotes. `None`: a quote does not end, and what it hides is unknown.
fn directives(value: &[u8]) -> Option<Vec<&[u8]>> {
    let (mut pieces, mut begin) = (Vec::new(), 0);
    let (mut is_quoted, mut is_escaped) = (false, false);
    for (at, &byte) in value.iter().enumerate() {
        match byte {
            _ if is_escaped => is_escaped = false,
            b'\\' if is_quoted => is_escaped = true,
            b'"' => is_quoted = !is_quoted,
            b',' if !is_quoted => {
                pieces.push(&value[begin..at]);
                begin = at + 1;
            }
            _ => {}
        }
    }
    pieces.push(&value[begin..]);
    (!is_quoted).then_some(pieces)
}

/// A number of seconds, also in quotes, which RFC 9111 §5.2 has read though not written.
fn seconds(text: &[u8]) -> Option<u64> {
    let text = text.trim_ascii();
    let text = text.strip_prefix(b"\"").and_then(|text| text.strip_suffix(b"\"")).unwrap_or(text);
    if text.is_empty() || !text.iter().all(u8::is_ascii_digit) {
        return None;
    }
    let add = |sum: u64, digit: &u8| (sum * 10 + u64::from(digit - b'0')).min(MOST_SECONDS);
    Some(text.iter().fold(0, add))
}

/// For how long it has been kept on its way to us. One that is no number says nothing, RFC 9111 §5.1.
fn age(headers: &HeaderMap) -> u64 {
    headers.get(AGE).and_then(|value| seconds(value.as_bytes())).unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use http::HeaderValue;
    use proptest::prelude::*;

    use super::*;

    fn headers(lines: &[(&'static str, &[u8])]) -> HeaderMap {
        let mut headers = HeaderMap::new();
        for (name, value) in lines {
            headers.append(*name, HeaderValue::from_bytes(value).unwrap());
        }
        headers
    }

    fn said(cache_control: &str) -> Option<u64> {
        let lifetime = lifetime(&headers(&[("cache-control", cache_control.as_bytes())]));
        lifetime.map(|lifetime| lifetime.as_secs())
    }

    #[test]
    fn a_response_says_how_long_it_may_be_kept() {
        for (cache_control, seconds) in [
            ("max-age=60", Some(60)),
            ("MAX-AGE = 60 ", Some(60)),
            ("public, max-age=60, must-revalidate", Some(60)),
            ("max-age=60, s-maxage=10", Some(10)),
            ("s-maxage=600,max-age=60", Some(600)),
            ("max-age=\"60\"", Some(60)),
            ("max-age=99999999999999999999999", Some(MOST_SECONDS)),
            ("max-age=60, max-age=30", Some(30)),
            (",, max-age=60 ,", Some(60)),
            ("x=\"a, no-store\", max-age=60", Some(60)),
            ("x=\"a\\\", no-store\", max-age=60", Some(60)),
            ("no-stores, xprivate, max-age-x=1", None),
            ("public", None),
            ("", None),
            ("=", None),
        ] {
            assert_eq!(said(cache_control), seconds, "{cache_control}");
        }
    }

    #[test]
    fn what_is_forbidden_or_cannot_be_understood_is_not_kept() {
        for cache_control in [
            "no-store",
            "No-Store, max-age=60",
            "max-age=60, private",
            "private=\"set-cookie\", max-age=60",
            "no-cache",
            "no-cache=\"a, b\", max-age=60",
            "no-store=1",
            "max-age=0",
            "max-age",
            "max-age=",
            "max-age=-1",
            "max-age=+60",
            "max-age=1.5",
            "max-age=1m",
            "max-age=\"60",
            "max-age=60, s-maxage=x",
            "max-age=60, x=\"no end",
        ] {
            assert_eq!(said(cache_control), Some(0), "{cache_control}");
        }
    }

    #[test]
    fn several_headers_are_read_as_one() {
        let kept = |lines| lifetime(&headers(lines)).map(|lifetime| lifetime.as_secs());
        assert_eq!(kept(&[("cache-control", b"public"), ("cache-control", b"max-age=9")]), Some(9));
        assert_eq!(kept(&[("cache-control", b"max-age=9"), ("cache-control", b"no-store")]), Some(0));
        assert_eq!(kept(&[("cache-control", b"\xff\x80, max-age=9")]), Some(9));
        assert_eq!(kept(&[("cache-control", b"max-age=9"), ("set-cookie", b"a=b")]), Some(0));
        assert_eq!(kept(&[("set-cookie", b"a=b")]), Some(0));
        assert_eq!(kept(&[("expires", b"0"), ("pragma", b"no-cache")]), None);
        assert_eq!(kept(&[("vary", b"accept, *"), ("cache-control", b"max-age=9")]), Some(0));
        assert_eq!(kept(&[("vary", b"accept"), ("vary", b" * ")]), Some(0));
        assert_eq!(kept(&[("vary", b"accept, x-*"), ("cache-control", b"max-age=9")]), Some(9));
    }

    #[test]
    fn the_time_that_a_response_was_kept_before_is_taken_off() {
        for (age, seconds) in [("10", 50), (" 10", 50), ("70", 0), ("x", 60), ("-1", 60), ("", 60)] {
            let headers = headers(&[("cache-control", b"max-age=60"), ("age", age.as_bytes())]);
            assert_eq!(lifetime(&headers), Some(Duration::from_secs(seconds)), "{age}");
        }
        assert_eq!(lifetime(&headers(&[("age", b"10")])), None);
    }

    proptest! {
        #[test]
        fn no_bytes_make_it_panic_and_a_careful_word_is_never_lost(
            before in proptest::collection::vec(proptest::sample::select(&b"a-=\", \\0\xff\t"[..]), 0..40),
        ) {
            let Ok(value) = HeaderValue::from_bytes(&before) else { return Ok(()) };
            let mut headers = HeaderMap::new();
            headers.append(CACHE_CONTROL, value.clone());
            headers.append(AGE, value);
            let _ = lifetime(&headers);
            headers.append(CACHE_CONTROL, HeaderValue::from_static("no-store"));
            prop_assert_eq!(lifetime(&headers), Some(Duration::ZERO));
        }

        #[test]
        fn no_header_value_makes_it_panic(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
            if let Ok(value) = HeaderValue::from_bytes(&bytes) {
                let _ = lifetime(&HeaderMap::from_iter([(CACHE_CONTROL, value.clone()), (AGE, value)]));
            }
        }
    }
}
