//! The typed face: a cache whose values are Rust values, in the same blocks as the bytes of the other.
//!
//! A value is moved into its entry's block, behind the key, and read there through a handle: there is no box around it,
//! no second count and no copy. It is dropped with its last handle, on whichever thread that is and outside all locks,
//! also after the cache is gone. While nobody holds it, it may be moved to another block, as any Rust value may.
//!
//! Keys are bytes here as well. Keys of any type would have to be hashed, compared and dropped by code of their own in
//! the table, the flights, the ghosts and the walk, all of which know a key as a slice that lies in its block.
//!
//! Uses `unsafe` to read and to drop the value in a block: the block knows where it lies, and this file what it is.
#![allow(unsafe_code, reason = "a Rust value in a block; see above")]

use std::fmt;
use std::future::Future;
use std::marker::PhantomData;
use std::ops::Deref;
use std::ptr;
use std::sync::Arc;
use std::time::Duration;

use crate::block::{Hit, MAX_KEY};
use crate::budget::Budget;
use crate::cache::{Builder, Cache, Policy};
use crate::clock::{Clock, Time};
use crate::flight::{Failure, Keep, Outcome};
use crate::insert::Size;
use crate::loading::{Load, LoadError};
use crate::stats::{Cause, Stats};
use crate::weight::{Refused, Weight};

/// A bounded map from bytes to values of `V`. Cheap to clone; all clones are the same cache. Every operation may be
/// called from any thread, and none waits for anything but a short lock, save those that load.
///
/// ```
/// use std::time::Duration;
/// use carrot_engine::{Load, Typed};
///
/// struct Page { title: String, html: String }
///
/// let pages = Typed::builder()
///     .capacity(64 << 20)
///     // What the entry takes by itself, and what its value keeps on the heap.
///     .weigher(|key, page: &Page| {
///         Typed::<Page>::entry_bytes(key.len()) + (page.title.capacity() + page.html.capacity()) as u64
///     })
///     .build();
///
/// let page = pages.get_with("/about", || {
///     let page = Page { title: "About".into(), html: "<h1>About</h1>".into() };
///     Ok::<_, std::io::Error>(Load::new(page).ttl(Duration::from_secs(60)))
/// })?;
/// assert_eq!(page.title, "About");
/// pages.remove("/about");
/// assert_eq!(page.html, "<h1>About</h1>"); // a handle outlives its entry
/// # Ok::<(), carrot_engine::LoadError<std::io::Error>>(())
/// ```
///
/// A type that wants an alignment of more than 16 bytes is refused when the program is built; a `Box` around it is not:
///
/// ```compile_fail
/// #[repr(align(32))]
/// struct Wide([u8; 32]);
/// let cache = carrot_engine::Typed::<Wide>::builder().entries(10).build();
/// cache.insert("key", Wide([0; 32]));
/// ```
///
/// A value that holds the cache, or a handle of it, keeps it from ever being dropped.
pub struct Typed<V> {
    /// Invariant: the value of each of its entries, and of each block of its arena, is a `V`.
    cache: Cache<()>,
    weigh: Weigh<V>,
}

/// How entries are charged.
enum Weigh<V> {
    Entry,
    Real,
    By(Weigher<V>),
}

type Weigher<V> = Arc<dyn Fn(&[u8], &V) -> u64 + Send + Sync>;

/// Settings of a `Typed` that is to be; see `Typed::builder`, and `Builder` for more on each.
pub struct TypedBuilder<V> {
    builder: Builder<()>,
    weigh: Weigh<V>,
}

