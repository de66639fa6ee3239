//! What the native row's messages of many keys mean: what is asked in the body of a POST, and one answer for each key.
//!
//! An answer is a value, or an outcome by the word that a header has for it where one key is asked for. Whatever is
//! neither makes the whole reply none: there is nobody to ask what was meant.
//! Pure: bodies come in whole and go out whole.

use std::sync::Arc;

use bytes::Bytes;
use prost::Message;
use prost::encoding::{WireType, encode_key, encode_varint, encoded_len_varint};

use crate::limits::Limits;
use crate::message::{Found, Reply};
use crate::net::dialect::Outcome;
use crate::net::wire::in_place;
use crate::net::wire::{Answer, Answers, GetManyRequest, Response};
use crate::units::Key;

/// The word for a key that had no room beside the others.
const LEFT_OUT: &str = "left_out";

/// The longest text that says why, in bytes: there may be one for each key.
const WHY_MAX: usize = 256;

/// What an answer takes beside its value, at most: the giver's name, a text, the numbers.
pub(in crate::net) const PER_ANSWER: usize = 768;

impl GetManyRequest {
    pub(in crate::net) fn new(keys: &[Key], stand_in: bool, cached_only: bool) -> Self {
        let keys = keys.iter().map(|key| Bytes::copy_from_slice(key.as_bytes())).collect();
        Self { keys, stand_in, cached_only }
    }

    /// Whether a body of this length is taken, before it is read as a message: the list of its keys is many times as
    /// large, where they are short.
    pub(in crate::net) fn takes(length: u64) -> bool {
        length <= Limits::KEYS_BODY.as_u64()
    }
}

/// The same where the giver is whoever answers, and so is not named.
pub(in crate::net) const PER_OWN: usize = 96;

/// The length of `Answers` of these replies, of the node `own`.
pub(in crate::net) fn encoded_len(replies: &[Reply], own: &str) -> usize {
    let answer = |reply| 1 + delimited(answer_len(reply, own));
    replies.iter().map(answer).sum()
}

/// `Answers` of these replies, written without a copy of any value but the one that is sent.
pub(in crate::net) fn encode(replies: &[Reply], own: &str, out: &mut Vec<u8>) {
    for reply in replies {
        match reply {
            Reply::Found(found) => put_answer(found, own, out),
            other => {
                let answer = Answer::from(other.clone());
                open(1, answer.encoded_len(), out);
                answer.encode_raw(out);
            }
        }
    }
}

/// Adds to `Answers` the one that has this value. Its giver is not named where that is `own`.
pub(in crate::net) fn put_answer(found: &Found, own: &str, out: &mut Vec<u8>) {
    let head = Response::before_value(found, own);
    let length = response_len(&head, &found.value);
    open(1, 1 + delimited(length), out);
    open(1, length, out);
    head.encode_raw(out);
    open(Response::VALUE, found.value.len(), out);
    out.extend_from_slice(&found.value);
}

fn answer_len(reply: &Reply, own: &str) -> usize {
    match reply {
        Reply::Found(found) => 1 + delimited(response_len(&Response::before_value(found, own), &found.value)),
        other => Answer::from(other.clone()).encoded_len(),
    }
}

fn response_len(head: &Response, value: &[u8]) -> usize {
    head.encoded_len() + 1 + delimited(value.len())
}

/// What a field of this length takes, with its length and without its tag.
fn delimited(length: usize) -> usize {
    encoded_len_varint(length as u64) + length
}

/// The tag, which is under 16 and so takes one byte, and the length of what is to follow.
fn open(tag: u32, length: usize, out: &mut Vec<u8>) {
    encode_key(tag, WireType::LengthDelimited, out);
    encode_varint(length as u64, out);
}

impl From<Vec<Reply>> for Answers {
    fn from(replies: Vec<Reply>) -> Self {
        Self { answers: replies.into_iter().map(Answer::from).collect() }
    }
}

