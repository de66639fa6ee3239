//! What the native row's messages of many keys mean: what is asked in the body of a POST, and one answer for each key.
//!
//! An answer is a value, or an outcome by the word that a header has for it where one key is asked for. Whatever is
//! neither makes the whole reply none: there is nobody to ask what was meant.
//! Pure: bodies come in whole and go out whole.

use std::sync::Arc;

use bytes::Bytes;

use crate::limits::Limits;
use crate::message::Reply;
use crate::net::dialect::Outcome;
use crate::net::wire::{Answer, Answers, GetManyRequest};
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

impl From<Vec<Reply>> for Answers {
    fn from(replies: Vec<Reply>) -> Self {
        Self { answers: replies.into_iter().map(Answer::from).collect() }
    }
}

impl Answers {
    /// What the message says; `None` where one of the answers says nothing that is known.
    pub(in crate::net) fn into_replies(self) -> Option<Vec<Reply>> {
        self.answers.into_iter().map(Answer::into_reply).collect()
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
    fn into_reply(self) -> Option<Reply> {
        if let Some(found) = self.found {
            return Some(Reply::Found(found.into_found()));
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
    use prost::Message;

    use super::*;
    use crate::message::Found;

    fn back(replies: Vec<Reply>) -> Option<Vec<Reply>> {
        let body = Answers::from(replies).encode_to_vec();
        Answers::decode(&*body).unwrap().into_replies()
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
    fn an_answer_that_says_nothing_known_makes_the_reply_none() {
        for outcome in ["", "nothing", "LEFT_OUT"] {
            let bad = Answer { outcome: outcome.to_owned(), ..Answer::default() };
            let answers = vec![Answer::from(Reply::NotFound), bad];
            assert!(Answers { answers }.into_replies().is_none(), "{outcome}");
        }
        assert_eq!(back(Vec::new()).unwrap().len(), 0);
    }

    #[test]
    fn beside_its_value_no_answer_takes_more_than_its_reader_allows() {
        let length = |reply: Reply| Answers::from(vec![reply]).encoded_len();
        let longest = Found { ttl: Some(Duration::MAX), age: Duration::MAX, ..found(Bytes::new()) };
        assert!(length(Reply::Found(longest)) <= PER_ANSWER);
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
            let _ = Answers::decode(&*body).map(Answers::into_replies);
        }
    }
}
