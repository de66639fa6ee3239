//! What bytes say, done to two caches and to naive maps with the same contract: what is served is what was stored last
//! and not told of as left; weights are exact; no bound is passed; everything that leaves is told of once.
//!
//! One function, run by `cargo test` over a small corpus and random bytes, and by a fuzzer over what it finds. Which
//! entry leaves for room is the caches' to say: they tell it, and the maps follow.

use std::collections::HashMap;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use carrot_engine::{
    Budget, Cache, Cause, Clock, Hit, Load, LoadError, Policy, Refused, Reserved, Time, Weight,
};

/// What lies beside a value: its region, and which value it is.
type Meta = (bool, u32);
type Told = Arc<Mutex<Vec<(usize, Meta, Cause)>>>;

const KEYS: u8 = 64;

/// Does what these bytes say; panics where a cache breaks its contract.
pub(crate) fn run(bytes: &[u8]) {
    let mut bytes = Bytes(bytes);
    let mut world = World::new(&mut bytes);
    let mut steps = 0_u32;
    while let Some(op) = bytes.next() {
        world.step(op, &mut bytes);
        world.check();
        steps += 1;
        if steps.is_multiple_of(16) {
            world.check_all();
        }
    }
    world.check_all();
    world.end();
}

/// The bytes left. At their end all is zero.
struct Bytes<'a>(&'a [u8]);

impl Bytes<'_> {
    fn next(&mut self) -> Option<u8> {
        let (&first, rest) = self.0.split_first()?;
        self.0 = rest;
        Some(first)
    }

    fn byte(&mut self) -> u8 {
        self.next().unwrap_or(0)
    }

    fn below(&mut self, sides: u8) -> u8 {
        self.byte() % sides
    }
}

/// An entry, as the naive map has it.
#[derive(Clone, Copy, Debug)]
struct Entry {
    meta: Meta,
    len: usize,
    weight: u64,
    expires: Option<Time>,
}

struct Side {
    cache: Cache<Meta>,
    held: HashMap<Vec<u8>, Entry>,
    minor_limit: u64,
}

struct World {
    budget: Arc<Budget>,
    clock: Clock,
    told: Told,
    sides: Vec<Side>,
    weighing: Weighing,
    reserved: Vec<Reserved>,
    handles: Vec<(Hit<Meta>, usize)>,
    values: u32,
    /// Shards keep nothing of their quotas that no entry uses.
    exact: bool,
}

#[derive(Clone, Copy)]
enum Weighing {
    Entries,
    Units,
    Payload,
    Real,
}

/// What an operation may have as consequences.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Kind {
    Look,
    /// Somebody makes room.
    Room,
    Clear(usize),
}

fn value(id: u32, len: usize) -> Vec<u8> {
    let mut value = vec![id as u8; len];
    let head = len.min(4);
    value[..head].copy_from_slice(&id.to_le_bytes()[..head]);
    value
}

fn check_hit(hit: &Hit<Meta>, len: usize) {
    let id = hit.meta().1;
    assert_eq!(hit.len(), len);
    let (head, rest) = hit.split_at(len.min(4));
    assert_eq!(head, &id.to_le_bytes()[..head.len()]);
    // Of a long one some, and the last: there are many of these checks.
    let some = rest.iter().step_by(1 + rest.len() / 256).chain(rest.last());
    assert!(some.into_iter().all(|&byte| byte == id as u8));
}

/// Of one to 300 bytes: 64 short keys, and some long ones.
fn key(byte: u8) -> Vec<u8> {
    let n = byte % KEYS;
    vec![
        n;
        match n {
            0 => 0,
            60.. => 300,
            _ => 1 + usize::from(n % 7),
        }
    ]
}

