//! Everything that is measured, by name, in the order in which it is measured and told.

use carrot_trace::Request;

use crate::engine::bare::Bare;
use crate::engine::face::{Capacity, Engine};
use crate::engine::foyer::{Foyer, Lfu, Lru, S3Fifo, Sieve};
use crate::engine::lru::MutexLru;
use crate::engine::moka::{MiniMoka, Moka};
use crate::engine::ours::{Ours, OursAsBytes};
use crate::engine::quick::Quick;
use crate::engine::subject::{Caching, Hits, Subject, replay};

/// Ours, by its handle.
pub(crate) const OURS: &str = "carrot-engine";
/// Ours, each hit converted. The same engine inside, so only measured where the conversion is part of it.
pub(crate) const OURS_AS_BYTES: &str = "carrot-engine, Bytes out";
/// What the goals for speed are ratios to.
pub(crate) const FASTEST: &str = "quick_cache";
/// The bound: no cache.
pub(crate) const BARE: &str = "bare hashbrown";

/// A cache that is measured.
pub(crate) struct Entrant {
    pub(crate) name: &'static str,
    /// For the timed workloads.
    pub(crate) cache: fn(Capacity) -> Box<dyn Caching>,
    /// For the traces.
    pub(crate) replay: fn(&[Request], Capacity) -> Hits,
}

/// All caches, ours first.
pub(crate) const CACHES: [Entrant; 10] = [
    entrant::<Ours, Ours>(OURS),
    entrant::<OursAsBytes, OursAsBytes>(OURS_AS_BYTES),
    entrant::<Quick<_, _>, Quick<_, _>>(FASTEST),
    entrant::<Moka<_, _>, Moka<_, _>>("moka"),
    entrant::<MiniMoka<_, _>, MiniMoka<_, _>>("mini-moka"),
    entrant::<Foyer<_, _, S3Fifo>, Foyer<_, _, S3Fifo>>("foyer s3fifo"),
    entrant::<Foyer<_, _, Lfu>, Foyer<_, _, Lfu>>("foyer lfu"),
    entrant::<Foyer<_, _, Sieve>, Foyer<_, _, Sieve>>("foyer sieve"),
    entrant::<Foyer<_, _, Lru>, Foyer<_, _, Lru>>("foyer lru"),
    entrant::<MutexLru<_, _>, MutexLru<_, _>>("mutexed lru"),
];

/// The caches without the converted form of ours, for what does not depend on it.
pub(crate) fn distinct() -> impl Iterator<Item = &'static Entrant> {
    CACHES.iter().filter(|entrant| entrant.name != OURS_AS_BYTES)
}

/// Whether this is neither ours nor the bound.
pub(crate) fn is_anchor(name: &str) -> bool {
    ![OURS, OURS_AS_BYTES, BARE].contains(&name)
}

/// The bare map.
pub(crate) fn bare(entries: usize) -> Box<dyn Subject> {
    Box::new(Bare::new(entries))
}

/// The same engine twice: with text for keys, and with numbers.
const fn entrant<E, T>(name: &'static str) -> Entrant
where
    E: Engine<String, bytes::Bytes>,
    T: Engine<u64, u32>,
{
    Entrant { name, cache: cache::<E>, replay: replay::<T> }
}

fn cache<E: Engine<String, bytes::Bytes>>(capacity: Capacity) -> Box<dyn Caching> {
    Box::new(E::new(capacity))
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn names_differ_and_one_is_the_yardstick_of_speed() {
        let names: BTreeSet<&str> = CACHES.iter().map(|entrant| entrant.name).collect();
        assert_eq!(names.len(), CACHES.len());
        assert!(names.contains(FASTEST) && is_anchor(FASTEST) && !names.contains(BARE));
        assert_eq!(distinct().count(), CACHES.len() - 1);
    }

    /// What an LRU of this many entries hits, told without any table or list of anybody's.
    fn naive_lru_hits(requests: &[Request], entries: usize) -> usize {
        let mut kept: Vec<u32> = Vec::new();
        let mut hits = 0;
        for request in requests {
            if let Some(at) = kept.iter().position(|&key| key == request.key) {
                kept.remove(at);
                hits += 1;
            } else if kept.len() == entries {
                kept.remove(0);
            }
            kept.push(request.key);
        }
        hits
    }

    fn requests() -> Vec<Request> {
        let mut random = carrot_load::keys::Random::new(3);
        (0..3000)
            .map(|_| {
                let key = (random.next() % 100 * (random.next() % 100) / 100) as u32;
                Request { key, size: 1 + key % 7 }
            })
            .collect()
    }

    #[test]
    fn the_mutexed_lru_hits_as_often_as_a_naive_one() {
        let requests = requests();
        let hits = (CACHES[CACHES.len() - 1].replay)(&requests, Capacity::of_entries(20));
        assert_eq!(hits.object * 3000.0, naive_lru_hits(&requests, 20) as f64);
    }

    #[test]
    fn every_engine_hits_all_when_all_fits_and_never_when_nothing_returns() {
        let requests = requests();
        let all: BTreeSet<u32> = requests.iter().map(|request| request.key).collect();
        let each_once: Vec<Request> = (0..500).map(|key| Request { key, size: 3 }).collect();
        for entrant in &CACHES {
            let roomy = (entrant.replay)(&requests, Capacity::of_entries(2000));
            assert!((roomy.object * 3000.0 - (3000 - all.len()) as f64).abs() < 1e-6, "{}", entrant.name);
            let fresh = (entrant.replay)(&each_once, Capacity::of_entries(50));
            assert_eq!(fresh, Hits { object: 0.0, byte: 0.0 }, "{}", entrant.name);
        }
    }

    #[test]
    fn every_engine_keeps_to_its_capacity() {
        for entrant in &CACHES {
            let mut cache = (entrant.cache)(Capacity::of_entries(1000));
            cache.fill(&crate::engine::zipf::Requests::each(0..3000));
            // Some round up by shard.
            assert!((800..=1100).contains(&cache.len()), "{}: {}", entrant.name, cache.len());
        }
    }
}
