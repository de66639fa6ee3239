//! A key: bytes that are compared, hashed and shown as such, wherever they lie.
//!
//! Most keys are short, and each miss makes one: those lie in the key itself and are copied with it; only longer ones
//! are counted and shared.

use std::cmp::Ordering;
use std::fmt;
use std::hash::{Hash, Hasher};
use std::str::Utf8Error;
use std::sync::Arc;

/// The longest key that lies in itself: with its length and what tells the two kinds apart, three words.
const SHORT: usize = 22;

/// The name of one value inside a group: any bytes but none at all. Cheap to clone; one of up to 22 bytes takes no
/// allocation.
#[derive(Clone)]
pub struct Key(Bytes);

#[derive(Clone)]
enum Bytes {
    Short { length: u8, bytes: [u8; SHORT] },
    Long(Arc<[u8]>),
}

const _: () = assert!(size_of::<Key>() == 24);

impl Key {
    /// A key of these bytes, copied.
    pub fn new(bytes: &[u8]) -> Self {
        let mut short = [0; SHORT];
        Self(match (short.get_mut(..bytes.len()), u8::try_from(bytes.len())) {
            (Some(place), Ok(length)) => {
                place.copy_from_slice(bytes);
                Bytes::Short { length, bytes: short }
            }
            _ => Bytes::Long(Arc::from(bytes)),
        })
    }

    /// The key's bytes.
    pub fn as_bytes(&self) -> &[u8] {
        match &self.0 {
            Bytes::Short { length, bytes } => &bytes[..usize::from(*length)],
            Bytes::Long(bytes) => bytes,
        }
    }

    /// The key as text, for origins that know no other.
    ///
    /// # Errors
    /// Keys are bytes: one that is not UTF-8 is refused rather than changed, since a lossy reading would make two
    /// keys ask the origin for the same thing.
    pub fn to_str(&self) -> Result<&str, Utf8Error> {
        std::str::from_utf8(self.as_bytes())
    }
}

impl AsRef<[u8]> for Key {
    fn as_ref(&self) -> &[u8] {
        self.as_bytes()
    }
}

impl From<&str> for Key {
    fn from(text: &str) -> Self {
        Self::new(text.as_bytes())
    }
}

impl std::borrow::Borrow<[u8]> for Key {
    fn borrow(&self) -> &[u8] {
        self.as_bytes()
    }
}

impl PartialEq for Key {
    fn eq(&self, other: &Self) -> bool {
        self.as_bytes() == other.as_bytes()
    }
}

impl Eq for Key {}

impl PartialOrd for Key {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for Key {
    fn cmp(&self, other: &Self) -> Ordering {
        self.as_bytes().cmp(other.as_bytes())
    }
}

/// As its bytes hash, by which it can be looked up.
impl Hash for Key {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.as_bytes().hash(state);
    }
}

/// Escaped, and cut after 80 bytes: keys come from strangers and go into logs and error lines.
impl fmt::Display for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        const SHOWN: usize = 80;
        let bytes = self.as_bytes();
        for chunk in bytes[..bytes.len().min(SHOWN)].utf8_chunks() {
            write!(f, "{}", chunk.valid().escape_debug())?;
            write!(f, "{}", chunk.invalid().escape_ascii())?;
        }
        if bytes.len() > SHOWN { write!(f, "… ({} bytes)", bytes.len()) } else { Ok(()) }
    }
}

impl fmt::Debug for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Key({self})")
    }
}

#[cfg(test)]
mod tests {
    use std::collections::{BTreeSet, HashSet};

    use super::*;

    #[test]
    fn a_key_is_shown_escaped_and_cut() {
        assert_eq!(Key::new(b"a\n\x1b[31m\xff").to_string(), r"a\n\u{1b}[31m\xff");
        assert!(Key::new(&[b'x'; 5000]).to_string().len() < 110);
    }

    #[test]
    fn keys_of_any_length_are_their_bytes_and_equal_ordered_and_found_as_those_are() {
        let texts: Vec<Vec<u8>> = (0..=300).map(|length| vec![b'k'; length]).collect();
        let keys: Vec<Key> = texts.iter().map(|text| Key::new(text)).collect();
        let (hashed, sorted): (HashSet<Key>, BTreeSet<Key>) =
            (keys.iter().cloned().collect(), keys.iter().cloned().collect());
        for (key, text) in keys.iter().zip(&texts) {
            assert_eq!((key.as_bytes(), key.clone().as_bytes()), (&text[..], &text[..]));
            assert!(hashed.contains(&text[..]) && sorted.contains(&text[..]));
        }
        assert_eq!((hashed.len(), sorted.len()), (texts.len(), texts.len()));
        assert!(sorted.iter().map(Key::as_bytes).eq(texts.iter().map(|text| &text[..])));
        assert_ne!(Key::new(b"a"), Key::new(b"a\0"), "what lies behind a short key is none of it");
    }
}
