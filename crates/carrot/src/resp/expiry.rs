//! Times to live as commands say them, and as replies tell them.
//!
//! Moments are the wall clock's, as in Redis; what is kept is how long from now.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use crate::resp::integer::integer;
use crate::resp::refused;
use crate::resp::reply::Reply;

/// How a number says until when.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Said {
    /// Seconds from now.
    Seconds,
    /// Milliseconds from now.
    Millis,
    /// A moment, in seconds since 1970.
    AtSecond,
    /// A moment, in milliseconds since 1970.
    AtMilli,
}

impl Said {
    /// By the word of an option: EX, PX, EXAT, PXAT.
    pub fn of(option: &[u8]) -> Option<Self> {
        let said =
            [("ex", Self::Seconds), ("px", Self::Millis), ("exat", Self::AtSecond), ("pxat", Self::AtMilli)];
        said.into_iter().find(|(word, _)| option.eq_ignore_ascii_case(word.as_bytes())).map(|(_, said)| said)
    }

    /// How long from now; zero where that has passed. For a value that is being stored: no time is an error.
    ///
    /// # Errors
    /// The reply of `command`, where the number is none, or no time.
    pub fn ttl(self, number: &[u8], command: &str) -> Result<Duration, Reply> {
        let number = integer(number).ok_or_else(refused::not_a_number)?;
        let bad = || refused::bad_expiry(command);
        let number = u64::try_from(number).ok().filter(|number| *number > 0).ok_or_else(bad)?;
        let millis = match self {
            Self::Seconds | Self::AtSecond => number.checked_mul(1000),
            Self::Millis | Self::AtMilli => Some(number),
        };
        let millis = millis.filter(|millis| *millis <= i64::MAX as u64).ok_or_else(bad)?;
        match self {
            Self::Seconds | Self::Millis if millis > i64::MAX as u64 - now_ms() => Err(bad()),
            Self::Seconds | Self::Millis => Ok(Duration::from_millis(millis)),
            Self::AtSecond | Self::AtMilli => Ok(Duration::from_millis(millis.saturating_sub(now_ms()))),
        }
    }
}

impl Said {
    /// How long from now; zero where that has passed. For what is stored already: no time, or less, ends it.
    ///
    /// # Errors
    /// The reply of `command`, where the number is none, or so large that no clock comes there.
    pub fn left(self, number: &[u8], command: &str) -> Result<Duration, Reply> {
        let number = integer(number).ok_or_else(refused::not_a_number)?;
        let scale = match self {
            Self::Seconds | Self::AtSecond => 1000,
            Self::Millis | Self::AtMilli => 1,
        };
        let now = i64::try_from(now_ms()).unwrap_or(i64::MAX);
        let base = match self {
            Self::Seconds | Self::Millis => now,
            Self::AtSecond | Self::AtMilli => 0,
        };
        let end = number.checked_mul(scale).and_then(|millis| millis.checked_add(base));
        let left = end.ok_or_else(|| refused::bad_expiry(command))?.saturating_sub(now);
        Ok(Duration::from_millis(u64::try_from(left).unwrap_or(0)))
    }
}

/// Milliseconds since 1970.
pub fn now_ms() -> u64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    u64::try_from(since.as_millis()).unwrap_or(u64::MAX)
}

/// A time as a number of milliseconds.
pub fn millis(time: Duration) -> i64 {
    i64::try_from(time.as_millis()).unwrap_or(i64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ttl(said: Said, number: &str) -> Result<Duration, Reply> {
        said.ttl(number.as_bytes(), "set")
    }

    #[test]
    fn spans_are_taken_as_they_are_and_moments_from_now() {
        assert_eq!(ttl(Said::Seconds, "10"), Ok(Duration::from_secs(10)));
        assert_eq!(ttl(Said::Millis, "10"), Ok(Duration::from_millis(10)));
        assert_eq!(ttl(Said::AtSecond, "1"), Ok(Duration::ZERO));
        let later = now_ms() + 60_000;
        let from_now = ttl(Said::AtMilli, &later.to_string()).unwrap();
        assert!(from_now <= Duration::from_secs(60) && from_now > Duration::ZERO, "{from_now:?}");
    }

    #[test]
    fn what_is_no_time_is_refused_in_redis_s_words() {
        for number in ["0", "-1", "9223372036854775807", "9223372036854776"] {
            let said = "ERR invalid expire time in 'set' command";
            assert_eq!(ttl(Said::Seconds, number), Err(Reply::error(said)), "{number}");
        }
        assert_eq!(ttl(Said::Millis, "9223372036854775807"), Err(refused::bad_expiry("set")));
        for number in ["", "x", "1.5", "99999999999999999999"] {
            assert_eq!(ttl(Said::AtSecond, number), Err(refused::not_a_number()), "{number}");
        }
    }

    #[test]
    fn what_is_stored_can_be_given_a_time_that_has_passed() {
        let left = |said: Said, number: &str| said.left(number.as_bytes(), "expire");
        assert_eq!(left(Said::Seconds, "10"), Ok(Duration::from_secs(10)));
        assert_eq!(left(Said::Millis, "10"), Ok(Duration::from_millis(10)));
        for (said, number) in [
            (Said::Seconds, "0"),
            (Said::Seconds, "-1"),
            (Said::Millis, "-9223372036854775808"),
            (Said::AtSecond, "1"),
            (Said::AtMilli, "-5"),
        ] {
            assert_eq!(left(said, number), Ok(Duration::ZERO), "{said:?} {number}");
        }
        let later = left(Said::AtMilli, &(now_ms() + 60_000).to_string()).unwrap();
        assert!(later <= Duration::from_secs(60) && later > Duration::ZERO, "{later:?}");
        for (said, number) in [
            (Said::Seconds, "9223372036854776"),
            (Said::Seconds, "-9223372036854776"),
            (Said::Millis, "9223372036854775807"),
            (Said::AtSecond, "9223372036854775807"),
        ] {
            assert_eq!(left(said, number), Err(refused::bad_expiry("expire")), "{said:?} {number}");
        }
        assert!(left(Said::AtMilli, "9223372036854775807").is_ok());
        for number in ["", "x", "1.5", "99999999999999999999"] {
            assert_eq!(left(Said::Seconds, number), Err(refused::not_a_number()), "{number}");
        }
    }

    #[test]
    fn options_are_known_in_any_case() {
        assert_eq!(Said::of(b"pXaT"), Some(Said::AtMilli));
        assert_eq!(Said::of(b"keepttl"), None);
    }
}