impl Answers {
    /// The message, or why it is none. Its answers are counted first: where they are short the list of them is many times
    /// as large as the body.
    pub(in crate::net) fn read(body: Bytes) -> Result<Self, Arc<str>> {
        if in_place::fields(&body) > Limits::KEYS_MAX {
            return Err(Arc::from("more answers than keys may be asked for"));
        }
        Self::decode(body).map_err(|error| Arc::from(format!("malformed message: {error}")))
    }

    /// What the message says; `None` where one of the answers says nothing that is known.
    pub(in crate::net) fn into_replies(self, giver: &Arc<str>) -> Option<Vec<Reply>> {
        self.answers.into_iter().map(|answer| answer.into_reply(giver)).collect()
    }
}

impl From<Reply> for Answer {
    fn from(reply: Reply) -> Self {
        let no = |outcome: Outcome| Self { outcome: outcome.name().to_owned(), ..Self::default() };
        let why = |outcome: Outcome, why: &Arc<str>| Self {
            why: why[..why.floor_char_boundary(WHY_MAX)].to_owned(),
            ..no(outcome)
        };
        match reply {
            Reply::Found(found) => Self { found: Some(found.into()), ..Self::default() },
            Reply::LeftOut => Self { outcome: LEFT_OUT.to_owned(), ..Self::default() },
            Reply::NotFound => no(Outcome::NotFound),
            Reply::NotCached => no(Outcome::NotCached),
            Reply::NoGroup => no(Outcome::NoGroup),
            Reply::NotOwner => no(Outcome::NotOwner),
            Reply::Deadline => no(Outcome::Deadline),
            Reply::LoadFailed(cause) => why(Outcome::LoadFailed, &cause),
            Reply::Busy(limit) => why(Outcome::Busy, &limit),
            Reply::TooLarge(limit) => why(Outcome::TooLarge, &limit),
            Reply::BadRequest(what) => why(Outcome::BadRequest, &what),
            // None of these answers a get.
            Reply::Unsupported
            | Reply::Many(_)
            | Reply::Done
            | Reply::Changed(_)
            | Reply::Id(_)
            | Reply::Members(_)
            | Reply::Held(_) => no(Outcome::Unsupported),
        }
    }
}

