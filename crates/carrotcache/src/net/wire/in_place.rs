//! The messages of a get, read and written where they lie: without the copies and the allocations that prost would make.
//!
//! A reader gives up where it meets anything unusual, and prost is asked then: it alone says what is no message. Tests
//! hold each reader to what prost reads.
//! Pure.

use std::sync::Arc;
use std::time::Duration;

use bytes::{Buf, Bytes};
use prost::Message;
use prost::encoding::{
    DecodeContext, WireType, decode_key, decode_varint, encode_key, encode_varint, encoded_len_varint,
    fixed64, skip_field,
};

use crate::limits::Limits;
use crate::message::{Found, Reply};
use crate::net::wire::framed::GetKeys;
use crate::net::wire::{Answer, LONGEST_NAME, Response, bounds, span};

/// A field's value.
enum Field<'a> {
    Varint(u64),
    Fixed(u64),
    Bytes(&'a [u8]),
}

/// The next field of a message; `None` where there is none that is read here.
fn next<'a>(body: &mut &'a [u8]) -> Option<(u32, Field<'a>)> {
    let (tag, wire_type) = decode_key(body).ok()?;
    let field = match wire_type {
        WireType::Varint => Field::Varint(decode_varint(body).ok()?),
        WireType::SixtyFourBit => Field::Fixed(body.try_get_u64_le().ok()?),
        WireType::LengthDelimited => {
            let length = usize::try_from(decode_varint(body).ok()?).ok()?;
            let (bytes, rest) = body.split_at_checked(length)?;
            *body = rest;
            Field::Bytes(bytes)
        }
        _ => return None,
    };
    Some((tag, field))
}

/// A `GetKeys`.
#[derive(Debug, Default, PartialEq)]
pub(in crate::net) struct KeysAsked<'a> {
    pub(in crate::net) group: &'a str,
    pub(in crate::net) deadline_ms: Option<u64>,
    pub(in crate::net) stand_in: bool,
    pub(in crate::net) cached_only: bool,
    pub(in crate::net) keys: Vec<&'a [u8]>,
}

impl<'a> KeysAsked<'a> {
    /// What the body says, if it can be read in place.
    pub(in crate::net) fn read(mut body: &'a [u8]) -> Option<Self> {
        let mut asked = Self::default();
        while !body.is_empty() {
            match next(&mut body)? {
                (1, Field::Bytes(group)) => asked.group = str::from_utf8(group).ok()?,
                (2, Field::Varint(ms)) => asked.deadline_ms = Some(ms),
                (3, Field::Varint(flag)) => asked.stand_in = flag != 0,
                (4, Field::Varint(flag)) => asked.cached_only = flag != 0,
                (GetKeys::KEYS, Field::Bytes(key)) => asked.keys.push(key),
                _ => return None,
            }
        }
        Some(asked)
    }
}

impl<'a> From<&'a GetKeys> for KeysAsked<'a> {
    fn from(asked: &'a GetKeys) -> Self {
        let &GetKeys { ref group, deadline_ms, stand_in, cached_only, ref keys } = asked;
        Self { group, deadline_ms, stand_in, cached_only, keys: keys.iter().map(|key| &**key).collect() }
    }
}

impl KeysAsked<'_> {
    /// For how long an answer is waited for.
    pub(in crate::net) fn within(&self) -> Option<Duration> {
        self.deadline_ms.map(span)
    }
}

/// What a `Response` says, if it can be read in place; the value is copied. `named` keeps the name of the node that gave
/// it; where none is said, or one that no node may have, that is empty.
pub(in crate::net) fn found(
    mut body: &[u8],
    named: &impl Fn(&str) -> Arc<str>,
    copied: &mut impl FnMut(&[u8]) -> Bytes,
) -> Option<Found> {
    let (mut value, mut node) = (&[][..], "");
    let (mut minute_qps, mut ttl_ms, mut age_ms, mut loaded, mut view) = (None, None, 0, false, None);
    while !body.is_empty() {
        match next(&mut body)? {
            (1, Field::Bytes(bytes)) => value = bytes,
            (2, Field::Fixed(bits)) => minute_qps = Some(f64::from_bits(bits)),
            (3, Field::Varint(ms)) => ttl_ms = Some(ms),
            (4, Field::Varint(ms)) => age_ms = ms,
            (5, Field::Varint(flag)) => loaded = flag != 0,
            (6, Field::Bytes(name)) => node = str::from_utf8(name).ok()?,
            (7, Field::Fixed(hash)) => view = Some(hash),
            _ => return None,
        }
    }
    let is_named = (1..=LONGEST_NAME).contains(&node.len());
    Some(Found {
        value: copied(value).into(),
        ttl: ttl_ms.map(span),
        age: span(age_ms),
        loaded,
        node: named(if is_named { node } else { "" }),
        minute_qps: bounds::rate(minute_qps),
        view,
    })
}

