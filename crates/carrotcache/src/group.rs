//! A group: one namespace of keys, and the way of a get through it.
//!
//! `get` looks into memory and, on a miss, joins or begins a flight. There are two kinds of flight, in two tables,
//! and this is why two nodes whose lists disagree cannot hang a key: a *fetch* may ask a peer and may wait for a
//! load (`fetch.rs`); a *load* asks the origin and waits for nobody (`load.rs`). What a peer asks of us joins loads only.

use std::hash::{BuildHasher, RandomState};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use bytes::Bytes;
use tokio::sync::Semaphore;

use crate::answer::{Answer, Ask, Source};
use crate::clock::{self, Clock, Elapsed, Moment, Time};
use crate::error::{GetError, KeyError};
use crate::fault::{Fault, Faults};
use crate::flight::{self, Flights, Flown, Keep};
use crate::hot::{Hot, HotKeys};
use crate::limits::Limits;
use crate::load::Origin;
use crate::loader::{Loaded, Loader};
use crate::peers::Peers;
use crate::placement::GroupHash;
use crate::policy::Policy;
use crate::runtimes::Runtimes;
use crate::stats::{Gauges, GroupSnapshot, GroupStats, HitSource, NodeStats, Refusal, Region};
use crate::store::{Arrival, Entry, Store};
use crate::sync::{Mutex, lock};
use crate::units::{ByteSize, GroupName, Key};
use crate::value::Value;
use crate::view::Owner;
use crate::views::Views;

/// What the way to the owner and back may take on top of the load it waits for.
pub(crate) const HOP: Duration = Duration::from_secs(1);

/// Keys whose rate is watched, for each group; the rest are too cold to matter.
const WATCHED_KEYS: usize = 1024;

/// How a flight lands: for all its waiters alike.
pub(crate) type Landed = Result<Answer, GetError>;

/// What a group is opened with.
#[derive(Clone, Debug)]
pub(crate) struct Settings {
    pub(crate) capacity: ByteSize,
    pub(crate) ttl: Option<Duration>,
    pub(crate) load_deadline: Duration,
    pub(crate) max_loads: usize,
    pub(crate) max_waiters: usize,
    pub(crate) hot: Hot,
    pub(crate) policy: Policy,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            capacity: ByteSize::mib(64),
            ttl: None,
            load_deadline: Duration::from_secs(10),
            max_loads: 256,
            max_waiters: 100_000,
            hot: Hot::default(),
            policy: Policy::Default,
        }
    }
}

impl Settings {
    /// How long the owner may take to answer: its load, and the way there and back.
    pub(crate) fn fetch_deadline(&self) -> Duration {
        self.load_deadline.saturating_add(HOP)
    }
}

/// What a group shares with the other groups of its node.
pub(crate) struct Surroundings {
    pub(crate) node: Arc<str>,
    pub(crate) views: Views,
    pub(crate) peers: Peers,
    pub(crate) limits: Limits,
    pub(crate) stats: Arc<NodeStats>,
    pub(crate) clock: Clock,
    /// Flights run on these, whoever asks.
    pub(crate) runtimes: Runtimes,
    /// The node is leaving: memory still answers, no flight begins.
    pub(crate) leaving: AtomicBool,
    pub(crate) faults: Faults,
}

/// A namespace of keys with a loader. A handle: cheap to clone, safe to share.
#[derive(Clone)]
pub struct Group {
    pub(crate) shared: Arc<Shared>,
}

pub(crate) struct Shared {
    pub(crate) name: GroupName,
    pub(crate) seed: GroupHash,
    pub(crate) settings: Settings,
    pub(crate) around: Arc<Surroundings>,
    pub(crate) store: Store,
    pub(crate) stats: Arc<GroupStats>,
    /// Errands of this node's own callers to the owner of a key.
    pub(crate) fetches: Flights<Landed>,
    /// Errands to the origin.
    pub(crate) loads: Flights<Landed>,
    pub(crate) origin: Origin,
    /// Keys that this node fetches from their owners, and how often.
    pub(crate) wanted: Mutex<HotKeys>,
    /// Keys that peers ask of this node, and how often.
    pub(crate) asked: Mutex<HotKeys>,
}

/// Who a load is for, which decides whether its value is kept.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Purpose {
    /// For callers of this node, or a peer that holds us for the owner: kept if we own the key.
    Answer,
    /// For a peer that could not reach the owner: kept for a short while, so that a dead owner costs the origin
    /// one load a minute for each key and not one for each get.
    StandIn,
}

