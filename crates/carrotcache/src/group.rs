//! A group: one namespace of keys, and the way of a get through it.
//!
//! `get` looks into memory and, on a miss, joins or begins a flight. There are two kinds of flight, in two tables,
//! and this is why two nodes whose lists disagree cannot hang a key: a *fetch* may ask a peer and may wait for a
//! load; a *load* asks the origin and waits for nobody. What a peer asks of us joins loads only.

use std::hash::{BuildHasher, RandomState};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use bytes::Bytes;
use tokio::runtime::Handle;
use tokio::sync::Semaphore;

use crate::answer::{Answer, Ask, Source};
use crate::clock::{self, Clock};
use crate::error::{GetError, KeyError, PeerError};
use crate::fault::{Fault, Faults};
use crate::flight::{self, Flights, Flown, Keep};
use crate::hot::{Hot, HotKeys};
use crate::limits::Limits;
use crate::load::Origin;
use crate::loader::{Loaded, Loader};
use crate::message::{Found, Reply, Request};
use crate::peers::Peers;
use crate::placement::GroupHash;
use crate::stats::{FetchOutcome, Gauges, GroupSnapshot, GroupStats, HitSource, NodeStats, Refusal, Region};
use crate::store::{Arrival, Entry, Store};
use crate::sync::{Mutex, lock};
use crate::units::{ByteSize, GroupName, Key};
use crate::value::Value;
use crate::view::{Member, Owner, Place};
use crate::views::Views;

/// What the way to the owner and back may take on top of the load it waits for.
const HOP: Duration = Duration::from_secs(1);

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
    /// Flights run here, whoever asks.
    pub(crate) runtime: Handle,
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
    origin: Origin,
    /// Keys that this node fetches from their owners, and how often.
    wanted: Mutex<HotKeys>,
    /// Keys that peers ask of this node, and how often.
    asked: Mutex<HotKeys>,
}

/// Who a load is for, which decides whether its value is kept.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Purpose {
    /// For callers of this node, or a peer that holds us for the owner: kept if we own the key.
    Answer,
    /// For a peer that could not reach the owner: kept for a short while, so that a dead owner costs the origin
    /// one load a minute for each key and not one for each get.
    StandIn,
}

/// As whom a peer is asked, and until when.
#[derive(Clone, Copy)]
struct Asked {
    stand_in: bool,
    deadline: Instant,
}

/// How asking a peer for a key ended.
enum Fetched {
    /// With its answer, good or bad.
    Landed(Landed),
    /// Nobody can say whether there is a value: ask somebody else.
    Unreachable,
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
            store: Store::new(settings.capacity, around.clock.clone(), stats.clone()),
            fetches: flights(),
            loads: flights(),
            origin: Origin {
                group: name.clone(),
                loader,
                permits: Semaphore::new(settings.max_loads.clamp(1, Semaphore::MAX_PERMITS)),
                max_loads: settings.max_loads,
                deadline: settings.load_deadline,
                value_max: around.limits.value,
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
    /// A hit takes no task, no allocation, no clock and no lock that all keys share. Dropping the returned future
    /// abandons the wait, not the load: other waiters still get the value, and it is kept.
    ///
    /// # Errors
    /// See [`GetError`]; nothing is stored where there is one.
    pub async fn get(&self, key: impl AsRef<[u8]>) -> Result<Value, GetError> {
        let key = self.checked(key.as_ref())?;
        self.shared.stats.gets.add(1);
        let local = self.is_local(key);
        if let Some(entry) = self.lookup(local, key) {
            return Ok(entry.value);
        }
        Ok(self.wait(key, local, None).await?.value)
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
        let limit = deadline.unwrap_or(self.shared.settings.fetch_deadline().saturating_mul(2));
        let landed = if local {
            clock::timeout(limit, self.loading(key, Purpose::Answer)).await
        } else {
            clock::timeout(limit, self.fetching(key)).await
        };
        landed.unwrap_or(Err(GetError::Deadline { waited: limit }))
    }

    /// Joins the key's fetch, or begins it.
    async fn fetching(&self, key: &[u8]) -> Landed {
        let flown = self.shared.fetches.fly(key, self.spawn(), |key, keep| self.clone().fetch(key, keep));
        self.landing(flown.await)
    }

    /// Joins the key's load on this node, or begins it.
    async fn loading(&self, key: &[u8], purpose: Purpose) -> Landed {
        let flown =
            self.shared.loads.fly(key, self.spawn(), |key, keep| self.clone().load(key, keep, purpose));
        self.landing(flown.await)
    }

    /// Gives a flight a task of its own.
    fn spawn(&self) -> impl Fn(flight::Errand) + '_ {
        |errand| drop(self.shared.around.runtime.spawn(errand))
    }

