//! GET in RESP2, and what may answer it.

use super::answer::{Answer, Garbled, Read};
use super::line::{first_word, length, line};

/// A Redis server, or one that speaks as it does.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Resp {
    /// Before each key: `GROUP:` for a node.
    pub prefix: String,
    /// What AUTH says, if there is a password.
    pub password: Option<String>,
}

impl Resp {
    pub(super) fn greeting(&self) -> Option<Vec<u8>> {
        let password = self.password.as_ref()?;
        Some(format!("*2\r\n$4\r\nAUTH\r\n${}\r\n{password}\r\n", password.len()).into_bytes())
    }

    pub(super) fn ask(&self, key: &[u8], out: &mut Vec<u8>) {
        let head = format!("*2\r\n$3\r\nGET\r\n${}\r\n{}", self.prefix.len() + key.len(), self.prefix);
        out.extend_from_slice(head.as_bytes());
        out.extend_from_slice(key);
        out.extend_from_slice(b"\r\n");
    }

    pub(super) fn read(bytes: &[u8]) -> Read {
        let Some((line, next)) = line(bytes)? else { return Ok(None) };
        match line {
            [b'$', b'-', b'1'] | [b'_'] => Ok(Some((next, Answer::Missing))),
            [b'$', digits @ ..] => {
                let (length, whole) = (length(digits)?, bytes.len() - next);
                if whole < length + 2 {
                    return Ok(None);
                }
                if &bytes[next + length..next + length + 2] != b"\r\n" {
                    return Err(Garbled("a value is longer than it says"));
                }
                Ok(Some((next + length + 2, Answer::Value(length))))
            }
            [b'+', status @ ..] => Ok(Some((next, Answer::Value(status.len())))),
            [b'-', why @ ..] => Ok(Some((next, Answer::Refused(first_word(why))))),
            _ => Err(Garbled("no answer to GET in RESP2")),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_get_is_asked_for_with_its_prefix() {
        let resp = Resp { prefix: "scores:".to_owned(), password: Some("sesame".to_owned()) };
        let mut out = Vec::new();
        resp.ask(b"T\xFF", &mut out);
        assert_eq!(out, b"*2\r\n$3\r\nGET\r\n$9\r\nscores:T\xFF\r\n");
        assert_eq!(resp.greeting().unwrap(), b"*2\r\n$4\r\nAUTH\r\n$6\r\nsesame\r\n");
    }

    #[test]
    fn answers_are_told_apart_and_wait_until_they_are_whole() {
        for (bytes, answer) in [
            (&b"$3\r\n630\r\n"[..], Answer::Value(3)),
            (b"$0\r\n\r\n", Answer::Value(0)),
            (b"$-1\r\n", Answer::Missing),
            (b"_\r\n", Answer::Missing),
            (b"+OK\r\n", Answer::Value(2)),
            (b"-BUSY 100 loads\r\n", Answer::Refused("BUSY".to_owned())),
        ] {
            for end in 0..bytes.len() {
                assert_eq!(Resp::read(&bytes[..end]), Ok(None), "{}", bytes[..end].escape_ascii());
            }
            let two = [bytes, b"$1\r\n"].concat();
            assert_eq!(Resp::read(&two), Ok(Some((bytes.len(), answer))));
        }
    }

    #[test]
    fn what_is_no_answer_is_garbled() {
        for bytes in
            [&b"HTTP/1.1 400\r\n"[..], b"$-2\r\n", b"$x\r\n", b"$2000000000\r\n", b"*1\r\n", b"$1\r\nabc"]
        {
            assert!(Resp::read(bytes).is_err(), "{}", bytes.escape_ascii());
        }
        assert!(Resp::read(&vec![b'+'; 1 << 20]).is_err());
    }
}
