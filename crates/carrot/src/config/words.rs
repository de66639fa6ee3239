//! Values as they are written, on the command line and in a file: each type reads one kind, and says what it expected.
//!
//! What the library has a word for is read by the library. Here are those with a narrower meaning, and how a file's
//! values become words: from a string, whatever the type; a bare number is refused in the words of the type that it was
//! meant to be, so that `drain = 10` is told of its unit. Pure.

use std::fmt;
use std::net::{IpAddr, SocketAddr};
use std::num::NonZeroU32;
use std::path::PathBuf;
use std::str::FromStr;

use serde::de::{Deserialize, Deserializer, Error, Visitor};

/// An address to listen on.
#[derive(Clone, Copy, Debug)]
pub struct Address(pub SocketAddr);

impl FromStr for Address {
    type Err = String;
    fn from_str(text: &str) -> Result<Self, String> {
        let bad = |_| format!("{text:?} is not an IP address and a port, as in 127.0.0.1:9999");
        text.parse().map(Self).map_err(bad)
    }
}

/// An address of a machine.
#[derive(Clone, Copy, Debug)]
pub struct Ip(pub IpAddr);

impl<'de> Deserialize<'de> for Ip {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        let (text, _) = from.deserialize_any(Scalar)?;
        let bad = |_| D::Error::custom(format!("{text:?} is not an IP address, as in 169.254.169.254"));
        text.parse().map(Self).map_err(bad)
    }
}

/// How many, at least one.
#[derive(Clone, Copy, Debug)]
pub struct Count(pub NonZeroU32);

impl FromStr for Count {
    type Err = String;
    fn from_str(text: &str) -> Result<Self, String> {
        let bad = |_| format!("{text:?} is not a whole number from 1 to {}", u32::MAX);
        text.parse().map(Self).map_err(bad)
    }
}

/// Numbers are numbers in a file; as text they come from a variable.
impl<'de> Deserialize<'de> for Count {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        let (text, _) = from.deserialize_any(Scalar)?;
        text.parse().map_err(D::Error::custom)
    }
}

/// A value that is written as a string.
pub fn word<'de, D, T>(from: D) -> Result<Option<T>, D::Error>
where
    D: Deserializer<'de>,
    T: FromStr,
    T::Err: fmt::Display,
{
    let (text, quoted) = from.deserialize_any(Scalar)?;
    match text.parse() {
        Ok(_) if !quoted => Err(D::Error::custom(format!("{text} has to stand in quotes"))),
        Ok(value) => Ok(Some(value)),
        Err(bad) => Err(D::Error::custom(bad)),
    }
}

/// The name of a file or a directory.
pub fn path<'de, D: Deserializer<'de>>(from: D) -> Result<Option<PathBuf>, D::Error> {
    let path = PathBuf::deserialize(from)?;
    if path.as_os_str().is_empty() { Err(D::Error::custom("it names nothing")) } else { Ok(Some(path)) }
}

/// Any value that is one word, as it was written, and whether that was as a string.
struct Scalar;

impl Visitor<'_> for Scalar {
    type Value = (String, bool);

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a string")
    }

    fn visit_str<E: Error>(self, text: &str) -> Result<Self::Value, E> {
        Ok((text.to_owned(), true))
    }

    fn visit_i64<E: Error>(self, number: i64) -> Result<Self::Value, E> {
        Ok((number.to_string(), false))
    }

    fn visit_f64<E: Error>(self, number: f64) -> Result<Self::Value, E> {
        // With its point: 256.0 is no whole number.
        Ok((format!("{number:?}"), false))
    }

    fn visit_bool<E: Error>(self, truth: bool) -> Result<Self::Value, E> {
        Ok((truth.to_string(), false))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_say_what_they_expected() {
        let said = |bad: Result<(), String>| bad.unwrap_err();
        assert_eq!(
            said("9999".parse::<Address>().map(drop)),
            "\"9999\" is not an IP address and a port, as in 127.0.0.1:9999"
        );
        for count in ["0", "-1", "4294967296", "10k", ""] {
            let said = said(count.parse::<Count>().map(drop));
            assert_eq!(said, format!("\"{count}\" is not a whole number from 1 to 4294967295"));
        }
    }
}
