//! Requests of the Redis protocol, read piece by piece: arrays of strings, and lines as a person types them.
//!
//! Our own and flat: a request is an array of strings and nothing else, so what is nested is refused where it begins and
//! nothing here recurses. A length is held against its limit before anything is kept for it, and claims reserve nothing.
//! What has been read is not read again when more comes. Pure: the caller has the bytes. Texts are Redis's own.

use std::ops::Range;

use bytes::Bytes;

use crate::resp::integer::integer;

/// The longest line: of a request typed by hand, or one that says a length.
const LINE_MAX: usize = 64 << 10;

/// The most words of a request: as many keys and values as one call may have, and room to spare.
const WORDS_MAX: i64 = 1 << 16;

/// What a client that has not said the password may send, as Redis has it.
const STRANGER_WORDS_MAX: i64 = 10;
const STRANGER_BULK_MAX: i64 = 16 << 10;

/// What is taken of a client.
#[derive(Clone, Copy, Debug)]
pub struct Bounds {
    /// The longest string, in bytes.
    pub bulk: i64,
    /// The client has not said the password, and is allowed little.
    pub is_stranger: bool,
}

/// Bytes that are no request. The connection cannot go on behind them.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum BadRequest {
    /// The number of strings is none, or too large.
    #[error("Protocol error: invalid multibulk length")]
    Words,
    /// More strings than a stranger may send.
    #[error("Protocol error: unauthenticated multibulk length")]
    StrangersWords,
    /// The number of strings does not end.
    #[error("Protocol error: too big mbulk count string")]
    WordsLine,
    /// Another kind of value where a string has to begin.
    #[error("Protocol error: expected '$', got '{}'", shown(*.0))]
    Kind(u8),
    /// The length of a string is none, or too large.
    #[error("Protocol error: invalid bulk length")]
    Bulk,
    /// A longer string than a stranger may send.
    #[error("Protocol error: unauthenticated bulk length")]
    StrangersBulk,
    /// The length of a string does not end.
    #[error("Protocol error: too big bulk count string")]
    BulkLine,
    /// A typed line does not end.
    #[error("Protocol error: too big inline request")]
    Line,
    /// A typed line with a quote that is not closed, or closed in the middle of a word.
    #[error("Protocol error: unbalanced quotes in request")]
    Quotes,
}

/// A byte as it can stand in a line.
fn shown(byte: u8) -> char {
    if byte == b'\r' || byte == b'\n' { ' ' } else { char::from(byte) }
}

/// The words of a request, where they lie.
#[derive(Clone, Copy, Debug)]
pub struct Words<'a> {
    bytes: &'a [u8],
    ranges: &'a [Range<usize>],
}

impl<'a> Words<'a> {
    /// Those that lie there in the bytes.
    pub fn of(bytes: &'a [u8], ranges: &'a [Range<usize>]) -> Self {
        Self { bytes, ranges }
    }

    /// Where they lie in their bytes.
    pub fn ranges(self) -> &'a [Range<usize>] {
        self.ranges
    }

    /// How many there are, the command's name among them.
    pub fn len(&self) -> usize {
        self.ranges.len()
    }

    /// One of them; empty where there are not as many.
    pub fn get(&self, at: usize) -> &'a [u8] {
        self.ranges.get(at).and_then(|range| self.bytes.get(range.clone())).unwrap_or_default()
    }

    /// Those from one on.
    pub fn from(&self, first: usize) -> impl ExactSizeIterator<Item = &'a [u8]> + use<'a> {
        let bytes = self.bytes;
        let ranges = self.ranges.get(first..).unwrap_or_default();
        ranges.iter().map(move |range| bytes.get(range.clone()).unwrap_or_default())
    }

    /// A copy of them, for who has to wait.
    pub fn to_request(self) -> Request {
        let mut bytes = Vec::with_capacity(self.from(0).map(<[u8]>::len).sum());
        let mut ranges = Vec::with_capacity(self.ranges.len());
        for word in self.from(0) {
            let start = bytes.len();
            bytes.extend_from_slice(word);
            ranges.push(start..bytes.len());
        }
        Request { bytes: bytes.into(), ranges }
    }
}

/// A request that holds its own words.
#[derive(Debug)]
pub struct Request {
    bytes: Bytes,
    ranges: Vec<Range<usize>>,
}