impl World {
    fn new(bytes: &mut Bytes<'_>) -> Self {
        let (policies, sizes, seed) = (bytes.byte(), bytes.byte(), bytes.byte());
        let weighing = match sizes & 3 {
            0 => Weighing::Entries,
            1 => Weighing::Units,
            2 => Weighing::Payload,
            _ => Weighing::Real,
        };
        let scale = match weighing {
            Weighing::Entries => 1,
            Weighing::Units => 8,
            Weighing::Payload => 1 << 11,
            Weighing::Real => 1 << 12,
        };
        let capacity = scale * [0, 1, 7, 16, 40, 64, 100, 400][usize::from(sizes >> 2 & 7)];
        let budget = Arc::new(Budget::new(capacity));
        let (clock, told) = (Clock::manual(), Told::default());
        let side = |at: usize| {
            let bits = policies >> (4 * at);
            let minor_limit = capacity / 5;
            let notes = Arc::clone(&told);
            let mut cache = Cache::builder()
                .budget(Arc::clone(&budget))
                .policy(if bits & 1 == 0 { Policy::Default } else { Policy::Lru })
                .shards([1, 2, 8, 32][usize::from(bits >> 1 & 3)])
                .clock(clock.clone())
                .seed(u64::from(seed))
                .region(minor_limit, |meta: &Meta| meta.0)
                .listener(Arc::new(move |hit: &Hit<Meta>, cause| {
                    notes.lock().unwrap().push((at, hit.meta(), cause));
                }));
            if bits & 8 != 0 {
                cache = cache.capacity(capacity / 2);
            }
            Side { cache: cache.build(), held: HashMap::new(), minor_limit }
        };
        let sides: Vec<Side> = (0..2).map(side).collect();
        Self {
            budget,
            clock,
            told,
            sides,
            weighing,
            reserved: Vec::new(),
            handles: Vec::new(),
            values: 0,
            exact: capacity < 64 * 1024,
        }
    }

    fn step(&mut self, op: u8, bytes: &mut Bytes<'_>) {
        let at = usize::from(op >> 7);
        match op & 31 {
            0..10 => self.insert(at, bytes),
            10..14 => self.get(at, bytes.byte()),
            14 => self.get_many(at, bytes),
            15 | 16 => self.peek(at, bytes.byte()),
            17..20 => self.remove(at, bytes.byte()),
            20 => self.clear(at, bytes.byte()),
            21 => self.walk(at, bytes.byte()),
            22 | 23 => self.advance(bytes.byte()),
            24..27 => self.get_with(at, bytes),
            27 | 28 => self.reserve(bytes),
            29 => self.hold(at, bytes.byte()),
            30 => self.let_go(bytes.byte()),
            _ => self.churn(at, bytes),
        }
    }

    fn is_live(&self, entry: Entry) -> bool {
        entry.expires.is_none_or(|expires| self.clock.now() < expires)
    }

    fn live(&self, at: usize, key: &[u8]) -> Option<Entry> {
        self.sides[at].held.get(key).copied().filter(|&entry| self.is_live(entry))
    }

    /// Follows what the caches told of since.
    fn follow(&mut self, kind: Kind) -> Vec<(usize, Meta, Cause)> {
        let told = std::mem::take(&mut *self.told.lock().unwrap());
        for &(at, meta, cause) in &told {
            let key = self.sides[at].held.iter().find(|(_, entry)| entry.meta == meta).map(|(key, _)| key);
            let key = key.expect("told of once, and of nothing that was not there").clone();
            let entry = self.sides[at].held.remove(&key).unwrap();
            match cause {
                Cause::Expired => assert!(!self.is_live(entry), "{entry:?}"),
                Cause::Evicted => assert!(kind == Kind::Room, "{entry:?}"),
                Cause::Cleared => assert!(kind == Kind::Clear(at)),
                _ => {}
            }
        }
        told
    }

