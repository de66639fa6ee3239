//! Readers without a lock against writers, under shuttle: what is there throughout is found, and nothing else is.
//!
//! Freed blocks are the first to be used again, so in these tests a reader that looks at an old address sees another
//! entry there, or a later one of its own key.

use std::sync::Arc;

use shuttle::{check_pct, check_random, thread};

use super::stage::{Stage, same, spread};

fn check(test: impl Fn() + Send + Sync + Copy + 'static) {
    check_random(test, 500);
    check_pct(test, 1000, 3);
}

/// Runs what a writer does beside two looks for `key`, each of which has to satisfy `judge`.
fn beside(
    stage: Stage,
    key: &'static [u8],
    judge: impl Fn(Option<&[u8]>) + Copy + Send + 'static,
    write: impl FnOnce(&Stage),
) {
    let stage = Arc::new(stage);
    let reader = {
        let stage = Arc::clone(&stage);
        thread::spawn(move || {
            for _ in 0..2 {
                let hit = stage.get(key);
                assert!(hit.as_ref().is_none_or(|hit| hit.key() == key));
                judge(hit.as_deref());
            }
        })
    };
    write(&stage);
    reader.join().unwrap();
}

#[test]
fn a_reader_finds_the_old_value_or_the_new_one_and_never_nothing() {
    check(|| {
        let stage = Stage::new(same);
        stage.put(b"k", b"1");
        let judge = |value: Option<&[u8]>| assert!(matches!(value, Some(b"1" | b"2")), "{value:?}");
        beside(stage, b"k", judge, |stage| {
            stage.put(b"k", b"2");
            // Into the block of the first.
            stage.put(b"o", b"x");
        });
    });
}

#[test]
fn what_replaces_is_never_followed_by_what_it_replaced() {
    check(|| {
        let stage = Arc::new(Stage::new(spread));
        stage.put(b"k", b"1");
        let reader = {
            let stage = Arc::clone(&stage);
            thread::spawn(move || {
                let seen: Vec<u8> = (0..3).map(|_| stage.get(b"k").unwrap()[0]).collect();
                assert!(seen.is_sorted(), "{seen:?}");
            })
        };
        for value in [b"2", b"3", b"4"] {
            stage.put(b"k", value);
        }
        reader.join().unwrap();
    });
}

#[test]
fn a_value_that_was_never_stored_is_never_found() {
    check(|| {
        let stage = Stage::new(spread);
        stage.put(b"k", b"1");
        let judge = |value: Option<&[u8]>| assert!(matches!(value, None | Some(b"1")), "{value:?}");
        beside(stage, b"k", judge, |stage| {
            drop(stage.take(b"k"));
            // As of an insert that is then declined: same key, same block, and a value that nobody is to see.
            let draft = stage.draft(b"k", b"0");
            assert!(stage.get(b"k").is_none());
            drop(draft);
        });
    });
}

#[test]
fn a_removed_entry_is_found_or_not_and_its_block_is_free_when_the_last_handle_goes() {
    check(|| {
        let stage = Arc::new(Stage::new(spread));
        stage.put(b"k", b"1");
        stage.put(b"m", b"1");
        let readers = [b"k", b"m"].map(|key| {
            let stage = Arc::clone(&stage);
            thread::spawn(move || {
                let held = stage.get(key);
                let other = held.clone();
                drop(held);
                assert!(other.is_none_or(|hit| hit.key() == key && &*hit == b"1"));
            })
        });
        drop(stage.take(b"k"));
        assert!(stage.get(b"k").is_none(), "who removed it does not find it");
        stage.put(b"o", b"x");
        drop(stage.take(b"m"));
        readers.into_iter().for_each(|reader| reader.join().unwrap());
        assert_eq!((stage.len(), stage.arena.blocks()), (1, 1));
    });
}

#[test]
fn growing_shrinking_and_growing_again_hides_nothing() {
    check(|| {
        let stage = Stage::new(spread);
        for key in [b"k", b"a", b"b", b"c", b"d"] {
            stage.put(key, b"1");
        }
        let judge = |value: Option<&[u8]>| assert_eq!(value, Some(&b"1"[..]));
        beside(stage, b"k", judge, |stage| {
            // The sixth does not fit into one line.
            stage.put(b"e", b"x");
            for key in [b"a", b"b", b"c", b"d", b"e"] {
                drop(stage.take(key));
            }
            stage.shrink();
        });
    });
}

#[test]
fn an_entry_that_is_moved_is_found_in_either_place() {
    check(|| {
        let stage = Stage::new(spread);
        stage.put(b"k", b"1");
        let judge = |value: Option<&[u8]>| assert_eq!(value, Some(&b"1"[..]));
        beside(stage, b"k", judge, |stage| {
            stage.relocate(b"k");
            stage.put(b"o", b"x");
            stage.relocate(b"k");
        });
    });
}

#[test]
fn a_cleared_table_holds_what_comes_after_and_nothing_from_before() {
    check(|| {
        let stage = Stage::new(spread);
        for key in [b"k", b"a", b"b", b"c", b"d", b"e"] {
            stage.put(key, b"1");
        }
        let judge = |value: Option<&[u8]>| assert!(matches!(value, None | Some(b"1" | b"2")), "{value:?}");
        beside(stage, b"k", judge, |stage| {
            assert_eq!(stage.clear(), 6);
            assert!(stage.get(b"k").is_none());
            stage.put(b"k", b"2");
            assert_eq!(stage.get(b"k").as_deref(), Some(&b"2"[..]));
        });
    });
}
