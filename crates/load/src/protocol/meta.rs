//! memcached's `mg KEY v`, and what may answer it.

use super::answer::{Answer, Garbled, Read};
use super::line::{first_word, length, line};

/// A memcached, of 1.6 or later.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Meta;

impl Meta {
    #[allow(clippy::unused_self, reason = "each protocol is asked by a method")]
    pub(super) fn ask(self, key: &[u8], out: &mut Vec<u8>) {
        out.extend_from_slice(b"mg ");
        out.extend_from_slice(key);
        out.extend_from_slice(b" v\r\n");
    }

    pub(super) fn read(bytes: &[u8]) -> Read {
        let Some((line, next)) = line(bytes)? else { return Ok(None) };
        match line {
            b"EN" => Ok(Some((next, Answer::Missing))),
            [b'V', b'A', b' ', digits @ ..] => {
                // Flags may follow the length.
                let length = length(digits.split(|b| *b == b' ').next().unwrap_or_default())?;
                if bytes.len() - next < length + 2 {
                    return Ok(None);
                }
                if &bytes[next + length..next + length + 2] != b"\r\n" {
                    return Err(Garbled("a value is longer than it says"));
                }
                Ok(Some((next + length + 2, Answer::Value(length))))
            }
            b"ERROR" => Ok(Some((next, Answer::Refused("ERROR".to_owned())))),
            line if line.starts_with(b"CLIENT_ERROR") || line.starts_with(b"SERVER_ERROR") => {
                Ok(Some((next, Answer::Refused(first_word(line)))))
            }
            _ => Err(Garbled("no answer to mg")),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_get_is_asked_for_in_one_line() {
        let mut out = Vec::new();
        Meta.ask(b"key:7", &mut out);
        assert_eq!(out, b"mg key:7 v\r\n");
    }

    #[test]
    fn answers_are_told_apart_and_wait_until_they_are_whole() {
        for (bytes, answer) in [
            (&b"VA 3\r\n630\r\n"[..], Answer::Value(3)),
            (b"VA 2 f0\r\nab\r\n", Answer::Value(2)),
            (b"EN\r\n", Answer::Missing),
            (b"SERVER_ERROR out of memory\r\n", Answer::Refused("SERVER_ERROR".to_owned())),
        ] {
            for end in 0..bytes.len() {
                assert_eq!(Meta::read(&bytes[..end]), Ok(None), "{}", bytes[..end].escape_ascii());
            }
            let two = [bytes, b"VA"].concat();
            assert_eq!(Meta::read(&two), Ok(Some((bytes.len(), answer))));
        }
        for bytes in [&b"HD\r\n"[..], b"VA x\r\n", b"VA 1\r\nabc"] {
            assert!(Meta::read(bytes).is_err());
        }
    }
}
