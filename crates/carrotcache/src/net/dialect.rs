//! The dialect table: what each system of the family calls things, one row each, and how a request's target is read
//! and written.
//!
//! The seed and groupcache escape keys with Go's `QueryEscape`, where a space becomes `+` and a plus `%2B`, and read
//! them back with rules under which `+` stays a plus: there `a b` and `a+b` are one key. Here a raw `+` is what the
//! row's clients mean by it. Targets are read by bytes, each half decoded once, with no notion of dot segments,
//! double slashes or case, so that every key a client can name is the key it gets.
//! Pure; used by the client for what it sends and by the server for what it is sent.

use std::fmt;
use std::str::FromStr;

use http::Method;

/// Whose words a node uses towards its peers.
///
/// It answers all of them at once, each under its own base path; this chooses what it *sends*.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Dialect {
    /// Our own: every outcome typed, with ttl and age, and with set and remove.
    #[default]
    Native,
    /// carrotCache's, the seed's.
    Carrot,
    /// golang/groupcache's.
    Golang,
}

/// A text that names no dialect.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0:?} is no dialect: native, carrot or golang")]
pub struct BadDialect(String);

impl FromStr for Dialect {
    type Err = BadDialect;
    fn from_str(text: &str) -> Result<Self, BadDialect> {
        ROWS.iter()
            .find(|row| row.name == text)
            .map(|row| row.dialect)
            .ok_or_else(|| BadDialect(text.chars().take(40).collect()))
    }
}

impl fmt::Display for Dialect {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.row().name)
    }
}

impl Dialect {
    pub(super) fn row(self) -> &'static Row {
        match self {
            Self::Native => &ROWS[0],
            Self::Carrot => &ROWS[1],
            Self::Golang => &ROWS[2],
        }
    }
}

/// The name of the outcome of a native request, where the answer is no.
pub(super) const OUTCOME: &str = "x-carrot-outcome";
/// `1`: the owner cannot be reached, and this node is asked in its place.
pub(super) const STAND_IN: &str = "x-carrot-stand-in";
/// `1`: answer from memory or not at all.
pub(super) const CACHED_ONLY: &str = "x-carrot-cached-only";

/// Where the native row is asked what is held of a key: `~` is outside the alphabet of groups, so none is hidden.
const HELD: &str = "/_carrot/~held/";

const PROTOBUF: &str = "application/x-protobuf";

/// What is particular to one dialect.
#[derive(Debug)]
pub(super) struct Row {
    pub(super) dialect: Dialect,
    name: &'static str,
    /// Where its targets begin: a slash, one segment, a slash.
    base: &'static str,
    /// The byte that a raw `+` stands for.
    plus: u8,
    /// What it can be asked at `base{group}/{key}`; anything else is 405.
    pub(super) verbs: &'static [Method],
    /// The same as `Allow` lists them.
    pub(super) allow: &'static str,
    /// Of a reply that carries a value.
    pub(super) content_type: &'static str,
    /// The status that says an outcome.
    pub(super) status: fn(Outcome) -> u16,
    /// The outcome that a status says, where no header names it.
    pub(super) outcome: fn(u16) -> Option<Outcome>,
}

static ROWS: [Row; 3] = [
    Row {
        dialect: Dialect::Native,
        name: "native",
        base: "/_carrot/",
        plus: b'+',
        verbs: &[Method::GET, Method::PUT, Method::DELETE],
        allow: "GET, PUT, DELETE",
        content_type: PROTOBUF,
        status: native_status,
        outcome: native_outcome,
    },
    Row {
        dialect: Dialect::Carrot,
        name: "carrot",
        base: "/carrotCache/",
        plus: b' ',
        verbs: &[Method::GET],
        allow: "GET",
        content_type: "application/octet-stream",
        status: family_status,
        outcome: family_outcome,
    },
    Row {
        dialect: Dialect::Golang,
        name: "golang",
        base: "/_groupcache/",
        plus: b' ',
        verbs: &[Method::GET],
        allow: "GET",
        content_type: PROTOBUF,
        status: family_status,
        outcome: family_outcome,
    },
];

/// The ways to be told no.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Outcome {
    NotFound,
    NotCached,
    NoGroup,
    NotOwner,
    LoadFailed,
    Busy,
    Deadline,
    TooLarge,
    BadRequest,
    Unsupported,
}

impl Outcome {
    pub(super) const ALL: [Self; 10] = [
        Self::NotFound,
        Self::NotCached,
        Self::NoGroup,
        Self::NotOwner,
        Self::LoadFailed,
        Self::Busy,
        Self::Deadline,
        Self::TooLarge,
        Self::BadRequest,
        Self::Unsupported,
    ];

    /// As `X-Carrot-Outcome` spells it.
    pub(super) fn name(self) -> &'static str {
        match self {
            Self::NotFound => "not_found",
            Self::NotCached => "not_cached",
            Self::NoGroup => "no_group",
            Self::NotOwner => "not_owner",
            Self::LoadFailed => "load_failed",
            Self::Busy => "busy",
            Self::Deadline => "deadline",
            Self::TooLarge => "too_large",
            Self::BadRequest => "bad_request",
            Self::Unsupported => "unsupported",
        }
    }

    pub(super) fn named(name: &[u8]) -> Option<Self> {
        Self::ALL.into_iter().find(|outcome| outcome.name().as_bytes() == name)
    }
}