/// How long the `Response` is that says this.
pub(in crate::net) fn response_len(found: &Found) -> usize {
    let text = |text: &[u8]| match text.len() {
        0 => 0,
        length => 1 + encoded_len_varint(length as u64) + length,
    };
    let view = found.view.map_or(0, |_| 1 + size_of::<u64>());
    text(&found.value) + text(found.node.as_bytes()) + Response::numbers(found).encoded_len() + view
}

/// Appends that `Response`, as prost writes it, by one copy of the value and none of the name.
pub(in crate::net) fn put_response(found: &Found, out: &mut Vec<u8>) {
    let text = |tag, text: &[u8], out: &mut Vec<u8>| {
        if !text.is_empty() {
            encode_key(tag, WireType::LengthDelimited, out);
            encode_varint(text.len() as u64, out);
            out.extend_from_slice(text);
        }
    };
    text(Response::VALUE, &found.value, out);
    Response::numbers(found).encode_raw(out);
    text(Response::NODE, found.node.as_bytes(), out);
    if let Some(view) = &found.view {
        fixed64::encode(Response::VIEW, view, out);
    }
}

/// How many fields a message has for prost, those that it skips among them, up to the first that is none.
pub(in crate::net) fn fields(mut body: &[u8]) -> usize {
    let body = &mut body;
    let mut skip = || {
        let (tag, wire_type) = decode_key(body).ok()?;
        skip_field(wire_type, tag, body, DecodeContext::default()).ok()
    };
    std::iter::from_fn(&mut skip).count()
}

/// What `Answers` say, if they can be read in place: see [`found`].
pub(in crate::net) fn many(
    mut body: &[u8],
    named: &impl Fn(&str) -> Arc<str>,
    copied: &mut impl FnMut(&[u8]) -> Bytes,
) -> Option<Vec<Reply>> {
    let mut replies = Vec::new();
    while !body.is_empty() {
        if replies.len() == Limits::KEYS_MAX {
            return None;
        }
        let (1, Field::Bytes(answer)) = next(&mut body)? else { return None };
        if replies.is_empty() {
            // Most are as long as the first.
            replies.reserve((1 + body.len() / (answer.len() + 2)).min(Limits::KEYS_MAX));
        }
        let mut rest = answer;
        replies.push(match next(&mut rest) {
            Some((1, Field::Bytes(response))) if rest.is_empty() => {
                Reply::Found(found(response, named, copied)?)
            }
            _ => Answer::decode(answer).ok()?.into_reply(&named(""))?,
        });
    }
    Some(replies)
}

#[cfg(test)]
mod tests {
    use std::fmt::Debug;

    use proptest::prelude::*;

    use super::*;
    use crate::net::wire::{Answers, Response};

    fn keys_by_prost(body: &[u8]) -> Option<GetKeys> {
        GetKeys::decode(body).ok()
    }

    fn keys_in_place(body: &[u8]) -> Option<GetKeys> {
        let KeysAsked { group, deadline_ms, stand_in, cached_only, keys } = KeysAsked::read(body)?;
        let keys = keys.into_iter().map(Bytes::copy_from_slice).collect();
        Some(GetKeys { group: group.to_owned(), deadline_ms, stand_in, cached_only, keys })
    }

    /// All of it, the value too.
    fn told(found: &Found) -> String {
        format!("{found:?} {:?}", &*found.value)
    }

    fn all_told(replies: Vec<Reply>) -> Vec<String> {
        let told = |reply| match reply {
            Reply::Found(found) => told(&found),
            other => format!("{other:?}"),
        };
        replies.into_iter().map(told).collect()
    }

    fn giver() -> Arc<str> {
        Arc::from("giver")
    }

    fn by_giver(name: &str) -> Arc<str> {
        if name.is_empty() { giver() } else { Arc::from(name) }
    }

    fn found_in_place(body: &[u8]) -> Option<String> {
        found(body, &by_giver, &mut Bytes::copy_from_slice).as_ref().map(told)
    }

