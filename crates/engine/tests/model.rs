//! The cache against a naive one: in one shard the exact order of use, in many what holds whatever the order.
#![allow(clippy::unwrap_used, reason = "in a test a panic is the report")]

use std::collections::HashMap;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use carrot_engine::{Cache, Cause, Clock, Hit, Policy, Present, Time, Weight};
use proptest::collection::vec;
use proptest::prelude::*;

const CAPACITY: u64 = 40;
/// What one entry may weigh.
const LARGEST: u64 = CAPACITY / 8;
const MINOR_LIMIT: u64 = 7;

#[derive(Clone, Debug)]
enum Op {
    Insert {
        key: u8,
        minor: bool,
        weight: u64,
        ttl: Option<u64>,
        keep: bool,
    },
    Get(u8),
    GetMany(Vec<u8>),
    Peek(u8),
    Remove(u8),
    /// Has a key's entry end at another time, as it was seen now or, stale, before it was replaced by itself.
    Expire {
        key: u8,
        ttl: Option<u64>,
        stale: bool,
    },
    /// Takes out what was seen.
    RemoveThis {
        key: u8,
        stale: bool,
    },
    Clear,
    Advance(u64),
}

fn op() -> impl Strategy<Value = Op> {
    let key = || 0..24_u8;
    let ttl = prop::option::weighted(0.3, 0..20_u64);
    // Now and then a weight that only just fits, or does not.
    let weight = prop_oneof![8 => 1..5_u64, 1 => 5..=LARGEST + 2];
    let insert = (key(), prop::bool::weighted(0.3), weight, ttl, prop::bool::weighted(0.9));
    prop_oneof![
        10 => insert.prop_map(|(key, minor, weight, ttl, keep)| Op::Insert { key, minor, weight, ttl, keep }),
        8 => key().prop_map(Op::Get),
        1 => vec(key(), 0..8).prop_map(Op::GetMany),
        2 => key().prop_map(Op::Peek),
        2 => key().prop_map(Op::Remove),
        3 => (key(), prop::option::weighted(0.7, 0..20_u64), prop::bool::weighted(0.2))
            .prop_map(|(key, ttl, stale)| Op::Expire { key, ttl, stale }),
        1 => (key(), prop::bool::weighted(0.3)).prop_map(|(key, stale)| Op::RemoveThis { key, stale }),
        1 => (0..10_u64).prop_map(Op::Advance),
        1 => Just(Op::Clear),
    ]
}

/// Whether the entry is minor, and which insert it came from.
type Meta = (bool, u32);

#[derive(Clone, Debug)]
struct Entry {
    key: u8,
    meta: Meta,
    weight: u64,
    expires: Option<Time>,
}

/// A naive cache: one list, coldest first.
#[derive(Default)]
struct Naive {
    entries: Vec<Entry>,
    left: Vec<(Meta, Cause)>,
    now: u64,
}

impl Naive {
    fn find(&self, key: u8) -> Option<usize> {
        self.entries.iter().position(|entry| entry.key == key)
    }

    fn is_past(&self, at: usize) -> bool {
        self.entries[at].expires.is_some_and(|expires| Time::from_millis(self.now) >= expires)
    }

    fn leave(&mut self, at: usize, cause: Cause) -> Meta {
        let meta = self.entries.remove(at).meta;
        self.left.push((meta, cause));
        meta
    }

    fn weight(&self, minor_only: bool) -> u64 {
        self.entries.iter().filter(|entry| entry.meta.0 || !minor_only).map(|entry| entry.weight).sum()
    }

    fn evict(&mut self, minor: bool) {
        let coldest = self.entries.iter().position(|entry| entry.meta.0 == minor);
        self.leave(coldest.unwrap(), Cause::Evicted);
    }

    /// Which of the expired entries an insert finds is for the cache to say.
    fn expire(&mut self, left: &[(Meta, Cause)]) {
        for told in left.iter().filter(|(_, cause)| *cause == Cause::Expired) {
            // By an insert before, of the same operation.
            if self.left.contains(told) {
                continue;
            }
            let meta = &told.0;
            let at = self.entries.iter().position(|entry| entry.meta == *meta);
            let at = at.expect("it was there");
            assert!(self.is_past(at));
            self.leave(at, Cause::Expired);
        }
    }

