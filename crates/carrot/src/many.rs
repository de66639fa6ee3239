//! Many keys over HTTP: the JSON of `POST /v1/{group}`, as it comes and as it is answered.
//!
//! `{"keys":["Tom"]}`, or `{"keys_base64":["VG9t"]}` for keys that are no text; one of the two. The answer has a result
//! for each key in the order asked, with the value in base64, since JSON has no bytes, or with why there is none. Pure:
//! the front reads the body and asks the group.

use std::fmt;

use base64::Engine;
use base64::engine::general_purpose::{STANDARD, STANDARD_PAD_INDIFFERENT};
use bytes::Bytes;
use carrotcache::net::intake::NoRoom;
use carrotcache::{Answer, Charge, GetError, KeyError, Limits, Memory};
use http::StatusCode;
use serde::de::{Deserializer, IgnoredAny, SeqAccess, Visitor};
use serde::{Deserialize, Serialize};

use crate::refusal::Refusal;

/// The longest body that is taken, in bytes: 256 for each key that one request may name.
pub const BODY_MAX: u64 = 4 << 20;

/// What a result takes beside its value, in bytes: its words, its numbers and the longest name of a node.
const PER_RESULT: u64 = 512;

/// The keys that a body names.
///
/// # Errors
/// When it is no such JSON, or names more keys than one call may ask for.
pub fn keys(body: &[u8]) -> Result<Vec<Vec<u8>>, Refusal> {
    let asked: Asked = serde_json::from_slice(body)
        .map_err(|error| Refusal::bad_request(format!("the body is no list of keys: {error}")))?;
    let (list, is_base64) = match asked {
        Asked { keys: Some(list), keys_base64: None } => (list, false),
        Asked { keys: None, keys_base64: Some(list) } => (list, true),
        _ => return Err(Refusal::bad_request("one of keys and keys_base64 is required, and not both")),
    };
    if list.count > Limits::KEYS_MAX {
        return Err(Refusal::keys(KeyError::TooMany { count: list.count, limit: Limits::KEYS_MAX }));
    }
    let key = |(at, key): (usize, String)| {
        if is_base64 {
            let no_base64 = |_| Refusal::bad_request(format!("keys_base64[{at}] is no base64"));
            STANDARD_PAD_INDIFFERENT.decode(key).map_err(no_base64)
        } else {
            Ok(key.into_bytes())
        }
    };
    list.keys.into_iter().enumerate().map(key).collect()
}

/// The body of the response, charged to `memory` for as long as it is held.
///
/// # Errors
/// When the memory has no room for it.
pub fn json(
    answers: Vec<Result<Answer, GetError>>,
    words: impl Fn(&Answer) -> String,
    memory: &Memory,
) -> Result<Bytes, Refusal> {
    let refused = |answer: Result<Answer, GetError>| answer.map_err(|error| Refusal::of_get(&error));
    let answers: Vec<Result<Answer, Refusal>> = answers.into_iter().map(refused).collect();
    let length = answers.iter().map(length).sum();
    let charge = memory.charge();
    charge.grow(length).map_err(|full| Refusal::full(NoRoom::Memory(full)))?;
    let mut body = Vec::with_capacity(usize::try_from(length).unwrap_or_default());
    body.extend_from_slice(b"{\"results\":[");
    for (at, answer) in answers.iter().enumerate() {
        if at > 0 {
            body.push(b',');
        }
        let told = match answer {
            Ok(answer) => Told::found(answer, words(answer)),
            Err(refusal) => Told::refused(refusal),
        };
        serde_json::to_writer(&mut body, &told)
            .map_err(|error| Refusal::bad_request(format!("the answer cannot be written: {error}")))?;
    }
    body.extend_from_slice(b"]}");
    Ok(Bytes::from_owner(Charged { body, _charge: charge }))
}

/// About how long a result will be.
fn length(answer: &Result<Answer, Refusal>) -> u64 {
    let value = answer.as_ref().map_or(0, |answer| answer.value.len() as u64);
    (value.div_ceil(3) * 4).saturating_add(PER_RESULT)
}

