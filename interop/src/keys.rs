//! The keys that are asked for, and the value that each of them has.
//!
//! Ordinary ones by the thousand, and those that the family is known to lose on the way: whatever an escape, a router
//! or a URL library may mend. A value is made of its key's bytes, so that an answer to another key shows. Pure.

use std::hash::{DefaultHasher, Hasher};

use bytes::Bytes;

/// The bytes of a key.
pub(crate) type Key = Vec<u8>;

/// Keys that nobody has begin so.
pub(crate) const MISSING: &str = "missing:";

/// A key that begins so, with a number and a colon after it, has a value of that many bytes.
const SIZED: &[u8] = b"bytes:";

/// The longest value there is.
const LARGEST: usize = 1 << 20;

/// As long as a key may be, unless a node is told otherwise.
const LONGEST_KEY: usize = 4 << 10;

/// What stands before and after a number, so that there is such a key for each owner.
const SHAPES: &[(&[u8], &[u8])] = &[
    (b"a b", b""),
    (b" ", b" "),
    (b"a+b", b""),
    (b"+ +%20%2B", b"+"),
    (b"100%", b""),
    (b"%zz", b"%"),
    (b"a%2Fb", b"%2f"),
    (b"a/b/c", b""),
    (b"/abs", b""),
    (b"//abs", b""),
    (b"a//b", b""),
    (b"", b"/"),
    (b"", b"//"),
    (b"", b"/."),
    (b"", b"/.."),
    (b"./", b""),
    (b"../", b""),
    (b"a/./b", b""),
    (b"a/../b", b""),
    (b"...", b"..."),
    (b"a\0b", b"\0"),
    (b"\r\nX-Cache: no", b"\n"),
    (b"\x01\x1b\x1f", b"\x7f"),
    (b"\xff\xfe", b"\x80"),
    (b"\xc3(", b"\xc3"),
    ("Möhre ".as_bytes(), "\u{1f955}".as_bytes()),
    (b"a?b=c&d=", b"?"),
    (b"a#b", b"#"),
    (b";,:@&=$!*'()", b"~-_."),
    (b"\"<>\\^`{|}", b"[]"),
    (b"http://a:1/_groupcache/keys/", b""),
    (b"bytes:0:a b/", b"/"),
    (b"bytes:1:", b""),
    (b"bytes:65536:", b""),
    (b"bytes:1048576:a", b""),
    (b"bytes:1048576:a+b c//%", b""),
];

/// Keys that are whole as they stand.
const WHOLE: &[&[u8]] =
    &[b"..", b"//", b"/.", b"/..", b"a/../b", b"../..", b"%2E", b"%2E%2E", b"  ", b"++", b"%%"];

/// `count` keys as they are in most caches.
pub(crate) fn ordinary(count: usize) -> Vec<Key> {
    numbered("user:", "", count)
}

/// `count` keys of one shape.
pub(crate) fn numbered(before: &str, after: &str, count: usize) -> Vec<Key> {
    (0..count).map(|number| format!("{before}{number}{after}").into_bytes()).collect()
}

/// Keys of every troublesome kind: those of a shape once for each of the `owners`, each byte alone, the longest.
pub(crate) fn peculiar(owners: usize, owner: impl Fn(&[u8]) -> usize) -> Vec<Key> {
    let mut keys: Vec<Key> = (0..=u8::MAX).map(|byte| vec![byte]).collect();
    keys.extend(WHOLE.iter().map(|key| key.to_vec()));
    for (before, after) in SHAPES {
        keys.extend((0..owners).map(|wanted| shaped(before, after, |key| owner(key) == wanted)));
    }
    for filling in [b"k", b" ", b"+", b"/", b"%", b"\xff"] {
        for wanted in 0..owners {
            let shape = filling.repeat(LONGEST_KEY - 8);
            keys.push(shaped(&shape, b"", |key| owner(key) == wanted));
        }
    }
    keys
}

