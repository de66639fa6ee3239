//! A request to a peer in the words of a row: how it is written, and how its reply is read.
//!
//! Written as bytes at once: every part of a head is our own ASCII, but for the host, which was looked at before.
//! Not a URL on the way: parsers of those take dot segments away.
//! Pure, but for the wall clock that the family's ttls need. Kept until it is answered, since it may be sent twice.

use std::sync::Arc;

use bytes::Bytes;
use prost::Message;

use crate::clock;
use crate::error::PeerError;
use crate::limits::Limits;
use crate::memory::MemoryFull;
use crate::message::{Reply, Request};
use crate::net::dialect::{CACHED_ONLY, Dialect, Row, STAND_IN};
use crate::net::reply::{self, Asked, Fields, Verb};
use crate::net::target::{change_target, group_target, held_target, target};
use crate::net::wire;
use crate::net::wire::family::FamilySetRequest;
use crate::net::wire::many::PER_ANSWER;

/// What a reply may hold beside its value, in bytes; that to many keys holds more, see `PER_ANSWER`.
const SLACK: usize = 64 << 10;

/// A request as the row says it.
#[derive(Clone)]
pub(super) struct Call {
    row: &'static Row,
    what: Request,
}

/// Whether the row has a way to say this.
///
/// In the family's older rows every method is a get, and a get may load: there a set or a remove would do the opposite
/// of what it means and look like a success, and so in any of its rows would a get that must not load. A path that they
/// do not know makes a Go peer panic; its base path alone it refuses as it should, and so says that it lives, which is
/// what an id is asked for where there are none. That a stand-in is asked as one can be said everywhere: a Go peer
/// passes over the header, and answers all the same.
pub(super) fn can_say(row: &Row, what: &Request) -> bool {
    let is_native = row.dialect == Dialect::Native;
    match what {
        Request::Get { cached_only, .. } => is_native || !cached_only,
        Request::Set { .. } | Request::Remove { .. } => row.writes(),
        Request::GetMany { .. } => row.gets_many(),
        Request::Change { .. } | Request::Clear { .. } | Request::Held { .. } | Request::Members => is_native,
        Request::Id => true,
    }
}

impl Call {
    /// `None`: the row has no way to say this.
    pub(super) fn new(row: &'static Row, what: Request) -> Option<Self> {
        can_say(row, &what).then_some(Self { row, what })
    }

    /// Appends the request to `out`. `said` is what stands in the head of every request to the peer: the rest of the first
    /// line, and whole lines.
    pub(super) fn write(&self, said: &[u8], out: &mut Vec<u8>) {
        self.write_target(out);
        out.extend_from_slice(said);
        if let Request::Get { stand_in, cached_only, .. } = &self.what {
            for (_, flag) in
                [(stand_in, STAND_IN), (cached_only, CACHED_ONLY)].iter().filter(|(is_set, _)| **is_set)
            {
                out.extend_from_slice(flag.as_bytes());
                out.extend_from_slice(b": 1\r\n");
            }
        }
        match &self.what {
            Request::GetMany { keys, stand_in, cached_only, .. } => {
                write_body(&wire::GetManyRequest::new(keys, *stand_in, *cached_only), out);
            }
            Request::Set { value, ttl, .. } if self.row.dialect == Dialect::Native => {
                write_body(&wire::SetRequest::new(value.clone(), *ttl), out);
            }
            Request::Set { group, key, value, ttl } => {
                let (value, now) = (value.clone(), clock::unix_nanos());
                write_body(&FamilySetRequest::new(group.as_str(), key, value, *ttl, now), out);
            }
            Request::Change { change, .. } => write_body(&wire::ChangeRequest::from(change.clone()), out),
            Request::Get { .. }
            | Request::Remove { .. }
            | Request::Clear { .. }
            | Request::Held { .. }
            | Request::Id
            | Request::Members => out.extend_from_slice(b"\r\n"),
        }
    }