/// A body and its charge, as the owner of the body's bytes.
struct Charged {
    body: Vec<u8>,
    _charge: Charge,
}

impl AsRef<[u8]> for Charged {
    fn as_ref(&self) -> &[u8] {
        &self.body
    }
}

/// What is asked for.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Asked {
    keys: Option<List>,
    keys_base64: Option<List>,
}

/// The first keys of a list, as many as one call may ask for, and how many there are.
struct List {
    keys: Vec<String>,
    count: usize,
}

// By hand, and not derived: the list ends at its limit, whatever the body holds.
impl<'de> Deserialize<'de> for List {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_seq(Elements)
    }
}

struct Elements;

impl<'de> Visitor<'de> for Elements {
    type Value = List;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a list of texts")
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<List, A::Error> {
        let mut keys = Vec::new();
        while keys.len() < Limits::KEYS_MAX {
            let Some(key) = list.next_element()? else { break };
            keys.push(key);
        }
        let mut count = keys.len();
        while list.next_element::<IgnoredAny>()?.is_some() {
            count += 1;
        }
        Ok(List { keys, count })
    }
}

/// What is told of one key.
#[derive(Serialize)]
struct Told<'a> {
    status: u16,
    #[serde(skip_serializing_if = "Option::is_none")]
    value_base64: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    cache: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    age: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    error: Option<&'static str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    message: Option<&'a str>,
}

impl<'a> Told<'a> {
    fn found(answer: &Answer, cache: String) -> Self {
        Self {
            status: 200,
            value_base64: Some(STANDARD.encode(&answer.value)),
            cache: Some(cache),
            age: Some(answer.age.as_secs()),
            error: None,
            message: None,
        }
    }

