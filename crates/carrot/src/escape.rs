//! A key as one piece of a URL.
//!
//! All but the unreserved characters of RFC 3986 §2.3 is escaped, byte by byte, so that a key arrives as it is: with
//! slashes, dots, spaces or no text at all. A slash is escaped too: whatever stands in between may fold or resolve it.
//! `.` and `..` alone cannot be escaped so that every server takes them for a name. Pure.

use carrotcache::Key;
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, PercentEncode, percent_encode};

const RESERVED: &AsciiSet = &NON_ALPHANUMERIC.remove(b'-').remove(b'.').remove(b'_').remove(b'~');

/// The key as it stands in a path or a query.
pub fn escaped(key: &Key) -> PercentEncode<'_> {
    percent_encode(key.as_bytes(), RESERVED)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn all_but_the_unreserved_is_escaped() {
        let every: Vec<u8> = (0..=255).collect();
        let text = escaped(&Key::new(&every)).to_string();
        let plain: String = text.split('%').skip(1).filter_map(|escape| escape.get(2..)).collect();
        let unreserved = "-.0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZ_abcdefghijklmnopqrstuvwxyz~";
        assert_eq!(plain, unreserved);
        assert_eq!(text.matches('%').count(), 256 - unreserved.len());
        assert!(text.starts_with("%00%01") && text.ends_with("%FE%FF"), "{text}");
    }
}