    /// A length, a weight, an expiry, all as the bytes say.
    fn draw(&mut self, bytes: &mut Bytes<'_>) -> (Meta, Vec<u8>, Weight, Option<u64>, bool) {
        let (flags, size) = (bytes.byte(), bytes.byte());
        self.values += 1;
        let meta = (flags & 1 == 1, self.values);
        let len = match flags >> 1 & 7 {
            0..3 => usize::from(size % 64),
            3 | 4 => usize::from(size) * 8,
            5 => usize::from(size) * 70,
            6 => usize::from(size) * 300,
            _ => usize::from(size) * 16 * 300,
        };
        let weight = match self.weighing {
            Weighing::Entries => Weight::Entry,
            Weighing::Units => Weight::Units(u64::from(size) % [4, 16, 64, 255][usize::from(flags >> 4 & 3)]),
            Weighing::Payload => Weight::Payload,
            Weighing::Real => Weight::Real,
        };
        let ttl = match flags >> 6 {
            0 | 1 => None,
            2 => Some(u64::from(bytes.below(100))),
            _ => Some(1 << bytes.below(60)),
        };
        (meta, value(meta.1, len), weight, ttl, flags & 0x31 != 0x31)
    }

    fn expiry(&self, ttl: Option<u64>) -> Option<Time> {
        ttl.map(|ttl| self.clock.now() + Duration::from_millis(ttl))
    }

    fn insert(&mut self, at: usize, bytes: &mut Bytes<'_>) {
        let key = key(bytes.byte());
        let (meta, value, weight, ttl, keep) = self.draw(bytes);
        let mut asked = 0;
        let expires = self.expiry(ttl);
        let keeps = || {
            asked += 1;
            keep
        };
        let stored = self.sides[at].cache.insert_if(&key, &value, meta, weight, expires, keeps);
        self.after_insert(at, &key, meta, value.len(), stored.as_ref().map_err(|&refused| refused));
        match stored {
            Ok(hit) => {
                assert!(keep && asked == 1);
                assert_eq!(hit.expires().is_some(), expires.is_some());
                if meta.1 % 5 == 0 {
                    self.handles.push((hit, value.len()));
                }
            }
            Err(Refused::Unwanted) => assert!(!keep && asked == 1),
            Err(_) => assert_eq!(asked, 0),
        }
    }

    /// The map follows an insert that went as it did.
    fn after_insert(
        &mut self,
        at: usize,
        key: &[u8],
        meta: Meta,
        len: usize,
        stored: Result<&Hit<Meta>, Refused>,
    ) {
        let before = self.sides[at].held.get(key).copied();
        let told = self.follow(Kind::Room);
        for (_, gone, _) in told.iter().filter(|told| told.2 == Cause::Replaced) {
            assert!(stored.is_ok() && before.is_some_and(|before| before.meta == *gone));
        }
        assert!(!told.iter().any(|told| told.2 == Cause::Removed));
        match stored {
            Ok(hit) => {
                assert_eq!((hit.key(), hit.meta()), (key, meta));
                check_hit(hit, len);
                let entry = Entry { meta, len, weight: hit.weight(), expires: hit.expires() };
                let old = self.sides[at].held.insert(key.to_vec(), entry);
                assert!(old.is_none(), "what it replaced was told of");
            }
            Err(Refused::NoRoom) => {
                assert!(!self.reserved.is_empty(), "alone, an entry gets its room");
            }
            Err(_) => {}
        }
    }

    fn answer(&mut self, at: usize, key: &[u8], hit: Option<&Hit<Meta>>) {
        let expect = self.live(at, key);
        assert_eq!(hit.map(Hit::meta), expect.map(|entry| entry.meta));
        if let (Some(hit), Some(entry)) = (hit, expect) {
            assert_eq!((hit.key(), hit.weight(), hit.expires()), (key, entry.weight, entry.expires));
            check_hit(hit, entry.len);
        }
    }

    fn get(&mut self, at: usize, byte: u8) {
        let key = key(byte);
        let hit = self.sides[at].cache.get(&key);
        self.answer(at, &key, hit.as_ref());
        self.follow(Kind::Look);
        assert_eq!(self.sides[at].held.contains_key(&key), hit.is_some(), "what is found expired is dropped");
    }

