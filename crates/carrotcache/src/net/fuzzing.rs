//! What a fuzz target holds the reading of targets to, and a test here its seeds: there is nothing of it in a library
//! that is built for use.

use crate::net::dialect::Dialect;
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_seeds_of_the_fuzzer_lead_to_what_is_written_again() {
        let seeds = concat!(env!("CARGO_MANIFEST_DIR"), "/../../fuzz/corpus/path");
        let mut read = 0;
        for seed in std::fs::read_dir(seeds).unwrap() {
            read_target(&std::fs::read(seed.unwrap().path()).unwrap());
            read += 1;
        }
        assert!(read > 5);
    }
}