impl Group {
    pub(crate) fn new(
        name: GroupName,
        settings: Settings,
        loader: Arc<dyn Loader>,
        around: Arc<Surroundings>,
    ) -> Self {
        let stats = Arc::new(GroupStats::default());
        let flights = || {
            let (group, faults) = (name.clone(), around.faults);
            Flights::new(settings.max_waiters, faults, move |key: &Key| Err(abandoned(&group, key)))
        };
        let shared = Shared {
            seed: GroupHash::of(name.as_str()),
            store: Store::new(
                settings.capacity,
                settings.policy,
                &around.limits.memory,
                around.clock.clone(),
                stats.clone(),
            ),
            fetches: flights(),
            loads: flights(),
            origin: Origin {
                group: name.clone(),
                loader,
                permits: Semaphore::new(settings.max_loads.clamp(1, Semaphore::MAX_PERMITS)),
                max_loads: settings.max_loads,
                deadline: settings.load_deadline,
                value_max: around.limits.value,
                memory: around.limits.memory.clone(),
                stats: stats.clone(),
                faults: around.faults,
            },
            stats,
            wanted: Mutex::new(HotKeys::new(WATCHED_KEYS, random())),
            asked: Mutex::new(HotKeys::new(WATCHED_KEYS, random())),
            name,
            settings,
            around,
        };
        Self { shared: Arc::new(shared) }
    }

    /// The group's name.
    pub fn name(&self) -> &GroupName {
        &self.shared.name
    }

    /// The value of `key`: from this node's memory, else from its owner, else from the origin.
    ///
    /// A hit takes no task, no allocation, no clock and no lock (with `Policy::Lru`, a short one of the key's shard).
    /// Dropping the returned future abandons the wait, not the load: other waiters still get the value, and it is kept.
    ///
    /// # Errors
    /// See [`GetError`]; nothing is stored where there is one.
    ///
    /// # Panics
    /// On a miss, outside a tokio runtime: the wait has a deadline.
    pub async fn get(&self, key: impl AsRef<[u8]>) -> Result<Value, GetError> {
        let key = self.checked(key.as_ref())?;
        self.shared.stats.gets.add(1);
        let local = self.is_local(key);
        if let Some(entry) = self.lookup(local, key) {
            return Ok(entry.value);
        }
        Ok(self.wait(key, local, None).await?.value)
    }

    /// The value of `key` if this node's memory has it: the half of a [`get`](Self::get) that never waits. For a front
    /// that answers many requests at once, before it waits for the others.
    ///
    /// What is found counts as a get and a hit; where nothing is, nothing is counted, since `get` will.
    ///
    /// # Errors
    /// A key that no group takes.
    pub fn hit(&self, key: impl AsRef<[u8]>) -> Result<Option<Value>, KeyError> {
        let key = self.checked(key.as_ref())?;
        let found = self.lookup(self.is_local(key), key);
        self.shared.stats.gets.add(u64::from(found.is_some()));
        Ok(found.map(|entry| entry.value))
    }

    /// What this node's memory has of `key`, as [`answer`](Self::answer) would give it: the half of that which never waits.
    ///
    /// What is found counts as a get and a hit; else, and for a key that no group takes, nothing is counted, since `answer`
    /// will.
    pub fn answer_at_once(&self, key: impl AsRef<[u8]>) -> Option<Answer> {
        let key = key.as_ref();
        let entry = self.lookup(self.is_local(key), key)?;
        self.shared.stats.gets.add(1);
        Some(self.remembered(entry))
    }

    /// As [`get`](Self::get), with a deadline or other wishes of the caller's, and with what is known of the value.
    ///
    /// # Errors
    /// As `get`; `GetError::NotCached` where only memory was asked and no node asked holds the key.
    pub async fn answer(&self, key: impl AsRef<[u8]>, ask: Ask) -> Result<Answer, GetError> {
        let key = self.checked(key.as_ref())?;
        self.shared.stats.gets.add(1);
        let local = self.is_local(key);
        if let Some(entry) = self.lookup(local, key) {
            return Ok(self.remembered(entry));
        }
        if ask.cached_only {
            return self.ask_memory(key, ask.deadline).await;
        }
        self.wait(key, local, ask.deadline).await
    }

    /// The landing of the key's flight, which is begun if there is none.
    async fn wait(&self, key: &[u8], local: bool, deadline: Option<Duration>) -> Landed {
        // A flight ends by itself; this bound is for a loader that blocks the thread its timer runs on.
        let limit = self.patience(deadline);
        let landed = if local {
            clock::timeout(limit, self.loading(key, Purpose::Answer)).await
        } else {
            // Those who share a fetch count too: counted by flights, a key that everybody wants at once looks cold.
            let now = self.moment();
            self.want([key], now.elapsed);
            let (by, is_sure) = (clock::after(now.instant, limit), AtomicBool::new(false));
            let fetching = self.fetching(key, now, |is_here| {
                is_sure.store(deadline.is_none() && is_here, Ordering::Relaxed);
            });
            clock::timeout_at_unless(by, &is_sure, fetching).await
        };
        let answer = landed.unwrap_or_else(|Elapsed| Err(self.gave_up(key, limit)))?;
        self.shared.stats.stale.add(u64::from(answer.stale));
        Ok(answer)
    }