    fn get_many(&mut self, at: usize, bytes: &mut Bytes<'_>) {
        let count = [0, 1, 2, 15, 16, 17, 40][usize::from(bytes.below(7))];
        let first = bytes.byte();
        let keys: Vec<_> = (0..count).map(|n: u8| key(first.wrapping_add(n.wrapping_mul(11)))).collect();
        let hits = self.sides[at].cache.get_many(&keys);
        assert_eq!(hits.len(), keys.len());
        for (key, hit) in keys.iter().zip(&hits) {
            self.answer(at, key, hit.as_ref());
        }
        self.follow(Kind::Look);
    }

    fn peek(&mut self, at: usize, byte: u8) {
        let key = key(byte);
        let hit = self.sides[at].cache.peek(&key);
        self.answer(at, &key, hit.as_ref());
        assert!(self.follow(Kind::Look).is_empty());
    }

    fn remove(&mut self, at: usize, byte: u8) {
        let key = key(byte);
        let hit = self.sides[at].cache.remove(&key);
        self.answer(at, &key, hit.as_ref());
        let told = self.follow(Kind::Look);
        assert!(told.iter().all(|told| told.0 == at && matches!(told.2, Cause::Removed | Cause::Expired)));
        assert!(!self.sides[at].held.contains_key(&key));
    }

    /// Seldom, else nothing else would be tried.
    fn clear(&mut self, at: usize, byte: u8) {
        if byte.is_multiple_of(8) {
            self.sides[at].cache.clear();
            self.follow(Kind::Clear(at));
            assert!(self.sides[at].held.is_empty() && self.sides[at].cache.is_empty());
        }
    }

    fn walk(&mut self, at: usize, byte: u8) {
        let mut ids: Vec<u32> = self.sides[at].cache.iter().map(|hit| hit.meta().1).collect();
        let live = self.sides[at].held.values().filter(|entry| self.is_live(**entry));
        let mut expect: Vec<u32> = live.map(|entry| entry.meta.1).collect();
        ids.sort_unstable();
        expect.sort_unstable();
        assert_eq!(ids, expect);
        // One that is left half way, while a remove goes on, gives what it holds.
        let mut half = self.sides[at].cache.iter();
        half.by_ref().take(usize::from(byte % 8)).for_each(drop);
        self.remove(at, byte);
        half.for_each(|hit| assert!(expect.contains(&hit.meta().1)));
    }

    fn advance(&mut self, byte: u8) {
        let millis = match byte >> 6 {
            0 | 1 => u64::from(byte % 64),
            2 => 1 << (byte % 32),
            // A year and a half at most, 64 times.
            _ => u64::from(byte % 64) << 30,
        };
        self.clock.advance(Duration::from_millis(millis));
    }

    fn get_with(&mut self, at: usize, bytes: &mut Bytes<'_>) {
        let key = key(bytes.byte());
        let (meta, value, weight, ttl, succeeds) = self.draw(bytes);
        let (expect, mut loads) = (self.live(at, &key), 0);
        let inserts = self.sides[at].cache.stats().inserts;
        let loaded = self.sides[at].cache.get_with(&key, || {
            loads += 1;
            let load = Load::new(&value[..]).meta(meta).weight(weight);
            let load = ttl.map_or_else(|| load.clone(), |ttl| load.clone().ttl(Duration::from_millis(ttl)));
            if succeeds { Ok(load) } else { Err(meta.1) }
        });
        assert_eq!(loads, u32::from(expect.is_none()));
        match (expect, loaded) {
            (Some(_), loaded) => {
                self.answer(at, &key, Some(&loaded.unwrap()));
                self.follow(Kind::Look);
            }
            (None, Ok(hit)) => {
                check_hit(&hit, value.len());
                let stored = self.sides[at].cache.stats().inserts > inserts;
                assert!(!(stored && ttl == Some(0)));
                let outcome = if stored { Ok(&hit) } else { Err(Refused::Unwanted) };
                self.after_insert(at, &key, meta, value.len(), outcome);
            }
            (None, Err(LoadError::Load(error))) => {
                assert!(!succeeds && *error == meta.1);
                self.follow(Kind::Look);
            }
            (None, Err(error)) => panic!("{error:?}"),
        }
    }

