//! A get of many keys: hits in one pass of memory, the rest in as few errands as there are places to ask.
//!
//! Each key that is missing has a flight of its own, in the same tables as that of a plain get; so whoever asks for one
//! key and whoever asks for many share it. What is new is the errand: one lands many flights. Those that are led for
//! one owner ask it together (`fetch_many.rs`), those of this node's own keys ask the origin together, if the loader
//! can. No errand waits for a flight of its own table: two that lead what the other wants would wait for each other.

use std::time::Duration;

use crate::answer::{Answer, Ask};
use crate::clock::{self, Elapsed};
use crate::error::{GetError, KeyError};
use crate::flight::{Errand, Takeoff, Wait};
use crate::group::{Group, Landed, Purpose};
use crate::landings::Landings;
use crate::room::Room;
use crate::store::Entry;
use crate::units::Key;
use crate::value::Value;

/// A flight that this caller leads.
pub(crate) type Flight = Takeoff<Landed>;

/// What a first look into memory gave, for keys in the order asked.
struct Seen<T> {
    /// Of a key that is missing, an error that is to be replaced.
    told: Vec<Result<T, GetError>>,
    /// Which of those that are missing have to be loaded here.
    local: Vec<usize>,
    /// Which of those another node owns.
    remote: Vec<usize>,
    /// `Store::mirrored` before the look.
    mirrored: u64,
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
    /// Dropping the returned future abandons the wait, not the loads that have begun.
    ///
    /// # Errors
    /// As `get`, for each key. With more keys than a call may ask for, `KeyError::TooMany` for each, and nothing is asked.
    ///
    /// # Panics
    /// On a miss, outside a tokio runtime: the wait has a deadline.
    pub async fn get_many<K: AsRef<[u8]>>(&self, keys: &[K]) -> Vec<Result<Value, GetError>> {
        self.many(keys, Ask::default(), None, |entry| entry.value, |answer| answer.value).await
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
        self.many(keys, ask, None, |entry| self.remembered(entry), |answer| answer).await
    }

    /// As [`answer_many`](Self::answer_many), with room for so many bytes of values: for a front, whose clients may ask for
    /// more than the node can hold. The values are taken in as they come, those in memory first, and one that comes when
    /// there is no room for it is let go at once; from then on nothing is waited for, and no load is begun that nobody else
    /// waits for. Beside the room no more is held than what is on its way: one answer from each owner, and from this node's
    /// loader, if that takes one key at a time, 16 values of the largest size where it answers within 50 ms; a slower one
    /// has more on its way, up to the group's `max_loads`. With `Ask::cached_only` the room is for what is given alone:
    /// what the owners hold is there before it is taken in.
    ///
    /// # Errors
    /// As `answer_many`; `GetError::LeftOut` where there was no room.
    pub async fn answer_many_in<K: AsRef<[u8]>>(
        &self,
        keys: &[K],
        ask: Ask,
        room: &Room,
    ) -> Vec<Result<Answer, GetError>> {
        self.many(keys, ask, Some(room), |entry| self.remembered(entry), |answer| answer).await
    }

    async fn many<K: AsRef<[u8]>, T>(
        &self,
        keys: &[K],
        ask: Ask,
        room: Option<&Room>,
        remembered: impl Fn(Entry) -> T,
        landed: impl Fn(Answer) -> T,
    ) -> Vec<Result<T, GetError>> {
        if let Err(error) = self.check_count(keys.len()) {
            return keys.iter().map(|_| Err(error.into())).collect();
        }
        let Seen { mut told, local, remote, mirrored } = self.look(keys, room, remembered);
        let those = |at: &[usize]| -> Vec<&[u8]> { at.iter().map(|at| keys[*at].as_ref()).collect() };
        if ask.cached_only {
            let answers = self.ask_memory_many(&those(&remote), ask.deadline).await;
            for (at, answer) in remote.into_iter().zip(answers) {
                told[at] = answer.and_then(|answer| fits(room, &answer.value).map(|()| landed(answer)));
            }
            for at in local {
                told[at] = Err(GetError::NotCached { key: Key::new(keys[at].as_ref()) });
            }
        } else {
            // Both kinds are in the air before the first is waited for.
            let fetches = self.fetching_many(&those(&remote), mirrored).await;
            let loads = self.loading_many(&those(&local), Purpose::Answer).await;
            let waits = remote.into_iter().zip(fetches).chain(local.into_iter().zip(loads));
            let mut tell = |at: usize, landing: Landed| {
                told[at] = landing.map(|answer| {
                    self.shared.stats.stale.add(u64::from(answer.stale));
                    landed(answer)
                });
            };
            let limit = self.patience(ask.deadline);
            match room {
                None => self.land_by(limit, waits, keys, &mut tell).await,
                Some(room) => self.land_in_by(limit, room, waits, keys, &mut tell).await,
            }
        }
        told
    }

    /// Tells how the waits end, each when it does, until there is no room for a value: its place is told that then, and the
    /// others are left waiting.
    pub(crate) async fn land_in(
        &self,
        room: &Room,
        landings: &mut Landings<Landed>,
        tell: &mut impl FnMut(usize, Landed),
    ) {
        while let Some((at, flown)) = landings.next().await {
            let landed = self.landing(flown);
            if landed.as_ref().is_ok_and(|answer| !room.takes(&answer.value)) {
                return tell(at, Err(room.left_out()));
            }
            tell(at, landed);
        }
    }

