//! Golden owners: the same key must have the same owner in every release, or two releases in one cluster would each
//! ask another node for it.
//!
//! The files in `golden/` are read by people too: for each list of members a digest of the whole table and the
//! ranks of some keys. When they differ from what is computed, placement changed, and the wire with it.
//!
//! `owners-ring-fnv1.txt` is not from this code: a script of fifty lines in Python wrote it, with `hashlib`'s MD5, FNV-1
//! and the circle written anew from the description of the Go sources, and `zlib.crc32` for the digests.

#![allow(clippy::unwrap_used, reason = "in a test a panic is the report")]

use std::fmt::Write as _;

use carrotcache::placement::{GroupHash, Layout, Placement, PlacementKind, Ranks, Ring, RingHash, Slots};

const SEED: [&str; 3] = ["http://localhost:8001", "http://localhost:8002", "http://localhost:8003"];

/// Lists of 1, 3, 10 and 100 members, none of them in the order of their names.
fn lists() -> Vec<Vec<String>> {
    let network = |count: usize| (0..count).rev().map(|i| format!("http://10.0.0.{i}:8001")).collect();
    vec![vec![SEED[0].into()], SEED.map(String::from).into(), network(10), network(100)]
}

/// Keys of all kinds: the seed's, runs of numbers, none, long ones, bytes that are no text.
fn keys() -> Vec<Vec<u8>> {
    let mut keys: Vec<Vec<u8>> =
        ["Tom", "Jack", "Sam", "Lily", "Pity", "key0", "key1", "", "a b", "a+b", "1F955", "ü"]
            .map(|text| text.as_bytes().to_vec())
            .into();
    keys.extend((0..40).map(|i| format!("user:{i}").into_bytes()));
    // Around the lengths at which XXH3 changes its way: 16, 128 and 240 bytes.
    keys.extend([15, 16, 17, 127, 128, 129, 239, 240, 241, 1024].map(|length| vec![b'x'; length]));
    keys.extend([vec![0], vec![0xff, 0xfe], (0..=255).collect()]);
    keys
}

/// A key as a person reads it.
fn shown(key: &[u8]) -> String {
    if key.len() > 40 {
        return format!("{}... ({} bytes)", key[..4].escape_ascii(), key.len());
    }
    format!("\"{}\"", key.escape_ascii())
}

fn named(ranks: Ranks, names: &[String]) -> String {
    ranks.iter().map(|member| names[member].as_str()).collect::<Vec<_>>().join(" ")
}

/// CRC-32 of all names in the table's order, each with a line end.
fn digest(table: impl Iterator<Item = Ranks>, names: &[String]) -> u32 {
    let mut text = String::new();
    for ranks in table {
        writeln!(text, "{}", named(ranks, names)).unwrap();
    }
    crc32fast::hash(text.as_bytes())
}

fn slots_as_text() -> String {
    let mut text = String::from("# members / group / key: slot, owner, stand-ins\n");
    for names in lists() {
        let slots = Slots::new(&names).unwrap();
        let all = digest((0..=u16::MAX).map(|slot| slots.ranks(slot)), &names);
        writeln!(text, "{} members: all 65536 slots crc32 {all:08x}", names.len()).unwrap();
        for group in ["scores", "chars"] {
            for key in keys() {
                let slot = Slots::slot(GroupHash::of(group), &key);
                let ranks = named(slots.ranks(slot), &names);
                writeln!(text, "{} / {group} / {}: {slot}, {ranks}", names.len(), shown(&key)).unwrap();
            }
        }
    }
    text
}

fn ring_as_text() -> String {
    let mut text = String::from("# members / key: place, owner, stand-ins\n");
    for name in SEED {
        for number in [0, 1, 49] {
            let point = format!("{number}{name}");
            writeln!(text, "point {point}: {}", RingHash::Crc32.place(point.as_bytes())).unwrap();
        }
    }
    for names in lists() {
        let ring = Ring::new(RingHash::Crc32, &names).unwrap();
        let all = digest((0..=u16::MAX).map(|step| ring.ranks(i64::from(step) << 16)), &names);
        writeln!(text, "{} members: 65536 even places crc32 {all:08x}", names.len()).unwrap();
        ring_keys(&ring, &names, &mut text);
    }
    text
}

/// The lists as mailgun's fork hashes them, then as groupcache-go does.
fn fnv_ring_as_text() -> String {
    let mut text = String::from("# members / key: place, owner, stand-ins\n");
    let bare = |names: Vec<String>| names.iter().map(|name| name.replace("http://", "")).collect();
    for names in lists().into_iter().chain(lists().into_iter().map(bare)) {
        let ring = Ring::new(RingHash::Fnv1, &names).unwrap();
        let even = |step: u16| i64::MIN.wrapping_add(i64::from(step) << 48);
        let all = digest((0..=u16::MAX).map(|step| ring.ranks(even(step))), &names);
        writeln!(text, "{} members, first {}: 65536 even places crc32 {all:08x}", names.len(), names[0])
            .unwrap();
        ring_keys(&ring, &names, &mut text);
    }
    text
}

