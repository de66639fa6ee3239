//! The capacities that are asked for: numbers of entries, sizes, or parts of what a trace holds.
//!
//! Pure. A size demands its unit and a number of entries has none, so that neither is taken for the other.

use std::fmt;
use std::str::FromStr;

use carrotcache::{BadUnit, ByteSize};

use crate::replay::weigh::Weigh;

/// How many digits a part may have behind its point, and before it: more than anybody means.
const DIGITS: usize = 9;

/// A capacity as it is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Capacity {
    /// So many entries.
    Entries(u64),
    /// So many bytes.
    Size(ByteSize),
    /// A part of what all keys weigh together, in thousand millionths of a hundredth.
    Part(u64),
}

/// Thousand millionths.
const ONE_PERCENT: u64 = 10_u64.pow(DIGITS as u32);

/// What is tried where nothing is asked for: three steps a decade.
pub const CURVE: [Capacity; 10] = [
    Capacity::Part(ONE_PERCENT / 10),
    Capacity::Part(ONE_PERCENT / 5),
    Capacity::Part(ONE_PERCENT / 2),
    Capacity::Part(ONE_PERCENT),
    Capacity::Part(ONE_PERCENT * 2),
    Capacity::Part(ONE_PERCENT * 5),
    Capacity::Part(ONE_PERCENT * 10),
    Capacity::Part(ONE_PERCENT * 20),
    Capacity::Part(ONE_PERCENT * 50),
    Capacity::Part(ONE_PERCENT * 100),
];

impl Capacity {
    /// In entries or bytes, of a trace whose keys weigh `whole` together. Rounded down, but a part is not nothing.
    pub fn of(self, whole: u64) -> u64 {
        match self {
            Self::Entries(entries) => entries,
            Self::Size(size) => size.as_u64(),
            Self::Part(0) => 0,
            Self::Part(part) => {
                let units = u128::from(part) * u128::from(whole) / u128::from(ONE_PERCENT * 100);
                u64::try_from(units).unwrap_or(u64::MAX).max(1)
            }
        }
    }
}

impl fmt::Display for Capacity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Entries(entries) => write!(f, "{entries}"),
            Self::Size(size) => write!(f, "{size}"),
            Self::Part(part) => {
                let digits = format!("{:0width$}", part % ONE_PERCENT, width = DIGITS);
                let digits = digits.trim_end_matches('0');
                let point = if digits.is_empty() { "" } else { "." };
                write!(f, "{}{point}{digits}%", part / ONE_PERCENT)
            }
        }
    }
}

/// A text that is no capacity.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum BadCapacity {
    /// Neither a number of entries nor a part.
    #[error("{0:?} is no capacity: entries as in 1000, a size as in 64MiB, or a part as in 0.1%")]
    Form(String),
    /// A size that is out of all bounds.
    #[error(transparent)]
    Unit(#[from] BadUnit),
}

impl FromStr for Capacity {
    type Err = BadCapacity;
    fn from_str(text: &str) -> Result<Self, BadCapacity> {
        let refused = || BadCapacity::Form(text.chars().take(40).collect());
        if let Some(part) = text.strip_suffix('%') {
            return part_of(part).map(Self::Part).ok_or_else(refused);
        }
        if text.is_empty() || !text.ends_with(|c: char| c.is_ascii_alphabetic()) {
            let digits = !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
            return text.parse().ok().filter(|_| digits).map(Self::Entries).ok_or_else(refused);
        }
        Ok(Self::Size(text.parse()?))
    }
}

/// A decimal number in thousand millionths.
fn part_of(text: &str) -> Option<u64> {
    let (whole, behind) = text.split_once('.').unwrap_or((text, "0"));
    let digits =
        |text: &str| (1..=DIGITS).contains(&text.len()) && text.bytes().all(|byte| byte.is_ascii_digit());
    if !digits(whole) || !digits(behind) {
        return None;
    }
    format!("{whole}{behind:0<DIGITS$}").parse().ok()
}

/// A capacity that is measured otherwise than entries are weighed.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Mismatch {
    /// Entries, where bytes are weighed.
    #[error(
        "--capacity {0} is a number of entries: a size demands a unit, as in 64MiB, and entries go with --weigh entries"
    )]
    Unitless(u64),
    /// A size, where entries are counted.
    #[error("--capacity {0} is a size, which goes with --weigh payload or real")]
    Size(ByteSize),
}

/// How entries are weighed, so that all capacities fit: as is said, else by payload where one is a size.
///
/// # Errors
/// The first capacity that is measured otherwise.
pub fn weighed(capacities: &[Capacity], said: Option<Weigh>) -> Result<Weigh, Mismatch> {
    let sizes = capacities.iter().any(|capacity| matches!(capacity, Capacity::Size(_)));
    let weigh = said.unwrap_or(if sizes { Weigh::Payload } else { Weigh::Entries });
    for capacity in capacities {
        match (capacity, weigh) {
            (Capacity::Size(size), Weigh::Entries) => return Err(Mismatch::Size(*size)),
            (Capacity::Entries(entries), Weigh::Payload | Weigh::Real) => {
                return Err(Mismatch::Unitless(*entries));
            }
            _ => {}
        }
    }
    Ok(weigh)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn capacity(text: &str) -> Capacity {
        text.parse().unwrap()
    }

    #[test]
    fn capacities_read_back_as_they_are_written() {
        for text in ["0", "1000", "64MiB", "1B", "0.1%", "100%", "12.5%", "0.000000001%", "0%"] {
            assert_eq!(capacity(text).to_string(), text);
        }
        assert_eq!(capacity("1.50%"), capacity("1.5%"));
        for text in [
            "",
            "%",
            ".5%",
            "1.%",
            "-1%",
            "1e3",
            "1e-1%",
            "+5",
            "5 %",
            "1_000",
            "0.0000000001%",
            "99999999999999999999",
        ] {
            let said = text.parse::<Capacity>().unwrap_err().to_string();
            assert!(said.contains("no capacity") || said.contains("not a size"), "{text}: {said}");
        }
    }

    #[test]
    fn a_part_is_rounded_down_and_at_least_one() {
        assert_eq!(capacity("0.1%").of(48_974), 48);
        assert_eq!(capacity("10%").of(76_349), 7634);
        assert_eq!(capacity("100%").of(76_349), 76_349);
        assert_eq!(capacity("0.1%").of(7), 1);
        assert_eq!(capacity("0%").of(7), 0);
        assert_eq!(capacity("1000%").of(7), 70);
        assert_eq!(capacity("999999999%").of(u64::MAX), u64::MAX);
        assert_eq!((capacity("1000").of(7), capacity("4KiB").of(7)), (1000, 4096));
    }

    #[test]
    fn capacities_say_how_entries_are_weighed_and_have_to_agree_with_it() {
        let (part, size, entries) = (capacity("1%"), capacity("64MiB"), capacity("1000"));
        assert_eq!(weighed(&[part, entries], None), Ok(Weigh::Entries));
        assert_eq!(weighed(&[part, size], None), Ok(Weigh::Payload));
        assert_eq!(weighed(&[part, size], Some(Weigh::Real)), Ok(Weigh::Real));
        assert_eq!(weighed(&[size, entries], None), Err(Mismatch::Unitless(1000)));
        assert_eq!(weighed(&[entries], Some(Weigh::Real)), Err(Mismatch::Unitless(1000)));
        assert_eq!(weighed(&[size], Some(Weigh::Entries)), Err(Mismatch::Size(ByteSize::mib(64))));
    }
}