impl Request {
    /// Its words.
    pub fn words(&self) -> Words<'_> {
        Words { bytes: &self.bytes, ranges: &self.ranges }
    }

    /// One of its words, which keeps them all; empty where there are not as many.
    pub fn bytes(&self, at: usize) -> Bytes {
        self.ranges.get(at).map_or_else(Bytes::new, |range| self.bytes.slice(range.clone()))
    }

    /// What it holds, in bytes, about.
    pub fn weight(&self) -> usize {
        size_of::<Self>() + self.bytes.len() + self.ranges.len() * size_of::<Range<usize>>()
    }
}

/// Reads one request after another.
#[derive(Debug, Default)]
pub struct Parser {
    /// The words so far.
    ranges: Vec<Range<usize>>,
    /// Those of a typed line, without their quotes; the ranges are in it then.
    typed: Option<Vec<u8>>,
    /// What comes next.
    due: Due,
    /// From where on it is looked for, in bytes from the request's beginning.
    at: usize,
    /// How far the line was looked through that begins at `at`.
    seen: usize,
}

/// What comes next.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum Due {
    /// A request: nothing of it was read.
    #[default]
    Request,
    /// The length of a string; so many strings are to come.
    Length { left: i64 },
    /// A string of so many bytes; so many are to come behind it.
    String { length: usize, left: i64 },
}

impl Parser {
    /// Reads on in `bytes`, which begin where the request does: all that was there at the last call, and perhaps more.
    ///
    /// Gives the request's length once it is whole; its words are in [`words`](Self::words) until the next call, which
    /// is for the bytes behind it. A request may have no words, and asks for nothing then.
    ///
    /// # Errors
    /// On what is no request. There is no way to go on then.
    pub fn read(&mut self, bytes: &[u8], bounds: Bounds) -> Result<Option<usize>, BadRequest> {
        if self.due == Due::Request {
            self.at = 0;
            self.ranges.clear();
            self.typed = None;
            match bytes.first() {
                None => return Ok(None),
                Some(b'*') => {}
                Some(_) => return self.read_typed(bytes),
            }
        }
        loop {
            match self.due {
                Due::Request => {
                    let Some(line) = self.line(bytes, BadRequest::WordsLine)? else { return Ok(None) };
                    let words = integer(&bytes[line.start + 1..line.end]).ok_or(BadRequest::Words)?;
                    if words > WORDS_MAX {
                        return Err(BadRequest::Words);
                    }
                    if words > STRANGER_WORDS_MAX && bounds.is_stranger {
                        return Err(BadRequest::StrangersWords);
                    }
                    if words <= 0 {
                        return Ok(Some(self.end()));
                    }
                    self.due = Due::Length { left: words };
                }
                Due::Length { left } => {
                    let Some(line) = self.line(bytes, BadRequest::BulkLine)? else { return Ok(None) };
                    let kind = bytes[line.start];
                    if kind != b'$' {
                        return Err(BadRequest::Kind(kind));
                    }
                    let length = integer(&bytes[line.start + 1..line.end]).ok_or(BadRequest::Bulk)?;
                    if !(0..=bounds.bulk).contains(&length) {
                        return Err(BadRequest::Bulk);
                    }
                    if length > STRANGER_BULK_MAX && bounds.is_stranger {
                        return Err(BadRequest::StrangersBulk);
                    }
                    let length = usize::try_from(length).map_err(|_| BadRequest::Bulk)?;
                    self.due = Due::String { length, left: left - 1 };
                }
                Due::String { length, left } => {
                    let end = self.at + length;
                    // Behind it comes the end of a line, of which Redis looks at the length alone.
                    if bytes.len() < end + 2 {
                        return Ok(None);
                    }
                    self.ranges.push(self.at..end);
                    self.at = end + 2;
                    if left == 0 {
                        return Ok(Some(self.end()));
                    }
                    self.due = Due::Length { left };
                }
            }
        }
    }

    /// Whether the request that was read last was typed, so that its words are not in the bytes it was read from.
    pub fn is_typed(&self) -> bool {
        self.typed.is_some()
    }

    /// The words of the request that was read last, in the bytes it was read from.
    pub fn words<'a>(&'a self, bytes: &'a [u8]) -> Words<'a> {
        Words { bytes: self.typed.as_deref().unwrap_or(bytes), ranges: &self.ranges }
    }

    /// The request is whole.
    fn end(&mut self) -> usize {
        self.due = Due::Request;
        self.seen = 0;
        self.at
    }

