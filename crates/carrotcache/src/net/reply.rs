//! Replies as status, headers and body, and back, by the rules of a row.
//!
//! The native row types every outcome by a header, so that "no such key" is never mistaken for "ask somebody else".
//! The family's rows have only statuses, and in the newer ones the beginning of a text; what they cannot say is read as
//! a failed load. Whatever is no reply of
//! the row (a redirect, a page of HTML, half a message) is `PeerError::Broken`.
//! Pure: bodies come in whole and go out whole, `client/` and `server.rs` move them.

use std::sync::Arc;

use bytes::Bytes;
use http::header::{ALLOW, CONTENT_TYPE, HeaderValue, X_CONTENT_TYPE_OPTIONS};
use http::{Response, StatusCode};
use prost::Message;

use crate::error::PeerError;
use crate::message::{Found, Reply};
use crate::net::cluster_name::{self, CLUSTER, OTHER_CLUSTER};
use crate::net::dialect::{Dialect, OUTCOME, Outcome, Row, Words};
use crate::net::quick::Replies;
use crate::net::wire;
use crate::net::wire::family::{self, CarrotResponse, GetResponse};
use crate::net::wire::in_place;
use crate::units::Key;

/// Longest text that says why, in bytes. It goes into logs and error lines, where a page helps nobody.
pub(super) const TEXT_LIMIT: usize = 1024;

/// Longest id of a node, in bytes.
const ID_LIMIT: usize = 128;

/// How the text of a row without a better word begins where a limit is reached. Go peers take such a 503 for a load that
/// failed, as they take any.
const BUSY: &str = "busy: ";

/// How the text begins where there is no such group, in Go as here.
const NO_GROUP: &str = "no such group: ";

/// What Go's ServeMux says of a path that nobody serves.
const NO_PAGE: &str = "404 page not found";

const TEXT: HeaderValue = HeaderValue::from_static("text/plain; charset=utf-8");

/// What was asked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Verb {
    Get,
    GetMany,
    Set,
    Remove,
    Change,
    Clear,
    Id,
    Members,
    Held,
}

/// What a request was about, for the texts of refusals, and when it is answered.
#[derive(Clone, Copy)]
pub(super) struct Subject<'a> {
    pub(super) group: &'a [u8],
    pub(super) key: &'a [u8],
    /// By the wall clock.
    pub(super) unix_nanos: i64,
}

/// What was asked, as far as it says how the answer is to be read, and when it is.
#[derive(Clone, Copy)]
pub(super) struct Asked<'a> {
    pub(super) verb: Verb,
    /// Empty where it was not about one.
    pub(super) group: &'a str,
    /// Who is named as a value's giver by most: of him no other copy is made.
    pub(super) giver: &'a Arc<str>,
    /// The longest value taken, in bytes.
    pub(super) value_limit: u64,
    /// By the wall clock.
    pub(super) unix_nanos: i64,
}

/// What of a response's head says what it means. Of fields that stand there twice the first.
#[derive(Clone, Copy, Debug)]
pub(super) struct Fields<'a> {
    pub(super) status: StatusCode,
    /// Empty where there is none.
    pub(super) content_type: &'a [u8],
    /// There is a content encoding.
    pub(super) is_encoded: bool,
    pub(super) location: Option<&'a [u8]>,
    pub(super) outcome: Option<&'a [u8]>,
    pub(super) cluster: Option<&'a [u8]>,
}

