//! Request targets of the data front: which group and key a path and a query name.
//!
//! Pure. Paths are taken as they come: no dot-segments are resolved, no double slash is folded, a `+` in a path is a
//! plus. In a query a `+` is a space, as every HTML form and the first carrotCache have it.

use std::borrow::Cow;

use percent_encoding::percent_decode;

/// The group that `/api` means where none is named.
const API_GROUP: &str = "scores";

/// What a request is about.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Target<'a> {
    /// `/v1/{group}/{key…}?ttl=30s`
    Entry {
        /// The group, unescaped.
        group: Cow<'a, str>,
        /// The key, unescaped; empty where it is missing.
        key: Cow<'a, [u8]>,
        /// There is not even a slash behind the group: it is meant as a whole.
        is_whole: bool,
        /// The ttl, as it was written.
        ttl: Option<String>,
    },
    /// `/api?key=K&group=G`
    Api {
        /// The group, unescaped.
        group: Cow<'a, str>,
        /// The key, unescaped; empty where it is missing.
        key: Cow<'a, [u8]>,
    },
    /// `/owner/{group}/{key…}`
    Owner {
        /// The group, unescaped.
        group: Cow<'a, str>,
        /// The key, unescaped.
        key: Cow<'a, [u8]>,
    },
    /// Nothing of ours.
    Nowhere,
}

/// A target that is ours and makes no sense.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Bad {
    /// It began with `/api`.
    pub api: bool,
    /// What is wrong with it.
    pub why: Cow<'static, str>,
}

impl<'a> Target<'a> {
    /// Reads a path, and the query if there is one.
    ///
    /// # Errors
    /// On an escape that is none, on a group that is not text, and but for `/api` on a parameter that is not known.
    pub fn parse(path: &'a [u8], query: Option<&'a str>) -> Result<Self, Bad> {
        if path == b"/api" {
            return api(query.unwrap_or_default()).map_err(|why| Bad { api: true, why: why.into() });
        }
        let read = if let Some(rest) = path.strip_prefix(b"/v1/") {
            entry(rest, query)
        } else if let Some(rest) = path.strip_prefix(b"/owner/") {
            owner(rest, query)
        } else {
            return Ok(Self::Nowhere);
        };
        read.map_err(|why| Bad { api: false, why })
    }
}

fn entry<'a>(rest: &'a [u8], query: Option<&'a str>) -> Result<Target<'a>, Cow<'static, str>> {
    let (group, key) = group_and_key(rest)?;
    let ttl = query.map(only_ttl).transpose()?;
    Ok(Target::Entry { group, key, is_whole: !rest.contains(&b'/'), ttl })
}

fn owner<'a>(rest: &'a [u8], query: Option<&str>) -> Result<Target<'a>, Cow<'static, str>> {
    let (group, key) = group_and_key(rest)?;
    match query {
        Some(query) => Err(unknown(query.split('&').next().unwrap_or_default())),
        None => Ok(Target::Owner { group, key }),
    }
}

fn group_and_key(rest: &[u8]) -> Result<(Cow<'_, str>, Cow<'_, [u8]>), &'static str> {
    let slash = rest.iter().position(|byte| *byte == b'/').unwrap_or(rest.len());
    let (group, key) = (&rest[..slash], rest.get(slash + 1..).unwrap_or_default());
    Ok((text(unescape(group)?)?, unescape(key)?))
}

/// The ttl of a query that holds nothing else. Whatever else is there may be the rest of a key whose `?` was not
/// escaped, and without it the request would be about another key.
fn only_ttl(query: &str) -> Result<String, Cow<'static, str>> {
    match query.split_once('=') {
        Some(("ttl", ttl)) if !ttl.contains('&') => Ok(String::from_utf8_lossy(&form(ttl)?).into_owned()),
        _ => Err(unknown(query.split('&').find(|pair| !pair.starts_with("ttl=")).unwrap_or("a second ttl"))),
    }
}

fn unknown(parameter: &str) -> Cow<'static, str> {
    let name: String = parameter.split('=').next().unwrap_or_default().chars().take(80).collect();
    let shown = name.escape_debug();
    format!("unknown parameter: {shown}; a ? that belongs to a key is written %3F").into()
}

fn api(query: &str) -> Result<Target<'_>, &'static str> {
    let key = parameter(query, "key")?.unwrap_or_default();
    let group = parameter(query, "group")?;
    let group = group.map_or(Ok(API_GROUP.into()), text)?;
    Ok(Target::Api { group, key })
}

/// The first value of that name in a query.
fn parameter<'a>(query: &'a str, name: &str) -> Result<Option<Cow<'a, [u8]>>, &'static str> {
    for pair in query.split('&') {
        let (key, value) = pair.split_once('=').unwrap_or((pair, ""));
        if key == name {
            return form(value).map(Some);
        }
    }
    Ok(None)
}

fn text(bytes: Cow<'_, [u8]>) -> Result<Cow<'_, str>, &'static str> {
    let text = match bytes {
        Cow::Borrowed(bytes) => std::str::from_utf8(bytes).ok().map(Cow::Borrowed),
        Cow::Owned(bytes) => String::from_utf8(bytes).ok().map(Cow::Owned),
    };
    text.ok_or("the group is not UTF-8")
}

/// Undoes percent escapes, once, where a `+` is a space.
fn form(value: &str) -> Result<Cow<'_, [u8]>, &'static str> {
    if value.contains('+') {
        return Ok(unescape(value.replace('+', " ").as_bytes())?.into_owned().into());
    }
    unescape(value.as_bytes())
}

