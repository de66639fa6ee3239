//! The words of the library: keys (`units/key.rs`), group names, byte sizes and spans of time.
//!
//! Each is a type of its own, so that a size cannot be taken for a count nor a group for a key. Sizes and spans
//! are read with their unit and refused without one: `64` alone has been read as bytes, kilobytes and entries
//! by one reader each.

use std::fmt;
use std::str::FromStr;
use std::sync::Arc;
use std::time::Duration;

mod key;

pub use key::Key;

/// The name of a group: 1 to 64 of `A–Z a–z 0–9 _ . -`, and not `.`, `..` or `api`. Cheap to clone.
///
/// The alphabet is what needs no escape in a path, a metric label or a configuration; the three names would be
/// read as something else in a path.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct GroupName(Arc<str>);

/// A text that is no group name.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0:?} is not a group name: 1 to 64 of A-Z a-z 0-9 _ . - and not \".\", \"..\" or \"api\"")]
pub struct BadGroupName(String);

impl GroupName {
    /// Checks the text and makes it a name.
    ///
    /// # Errors
    /// When the text is outside the alphabet above.
    pub fn new(text: &str) -> Result<Self, BadGroupName> {
        let fits = (1..=64).contains(&text.len())
            && text.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'_' | b'.' | b'-'))
            && !matches!(text, "." | ".." | "api");
        if fits { Ok(Self(Arc::from(text))) } else { Err(BadGroupName(text.chars().take(80).collect())) }
    }

    /// The name as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for GroupName {
    type Err = BadGroupName;
    fn from_str(text: &str) -> Result<Self, BadGroupName> {
        Self::new(text)
    }
}

impl fmt::Display for GroupName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::borrow::Borrow<str> for GroupName {
    fn borrow(&self) -> &str {
        &self.0
    }
}

/// An amount of memory, in bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ByteSize(u64);

impl ByteSize {
    /// This many bytes.
    pub const fn bytes(n: u64) -> Self {
        Self(n)
    }

    /// This many KiB, 1024 bytes each.
    pub const fn kib(n: u64) -> Self {
        Self(n.saturating_mul(1 << 10))
    }

    /// This many MiB.
    pub const fn mib(n: u64) -> Self {
        Self(n.saturating_mul(1 << 20))
    }

    /// This many GiB.
    pub const fn gib(n: u64) -> Self {
        Self(n.saturating_mul(1 << 30))
    }

    /// The amount as a number of bytes.
    pub const fn as_u64(self) -> u64 {
        self.0
    }
}

/// The largest unit that divides the amount, so that what is printed can be read back.
impl fmt::Display for ByteSize {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (unit, shift) in [("GiB", 30), ("MiB", 20), ("KiB", 10)] {
            if self.0 != 0 && self.0.trailing_zeros() >= shift {
                return write!(f, "{}{unit}", self.0 >> shift);
            }
        }
        write!(f, "{}B", self.0)
    }
}

/// A text that is no size or no span: what it was, and what was expected.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{text:?} is not {expected}")]
pub struct BadUnit {
    text: String,
    expected: &'static str,
}

/// Splits `64MiB` into its whole number and its unit.
fn number_and_unit(text: &str) -> Option<(u64, &str)> {
    let end = text.find(|c: char| !c.is_ascii_digit())?;
    Some((text[..end].parse().ok()?, text[end..].trim_start()))
}

impl FromStr for ByteSize {
    type Err = BadUnit;
    fn from_str(text: &str) -> Result<Self, BadUnit> {
        let bad = || BadUnit {
            text: text.chars().take(40).collect(),
            expected: "a size with its unit: B, KiB, MiB or GiB, as in 64MiB",
        };
        let (n, unit) = number_and_unit(text.trim()).ok_or_else(bad)?;
        let scale = match unit {
            "B" => 1,
            "KiB" => 1 << 10,
            "MiB" => 1 << 20,
            "GiB" => 1 << 30,
            _ => return Err(bad()),
        };
        n.checked_mul(scale).map(Self).ok_or_else(bad)
    }
}

/// A length of time read from text with its unit: `250ms`, `60s`, `5m`, `12h`, `7d`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Span(pub Duration);

impl FromStr for Span {
    type Err = BadUnit;
    fn from_str(text: &str) -> Result<Self, BadUnit> {
        let bad = || BadUnit {
            text: text.chars().take(40).collect(),
            expected: "a time with its unit: ms, s, m, h or d, as in 5m",
        };
        let (n, unit) = number_and_unit(text.trim()).ok_or_else(bad)?;
        let scale_ms: u64 = match unit {
            "ms" => 1,
            "s" => 1_000,
            "m" => 60_000,
            "h" => 3_600_000,
            "d" => 86_400_000,
            _ => return Err(bad()),
        };
        n.checked_mul(scale_ms).map(|ms| Self(Duration::from_millis(ms))).ok_or_else(bad)
    }
}

impl fmt::Display for Span {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let ms = self.0.as_millis();
        for (unit, scale) in [("d", 86_400_000), ("h", 3_600_000), ("m", 60_000), ("s", 1_000)] {
            if ms != 0 && ms.is_multiple_of(scale) {
                return write!(f, "{}{unit}", ms / scale);
            }
        }
        write!(f, "{ms}ms")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_and_spans_are_read_with_their_unit_and_printed_so_that_they_read_back() {
        for text in ["0B", "5B", "4KiB", "64MiB", "3GiB"] {
            assert_eq!(text.parse::<ByteSize>().unwrap().to_string(), text);
        }
        for text in ["250ms", "60s", "5m", "12h", "7d"] {
            let span: Span = text.parse().unwrap();
            assert_eq!(span.to_string().parse::<Span>().unwrap(), span, "{text}");
        }
    }

    #[test]
    fn a_number_without_its_unit_is_refused_and_the_line_says_what_was_expected() {
        for text in ["64", "", "MiB", "-1s", "1.5MiB", "99999999999GiB", "64mib", "5 parsecs"] {
            assert!(text.parse::<ByteSize>().is_err(), "{text}");
            assert!(text.parse::<Span>().is_err(), "{text}");
        }
        let line = "64".parse::<ByteSize>().unwrap_err().to_string();
        assert_eq!(line, "\"64\" is not a size with its unit: B, KiB, MiB or GiB, as in 64MiB");
    }

    #[test]
    fn group_names_hold_to_their_alphabet() {
        for good in ["scores", "a", "A-Z_0.9", "apis", "..."] {
            assert!(GroupName::new(good).is_ok(), "{good}");
        }
        let long = "x".repeat(65);
        for bad in ["", ".", "..", "api", "a/b", "a b", "ü", "a+b", "a\n", long.as_str()] {
            assert!(GroupName::new(bad).is_err(), "{bad}");
        }
    }
}
