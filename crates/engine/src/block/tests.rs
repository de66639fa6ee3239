//! Tests of blocks: their parts at every length, handles on any thread, free blocks. They use `unsafe` to look at a
//! block by its address.

use super::*;
use crate::rounds::rounds;

fn parts<'a, M>(key: &'a [u8], value: &'a [u8], meta: M, charge: Charge) -> Parts<'a, M> {
    let expires = Some(Time::from_millis(9));
    Parts { key, value, meta, charge, expires, minor: false, is_value: false }
}

fn check<M: Copy + PartialEq + fmt::Debug>(arena: &Arena, key: &[u8], value: &[u8], meta: M) {
    for charge in [Charge::Entry, Charge::Payload, Charge::Real, Charge::Units(1 << 40)] {
        let hit = Hit::new_in(arena, &parts(key, value, meta, charge));
        assert_eq!((hit.key(), &*hit, hit.meta(), hit.charge()), (key, value, meta, charge));
        assert_eq!(hit.expires(), Some(Time::from_millis(9)));
        let other = hit.clone();
        drop(hit);
        assert_eq!((other.key(), &*other), (key, value));
    }
    let hit = Hit::detached(key, value, meta);
    assert_eq!((hit.key(), &*hit, hit.meta(), hit.expires()), (key, value, meta, None));
}

#[test]
fn key_value_and_meta_are_what_was_put_in_at_every_length_and_alignment() {
    #[derive(Clone, Copy, Debug, PartialEq)]
    #[repr(align(16))]
    struct Wide(u8);

    let arena = Arena::new(crate::pages::PageSize::Small, None);
    let bytes: Vec<u8> = (0..70_000_u32).map(|n| n as u8).collect();
    // Around the largest block, past which the text is elsewhere, and around a page.
    let lengths = [0, 1, 7, 8, 15, 16, 255, 4096, 16_300, MAX_BLOCK - 40, MAX_BLOCK - 24, MAX_BLOCK, 60_000];
    for key in (0..20).chain([1000, MAX_KEY]) {
        for value in lengths {
            check(&arena, &bytes[..key], &bytes[..value], ());
            check(&arena, &bytes[..key], &bytes[..value], 3_u8);
            check(&arena, &bytes[..key], &bytes[..value], [u64::MAX; 4]);
            check(&arena, &bytes[..key], &bytes[..value], Wide(9));
        }
    }
    assert_eq!(arena.blocks(), 0);
}

#[test]
fn a_value_of_the_rust_kind_lies_aligned_and_is_dropped_once_wherever_it_lies() {
    use std::sync::atomic::AtomicUsize;
    static SUM: AtomicUsize = AtomicUsize::new(0);
    unsafe fn add(value: *mut u8) {
        assert_eq!(value.addr() % ALIGN, 0);
        // SAFETY: the tests put a number first in each value.
        let number = unsafe { value.cast::<u64>().read() };
        SUM.fetch_add(number as usize, Ordering::Relaxed);
    }
    let arena = Arena::new(crate::pages::PageSize::Small, Some(add));
    for key_len in 0..40 {
        for value_len in [8, 100, MAX_BLOCK] {
            let mut value = vec![0; value_len];
            value[..8].copy_from_slice(&1_u64.to_le_bytes());
            let key = vec![3; key_len];
            let parts = Parts { is_value: true, ..parts(&key, &value, (), Charge::Entry) };
            let hit = Hit::new_in(&arena, &parts);
            let other = hit.clone();
            drop(hit);
            // SAFETY: the value lies there, as long as the handle is held.
            let kept = unsafe { slice::from_raw_parts(other.value_start().as_ptr(), value_len) };
            assert_eq!((other.key(), kept), (&key[..], &value[..]));
        }
    }
    assert_eq!((SUM.load(Ordering::Relaxed), arena.blocks()), (120, 0));
}

