//! The bodies of the family's rows: protobuf as the Go systems have it, and groupcache-go's one body of JSON.
//!
//! The older systems say a value and nothing else. The newer ones say until when it lives, as nanoseconds of the wall
//! clock since 1970: so a ttl crosses two clocks, and is right as far as these agree. Where the giver's is behind, a
//! value may come expired, and is handed on and not kept; where it is ahead, the value lives longer by the difference.
//! Keys in bodies are strings in Go. Here they are bytes, as in paths, since the wire is the same.
//! Pure: the time comes in as an argument.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use serde::de::{Deserialize, Deserializer, IgnoredAny, MapAccess, SeqAccess, Visitor};

use crate::message::Found;
use crate::net::wire::bounds;
use crate::units::Key;

/// How many keys one request may remove. Past it whoever asks has to ask twice.
pub(in crate::net) const REMOVED_KEYS_MAX: usize = 16_384;

/// carrotCache: the value of a key.
#[derive(Clone, PartialEq, prost::Message)]
pub(in crate::net) struct CarrotResponse {
    #[prost(bytes = "bytes", tag = "1")]
    pub(in crate::net) value: Bytes,
}

/// groupcache and its forks: the value of a key. golang/groupcache knows no `expire`.
#[derive(Clone, PartialEq, prost::Message)]
pub(in crate::net) struct GetResponse {
    #[prost(bytes = "bytes", optional, tag = "1")]
    pub(in crate::net) value: Option<Bytes>,
    #[prost(double, optional, tag = "2")]
    pub(in crate::net) minute_qps: Option<f64>,
    #[prost(int64, optional, tag = "3")]
    pub(in crate::net) expire: Option<i64>,
}

/// mailgun and groupcache-go: the body of a PUT. The key in it counts, not that in the path.
#[derive(Clone, PartialEq, prost::Message)]
pub(in crate::net) struct FamilySetRequest {
    #[prost(bytes = "bytes", optional, tag = "1")]
    pub(in crate::net) group: Option<Bytes>,
    #[prost(bytes = "bytes", optional, tag = "2")]
    pub(in crate::net) key: Option<Bytes>,
    #[prost(bytes = "bytes", optional, tag = "3")]
    pub(in crate::net) value: Option<Bytes>,
    #[prost(int64, optional, tag = "4")]
    pub(in crate::net) expire: Option<i64>,
}

/// A value from a row that says nothing else of it.
pub(in crate::net) fn bare(value: Bytes, minute_qps: Option<f64>) -> Found {
    Found {
        value: value.into(),
        ttl: None,
        age: Duration::ZERO,
        loaded: false,
        node: Arc::from(""),
        minute_qps: bounds::rate(minute_qps),
        view: None,
    }
}

impl GetResponse {
    /// What golang's row says of a value. It is present though empty, as Go writes a value that is there.
    pub(in crate::net) fn without_end(found: Found) -> Self {
        Self { value: Some(found.value.into()), minute_qps: found.minute_qps, expire: None }
    }

    /// What the newer rows say of a value. `expire` is there also when there is no end, as their own servers have it.
    pub(in crate::net) fn with_end(found: Found, unix_nanos: i64) -> Self {
        let expire = Some(expire(found.ttl, unix_nanos));
        Self { expire, ..Self::without_end(found) }
    }

    /// What the message says, `expire` aside.
    pub(in crate::net) fn into_found_without_end(self) -> Found {
        bare(self.value.unwrap_or_default(), self.minute_qps)
    }

    /// What the message says at this time.
    pub(in crate::net) fn into_found(self, unix_nanos: i64) -> Found {
        let ttl = ttl(self.expire, unix_nanos);
        Found { ttl, ..self.into_found_without_end() }
    }
}

impl FamilySetRequest {
    pub(in crate::net) fn new(
        group: &str,
        key: &Key,
        value: Bytes,
        ttl: Option<Duration>,
        unix_nanos: i64,
    ) -> Self {
        Self {
            group: Some(Bytes::copy_from_slice(group.as_bytes())),
            key: Some(Bytes::copy_from_slice(key.as_bytes())),
            value: Some(value),
            expire: Some(expire(ttl, unix_nanos)),
        }
    }

    pub(in crate::net) fn ttl(&self, unix_nanos: i64) -> Option<Duration> {
        ttl(self.expire, unix_nanos)
    }
}

