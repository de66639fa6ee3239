//! A response out of the bytes of a connection: its head, and its body piece by piece.
//!
//! Fields are taken apart by httparse; of them only those are looked at that say where the response ends, whether
//! another may follow it, and what it means. What HTTP leaves to the reader's taste is refused: a length said twice, or
//! beside chunks, a coding other than chunks. What it allows is put up with: responses before the response, extensions of
//! chunks, trailers; all of it bounded.
//! Pure: bytes come in as they were read, in pieces of any size, and the outcome is the same for all.

use std::mem::MaybeUninit;
use std::ops::Range;

use http::StatusCode;
use httparse::{Header, ParserConfig, Status};

use crate::net::cluster_name::CLUSTER;
use crate::net::dialect::OUTCOME;
use crate::net::reply::Fields;

/// The longest head, with those of the responses before it, in bytes.
pub(super) const HEAD_MAX: usize = 128 << 10;

/// The most fields of a head.
const FIELDS_MAX: usize = 100;

/// What the sizes of chunks may take beside their digits, and what trailers may take, in bytes.
const ASIDE_MAX: usize = 16 << 10;

/// The line of a chunk's size that says nothing else: sixteen digits at the most.
const SIZE_LINE: usize = 18;

/// Bytes that are no response, or not one that is taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub(in crate::net) enum Malformed {
    #[error("no response: {0}")]
    Head(#[from] httparse::Error),
    #[error("{0}")]
    Other(&'static str),
}

use Malformed::Other;

/// A head, and where in the bytes it was read from stands what counts.
#[derive(Debug)]
pub(super) struct Head {
    pub(super) status: StatusCode,
    /// Where the body begins.
    pub(super) end: usize,
    pub(super) body: Body,
    /// No request may follow on this connection.
    pub(super) is_last: bool,
    is_encoded: bool,
    content_type: Range<usize>,
    location: Option<Range<usize>>,
    outcome: Option<Range<usize>>,
    cluster: Option<Range<usize>>,
}

/// Looks for the head in bytes that become more.
#[derive(Debug, Default)]
pub(super) struct Search {
    /// Where the head begins, behind the responses before it.
    start: usize,
    /// How many bytes there were when its end was last looked for, and when it was last taken apart.
    seen: usize,
    tried: usize,
}

impl Search {
    /// The head, if all of it is there. `bytes` are all that came so far.
    pub(super) fn look(&mut self, bytes: &[u8]) -> Result<Option<Head>, Malformed> {
        while self.is_worth_a_try(bytes) {
            self.tried = bytes.len();
            match Head::read(bytes, self.start)? {
                // Whatever comes before the response, but for a change of the protocol, which nobody asked for.
                Some(early) if early.status.is_informational() => {
                    if early.status == StatusCode::SWITCHING_PROTOCOLS {
                        return Err(Other("it changes the protocol"));
                    }
                    *self = Self { start: early.end, seen: early.end, tried: early.end };
                }
                Some(head) => return Ok(Some(head)),
                None => break,
            }
        }
        if bytes.len() >= HEAD_MAX { Err(Other("a header over the limit")) } else { Ok(None) }
    }

    /// Whether the head may be whole by now, or there is so much of it that what is none should be known for it. In most
    /// cases all of it is there at first. To take it apart anew for each byte would let a peer keep us busy.
    fn is_worth_a_try(&mut self, bytes: &[u8]) -> bool {
        let from = self.seen.saturating_sub(2).max(self.start);
        self.seen = bytes.len();
        let has_come = |at: usize| bytes.len() - self.start >= 2 * (at - self.start);
        bytes.len() > self.tried && (has_come(self.tried) || has_empty_line(&bytes[from..]))
    }
}

/// Whether a line ends, and the next at once.
fn has_empty_line(bytes: &[u8]) -> bool {
    let ends = |rest: &[u8]| rest.starts_with(b"\n") || rest.starts_with(b"\r\n");
    let mut lines = bytes.iter().enumerate().filter(|(_, byte)| **byte == b'\n');
    lines.any(|(at, _)| ends(&bytes[at + 1..]))
}

impl Head {
    /// The head that begins at `start`; `None` while it is not whole.
    fn read(bytes: &[u8], start: usize) -> Result<Option<Self>, Malformed> {
        let mut room = [const { MaybeUninit::<Header<'_>>::uninit() }; FIELDS_MAX];
        let mut response = httparse::Response::new(&mut []);
        let taken = ParserConfig::default().parse_response_with_uninit_headers(
            &mut response,
            &bytes[start..],
            &mut room,
        )?;
        let Status::Complete(length) = taken else { return Ok(None) };
        let status = response.code.and_then(|code| StatusCode::from_u16(code).ok());
        let status = status.ok_or(Other("a status that is none"))?;
        // A slice of the bytes: how far into them it begins.
        let place = |value: &[u8]| {
            let from = value.as_ptr().addr() - bytes.as_ptr().addr();
            from..from + value.len()
        };
        let mut framed = Framed::default();
        let mut connection = Connection { is_old: response.version == Some(0), ..Connection::default() };
        let mut head = Self {
            status,
            end: start + length,
            body: Body(Stage::Over),
            is_last: false,
            is_encoded: false,
            content_type: 0..0,
            location: None,
            outcome: None,
            cluster: None,
        };
        for Header { name, value } in response.headers.iter() {
            let is = |other: &str| name.eq_ignore_ascii_case(other);
            if is("content-length") {
                framed.length(value)?;
            } else if is("transfer-encoding") {
                framed.coding(value)?;
            } else if is("connection") {
                connection.says(value);
            } else if is("content-encoding") {
                head.is_encoded = true;
            } else if is("content-type") && head.content_type.is_empty() {
                head.content_type = place(value);
            } else if is("location") {
                head.location.get_or_insert_with(|| place(value));
            } else if is(OUTCOME) {
                head.outcome.get_or_insert_with(|| place(value));
            } else if is(CLUSTER.as_str()) {
                head.cluster.get_or_insert_with(|| place(value));
            }
        }
        head.body = Body(framed.stage(status, connection.is_old)?);
        head.is_last = connection.is_last() || head.body.0 == Stage::ToTheEnd;
        Ok(Some(head))
    }

    /// What its meaning is read from. `bytes` are those it was read from.
    pub(super) fn fields<'a>(&self, bytes: &'a [u8]) -> Fields<'a> {
        let at = |place: &Range<usize>| bytes.get(place.clone()).unwrap_or_default();
        Fields {
            status: self.status,
            content_type: at(&self.content_type),
            is_encoded: self.is_encoded,
            location: self.location.as_ref().map(at),
            outcome: self.outcome.as_ref().map(at),
            cluster: self.cluster.as_ref().map(at),
        }
    }
}

/// What a head says of where its body ends.
#[derive(Default)]
struct Framed {
    length: Option<u64>,
    is_chunked: bool,
}

impl Framed {
    fn length(&mut self, value: &[u8]) -> Result<(), Malformed> {
        let digits = value.trim_ascii();
        // A number that parses may have a sign before it.
        let is_plain = digits.iter().all(u8::is_ascii_digit);
        let length = str::from_utf8(digits).ok().filter(|_| is_plain).and_then(|digits| digits.parse().ok());
        let length = length.ok_or(Other("a content length that is none"))?;
        if self.length.replace(length).is_some() { Err(Other("two content lengths")) } else { Ok(()) }
    }

    fn coding(&mut self, value: &[u8]) -> Result<(), Malformed> {
        if self.is_chunked || !value.trim_ascii().eq_ignore_ascii_case(b"chunked") {
            return Err(Other("a transfer encoding other than chunks"));
        }
        self.is_chunked = true;
        Ok(())
    }

    fn stage(&self, status: StatusCode, is_old: bool) -> Result<Stage, Malformed> {
        if self.is_chunked && (self.length.is_some() || is_old) {
            return Err(Other("chunks where there are none"));
        }
        let is_bare =
            status.is_informational() || matches!(status, StatusCode::NO_CONTENT | StatusCode::NOT_MODIFIED);
        Ok(match self.length {
            _ if is_bare => Stage::Over,
            Some(0) => Stage::Over,
            Some(length) => Stage::Whole(length),
            None if self.is_chunked => Stage::Size { aside: 0 },
            None => Stage::ToTheEnd,
        })
    }
}

/// What a head says of the connection.
#[derive(Default)]
struct Connection {
    /// Of HTTP/1.0.
    is_old: bool,
    closes: bool,
    stays: bool,
}

impl Connection {
    fn says(&mut self, value: &[u8]) {
        for option in value.split(|byte| *byte == b',').map(<[u8]>::trim_ascii) {
            self.closes |= option.eq_ignore_ascii_case(b"close");
            self.stays |= option.eq_ignore_ascii_case(b"keep-alive");
        }
    }

    fn is_last(&self) -> bool {
        self.closes || (self.is_old && !self.stays)
    }
}

/// What is to come of a body.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Body(Stage);

/// `aside`: what was said beside the body so far, in bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Stage {
    /// So many bytes, and no more.
    Whole(u64),
    /// All until the connection ends.
    ToTheEnd,
    /// The size of a chunk.
    Size { aside: usize },
    /// So many bytes of a chunk.
    Chunk { left: u64, aside: usize },
    /// The end of a chunk's line.
    ChunkEnd { aside: usize },
    /// Trailers, and an empty line.
    Trailers { aside: usize },
    /// Nothing.
    Over,
}