/// The response that says `reply` in the words of `row`.
pub(super) fn encode(row: &Row, about: Subject<'_>, reply: Reply) -> Response<Bytes> {
    match reply {
        Reply::Found(found) => value(row, found, about.unix_nanos),
        Reply::Many(replies) => typed(row, wire::Answers::from(replies).encode_to_vec()),
        // Of many answers alone, never of one.
        Reply::LeftOut => refusal(row, Outcome::Unsupported, "left out"),
        Reply::Done => status(row.done, Bytes::new()),
        Reply::Changed(changed) => typed(row, wire::Changed { changed }.encode_to_vec()),
        // Told though it is not the owner, as everybody is, it has dropped what it held: all that was wanted of it.
        Reply::NotOwner if row.customs.tell_all => status(row.done, Bytes::new()),
        Reply::Id(id) => text(StatusCode::OK, &id),
        Reply::Members(names) => members(row, &names),
        Reply::Held(held) => typed(row, wire::Held::from(held).encode_to_vec()),
        Reply::NotFound => refusal(row, Outcome::NotFound, &format!("no such key: {}", shown(about.key))),
        Reply::NotCached => refusal(row, Outcome::NotCached, &format!("not cached: {}", shown(about.key))),
        Reply::NoGroup => refusal(row, Outcome::NoGroup, &format!("{NO_GROUP}{}", shown(about.group))),
        Reply::NotOwner => refusal(row, Outcome::NotOwner, "another owns the key by this node's list"),
        Reply::LoadFailed(why) => refusal(row, Outcome::LoadFailed, &why),
        Reply::Busy(why) if row.words == Words::Text => refusal(row, Outcome::Busy, &format!("{BUSY}{why}")),
        Reply::Busy(why) => refusal(row, Outcome::Busy, &why),
        Reply::Deadline => refusal(row, Outcome::Deadline, "the load did not end in time"),
        Reply::TooLarge(why) => refusal(row, Outcome::TooLarge, &why),
        Reply::BadRequest(why) => refusal(row, Outcome::BadRequest, &why),
        Reply::Unsupported => refusal(row, Outcome::Unsupported, "not supported"),
    }
}

/// The answer to a target that is no path of ours.
pub(super) fn nowhere() -> Response<Bytes> {
    text(StatusCode::NOT_FOUND, "no such path")
}

/// The answer to a node of another cluster, from one of the cluster `ours`.
pub(super) fn other_cluster(ours: &str) -> Response<Bytes> {
    let mut response =
        text(StatusCode::MISDIRECTED_REQUEST, &format!("this node is of another cluster, {ours:?}"));
    response.headers_mut().insert(OUTCOME, HeaderValue::from_static(OTHER_CLUSTER));
    response.headers_mut().extend(cluster_name::header(ours).map(|name| (CLUSTER, name)));
    response
}

/// The answer to a method that the path does not take.
pub(super) fn wrong_method(allow: &'static str) -> Response<Bytes> {
    let mut response = text(StatusCode::METHOD_NOT_ALLOWED, "method not allowed");
    response.headers_mut().insert(ALLOW, HeaderValue::from_static(allow));
    response
}

/// The response with this value, as `encode` gives it, written at once. For a short one.
pub(super) fn put(row: &Row, found: Found, unix_nanos: i64, replies: &mut Replies) {
    let (head, value) = (replies.found(row.content_type), Value::of(row, found, unix_nanos));
    head.body(value.len(), |bytes| value.put(bytes));
}

/// The message that carries a value.
enum Value {
    /// Written from where it lies.
    Native(Found),
    Carrot(CarrotResponse),
    Pool(GetResponse),
}

impl Value {
    fn of(row: &Row, found: Found, unix_nanos: i64) -> Self {
        match row.dialect {
            Dialect::Native => Self::Native(found),
            Dialect::Carrot => Self::Carrot(CarrotResponse { value: found.value.into() }),
            Dialect::Golang => Self::Pool(GetResponse::without_end(found)),
            Dialect::Mailgun | Dialect::GroupcacheGo => Self::Pool(GetResponse::with_end(found, unix_nanos)),
        }
    }

    fn len(&self) -> usize {
        match self {
            Self::Native(found) => in_place::response_len(found),
            Self::Carrot(message) => message.encoded_len(),
            Self::Pool(message) => message.encoded_len(),
        }
    }

    fn put(&self, bytes: &mut Vec<u8>) {
        match self {
            Self::Native(found) => in_place::put_response(found, bytes),
            Self::Carrot(message) => message.encode_raw(bytes),
            Self::Pool(message) => message.encode_raw(bytes),
        }
    }
}

fn value(row: &Row, found: Found, unix_nanos: i64) -> Response<Bytes> {
    let value = Value::of(row, found, unix_nanos);
    let mut body = Vec::with_capacity(value.len());
    value.put(&mut body);
    typed(row, body)
}

fn members(row: &Row, names: &[Arc<str>]) -> Response<Bytes> {
    let names = names.iter().map(|name| name.as_ref().to_owned()).collect();
    typed(row, wire::Members { names }.encode_to_vec())
}

fn typed(row: &Row, body: Vec<u8>) -> Response<Bytes> {
    let mut response = status(StatusCode::OK, body.into());
    response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static(row.content_type));
    response
}

fn refusal(row: &Row, outcome: Outcome, why: &str) -> Response<Bytes> {
    let code = StatusCode::from_u16((row.status)(outcome)).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
    let mut response = text(code, cut(why));
    if row.words == Words::Header {
        response.headers_mut().insert(OUTCOME, HeaderValue::from_static(outcome.name()));
    }
    response
}

