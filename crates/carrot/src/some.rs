//! Amounts that are more than nothing, as they are written: on a command line, in a file, in a request.
//!
//! Pure. A deadline of no time would fail every load, and a cache of no size hold nothing: most likely neither is meant.

use std::str::FromStr;
use std::time::Duration;

use carrotcache::{BadUnit, ByteSize, Span};

/// A time that is longer than nothing.
#[derive(Clone, Copy, Debug)]
pub struct SomeTime(pub Duration);

/// A size that is larger than nothing.
#[derive(Clone, Copy, Debug)]
pub struct SomeSize(pub ByteSize);

/// Why a text is no such amount.
#[derive(Clone, Debug, thiserror::Error)]
pub enum BadAmount {
    /// It has not the form of one.
    #[error(transparent)]
    Unit(#[from] BadUnit),
    /// A time of zero.
    #[error("it has to be longer than nothing")]
    NoTime,
    /// A size of zero.
    #[error("it has to be larger than nothing")]
    NoSize,
}

impl FromStr for SomeTime {
    type Err = BadAmount;
    fn from_str(text: &str) -> Result<Self, BadAmount> {
        let Span(time) = text.parse()?;
        if time.is_zero() { Err(BadAmount::NoTime) } else { Ok(Self(time)) }
    }
}

impl FromStr for SomeSize {
    type Err = BadAmount;
    fn from_str(text: &str) -> Result<Self, BadAmount> {
        let size: ByteSize = text.parse()?;
        if size.as_u64() == 0 { Err(BadAmount::NoSize) } else { Ok(Self(size)) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_is_refused_however_it_is_written() {
        for text in ["0s", "0ms", "0d"] {
            let said = text.parse::<SomeTime>().unwrap_err().to_string();
            assert_eq!(said, "it has to be longer than nothing");
        }
        for text in ["0B", "0GiB"] {
            let said = text.parse::<SomeSize>().unwrap_err().to_string();
            assert_eq!(said, "it has to be larger than nothing");
        }
        assert_eq!("1ms".parse::<SomeTime>().unwrap().0, Duration::from_millis(1));
        assert_eq!("1B".parse::<SomeSize>().unwrap().0, ByteSize::bytes(1));
        let said = "5".parse::<SomeTime>().unwrap_err().to_string();
        assert!(said.starts_with("\"5\" is not a time with its unit"), "{said}");
    }
}