    fn insert(&mut self, new: Entry, keep: bool) -> bool {
        if new.weight > LARGEST || !keep {
            return false;
        }
        if let Some(at) = self.find(new.key) {
            self.leave(at, Cause::Replaced);
        }
        while new.meta.0 && self.weight(true) + new.weight > MINOR_LIMIT {
            self.evict(true);
        }
        while self.weight(false) + new.weight > CAPACITY {
            self.evict(!self.entries.iter().any(|entry| !entry.meta.0));
        }
        self.entries.push(new);
        true
    }

    fn get(&mut self, key: u8) -> Option<Meta> {
        let at = self.find(key)?;
        if self.is_past(at) {
            self.leave(at, Cause::Expired);
            return None;
        }
        let entry = self.entries.remove(at);
        self.entries.push(entry);
        self.entries.last().map(|entry| entry.meta)
    }

    fn peek(&self, key: u8) -> Option<Meta> {
        self.find(key).filter(|&at| !self.is_past(at)).map(|at| self.entries[at].meta)
    }

    fn remove(&mut self, key: u8) -> Option<Meta> {
        let at = self.find(key)?;
        let cause = if self.is_past(at) { Cause::Expired } else { Cause::Removed };
        let meta = self.leave(at, cause);
        (cause == Cause::Removed).then_some(meta)
    }

    fn clear(&mut self) {
        while !self.entries.is_empty() {
            self.leave(0, Cause::Cleared);
        }
    }

    /// The live entries of a region, hottest first.
    fn order(&self, minor: bool) -> Vec<Meta> {
        let live = (0..self.entries.len()).rev().filter(|&at| !self.is_past(at));
        live.map(|at| self.entries[at].meta).filter(|meta| meta.0 == minor).collect()
    }
}

struct Subject {
    cache: Cache<Meta>,
    clock: Clock,
    left: Arc<Mutex<Vec<(Meta, Cause)>>>,
    inserts: u32,
}

impl Subject {
    fn new(policy: Policy, shards: usize, seed: u64) -> Self {
        let (clock, left) = (Clock::manual(), Arc::new(Mutex::new(Vec::new())));
        let notes = Arc::clone(&left);
        let cache = Cache::builder()
            .capacity(CAPACITY)
            .region(MINOR_LIMIT, |meta: &Meta| meta.0)
            .policy(policy)
            .clock(clock.clone())
            .seed(seed)
            .shards(shards)
            .listener(Arc::new(move |hit: &Hit<Meta>, cause| notes.lock().unwrap().push((hit.meta(), cause))))
            .build();
        Self { cache, clock, left, inserts: 0 }
    }

    /// The value says which key and which insert it belongs to, so that a wrong one is seen.
    fn insert(&mut self, key: u8, minor: bool, weight: u64, ttl: Option<u64>, keep: bool) -> (Entry, bool) {
        self.inserts += 1;
        let meta = (minor, self.inserts);
        let expires = ttl.map(|ttl| self.clock.now() + Duration::from_millis(ttl));
        let value = format!("{key} {}", self.inserts);
        let units = Weight::Units(weight);
        let stored = self.cache.insert_if(&[key], value.as_bytes(), meta, units, expires, || keep).is_ok();
        (Entry { key, meta, weight, expires }, stored)
    }

    /// What `peek` finds, and what stood there before if it has just been replaced by its like.
    fn seen(&mut self, key: u8, stale: bool) -> (Option<Hit<Meta>>, Option<Entry>) {
        let seen = self.cache.peek(&[key]);
        let Some(hit) = seen.as_ref().filter(|_| stale) else { return (seen, None) };
        let left = hit.expires().map(|expires| {
            u64::try_from(expires.since(self.clock.now()).as_millis()).expect("no more than was given")
        });
        let (entry, stored) = self.insert(key, hit.meta().0, hit.weight(), left, true);
        assert!(stored);
        (seen, Some(entry))
    }