impl<V: Send + Sync + 'static> TypedBuilder<V> {
    /// The most that the entries may weigh together: bytes, unless there is a weigher.
    ///
    /// Without one an entry is charged what it takes in the cache: `V` itself, its key and the bookkeeping. What `V`
    /// keeps on the heap, as a `String` or a `Vec` does, the cache does not see: there either `entries` or a weigher is
    /// right. One entry may weigh an eighth of the capacity; a heavier one is refused, which `Stats::refused` counts.
    pub fn capacity(mut self, units: u64) -> Self {
        self.builder = self.builder.capacity(units);
        self
    }

    /// A capacity that is a number of entries, each of which weighs one.
    pub fn entries(mut self, entries: u64) -> Self {
        self.builder = self.builder.entries(entries);
        self.weigh = Weigh::Entry;
        self
    }

    /// What an entry is charged, by its key and value. Asked once for each, before it is stored and under no lock: what
    /// the value grows to later is not seen. In the place of a weight that was set before; 0 is charged as 1.
    pub fn weigher(mut self, weigher: impl Fn(&[u8], &V) -> u64 + Send + Sync + 'static) -> Self {
        self.weigh = Weigh::By(Arc::new(weigher));
        self
    }

    /// About how many entries will fit, where that is known: see `Builder::expect`.
    pub fn expect(mut self, entries: u64) -> Self {
        self.builder = self.builder.expect(entries);
        self
    }

    /// A capacity that other caches, of bytes or of other types, use as well: see `Builder::budget`.
    pub fn budget(mut self, budget: Arc<Budget>) -> Self {
        self.builder = self.builder.budget(budget);
        self
    }

    /// Which entry leaves when room is needed.
    pub fn policy(mut self, policy: Policy) -> Self {
        self.builder = self.builder.policy(policy);
        self
    }

    /// The clock that expiries are measured by; the system's by default.
    pub fn clock(mut self, clock: Clock) -> Self {
        self.builder = self.builder.clock(clock);
        self
    }

    /// Makes the hash repeatable: see `Builder::seed`.
    pub fn seed(mut self, seed: u64) -> Self {
        self.builder = self.builder.seed(seed);
        self
    }

    /// How many shards: see `Builder::shards`.
    pub fn shards(mut self, shards: usize) -> Self {
        self.builder = self.builder.shards(shards);
        self
    }

    /// Tells `listener` of every entry that leaves, exactly once each, with the cause: see `Builder::listener`.
    pub fn listener(mut self, listener: impl Fn(&[u8], &V, Cause) + Send + Sync + 'static) -> Self {
        // SAFETY: the listener of a cache of `V`s, by `build`, is told of its entries alone.
        let told = move |hit: &Hit<()>, cause| listener(hit.key(), unsafe { value_of(hit) }, cause);
        self.builder = self.builder.listener(Arc::new(told));
        self
    }

    /// The cache. Starts no thread; see `Clock::system`.
    pub fn build(self) -> Typed<V> {
        Typed { cache: self.builder.drop_value(drop_value::<V>).build(), weigh: self.weigh }
    }
}

impl<V> Clone for Typed<V> {
    fn clone(&self) -> Self {
        Self { cache: self.cache.clone(), weigh: self.weigh.clone() }
    }
}

impl<V> Clone for Weigh<V> {
    fn clone(&self) -> Self {
        match self {
            Self::Entry => Self::Entry,
            Self::Real => Self::Real,
            Self::By(weigher) => Self::By(Arc::clone(weigher)),
        }
    }
}

