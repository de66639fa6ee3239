//! The dialect table: what each system of the family calls things, one row each.
//!
//! Three generations of the family are here: the seed and groupcache, which only know a get; mailgun's fork and
//! groupcache-go, which added a ttl, a set and a remove; and our own. What differs between two systems is a field of
//! their rows wherever it can be one, so that a new system is a new row.
//! Pure; used by the client for what it sends and by the server for what it is sent.

use std::fmt;
use std::str::FromStr;

use http::{Method, StatusCode};

use crate::listed::Spelling;
use crate::message::Reply;
use crate::peers::Customs;
use crate::placement::RingHash;

/// Whose words a node uses towards its peers.
///
/// It answers all base paths at once; this chooses what it *sends*, and who is meant by the base path that three of the
/// family's systems share: the node's own dialect if that is one of them, else [`Golang`](Self::Golang).
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
    /// That of mailgun's fork of groupcache, version 2: with a ttl, set and remove.
    Mailgun,
    /// groupcache-go's, version 3: as mailgun's, with a ring of its own and a remove of many keys.
    GroupcacheGo,
}

/// A text that names no dialect.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0:?} is no dialect: {names}", names = Dialect::names())]
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
    /// All there are.
    pub const ALL: &'static [Self] =
        &[Self::Native, Self::Carrot, Self::Golang, Self::Mailgun, Self::GroupcacheGo];

    /// What all there are are called, for a line that says what can be chosen.
    pub fn names() -> String {
        let [names @ .., last] = ROWS.each_ref().map(|row| row.name);
        format!("{} or {last}", names.join(", "))
    }

    /// Whether it is one of the Go systems'. Such a dialect brings its ring, so that slots cannot be had beside it, and
    /// its peers cannot say who they are, so that a node's own url has to be in its list as it is spelled there.
    pub fn is_family(self) -> bool {
        self.row().ring.is_some()
    }

    /// What its ring hashes with; `None`: it places by what the user chooses.
    pub(crate) fn ring(self) -> Option<RingHash> {
        self.row().ring
    }

    /// How its ring spells a member.
    pub(crate) fn spelling(self) -> Spelling {
        self.row().spelling
    }

    pub(super) fn row(self) -> &'static Row {
        match self {
            Self::Native => &ROWS[0],
            Self::Carrot => &ROWS[1],
            Self::Golang => &ROWS[2],
            Self::Mailgun => &ROWS[3],
            Self::GroupcacheGo => &ROWS[4],
        }
    }
}

/// The name of the outcome of a native request, where the answer is no.
pub(super) const OUTCOME: &str = "x-carrot-outcome";
/// `1`: the owner cannot be reached, and this node is asked in its place.
pub(super) const STAND_IN: &str = "x-carrot-stand-in";
/// `1`: answer from memory or not at all.
pub(super) const CACHED_ONLY: &str = "x-carrot-cached-only";

const PROTOBUF: &str = "application/x-protobuf";

/// The key whose POST removes many keys, in the one row that has it.
const REMOVE_KEYS: &[u8] = b"_remove-keys/";

/// How a row tells one refusal from another.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Words {
    /// By a header that names the outcome.
    Header,
    /// By the status alone.
    Status,
    /// By the status and, where two outcomes have one, by how the text begins.
    Text,
}

/// What is particular to one dialect.
#[derive(Debug)]
pub(super) struct Row {
    pub(super) dialect: Dialect,
    pub(super) name: &'static str,
    /// Where its targets begin: a slash, one segment, a slash.
    pub(super) base: &'static str,
    /// The byte that a raw `+` stands for.
    pub(super) plus: u8,
    /// What it can be asked at `base{group}/{key}`; anything else is 405.
    pub(super) verbs: &'static [Method],
    /// The same as `Allow` lists them.
    allow: &'static str,
    /// Of a reply that carries a value.
    pub(super) content_type: &'static str,
    /// The status of a set or remove that is done.
    pub(super) done: StatusCode,
    pub(super) words: Words,
    /// The status that says an outcome.
    pub(super) status: fn(Outcome) -> u16,
    /// The outcome that a status says, where no header names it.
    pub(super) outcome: fn(u16) -> Option<Outcome>,
    /// What its ring hashes with, if it has one.
    ring: Option<RingHash>,
    /// How its ring spells a member.
    spelling: Spelling,
    /// What peers of this row do with what they are told.
    pub(super) customs: Customs,
}

impl Row {
    /// Whether it has a set and a remove.
    pub(super) fn writes(&self) -> bool {
        self.verbs.contains(&Method::PUT)
    }

    /// Whether it says of a value when that ends, by the wall clock.
    pub(super) fn tells_ends(&self) -> bool {
        matches!(self.dialect, Dialect::Mailgun | Dialect::GroupcacheGo)
    }

    /// Whether a POST of a group gives the values of the keys that its body lists.
    pub(super) fn gets_many(&self) -> bool {
        self.dialect == Dialect::Native
    }

    /// Whether a POST of this key removes those that its body lists.
    pub(super) fn removes_many(&self, key: &[u8]) -> bool {
        self.dialect == Dialect::GroupcacheGo && key == REMOVE_KEYS
    }