    /// The same value, of the same weight, which ends after `ttl`, in the place of what was seen; whether it is stored.
    fn expire(&mut self, seen: &Hit<Meta>, ttl: Option<u64>) -> (Entry, bool) {
        self.inserts += 1;
        let meta = (seen.meta().0, self.inserts);
        let (key, weight) = (seen.key()[0], seen.weight());
        let expires = ttl.map(|ttl| self.clock.now() + Duration::from_millis(ttl));
        let value = format!("{key} {}", self.inserts);
        let (units, is_it) = (Weight::Units(weight), |present: Option<Present>| {
            present.is_some_and(|present| present.is(seen))
        });
        let stored = self.cache.insert_over(&[key], value.as_bytes(), meta, units, expires, is_it).is_ok();
        (Entry { key, meta, weight, expires }, stored)
    }

    fn left(&self) -> Vec<(Meta, Cause)> {
        let mut left = std::mem::take(&mut *self.left.lock().unwrap());
        left.sort_by_key(|left| left.0.1);
        left
    }

    fn check_bounds(&self) {
        let stats = self.cache.stats();
        assert!(stats.weight <= CAPACITY && stats.minor_weight <= MINOR_LIMIT);
        assert_eq!(stats.entries as usize, self.cache.len());
        let gone = stats.evictions + stats.expirations + stats.removals + stats.replacements + stats.cleared;
        assert_eq!(stats.inserts, stats.entries + gone);
        for hit in &self.cache {
            check_value(hit.key()[0], Some(&hit));
        }
    }
}

/// The meta of a hit whose value is that key's and that insert's.
fn check_value(key: u8, hit: Option<&Hit<Meta>>) -> Option<Meta> {
    let hit = hit?;
    assert_eq!(**hit, *format!("{key} {}", hit.meta().1).as_bytes());
    assert_eq!(hit.key(), [key]);
    Some(hit.meta())
}

fn check_against_naive(ops: Vec<Op>) {
    let (mut subject, mut naive) = (Subject::new(Policy::Lru, 1, 0), Naive::default());
    for op in ops {
        match op {
            Op::Insert { key, minor, weight, ttl, keep } => {
                let (entry, stored) = subject.insert(key, minor, weight, ttl, keep);
                naive.expire(&subject.left.lock().unwrap());
                assert_eq!(stored, naive.insert(entry, keep));
            }
            Op::Get(key) => {
                assert_eq!(check_value(key, subject.cache.get(&[key]).as_ref()), naive.get(key));
            }
            Op::GetMany(keys) => {
                let asked: Vec<[u8; 1]> = keys.iter().map(|&key| [key]).collect();
                let hits = subject.cache.get_many(&asked);
                for (key, hit) in keys.into_iter().zip(hits) {
                    assert_eq!(check_value(key, hit.as_ref()), naive.get(key));
                }
            }
            Op::Peek(key) => {
                assert_eq!(check_value(key, subject.cache.peek(&[key]).as_ref()), naive.peek(key));
            }
            Op::Remove(key) => {
                assert_eq!(check_value(key, subject.cache.remove(&[key]).as_ref()), naive.remove(key));
            }
            Op::Expire { key, ttl, stale } => {
                let (seen, replaced) = subject.seen(key, stale);
                naive.expire(&subject.left.lock().unwrap());
                replaced.into_iter().for_each(|entry| assert!(naive.insert(entry, true)));
                assert_eq!(seen.as_ref().map(|hit| hit.key()[0]), naive.peek(key).map(|_| key));
                if let Some(seen) = seen {
                    let (entry, stored) = subject.expire(&seen, ttl);
                    naive.expire(&subject.left.lock().unwrap());
                    assert_eq!(stored, naive.insert(entry, !stale));
                }
            }
            Op::RemoveThis { key, stale } => {
                let (seen, replaced) = subject.seen(key, stale);
                naive.expire(&subject.left.lock().unwrap());
                replaced.into_iter().for_each(|entry| assert!(naive.insert(entry, true)));
                let removed = seen.is_some_and(|seen| subject.cache.remove_this(&seen));
                assert_eq!(removed, !stale && naive.peek(key).is_some());
                if removed {
                    naive.remove(key);
                }
            }
            Op::Clear => {
                subject.cache.clear();
                naive.clear();
            }
            Op::Advance(millis) => {
                subject.clock.advance(Duration::from_millis(millis));
                naive.now += millis;
            }
        }
        subject.check_bounds();
        // What leaves by one call is told of in no order.
        naive.left.sort_by_key(|left| left.0.1);
        assert_eq!(subject.left(), std::mem::take(&mut naive.left));
        let stats = subject.cache.stats();
        assert_eq!((stats.weight, stats.minor_weight), (naive.weight(false), naive.weight(true)));
        for minor in [false, true] {
            let order: Vec<Meta> =
                subject.cache.iter().map(|hit| hit.meta()).filter(|m| m.0 == minor).collect();
            assert_eq!(order, naive.order(minor));
        }
    }
}