    /// The method and the target.
    fn write_target(&self, out: &mut Vec<u8>) {
        out.extend_from_slice(match &self.what {
            Request::Get { .. } | Request::Held { .. } | Request::Id | Request::Members => b"GET ",
            Request::Set { .. } => b"PUT ",
            Request::GetMany { .. } | Request::Change { .. } => b"POST ",
            Request::Remove { .. } | Request::Clear { .. } => b"DELETE ",
        });
        match &self.what {
            Request::Get { group, key, .. }
            | Request::Set { group, key, .. }
            | Request::Remove { group, key } => {
                target(self.row, group.as_str().as_bytes(), key.as_bytes(), out);
            }
            Request::GetMany { group, .. } | Request::Clear { group } => {
                group_target(self.row, group.as_str().as_bytes(), out);
            }
            Request::Change { group, key, .. } => {
                change_target(group.as_str().as_bytes(), key.as_bytes(), out);
            }
            Request::Held { group, key } => held_target(group.as_str().as_bytes(), key.as_bytes(), out),
            Request::Id if self.row.dialect == Dialect::Native => out.extend_from_slice(b"/_carrot/id"),
            Request::Id => out.extend_from_slice(self.row.base.as_bytes()),
            Request::Members => out.extend_from_slice(b"/_carrot/members"),
        }
    }

    fn verb(&self) -> Verb {
        match &self.what {
            Request::Get { .. } => Verb::Get,
            Request::GetMany { .. } => Verb::GetMany,
            Request::Set { .. } => Verb::Set,
            Request::Remove { .. } => Verb::Remove,
            Request::Change { .. } => Verb::Change,
            Request::Clear { .. } => Verb::Clear,
            Request::Held { .. } => Verb::Held,
            Request::Id => Verb::Id,
            Request::Members => Verb::Members,
        }
    }

    fn group(&self) -> &str {
        match &self.what {
            Request::Get { group, .. }
            | Request::GetMany { group, .. }
            | Request::Set { group, .. }
            | Request::Remove { group, .. }
            | Request::Change { group, .. }
            | Request::Clear { group }
            | Request::Held { group, .. } => group.as_str(),
            Request::Id | Request::Members => "",
        }
    }

    /// The most that a reply which carries a value may hold, in bytes.
    pub(super) fn value_limit(&self, limits: &Limits) -> usize {
        let value = usize::try_from(limits.value.as_u64()).unwrap_or(usize::MAX);
        let many = if let Request::GetMany { keys, .. } = &self.what { keys.len() * PER_ANSWER } else { 0 };
        value.saturating_add(SLACK + many)
    }

    /// What it means that there is no memory for the reply.
    pub(super) fn full(&self, full: MemoryFull) -> PeerError {
        match self.verb() {
            // The peer may have done it.
            Verb::Set | Verb::Remove | Verb::Change | Verb::Clear => PeerError::broken(&full.to_string()),
            _ => PeerError::Memory(full),
        }
    }

    /// What the reply says; `giver` is whom the last one named as a value's giver.
    pub(super) fn read(
        &self,
        head: Fields<'_>,
        body: Bytes,
        giver: &Arc<str>,
        limits: &Limits,
    ) -> Result<Reply, PeerError> {
        let asked = Asked {
            verb: self.verb(),
            group: self.group(),
            giver,
            value_limit: limits.value.as_u64(),
            // Read where it counts alone: a clock costs as much as a small message.
            unix_nanos: if self.row.tells_ends() { clock::unix_nanos() } else { 0 },
        };
        reply::decode(self.row, asked, head, body)
    }
}

/// The end of the head, and the message.
fn write_body(message: &impl Message, out: &mut Vec<u8>) {
    out.extend_from_slice(b"content-type: application/x-protobuf\r\ncontent-length: ");
    out.extend_from_slice(message.encoded_len().to_string().as_bytes());
    out.extend_from_slice(b"\r\n\r\n");
    message.encode(out).expect("a vector has room for any message");
}
