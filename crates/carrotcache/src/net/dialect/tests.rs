//! Names of dialects, and what the statuses of each row say and are read as.

use super::*;

#[test]
fn dialects_are_read_and_printed_by_name() {
    for &dialect in Dialect::ALL {
        assert_eq!(dialect.to_string().parse(), Ok(dialect));
        assert_eq!(dialect.row().dialect, dialect);
    }
    let names = Dialect::ALL.iter().map(ToString::to_string).collect::<Vec<_>>();
    assert_eq!(names, ["native", "carrot", "golang", "mailgun", "groupcache-go"]);
    let refused = "Native".parse::<Dialect>().unwrap_err().to_string();
    assert_eq!(refused, r#""Native" is no dialect: native, carrot, golang, mailgun or groupcache-go"#);
}

#[test]
fn the_table_has_each_dialect_once_and_in_its_order() {
    assert!(ROWS.iter().map(|row| row.dialect).eq(Dialect::ALL.iter().copied()));
}

#[test]
fn every_dialect_but_the_native_brings_its_ring_and_spells_members_as_its_peers_do() {
    use Spelling::*;
    for (dialect, ring, spelling) in [
        (Dialect::Native, None, One),
        (Dialect::Carrot, Some(RingHash::Crc32), AsListed),
        (Dialect::Golang, Some(RingHash::Crc32), AsListed),
        (Dialect::Mailgun, Some(RingHash::Fnv1), AsListed),
        (Dialect::GroupcacheGo, Some(RingHash::Fnv1), Bare),
    ] {
        assert_eq!((dialect.ring(), dialect.spelling()), (ring, spelling), "{dialect}");
        assert_eq!(dialect.is_family(), dialect != Dialect::Native);
    }
}

#[test]
fn what_peers_do_with_a_write_and_a_ttl_is_said_by_their_row() {
    for row in &ROWS {
        let (writes, tell_all, drops_ttl) = match row.dialect {
            Dialect::Native => (true, false, None),
            Dialect::Carrot | Dialect::Golang => (false, false, Some(row.name)),
            Dialect::Mailgun | Dialect::GroupcacheGo => (true, true, None),
        };
        assert_eq!((row.writes(), row.customs), (writes, Customs { tell_all, drops_ttl }), "{}", row.name);
    }
}

#[test]
fn many_keys_are_removed_under_one_path_of_one_row() {
    for row in &ROWS {
        let is_groupcache_go = row.dialect == Dialect::GroupcacheGo;
        assert_eq!(row.removes_many(b"_remove-keys/"), is_groupcache_go, "{}", row.name);
        assert_eq!(row.allow(b"_remove-keys/").contains("POST"), is_groupcache_go);
        for key in [&b"_remove-keys"[..], b"_remove-keys/x", b"Tom"] {
            assert!(!row.removes_many(key) && !row.allow(key).contains("POST"), "{}", row.name);
        }
        let verbs: Vec<_> = row.verbs.iter().map(Method::as_str).collect();
        assert_eq!(row.allow(b"Tom"), verbs.join(", "));
    }
}

#[test]
fn outcomes_are_read_by_the_name_they_are_written_with() {
    for outcome in Outcome::ALL {
        assert_eq!(Outcome::named(outcome.name().as_bytes()), Some(outcome));
    }
    assert_eq!(Outcome::named(b"fine"), None);
}

#[test]
fn what_the_family_statuses_say_is_read_back_as_far_as_they_can_say_it() {
    use Outcome::*;
    for (said, read) in [
        (NoGroup, NoGroup),
        (Busy, Busy),
        (BadRequest, BadRequest),
        (TooLarge, TooLarge),
        (LoadFailed, LoadFailed),
        (NotFound, LoadFailed),
        (Deadline, LoadFailed),
    ] {
        assert_eq!(family_outcome(family_status(said)), Some(read));
    }
}

#[test]
fn what_the_newer_statuses_say_is_read_back_as_far_as_they_can_say_it() {
    use Outcome::*;
    for (said, status, read) in [
        (NotFound, 404, NotFound),
        // The text tells it from the one above, and a busy peer from one whose load failed.
        (NoGroup, 404, NotFound),
        (LoadFailed, 503, LoadFailed),
        (Busy, 503, LoadFailed),
        (Deadline, 503, LoadFailed),
        (BadRequest, 400, BadRequest),
        (TooLarge, 413, TooLarge),
        (NotCached, 500, LoadFailed),
        (NotOwner, 500, LoadFailed),
        (Unsupported, 500, LoadFailed),
    ] {
        assert_eq!((newer_status(said), newer_outcome(status)), (status, Some(read)), "{said:?}");
    }
    assert_eq!(newer_outcome(405), Some(Unsupported));
    for status in [200, 204, 301, 401, 403, 418, 429, 501, 502, 504] {
        assert_eq!(newer_outcome(status), None, "{status}");
    }
}
