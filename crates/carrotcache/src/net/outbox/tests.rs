//! What comes out of an outbox, as whoever reads it would see it.

use std::collections::BTreeMap;

use bytes::Bytes;

use super::*;
use crate::clock;
use crate::memory::Memory;
use crate::net::wire::framed::{OneKey, SetKey};
use crate::units::ByteSize;

fn outbox() -> Outbox {
    Outbox::new(&Intake::new(u64::MAX), u64::MAX)
}

fn value(length: usize, byte: u8) -> Value {
    Value::from(Bytes::from(vec![byte; length]))
}

fn set(key: &'static str) -> SetKey {
    SetKey {
        group: "g".to_owned(),
        key: Bytes::from_static(key.as_bytes()),
        ttl_ms: None,
        value: Bytes::new(),
    }
}

fn gotten(group: &str) -> Gotten {
    Gotten { group: GroupName::new(group).unwrap(), stand_in: false, cached_only: false }
}

/// A frame: id, kind, more and body.
type Seen = (u64, Kind, bool, Vec<u8>);

/// All that waits, batch by batch.
fn batches(outbox: &mut Outbox) -> Vec<Vec<Seen>> {
    let mut batches = Vec::new();
    let mut batch = outbox.spare();
    while !outbox.is_empty() {
        outbox.fill(&mut batch);
        let mut frames = Vec::new();
        while let Some((frame, taken)) = frame::decode(batch.rest()).unwrap() {
            frames.push((frame.id, frame.kind, frame.more, frame.body.to_vec()));
            batch.advance(taken);
        }
        assert!(batch.is_empty());
        batches.push(frames);
    }
    batches
}

/// The messages of all frames, whole, by id.
fn messages(batches: Vec<Vec<Seen>>) -> BTreeMap<u64, Vec<u8>> {
    let mut messages: BTreeMap<u64, Vec<u8>> = BTreeMap::new();
    for (id, _, _, body) in batches.into_iter().flatten() {
        messages.entry(id).or_default().extend(body);
    }
    messages
}

#[test]
fn a_value_of_any_length_comes_out_as_it_was_put_in() {
    let mut outbox = outbox();
    let lengths =
        [0, 1, 127, 128, BODY_MAX - 40, BODY_MAX - 8, BODY_MAX, BODY_MAX + 1, 3 * BODY_MAX, 1 << 20];
    for (id, length) in (0..).zip(lengths) {
        outbox.value(id, Kind::SET, &set("k"), SetKey::VALUE, value(length, 7)).unwrap();
    }
    let messages = messages(batches(&mut outbox));
    for (id, length) in (0..).zip(lengths) {
        let read = SetKey::decode(&*messages[&id]).unwrap();
        assert_eq!(read, SetKey { value: vec![7; length].into(), ..set("k") }, "{length} bytes");
    }
    assert_eq!(outbox.long_bytes, 0);
}

#[test]
fn a_head_over_one_frame_comes_out_too() {
    let mut outbox = outbox();
    let long = OneKey { group: "g".to_owned(), key: vec![1; 2 * BODY_MAX].into() };
    outbox.values(5, Kind::HELD, long.encoded_len(), 0, |out| long.encode_raw(out)).unwrap();
    outbox.value(6, Kind::SET, &long, SetKey::VALUE, value(10, 2)).unwrap();
    let messages = messages(batches(&mut outbox));
    assert_eq!(OneKey::decode(&*messages[&5]).unwrap(), long);
    assert_eq!(SetKey::decode(&*messages[&6]).unwrap().value, vec![2; 10]);
}

#[test]
fn what_is_small_waits_for_one_frame_of_what_is_large_and_no_more() {
    let mut outbox = outbox();
    for id in [1, 2] {
        outbox.value(id, Kind::SET, &set("k"), SetKey::VALUE, value(1 << 20, 7)).unwrap();
    }
    let mut batch = outbox.spare();
    outbox.fill(&mut batch);
    assert!(batch.rest().len() < 2 * BODY_MAX);
    // The first to go out in the next batch, though both large ones wait.
    outbox.bare(3, Kind::PONG);
    let next = &batches(&mut outbox)[0];
    assert_eq!((next[0].0, next[0].1), (3, Kind::PONG));
    // And those take turns.
    assert_eq!(next[1].0, 2);
}