    /// What can be done at this key, as `Allow` lists it.
    pub(super) fn allow(&self, key: &[u8]) -> &'static str {
        if self.removes_many(key) { "GET, PUT, DELETE, POST" } else { self.allow }
    }
}

/// The family's older systems: one verb, which is a get, and no ttl.
const READ_ONLY: &[Method] = &[Method::GET];
/// All that can be done to one key.
const READ_WRITE: &[Method] = &[Method::GET, Method::PUT, Method::DELETE];

/// One for each dialect, in the order of [`Dialect::ALL`]. Of those that share a base path the first is meant by it where
/// the node's own dialect does not say otherwise.
pub(super) static ROWS: [Row; 5] = [
    Row {
        dialect: Dialect::Native,
        name: "native",
        base: "/_carrot/",
        plus: b'+',
        verbs: READ_WRITE,
        allow: "GET, PUT, DELETE",
        content_type: PROTOBUF,
        done: StatusCode::NO_CONTENT,
        words: Words::Header,
        status: native_status,
        outcome: native_outcome,
        ring: None,
        spelling: Spelling::One,
        customs: Customs::NATIVE,
    },
    Row {
        dialect: Dialect::Carrot,
        name: "carrot",
        base: "/carrotCache/",
        plus: b' ',
        verbs: READ_ONLY,
        allow: "GET",
        content_type: "application/octet-stream",
        done: StatusCode::NO_CONTENT,
        words: Words::Status,
        status: family_status,
        outcome: family_outcome,
        ring: Some(RingHash::Crc32),
        spelling: Spelling::AsListed,
        customs: Customs { tell_all: false, drops_ttl: Some("carrot") },
    },
    Row {
        dialect: Dialect::Golang,
        name: "golang",
        base: "/_groupcache/",
        plus: b' ',
        verbs: READ_ONLY,
        allow: "GET",
        content_type: PROTOBUF,
        done: StatusCode::NO_CONTENT,
        words: Words::Status,
        status: family_status,
        outcome: family_outcome,
        ring: Some(RingHash::Crc32),
        spelling: Spelling::AsListed,
        customs: Customs { tell_all: false, drops_ttl: Some("golang") },
    },
    Row {
        dialect: Dialect::Mailgun,
        name: "mailgun",
        base: "/_groupcache/",
        plus: b'+',
        verbs: READ_WRITE,
        allow: "GET, PUT, DELETE",
        content_type: PROTOBUF,
        done: StatusCode::OK,
        words: Words::Text,
        status: newer_status,
        outcome: newer_outcome,
        ring: Some(RingHash::Fnv1),
        spelling: Spelling::AsListed,
        customs: Customs { tell_all: true, drops_ttl: None },
    },
    Row {
        dialect: Dialect::GroupcacheGo,
        name: "groupcache-go",
        base: "/_groupcache/",
        plus: b'+',
        verbs: READ_WRITE,
        allow: "GET, PUT, DELETE",
        content_type: PROTOBUF,
        done: StatusCode::OK,
        words: Words::Text,
        status: newer_status,
        outcome: newer_outcome,
        ring: Some(RingHash::Fnv1),
        spelling: Spelling::Bare,
        customs: Customs { tell_all: true, drops_ttl: None },
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

    /// The reply that says so, with a text that says why where there is one for it.
    pub(super) fn reply(self, why: &str) -> Reply {
        match self {
            Self::NotFound => Reply::NotFound,
            Self::NotCached => Reply::NotCached,
            Self::NoGroup => Reply::NoGroup,
            Self::NotOwner => Reply::NotOwner,
            Self::LoadFailed => Reply::LoadFailed(why.into()),
            Self::Busy => Reply::Busy(why.into()),
            Self::Deadline => Reply::Deadline,
            Self::TooLarge => Reply::TooLarge(why.into()),
            Self::BadRequest => Reply::BadRequest(why.into()),
            Self::Unsupported => Reply::Unsupported,
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

/// Peers of mailgun's fork and of groupcache-go take a 404 for a key that is not there and a 503 for a load that failed,
/// and load for themselves on anything else: where our owner has tried or is at a limit, a 503 keeps them from it.
fn newer_status(outcome: Outcome) -> u16 {
    match outcome {
        Outcome::NotFound | Outcome::NoGroup => 404,
        Outcome::LoadFailed | Outcome::Busy | Outcome::Deadline => 503,
        Outcome::BadRequest => 400,
        Outcome::TooLarge => 413,
        Outcome::NotCached | Outcome::NotOwner | Outcome::Unsupported => 500,
    }
}

/// Two outcomes share a 404 and two a 503: `reply.rs` looks at the text too.
fn newer_outcome(status: u16) -> Option<Outcome> {
    match status {
        404 => Some(Outcome::NotFound),
        500 | 503 => Some(Outcome::LoadFailed),
        400 => Some(Outcome::BadRequest),
        405 => Some(Outcome::Unsupported),
        413 | 414 | 431 => Some(Outcome::TooLarge),
        _ => None,
    }
}

#[cfg(test)]
mod tests;
