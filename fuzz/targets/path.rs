//! Request targets: of peers, read by the node of every dialect, and of clients at the data front. What leads to an
//! entry is written again so that it leads to the same.
#![no_main]
#![allow(dead_code, reason = "the front uses more of its file")]

use std::str::from_utf8;

use libfuzzer_sys::fuzz_target;
use percent_encoding::{NON_ALPHANUMERIC, percent_encode};

/// The front's own file.
#[path = "../../crates/carrot/src/target.rs"]
mod target;

use target::Target;

fn escaped(bytes: &[u8]) -> String {
    percent_encode(bytes, NON_ALPHANUMERIC).to_string()
}

fn parse(target: &str) -> Target<'_> {
    let (path, query) = target.split_once('?').map_or((target, None), |(path, query)| (path, Some(query)));
    Target::parse(path.as_bytes(), query).unwrap_or_else(|bad| panic!("{target}: {bad:?}"))
}

fuzz_target!(|bytes: &[u8]| {
    carrotcache::net::fuzzing::read_target(bytes);

    let query = bytes.iter().position(|byte| *byte == b'?');
    let (path, query) = query.map_or((bytes, None), |at| (&bytes[..at], Some(&bytes[at + 1..])));
    // The front has its query from a parsed URI, which is text.
    let query = query.map(from_utf8);
    let Ok(query) = query.transpose() else { return };
    let Ok(read) = Target::parse(path, query) else { return };
    let again = match &read {
        Target::Entry { group, key, is_whole, ttl } => {
            let ttl = ttl.as_ref().map_or_else(String::new, |ttl| format!("?ttl={}", escaped(ttl.as_bytes())));
            // A group as a whole is named without the slash before a key.
            let slash = if *is_whole { "" } else { "/" };
            format!("/v1/{}{slash}{}{ttl}", escaped(group.as_bytes()), escaped(key))
        }
        Target::Api { group, key } => format!("/api?key={}&group={}", escaped(key), escaped(group.as_bytes())),
        Target::Owner { group, key } => format!("/owner/{}/{}", escaped(group.as_bytes()), escaped(key)),
        Target::Nowhere => return,
    };
    assert_eq!(parse(&again), read, "{again}");
});