impl<V: Send + Sync + 'static> Typed<V> {
    /// Settings to build a cache from; only a capacity, a number of entries or a budget is needed.
    pub fn builder() -> TypedBuilder<V> {
        TypedBuilder { builder: Cache::builder(), weigh: Weigh::Real }
    }

    /// What an entry takes in the cache: its key of this length, `V` itself and the bookkeeping, but nothing that `V`
    /// keeps elsewhere. It is what an entry is charged where there is no weigher, but for a hint of some bytes if it
    /// expires; a weigher that counts bytes begins with it.
    pub fn entry_bytes(key_len: usize) -> u64 {
        Weight::Real.units_of_value(key_len, size_of::<V>(), false)
    }

    /// The live entry of this key, which counts as used now.
    pub fn get(&self, key: impl AsRef<[u8]>) -> Option<Held<V>> {
        self.cache.get(key.as_ref()).map(Held::new)
    }

    /// As `get` for each key, answered in the order asked; their memory accesses overlap.
    pub fn get_many<K: AsRef<[u8]>>(&self, keys: &[K]) -> Vec<Option<Held<V>>> {
        self.cache.get_many(keys).into_iter().map(|hit| hit.map(Held::new)).collect()
    }

    /// The live entry of this key, without any trace: nothing is counted, moved or dropped.
    pub fn peek(&self, key: impl AsRef<[u8]>) -> Option<Held<V>> {
        self.cache.peek(key.as_ref()).map(Held::new)
    }

    /// Whether there is a live entry of this key. Leaves no trace.
    pub fn contains(&self, key: impl AsRef<[u8]>) -> bool {
        self.cache.peek(key.as_ref()).is_some()
    }

    /// Moves `value` into the cache, in place of any older one of this key. It is kept until it is evicted or removed.
    ///
    /// # Errors
    /// See `Refused`. The value is dropped then, and an older one of this key is left as it was. (`get_with` hands out
    /// what it loaded whether it is kept or not.)
    pub fn insert(&self, key: impl AsRef<[u8]>, value: V) -> Result<Held<V>, Refused> {
        self.put(key.as_ref(), value, None)
    }

    /// As `insert`, of an entry that is served until just before this time has passed.
    ///
    /// # Errors
    /// As `insert`.
    pub fn insert_with_ttl(
        &self,
        key: impl AsRef<[u8]>,
        value: V,
        ttl: Duration,
    ) -> Result<Held<V>, Refused> {
        self.put(key.as_ref(), value, Some(ttl))
    }

    /// Takes the entry of this key out, and gives it unless it had expired.
    pub fn remove(&self, key: impl AsRef<[u8]>) -> Option<Held<V>> {
        self.cache.remove(key.as_ref()).map(Held::new)
    }

    /// Takes all entries out, shard by shard. What is inserted meanwhile, into a shard already cleared, stays.
    pub fn clear(&self) {
        self.cache.clear();
    }

    /// The live entry of this key, else what `load` gives, which is then kept. Of all threads and tasks that ask for a
    /// key at one time, one loads and the others wait for it.
    ///
    /// `load` gives a `V`, or a `Load<V>` with a ttl or a weight of its own, that is then in the weigher's place. The
    /// closure runs on this thread, under no lock, and only if this call is the first. A value that the cache refuses
    /// is handed out all the same; so is one whose key was removed, cleared or inserted meanwhile, and what was stored
    /// then stays. All else is as with `Cache::get_with`.
    ///
    /// # Errors
    /// See `LoadError`; a failure is not kept, and is told to all who wait. Callers of one key should agree on `E`.
    ///
    /// # Panics
    /// With the closure's panic, on its own thread alone; those who wait get `LoadError::Panicked`, and the key is
    /// free. On a key of 64 KiB, which no handle can hold.
    pub fn get_with<L, E>(
        &self,
        key: impl AsRef<[u8]>,
        load: impl FnOnce() -> Result<L, E>,
    ) -> Result<Held<V>, LoadError<E>>
    where
        L: Into<Load<V>>,
        E: Send + Sync + 'static,
    {
        let key = key.as_ref();
        if let Some(hit) = self.cache.get(key) {
            return Ok(Held::new(hit));
        }
        let led = self.cache.lead_or_wait(key, |takeoff| self.bring(load(), &takeoff.keep()));
        led.map(Held::new)
    }

    /// As `get_with`, for a load that is a future. Works on any executor; the two share their flights.
    ///
    /// ```
    /// # use carrot_engine::{Held, LoadError, Typed};
    /// # async fn read(name: String) -> std::io::Result<String> { Ok(name) }
    /// async fn text(texts: &Typed<String>, name: &str) -> Result<Held<String>, LoadError<std::io::Error>> {
    ///     texts.get_with_async(name, read(name.to_owned())).await
    /// }
    /// ```
    ///
    /// The future is polled only if this call is the first; but then by whoever of the callers is polled. Dropping the
    /// returned future abandons the wait, not the load; with the last caller it is dropped, and the key is free. What
    /// follows from that stands at `Cache::get_with_async`.
    ///
    /// # Errors
    /// As `get_with`. A panic of the future is caught, and told to all as `LoadError::Panicked`.
    pub async fn get_with_async<L, E>(
        &self,
        key: impl AsRef<[u8]>,
        load: impl Future<Output = Result<L, E>> + Send + 'static,
    ) -> Result<Held<V>, LoadError<E>>
    where
        L: Into<Load<V>> + 'static,
        E: Send + Sync + 'static,
    {
        let key = key.as_ref();
        if let Some(hit) = self.cache.get(key) {
            return Ok(Held::new(hit));
        }
        let errand = |cache, keep: Keep<Hit<()>>| {
            let typed = Self { cache, weigh: self.weigh.clone() };
            async move { typed.bring(load.await, &keep) }
        };
        self.cache.lead_or_wait_async(key, errand).await.map(Held::new)
    }

    /// The live entries, in the order of `Cache::iter`; each knows its key.
    pub fn iter(&self) -> impl Iterator<Item = Held<V>> + use<V> {
        self.cache.iter().map(Held::new)
    }

    /// How many entries there are, those expired and not yet noticed included. Takes each shard's lock in turn.
    pub fn len(&self) -> usize {
        self.cache.len()
    }

    /// Whether there is no entry.
    pub fn is_empty(&self) -> bool {
        self.cache.is_empty()
    }

    /// The sum of the entries' weights: at no instant more than the capacity.
    pub fn weight(&self) -> u64 {
        self.cache.weight()
    }

    /// The most that the entries may weigh; of a shared budget, those of all sharers together.
    pub fn capacity(&self) -> u64 {
        self.cache.capacity()
    }

    /// The clock that expiries are measured by.
    pub fn clock(&self) -> &Clock {
        self.cache.clock()
    }

    /// A snapshot of the counters. Takes each shard's lock in turn, and all for the weight.
    pub fn stats(&self) -> Stats {
        self.cache.stats()
    }

    fn put(&self, key: &[u8], value: V, ttl: Option<Duration>) -> Result<Held<V>, Refused> {
        let shared = &*self.cache.shared;
        let expires = self.expires(ttl);
        let size = self.size(key, &value, None, expires);
        // Refused before there is a block, the value is dropped with the closure; afterwards, with the block.
        let make = || Hit::with_value(&shared.arena, key, value, size.charge, expires);
        let stored = shared.insert_made(&size, make, |_| {
            shared.supersede(key);
            true
        });
        stored.map(Held::new)
    }

    /// Keeps what was loaded, if it may, and hands it out in any case.
    fn bring<L, E>(&self, loaded: Result<L, E>, keep: &Keep<Hit<()>>) -> Outcome<Hit<()>>
    where
        L: Into<Load<V>>,
        E: Send + Sync + 'static,
    {
        let loaded = loaded.map_err(|error| Failure::Load(Arc::new(error)))?;
        let Load { value, weight, ttl, meta: () } = loaded.into();
        let (shared, key) = (&*self.cache.shared, keep.key());
        assert!(key.len() <= MAX_KEY, "a key under 64 KiB");
        let expires = self.expires(ttl);
        let size = self.size(key, &value, weight, expires);
        let hit = Hit::with_value(&shared.arena, key, value, size.charge, expires);
        if ttl != Some(Duration::ZERO) {
            // A refusal is counted there, and is nothing to those who wait for the value.
            let _ = shared.insert_made(&size, || hit.clone(), |_| keep.holds());
        }
        Ok(hit)
    }

    fn expires(&self, ttl: Option<Duration>) -> Option<Time> {
        ttl.map(|ttl| self.clock().now() + ttl)
    }

    fn size(&self, key: &[u8], value: &V, weight: Option<Weight>, expires: Option<Time>) -> Size {
        let weight = weight.unwrap_or_else(|| match &self.weigh {
            Weigh::Entry => Weight::Entry,
            Weigh::Real => Weight::Real,
            Weigh::By(weigher) => Weight::Units(weigher(key, value)),
        });
        let (key_len, value_len) = (key.len(), size_of::<V>());
        let units = weight.units_of_value(key_len, value_len, expires.is_some());
        Size { key_len, value_len, charge: weight.charge(), minor: false, weight: units }
    }
}

