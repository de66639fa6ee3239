//! The keys that broke in the family (spaces, plus signs, slashes, dot segments), read and written by each row.

use proptest::prelude::*;

use super::*;
use crate::units::GroupName;

/// The row, group and key that a target leads to at a native node.
fn entry(target: &[u8]) -> (Dialect, Vec<u8>, Vec<u8>) {
    entry_at(Dialect::Native, target)
}

fn entry_at(own: Dialect, target: &[u8]) -> (Dialect, Vec<u8>, Vec<u8>) {
    match route(target, own) {
        Route::Entry { row, group, key } => (row.dialect, group.into_owned(), key.into_owned()),
        other => panic!("{} leads to {other:?}", target.escape_ascii()),
    }
}

/// A key, and how we write it.
const KEYS: [(&[u8], &str); 28] = [
    (b"Tom", "Tom"),
    (b"a b", "a%20b"),
    (b"a+b", "a%2Bb"),
    (b" ", "%20"),
    (b"+", "%2B"),
    (b"%", "%25"),
    (b"%2F", "%252F"),
    (b"%zz", "%25zz"),
    (b"a%2Fb", "a%252Fb"),
    (b"?", "%3F"),
    (b"a?b=c", "a%3Fb%3Dc"),
    (b"#", "%23"),
    (b"a/b", "a%2Fb"),
    (b"x/", "x%2F"),
    (b"/abs", "%2Fabs"),
    (b"a//b", "a%2F%2Fb"),
    (b"a/./b", "a%2F.%2Fb"),
    (b"a/../b", "a%2F..%2Fb"),
    (b"../x", "..%2Fx"),
    (b".", "%2E"),
    (b"..", "%2E%2E"),
    (b"...", "..."),
    (b"", ""),
    (b"\0", "%00"),
    (b"\r\n\t\x7f", "%0D%0A%09%7F"),
    ("käse🥕".as_bytes(), "k%C3%A4se%F0%9F%A5%95"),
    (b"\xff\xfe\x80", "%FF%FE%80"),
    (b"-_.~!$&'()*,;=:@", "-_.~%21%24%26%27%28%29%2A%2C%3B%3D%3A%40"),
];

fn written_by(write: impl FnOnce(&mut Vec<u8>)) -> String {
    let mut target = Vec::new();
    write(&mut target);
    String::from_utf8(target).unwrap()
}

#[test]
fn every_troublesome_key_is_written_plainly_and_read_back_by_each_row() {
    for &dialect in Dialect::ALL {
        for (key, written) in KEYS {
            let target = written_by(|into| target(dialect.row(), b"scores", key, into));
            assert_eq!(target, format!("{}scores/{written}", dialect.row().base));
            assert_eq!(entry_at(dialect, target.as_bytes()), (dialect, b"scores".to_vec(), key.to_vec()));
        }
    }
}

#[test]
fn a_raw_plus_is_what_the_rows_clients_mean_by_it() {
    assert_eq!(entry(b"/_carrot/g/a+b").2, b"a+b");
    assert_eq!(entry(b"/carrotCache/g/a+b").2, b"a b");
    assert_eq!(entry(b"/_groupcache/g/a+b").2, b"a b");
    assert_eq!(entry(b"/_groupcache/g+h/a%2Bb"), (Dialect::Golang, b"g h".to_vec(), b"a+b".to_vec()));
    for newer in [Dialect::Mailgun, Dialect::GroupcacheGo] {
        let read = entry_at(newer, b"/_groupcache/g+h/a+b%20c%2Bd");
        assert_eq!(read, (newer, b"g+h".to_vec(), b"a+b c+d".to_vec()));
    }
}

#[test]
fn the_base_path_that_three_share_is_that_of_the_nodes_own_dialect_or_golangs() {
    for (own, row) in [
        (Dialect::Native, Dialect::Golang),
        (Dialect::Carrot, Dialect::Golang),
        (Dialect::Golang, Dialect::Golang),
        (Dialect::Mailgun, Dialect::Mailgun),
        (Dialect::GroupcacheGo, Dialect::GroupcacheGo),
    ] {
        assert_eq!(entry_at(own, b"/_groupcache/g/k").0, row, "{own}");
        assert!(
            matches!(route(b"/_groupcache/g", own), Route::Malformed { row: read, .. } if read.dialect == row)
        );
        // All others are answered whatever the node speaks itself.
        assert_eq!(entry_at(own, b"/_carrot/g/k").0, Dialect::Native);
        assert_eq!(entry_at(own, b"/carrotCache/g/k").0, Dialect::Carrot);
        assert!(matches!(route(b"/_carrot/id", own), Route::Id));
    }
}