impl Body {
    /// The next piece of it in `bytes`, which move on past it, and past what stands around it. Empty: it is over, or
    /// more has to come.
    pub(super) fn take<'a>(&mut self, bytes: &mut &'a [u8]) -> Result<&'a [u8], Malformed> {
        loop {
            let next = match self.0 {
                Stage::Over => None,
                Stage::ToTheEnd => return Ok(std::mem::take(bytes)),
                Stage::Whole(left) | Stage::Chunk { left, .. } => {
                    let piece = cut(bytes, usize::try_from(left).unwrap_or(usize::MAX));
                    self.came(piece.len());
                    return Ok(piece);
                }
                Stage::Size { aside } => size(bytes, aside)?,
                Stage::ChunkEnd { aside } => chunk_end(bytes)?.then_some(Stage::Size { aside }),
                Stage::Trailers { aside } => trailer(bytes, aside)?,
            };
            match next {
                Some(stage) => self.0 = stage,
                None => return Ok(&[]),
            }
        }
    }

    /// How many bytes come next that are all of the body; `None`: nobody knows yet.
    pub(super) fn run(&self) -> Option<u64> {
        match self.0 {
            Stage::Whole(left) | Stage::Chunk { left, .. } => Some(left),
            _ => None,
        }
    }

    /// So many bytes of that run have come, at most as many as it has.
    pub(super) fn came(&mut self, bytes: usize) {
        let bytes = bytes as u64;
        self.0 = match self.0 {
            Stage::Whole(left) if left <= bytes => Stage::Over,
            Stage::Whole(left) => Stage::Whole(left - bytes),
            Stage::Chunk { left, aside } if left <= bytes => Stage::ChunkEnd { aside },
            Stage::Chunk { left, aside } => Stage::Chunk { left: left - bytes, aside },
            other => other,
        };
    }

    pub(super) fn is_over(&self) -> bool {
        self.0 == Stage::Over
    }

    /// Its end is marked by nothing but the connection's.
    pub(super) fn has_no_end(&self) -> bool {
        self.0 == Stage::ToTheEnd
    }
}