/// When a ttl that begins now ends; 0 where it does not.
fn expire(ttl: Option<Duration>, unix_nanos: i64) -> i64 {
    let Some(ttl) = ttl else { return 0 };
    let nanos = i64::try_from(ttl.as_nanos()).unwrap_or(i64::MAX);
    // By a clock before 1970 an end could fall on 0, and would be none.
    unix_nanos.saturating_add(nanos).max(1)
}

/// How long it is until a value's end, nothing where that is past; `None`: it has none.
fn ttl(expire: Option<i64>, unix_nanos: i64) -> Option<Duration> {
    let end = expire.filter(|end| *end != 0)?;
    let nanos = end.saturating_sub(unix_nanos).max(0).unsigned_abs();
    Some(bounds::span(Duration::from_nanos(nanos)))
}

/// groupcache-go: the body of a POST that removes many keys. The group in it is that of the path, which counts.
#[derive(Debug, PartialEq)]
pub(in crate::net) enum RemoveKeysRequest {
    Keys(Vec<Key>),
    /// There are more than [`REMOVED_KEYS_MAX`]: none of them was kept.
    TooMany,
}

impl RemoveKeysRequest {
    /// Reads the body, in memory of its own length and a key's handle for each key at most.
    ///
    /// # Errors
    /// When it is no JSON of this shape.
    pub(in crate::net) fn read(body: &[u8]) -> serde_json::Result<Self> {
        serde_json::from_slice(body)
    }
}

// By hand, and not derived: the list ends at its limit, whatever the body holds.
impl<'de> Deserialize<'de> for RemoveKeysRequest {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_map(Fields)
    }
}

struct Fields;

impl<'de> Visitor<'de> for Fields {
    type Value = RemoveKeysRequest;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an object with a list of keys")
    }

    /// Go leaves out an empty list, or writes null.
    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
        let mut keys = None;
        while let Some(field) = map.next_key::<String>()? {
            if field == "keys" {
                keys = map.next_value::<Option<List>>()?;
            } else {
                map.next_value::<IgnoredAny>()?;
            }
        }
        Ok(keys.map_or(RemoveKeysRequest::Keys(Vec::new()), |List(keys)| keys))
    }
}

struct List(RemoveKeysRequest);

impl<'de> Deserialize<'de> for List {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_seq(Elements).map(Self)
    }
}

struct Elements;

impl<'de> Visitor<'de> for Elements {
    type Value = RemoveKeysRequest;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a list of keys")
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<Self::Value, A::Error> {
        let mut keys = Vec::new();
        while let Some(key) = list.next_element::<String>()? {
            if keys.len() == REMOVED_KEYS_MAX {
                while list.next_element::<IgnoredAny>()?.is_some() {}
                return Ok(RemoveKeysRequest::TooMany);
            }
            keys.push(Key::from(&*key));
        }
        Ok(RemoveKeysRequest::Keys(keys))
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use prost::Message;

    use super::*;

    /// 2026-11-22, and a second.
    const NOW: i64 = 1_795_305_600_000_000_000;
    const SECOND: i64 = 1_000_000_000;

    fn found(ttl: Option<Duration>) -> Found {
        Found { ttl, ..bare(Bytes::from_static(b"630"), None) }
    }

    #[test]
    fn a_value_has_the_bytes_that_mailguns_server_gives_it() {
        let said = |ttl| GetResponse::with_end(found(ttl), NOW).encode_to_vec();
        assert_eq!(said(None), b"\x0a\x03630\x18\0");
        assert_eq!(
            said(Some(Duration::from_secs(1))),
            b"\x0a\x03630\x18\x80\x94\xff\x96\xea\x9d\x8d\xf5\x18"
        );
        let empty = Found { value: Bytes::new().into(), ..found(None) };
        assert_eq!(GetResponse::with_end(empty, NOW).encode_to_vec(), b"\x0a\0\x18\0");
        assert_eq!(GetResponse::without_end(found(Some(Duration::MAX))).encode_to_vec(), b"\x0a\x03630");
    }

    #[test]
    fn a_set_has_the_bytes_that_their_clients_give_it() {
        let said = |key: &str, value: &'static str, ttl| {
            FamilySetRequest::new("scores", &Key::from(key), value.into(), ttl, NOW).encode_to_vec()
        };
        assert_eq!(said("Tom", "630", None), b"\x0a\x06scores\x12\x03Tom\x1a\x03630\x20\0");
        assert_eq!(
            said("a", "", Some(Duration::from_secs(1))),
            b"\x0a\x06scores\x12\x01a\x1a\0\x20\x80\x94\xff\x96\xea\x9d\x8d\xf5\x18"
        );
    }