/// Undoes percent escapes, once.
fn unescape(bytes: &[u8]) -> Result<Cow<'_, [u8]>, &'static str> {
    let is_escape = |at: usize| {
        bytes.get(at + 1).is_some_and(u8::is_ascii_hexdigit)
            && bytes.get(at + 2).is_some_and(u8::is_ascii_hexdigit)
    };
    if (0..bytes.len()).any(|at| bytes[at] == b'%' && !is_escape(at)) {
        return Err("bad percent-escape");
    }
    Ok(percent_decode(bytes).into())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn entry(path: &str) -> (String, Vec<u8>) {
        match Target::parse(path.as_bytes(), None) {
            Ok(Target::Entry { group, key, .. }) => (group.into_owned(), key.into_owned()),
            other => panic!("{path}: {other:?}"),
        }
    }

    #[test]
    fn the_rest_of_the_path_is_the_key_unescaped_once_and_nothing_else() {
        for (path, key) in [
            ("/v1/g/Tom", &b"Tom"[..]),
            ("/v1/g/a/b/", b"a/b/"),
            ("/v1/g//abs", b"/abs"),
            ("/v1/g/a/../b", b"a/../b"),
            ("/v1/g/.", b"."),
            ("/v1/g/a+b%20c", b"a+b c"),
            ("/v1/g/%2525", b"%25"),
            ("/v1/g/%FF%00", b"\xff\0"),
            ("/v1/g/", b""),
            ("/v1/g", b""),
        ] {
            assert_eq!(entry(path), ("g".to_owned(), key.to_vec()), "{path}");
        }
        assert_eq!(entry("/v1/g%2Fh/k").0, "g/h");
    }

    #[test]
    fn a_group_is_meant_as_a_whole_only_where_no_slash_follows_it() {
        for (path, expected) in [("/v1/g", true), ("/v1/g%2F", true), ("/v1/g/", false), ("/v1/g/k", false)] {
            let Ok(Target::Entry { is_whole, .. }) = Target::parse(path.as_bytes(), None) else {
                panic!("{path}")
            };
            assert_eq!(is_whole, expected, "{path}");
        }
    }

    #[test]
    fn what_is_no_escape_is_refused_wherever_it_stands() {
        for path in ["/v1/g/%", "/v1/g/%2", "/v1/g/%zz", "/v1/%/k", "/v1/g/a%%20"] {
            assert_eq!(
                Target::parse(path.as_bytes(), None),
                Err(Bad { api: false, why: "bad percent-escape".into() }),
                "{path}"
            );
        }
        assert!(Target::parse(b"/v1/%FF/k", None).is_err(), "a group is text");
        assert!(matches!(Target::parse(b"/api", Some("key=%")), Err(Bad { api: true, .. })));
        assert!(Target::parse(b"/v1/g/k", Some("ttl=%")).is_err());
    }

    #[test]
    fn the_api_of_the_first_carrotcache_asks_scores_by_default() {
        let api = |query| Target::parse(b"/api", Some(query)).unwrap();
        let asked =
            |group: &'static str, key: &'static [u8]| Target::Api { group: group.into(), key: key.into() };
        assert_eq!(api("key=Tom"), asked("scores", b"Tom"));
        assert_eq!(api("x=1&key=a+b%2B&group=chars"), asked("chars", b"a b+"));
        assert_eq!(api(""), asked("scores", b""));
    }

    #[test]
    fn a_ttl_is_handed_on_as_written() {
        for (query, expected) in
            [(None, None), (Some("ttl=30s"), Some("30s")), (Some("ttl=3%30s"), Some("30s"))]
        {
            let Ok(Target::Entry { ttl, .. }) = Target::parse(b"/v1/g/k", query) else { panic!("{query:?}") };
            assert_eq!(ttl.as_deref(), expected);
        }
    }

    #[test]
    fn a_parameter_that_is_not_known_is_refused_by_its_name() {
        for (query, named) in [
            ("", ""),
            ("x=1", "x"),
            ("ttl", "ttl"),
            ("TTL=30s", "TTL"),
            ("page=2&ttl=30s", "page"),
            ("ttl=30s&page", "page"),
            ("ttl=30s&", ""),
            ("ttl=30s&ttl=40s", "a second ttl"),
            ("\u{1b}[31m", "\\u{1b}[31m"),
        ] {
            let Err(Bad { api: false, why }) = Target::parse(b"/v1/g/k", Some(query)) else {
                panic!("{query}")
            };
            assert_eq!(why, format!("unknown parameter: {named}; a ? that belongs to a key is written %3F"));
        }
        let Err(bad) = Target::parse(b"/v1/g/k", Some(&"x".repeat(5000))) else { panic!("it is long") };
        assert!(bad.why.len() < 200, "{}", bad.why);
    }

    #[test]
    fn whose_a_key_is_is_asked_by_the_same_path_and_without_parameters() {
        for (path, key) in
            [("/owner/g/Tom", &b"Tom"[..]), ("/owner/g//a/../%FF", b"/a/../\xff"), ("/owner/g", b"")]
        {
            let asked = Target::Owner { group: "g".into(), key: key.into() };
            assert_eq!(Target::parse(path.as_bytes(), None), Ok(asked), "{path}");
        }
        for (query, named) in [("ttl=30s", "ttl"), ("x=1&y", "x"), ("", "")] {
            let why = format!("unknown parameter: {named}; a ? that belongs to a key is written %3F").into();
            assert_eq!(Target::parse(b"/owner/g/Tom", Some(query)), Err(Bad { api: false, why }), "{query}");
        }
        assert!(Target::parse(b"/owner/g/%zz", None).is_err());
    }

    #[test]
    fn other_paths_are_nowhere() {
        for path in ["/owner", "/owners/g/k", "/", "/v1", "/v2/g/k", "/apis", "/api/", "*"] {
            assert_eq!(Target::parse(path.as_bytes(), None), Ok(Target::Nowhere), "{path}");
        }
    }
}
