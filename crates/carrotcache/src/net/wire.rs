//! The protobuf messages that peers exchange, and what they mean in `message.rs`' words: the native ones here, the
//! family's in `wire/family.rs`, what those of many keys mean in `wire/many.rs`, changes in `wire/change.rs`, and lists of
//! members in `wire/members.rs`.
//!
//! Written with prost's derive, so that building needs no `protoc`; a test holds all of them to docs/peer.proto. A
//! decoded value is a slice of the body it came in: whoever keeps it copies it. Native times travel as milliseconds from
//! now, never as clock times.

mod bounds;
mod change;
pub(super) mod family;
pub(super) mod framed;
pub(super) mod in_place;
pub(super) mod many;
mod members;

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;

use crate::message::{Found, Holding};
use crate::stats::Region;

/// Longest name of a node, in bytes: names go into headers, logs and metrics.
pub(super) const LONGEST_NAME: usize = 255;

/// Native: the value of a key.
#[derive(Clone, PartialEq, prost::Message)]
pub(super) struct Response {
    #[prost(bytes = "bytes", tag = "1")]
    value: Bytes,
    #[prost(double, optional, tag = "2")]
    minute_qps: Option<f64>,
    #[prost(uint64, optional, tag = "3")]
    ttl_ms: Option<u64>,
    #[prost(uint64, tag = "4")]
    age_ms: u64,
    #[prost(bool, tag = "5")]
    loaded: bool,
    #[prost(string, tag = "6")]
    node: String,
    #[prost(fixed64, optional, tag = "7")]
    view: Option<u64>,
}

/// Native: the body of a PUT.
#[derive(Clone, PartialEq, prost::Message)]
pub(super) struct SetRequest {
    #[prost(bytes = "bytes", tag = "1")]
    pub(super) value: Bytes,
    #[prost(uint64, optional, tag = "2")]
    ttl_ms: Option<u64>,
}

/// Native: the body of a POST that asks for many keys. The group is in the path.
#[derive(Clone, PartialEq, prost::Message)]
pub(super) struct GetManyRequest {
    #[prost(bytes = "bytes", repeated, tag = "1")]
    pub(super) keys: Vec<Bytes>,
    #[prost(bool, tag = "2")]
    pub(super) stand_in: bool,
    #[prost(bool, tag = "3")]
    pub(super) cached_only: bool,
}

/// Native: the answers to it, in the order of the keys.
#[derive(Clone, PartialEq, prost::Message)]
pub(super) struct Answers {
    #[prost(message, repeated, tag = "1")]
    pub(super) answers: Vec<Answer>,
}

/// Native: the answer to one of the keys.
#[derive(Clone, PartialEq, prost::Message)]
pub(super) struct Answer {
    #[prost(message, optional, tag = "1")]
    pub(super) found: Option<Response>,
    #[prost(string, tag = "2")]
    pub(super) outcome: String,
    #[prost(string, tag = "3")]
    pub(super) why: String,
}

/// Native: the body of a POST that changes what is held of a key.
#[derive(Clone, PartialEq, prost::Message)]
pub(super) struct ChangeRequest {
    #[prost(uint64, tag = "1")]
    what: u64,
    #[prost(uint64, tag = "2")]
    only: u64,
    #[prost(uint64, optional, tag = "3")]
    ttl_ms: Option<u64>,
    #[prost(bool, tag = "4")]
    keep_ttl: bool,
    #[prost(bytes = "bytes", tag = "5")]
    value: Bytes,
}

/// The same in a frame: its value is not in `change` but behind it.
#[derive(Clone, PartialEq, prost::Message)]
pub(super) struct ChangeKey {
    #[prost(string, tag = "1")]
    pub(super) group: String,
    #[prost(bytes = "bytes", tag = "2")]
    pub(super) key: Bytes,
    #[prost(message, optional, tag = "3")]
    pub(super) change: Option<ChangeRequest>,
    #[prost(bytes = "bytes", tag = "4")]
    pub(super) value: Bytes,
}