impl<V> From<V> for Load<V> {
    fn from(value: V) -> Self {
        Self::new(value)
    }
}

impl<V> fmt::Debug for Typed<V> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.cache.fmt(f)
    }
}

/// A counted handle on one entry of a `Typed`: derefs to its value. What it knows besides is asked as
/// `Held::key(&held)`, as with `Arc`, so that it hides none of the value's own methods.
///
/// It stays valid for as long as it is held, also after the entry or the cache is gone; the value's memory is then no
/// longer in the cache's weight. The value is dropped with the last handle, on its thread. Clone and drop cost one
/// atomic operation each and copy nothing.
///
/// It is sent to other threads and shared with them only if `V` may be both:
///
/// ```compile_fail
/// fn send<T: Send>() {}
/// send::<carrot_engine::Held<std::cell::Cell<u8>>>();
/// ```
pub struct Held<V> {
    /// Invariant: an entry of a `Typed<V>`.
    hit: Hit<()>,
    /// It has a share in a `V`, and may do what an `Arc` of it may.
    of: PhantomData<Arc<V>>,
}

impl<V> Held<V> {
    /// Of a hit of a `Typed<V>`.
    fn new(hit: Hit<()>) -> Self {
        Self { hit, of: PhantomData }
    }

    /// The entry's key.
    pub fn key(held: &Self) -> &[u8] {
        held.hit.key()
    }