#[test]
fn gets_of_one_group_that_wait_together_share_a_frame() {
    let mut outbox = outbox();
    let now = clock::now();
    let soon = (now, now + Duration::from_secs(1));
    let later = (now, now + Duration::from_secs(3));
    for (id, group, key, when) in [
        (1, "a", "one", soon),
        (2, "a", "two", soon),
        (3, "b", "three", soon),
        (4, "b", "four", later),
        (5, "b", "five", later),
        (7, "b", "seven", later),
    ] {
        outbox.get(id, gotten(group), key.as_bytes(), when);
    }
    outbox.bare(8, Kind::PING);
    outbox.get(9, gotten("b"), b"nine", later);
    let batches = batches(&mut outbox);
    assert_eq!(batches.len(), 1);
    let read = |body: &[u8]| {
        let GetKeys { group, keys, .. } = GetKeys::decode(body).unwrap();
        let keys: Vec<_> = keys.iter().map(|key| String::from_utf8(key.to_vec()).unwrap()).collect();
        (group, keys.join(" "))
    };
    let frames: Vec<_> = batches[0].iter().filter(|frame| frame.1 == Kind::GET).collect();
    let seen: Vec<_> = frames.iter().map(|frame| (frame.0, read(&frame.3))).collect();
    let expected =
        [(1, "a", "one two"), (3, "b", "three"), (4, "b", "four five"), (7, "b", "seven"), (9, "b", "nine")]
            .map(|(id, group, keys)| (id, (group.to_owned(), keys.to_owned())));
    assert_eq!(seen, expected);
    let deadline = GetKeys::decode(&*frames[0].3).unwrap().deadline_ms;
    assert_eq!(deadline, Some(1016));
}

#[test]
fn keys_that_do_not_fit_one_frame_go_in_the_next() {
    let mut outbox = outbox();
    let now = clock::now();
    let key = vec![b'k'; 16 << 10];
    for id in 0..20 {
        outbox.get(id, gotten("g"), &key, (now, now));
    }
    for id in 20..4000 {
        outbox.get(id, gotten("g"), b"k", (now, now));
    }
    let frames: Vec<_> = batches(&mut outbox).into_iter().flatten().collect();
    let mut next = 0;
    for (id, kind, more, body) in frames {
        assert_eq!((id, kind, more), (next, Kind::GET, false));
        let keys = GetKeys::decode(&*body).unwrap().keys.len() as u64;
        assert!((1..=KEYS).contains(&keys));
        next += keys;
    }
    assert_eq!(next, 4000);
}

#[test]
fn values_are_held_by_all_connections_together_until_they_are_written() {
    let memory = Memory::new(ByteSize::mib(1));
    let used = || memory.snapshot().unwrap().used_bytes;
    let values = Intake::new(300 << 10).charged_to(memory.clone(), 300 << 10);
    let (mut outbox, mut other) = (Outbox::new(&values, u64::MAX), Outbox::new(&values, u64::MAX));
    let mut put = |length| outbox.value(1, Kind::SET, &set("k"), SetKey::VALUE, value(length, 1));
    put(1000).unwrap();
    put(200 << 10).unwrap();
    // Of a long one all that is sent, of a short one its value.
    let long = used() - 1000;
    assert!((200 << 10..(200 << 10) + 100).contains(&long), "{long}");
    put(101 << 10).unwrap_err();
    let mut put_there = |length| other.value(1, Kind::SET, &set("k"), SetKey::VALUE, value(length, 1));
    put_there(101 << 10).unwrap_err();
    // Short ones do not wait for the room of long ones.
    put_there(50_000).unwrap();
    assert_eq!(used(), 51_000 + long);
    let messages = batches(&mut outbox);
    assert_eq!((messages.len(), used()), (4, 50_000));
    other.value(1, Kind::SET, &set("k"), SetKey::VALUE, value(101 << 10, 1)).unwrap();
}

#[test]
fn what_is_forgotten_is_sent_no_further() {
    let mut outbox = outbox();
    for id in [1, 2] {
        outbox.value(id, Kind::SET, &set("k"), SetKey::VALUE, value(1 << 20, 7)).unwrap();
    }
    let mut batch = outbox.spare();
    outbox.fill(&mut batch);
    assert_eq!(outbox.forget(1), Some(BODY_MAX));
    assert_eq!((outbox.forget(2), outbox.forget(3)), (Some(0), None));
    assert!(outbox.is_empty() && outbox.long_bytes == 0);
}

#[test]
fn values_over_one_frame_have_a_bound_and_others_one_of_their_own() {
    let mut outbox = Outbox::new(&Intake::new(u64::MAX), 1 << 20);
    outbox.value(1, Kind::SET, &set("k"), SetKey::VALUE, value(2 << 20, 7)).unwrap();
    assert!(!outbox.has_room_for(BODY_MAX) && outbox.has_room_for(100));
    // More may be put in than is read of a peer meanwhile.
    for _ in 0..30 {
        outbox.value(1, Kind::SET, &set("k"), SetKey::VALUE, value(40_000, 7)).unwrap();
    }
    assert!(!outbox.has_room() && !outbox.has_room_for(100));
    batches(&mut outbox);
    assert!(outbox.has_room_for(BODY_MAX) && outbox.has_room_for(100));
}

#[test]
fn a_buffer_that_grew_is_not_kept() {
    let mut outbox = outbox();
    while outbox.has_room() {
        outbox.value(1, Kind::SET, &set("k"), SetKey::VALUE, value(10_000, 7)).unwrap();
    }
    let mut batch = outbox.spare();
    outbox.fill(&mut batch);
    let length = batch.rest().len();
    batch.advance(length);
    assert!(batch.bytes.capacity() <= KEPT, "{}", batch.bytes.capacity());
}