/// A line of text, as Go's `http.Error` sends one.
fn text(code: StatusCode, line: &str) -> Response<Bytes> {
    let mut response = status(code, format!("{line}\n").into());
    response.headers_mut().insert(CONTENT_TYPE, TEXT);
    response.headers_mut().insert(X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    response
}

fn status(code: StatusCode, body: Bytes) -> Response<Bytes> {
    let mut response = Response::new(body);
    *response.status_mut() = code;
    response
}

/// What a stranger sent, escaped and cut as keys are shown everywhere.
fn shown(bytes: &[u8]) -> Key {
    Key::new(bytes)
}

/// The first `TEXT_LIMIT` bytes of a text, less what would split a character.
fn cut(text: &str) -> &str {
    &text[..text.floor_char_boundary(TEXT_LIMIT)]
}

/// What a peer's response means.
pub(super) fn decode(row: &Row, asked: Asked<'_>, head: Fields<'_>, body: Bytes) -> Result<Reply, PeerError> {
    if head.is_encoded {
        return Err(broken("a reply with a content encoding that was not asked for"));
    }
    match (head.status.as_u16(), asked.verb) {
        (200, Verb::Get) => decode_value(row, asked, head, body),
        (200, Verb::GetMany) => decode_many(row, asked, head, body),
        (200, Verb::Change) => decode_changed(row, head, body),
        (_, Verb::Set | Verb::Remove | Verb::Clear) if head.status == row.done => decode_done(&body),
        (200, Verb::Id) => decode_id(head, &body),
        (200, Verb::Members) => decode_members(row, head, body),
        (200, Verb::Held) => decode_held(row, head, body),
        (300..=399, _) => {
            let to = head.location.unwrap_or_default();
            Err(broken(&format!("redirect to {:?}", to.escape_ascii().to_string())))
        }
        _ => decode_refusal(row, asked, head, &body),
    }
}

fn decode_value(row: &Row, asked: Asked<'_>, head: Fields<'_>, body: Bytes) -> Result<Reply, PeerError> {
    check_type(row, head)?;
    let get_response = |body: Bytes| GetResponse::decode(body).map_err(malformed);
    let found = match row.dialect {
        Dialect::Native => decode_native(asked, body)?,
        Dialect::Carrot => family::bare(CarrotResponse::decode(body).map_err(malformed)?.value, None),
        Dialect::Golang => get_response(body)?.into_found_without_end(),
        Dialect::Mailgun | Dialect::GroupcacheGo => get_response(body)?.into_found(asked.unix_nanos),
    };
    check_size(asked, &found)?;
    Ok(Reply::Found(found))
}

/// In place if it is as our own nodes write it.
fn decode_native(asked: Asked<'_>, body: Bytes) -> Result<Found, PeerError> {
    let named = |name: &str| if *name == **asked.giver { asked.giver.clone() } else { Arc::from(name) };
    match in_place::found(&body, &named, &mut |value| body.slice_ref(value)) {
        Some(found) => Ok(found),
        None => Ok(wire::Response::decode(body).map_err(malformed)?.into_found(&Arc::default())),
    }
}

/// One answer that is none, and the whole reply is none: what came before it may not be what was meant either.
fn decode_many(row: &Row, asked: Asked<'_>, head: Fields<'_>, body: Bytes) -> Result<Reply, PeerError> {
    check_type(row, head)?;
    let answers = wire::Answers::read(body).map_err(|why| broken(&why))?;
    let replies =
        answers.into_replies(&Arc::default()).ok_or_else(|| broken("an answer that is no outcome"))?;
    for reply in &replies {
        if let Reply::Found(found) = reply {
            check_size(asked, found)?;
        }
    }
    Ok(Reply::Many(replies))
}

fn check_size(asked: Asked<'_>, found: &Found) -> Result<(), PeerError> {
    let (length, limit) = (found.value.len(), asked.value_limit);
    if u64::try_from(length).is_ok_and(|length| length <= limit) {
        Ok(())
    } else {
        Err(broken(&format!("value of {length} bytes is over the limit of {limit}")))
    }
}

/// One of the family's older systems takes any method for a get: it answers a remove with the value, and has removed
/// nothing.
fn decode_done(body: &[u8]) -> Result<Reply, PeerError> {
    if body.is_empty() { Ok(Reply::Done) } else { Err(broken("a set or remove was answered with a value")) }
}

/// An empty body is a valid empty value, and so is many a short page by chance: a web server that happens to stand
/// where a peer should must not be believed. Forks of the family differ in what they call a value, but not in text.
fn check_type(row: &Row, head: Fields<'_>) -> Result<(), PeerError> {
    let found = head.content_type;
    let fits = match row.dialect {
        Dialect::Native => found == row.content_type.as_bytes(),
        Dialect::Carrot | Dialect::Golang | Dialect::Mailgun | Dialect::GroupcacheGo => {
            !found.starts_with(b"text/")
        }
    };
    if fits { Ok(()) } else { Err(broken(&format!("content type {:?}", found.escape_ascii().to_string()))) }
}

fn decode_id(head: Fields<'_>, body: &[u8]) -> Result<Reply, PeerError> {
    let id = body.trim_ascii_end();
    let is_text = head.content_type == TEXT.as_bytes();
    match std::str::from_utf8(id) {
        Ok(id)
            if is_text && (1..=ID_LIMIT).contains(&id.len()) && id.bytes().all(|b| b.is_ascii_graphic()) =>
        {
            Ok(Reply::Id(Arc::from(id)))
        }
        _ => Err(broken("the reply is no id")),
    }
}

fn decode_members(row: &Row, head: Fields<'_>, body: Bytes) -> Result<Reply, PeerError> {
    check_type(row, head)?;
    Ok(Reply::Members(wire::Members::read(body).map_err(|why| broken(&why))?))
}

fn decode_held(row: &Row, head: Fields<'_>, body: Bytes) -> Result<Reply, PeerError> {
    check_type(row, head)?;
    Ok(Reply::Held(wire::Held::decode(body).map_err(malformed)?.into_holding()))
}

fn decode_changed(row: &Row, head: Fields<'_>, body: Bytes) -> Result<Reply, PeerError> {
    check_type(row, head)?;
    Ok(Reply::Changed(wire::Changed::decode(body).map_err(malformed)?.changed))
}

fn decode_refusal(row: &Row, asked: Asked<'_>, head: Fields<'_>, body: &[u8]) -> Result<Reply, PeerError> {
    if let Some(error) =
        cluster_name::refusal(head.outcome, head.cluster).filter(|_| row.words == Words::Header)
    {
        return Err(error);
    }
    let bare = || broken(&format!("status {}", head.status));
    let lossy = String::from_utf8_lossy(body);
    let text = lossy.trim();
    let status = (row.outcome)(head.status.as_u16());
    let (outcome, text) = match (row.words, head.outcome) {
        (Words::Header, Some(name)) => (Outcome::named(name), text),
        (Words::Header | Words::Status, _) => (status, text),
        (Words::Text, _) if status == Some(Outcome::NotFound) && !speaks_of_a_key(head, text) => (None, text),
        (Words::Text, _) => by_text(status, asked.group, text),
    };
    Ok(outcome.ok_or_else(bare)?.reply(cut(text)))
}

/// Whether a 404 is a pool's answer. It says for certain that there is no value, so it is not believed of a server that
/// happens to stand where a pool should, as Go's own ServeMux while no pool is there: nobody has looked for the key.
fn speaks_of_a_key(head: Fields<'_>, text: &str) -> bool {
    head.content_type.starts_with(b"text/plain") && text != NO_PAGE
}

/// What a status means together with its text, and what of the text is left to say.
///
/// "No such group" has to be told from "no such key": it comes from a peer that is starting, or older than the group,
/// and the key may well exist.
fn by_text<'a>(status: Option<Outcome>, group: &str, text: &'a str) -> (Option<Outcome>, &'a str) {
    match status {
        Some(Outcome::NotFound) if text.strip_prefix(NO_GROUP) == Some(group) => {
            (Some(Outcome::NoGroup), text)
        }
        Some(Outcome::LoadFailed) => match text.strip_prefix(BUSY) {
            Some(limit) => (Some(Outcome::Busy), limit),
            None => (status, text),
        },
        _ => (status, text),
    }
}

fn broken(why: &str) -> PeerError {
    PeerError::Broken(Arc::from(cut(why)))
}

#[expect(clippy::needless_pass_by_value, reason = "the shape that map_err wants")]
fn malformed(error: prost::DecodeError) -> PeerError {
    broken(&format!("malformed message: {error}"))
}

#[cfg(test)]
mod tests;