#[test]
fn a_target_is_split_at_the_first_raw_slash_and_otherwise_taken_as_it_is() {
    for (target, group, key) in [
        (&b"/_groupcache/g//abs"[..], &b"g"[..], &b"/abs"[..]),
        (b"/_groupcache/g/a//b/./../c", b"g", b"a//b/./../c"),
        (b"/_groupcache/g%2Fh/k", b"g/h", b"k"),
        (b"/_groupcache//k", b"", b"k"),
        (b"/_groupcache/g/", b"g", b""),
        (b"/_carrot/../k", b"..", b"k"),
        (b"/_carrot/id/k", b"id", b"k"),
        (b"/_carrot/id/", b"id", b""),
        (b"/_carrot/g/%252F", b"g", b"%2F"),
        (b"/_carrot/g/%c3%A4", b"g", b"\xc3\xa4"),
        (b"/_carrot/g/\xff", b"g", b"\xff"),
        (b"/_carrot/g/k?x=/y%zz", b"g", b"k"),
    ] {
        let (_, g, k) = entry(target);
        assert_eq!((&*g, &*k), (group, key), "{}", target.escape_ascii());
    }
}

#[test]
fn targets_that_name_nothing_are_told_from_targets_that_cannot_be_read() {
    for target in [&b"/_carrot/id"[..], b"/_carrot/id?x"] {
        assert!(matches!(route(target, Dialect::Native), Route::Id));
    }
    assert!(matches!(route(b"/_carrot/members", Dialect::Native), Route::Members));
    for target in [
        &b""[..],
        b"/",
        b"*",
        b"/favicon.ico",
        b"/_CARROT/g/k",
        b"//_carrot/g/k",
        b"/_carrot",
        b"/_galaxycache/g/k",
    ] {
        assert!(matches!(route(target, Dialect::Native), Route::Nowhere), "{}", target.escape_ascii());
    }
    for base in [&b"/_carrot/"[..], b"/carrotCache/", b"/_groupcache/?x"] {
        assert!(matches!(route(base, Dialect::Native), Route::Base { .. }), "{}", base.escape_ascii());
    }
    for target in [
        &b"/_groupcache/g"[..],
        b"/carrotCache/id",
        b"/_carrot/%zz",
        b"/_carrot/~held/g",
        b"/_carrot/g/%",
        b"/_carrot/g/%2",
        b"/_carrot/g/%zz",
        b"/_carrot/g/%+1",
        b"/_carrot/%g/k",
        b"/_groupcache/g/a%",
    ] {
        assert!(
            matches!(route(target, Dialect::Native), Route::Malformed { .. }),
            "{}",
            target.escape_ascii()
        );
    }
}

#[test]
fn a_group_alone_is_a_target_of_the_native_row() {
    for (target, named) in [
        (&b"/_carrot/g"[..], &b"g"[..]),
        (b"/_carrot/a+b%20c?x/y", b"a+b c"),
        (b"/_carrot/identity", b"identity"),
    ] {
        let Route::Group { row, group } = route(target, Dialect::Golang) else {
            panic!("{}", target.escape_ascii())
        };
        assert_eq!((row.dialect, &*group), (Dialect::Native, named));
    }
    let written = written_by(|into| group_target(Dialect::Native.row(), b"a/b ..", into));
    assert_eq!(written, "/_carrot/a%2Fb%20..");
    assert!(
        matches!(route(written.as_bytes(), Dialect::Native), Route::Group { group, .. } if &*group == b"a/b ..")
    );
}

proptest! {
    #[test]
    fn any_key_of_any_group_is_read_back_as_it_was_written(
        group in prop::collection::vec(any::<u8>(), 0..40),
        key in prop::collection::vec(any::<u8>(), 0..200),
    ) {
        for &dialect in Dialect::ALL {
            let target = written_by(|into| target(dialect.row(), &group, &key, into));
            prop_assert!(target.bytes().all(|b| b.is_ascii_graphic()));
            prop_assert_eq!(entry_at(dialect, target.as_bytes()), (dialect, group.clone(), key.clone()));
        }
    }

    #[test]
    fn any_bytes_at_all_lead_somewhere(rest in prop::collection::vec(any::<u8>(), 0..200)) {
        for &dialect in Dialect::ALL {
            let target = [dialect.row().base.as_bytes(), &rest].concat();
            prop_assert!(!matches!(route(&target, dialect), Route::Nowhere));
            route(&rest, dialect);
        }
    }
}

#[test]
fn what_is_held_is_asked_beside_the_groups_and_names_any_key() {
    for (key, written) in KEYS {
        let target = written_by(|into| held_target(b"scores", key, into));
        assert_eq!(target, format!("/_carrot/~held/scores/{written}"));
        let Route::Held { group, key: read } = route(target.as_bytes(), Dialect::Native) else {
            panic!("{target}")
        };
        assert_eq!((&*group, &*read), (&b"scores"[..], key));
    }
    for target in [&b"/_carrot/~held/g"[..], b"/_carrot/~held/", b"/_carrot/~held/g/%zz"] {
        assert!(
            matches!(route(target, Dialect::Native), Route::Malformed { .. }),
            "{}",
            target.escape_ascii()
        );
    }
    // Under every other spelling it is a group, of a name that none can have.
    assert_eq!(entry(b"/_carrot/%7Eheld/g/k").1, b"~held");
    assert_eq!(entry(b"/carrotCache/~held/g/k").1, b"~held");
    assert!(GroupName::new("~held").is_err());
}
