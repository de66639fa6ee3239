//! A text that must not be seen: a password, a token. Never printed, and compared without telling how far it fits.

use std::fmt;

use serde::de::{Deserialize, Deserializer, Error};
use subtle::ConstantTimeEq;

/// A password or a token, as it was configured.
#[derive(Clone, PartialEq, Eq)]
pub struct Secret(String);

impl Secret {
    /// Keeps the text from being printed.
    pub fn new(text: impl Into<String>) -> Self {
        Self(text.into())
    }

    /// The text itself, for where it has to be sent.
    pub fn reveal(&self) -> &str {
        &self.0
    }

    /// Whether `offered` is this secret. Takes as long for one that is nearly right as for one that is not at all;
    /// only the length shows.
    pub fn is(&self, offered: &[u8]) -> bool {
        self.0.as_bytes().ct_eq(offered).into()
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Secret(…)")
    }
}

/// What stands there and is no string is not repeated, as serde would: digits without quotes are a password as well.
impl<'de> Deserialize<'de> for Secret {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        let text = String::deserialize(from);
        text.map(Self).map_err(|_| D::Error::custom("it has to be a string, in quotes"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_secret_is_itself_and_nothing_else_and_is_not_printed() {
        let secret = Secret::new("open sesame");
        assert!(secret.is(b"open sesame"));
        for other in [&b""[..], b"open", b"open sesame ", b"Open sesame"] {
            assert!(!secret.is(other));
        }
        assert_eq!(format!("{secret:?}"), "Secret(…)");
    }
}