fn native_status(outcome: Outcome) -> u16 {
    match outcome {
        Outcome::NotFound | Outcome::NotCached | Outcome::NoGroup => 404,
        // Misdirected Request.
        Outcome::NotOwner => 421,
        Outcome::LoadFailed => 502,
        Outcome::Busy => 503,
        Outcome::Deadline => 504,
        Outcome::TooLarge => 413,
        Outcome::BadRequest => 400,
        Outcome::Unsupported => 501,
    }
}

/// Only the answers that come from below the node, where nobody knows of outcomes: hyper's own to a target or a
/// header that is too long, and that of a node without the verb. Any other bare status is not a native node's.
fn native_outcome(status: u16) -> Option<Outcome> {
    match status {
        414 | 431 => Some(Outcome::TooLarge),
        405 => Some(Outcome::Unsupported),
        _ => None,
    }
}

/// Go peers tell 200 from the rest and load for themselves on any of these; the differences are for people.
fn family_status(outcome: Outcome) -> u16 {
    match outcome {
        Outcome::NoGroup => 404,
        Outcome::Busy => 503,
        Outcome::BadRequest => 400,
        Outcome::TooLarge => 413,
        Outcome::NotFound
        | Outcome::NotCached
        | Outcome::NotOwner
        | Outcome::LoadFailed
        | Outcome::Deadline
        | Outcome::Unsupported => 500,
    }
}

/// A key that is not there and a loader that failed are both 500, and are both taken as the latter.
fn family_outcome(status: u16) -> Option<Outcome> {
    match status {
        404 => Some(Outcome::NoGroup),
        500 => Some(Outcome::LoadFailed),
        503 => Some(Outcome::Busy),
        400 => Some(Outcome::BadRequest),
        413 | 414 | 431 => Some(Outcome::TooLarge),
        _ => None,
    }
}

/// Where a request's target leads.
#[derive(Debug)]
pub(super) enum Route {
    /// A key of a group, by the row whose base path it stands under. Both halves are whatever was sent.
    Entry { row: &'static Row, group: Vec<u8>, key: Vec<u8> },
    /// `/_carrot/~held/{group}/{key}`. Both halves are whatever was sent.
    Held { group: Vec<u8>, key: Vec<u8> },
    /// `/_carrot/id`.
    Id,
    /// `/_carrot/members`.
    Members,
    /// Under a base path, but not to be read.
    Malformed { row: &'static Row, why: &'static str },
    /// No path of ours.
    Nowhere,
}

/// Reads a raw request target.
pub(super) fn route(target: &[u8]) -> Route {
    let path = target.split(|&b| b == b'?').next().unwrap_or_default();
    match path {
        b"/_carrot/id" => return Route::Id,
        b"/_carrot/members" => return Route::Members,
        _ => {}
    }
    if let Some(rest) = path.strip_prefix(HELD.as_bytes()) {
        return match entry(Dialect::Native.row(), rest) {
            Route::Entry { group, key, .. } => Route::Held { group, key },
            malformed => malformed,
        };
    }
    let under = |row: &'static Row| Some((row, path.strip_prefix(row.base.as_bytes())?));
    match ROWS.iter().find_map(under) {
        Some((row, rest)) => entry(row, rest),
        None => Route::Nowhere,
    }
}

/// Reads what is behind a base path.
fn entry(row: &'static Row, rest: &[u8]) -> Route {
    let Some(slash) = rest.iter().position(|&b| b == b'/') else {
        return Route::Malformed { row, why: "bad request: the path is no group/key" };
    };
    match (unescape(&rest[..slash], row.plus), unescape(&rest[slash + 1..], row.plus)) {
        (Some(group), Some(key)) => Route::Entry { row, group, key },
        _ => Route::Malformed { row, why: "bad request: bad percent escape" },
    }
}

/// The target under which a peer of this row knows the key. Never longer than the base path and three bytes for each
/// of the group's and the key's.
pub(super) fn target(row: &Row, group: &[u8], key: &[u8]) -> String {
    let mut target = String::with_capacity(row.base.len() + group.len() + key.len() + 1);
    target.push_str(row.base);
    escape(group, &mut target);
    target.push('/');
    escape(key, &mut target);
    target
}

/// The target under which a native peer says what it holds of the key.
pub(super) fn held_target(group: &[u8], key: &[u8]) -> String {
    let mut target = HELD.to_owned();
    escape(group, &mut target);
    target.push('/');
    escape(key, &mut target);
    target
}

/// Escapes all but what every reader in the family, and every proxy between, leaves alone.
///
/// A half that is nothing but `.` or `..` has its dots escaped too, lest someone on the way read it as a step.
fn escape(half: &[u8], target: &mut String) {
    const HEX: &[u8; 16] = b"0123456789ABCDEF";
    let is_step = matches!(half, b"." | b"..");
    for &byte in half {
        let is_plain =
            byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_' | b'~') || (byte == b'.' && !is_step);
        if is_plain {
            target.push(char::from(byte));
        } else {
            target.push('%');
            target.push(char::from(HEX[usize::from(byte >> 4)]));
            target.push(char::from(HEX[usize::from(byte & 15)]));
        }
    }
}

/// Decodes percent escapes, once. `None`: a `%` without two hex digits.
fn unescape(half: &[u8], plus: u8) -> Option<Vec<u8>> {
    let mut bytes = Vec::with_capacity(half.len());
    let mut rest = half.iter();
    while let Some(&byte) = rest.next() {
        bytes.push(match byte {
            b'%' => hex(*rest.next()?)? << 4 | hex(*rest.next()?)?,
            b'+' => plus,
            other => other,
        });
    }
    Some(bytes)
}

fn hex(digit: u8) -> Option<u8> {
    char::from(digit).to_digit(16).and_then(|n| u8::try_from(n).ok())
}

#[cfg(test)]
mod tests;