/// Native: whether it is changed.
#[derive(Clone, PartialEq, prost::Message)]
pub(super) struct Changed {
    #[prost(bool, tag = "1")]
    pub(super) changed: bool,
}

/// Native: the names of the members.
#[derive(Clone, PartialEq, prost::Message)]
pub(super) struct Members {
    #[prost(string, repeated, tag = "1")]
    pub(super) names: Vec<String>,
}

/// Native: what a node holds of a key.
#[derive(Clone, PartialEq, prost::Message)]
pub(super) struct Held {
    #[prost(bool, tag = "1")]
    held: bool,
    #[prost(bool, tag = "2")]
    mirror: bool,
    #[prost(uint64, tag = "3")]
    value_bytes: u64,
    #[prost(uint64, tag = "4")]
    weight_bytes: u64,
    #[prost(uint64, tag = "5")]
    age_ms: u64,
    #[prost(uint64, optional, tag = "6")]
    ttl_ms: Option<u64>,
    #[prost(uint64, tag = "7")]
    uses: u64,
}

impl From<Found> for Response {
    fn from(found: Found) -> Self {
        Self {
            value: found.value.into(),
            minute_qps: found.minute_qps,
            ttl_ms: found.ttl.map(floor_ms),
            age_ms: ceil_ms(found.age),
            loaded: found.loaded,
            node: found.node.as_ref().to_owned(),
            view: found.view,
        }
    }
}

impl Response {
    /// The numbers of `value`, `node` and `view`.
    pub(super) const VALUE: u32 = 1;
    const NODE: u32 = 6;
    const VIEW: u32 = 7;

    /// All but the value, which is to follow it; and no name where that is `own`.
    pub(super) fn before_value(found: &Found, own: &str) -> Self {
        let node = if *found.node == *own { "" } else { &found.node };
        Self { node: node.to_owned(), view: found.view, ..Self::numbers(found) }
    }

    /// What stands between the value and the name.
    fn numbers(found: &Found) -> Self {
        Self {
            minute_qps: found.minute_qps,
            ttl_ms: found.ttl.map(floor_ms),
            age_ms: ceil_ms(found.age),
            loaded: found.loaded,
            ..Self::default()
        }
    }

    /// What the message says. Of a value that is not said to be another's, `giver` is the node; nor is it by a name that no
    /// node may have.
    pub(super) fn into_found(self, giver: &Arc<str>) -> Found {
        let is_named = (1..=LONGEST_NAME).contains(&self.node.len());
        Found {
            value: self.value.into(),
            ttl: self.ttl_ms.map(span),
            age: span(self.age_ms),
            loaded: self.loaded,
            node: if is_named { Arc::from(self.node) } else { giver.clone() },
            minute_qps: bounds::rate(self.minute_qps),
            view: self.view,
        }
    }
}

impl SetRequest {
    pub(super) fn new(value: Bytes, ttl: Option<Duration>) -> Self {
        Self { value, ttl_ms: ttl.map(floor_ms) }
    }

    pub(super) fn ttl(&self) -> Option<Duration> {
        self.ttl_ms.map(span)
    }
}

impl From<Option<Holding>> for Held {
    fn from(holding: Option<Holding>) -> Self {
        let Some(holding) = holding else { return Self::default() };
        Self {
            held: true,
            mirror: holding.region == Region::Mirrors,
            value_bytes: holding.value_bytes,
            weight_bytes: holding.weight_bytes,
            age_ms: ceil_ms(holding.age),
            ttl_ms: holding.ttl.map(floor_ms),
            uses: holding.uses.into(),
        }
    }
}

impl Held {
    pub(super) fn into_holding(self) -> Option<Holding> {
        self.held.then(|| Holding {
            region: if self.mirror { Region::Mirrors } else { Region::Owned },
            value_bytes: self.value_bytes,
            weight_bytes: self.weight_bytes,
            age: span(self.age_ms),
            ttl: self.ttl_ms.map(span),
            uses: u8::try_from(self.uses).unwrap_or(u8::MAX),
        })
    }
}