    /// How long a caller waits who may have named a deadline.
    pub(crate) fn patience(&self, deadline: Option<Duration>) -> Duration {
        deadline.unwrap_or(self.shared.settings.fetch_deadline().saturating_mul(2))
    }

    /// A caller has waited for so long, for a load here or for the key's owner.
    pub(crate) fn gave_up(&self, key: &[u8], waited: Duration) -> GetError {
        let view = self.shared.around.views.current();
        let owner = match view.owner(self.shared.seed, key) {
            Owner::Local => None,
            Owner::Remote(member) => Some(&member.name),
        };
        GetError::late(&self.shared.name, &Key::new(key), owner, waited)
    }

    /// Joins the key's fetch, or begins it; `told_here` hears, if its owner is asked on a line, whether that tells how it
    /// ended on this thread.
    async fn fetching(&self, key: &[u8], now: Moment, told_here: impl Fn(bool)) -> Landed {
        let flown = self.shared.fetches.fly(
            key,
            |takeoff| self.fetch_at_once(takeoff, now, &told_here),
            self.spawn(),
            |key, keep| self.clone().fetch(key, keep),
        );
        self.landing(flown.await)
    }

    /// Joins the key's load on this node, or begins it.
    pub(crate) async fn loading(&self, key: &[u8], purpose: Purpose) -> Landed {
        let flown =
            self.shared.loads.fly(key, Some, self.spawn(), |key, keep| self.clone().load(key, keep, purpose));
        self.landing(flown.await)
    }

