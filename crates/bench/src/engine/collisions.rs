//! Gets by keys that were made to collide, beside random ones: whether anybody can make a cache slow from outside.

use std::collections::BTreeMap;

use crate::engine::entrants::distinct;
use crate::engine::face::Capacity;
use crate::engine::results::Collision;
use crate::engine::scale::Scale;
use crate::engine::seedless::{Seedless, SeedlessMap, shuffled};
use crate::engine::subject::{Caching, Sample};
use crate::engine::zipf::Requests;

/// Under what name the keys stand that were not made for anything.
pub(crate) const RANDOM: &str = "random";

/// How many of the keys a map is asked for that is expected to be slow.
const FEW: usize = 1000;

/// Every cache, and for each hash a map that uses it without a seed.
pub(crate) fn measure(scale: Scale) -> Vec<Collision> {
    let mut told: BTreeMap<String, Collision> = BTreeMap::new();
    let random = (RANDOM, Requests::each(0..scale.colliding));
    let colliding = Seedless::ALL.map(|hash| (hash.name(), hash.colliding(scale.colliding)));
    for (kind, keys) in [random].into_iter().chain(colliding) {
        for (engine, samples) in gets_by(&keys, scale.rounds) {
            let get_ns = samples.iter().map(|sample| 1e3 / sample.mops).collect();
            let entry = told.entry(engine.clone());
            let collision = entry.or_insert_with(|| Collision { engine, get_ns: BTreeMap::new() });
            collision.get_ns.insert(kind.to_owned(), get_ns);
        }
    }
    let caches = distinct().map(|entrant| entrant.name.to_owned());
    let order = caches.chain(Seedless::ALL.map(map_name));
    order.filter_map(|name| told.remove(&name)).collect()
}

fn map_name(hash: Seedless) -> String {
    format!("a map by {}", hash.name())
}

/// Who is asked for the keys.
enum Asked {
    Cache(Box<dyn Caching>),
    Map(SeedlessMap),
}

/// All engines with all these keys in them, asked in turn for each key once a round.
fn gets_by(keys: &Requests, rounds: usize) -> Vec<(String, Vec<Sample>)> {
    let capacity = Capacity { units: 2 * keys.len() as u64, ..Capacity::of_entries(keys.len()) };
    let caches = distinct().map(|entrant| {
        let mut cache = (entrant.cache)(capacity);
        cache.fill(keys);
        (entrant.name.to_owned(), Asked::Cache(cache))
    });
    let maps = Seedless::ALL.map(|hash| (map_name(hash), Asked::Map(hash.map(keys))));
    let asked: Vec<(String, Asked)> = caches.chain(maps).collect();
    let mut samples = vec![Vec::new(); asked.len()];
    for round in 0..rounds {
        let all = [shuffled(keys, round as u64)];
        let few = [all[0].iter().take(FEW).map(str::to_owned).collect()];
        for ((_, asked), samples) in asked.iter().zip(&mut samples) {
            samples.push(match asked {
                Asked::Cache(cache) => cache.gets(&all),
                Asked::Map(map) => map.gets(&few),
            });
        }
    }
    asked.into_iter().map(|(name, _)| name).zip(samples).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_key_of_every_kind_is_found_in_every_engine() {
        for hash in Seedless::ALL {
            for (engine, samples) in gets_by(&hash.colliding(300), 2) {
                assert_eq!(samples.len(), 2);
                assert!(samples.iter().all(|sample| sample.hit_ratio == 1.0), "{engine}");
            }
        }
    }

    #[test]
    fn each_engine_is_told_once_with_each_kind_of_keys() {
        let told = measure(Scale::tiny());
        assert_eq!(told.len(), distinct().count() + Seedless::ALL.len());
        assert!(told.iter().all(|told| told.get_ns.len() == 1 + Seedless::ALL.len()));
        assert!(told.iter().all(|told| told.get_ns.contains_key(RANDOM)));
    }
}