/// Rounded down: a ttl must not grow by travelling.
pub(super) fn floor_ms(span: Duration) -> u64 {
    u64::try_from(span.as_millis()).unwrap_or(u64::MAX)
}

/// Rounded up: a value must not grow younger by travelling.
fn ceil_ms(span: Duration) -> u64 {
    u64::try_from(span.as_nanos().div_ceil(1_000_000)).unwrap_or(u64::MAX)
}

/// As much of it as makes a difference.
pub(super) fn span(ms: u64) -> Duration {
    bounds::span(Duration::from_millis(ms))
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;
    use std::fmt::Debug;

    use proptest::prelude::*;
    use prost::Message;

    use super::*;
    use crate::net::wire::family::{CarrotResponse, FamilySetRequest, GetResponse};
    use crate::net::wire::framed::{GetKeys, OneKey, SetKey, Words};

    /// A field of docs/peer.proto.
    #[derive(Debug, PartialEq)]
    struct Field {
        label: &'static str,
        kind: &'static str,
        number: u64,
    }

    /// The fields of docs/peer.proto, by message and name. Anything but plain fields of plain messages stops the test.
    fn documented() -> BTreeMap<(&'static str, &'static str), Field> {
        let text = include_str!("../../../../docs/peer.proto");
        let mut fields = BTreeMap::new();
        let mut message = "";
        for line in text.lines().map(str::trim) {
            let words: Vec<&str> = line.trim_end_matches(';').split_whitespace().collect();
            match words[..] {
                [] | ["//" | "syntax" | "package", ..] => {}
                ["message", name, "{"] => message = name,
                ["}"] => message = "",
                [kind, name, "=", number] if !message.is_empty() => {
                    let field = Field { label: "", kind, number: number.parse().unwrap() };
                    assert_eq!(fields.insert((message, name), field), None);
                }
                [label, kind, name, "=", number] if !message.is_empty() => {
                    let field = Field { label, kind, number: number.parse().unwrap() };
                    assert_eq!(fields.insert((message, name), field), None);
                }
                _ => panic!("cannot read {line:?}"),
            }
        }
        fields
    }

    /// A field on the wire that holds a value which only its own type reads as `telling` does below.
    fn sample(field: &Field) -> Vec<u8> {
        let (wire_type, payload) = match field.kind {
            "bytes" => (2, vec![1, 0xff]),
            "string" => (2, vec![2, 0xc3, 0xa4]),
            "uint64" => (0, vec![0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x01]),
            "int64" => (0, vec![0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x01]),
            "bool" => (0, vec![1]),
            "Response" | "Answer" | "ChangeRequest" => (2, vec![0]),
            "double" => (1, 1.5f64.to_le_bytes().to_vec()),
            "fixed64" => (1, u64::MAX.to_le_bytes().to_vec()),
            other => panic!("no sample for {other}"),
        };
        [vec![u8::try_from(field.number << 3 | wire_type).unwrap()], payload].concat()
    }

    struct Check {
        fields: BTreeMap<(&'static str, &'static str), Field>,
    }

    impl Check {
        /// `telling` has only this field set, to the sample of its type; `default` has it set to its type's default.
        #[expect(
            clippy::needless_pass_by_value,
            reason = "the cases read better without a reference at each"
        )]
        fn field<M: Message + Default + PartialEq + Debug>(
            &mut self,
            message: &'static str,
            name: &'static str,
            telling: M,
            default: M,
        ) {
            let field = self.fields.remove(&(message, name)).unwrap_or_else(|| panic!("no {message}.{name}"));
            let bytes = sample(&field);
            assert_eq!(M::decode(&*bytes).unwrap(), telling, "{message}.{name}");
            assert_eq!(telling.encode_to_vec(), bytes, "{message}.{name}");
            // What is optional is there even when it says nothing; what is not leaves no trace then.
            assert_eq!(!default.encode_to_vec().is_empty(), !field.label.is_empty(), "{message}.{name}");
        }
    }

    fn bytes() -> Bytes {
        Bytes::from_static(b"\xff")
    }

    #[test]
    fn the_messages_are_those_of_the_documented_proto_file() {
        let none = Response {
            value: Bytes::new(),
            minute_qps: None,
            ttl_ms: None,
            age_ms: 0,
            loaded: false,
            node: String::new(),
            view: None,
        };
        let mut check = Check { fields: documented() };
        let some = |change: fn(&mut Response)| {
            let mut message = none.clone();
            change(&mut message);
            message
        };
        check.field("Response", "value", some(|m| m.value = bytes()), none.clone());
        check.field(
            "Response",
            "minute_qps",
            some(|m| m.minute_qps = Some(1.5)),
            some(|m| m.minute_qps = Some(0.0)),
        );
        check.field("Response", "ttl_ms", some(|m| m.ttl_ms = Some(u64::MAX)), some(|m| m.ttl_ms = Some(0)));
        check.field("Response", "age_ms", some(|m| m.age_ms = u64::MAX), none.clone());
        check.field("Response", "loaded", some(|m| m.loaded = true), none.clone());
        check.field("Response", "node", some(|m| m.node = "ä".to_owned()), none.clone());
        check.field("Response", "view", some(|m| m.view = Some(u64::MAX)), some(|m| m.view = Some(0)));

        let set = |value, ttl_ms| SetRequest { value, ttl_ms };
        check.field("SetRequest", "value", set(bytes(), None), set(Bytes::new(), None));
        check.field("SetRequest", "ttl_ms", set(Bytes::new(), Some(u64::MAX)), set(Bytes::new(), Some(0)));

        let members = |name: &str| Members { names: vec![name.to_owned()] };
        check.field("Members", "names", members("ä"), members(""));

        let held = |change: fn(&mut Held)| {
            let mut message = Held::default();
            change(&mut message);
            message
        };
        check.field("Held", "held", held(|m| m.held = true), Held::default());
        check.field("Held", "mirror", held(|m| m.mirror = true), Held::default());
        check.field("Held", "value_bytes", held(|m| m.value_bytes = u64::MAX), Held::default());
        check.field("Held", "weight_bytes", held(|m| m.weight_bytes = u64::MAX), Held::default());
        check.field("Held", "age_ms", held(|m| m.age_ms = u64::MAX), Held::default());
        check.field("Held", "ttl_ms", held(|m| m.ttl_ms = Some(u64::MAX)), held(|m| m.ttl_ms = Some(0)));
        check.field("Held", "uses", held(|m| m.uses = u64::MAX), Held::default());

        let many = |keys: &[&'static [u8]], stand_in, cached_only| {
            let keys = keys.iter().map(|key| Bytes::from_static(key)).collect();
            GetManyRequest { keys, stand_in, cached_only }
        };
        check.field("GetManyRequest", "keys", many(&[b"\xff"], false, false), many(&[b""], false, false));
        check.field("GetManyRequest", "stand_in", many(&[], true, false), many(&[], false, false));
        check.field("GetManyRequest", "cached_only", many(&[], false, true), many(&[], false, false));
        let answers = Answers { answers: vec![Answer::default()] };
        check.field("Answers", "answers", answers.clone(), answers);
        let answer = |found, outcome: &str, why: &str| Answer {
            found,
            outcome: outcome.to_owned(),
            why: why.to_owned(),
        };
        let empty = || answer(Some(Response::default()), "", "");
        check.field("Answer", "found", empty(), empty());
        check.field("Answer", "outcome", answer(None, "ä", ""), Answer::default());
        check.field("Answer", "why", answer(None, "", "ä"), Answer::default());

        let change = |change: fn(&mut ChangeRequest)| {
            let mut message = ChangeRequest::default();
            change(&mut message);
            message
        };
        let default = ChangeRequest::default;
        check.field("ChangeRequest", "what", change(|m| m.what = u64::MAX), default());
        check.field("ChangeRequest", "only", change(|m| m.only = u64::MAX), default());
        let ttl = change(|m| m.ttl_ms = Some(u64::MAX));
        check.field("ChangeRequest", "ttl_ms", ttl, change(|m| m.ttl_ms = Some(0)));
        check.field("ChangeRequest", "keep_ttl", change(|m| m.keep_ttl = true), default());
        check.field("ChangeRequest", "value", change(|m| m.value = bytes()), default());
        check.field("Changed", "changed", Changed { changed: true }, Changed { changed: false });

        let carrot = |value| CarrotResponse { value };
        check.field("CarrotResponse", "value", carrot(bytes()), carrot(Bytes::new()));

        let get = |value, minute_qps, expire| GetResponse { value, minute_qps, expire };
        check.field(
            "GetResponse",
            "value",
            get(Some(bytes()), None, None),
            get(Some(Bytes::new()), None, None),
        );
        check.field("GetResponse", "minute_qps", get(None, Some(1.5), None), get(None, Some(0.0), None));
        check.field("GetResponse", "expire", get(None, None, Some(-1)), get(None, None, Some(0)));

        let put = |change: fn(&mut FamilySetRequest)| {
            let mut message = FamilySetRequest::default();
            change(&mut message);
            message
        };
        check.field(
            "FamilySetRequest",
            "group",
            put(|m| m.group = Some(bytes())),
            put(|m| m.group = Some(Bytes::new())),
        );
        check.field(
            "FamilySetRequest",
            "key",
            put(|m| m.key = Some(bytes())),
            put(|m| m.key = Some(Bytes::new())),
        );
        check.field(
            "FamilySetRequest",
            "value",
            put(|m| m.value = Some(bytes())),
            put(|m| m.value = Some(Bytes::new())),
        );
        check.field("FamilySetRequest", "expire", put(|m| m.expire = Some(-1)), put(|m| m.expire = Some(0)));

        let keys = |change: fn(&mut GetKeys)| {
            let mut message = GetKeys::default();
            change(&mut message);
            message
        };
        check.field("GetKeys", "group", keys(|m| m.group = "ä".to_owned()), GetKeys::default());
        check.field(
            "GetKeys",
            "deadline_ms",
            keys(|m| m.deadline_ms = Some(u64::MAX)),
            keys(|m| m.deadline_ms = Some(0)),
        );
        check.field("GetKeys", "stand_in", keys(|m| m.stand_in = true), GetKeys::default());
        check.field("GetKeys", "cached_only", keys(|m| m.cached_only = true), GetKeys::default());
        check.field(
            "GetKeys",
            "keys",
            keys(|m| m.keys = vec![bytes()]),
            keys(|m| m.keys = vec![Bytes::new()]),
        );

        let kept = |change: fn(&mut SetKey)| {
            let mut message = SetKey::default();
            change(&mut message);
            message
        };
        check.field("SetKey", "group", kept(|m| m.group = "ä".to_owned()), SetKey::default());
        check.field("SetKey", "key", kept(|m| m.key = bytes()), SetKey::default());
        check.field("SetKey", "ttl_ms", kept(|m| m.ttl_ms = Some(u64::MAX)), kept(|m| m.ttl_ms = Some(0)));
        check.field("SetKey", "value", kept(|m| m.value = bytes()), SetKey::default());
        let changed = |change: fn(&mut ChangeKey)| {
            let mut message = ChangeKey::default();
            change(&mut message);
            message
        };
        check.field("ChangeKey", "group", changed(|m| m.group = "ä".to_owned()), ChangeKey::default());
        check.field("ChangeKey", "key", changed(|m| m.key = bytes()), ChangeKey::default());
        let empty = || changed(|m| m.change = Some(ChangeRequest::default()));
        check.field("ChangeKey", "change", empty(), empty());
        check.field("ChangeKey", "value", changed(|m| m.value = bytes()), ChangeKey::default());

        let one = |group: &str, key| OneKey { group: group.to_owned(), key };
        check.field("OneKey", "group", one("ä", Bytes::new()), OneKey::default());
        check.field("OneKey", "key", one("", bytes()), OneKey::default());

        check.field("Words", "text", Words { text: "ä".to_owned() }, Words::default());
        assert!(check.fields.is_empty(), "documented, and not in the code: {:?}", check.fields);
    }

    #[test]
    fn a_groupcache_reader_finds_value_and_rate_in_a_native_response() {
        let native = Response {
            value: bytes(),
            minute_qps: Some(2.5),
            ttl_ms: Some(9),
            age_ms: 1,
            loaded: true,
            node: "n".to_owned(),
            view: Some(3),
        };
        let read = GetResponse::decode(&*native.encode_to_vec()).unwrap();
        // A native response is never read by a reader of `expire`: there field 3 is a ttl.
        assert_eq!((read.value, read.minute_qps), (Some(bytes()), Some(2.5)));
    }

    #[test]
    fn what_is_held_reads_back_and_nothing_is_an_empty_message() {
        let holding = Holding {
            region: Region::Mirrors,
            value_bytes: 3,
            weight_bytes: 88,
            age: Duration::from_millis(1200),
            ttl: Some(Duration::ZERO),
            uses: 3,
        };
        for holding in [Some(holding), Some(Holding { region: Region::Owned, ttl: None, ..holding })] {
            let read = Held::decode(&*Held::from(holding).encode_to_vec()).unwrap();
            assert_eq!(read.into_holding(), holding);
        }
        assert_eq!(Held::from(None).encode_to_vec(), b"");
        assert_eq!(Held::decode(&b""[..]).unwrap().into_holding(), None);
    }

    #[test]
    fn fields_are_read_in_any_order_and_unknown_ones_skipped() {
        // 2 before 1, then mailgun's expire = 3 as a negative varint, then a field 15 of bytes.
        let body = b"\x11\0\0\0\0\0\0\xf8\x3f\x0a\x01x\x18\xff\xff\xff\xff\xff\xff\xff\xff\xff\x01\x7a\x02zz";
        let read = GetResponse::decode(&body[..]).unwrap();
        let expected =
            GetResponse { value: Some(Bytes::from_static(b"x")), minute_qps: Some(1.5), expire: Some(-1) };
        assert_eq!(read, expected);
    }

    #[test]
    fn times_that_a_peer_makes_up_can_still_be_added_to_an_instant() {
        let response = Response { ttl_ms: Some(u64::MAX), age_ms: u64::MAX, ..Response::default() };
        let found = response.into_found(&Arc::from(""));
        let now = std::time::Instant::now();
        assert!(now.checked_add(found.ttl.unwrap()).is_some());
        assert!(now.checked_sub(found.age).is_some());
    }

    #[test]
    fn a_ttl_never_grows_and_an_age_never_shrinks_on_the_way() {
        assert_eq!(floor_ms(Duration::from_micros(1999)), 1);
        assert_eq!(ceil_ms(Duration::from_micros(1001)), 2);
        assert_eq!(ceil_ms(Duration::from_millis(7)), 7);
        assert_eq!((floor_ms(Duration::MAX), ceil_ms(Duration::MAX)), (u64::MAX, u64::MAX));
    }

    #[test]
    fn what_is_no_rate_is_dropped_and_a_node_name_without_end_too() {
        let response = Response { minute_qps: Some(f64::NAN), ..Response::default() };
        assert_eq!(response.into_found(&Arc::from("")).minute_qps, None);
        let named = |length| Response { node: "n".repeat(length), ..Response::default() };
        assert_eq!(named(255).into_found(&Arc::from("")).node.len(), 255);
        assert_eq!(&*named(256).into_found(&Arc::from("")).node, "");
    }

    proptest! {
        #[test]
        fn no_bytes_make_decoding_panic(body in prop::collection::vec(any::<u8>(), 0..300)) {
            let _ = Response::decode(&*body).map(|response| response.into_found(&Arc::from("")));
            let _ = SetRequest::decode(&*body).map(|set| set.ttl());
            let _ = Members::decode(&*body);
            let _ = Held::decode(&*body).map(Held::into_holding);
            let _ = ChangeRequest::decode(&*body).map(ChangeRequest::into_change);
            let _ = Changed::decode(&*body);
        }
    }
}