/// The first bytes, `most` of them if there are so many.
fn cut<'a>(bytes: &mut &'a [u8], most: usize) -> &'a [u8] {
    let (piece, rest) = bytes.split_at(most.min(bytes.len()));
    *bytes = rest;
    piece
}

fn size(bytes: &mut &[u8], aside: usize) -> Result<Option<Stage>, Malformed> {
    let none = Other("the size of a chunk is none");
    match bytes.first() {
        None => return Ok(None),
        Some(digit) if digit.is_ascii_hexdigit() => {}
        // To the parser no digit is a size of nothing, and the end.
        Some(_) => return Err(none),
    }
    let (line, size) = match httparse::parse_chunk_size(bytes).map_err(|_| none)? {
        Status::Complete((line, size)) => (line, Some(size)),
        Status::Partial => (bytes.len(), None),
    };
    let aside = within(aside + line.saturating_sub(SIZE_LINE))?;
    let Some(left) = size else { return Ok(None) };
    cut(bytes, line);
    Ok(Some(if left == 0 { Stage::Trailers { aside } } else { Stage::Chunk { left, aside } }))
}

/// Whether the end of a chunk is there.
fn chunk_end(bytes: &mut &[u8]) -> Result<bool, Malformed> {
    let is_whole = bytes.starts_with(b"\r\n");
    if is_whole {
        cut(bytes, 2);
    } else if !b"\r\n".starts_with(bytes) {
        return Err(Other("a chunk that is longer than it says"));
    }
    Ok(is_whole)
}

fn trailer(bytes: &mut &[u8], aside: usize) -> Result<Option<Stage>, Malformed> {
    let Some(end) = bytes.iter().position(|byte| *byte == b'\n') else {
        within(aside + bytes.len())?;
        return Ok(None);
    };
    let line = cut(bytes, end + 1);
    let aside = within(aside + line.len())?;
    Ok(Some(if matches!(line, b"\r\n" | b"\n") { Stage::Over } else { Stage::Trailers { aside } }))
}

fn within(aside: usize) -> Result<usize, Malformed> {
    if aside <= ASIDE_MAX { Ok(aside) } else { Err(Other("more beside the body than is allowed")) }
}

/// All of a response that comes in these pieces, read as a connection reads it: its status, its body, and what came
/// behind it.
#[cfg(any(fuzzing, test))]
pub(in crate::net) fn whole(pieces: &[&[u8]]) -> Result<(u16, Vec<u8>, Vec<u8>), Malformed> {
    let (mut read, mut search, mut head) = (Vec::new(), Search::default(), None);
    let (mut body, mut taken) = (Body(Stage::Over), Vec::new());
    for piece in pieces {
        read.extend_from_slice(piece);
        if head.is_none() {
            head = search.look(&read)?;
            let Some(head) = &head else { continue };
            body = head.body;
            head.fields(&read);
            read.drain(..head.end);
        }
        let mut bytes = &read[..];
        loop {
            let piece = body.take(&mut bytes)?;
            if piece.is_empty() {
                break;
            }
            taken.extend_from_slice(piece);
        }
        read = bytes.to_vec();
    }
    let head = head.ok_or(Other("it ends within its header"))?;
    if body.is_over() || body.has_no_end() {
        Ok((head.status.as_u16(), taken, read))
    } else {
        Err(Other("it ends within its body"))
    }
}

#[cfg(test)]
mod tests;