/// The first key of a shape that is `right`. There is one: the shares of a ring are never nothing.
pub(crate) fn shaped(before: &[u8], after: &[u8], right: impl Fn(&[u8]) -> bool) -> Key {
    let mut number = 0_u32;
    loop {
        let key = [before, number.to_string().as_bytes(), after].concat();
        if right(&key) {
            return key;
        }
        number += 1;
    }
}

/// Whether Go's ServeMux sends the request for such a key elsewhere: its path has an empty part, or a step.
///
/// The rule of Go up to 1.21, which cleans the decoded path. A later one redirects fewer.
pub(crate) fn is_redirected(key: &[u8]) -> bool {
    let parts: Vec<&[u8]> = key.split(|&byte| byte == b'/').collect();
    let last = parts.len() - 1;
    parts.iter().enumerate().any(|(at, part)| match *part {
        b"" => at < last,
        b"." | b".." => true,
        _ => false,
    })
}

/// The value of `key`: bytes that no other key has, save where there are too few of them to differ.
pub(crate) fn value(key: &[u8]) -> Bytes {
    let length = sized(key).unwrap_or_else(|| 16 + usize::from(block(key, 0)[0]));
    (0_u64..).flat_map(|at| block(key, at)).take(length).collect()
}

/// Eight bytes of the stream that a key stands for.
fn block(key: &[u8], at: u64) -> [u8; 8] {
    let mut hasher = DefaultHasher::new();
    hasher.write(key);
    hasher.write_u64(at);
    hasher.finish().to_le_bytes()
}

fn sized(key: &[u8]) -> Option<usize> {
    let rest = key.strip_prefix(SIZED)?;
    let digits = rest.split(|&byte| byte == b':').next()?;
    let length = std::str::from_utf8(digits).ok()?.parse().ok()?;
    (length <= LARGEST).then_some(length)
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::*;

    #[test]
    fn every_shape_has_a_key_for_each_owner_and_no_key_is_there_twice() {
        let owner = |key: &[u8]| usize::from(block(key, 1)[0]) % 3;
        let keys = peculiar(3, owner);
        let distinct: HashSet<&Key> = keys.iter().collect();
        assert_eq!(distinct.len(), keys.len());
        assert_eq!(keys.len(), 256 + WHOLE.len() + 3 * (SHAPES.len() + 6));
        assert!(keys.iter().all(|key| (1..=LONGEST_KEY).contains(&key.len())));
        for (before, after) in SHAPES {
            let owners: HashSet<usize> = keys
                .iter()
                .filter(|key| key.len() > before.len() + after.len())
                .filter(|key| key.starts_with(before) && key.ends_with(after))
                .map(|key| owner(key))
                .collect();
            assert_eq!(owners.len(), 3, "{}", before.escape_ascii());
        }
    }

    #[test]
    fn values_are_as_long_as_their_key_says_and_differ_otherwise() {
        assert_eq!(value(b"bytes:0:a b/7/").len(), 0);
        assert_eq!(value(b"bytes:1048576:a").len(), 1 << 20);
        assert_eq!(value(b"Tom"), value(b"Tom"));
        for (one, other) in [(&b"a b"[..], &b"a+b"[..]), (b"a//b", b"a/b"), (b"/abs", b"abs"), (b"\0", b"")] {
            assert_ne!(value(one), value(other));
        }
        let too_large = value(b"bytes:1048577:").len();
        assert!((16..272).contains(&too_large), "{too_large}");
    }

    #[test]
    fn go_redirects_empty_parts_and_steps_and_nothing_else() {
        for key in [&b"/"[..], b"/abs", b"a//b", b"a/./b", b"a/..", b".", b"..", b"x//", b"//"] {
            assert!(is_redirected(key), "{}", key.escape_ascii());
        }
        for key in [&b"a"[..], b"a/b", b"x/", b"...", b"a b", b"%2F", b".a", b"a.", b"\0"] {
            assert!(!is_redirected(key), "{}", key.escape_ascii());
        }
    }
}
