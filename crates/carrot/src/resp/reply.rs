//! Replies as values, and as bytes in either version of the Redis protocol.
//!
//! Commands give values and know no version; what RESP2 has no kind for, it writes as Redis does: a map as a flat array,
//! nothing as a string that is none. Pure.

use std::borrow::Cow;

use bytes::Bytes;
use carrotcache::Value;

/// Which protocol a connection speaks.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Version {
    /// What a connection begins with.
    #[default]
    Resp2,
    /// After `HELLO 3`.
    Resp3,
}

impl Version {
    /// As HELLO writes it.
    pub fn number(self) -> i64 {
        match self {
            Self::Resp2 => 2,
            Self::Resp3 => 3,
        }
    }
}

/// What a command gives.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Reply {
    /// `+OK` and the like: a short word of ours.
    Word(&'static str),
    /// As a word, of our own making.
    Line(String),
    /// An error, its code in front. What would break the line is written as a blank.
    Error(Cow<'static, str>),
    /// A number.
    Number(i64),
    /// A value of a group, which is copied once, into the bytes that are sent.
    Value(Value),
    /// A string.
    Text(Bytes),
    /// Lines for people, which RESP3 marks as such.
    Lines(String),
    /// There is none.
    Nil,
    /// One after the other.
    List(Vec<Reply>),
    /// By name.
    Map(Vec<(&'static str, Reply)>),
}

impl Reply {
    /// `+OK`
    pub const OK: Self = Self::Word("OK");

    /// A string of ours.
    pub fn text(text: impl Into<Bytes>) -> Self {
        Self::Text(text.into())
    }

    /// An error.
    pub fn error(text: impl Into<Cow<'static, str>>) -> Self {
        Self::Error(text.into())
    }

    /// Whether it is an error.
    pub fn is_error(&self) -> bool {
        matches!(self, Self::Error(_))
    }

    /// How long its values are together, in bytes.
    pub fn values_len(&self) -> usize {
        match self {
            Self::Value(value) => value.len(),
            Self::Text(text) => text.len(),
            Self::List(replies) => replies.iter().map(Self::values_len).sum(),
            _ => 0,
        }
    }

    /// Writes it.
    pub fn write(&self, version: Version, into: &mut Vec<u8>) {
        match self {
            Self::Word(word) => line(into, b'+', word.as_bytes()),
            Self::Line(text) => line(into, b'+', text.as_bytes()),
            Self::Error(text) => line(into, b'-', text.as_bytes()),
            Self::Number(number) => {
                into.push(b':');
                decimal(into, *number);
                into.extend_from_slice(b"\r\n");
            }
            Self::Value(value) => string(into, value),
            Self::Text(text) => string(into, text),
            Self::Lines(text) if version == Version::Resp3 => {
                head(into, b'=', text.len() + 4);
                into.extend_from_slice(b"txt:");
                into.extend_from_slice(text.as_bytes());
                into.extend_from_slice(b"\r\n");
            }
            Self::Lines(text) => string(into, text.as_bytes()),
            Self::Nil if version == Version::Resp3 => into.extend_from_slice(b"_\r\n"),
            Self::Nil => into.extend_from_slice(b"$-1\r\n"),
            // As deep as our own replies are nested, whatever a client sends.
            Self::List(replies) => {
                list(replies.len(), into);
                replies.iter().for_each(|reply| reply.write(version, into));
            }
            Self::Map(pairs) => {
                match version {
                    Version::Resp2 => head(into, b'*', pairs.len() * 2),
                    Version::Resp3 => head(into, b'%', pairs.len()),
                }
                for (name, reply) in pairs {
                    string(into, name.as_bytes());
                    reply.write(version, into);
                }
            }
        }
    }
}

/// Writes that so many replies follow, which are one list.
pub fn list(length: usize, into: &mut Vec<u8>) {
    head(into, b'*', length);
}

fn line(into: &mut Vec<u8>, kind: u8, text: &[u8]) {
    into.push(kind);
    into.extend(text.iter().map(|byte| if matches!(byte, b'\r' | b'\n') { b' ' } else { *byte }));
    into.extend_from_slice(b"\r\n");
}

fn string(into: &mut Vec<u8>, bytes: &[u8]) {
    into.reserve(bytes.len() + 32);
    head(into, b'$', bytes.len());
    into.extend_from_slice(bytes);
    into.extend_from_slice(b"\r\n");
}

fn head(into: &mut Vec<u8>, kind: u8, length: usize) {
    into.push(kind);
    decimal(into, i64::try_from(length).unwrap_or(i64::MAX));
    into.extend_from_slice(b"\r\n");
}

/// The number's digits. By hand: the formatting machinery takes longer than the rest of a short reply.
fn decimal(into: &mut Vec<u8>, number: i64) {
    let mut digits = [0; 20];
    let mut at = digits.len();
    let mut rest = number.unsigned_abs();
    loop {
        at -= 1;
        digits[at] = b'0' + (rest % 10) as u8;
        rest /= 10;
        if rest == 0 {
            break;
        }
    }
    if number < 0 {
        at -= 1;
        digits[at] = b'-';
    }
    into.extend_from_slice(&digits[at..]);
}

#[cfg(test)]
mod tests {
    use super::*;

    fn written(reply: &Reply) -> [String; 2] {
        [Version::Resp2, Version::Resp3].map(|version| {
            let mut bytes = Vec::new();
            reply.write(version, &mut bytes);
            String::from_utf8(bytes).unwrap()
        })
    }

    fn alike(reply: &Reply, expected: &str) {
        assert_eq!(written(reply), [expected; 2]);
    }

    #[test]
    fn most_replies_are_the_same_in_both_versions() {
        alike(&Reply::OK, "+OK\r\n");
        alike(&Reply::error("ERR syntax error"), "-ERR syntax error\r\n");
        alike(&Reply::text("a\r\nb"), "$4\r\na\r\nb\r\n");
        alike(&Reply::text(""), "$0\r\n\r\n");
        alike(&Reply::Value(Value::from(Bytes::from_static(b"630"))), "$3\r\n630\r\n");
        let list = Reply::List(vec![Reply::Number(1), Reply::List(Vec::new())]);
        alike(&list, "*2\r\n:1\r\n*0\r\n");
    }

    #[test]
    fn what_is_new_in_resp3_is_written_otherwise_in_resp2() {
        assert_eq!(written(&Reply::Nil), ["$-1\r\n", "_\r\n"]);
        assert_eq!(written(&Reply::Lines("a:1\r\n".into())), ["$5\r\na:1\r\n\r\n", "=9\r\ntxt:a:1\r\n\r\n"]);
        let map = Reply::Map(vec![("proto", Reply::Number(3)), ("modules", Reply::List(Vec::new()))]);
        let [two, three] = written(&map);
        assert_eq!(two, "*4\r\n$5\r\nproto\r\n:3\r\n$7\r\nmodules\r\n*0\r\n");
        assert_eq!(three, "%2\r\n$5\r\nproto\r\n:3\r\n$7\r\nmodules\r\n*0\r\n");
    }

    #[test]
    fn an_error_is_one_line_whatever_it_quotes() {
        alike(&Reply::error("ERR a\r\n+OK\r\n"), "-ERR a  +OK  \r\n");
    }

    #[test]
    fn numbers_have_all_their_digits() {
        for number in [0, 7, 10, -1, 630, i64::MAX, i64::MIN] {
            alike(&Reply::Number(number), &format!(":{number}\r\n"));
        }
    }
}
