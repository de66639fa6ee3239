//! The origin that needs nothing: a fixed table of keys and values, written in the URL itself.
//!
//! `table:Tom=630,Jack=589`. A comma ends an entry and the first `=` ends its key; either is had by its percent
//! escape, `%2C` and `%3D`, as any byte is. For demonstrations and tests: it never changes and never fails.

use std::collections::HashMap;
use std::sync::atomic::{AtomicU64, Ordering};

use bytes::Bytes;
use carrotcache::Key;
use percent_encoding::percent_decode_str;

use crate::origin::error::BadOriginUrl;

/// The entries of a table.
pub type Entries = HashMap<Key, Bytes>;

/// A table that is asked.
#[derive(Debug)]
pub struct Table {
    entries: Entries,
    loads: AtomicU64,
}

impl Table {
    /// A table of these entries.
    pub fn new(entries: Entries) -> Self {
        Self { entries, loads: AtomicU64::new(0) }
    }

    /// The value of `key`. Never waits.
    pub fn load(&self, key: &Key) -> Option<Bytes> {
        self.loads.fetch_add(1, Ordering::Relaxed);
        self.entries.get(key).cloned()
    }

    /// How often it was asked.
    pub fn loads(&self) -> u64 {
        self.loads.load(Ordering::Relaxed)
    }
}

/// Reads `k=v,k2=v2`, what stands behind `table:`.
///
/// # Errors
/// The first entry that is none, or whose key was there before.
pub fn parse(text: &str) -> Result<Entries, BadOriginUrl> {
    let mut entries = Entries::new();
    for entry in text.split(',') {
        let (key, value) = parse_entry(entry)?;
        let shown = key.to_string();
        if entries.insert(key, value).is_some() {
            return Err(BadOriginUrl::Duplicate(shown));
        }
    }
    Ok(entries)
}

fn parse_entry(entry: &str) -> Result<(Key, Bytes), BadOriginUrl> {
    let shown = || entry.chars().take(80).collect();
    let (key, value) = entry.split_once('=').ok_or_else(|| BadOriginUrl::Entry(shown()))?;
    if key.is_empty() {
        return Err(BadOriginUrl::Entry(shown()));
    }
    match (decode(key), decode(value)) {
        (Some(key), Some(value)) => Ok((Key::new(&key), Bytes::from(value))),
        _ => Err(BadOriginUrl::Escape(shown())),
    }
}

/// Decodes percent escapes; `None` where one is broken, which the decoder itself would let through as it stands.
fn decode(text: &str) -> Option<Vec<u8>> {
    let broken = text.split('%').skip(1).any(|rest| !starts_with_two_hex_digits(rest));
    (!broken).then(|| percent_decode_str(text).collect())
}

fn starts_with_two_hex_digits(text: &str) -> bool {
    text.len() >= 2 && text.bytes().take(2).all(|byte| byte.is_ascii_hexdigit())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn value(text: &str, key: &[u8]) -> Option<Bytes> {
        Table::new(parse(text).unwrap()).load(&Key::new(key))
    }

    #[test]
    fn a_table_gives_what_was_written_and_nothing_else() {
        let text = "Tom=630,Jack=589,empty=";
        assert_eq!(value(text, b"Tom").as_deref(), Some(&b"630"[..]));
        assert_eq!(value(text, b"Jack").as_deref(), Some(&b"589"[..]));
        assert_eq!(value(text, b"empty").as_deref(), Some(&b""[..]));
        assert_eq!(value(text, b"Tim"), None);
    }

    #[test]
    fn escapes_give_commas_equals_signs_percent_signs_and_any_byte() {
        assert_eq!(value("a%2Cb=c%2cd", b"a,b").as_deref(), Some(&b"c,d"[..]));
        assert_eq!(value("a%3Db=c", b"a=b").as_deref(), Some(&b"c"[..]));
        assert_eq!(value("k=100%25", b"k").as_deref(), Some(&b"100%"[..]));
        assert_eq!(value("%FF=%00", b"\xff").as_deref(), Some(&b"\x00"[..]));
        assert_eq!(value("k=aGk=", b"k").as_deref(), Some(&b"aGk="[..]), "only the first = ends the key");
        assert_eq!(value("a+b=c+d", b"a+b").as_deref(), Some(&b"c+d"[..]));
        assert_eq!(value("ключ=значение", "ключ".as_bytes()).as_deref(), Some("значение".as_bytes()));
    }

    #[test]
    fn what_is_no_table_is_refused_with_the_entry_at_fault() {
        for (text, line) in [
            ("", "table entry \"\" is not key=value"),
            ("Tom=1,", "table entry \"\" is not key=value"),
            ("Tom", "table entry \"Tom\" is not key=value"),
            ("=1", "table entry \"=1\" is not key=value"),
            ("Tom=1,Tom=1", "table has two values for the key Tom"),
            ("Tom=1,T%6fm=2", "table has two values for the key Tom"),
            ("a=%", "table entry \"a=%\" has a % without two hexadecimal digits behind it; % itself is %25"),
            (
                "a=%2",
                "table entry \"a=%2\" has a % without two hexadecimal digits behind it; % itself is %25",
            ),
            (
                "%zz=1",
                "table entry \"%zz=1\" has a % without two hexadecimal digits behind it; % itself is %25",
            ),
            (
                "a=%é",
                "table entry \"a=%é\" has a % without two hexadecimal digits behind it; % itself is %25",
            ),
        ] {
            assert_eq!(parse(text).unwrap_err().to_string(), line);
        }
    }

    #[test]
    fn every_load_is_counted_found_or_not() {
        let table = Table::new(parse("a=1").unwrap());
        table.load(&Key::from("a"));
        table.load(&Key::from("b"));
        assert_eq!(table.loads(), 2);
    }
}
