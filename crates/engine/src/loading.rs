//! Loading through the cache: a value from memory, else from the caller's own load, which all who ask share.
//!
//! The flight contract: at most one load of a key at a time; whoever comes first looks once more before he loads,
//! since another load may just have ended; a load that fails or panics is told to all who wait, and nobody of them
//! loads again for it; a caller who leaves strands nobody; and a value that was removed, cleared or replaced while
//! it was loaded is handed out and not kept. `flight.rs` keeps the flights; here they meet the cache.

use std::fmt;
use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

use crate::block::Hit;
use crate::cache::{Cache, Shared};
use crate::flight::{Caller, Claim, Failure, Flights, Keep, Outcome, Takeoff};
use crate::shard::is_past;
use crate::weight::Weight;

/// What a load gives: a value, and how it is to be kept.
///
/// ```
/// use std::time::Duration;
/// use carrot_engine::{Load, Weight};
///
/// let plain = Load::new("630");
/// let all = Load::new(vec![6, 3, 0]).meta(7_u64).weight(Weight::Entry).ttl(Duration::from_secs(60));
/// # let _ = (plain, all);
/// ```
#[derive(Clone, Debug)]
#[must_use = "it is what a load returns"]
pub struct Load<V, M = ()> {
    pub(crate) value: V,
    pub(crate) meta: M,
    /// `None`: as the cache weighs by itself.
    pub(crate) weight: Option<Weight>,
    pub(crate) ttl: Option<Duration>,
}

impl<V> Load<V> {
    /// This value, weighed by what it really takes or, in a `Typed`, as that weighs; kept until it is evicted, with
    /// nothing beside it.
    pub fn new(value: V) -> Self {
        Self { value, meta: (), weight: None, ttl: None }
    }
}

impl<V, M> Load<V, M> {
    /// What is stored beside the value, in a cache of `N`.
    pub fn meta<N>(self, meta: N) -> Load<V, N> {
        Load { value: self.value, meta, weight: self.weight, ttl: self.ttl }
    }

    /// How the entry is weighed; `Weight::Real` by default. A weigher of one's own is `Weight::Units`. All entries
    /// that share a capacity should be weighed alike; a `Typed` has a weigher for that.
    pub fn weight(mut self, weight: Weight) -> Self {
        self.weight = Some(weight);
        self
    }

    /// How long the entry is served, from the moment it is stored. Zero: it is handed to those who wait, and not
    /// kept.
    pub fn ttl(mut self, ttl: Duration) -> Self {
        self.ttl = Some(ttl);
        self
    }
}

/// Why a load gave no value. Nothing was stored. Cheap to clone: all who waited receive the same one.
#[non_exhaustive]
pub enum LoadError<E> {
    /// The load failed, be it the caller's own or the one he waited for.
    Load(Arc<E>),
    /// The load panicked. Of a closure, he who ran it sees the panic itself instead.
    Panicked,
    /// The load asked for the key it was loading, and would have waited for itself.
    OwnKey,
}

impl<E> Clone for LoadError<E> {
    fn clone(&self) -> Self {
        match self {
            Self::Load(source) => Self::Load(Arc::clone(source)),
            Self::Panicked => Self::Panicked,
            Self::OwnKey => Self::OwnKey,
        }
    }
}

impl<E> fmt::Display for LoadError<E> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Load(_) => "the load failed",
            Self::Panicked => "the load panicked",
            Self::OwnKey => "the load asked for its own key",
        })
    }
}

impl<E: fmt::Debug> fmt::Debug for LoadError<E> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Load(source) => f.debug_tuple("Load").field(source).finish(),
            Self::Panicked => f.write_str("Panicked"),
            Self::OwnKey => f.write_str("OwnKey"),
        }
    }
}

impl<E: std::error::Error + 'static> std::error::Error for LoadError<E> {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            Self::Load(source) => Some(&**source),
            Self::Panicked | Self::OwnKey => None,
        }
    }
}