    /// The line that begins here, without its end, if it has one. It has at least one byte.
    fn line(&mut self, bytes: &[u8], endless: BadRequest) -> Result<Option<Range<usize>>, BadRequest> {
        let start = self.at;
        let from = start + self.seen;
        match bytes.get(from..).and_then(|rest| rest.iter().position(|byte| *byte == b'\r')) {
            // The byte behind it belongs to the line's end, whatever it is.
            Some(found) if bytes.len() > from + found + 1 => {
                let end = from + found;
                (self.at, self.seen) = (end + 2, 0);
                if end == start { Err(BadRequest::Kind(b'\r')) } else { Ok(Some(start..end)) }
            }
            Some(found) => {
                self.seen += found;
                Ok(None)
            }
            None => {
                self.seen = bytes.len().saturating_sub(start);
                if self.seen > LINE_MAX { Err(endless) } else { Ok(None) }
            }
        }
    }

    /// A request as a person types it: words with blanks between, until the line ends.
    fn read_typed(&mut self, bytes: &[u8]) -> Result<Option<usize>, BadRequest> {
        let Some(found) = bytes[self.seen..].iter().position(|byte| *byte == b'\n') else {
            self.seen = bytes.len();
            return if bytes.len() > LINE_MAX { Err(BadRequest::Line) } else { Ok(None) };
        };
        let end = self.seen + found;
        if end > LINE_MAX {
            return Err(BadRequest::Line);
        }
        let line = &bytes[..end];
        let line = line.strip_suffix(b"\r").unwrap_or(line);
        let (typed, ranges) = unquoted(line).ok_or(BadRequest::Quotes)?;
        self.typed = Some(typed);
        self.ranges = ranges;
        self.at = end + 1;
        Ok(Some(self.end()))
    }
}

/// The words of a line, as Redis splits them: blanks between; in double quotes `\n`, `\x0a` and the like stand for bytes;
/// in single quotes only `\'` does. `None`: a quote is not closed, or something follows it at once.
fn unquoted(line: &[u8]) -> Option<(Vec<u8>, Vec<Range<usize>>)> {
    let (mut bytes, mut ranges) = (Vec::with_capacity(line.len()), Vec::new());
    let mut rest = line;
    loop {
        rest = rest.trim_ascii_start();
        if rest.is_empty() {
            return Some((bytes, ranges));
        }
        let start = bytes.len();
        rest = word(rest, &mut bytes)?;
        ranges.push(start..bytes.len());
    }
}

/// Moves one word of the line to `into`, and gives what is behind it.
fn word<'a>(mut rest: &'a [u8], into: &mut Vec<u8>) -> Option<&'a [u8]> {
    loop {
        match rest {
            [] => return Some(rest),
            [blank, ..] if blank.is_ascii_whitespace() || *blank == 0 => return Some(&rest[1..]),
            [b'"', inside @ ..] => return behind_quote(double_quoted(inside, into)?),
            [b'\'', inside @ ..] => return behind_quote(single_quoted(inside, into)?),
            [byte, behind @ ..] => {
                into.push(*byte);
                rest = behind;
            }
        }
    }
}

/// Behind a closing quote comes a blank or nothing.
fn behind_quote(rest: &[u8]) -> Option<&[u8]> {
    match rest {
        [] => Some(rest),
        [blank, behind @ ..] => blank.is_ascii_whitespace().then_some(behind),
    }
}

fn double_quoted<'a>(mut rest: &'a [u8], into: &mut Vec<u8>) -> Option<&'a [u8]> {
    loop {
        let (byte, behind) = match rest {
            [] => return None,
            [b'"', behind @ ..] => return Some(behind),
            [b'\\', b'x', high, low, behind @ ..] if high.is_ascii_hexdigit() && low.is_ascii_hexdigit() => {
                (digit(*high) << 4 | digit(*low), behind)
            }
            [b'\\', escaped, behind @ ..] => {
                let byte = match escaped {
                    b'n' => b'\n',
                    b'r' => b'\r',
                    b't' => b'\t',
                    b'b' => 8,
                    b'a' => 7,
                    other => *other,
                };
                (byte, behind)
            }
            [byte, behind @ ..] => (*byte, behind),
        };
        into.push(byte);
        rest = behind;
    }
}

fn single_quoted<'a>(mut rest: &'a [u8], into: &mut Vec<u8>) -> Option<&'a [u8]> {
    loop {
        let (byte, behind) = match rest {
            [] => return None,
            [b'\'', behind @ ..] => return Some(behind),
            [b'\\', b'\'', behind @ ..] => (b'\'', behind),
            [byte, behind @ ..] => (*byte, behind),
        };
        into.push(byte);
        rest = behind;
    }
}

/// What a hexadecimal digit stands for.
fn digit(hex: u8) -> u8 {
    match hex {
        b'0'..=b'9' => hex - b'0',
        other => other.to_ascii_lowercase() - b'a' + 10,
    }
}

#[cfg(test)]
mod tests;