    /// That there is no such key needs no line: the caller knows which it asked for.
    fn refused(refusal: &'a Refusal) -> Self {
        let message = (refusal.status != StatusCode::NOT_FOUND).then_some(&*refusal.message);
        Self {
            status: refusal.status.as_u16(),
            value_base64: None,
            cache: None,
            age: None,
            error: Some(refusal.error),
            message,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use carrotcache::{Ask, BoxError, ByteSize, Cluster, Group, Key, Room};

    fn read(body: &str) -> Result<Vec<Vec<u8>>, (u16, String)> {
        keys(body.as_bytes()).map_err(|refusal| (refusal.status.as_u16(), refusal.message))
    }

    #[test]
    fn keys_are_texts_or_base64_and_keep_their_order() {
        assert_eq!(
            read(r#"{"keys":["Tom","","ü","Tom"]}"#).unwrap(),
            [&b"Tom"[..], b"", "ü".as_bytes(), b"Tom"]
        );
        assert_eq!(
            read(r#"{"keys_base64":["VG9t","","/wA=","/wA"]}"#).unwrap(),
            [&b"Tom"[..], b"", b"\xff\0", b"\xff\0"]
        );
        assert!(read(r#"{"keys":[]}"#).unwrap().is_empty());
    }

    #[test]
    fn a_body_that_is_no_list_of_keys_is_refused_by_what_is_wrong_with_it() {
        for (body, why) in [
            ("", "the body is no list of keys: EOF"),
            ("[]", "the body is no list of keys: "),
            (r#"{"keys":["a"]"#, "the body is no list of keys: EOF"),
            (r#"{"keys":[1]}"#, "the body is no list of keys: invalid type: integer `1`, expected a string"),
            (
                r#"{"keys":"a"}"#,
                "the body is no list of keys: invalid type: string \"a\", expected a list of texts",
            ),
            (r#"{"keys":["\ud800"]}"#, "the body is no list of keys: "),
            (r#"{"keys":["a"],"ttl":1}"#, "the body is no list of keys: unknown field `ttl`"),
            (r#"{"keys":["a"],"keys":["b"]}"#, "the body is no list of keys: duplicate field `keys`"),
            ("{}", "one of keys and keys_base64 is required, and not both"),
            (r#"{"keys":null}"#, "one of keys and keys_base64 is required, and not both"),
            (r#"{"keys":[],"keys_base64":[]}"#, "one of keys and keys_base64 is required, and not both"),
            (r#"{"keys_base64":["VG9t","-_"]}"#, "keys_base64[1] is no base64"),
        ] {
            let (status, message) = read(body).unwrap_err();
            assert!(status == 400 && message.starts_with(why), "{body}: {status} {message}");
        }
        let nested = format!("{{\"keys\":{}", "[".repeat(100_000));
        assert_eq!(read(&nested).unwrap_err().0, 400);
    }

    #[test]
    fn more_keys_than_one_call_may_ask_for_are_refused_by_the_limit() {
        let body = |count| format!("{{\"keys\":[{}]}}", vec!["\"a\""; count].join(","));
        assert_eq!(read(&body(16_384)).unwrap().len(), 16_384);
        let (status, message) = read(&body(16_400)).unwrap_err();
        assert_eq!((status, &*message), (413, "16400 keys in one call are over the limit of 16384"));
    }

    /// A group whose values are their keys, but for `none` and `bad`.
    async fn group(cluster: &Cluster) -> Group {
        let load = |key: Key| async move {
            match key.to_str()? {
                "none" => Ok(None),
                "bad" => Err(BoxError::from("no such table")),
                text => Ok(Some(text.to_owned())),
            }
        };
        cluster.group("scores").open(load).unwrap()
    }

    async fn told(keys: &[&str], values_max: u64, memory: &Memory) -> Result<String, Refusal> {
        let cluster = Cluster::local().start().await.unwrap();
        let room = Room::new(ByteSize::bytes(values_max));
        let answers = group(&cluster).await.answer_many_in(keys, Ask::default(), &room).await;
        let body = json(answers, |answer| format!("{:?} of {}", answer.source, answer.value.len()), memory)?;
        Ok(String::from_utf8(body.to_vec()).unwrap())
    }

    #[tokio::test]
    async fn each_key_has_a_result_in_its_place() {
        let told = told(&["Tom", "none", "bad", ""], 100, &Memory::default()).await.unwrap();
        assert_eq!(
            told,
            concat!(
                r#"{"results":[{"status":200,"value_base64":"VG9t","cache":"Origin of 3","age":0},"#,
                r#"{"status":404,"error":"not_found"},"#,
                r#"{"status":502,"error":"load_failed","message":"loading bad for group scores failed: no such table"},"#,
                r#"{"status":400,"error":"bad_request","message":"key is required"}]}"#
            )
        );
        assert_eq!(self::told(&[], 100, &Memory::default()).await.unwrap(), r#"{"results":[]}"#);
    }

    #[tokio::test]
    async fn values_that_are_together_larger_than_one_may_be_are_told_to_come_again() {
        let told = told(&["abcd", "efghi", "jklmn", "o"], 10, &Memory::default()).await.unwrap();
        let told: serde_json::Value = serde_json::from_str(&told).unwrap();
        let of = |word: &str| -> Vec<_> { (0..4).map(|at| told["results"][at][word].clone()).collect() };
        // Nothing is waited for once there is no room, so what comes later is not in it either.
        assert_eq!(of("status"), [200, 200, 503, 503]);
        assert_eq!(told["results"][2]["error"], "busy");
        assert_eq!(
            told["results"][2]["message"],
            "values of 10 bytes are in this answer: ask for this one again"
        );
    }

    #[tokio::test]
    async fn an_answer_is_charged_while_it_is_held_and_refused_where_there_is_no_room() {
        let memory = Memory::new(ByteSize::kib(1));
        let used = || memory.snapshot().unwrap().used_bytes;
        let cluster = Cluster::local().start().await.unwrap();
        let group = group(&cluster).await;
        let ask = async |keys: &[&str]| {
            json(group.answer_many(keys, Ask::default()).await, |_| String::new(), &memory)
        };
        let body = ask(&["Tom"]).await.unwrap();
        assert_eq!(used(), PER_RESULT + 4);
        let refusal = ask(&["Tom", "Jack"]).await.unwrap_err();
        assert_eq!((refusal.status.as_u16(), &*refusal.message), (503, "busy: memory of 1KiB is reached"));
        drop(body);
        assert_eq!(used(), 0);
    }
}