    /// The moment from which the cache no longer serves the entry, by the cache's clock.
    pub fn expires(held: &Self) -> Option<Time> {
        held.hit.expires()
    }

    /// What the entry is charged, in the cache's units, while the cache has it.
    pub fn weight(held: &Self) -> u64 {
        held.hit.weight()
    }

    /// Whether both are handles on one value.
    pub fn ptr_eq(one: &Self, other: &Self) -> bool {
        one.hit.address() == other.hit.address()
    }
}

impl<V> Deref for Held<V> {
    type Target = V;
    fn deref(&self) -> &V {
        // SAFETY: an entry of a `Typed<V>`.
        unsafe { value_of(&self.hit) }
    }
}

impl<V> AsRef<V> for Held<V> {
    fn as_ref(&self) -> &V {
        self
    }
}

impl<V> Clone for Held<V> {
    fn clone(&self) -> Self {
        Self::new(self.hit.clone())
    }
}

impl<V: fmt::Debug> fmt::Debug for Held<V> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        (**self).fmt(f)
    }
}

impl<V: fmt::Display> fmt::Display for Held<V> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        (**self).fmt(f)
    }
}

/// # Safety
/// The entry's value is a `V`, as with all of a `Typed<V>`.
unsafe fn value_of<V>(hit: &Hit<()>) -> &V {
    // SAFETY: `Hit::with_value` moved a `V` there, aligned for it; it is not changed, but by itself, nor moved or
    // dropped while this handle is held.
    unsafe { hit.value_start().cast::<V>().as_ref() }
}

/// # Safety
/// A `V` is there, and is not used after this.
unsafe fn drop_value<V>(value: *mut u8) {
    // SAFETY: by the caller.
    unsafe { ptr::drop_in_place(value.cast::<V>()) };
}

#[cfg(all(test, not(shuttle)))]
mod tests;