impl Answer {
    pub(super) fn into_reply(self, giver: &Arc<str>) -> Option<Reply> {
        if let Some(found) = self.found {
            return Some(Reply::Found(found.into_found(giver)));
        }
        if self.outcome == LEFT_OUT {
            return Some(Reply::LeftOut);
        }
        let outcome = Outcome::named(self.outcome.as_bytes())?;
        Some(outcome.reply(&self.why[..self.why.floor_char_boundary(WHY_MAX)]))
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use proptest::prelude::*;

    use super::*;

    fn back(replies: Vec<Reply>) -> Option<Vec<Reply>> {
        let body = Answers::from(replies).encode_to_vec();
        Answers::decode(&*body).unwrap().into_replies(&Arc::from(""))
    }

    fn found(value: Bytes) -> Found {
        Found {
            value: value.into(),
            ttl: Some(A_SECOND),
            age: A_SECOND,
            loaded: true,
            node: "n".repeat(255).into(),
            minute_qps: Some(1.5),
            view: Some(u64::MAX),
        }
    }

    const A_SECOND: Duration = Duration::from_secs(1);

    #[test]
    fn every_answer_to_a_get_reads_back_as_it_was() {
        let why = || Arc::from("why: ä");
        let replies = vec![
            Reply::Found(found(Bytes::from_static(b"630"))),
            Reply::Found(found(Bytes::new())),
            Reply::LeftOut,
            Reply::NotFound,
            Reply::NotCached,
            Reply::NoGroup,
            Reply::NotOwner,
            Reply::LoadFailed(why()),
            Reply::Busy(why()),
            Reply::Deadline,
            Reply::TooLarge(why()),
            Reply::BadRequest(why()),
            Reply::Unsupported,
        ];
        let told = |replies: &[Reply]| format!("{replies:?}");
        assert_eq!(told(&back(replies.clone()).unwrap()), told(&replies));
        let Some(Reply::Found(read)) = back(replies).unwrap().into_iter().next() else { panic!("found") };
        assert_eq!(read.value, "630");
    }

    #[test]
    fn replies_written_at_once_are_the_message_and_leave_out_the_nodes_own_name() {
        let node = Found { node: Arc::from("own"), ..found(Bytes::from(vec![7; 300])) };
        let replies =
            vec![Reply::Found(node), Reply::Found(found(Bytes::new())), Reply::LeftOut, Reply::NotFound];
        let mut body = Vec::new();
        encode(&replies, "own", &mut body);
        assert_eq!(body.len(), encoded_len(&replies, "own"));
        let read = Answers::decode(&*body).unwrap();
        assert_eq!(read.answers[0].found.as_ref().unwrap().node, "");
        let read = read.into_replies(&Arc::from("own")).unwrap();
        assert_eq!(format!("{read:?}"), format!("{replies:?}"));
        let Reply::Found(first) = &read[0] else { panic!("found") };
        assert_eq!(first.value, vec![7; 300][..]);
    }

    #[test]
    fn more_answers_than_keys_may_be_asked_for_are_no_message() {
        let body = |count: usize| Bytes::from([0x0a, 0].repeat(count));
        assert_eq!(Answers::read(body(Limits::KEYS_MAX)).unwrap().answers.len(), Limits::KEYS_MAX);
        assert_eq!(
            &*Answers::read(body(Limits::KEYS_MAX + 1)).unwrap_err(),
            "more answers than keys may be asked for"
        );
        assert!(
            Answers::read(Bytes::from_static(b"\x0a\x05")).unwrap_err().starts_with("malformed message: ")
        );
        // Nor are they behind a field that prost skips.
        let behind = |count| Bytes::from([&b"\x3d\0\0\0\0"[..], &body(count)].concat());
        assert_eq!(Answers::read(behind(1)).unwrap().answers.len(), 1);
        assert!(Answers::read(behind(Limits::KEYS_MAX)).is_err());
    }

    #[test]
    fn an_answer_that_says_nothing_known_makes_the_reply_none() {
        for outcome in ["", "nothing", "LEFT_OUT"] {
            let bad = Answer { outcome: outcome.to_owned(), ..Answer::default() };
            let answers = vec![Answer::from(Reply::NotFound), bad];
            assert!(Answers { answers }.into_replies(&Arc::from("")).is_none(), "{outcome}");
        }
        assert_eq!(back(Vec::new()).unwrap().len(), 0);
    }

    #[test]
    fn beside_its_value_no_answer_takes_more_than_its_reader_allows() {
        let length = |reply: Reply| Answers::from(vec![reply]).encoded_len();
        let longest = Found { ttl: Some(Duration::MAX), age: Duration::MAX, ..found(Bytes::new()) };
        assert!(length(Reply::Found(longest)) <= PER_ANSWER);
        let longest = Found { ttl: Some(Duration::MAX), age: Duration::MAX, ..found(Bytes::new()) };
        let mut out = Vec::new();
        put_answer(&longest, &longest.node, &mut out);
        assert!(out.len() <= PER_OWN, "{}", out.len());
        let why: Arc<str> = "ä".repeat(5000).into();
        assert!((WHY_MAX..=PER_ANSWER).contains(&length(Reply::LoadFailed(why.clone()))));
        let Some(Reply::LoadFailed(read)) = back(vec![Reply::LoadFailed(why)]).unwrap().pop() else {
            panic!("it failed")
        };
        assert_eq!(read.len(), WHY_MAX);
    }

    #[test]
    fn the_keys_of_a_request_read_back_with_its_wishes() {
        let keys = ["Tom", "", "Tom"].map(Key::from);
        let read = GetManyRequest::decode(&*GetManyRequest::new(&keys, true, false).encode_to_vec()).unwrap();
        assert_eq!(read.keys, ["Tom", "", "Tom"]);
        assert_eq!((read.stand_in, read.cached_only), (true, false));
    }

    proptest! {
        #[test]
        fn no_bytes_make_decoding_panic(body in prop::collection::vec(any::<u8>(), 0..300)) {
            let _ = GetManyRequest::decode(&*body);
            let _ = Answers::decode(&*body).map(|answers| answers.into_replies(&Arc::from("")));
        }
    }
}
