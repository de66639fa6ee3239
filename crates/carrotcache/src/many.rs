//! A get of many keys: hits in one pass of memory, the rest in as few errands as there are places to ask.
//!
//! Each key that is missing has a flight of its own, in the same tables as that of a plain get; so whoever asks for one
//! key and whoever asks for many share it. What is new is the errand: one lands many flights. Those that are led for
//! one owner ask it together (`fetch_many.rs`), those of this node's own keys ask the origin together, if the loader
//! can. No errand waits for a flight of its own table: two that lead what the other wants would wait for each other.

use crate::answer::{Answer, Ask};
use crate::clock::{self, Elapsed};
use crate::error::{GetError, KeyError};
use crate::fault::Fault;
use crate::flight::{Errand, Takeoff, Wait};
use crate::group::{Group, Landed, Purpose};
use crate::store::Entry;
use crate::units::Key;
use crate::value::Value;

/// A flight that this caller leads.
pub(crate) type Flight = Takeoff<Landed>;

/// What a first look into memory says of a key.
enum Seen<T> {
    Told(Result<T, GetError>),
    /// It has to be loaded here.
    Local,
    /// Another node owns it.
    Remote,
}

impl Group {
    /// The values of many keys, in the order asked, each as by [`get`](Self::get): an error of one key is its own, and
    /// one that is asked for twice is answered twice and fetched once. At most [`Limits::KEYS_MAX`](crate::Limits) keys.
    ///
    /// Hits are found in one pass, whose memory accesses overlap. Each owner is asked once for all keys that are missing,
    /// save that a request carries at most 64 KiB of keys and an answer no more than the largest value; the owner has
    /// its loader load what it does not hold in one call, if it can ([`Loader::load_many`](crate::Loader::load_many)). So
    /// a key that is slow to load may hold up those that are asked of the same owner beside it, until its deadline.
    ///
    /// Dropping the returned future abandons the wait, not the loads.
    ///
    /// # Errors
    /// As `get`, for each key. With more keys than a call may ask for, `KeyError::TooMany` for each, and nothing is asked.
    ///
    /// # Panics
    /// On a miss, outside a tokio runtime: the wait has a deadline.
    pub async fn get_many<K: AsRef<[u8]>>(&self, keys: &[K]) -> Vec<Result<Value, GetError>> {
        self.many(keys, Ask::default(), |entry| entry.value, |answer| answer.value).await
    }

    /// The value of each key if this node's memory has it, in the order asked: as [`hit`](Self::hit) for each, but in one
    /// pass, whose memory accesses overlap. For a front that has read many requests at once.
    ///
    /// # Errors
    /// As `hit`, for each key.
    pub fn hits<K: AsRef<[u8]>>(&self, keys: &[K]) -> Vec<Result<Option<Value>, KeyError>> {
        let mut found = 0;
        let see = |(key, (_, entry)): (&K, (bool, Option<Entry>))| {
            self.checked(key.as_ref())?;
            Ok(entry.map(|entry| {
                found += 1;
                self.count_hit(&entry);
                entry.value
            }))
        };
        let seen = keys.iter().zip(self.held_of(keys)).map(see).collect();
        self.shared.stats.gets.add(found);
        seen
    }

    /// As [`get_many`](Self::get_many), with a deadline or other wishes of the caller's for all keys, and with what is
    /// known of each value.
    ///
    /// # Errors
    /// As `get_many`; `GetError::NotCached` where only memory was asked and no node asked holds the key.
    pub async fn answer_many<K: AsRef<[u8]>>(&self, keys: &[K], ask: Ask) -> Vec<Result<Answer, GetError>> {
        self.many(keys, ask, |entry| self.remembered(entry), |answer| answer).await
    }

    async fn many<K: AsRef<[u8]>, T>(
        &self,
        keys: &[K],
        ask: Ask,
        remembered: impl Fn(Entry) -> T,
        landed: impl Fn(Answer) -> T,
    ) -> Vec<Result<T, GetError>> {
        if let Err(error) = self.check_count(keys.len()) {
            return keys.iter().map(|_| Err(error.into())).collect();
        }
        let seen = self.look(keys, remembered);
        let missing = |local: bool| -> Vec<&[u8]> {
            let is_missing = |seen: &Seen<T>| match seen {
                Seen::Told(_) => false,
                Seen::Local => local,
                Seen::Remote => !local,
            };
            let pairs = keys.iter().zip(&seen).filter(|(_, seen)| is_missing(seen));
            pairs.map(|(key, _)| key.as_ref()).collect()
        };
        let (local, remote) = (missing(true), missing(false));
        if ask.cached_only {
            let mut remote = self.ask_memory_many(&remote, ask.deadline).await.into_iter();
            let answer = |(key, seen): (&K, Seen<T>)| {
                let not_cached = || GetError::NotCached { key: Key::new(key.as_ref()) };
                match seen {
                    Seen::Told(told) => told,
                    Seen::Local => Err(not_cached()),
                    Seen::Remote => remote.next().unwrap_or_else(|| Err(not_cached())).map(&landed),
                }
            };
            return keys.iter().zip(seen).map(answer).collect();
        }
        let limit = self.patience(ask.deadline);
        let deadline = clock::after(clock::now(), limit);
        // Both kinds are in the air before the first is waited for.
        let mut remote = self.fetching_many(&remote).await.into_iter();
        let mut local = self.loading_many(&local, Purpose::Answer).await.into_iter();
        let mut answers = Vec::with_capacity(keys.len());
        for (key, seen) in keys.iter().zip(seen) {
            let wait = match seen {
                Seen::Told(told) => {
                    answers.push(told);
                    continue;
                }
                Seen::Local => local.next(),
                Seen::Remote => remote.next(),
            };
            // Each by itself, so that those that have landed by the deadline are told though another has not.
            let flown = clock::timeout_at(deadline, wait.unwrap_or(Wait::Busy).flown()).await;
            let told = match flown {
                Ok(flown) => self.landing(flown),
                Err(Elapsed) => Err(self.gave_up(key.as_ref(), limit)),
            };
            answers.push(told.map(|answer| {
                self.shared.stats.stale.add(u64::from(answer.stale));
                landed(answer)
            }));
        }
        answers
    }