    fn found_by_prost(body: &[u8]) -> Option<String> {
        Response::decode(body).ok().map(|response| told(&response.into_found(&giver())))
    }

    fn many_in_place(body: &[u8]) -> Option<Vec<String>> {
        many(body, &by_giver, &mut Bytes::copy_from_slice).map(all_told)
    }

    fn many_by_prost(body: &[u8]) -> Option<Vec<String>> {
        Answers::decode(body).ok()?.into_replies(&giver()).map(all_told)
    }

    /// What is read in place is what prost reads, of these bytes, of a part of them, and with one changed; and of these
    /// it is read.
    fn hold<T: PartialEq + Debug>(
        mut body: Vec<u8>,
        (at, noise): (prop::sample::Index, u8),
        in_place: impl Fn(&[u8]) -> Option<T>,
        by_prost: impl Fn(&[u8]) -> Option<T>,
    ) -> Result<(), TestCaseError> {
        prop_assert_eq!(in_place(&body), by_prost(&body));
        prop_assert!(in_place(&body).is_some());
        if body.is_empty() {
            return Ok(());
        }
        let at = at.index(body.len());
        let whole = body.clone();
        body[at] = noise;
        for body in [&body, &whole[..at]] {
            if let Some(read) = in_place(body) {
                prop_assert_eq!(Some(read), by_prost(body));
            }
        }
        Ok(())
    }

    fn a_response() -> impl Strategy<Value = Response> {
        let value = prop::collection::vec(any::<u8>(), 0..40);
        let numbers = (any::<Option<f64>>(), any::<Option<u64>>(), any::<u64>(), any::<bool>());
        (value, numbers, ".{0,9}", any::<Option<u64>>()).prop_map(|(value, numbers, node, view)| Response {
            value: value.into(),
            minute_qps: numbers.0,
            ttl_ms: numbers.1,
            age_ms: numbers.2,
            loaded: numbers.3,
            node,
            view,
        })
    }

    fn an_answer() -> impl Strategy<Value = Answer> {
        prop_oneof![
            a_response().prop_map(|found| Answer { found: Some(found), ..Answer::default() }),
            Just(Answer { outcome: "load_failed".into(), why: "it did".into(), ..Answer::default() }),
            Just(Answer { outcome: "left_out".into(), ..Answer::default() }),
        ]
    }

    proptest! {
        #[test]
        fn keys_read_in_place_are_what_prost_reads(
            group in ".{0,9}",
            deadline_ms in any::<Option<u64>>(),
            flags in any::<(bool, bool)>(),
            keys in prop::collection::vec(prop::collection::vec(any::<u8>(), 0..40), 0..9),
            change in any::<(prop::sample::Index, u8)>(),
        ) {
            let keys = keys.into_iter().map(Bytes::from).collect();
            let message = GetKeys { group, deadline_ms, stand_in: flags.0, cached_only: flags.1, keys };
            hold(message.encode_to_vec(), change, keys_in_place, keys_by_prost)?;
        }

        #[test]
        fn a_value_read_in_place_is_what_prost_reads(
            response in a_response(),
            change in any::<(prop::sample::Index, u8)>(),
        ) {
            hold(response.encode_to_vec(), change, found_in_place, found_by_prost)?;
        }

        #[test]
        fn a_value_written_in_place_is_what_prost_writes(response in a_response()) {
            let found = Found { node: response.node.as_str().into(), ..response.into_found(&giver()) };
            let mut written = Vec::new();
            put_response(&found, &mut written);
            prop_assert_eq!(response_len(&found), written.len());
            prop_assert_eq!(written, Response::from(found).encode_to_vec());
        }

        #[test]
        fn many_answers_read_in_place_are_what_prost_reads(
            answers in prop::collection::vec(an_answer(), 0..5),
            change in any::<(prop::sample::Index, u8)>(),
        ) {
            hold(Answers { answers }.encode_to_vec(), change, many_in_place, many_by_prost)?;
        }

        #[test]
        fn whatever_is_read_in_place_is_what_prost_reads(body in prop::collection::vec(any::<u8>(), 0..60)) {
            if let Some(read) = keys_in_place(&body) {
                prop_assert_eq!(Some(read), keys_by_prost(&body));
            }
            if let Some(read) = found_in_place(&body) {
                prop_assert_eq!(Some(read), found_by_prost(&body));
            }
            if let Some(read) = many_in_place(&body) {
                prop_assert_eq!(Some(read), many_by_prost(&body));
            }
        }
    }
}