/// With many shards, and with the default policy, which entry leaves is for neither to say, but it is told of; what has
/// not been told of must be there.
fn check_invariants(ops: Vec<Op>, policy: Policy, shards: usize, seed: u64) {
    let mut subject = Subject::new(policy, shards, seed);
    let mut held: HashMap<u8, Entry> = HashMap::new();
    for op in ops {
        match op {
            Op::Insert { key, minor, weight, ttl, keep } => {
                let (entry, stored) = subject.insert(key, minor, weight, ttl, keep);
                assert_eq!(stored, keep && weight <= LARGEST, "alone, it always gets its room");
                if stored {
                    let old = held.insert(key, entry);
                    let told = subject.left.lock().unwrap();
                    assert!(old.is_none_or(|old| told.iter().any(|(meta, _)| *meta == old.meta)));
                }
            }
            Op::Get(key) => _ = check_value(key, subject.cache.get(&[key]).as_ref()),
            Op::GetMany(keys) => {
                let asked: Vec<[u8; 1]> = keys.iter().map(|&key| [key]).collect();
                for (key, hit) in keys.into_iter().zip(subject.cache.get_many(&asked)) {
                    check_value(key, hit.as_ref());
                }
            }
            Op::Peek(key) => _ = check_value(key, subject.cache.peek(&[key]).as_ref()),
            Op::Remove(key) => {
                check_value(key, subject.cache.remove(&[key]).as_ref());
                assert!(subject.cache.peek(&[key]).is_none());
            }
            Op::Expire { key, ttl, stale } => {
                let (seen, replaced) = subject.seen(key, stale);
                held.extend(replaced.map(|entry| (key, entry)));
                if let Some(seen) = seen {
                    let (entry, stored) = subject.expire(&seen, ttl);
                    assert_eq!(stored, !stale);
                    held.extend(stored.then_some((key, entry)));
                }
            }
            Op::RemoveThis { key, stale } => {
                let (seen, replaced) = subject.seen(key, stale);
                held.extend(replaced.map(|entry| (key, entry)));
                let removed = seen.as_ref().is_some_and(|seen| subject.cache.remove_this(seen));
                assert_eq!(removed, !stale && seen.is_some());
            }
            Op::Clear => {
                subject.cache.clear();
                assert!(subject.cache.is_empty());
            }
            Op::Advance(millis) => subject.clock.advance(Duration::from_millis(millis)),
        }
        let left: Vec<Meta> = subject.left().into_iter().map(|(meta, _)| meta).collect();
        held.retain(|_, entry| !left.contains(&entry.meta));
        let sum = |minor_only: bool| {
            held.values().filter(|entry| entry.meta.0 || !minor_only).map(|entry| entry.weight).sum::<u64>()
        };
        let stats = subject.cache.stats();
        assert_eq!((stats.weight, stats.minor_weight), (sum(false), sum(true)));
        assert_eq!(stats.entries as usize, held.len());
        for entry in held.values() {
            let live = entry.expires.is_none_or(|expires| subject.clock.now() < expires);
            let found = check_value(entry.key, subject.cache.peek(&[entry.key]).as_ref());
            assert_eq!(found, live.then_some(entry.meta));
        }
        subject.check_bounds();
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 400, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn one_shard_is_an_exact_lru_in_both_regions(ops in vec(op(), 1..200)) {
        check_against_naive(ops);
    }

    #[test]
    fn many_shards_keep_the_weights_exact_and_lose_nothing_untold(
        ops in vec(op(), 1..200), lru: bool, shards in 1..16_usize, seed: u64,
    ) {
        check_invariants(ops, if lru { Policy::Lru } else { Policy::Default }, shards, seed);
    }
}
