//! What frames say, in `message.rs`' words: requests and answers, each way.
//!
//! Pure: bodies come in whole and go out into an outbox; `link.rs` and `session.rs` move them.

use std::sync::Arc;
use std::time::Instant;

use bytes::Bytes;
use prost::{DecodeError, Message};

use crate::message::{Reply, Request};
use crate::net::frame::Kind;
use crate::net::intake::NoRoom;
use crate::net::outbox::{Gotten, Outbox};
use crate::net::reply::TEXT_LIMIT;
use crate::net::wire::framed::{GetKeys, OneKey, SetKey, Words};
use crate::net::wire::{self, Answers, ChangeKey, ChangeRequest, Changed, Held, Members, Response};
use crate::net::wire::{in_place, many};
use crate::units::{GroupName, Key};

/// What a frame asks.
#[derive(Debug)]
pub(super) enum Asked {
    /// What a node answers.
    One(Request),
    /// Only a sign of life.
    Ping,
    /// There can be no group of that name.
    NoGroup,
    /// A message of its kind that says nothing which can be done; why.
    NoSense(&'static str),
    /// A kind that is not known here.
    Unsupported,
}

/// What a request says that is none for values; the error is that its body is no message of its kind.
pub(super) fn asked(kind: Kind, body: Bytes) -> Result<Asked, DecodeError> {
    let of = |name: &str| GroupName::new(name).ok();
    Ok(match kind {
        Kind::SET => {
            let SetKey { group, key, ttl_ms, value } = SetKey::decode(body)?;
            let ttl = ttl_ms.map(wire::span);
            of(&group).map_or(Asked::NoGroup, |group| {
                Asked::One(Request::Set { group, key: Key::new(&key), value, ttl })
            })
        }
        Kind::REMOVE => one(body, |group, key| Request::Remove { group, key })?,
        Kind::CHANGE => {
            let ChangeKey { group, key, change, value } = ChangeKey::decode(body)?;
            match (of(&group), change.unwrap_or_default().with(value).into_change()) {
                (None, _) => Asked::NoGroup,
                (_, None) => Asked::NoSense("a change that is not known"),
                (Some(group), Some(change)) => {
                    Asked::One(Request::Change { group, key: Key::new(&key), change })
                }
            }
        }
        Kind::CLEAR => one(body, |group, _| Request::Clear { group })?,
        Kind::HELD => one(body, |group, key| Request::Held { group, key })?,
        Kind::ID => Asked::One(Request::Id),
        Kind::MEMBERS => Asked::One(Request::Members),
        Kind::PING => Asked::Ping,
        _ => Asked::Unsupported,
    })
}

fn one(body: Bytes, request: impl FnOnce(GroupName, Key) -> Request) -> Result<Asked, DecodeError> {
    let OneKey { group, key } = OneKey::decode(body)?;
    Ok(GroupName::new(&group).map_or(Asked::NoGroup, |group| Asked::One(request(group, Key::new(&key)))))
}

/// The kind that asks this.
pub(super) fn kind_of(what: &Request) -> Kind {
    match what {
        Request::Get { .. } => Kind::GET,
        Request::GetMany { .. } => Kind::GET_MANY,
        Request::Set { .. } => Kind::SET,
        Request::Remove { .. } => Kind::REMOVE,
        Request::Change { .. } => Kind::CHANGE,
        Request::Clear { .. } => Kind::CLEAR,
        Request::Held { .. } => Kind::HELD,
        Request::Id => Kind::ID,
        Request::Members => Kind::MEMBERS,
    }
}

/// Asks for this under `id`. Nothing is put in if there is no room for it.
pub(super) fn ask(
    out: &mut Outbox,
    id: u64,
    what: &Request,
    (now, deadline): (Instant, Instant),
) -> Result<(), NoRoom> {
    let about = |group: &GroupName, key: &Key| OneKey {
        group: group.as_str().to_owned(),
        key: Bytes::copy_from_slice(key.as_bytes()),
    };
    match what {
        Request::Get { group, key, stand_in, cached_only } => {
            let asked = Gotten { group: group.clone(), stand_in: *stand_in, cached_only: *cached_only };
            out.get(id, asked, key.as_bytes(), (now, deadline));
        }
        Request::GetMany { group, keys, stand_in, cached_only } => {
            let allowed = deadline.saturating_duration_since(now);
            let message = GetKeys {
                group: group.as_str().to_owned(),
                deadline_ms: Some(u64::try_from(allowed.as_millis()).unwrap_or(u64::MAX)),
                stand_in: *stand_in,
                cached_only: *cached_only,
                keys: Vec::new(),
            };
            let of_keys: usize = keys.iter().map(|key| GetKeys::key_len(key.as_bytes())).sum();
            let length = message.encoded_len() + of_keys;
            return out.values(id, Kind::GET_MANY, length, 0, |out| {
                message.encode_raw(out);
                keys.iter().for_each(|key| GetKeys::put_key(key.as_bytes(), out));
            });
        }
        Request::Set { group, key, value, ttl } => {
            let OneKey { group, key } = about(group, key);
            let message = SetKey { group, key, ttl_ms: ttl.map(wire::floor_ms), value: Bytes::new() };
            return out.value(id, Kind::SET, &message, SetKey::VALUE, value.clone().into());
        }
        Request::Remove { group, key } => out.message(id, Kind::REMOVE, &about(group, key)),
        Request::Change { group, key, change } => {
            let OneKey { group, key } = about(group, key);
            let (change, value) = ChangeRequest::from(change.clone()).without_value();
            let message = ChangeKey { group, key, change: Some(change), value: Bytes::new() };
            return out.value(id, Kind::CHANGE, &message, ChangeKey::VALUE, value.into());
        }
        Request::Clear { group } => {
            let message = OneKey { group: group.as_str().to_owned(), key: Bytes::new() };
            out.message(id, Kind::CLEAR, &message);
        }
        Request::Held { group, key } => out.message(id, Kind::HELD, &about(group, key)),
        Request::Id => out.bare(id, Kind::ID),
        Request::Members => out.bare(id, Kind::MEMBERS),
    }
    Ok(())
}

/// Answers the request with this id, as the node `own`. Nothing is put in if memory has no room for a value in it.
pub(super) fn reply(out: &mut Outbox, id: u64, reply: Reply, own: &str) -> Result<(), NoRoom> {
    let values = reply.value_bytes();
    match reply {
        Reply::Found(found) => {
            let message = Response::before_value(&found, own);
            return out.value(id, Kind::FOUND, &message, Response::VALUE, found.value);
        }
        Reply::Many(replies) => {
            let length = many::encoded_len(&replies, own);
            return out.values(id, Kind::MANY, length, values, |out| many::encode(&replies, own, out));
        }
        // Of many answers alone, never of one.
        Reply::LeftOut => out.bare(id, Kind::UNSUPPORTED),
        Reply::Done => out.bare(id, Kind::DONE),
        Reply::Changed(changed) => out.message(id, Kind::CHANGED, &Changed { changed }),
        Reply::NotFound => out.bare(id, Kind::NOT_FOUND),
        Reply::NotCached => out.bare(id, Kind::NOT_CACHED),
        Reply::NoGroup => out.bare(id, Kind::NO_GROUP),
        Reply::NotOwner => out.bare(id, Kind::NOT_OWNER),
        Reply::LoadFailed(why) => out.message(id, Kind::LOAD_FAILED, &words(&why)),
        Reply::Busy(why) => out.message(id, Kind::BUSY, &words(&why)),
        Reply::Deadline => out.bare(id, Kind::DEADLINE),
        Reply::TooLarge(why) => out.message(id, Kind::TOO_LARGE, &words(&why)),
        Reply::BadRequest(why) => out.message(id, Kind::BAD_REQUEST, &words(&why)),
        Reply::Unsupported => out.bare(id, Kind::UNSUPPORTED),
        Reply::Id(id_of_node) => out.message(id, Kind::ID_IS, &words(&id_of_node)),
        Reply::Members(names) => {
            let names = names.iter().map(|name| name.as_ref().to_owned()).collect();
            let members = Members { names };
            let length = members.encoded_len();
            return out.values(id, Kind::MEMBERS_ARE, length, 0, |out| members.encode_raw(out));
        }
        Reply::Held(held) => out.message(id, Kind::HELD_IS, &Held::from(held)),
    }
    Ok(())
}

/// What the answers to gets say, as far as they can be read where they lie: see `wire/in_place.rs`.
pub(super) fn answer_in_place(
    kind: Kind,
    body: &[u8],
    giver: &Arc<str>,
    copied: &mut impl FnMut(&[u8]) -> Bytes,
) -> Option<Reply> {
    let named = |name: &str| if name.is_empty() { giver.clone() } else { Arc::from(name) };
    match kind {
        Kind::FOUND => in_place::found(body, &named, copied).map(Reply::Found),
        Kind::MANY => in_place::many(body, &named, copied).map(Reply::Many),
        _ => None,
    }
}

/// Such an answer, if the request was of a kind that it answers.
pub(super) fn fitting(asked: Kind, kind: Kind, reply: Reply) -> Result<Reply, Arc<str>> {
    match (asked, kind) {
        (Kind::GET, Kind::FOUND) | (Kind::GET_MANY, Kind::MANY) => Ok(reply),
        _ => Err(no_answer(asked, kind)),
    }
}

fn no_answer(asked: Kind, kind: Kind) -> Arc<str> {
    Arc::from(format!("{kind:?} is no answer to {asked:?}"))
}

/// What an answer to a request of the kind `asked` says; the error is why it is none. Of a value that is not said to be
/// another's, `giver` is the node.
pub(super) fn answer(asked: Kind, kind: Kind, body: Bytes, giver: &Arc<str>) -> Result<Reply, Arc<str>> {
    let malformed = |error: DecodeError| Arc::from(format!("malformed message: {error}"));
    let why = |body| Words::decode(body).map(|words| Arc::from(cut(&words.text))).map_err(malformed);
    Ok(match (kind, asked) {
        (Kind::FOUND, Kind::GET) => {
            Reply::Found(Response::decode(body).map_err(malformed)?.into_found(giver))
        }
        (Kind::MANY, Kind::GET_MANY) => {
            let answers = Answers::read(body)?.into_replies(giver);
            Reply::Many(answers.ok_or("an answer that is no outcome")?)
        }
        (Kind::DONE, Kind::SET | Kind::REMOVE | Kind::CLEAR) => Reply::Done,
        (Kind::CHANGED, Kind::CHANGE) => Reply::Changed(Changed::decode(body).map_err(malformed)?.changed),
        (Kind::NOT_FOUND, _) => Reply::NotFound,
        (Kind::NOT_CACHED, _) => Reply::NotCached,
        (Kind::NO_GROUP, _) => Reply::NoGroup,
        (Kind::NOT_OWNER, _) => Reply::NotOwner,
        (Kind::LOAD_FAILED, _) => Reply::LoadFailed(why(body)?),
        (Kind::BUSY, _) => Reply::Busy(why(body)?),
        (Kind::DEADLINE, _) => Reply::Deadline,
        (Kind::TOO_LARGE, _) => Reply::TooLarge(why(body)?),
        (Kind::BAD_REQUEST, _) => Reply::BadRequest(why(body)?),
        (Kind::UNSUPPORTED, _) => Reply::Unsupported,
        (Kind::ID_IS, Kind::ID) => Reply::Id(why(body)?),
        (Kind::MEMBERS_ARE, Kind::MEMBERS) => Reply::Members(Members::read(body)?),
        (Kind::HELD_IS, Kind::HELD) => Reply::Held(Held::decode(body).map_err(malformed)?.into_holding()),
        _ => return Err(no_answer(asked, kind)),
    })
}

fn words(text: &str) -> Words {
    Words { text: cut(text).to_owned() }
}

/// The first `TEXT_LIMIT` bytes of a text, less what would split a character.
fn cut(text: &str) -> &str {
    &text[..text.floor_char_boundary(TEXT_LIMIT)]
}