    #[test]
    fn an_end_is_as_far_off_as_the_clock_says_and_none_where_there_is_none() {
        for (expire, expected) in [
            (None, None),
            (Some(0), None),
            (Some(NOW + SECOND), Some(Duration::from_secs(1))),
            (Some(NOW + 1), Some(Duration::from_nanos(1))),
            (Some(NOW), Some(Duration::ZERO)),
            (Some(NOW - SECOND), Some(Duration::ZERO)),
            (Some(1), Some(Duration::ZERO)),
            (Some(-1), Some(Duration::ZERO)),
            (Some(i64::MIN), Some(Duration::ZERO)),
            (Some(i64::MAX), Some(Duration::from_secs(100 * 365 * 86_400))),
        ] {
            let response = GetResponse { value: None, minute_qps: None, expire };
            let read = GetResponse::decode(&*response.encode_to_vec()).unwrap();
            assert_eq!(read.into_found(NOW).ttl, expected, "{expire:?}");
        }
        assert_eq!(ttl(Some(i64::MAX), i64::MIN), ttl(Some(i64::MAX), NOW), "whatever our own clock says");
    }

    #[test]
    fn a_ttl_is_the_same_behind_as_before_and_never_becomes_none() {
        for nanos in [0, 1, 999, 1_000_000_000, 86_400_000_000_000] {
            let ttl_before = Duration::from_nanos(nanos);
            assert_eq!(ttl(Some(expire(Some(ttl_before), NOW)), NOW), Some(ttl_before));
        }
        assert_eq!(expire(Some(Duration::MAX), NOW), i64::MAX);
        assert_eq!(expire(Some(Duration::from_secs(1)), -SECOND), 1, "0 would be no end");
    }

    #[test]
    fn the_keys_to_remove_are_read_from_gos_json() {
        let keys = |keys: &[&str]| RemoveKeysRequest::Keys(keys.iter().map(|key| Key::from(*key)).collect());
        for (body, expected) in [
            (r#"{"group":"scores","keys":["a","b"]}"#, keys(&["a", "b"])),
            (r#"{"keys":["\u003ca\u0026b\u003e","\ud83e\udd55","ü"]}"#, keys(&["<a&b>", "🥕", "ü"])),
            (r#" {"keys" : [ ] } "#, keys(&[])),
            (r#"{"group":"scores"}"#, keys(&[])),
            (r#"{"keys":null}"#, keys(&[])),
            (r#"{"later":[{"x":[1]}],"keys":[""]}"#, keys(&[""])),
        ] {
            assert_eq!(RemoveKeysRequest::read(body.as_bytes()).unwrap(), expected, "{body}");
        }
        for body in
            ["", "null", "[]", r#"["a"]"#, r#"{"keys":"a"}"#, r#"{"keys":[1]}"#, r#"{"keys":["a"]"#, "{}{}"]
        {
            assert!(RemoveKeysRequest::read(body.as_bytes()).is_err(), "{body}");
        }
        assert!(RemoveKeysRequest::read(b"{\"keys\":[\"\xff\"]}").is_err(), "their keys are UTF-8");
    }

    #[test]
    fn a_list_of_keys_is_read_up_to_its_limit() {
        let list = |count: usize| format!(r#"{{"keys":[{}],"group":"g"}}"#, vec![r#""k""#; count].join(","));
        let read = |count| RemoveKeysRequest::read(list(count).as_bytes()).unwrap();
        assert!(matches!(read(REMOVED_KEYS_MAX), RemoveKeysRequest::Keys(keys) if keys.len() == 16_384));
        assert_eq!(read(REMOVED_KEYS_MAX + 1), RemoveKeysRequest::TooMany);
        assert_eq!(read(100_000), RemoveKeysRequest::TooMany);
        let deep = format!(r#"{{"x":{}}}"#, "[".repeat(1 << 20));
        assert!(RemoveKeysRequest::read(deep.as_bytes()).is_err());
    }

    proptest! {
        #[test]
        fn no_bytes_make_decoding_panic(body in prop::collection::vec(any::<u8>(), 0..300), now in any::<i64>()) {
            let _ = CarrotResponse::decode(&*body);
            let _ = GetResponse::decode(&*body).map(|response| response.into_found(now));
            let _ = FamilySetRequest::decode(&*body).map(|set| set.ttl(now));
            let _ = RemoveKeysRequest::read(&body);
            let _ = RemoveKeysRequest::read(&[br#"{"keys":["#, &*body].concat());
        }
    }
}
