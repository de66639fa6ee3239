//! How the words of `carrot bench` are read: counts, a rate, an exponent, the names of keys.

use std::fs;
use std::path::Path;
use std::str::FromStr;
use std::sync::Arc;

use anyhow::{Context, ensure};
use carrot_load::keys::Names;

/// The largest file of keys.
const FILE_MAX: u64 = 1 << 30;

/// A whole number from 1 to `MOST`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Count<const MOST: usize>(pub usize);

/// Requests a second.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Rate(pub f64);

/// The exponent of Zipf's law.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Popularity(pub f64);

/// A key's name, with a place for its number.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Template {
    before: Arc<str>,
    behind: Arc<str>,
}

/// A word that cannot be.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct BadWord(String);

impl<const MOST: usize> FromStr for Count<MOST> {
    type Err = BadWord;
    fn from_str(text: &str) -> Result<Self, BadWord> {
        let number = text.parse().ok().filter(|number| (1..=MOST).contains(number));
        number.map(Self).ok_or_else(|| BadWord(format!("{text:?} is not a whole number from 1 to {MOST}")))
    }
}

impl FromStr for Rate {
    type Err = BadWord;
    fn from_str(text: &str) -> Result<Self, BadWord> {
        let rate = text.parse().ok().filter(|rate| (0.1..=10_000_000.0).contains(rate));
        rate.map(Self).ok_or_else(|| {
            BadWord(format!("{text:?} is not a number of requests a second from 0.1 to 10000000"))
        })
    }
}

impl FromStr for Popularity {
    type Err = BadWord;
    fn from_str(text: &str) -> Result<Self, BadWord> {
        let exponent = text.parse().ok().filter(|exponent| (0.01..=10.0).contains(exponent));
        exponent.map(Self).ok_or_else(|| BadWord(format!("{text:?} is not an exponent from 0.01 to 10")))
    }
}

impl FromStr for Template {
    type Err = BadWord;
    fn from_str(text: &str) -> Result<Self, BadWord> {
        match text.split_once("{}") {
            Some((before, behind)) if !behind.contains("{}") => {
                Ok(Self { before: before.into(), behind: behind.into() })
            }
            _ => Err(BadWord(format!("{text:?} does not have one {{}} for the number of a key"))),
        }
    }
}

impl Template {
    /// All of this form.
    pub fn names(&self) -> Names {
        Names::Numbered { before: self.before.clone(), behind: self.behind.clone(), digits: 0 }
    }
}

/// The lines of a file; empty ones are no keys.
///
/// # Errors
/// A file that cannot be read, is over 1 GiB, or has no keys.
pub fn lines(file: &Path) -> anyhow::Result<Arc<[Box<[u8]>]>> {
    let read = || -> anyhow::Result<Arc<[Box<[u8]>]>> {
        ensure!(fs::metadata(file)?.len() <= FILE_MAX, "it is over 1 GiB");
        let text = fs::read(file)?;
        let lines = text.split(|b| *b == b'\n').map(|line| line.strip_suffix(b"\r").unwrap_or(line));
        let keys: Arc<[_]> = lines.filter(|line| !line.is_empty()).map(Box::from).collect();
        ensure!(!keys.is_empty(), "it has no keys");
        Ok(keys)
    };
    read().with_context(|| format!("keys {}", file.display()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_that_cannot_be_are_refused_with_what_may_be() {
        let said = |fault: BadWord| fault.to_string();
        assert_eq!(said("0".parse::<Count<9>>().unwrap_err()), "\"0\" is not a whole number from 1 to 9");
        assert!("10".parse::<Count<9>>().is_err() && "-1".parse::<Count<9>>().is_err());
        assert_eq!("9".parse(), Ok(Count::<9>(9)));
        for rate in ["0", "-1", "nan", "inf", "1e9", "fast"] {
            assert!(rate.parse::<Rate>().is_err(), "{rate}");
        }
        assert_eq!("2500.5".parse(), Ok(Rate(2500.5)));
        assert!("0".parse::<Popularity>().is_err() && "NaN".parse::<Popularity>().is_err());
        assert!("key".parse::<Template>().is_err() && "{}{}".parse::<Template>().is_err());
    }

    #[test]
    fn keys_of_a_file_are_its_lines() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("keys");
        fs::write(&file, b"a\r\n\n\xFF b\nc").unwrap();
        let keys = lines(&file).unwrap();
        assert_eq!(keys.iter().map(|key| &**key).collect::<Vec<_>>(), [&b"a"[..], b"\xFF b", b"c"]);
        fs::write(&file, b"\n").unwrap();
        assert!(format!("{:#}", lines(&file).unwrap_err()).ends_with("it has no keys"));
        assert!(lines(folder.path().join("none").as_ref()).is_err());
    }
}