    /// The first look into memory, counted.
    fn look<K: AsRef<[u8]>, T>(&self, keys: &[K], remembered: impl Fn(Entry) -> T) -> Vec<Seen<T>> {
        let mut gets = 0;
        let see = |(key, (local, entry)): (&K, (bool, Option<Entry>))| {
            if let Err(bad) = self.checked(key.as_ref()) {
                return Seen::Told(Err(bad.into()));
            }
            gets += 1;
            match entry {
                Some(entry) => {
                    self.count_hit(&entry);
                    Seen::Told(Ok(remembered(entry)))
                }
                None if local => Seen::Local,
                None => Seen::Remote,
            }
        };
        let seen = keys.iter().zip(self.held_of(keys)).map(see).collect();
        self.shared.stats.gets.add(gets);
        seen
    }

    /// Whether each key is this node's own, and what may be served of it. Nothing is counted.
    pub(crate) fn held_of<K: AsRef<[u8]>>(
        &self,
        keys: &[K],
    ) -> impl Iterator<Item = (bool, Option<Entry>)> + use<K> {
        let view = self.shared.around.views.current();
        let is_local = |key: &K| view.is_local(self.shared.seed, key.as_ref());
        let local: Vec<bool> = keys.iter().map(is_local).collect();
        let held = self.shared.store.lookup_many(&local, keys);
        local.into_iter().zip(held)
    }

    /// Joins the fetch of each key, or begins it: one errand for each owner.
    async fn fetching_many(&self, keys: &[&[u8]]) -> Vec<Wait<Landed>> {
        self.want(keys.iter().copied(), self.now());
        self.shared.fetches.fly_many(keys, self.spawn(), |led| self.fetch_errands(led)).await
    }

    /// Joins the load of each key on this node, or begins it: in one errand.
    pub(crate) async fn loading_many<K: AsRef<[u8]>>(
        &self,
        keys: &[K],
        purpose: Purpose,
    ) -> Vec<Wait<Landed>> {
        self.shared.loads.fly_many(keys, self.spawn(), |led| self.load_errands(led, purpose)).await
    }

    fn load_errands(&self, mut flights: Vec<Flight>, purpose: Purpose) -> Vec<Errand> {
        match flights.len() {
            0 => Vec::new(),
            1 => flights.drain(..).map(|flight| self.load_errand(flight, purpose)).collect(),
            _ => vec![Box::pin(self.clone().load_together(flights, purpose))],
        }
    }

    fn load_errand(&self, flight: Flight, purpose: Purpose) -> Errand {
        flight.errand(|key, keep| self.clone().load(key, keep, purpose))
    }

    /// The errand of many flights to the origin: one call, or where the loader has no such call an errand for each.
    async fn load_together(self, flights: Vec<Flight>, purpose: Purpose) {
        if let Err(leaving) = self.take_off() {
            return land_all(flights, &leaving);
        }
        let flights = self.look_again_many(flights);
        let keys: Vec<Key> = flights.iter().map(|flight| flight.key().clone()).collect();
        let loaded = if keys.len() > 1 { self.shared.origin.load_many(&keys).await } else { None };
        let Some(loaded) = loaded else {
            // A key that is slow keeps no other waiting then.
            for flight in flights {
                self.spawn()(self.load_errand(flight, purpose));
            }
            return;
        };
        for (flight, loaded) in flights.into_iter().zip(loaded) {
            let landed = loaded.map(|loaded| {
                let keep = flight.keep();
                self.fill(flight.key().as_bytes(), &keep, purpose, loaded)
            });
            flight.land(landed);
            // To keep thousands of values takes its time, and others share this thread.
            tokio::task::consume_budget().await;
        }
    }

    /// Lands those flights whose values have come into memory since their callers looked; gives the others.
    pub(crate) fn look_again_many(&self, flights: Vec<Flight>) -> Vec<Flight> {
        if self.shared.around.faults.has(Fault::NoSecondLookup) {
            return flights;
        }
        let land = |flight: Flight| {
            let key = flight.key();
            match self.shared.store.look_again(self.is_local(key.as_bytes()), key.as_bytes()) {
                Some(entry) => {
                    flight.land(Ok(self.remembered(entry)));
                    None
                }
                None => Some(flight),
            }
        };
        flights.into_iter().filter_map(land).collect()
    }
}

/// All flights end with this error.
pub(crate) fn land_all(flights: Vec<Flight>, error: &GetError) {
    for flight in flights {
        flight.land(Err(error.clone()));
    }
}