fn ring_keys(ring: &Ring, names: &[String], text: &mut String) {
    for key in keys() {
        let place = ring.place(&key);
        let ranks = named(ring.ranks(place), names);
        writeln!(text, "{} / {}: {place}, {ranks}", names.len(), shown(&key)).unwrap();
    }
}

/// Compares line by line, and leaves what was computed beside the build for a look.
fn check(golden: &str, computed: &str, file: &str) {
    let path = std::path::Path::new(env!("CARGO_TARGET_TMPDIR")).join(file);
    std::fs::write(&path, computed).unwrap();
    for (number, (expected, found)) in golden.lines().zip(computed.lines()).enumerate() {
        assert_eq!(expected, found, "line {} of golden/{file}; computed: {}", number + 1, path.display());
    }
    assert_eq!(golden.lines().count(), computed.lines().count(), "lines in golden/{file}");
}

#[test]
fn slots_give_the_golden_owners() {
    check(include_str!("golden/owners-slots.txt"), &slots_as_text(), "owners-slots.txt");
}

#[test]
fn the_ring_gives_the_golden_owners() {
    check(include_str!("golden/owners-ring.txt"), &ring_as_text(), "owners-ring.txt");
}

#[test]
fn the_ring_of_the_newer_go_systems_gives_the_golden_owners() {
    check(include_str!("golden/owners-ring-fnv1.txt"), &fnv_ring_as_text(), "owners-ring-fnv1.txt");
}

/// Computed apart from this code, for mailgun's fork and for groupcache-go, whose rings differ by `http://` alone.
#[test]
fn the_fnv_ring_gives_the_owners_of_the_newer_go_systems() {
    let [with_scheme, bare] = [SEED, SEED.map(|url| &url["http://".len()..])];
    let rings = [with_scheme, bare].map(|names| Placement::new(Layout::Ring(RingHash::Fnv1), names).unwrap());
    for (key, place, mailgun, groupcache_go) in [
        ("Tom", 15_577_888_543_788_036_823, 8001, 8001),
        ("Jack", 14_740_740_618_755_545_472, 8003, 8001),
        ("Sam", 15_578_691_187_276_441_490_u64, 8001, 8001),
    ] {
        assert_eq!(RingHash::Fnv1.place(key.as_bytes()), place.cast_signed(), "{key}");
        for (ring, owner) in rings.iter().zip([mailgun, groupcache_go]) {
            let ranks = ring.place(GroupHash::of("scores"), key.as_bytes());
            assert_eq!(SEED[ranks.owner().unwrap()], format!("http://localhost:{owner}"), "{key}");
        }
    }
}

/// Computed apart from this code, from the Go sources' description; not made by the golden file's way.
#[test]
fn the_ring_gives_the_owners_of_the_go_systems() {
    let ring = Placement::new(PlacementKind::Ring, SEED).unwrap();
    for (key, place, owner) in [
        ("Tom", 1_167_209_971, 8001),
        ("Jack", 138_954_470, 8001),
        ("Sam", 3_730_706_168, 8003),
        ("Lily", 1_460_741_381, 8003),
        ("Pity", 3_485_816_187, 8003),
        ("key0", 1_532_712_134, 8001),
        ("key1", 744_252_496, 8001),
        ("", 0, 8001),
    ] {
        assert_eq!(RingHash::Crc32.place(key.as_bytes()), place, "{key}");
        let ranks = ring.place(GroupHash::of("scores"), key.as_bytes());
        assert_eq!(SEED[ranks.owner().unwrap()], format!("http://localhost:{owner}"), "{key}");
    }
    assert_eq!(RingHash::Crc32.place(b"0http://localhost:8001"), 90_546_225);
    assert_eq!(RingHash::Crc32.place(b"49http://localhost:8003"), 2_621_586_750);
}

/// 40.9, 30.1 and 29.0 % of the circle, as measured of the seed's example.
#[test]
fn the_seeds_example_shares_the_circle_as_unevenly_as_it_does_in_go() {
    let ring = Ring::new(RingHash::Crc32, SEED).unwrap();
    let mut permille = [0; 3];
    for place in (0..1000).map(|step| step * i64::from(u32::MAX / 1000)) {
        permille[ring.ranks(place).owner().unwrap()] += 1;
    }
    for (found, expected) in permille.into_iter().zip([409, 301, 290]) {
        assert!(i32::abs(found - expected) <= 10, "{permille:?}");
    }
}
