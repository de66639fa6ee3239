//! Bytes of a native peer: whatever is read as frames is written as it was, and no beginning of a frame is one.
#![no_main]
#![allow(dead_code, reason = "the network uses more of its file")]

use libfuzzer_sys::fuzz_target;

/// The library's own file.
#[path = "../../crates/carrotcache/src/net/frame.rs"]
mod frame;

use frame::{begin, decode, end};

fuzz_target!(|bytes: &[u8]| {
    let mut rest = bytes;
    while let Ok(Some((frame, taken))) = decode(rest) {
        let mut written = b"before".to_vec();
        let at = begin(&mut written, frame.id, frame.kind, frame.more);
        written.extend_from_slice(frame.body);
        end(&mut written, at);
        assert_eq!(&written[at..], &rest[..taken]);
        for cut in [0, 3, 4, 13, taken / 2, taken - 1] {
            assert_eq!(decode(&rest[..cut.min(taken - 1)]), Ok(None));
        }
        rest = &rest[taken..];
    }
});