#[test]
fn a_free_block_gives_no_handle_and_one_that_lives_gives_its_own() {
    let arena = Arena::new(crate::pages::PageSize::Small, None);
    let hit = Hit::new_in(&arena, &parts(b"key", b"value", 1_u8, Charge::Entry));
    let address = hit.address();
    // SAFETY: a block of this arena, also below.
    let held = unsafe { try_hold::<u8>(address) }.unwrap();
    assert_eq!(&*held, b"value");
    drop((hit, held));
    // SAFETY: as above.
    assert!(unsafe { try_hold::<u8>(address) }.is_none());
    let next = Hit::new_in(&arena, &parts(b"yek", b"eulav", 2_u8, Charge::Entry));
    assert_eq!(next.address(), address, "what was freed last is used first");
    // SAFETY: as above.
    assert_eq!(unsafe { try_hold::<u8>(address) }.unwrap().key(), b"yek");
}

#[test]
fn threads_that_look_at_a_block_which_comes_and_goes_see_whole_entries_or_none() {
    let arena = Arena::new(crate::pages::PageSize::Small, None);
    let address = Hit::new_in(&arena, &parts(b"", &[1; 100], (), Charge::Entry)).address();
    let done = std::sync::atomic::AtomicBool::new(false);
    std::thread::scope(|scope| {
        for _ in 0..2 {
            scope.spawn(|| {
                while !done.load(Ordering::Relaxed) {
                    // SAFETY: a block of this arena.
                    let Some(hit) = (unsafe { try_hold::<()>(address) }) else { continue };
                    assert!(hit.len() == 100 && hit.iter().all(|&byte| byte == hit[0] && byte != 0xDB));
                }
            });
        }
        for n in 0..rounds(100_000) {
            drop(Hit::new_in(&arena, &parts(b"", &[n as u8 % 100; 100], (), Charge::Entry)));
        }
        done.store(true, Ordering::Relaxed);
    });
    assert_eq!(arena.blocks(), 0);
}

#[test]
fn a_clone_is_the_same_bytes_and_not_a_copy_of_them() {
    let hit = Hit::detached(b"key", b"value", ());
    let other = hit.clone();
    assert_eq!(hit.as_ptr(), other.as_ptr());
    assert_eq!(hit.charge(), Charge::Units(0));
    assert_eq!(hit.expires(), None);
}

#[test]
fn handles_cross_threads_and_the_last_one_frees() {
    let hit = Hit::detached(b"key", &[7; 1000], 1_u64);
    let threads: Vec<_> = (0..4)
        .map(|_| {
            let mine = hit.clone();
            std::thread::spawn(move || {
                for _ in 0..1000 {
                    assert_eq!(mine.clone()[999], 7);
                }
            })
        })
        .collect();
    drop(hit);
    for thread in threads {
        thread.join().unwrap();
    }
}

/// Runs itself once more as a child, since it is the process that ends.
#[test]
fn a_block_with_too_many_handles_ends_the_process_rather_than_wrap_its_count() {
    const CHILD: &str = "CARROT_ENGINE_TEST_CHILD";
    if std::env::var_os(CHILD).is_some() {
        let hit = Hit::detached(b"key", b"value", ());
        hit.header().handles.store(MAX_HANDLES + 1, Ordering::Relaxed);
        std::mem::forget(hit.clone());
        hit.header().handles.store(1, Ordering::Relaxed);
        return;
    }
    let this = "block::tests::a_block_with_too_many_handles_ends_the_process_rather_than_wrap_its_count";
    let mut child = std::process::Command::new(std::env::current_exe().unwrap());
    let outcome = child.args(["--exact", this, "--nocapture"]).env(CHILD, "1").output().unwrap();
    assert!(String::from_utf8_lossy(&outcome.stdout).contains("running 1 test"));
    assert_eq!(outcome.status.code(), None, "killed by a signal, not failed");
}

#[test]
fn a_key_is_shown_escaped() {
    assert_eq!(format!("{:?}", Hit::detached(b"a\n\xff", b"xy", ())), r"Hit(a\n\xff: 2 bytes)");
}