    fn reserve(&mut self, bytes: &mut Bytes<'_>) {
        let (what, size) = (bytes.byte(), u64::from(bytes.byte()));
        let units = self.budget.capacity() * size / 256;
        let spent: u64 = self.reserved.iter().map(Reserved::units).sum();
        let fits = units <= self.budget.capacity() - spent;
        let done = match what % 4 {
            0 => self.budget.reserve(units).map(|reserved| self.reserved.push(reserved)).is_ok(),
            1 => match self.reserved.last_mut() {
                Some(reserved) => reserved.grow(units).is_ok(),
                None => fits,
            },
            2 => {
                self.reserved.iter_mut().for_each(|reserved| reserved.shrink_to(units));
                fits
            }
            _ => {
                self.reserved.truncate(usize::from(what >> 4));
                fits
            }
        };
        assert_eq!(done, fits, "all that is not reserved can be had");
        self.follow(Kind::Room);
    }

    fn hold(&mut self, at: usize, byte: u8) {
        let key = key(byte);
        if let (Some(hit), Some(entry)) = (self.sides[at].cache.get(&key), self.live(at, &key)) {
            self.handles.push((hit, entry.len));
        }
        self.follow(Kind::Look);
    }

    fn let_go(&mut self, byte: u8) {
        let keep = self.handles.len() * usize::from(byte % 4) / 4;
        self.handles.drain(..self.handles.len() - keep);
    }

    /// Many small inserts and gets at once, so that queues turn, blocks lie sparse and tables change their size.
    fn churn(&mut self, at: usize, bytes: &mut Bytes<'_>) {
        let (count, mut n) = (u32::from(bytes.byte()), u32::from(bytes.byte()));
        for _ in 0..count {
            n = n.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            let script = n.to_be_bytes();
            match script[3] % 4 {
                0..2 => self.insert(at, &mut Bytes(&[script[0], script[1] & 0x8F, script[2], script[0]])),
                2 => self.get(at, script[0]),
                _ => self.remove(at, script[0]),
            }
        }
    }

    /// The sums, after each step.
    fn check(&self) {
        let mut all = self.reserved.iter().map(Reserved::units).sum::<u64>();
        for Side { cache, held, minor_limit } in &self.sides {
            let stats = cache.stats();
            let sum = |minor_only: bool| {
                let entries = held.values().filter(|entry| entry.meta.0 || !minor_only);
                entries.map(|entry| entry.weight).sum::<u64>()
            };
            assert_eq!((stats.weight, stats.minor_weight), (sum(false), sum(true)));
            assert!(stats.weight <= cache.capacity() && stats.minor_weight <= *minor_limit);
            assert_eq!(stats.entries as usize, held.len());
            let gone =
                stats.evictions + stats.expirations + stats.removals + stats.replacements + stats.cleared;
            assert_eq!(stats.inserts, stats.entries + gone);
            all += stats.weight;
        }
        let used = self.budget.used();
        assert!(
            used <= self.budget.capacity() && (used == all || (!self.exact && used > all)),
            "{used}, {all}"
        );
    }

    /// Every entry, every handle.
    fn check_all(&mut self) {
        for at in 0..self.sides.len() {
            for byte in 0..KEYS {
                let key = key(byte);
                let hit = self.sides[at].cache.peek(&key);
                self.answer(at, &key, hit.as_ref());
            }
        }
        self.handles.iter().for_each(|(hit, len)| check_hit(hit, *len));
    }

    /// Handles outlive the caches, and no unit is left.
    fn end(mut self) {
        self.sides.clear();
        assert!(self.told.lock().unwrap().is_empty(), "a cache that ends tells of nothing");
        self.handles.iter().for_each(|(hit, len)| check_hit(hit, *len));
        self.reserved.clear();
        assert_eq!(self.budget.used(), 0);
    }
}