impl<M: Copy + Send + Sync + 'static> Cache<M> {
    /// The live entry of this key, else what `load` gives, which is then kept. Of all threads and tasks that ask for
    /// a key at one time, one loads and the others wait for it.
    ///
    /// ```
    /// use carrot_engine::{Cache, Load, LoadError};
    ///
    /// let scores = Cache::builder().capacity(1 << 20).build();
    /// let score = scores.get_with(b"Tom", || std::fs::read("/no/such/file").map(Load::new));
    /// assert!(matches!(score, Err(LoadError::Load(error)) if error.kind() == std::io::ErrorKind::NotFound));
    ///
    /// let score = scores.get_with(b"Tom", || Ok::<_, std::io::Error>(Load::new("630")))?;
    /// assert_eq!(&*score, b"630");
    /// assert!(scores.get(b"Tom").is_some());
    /// # Ok::<(), LoadError<std::io::Error>>(())
    /// ```
    ///
    /// The closure runs on this thread, under no lock, and only if this call is the first. A value that the cache
    /// refuses, as too heavy for one, is handed out all the same; so is one whose key was removed, cleared or
    /// inserted meanwhile, and what was stored then stays. Who asks after such a change begins a load anew.
    ///
    /// A hit costs what `get` does, a load two or three allocations beyond the entry's. Waits without limit for the
    /// load to end: who needs one sets it in the load. Waiting for a future of `get_with_async`, this thread does
    /// not poll it; its own callers have to. No more loads are under way than there are callers.
    ///
    /// # Errors
    /// See `LoadError`; a failure is not kept. Callers of one key should agree on `E`: who waited for a load that
    /// failed with another type loads for himself.
    ///
    /// # Panics
    /// With the closure's panic, on its own thread alone; those who wait get `LoadError::Panicked`, and the key is
    /// free. On a key of 64 KiB or a value of 4 GiB, which no handle can hold.
    pub fn get_with<V, E>(
        &self,
        key: &[u8],
        load: impl FnOnce() -> Result<Load<V, M>, E>,
    ) -> Result<Hit<M>, LoadError<E>>
    where
        V: AsRef<[u8]>,
        E: Send + Sync + 'static,
    {
        match self.get(key) {
            Some(hit) => Ok(hit),
            None => self.lead_or_wait(key, |takeoff| self.bring(load(), &takeoff.keep())),
        }
    }

    /// What the flight of this key brings, begun by this call or by another: `load` is called once at most, if this
    /// one leads.
    pub(crate) fn lead_or_wait<E: Send + Sync + 'static>(
        &self,
        key: &[u8],
        load: impl FnOnce(&Takeoff<'_, Hit<M>>) -> Outcome<Hit<M>>,
    ) -> Result<Hit<M>, LoadError<E>> {
        let hash = self.shared.keys.hash(key);
        loop {
            let end = match self.shared.flights().claim(hash, key, Caller::Thread) {
                Claim::Join(waiter) => waiter.wait(),
                Claim::Lead(takeoff) => {
                    let outcome = match self.look_again(hash, key) {
                        Some(hit) => Ok(hit),
                        None => load(&takeoff),
                    };
                    takeoff.land(outcome.clone());
                    return told(outcome).expect("the error is of this call's own type");
                }
            };
            if let Some(told) = end.and_then(told) {
                return told;
            }
        }
    }

    /// As `get_with`, for a load that is a future. Works on any executor, and needs none of its own.
    ///
    /// ```
    /// # use carrot_engine::{Cache, Hit, Load, LoadError};
    /// # async fn read(name: String) -> std::io::Result<Vec<u8>> { Ok(name.into()) }
    /// async fn score(scores: &Cache<()>, name: &str) -> Result<Hit<()>, LoadError<std::io::Error>> {
    ///     let owned = name.to_owned();
    ///     scores.get_with_async(name.as_bytes(), async { read(owned).await.map(Load::new) }).await
    /// }
    /// ```
    ///
    /// The future is polled only if this call is the first; but then by whoever of the callers is polled, on
    /// whichever thread: hence `Send` and `'static`. They should run on one runtime, since a future may be bound to
    /// the one it was first polled on. Each wake of the load wakes all its callers.
    ///
    /// Dropping the returned future abandons the wait, not the load: the others go on with it. With the last of them
    /// it is dropped, and the key is free. A caller that is kept and no more polled holds up no other task, only
    /// a thread that waits in `get_with` with no other task waiting too. A load must not wait for its own key in a
    /// task that it spawned: in its own that is `LoadError::OwnKey`, there it is not seen, and never ends.
    ///
    /// # Errors
    /// As `get_with`. A panic of the future is caught, and told to all as `LoadError::Panicked`.
    ///
    /// # Panics
    /// On a key of 64 KiB or a value of 4 GiB.
    pub async fn get_with_async<V, E>(
        &self,
        key: &[u8],
        load: impl Future<Output = Result<Load<V, M>, E>> + Send + 'static,
    ) -> Result<Hit<M>, LoadError<E>>
    where
        V: AsRef<[u8]> + 'static,
        E: Send + Sync + 'static,
    {
        if let Some(hit) = self.get(key) {
            return Ok(hit);
        }
        let errand = |cache: Self, keep: Keep<Hit<M>>| async move { cache.bring(load.await, &keep) };
        self.lead_or_wait_async(key, errand).await
    }

    /// As `lead_or_wait`, for a load that is a future.
    pub(crate) async fn lead_or_wait_async<E, L>(
        &self,
        key: &[u8],
        load: impl FnOnce(Self, Keep<Hit<M>>) -> L,
    ) -> Result<Hit<M>, LoadError<E>>
    where
        E: Send + Sync + 'static,
        L: Future<Output = Outcome<Hit<M>>> + Send + 'static,
    {
        let hash = self.shared.keys.hash(key);
        loop {
            let waiter = match self.shared.flights().claim(hash, key, Caller::Task) {
                Claim::Join(waiter) => waiter,
                Claim::Lead(takeoff) => {
                    if let Some(hit) = self.look_again(hash, key) {
                        takeoff.land(Ok(hit.clone()));
                        return Ok(hit);
                    }
                    let errand = Box::pin(load(self.clone(), takeoff.keep()));
                    let end = takeoff.entrust(errand).await;
                    let told = told(end.expect("no flight is abandoned while a task waits for it"));
                    return told.expect("the error is of this call's own type");
                }
            };
            if let Some(told) = waiter.await.and_then(told) {
                return told;
            }
        }
    }

    /// The second look, by him who leads: what landed after his first is found, and not loaded again.
    ///
    /// Takes the shard's lock, whatever a get does: a remove takes it too and asks for flights under it, so it comes
    /// wholly before this load, or finds its flight.
    fn look_again(&self, hash: u64, key: &[u8]) -> Option<Hit<M>> {
        let found = self.shared.shard(hash).lock().find(hash, key);
        found.filter(|hit| !is_past(hit, &self.shared.clock))
    }

    /// Keeps what was loaded, if it may, and hands it out in any case.
    fn bring<V, E>(&self, loaded: Result<Load<V, M>, E>, keep: &Keep<Hit<M>>) -> Outcome<Hit<M>>
    where
        V: AsRef<[u8]>,
        E: Send + Sync + 'static,
    {
        let Load { value, meta, weight, ttl } = loaded.map_err(|error| Failure::Load(Arc::new(error)))?;
        let (key, value) = (keep.key(), value.as_ref());
        if ttl == Some(Duration::ZERO) {
            return Ok(Hit::detached(key, value, meta));
        }
        let expires = ttl.map(|ttl| self.shared.clock.now() + ttl);
        let weight = weight.unwrap_or(Weight::Real);
        let stored = self.shared.insert(key, value, meta, weight, expires, |_| keep.holds());
        Ok(stored.unwrap_or_else(|_| Hit::detached(key, value, meta)))
    }
}

impl<M: Copy + Send + Sync + 'static> Shared<M> {
    fn flights(&self) -> &Flights<Hit<M>> {
        self.flights.get_or_init(Box::default)
    }
}

/// What a flight's outcome is to a caller whose error is `E`; nothing, if it is an error of another type.
fn told<M, E: Send + Sync + 'static>(outcome: Outcome<Hit<M>>) -> Option<Result<Hit<M>, LoadError<E>>> {
    let failure = match outcome {
        Ok(hit) => return Some(Ok(hit)),
        Err(failure) => failure,
    };
    Some(Err(match failure {
        Failure::Load(error) => LoadError::Load(error.downcast().ok()?),
        Failure::Panicked => LoadError::Panicked,
        Failure::OwnLoad => LoadError::OwnKey,
    }))
}

#[cfg(all(test, shuttle))]
mod shuttle_tests;
#[cfg(all(test, not(shuttle)))]
mod tests;