    fn landing(&self, flown: Flown<Landed>) -> Landed {
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
    fn take_off(&self) -> Result<(), GetError> {
        if self.shared.around.leaving.load(Ordering::Relaxed) {
            self.shared.stats.refusals.add(Refusal::Leaving);
            return Err(GetError::Leaving);
        }
        Ok(())
    }

    /// The errand to the owner.
    async fn fetch(self, key: Key, keep: Keep<Landed>) -> Landed {
        self.take_off()?;
        // A flight may have landed, or the view changed, between our lookup and our take-off.
        let view = self.shared.around.views.current();
        let place = view.place(self.shared.seed, key.as_bytes());
        if let Some(entry) = self.look_again(place.is_local(), &key) {
            return Ok(self.remembered(entry));
        }
        let owner = match place.owner() {
            Owner::Local => return self.loading(key.as_bytes(), Purpose::Answer).await,
            Owner::Remote(member) => member,
        };
        lock(&self.shared.wanted).record(key.as_bytes(), self.now());
        let deadline = clock::after(clock::now(), self.shared.settings.fetch_deadline());
        match self.ask_for(owner, &key, &keep, Asked { stand_in: false, deadline }).await {
            Fetched::Landed(landed) => landed,
            // Availability over balance: a dead owner costs extra loads, not an outage.
            Fetched::Unreachable => self.stand_in(place, &key, &keep, deadline).await,
        }
    }

    /// The errand when the owner cannot be reached: its stand-in, then a load here that is not kept.
    async fn stand_in(&self, place: Place<'_>, key: &Key, keep: &Keep<Landed>, deadline: Instant) -> Landed {
        self.shared.stats.stand_ins.add(1);
        match place.stand_in() {
            Some(Owner::Local) => self.loading(key.as_bytes(), Purpose::StandIn).await,
            Some(Owner::Remote(member)) => {
                match self.ask_for(member, key, keep, Asked { stand_in: true, deadline }).await {
                    Fetched::Landed(landed) => landed,
                    Fetched::Unreachable => self.loading(key.as_bytes(), Purpose::Answer).await,
                }
            }
            None => self.loading(key.as_bytes(), Purpose::Answer).await,
        }
    }

    /// Asks `member` for the key of this flight.
    async fn ask_for(&self, member: &Member, key: &Key, keep: &Keep<Landed>, asked: Asked) -> Fetched {
        let Asked { stand_in, deadline } = asked;
        let shared = &*self.shared;
        let what =
            Request::Get { group: shared.name.clone(), key: key.clone(), stand_in, cached_only: false };
        match self.ask(member, what, deadline).await {
            Ok(Reply::Found(found)) => Fetched::Landed(self.arrived(member, key, keep, found)),
            // It is starting, or older than this group.
            Ok(Reply::NoGroup) => Fetched::Unreachable,
            // The owner tried; a second load by every asking node would be the herd we exist to stop.
            Ok(refusal) => Fetched::Landed(Err(self.refused(member, key, refusal))),
            Err(lost) if lost.is_unreachable() => {
                tracing::debug!(group = %shared.name, peer = %member.name, error = %lost, "peer is unreachable");
                Fetched::Unreachable
            }
            Err(PeerError::Busy(limit)) => Fetched::Landed(Err(GetError::busy("waiting_per_peer", limit))),
            Err(_) => Fetched::Landed(Err(GetError::Deadline { waited: shared.settings.fetch_deadline() })),
        }
    }

    /// One request to a peer for a value, counted.
    async fn ask(&self, member: &Member, what: Request, deadline: Instant) -> Result<Reply, PeerError> {
        let shared = &*self.shared;
        let began = clock::now();
        let answer = shared.around.peers.ask(member, what, deadline).await;
        shared.stats.fetch_seconds.observe(clock::now() - began);
        shared.stats.fetches.add(outcome_of(&answer, shared.around.limits.value));
        answer
    }

    /// A value from a peer, for a flight: mirrored where it is hot, handed on in any case.
    fn arrived(&self, from: &Member, key: &Key, keep: &Keep<Landed>, found: Found) -> Landed {
        let shared = &*self.shared;
        let answer = self.received(from, key, found)?;
        if !self.is_hot(key) {
            return Ok(answer);
        }
        let Answer { value, age, ttl, .. } = answer;
        let arrival = Arrival { value: value.into(), age, ttl, region: Region::Mirrors };
        let (value, kept) = shared.store.keep(key.as_bytes(), arrival, || keep.holds());
        shared.stats.mirrors.add(u64::from(kept));
        Ok(Answer { value, ..answer })
    }

    /// A value from a peer, if it is of a size that is taken. Takes note of the giver's view.
    fn received(&self, from: &Member, key: &Key, found: Found) -> Landed {
        let shared = &*self.shared;
        shared.origin.check_size(key, found.value.len())?;
        if shared.around.views.note(from, found.view) {
            let (around, from) = (shared.around.clone(), from.clone());
            shared.around.runtime.spawn(async move { around.views.explain(&around.peers, &from).await });
        }
        let Found { value, ttl, age, loaded, node, .. } = found;
        let source = if loaded { Source::Origin } else { Source::Owner };
        let node = if node.is_empty() { from.name.clone() } else { node };
        Ok(Answer { value, source, age, ttl, stale: false, node })
    }

    /// The errand to the origin.
    async fn load(self, key: Key, keep: Keep<Landed>, purpose: Purpose) -> Landed {
        self.take_off()?;
        if let Some(entry) = self.look_again(self.is_local(key.as_bytes()), &key) {
            return Ok(self.remembered(entry));
        }
        let loaded = self.shared.origin.load(&key).await?;
        Ok(self.fill(key.as_bytes(), &keep, purpose, loaded))
    }

    /// Keeps a loaded value where this node owns the key or stands in for its owner.
    fn fill(&self, key: &[u8], keep: &Keep<Landed>, purpose: Purpose, loaded: Loaded<Bytes>) -> Answer {
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
                shared.store.keep(key, arrival, || keep.holds() && (!owned || self.is_local(key))).0
            }
            None => Value::from(loaded.value),
        };
        let node = shared.around.node.clone();
        Answer { value, source: Source::Origin, age: Duration::ZERO, ttl, stale: false, node }
    }

    /// What a peer asks of this node. Never asks a peer in turn: a view of its own may name another owner, and two
    /// such nodes would wait for each other.
    pub(crate) async fn serve(&self, key: &[u8], stand_in: bool, cached_only: bool) -> Landed {
        let key = self.checked(key)?;
        self.shared.stats.gets.add(1);
        if let Some(entry) = self.lookup(self.is_local(key), key) {
            return Ok(self.remembered(entry));
        }
        if cached_only {
            return Err(GetError::NotCached { key: Key::new(key) });
        }
        let purpose = if stand_in { Purpose::StandIn } else { Purpose::Answer };
        self.loading(key, purpose).await
    }

    /// Counts one request of a peer's for `key`, and gives how many there are a second over the last minute.
    pub(crate) fn minute_qps(&self, key: &[u8]) -> f64 {
        lock(&self.shared.asked).record(key, self.now()) / 60.0
    }

    /// Memory only: here there was nothing, so the owner's.
    async fn ask_memory(&self, key: &[u8], within: Option<Duration>) -> Landed {
        let shared = &*self.shared;
        let key = Key::new(key);
        let view = shared.around.views.current();
        let Owner::Remote(owner) = view.place(shared.seed, key.as_bytes()).owner() else {
            return Err(GetError::NotCached { key });
        };
        let what =
            Request::Get { group: shared.name.clone(), key: key.clone(), stand_in: false, cached_only: true };
        let limit = within.unwrap_or(HOP);
        let deadline = clock::after(clock::now(), limit.max(HOP));
        // A caller who waits for less than a hop drops the request: his haste says nothing of the peer.
        let Ok(answer) = clock::timeout(limit, self.ask(owner, what, deadline)).await else {
            shared.stats.fetches.add(FetchOutcome::Deadline);
            return Err(GetError::Deadline { waited: limit });
        };
        match answer {
            Ok(Reply::Found(found)) => self.received(owner, &key, found),
            // A family's peer knows no such question.
            Ok(Reply::NotCached | Reply::NoGroup | Reply::Unsupported) => Err(GetError::NotCached { key }),
            Ok(refusal) => Err(self.refused(owner, &key, refusal)),
            Err(PeerError::Timeout(waited)) => Err(GetError::Deadline { waited }),
            Err(PeerError::Busy(limit)) => Err(GetError::busy("waiting_per_peer", limit)),
            // Nobody who can be reached holds it.
            Err(_) => Err(GetError::NotCached { key }),
        }
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

    fn lookup(&self, local: bool, key: &[u8]) -> Option<Entry> {
        let entry = self.shared.store.lookup(local, key)?;
        match entry.region {
            Region::Owned => self.shared.stats.hits.add(HitSource::Memory),
            Region::Mirrors => self.shared.stats.hits.add(HitSource::Mirror),
        }
        Some(entry)
    }

    fn look_again(&self, local: bool, key: &Key) -> Option<Entry> {
        if self.shared.around.faults.has(Fault::NoSecondLookup) {
            return None;
        }
        self.shared.store.lookup(local, key.as_bytes())
    }

    fn remembered(&self, entry: Entry) -> Answer {
        let now = self.shared.around.clock.now();
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

    fn is_local(&self, key: &[u8]) -> bool {
        self.shared.around.views.load().place(self.shared.seed, key).is_local()
    }

    fn is_hot(&self, key: &Key) -> bool {
        let rate = lock(&self.shared.wanted).rate(key.as_bytes(), self.now());
        self.shared.settings.hot.holds(rate)
    }

    fn now(&self) -> Duration {
        self.shared.around.clock.elapsed()
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

    /// A peer's refusal, in the words of a get.
    fn refused(&self, owner: &Member, key: &Key, refusal: Reply) -> GetError {
        match refusal {
            Reply::NotFound => GetError::NotFound { group: self.shared.name.clone(), key: key.clone() },
            Reply::LoadFailed(cause) => {
                GetError::load(&self.shared.name, key, Box::new(AtOwner { owner: owner.name.clone(), cause }))
            }
            Reply::Busy(limit) => GetError::Busy { limit: format!("{limit} (at {})", owner.name).into() },
            Reply::Deadline => GetError::Deadline { waited: self.shared.settings.load_deadline },
            Reply::NotCached => GetError::NotCached { key: key.clone() },
            other => GetError::Refused {
                owner: owner.name.clone(),
                key: key.clone(),
                answer: other.to_string().into(),
            },
        }
    }
}

/// A random number, from the seed that the standard library draws for a hash map.
fn random() -> u64 {
    RandomState::new().hash_one(0)
}

/// A load that failed on another node.
#[derive(Debug, thiserror::Error)]
#[error("at {owner}: {cause}")]
struct AtOwner {
    owner: Arc<str>,
    cause: Arc<str>,
}

/// What waiters get when their flight's task ended without landing.
fn abandoned(group: &GroupName, key: &Key) -> GetError {
    GetError::load(group, key, "the load's task ended before the load did".into())
}

/// How a fetch counts. `limit` is that of a value.
fn outcome_of(answer: &Result<Reply, PeerError>, limit: ByteSize) -> FetchOutcome {
    match answer {
        Ok(Reply::Found(found)) if found.value.len() as u64 > limit.as_u64() => FetchOutcome::TooLarge,
        Ok(Reply::Found(_)) => FetchOutcome::Found,
        Ok(Reply::NotFound) => FetchOutcome::NotFound,
        Ok(Reply::NotCached) => FetchOutcome::NotCached,
        Ok(Reply::NoGroup) => FetchOutcome::NoGroup,
        Ok(Reply::LoadFailed(_)) => FetchOutcome::LoadFailed,
        Ok(Reply::TooLarge(_)) => FetchOutcome::TooLarge,
        Ok(Reply::Busy(_)) | Err(PeerError::Busy(_)) => FetchOutcome::Busy,
        Ok(Reply::Deadline) | Err(PeerError::Timeout(_)) => FetchOutcome::Deadline,
        Err(PeerError::Connect(_) | PeerError::Broken(_) | PeerError::Resting { .. }) => {
            FetchOutcome::Unreachable
        }
        Ok(_) => FetchOutcome::Refused,
    }
}