    /// Gives a flight a task of its own.
    pub(crate) fn spawn(&self) -> impl Fn(flight::Errand) + '_ {
        |errand| drop(self.shared.around.runtimes.spawn(errand))
    }

    pub(crate) fn landing(&self, flown: Flown<Landed>) -> Landed {
        match flown {
            Flown::Led(landed) => landed,
            Flown::Shared(landed) => {
                self.shared.stats.shares.add(1);
                landed
            }
            Flown::Busy => {
                self.shared.stats.refusals.add(Refusal::Waiters);
                Err(GetError::busy("max_waiters", self.shared.settings.max_waiters))
            }
        }
    }

    /// Whether a flight may do more than look into memory.
    pub(crate) fn take_off(&self) -> Result<(), GetError> {
        if self.shared.around.leaving.load(Ordering::Relaxed) {
            self.shared.stats.refusals.add(Refusal::Leaving);
            return Err(GetError::Leaving);
        }
        Ok(())
    }

    /// The errand to the origin.
    pub(crate) async fn load(self, key: Key, keep: Keep<Landed>, purpose: Purpose) -> Landed {
        self.take_off()?;
        if let Some(entry) = self.look_again(self.is_local(key.as_bytes()), &key) {
            return Ok(self.remembered(entry));
        }
        let loaded = self.shared.origin.load(&key).await?;
        Ok(self.fill(key.as_bytes(), || keep.holds(), purpose, loaded))
    }

    /// Keeps a loaded value where this node owns the key or stands in for its owner.
    pub(crate) fn fill(
        &self,
        key: &[u8],
        may_keep: impl Fn() -> bool,
        purpose: Purpose,
        loaded: Loaded<Bytes>,
    ) -> Answer {
        let shared = &*self.shared;
        let ttl = loaded.ttl.or(shared.settings.ttl);
        let region = match purpose {
            // Asked now and not at take-off: the view may have changed while the origin thought.
            _ if self.is_local(key) => Some(Region::Owned),
            Purpose::StandIn => Some(Region::Mirrors),
            Purpose::Answer => None,
        };
        let value = match region {
            Some(region) => {
                let arrival = Arrival { value: loaded.value, age: Duration::ZERO, ttl, region };
                // Asked once more under the entry's lock, since `disown` may have passed here in between.
                let owned = region == Region::Owned;
                shared.store.keep(key, arrival, || may_keep() && (!owned || self.is_local(key))).0
            }
            None => Value::from(loaded.value),
        };
        let node = shared.around.node.clone();
        Answer { value, source: Source::Origin, age: Duration::ZERO, ttl, stale: false, node }
    }

    /// Forgets what this node kept as the owner of keys that it does not own in the view in force.
    pub(crate) fn disown(&self) {
        self.shared.store.disown(|key| self.is_local(key));
    }

    /// What this group counted so far.
    pub(crate) fn stats(&self) -> GroupSnapshot {
        let shared = &*self.shared;
        let (owned_bytes, mirrors_bytes, capacity_bytes) = shared.store.weights();
        let flights = shared.fetches.len() + shared.loads.len();
        let waiters = shared.fetches.waiters() + shared.loads.waiters();
        let gauges = Gauges {
            owned_bytes,
            mirrors_bytes,
            capacity_bytes,
            flights: flights as u64,
            waiters: waiters as u64,
        };
        shared.stats.snapshot(shared.name.clone(), gauges)
    }

    /// Flights in the air.
    pub(crate) fn flying(&self) -> usize {
        self.shared.fetches.len() + self.shared.loads.len()
    }

    pub(crate) fn lookup(&self, local: bool, key: &[u8]) -> Option<Entry> {
        let entry = self.shared.store.lookup(local, key)?;
        self.count_hit(&entry);
        Some(entry)
    }

    pub(crate) fn count_hit(&self, entry: &Entry) {
        match entry.region {
            Region::Owned => self.shared.stats.hits.add(HitSource::Memory),
            Region::Mirrors => self.shared.stats.hits.add(HitSource::Mirror),
        }
    }

    pub(crate) fn look_again(&self, local: bool, key: &Key) -> Option<Entry> {
        if self.shared.around.faults.has(Fault::NoSecondLookup) {
            return None;
        }
        self.shared.store.look_again(local, key.as_bytes())
    }

    pub(crate) fn remembered(&self, entry: Entry) -> Answer {
        self.remembered_at(entry, self.shared.around.clock.now())
    }

    pub(crate) fn remembered_at(&self, entry: Entry, now: Time) -> Answer {
        Answer {
            source: match entry.region {
                Region::Owned => Source::Memory,
                Region::Mirrors => Source::Mirror,
            },
            age: entry.age(now),
            ttl: entry.ttl(now),
            stale: false,
            node: self.shared.around.node.clone(),
            value: entry.value,
        }
    }

    pub(crate) fn is_local(&self, key: &[u8]) -> bool {
        self.shared.around.views.load().is_local(self.shared.seed, key)
    }

    /// Counts a get of each of these keys towards its being hot, if any ever is by its count.
    pub(crate) fn want<'k>(&self, keys: impl IntoIterator<Item = &'k [u8]>, now: Duration) {
        if !matches!(self.shared.settings.hot, Hot::PerMinute(_)) {
            return;
        }
        let mut wanted = lock(&self.shared.wanted);
        for key in keys {
            wanted.record(key, now);
        }
    }

    pub(crate) fn is_hot(&self, key: &Key, now: Duration) -> bool {
        if !matches!(self.shared.settings.hot, Hot::PerMinute(_)) {
            return self.shared.settings.hot.holds(0.0);
        }
        let rate = lock(&self.shared.wanted).rate(key.as_bytes(), now);
        self.shared.settings.hot.holds(rate)
    }

    pub(crate) fn moment(&self) -> Moment {
        Moment::now(&self.shared.around.clock)
    }

    /// The moment of an instant that was read a little while ago.
    pub(crate) fn moment_at(&self, instant: Instant) -> Moment {
        Moment::at(instant, &self.shared.around.clock)
    }

    pub(crate) fn now(&self) -> Duration {
        self.shared.around.clock.elapsed()
    }

    /// Whether one call may ask for so many keys.
    pub(crate) fn check_count(&self, count: usize) -> Result<(), KeyError> {
        if count <= Limits::KEYS_MAX {
            return Ok(());
        }
        self.shared.stats.refusals.add(Refusal::Key);
        Err(KeyError::TooMany { count, limit: Limits::KEYS_MAX })
    }

    /// The key, if a node takes it.
    pub(crate) fn checked<'a>(&self, key: &'a [u8]) -> Result<&'a [u8], KeyError> {
        let limit = usize::try_from(self.shared.around.limits.key.as_u64()).unwrap_or(usize::MAX);
        let refused = match key.len() {
            0 => KeyError::Empty,
            length if length > limit => KeyError::TooLong { length, limit },
            _ => return Ok(key),
        };
        self.shared.stats.refusals.add(Refusal::Key);
        Err(refused)
    }
}

/// A random number, from the seed that the standard library draws for a hash map.
fn random() -> u64 {
    RandomState::new().hash_one(0)
}

/// What waiters get when their flight's task ended without landing.
fn abandoned(group: &GroupName, key: &Key) -> GetError {
    GetError::load(group, key, "the load's task ended before the load did".into())
}
