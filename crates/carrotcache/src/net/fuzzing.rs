//! What fuzz targets hold the reading of targets, of requests and of responses to, and tests here their seeds: there is nothing of it
//! in a library that is built for use.

use crate::net::client::response::whole;
use crate::net::dialect::Dialect;
use crate::net::plain::{Cut, cut};
use crate::net::target::{Route, held_target, route, target};

/// Reads a target as a node of each dialect does. Whatever entry it leads to, the same row writes a target that leads
/// to the same entry.
pub fn read_target(bytes: &[u8]) {
    for &own in Dialect::ALL {
        match route(bytes, own) {
            Route::Entry { row, group, key } => {
                let mut written = Vec::new();
                target(row, &group, &key, &mut written);
                let shown = written.escape_ascii();
                assert!(written.iter().all(u8::is_ascii_graphic), "{shown}");
                match route(&written, own) {
                    Route::Entry { row: again, group: g, key: k } => {
                        assert_eq!((again.dialect, g, k), (row.dialect, group, key), "{shown}");
                    }
                    other => panic!("{shown} leads to {other:?}"),
                }
            }
            Route::Held { group, key } => {
                let mut written = Vec::new();
                held_target(&group, &key, &mut written);
                let shown = written.escape_ascii();
                match route(&written, own) {
                    Route::Held { group: g, key: k } => assert_eq!((g, k), (group, key), "{shown}"),
                    other => panic!("{shown} leads to {other:?}"),
                }
            }
            // No entry.
            _ => {}
        }
    }
}

/// Reads a response of a peer as it may come over a connection: in one piece, in two, and byte by byte. What is read, and
/// what is left, is the same.
pub fn read_response(bytes: &[u8]) {
    let at_once = whole(&[bytes]);
    let same = |pieces: &[&[u8]]| {
        let read = whole(pieces);
        assert_eq!(
            read.as_ref().ok(),
            at_once.as_ref().ok(),
            "{at_once:?} and {read:?} of {}",
            bytes.escape_ascii()
        );
    };
    for cut in [1, bytes.len() / 3, bytes.len() / 2, bytes.len().saturating_sub(1)] {
        let (front, back) = bytes.split_at(cut.min(bytes.len()));
        same(&[front, back]);
    }
    same(&bytes.chunks(1).collect::<Vec<_>>());
}

/// Cuts a request off. What is cut depends on the bytes of it alone, and no part of it is one.
pub fn read_request(bytes: &[u8]) {
    let now = crate::clock::now();
    for is_taken in [true, false] {
        let cut = |bytes: &[u8]| {
            cut(bytes, now, |plain| {
                assert!(
                    plain.path().starts_with('/') && plain.path().bytes().all(|byte| byte.is_ascii_graphic())
                );
                is_taken
            })
        };
        let seen = cut(bytes);
        if let Cut::Answered(length) = seen {
            assert!(is_taken);
            assert_eq!(cut(&bytes[..length]), seen, "{}", bytes.escape_ascii());
            assert_eq!(cut(&bytes[..length - 1]), Cut::Part, "{}", bytes.escape_ascii());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn seeds(target: &str, read: impl Fn(&[u8])) -> usize {
        let seeds = format!("{}/../../fuzz/corpus/{target}", env!("CARGO_MANIFEST_DIR"));
        std::fs::read_dir(seeds)
            .unwrap()
            .map(|seed| read(&std::fs::read(seed.unwrap().path()).unwrap()))
            .count()
    }

    #[test]
    fn the_seeds_of_responses_are_read_alike_in_whatever_pieces_they_come() {
        assert!(seeds("reply", read_response) > 5);
    }

    #[test]
    fn the_seeds_of_requests_are_cut_off_where_they_end() {
        assert!(seeds("request", read_request) > 5);
    }

    #[test]
    fn the_seeds_of_the_fuzzer_lead_to_what_is_written_again() {
        assert!(seeds("path", read_target) > 5);
    }
}