    /// The same, of all: those that are left waiting had no room, or did not end within `limit`.
    async fn land_in_by<K: AsRef<[u8]>>(
        &self,
        limit: Duration,
        room: &Room,
        waits: impl Iterator<Item = (usize, Wait<Landed>)>,
        keys: &[K],
        tell: &mut impl FnMut(usize, Landed),
    ) {
        let deadline = clock::after(clock::now(), limit);
        let mut landings = Landings::of(waits);
        let ended = clock::timeout_at(deadline, self.land_in(room, &mut landings, tell)).await;
        for at in landings.abandon() {
            let error = match ended {
                Ok(()) => room.left_out(),
                Err(Elapsed) => self.gave_up(keys[at].as_ref(), limit),
            };
            tell(at, Err(error));
        }
    }

    /// Tells how each wait ends, at the place that is beside it: when it does, or after `limit`.
    async fn land_by<K: AsRef<[u8]>>(
        &self,
        limit: Duration,
        mut waits: impl Iterator<Item = (usize, Wait<Landed>)>,
        keys: &[K],
        tell: &mut impl FnMut(usize, Landed),
    ) {
        let deadline = clock::after(clock::now(), limit);
        let mut next = waits.next();
        let patient = async {
            while let Some((at, wait)) = &mut next {
                tell(*at, self.landing(wait.flown().await));
                next = waits.next();
            }
        };
        if clock::timeout_at(deadline, patient).await == Err(Elapsed) {
            // Each by itself, so that those that have landed are told though another has not.
            for (at, mut wait) in next.into_iter().chain(waits) {
                let flown = clock::timeout_at(deadline, wait.flown()).await;
                let late = |Elapsed| Err(self.gave_up(keys[at].as_ref(), limit));
                tell(at, flown.map_or_else(late, |flown| self.landing(flown)));
            }
        }
    }

    /// The first look into memory, counted.
    fn look<K: AsRef<[u8]>, T>(
        &self,
        keys: &[K],
        room: Option<&Room>,
        remembered: impl Fn(Entry) -> T,
    ) -> Seen<T> {
        let (mut gets, mirrored) = (0, self.shared.store.mirrored());
        let (mut local, mut remote) = (Vec::new(), Vec::new());
        let see = |(at, (is_local, entry)): (usize, (bool, Option<Entry>))| {
            if let Err(bad) = self.checked(keys[at].as_ref()) {
                return Err(bad.into());
            }
            gets += 1;
            match entry {
                Some(entry) => {
                    self.count_hit(&entry);
                    fits(room, &entry.value)?;
                    return Ok(remembered(entry));
                }
                None if is_local => local.push(at),
                None => {
                    // Where one is missing, so are most.
                    remote.reserve(if remote.is_empty() { keys.len() - at } else { 1 });
                    remote.push(at);
                }
            }
            Err(GetError::Leaving)
        };
        let told = self.held_of(keys).enumerate().map(see).collect();
        self.shared.stats.gets.add(gets);
        Seen { told, local, remote, mirrored }
    }

    /// Whether each key is this node's own, and what may be served of it. Nothing is counted.
    pub(crate) fn held_of<K: AsRef<[u8]>>(
        &self,
        keys: &[K],
    ) -> impl Iterator<Item = (bool, Option<Entry>)> + use<K> {
        let view = self.shared.around.views.current();
        let is_local = |key: &K| view.is_local(self.shared.seed, key.as_ref());
        let local: Vec<bool> = keys.iter().map(is_local).collect();
        self.shared.store.lookup_many(local, keys)
    }

    /// Joins the fetch of each key, or begins it: one errand for each owner.
    async fn fetching_many(&self, keys: &[&[u8]], mirrored: u64) -> Vec<Wait<Landed>> {
        self.want(keys.iter().copied(), self.now());
        self.shared.fetches.fly_many(keys, self.spawn(), |led| self.fetch_errands(led, mirrored)).await
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
            return self.load_in_lanes(flights, purpose);
        };
        for (flight, loaded) in flights.into_iter().zip(loaded) {
            let landed = loaded
                .map(|loaded| self.fill(flight.key().as_bytes(), || flight.may_keep(), purpose, loaded));
            flight.land(landed);
            // To keep thousands of values takes its time, and others share this thread.
            tokio::task::consume_budget().await;
        }
    }

    /// Lands those flights whose values have come into memory since their callers looked; gives the others.
    pub(crate) fn look_again_many(&self, flights: Vec<Flight>) -> Vec<Flight> {
        flights
            .into_iter()
            .filter_map(|flight| {
                let is_local = self.is_local(flight.key().as_bytes());
                self.look_again_for(flight, is_local)
            })
            .collect()
    }

    /// Lands the flight if its value has come into memory since its caller looked; gives it back otherwise.
    pub(crate) fn look_again_for(&self, flight: Flight, is_local: bool) -> Option<Flight> {
        let Some(entry) = self.look_again(is_local, flight.key()) else { return Some(flight) };
        flight.land(Ok(self.remembered(entry)));
        None
    }
}

/// Takes the value into the room, if there is a bound to that.
fn fits(room: Option<&Room>, value: &Value) -> Result<(), GetError> {
    match room {
        Some(room) if !room.takes(value) => Err(room.left_out()),
        _ => Ok(()),
    }
}

/// All flights end with this error.
pub(crate) fn land_all(flights: Vec<Flight>, error: &GetError) {
    for flight in flights {
        flight.land(Err(error.clone()));
    }
}
