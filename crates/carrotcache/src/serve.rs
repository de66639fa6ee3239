//! What peers ask of a group: its memory first, then loads on this node.
//!
//! Never asks a peer in turn: a view of its own may name another owner, and two such nodes would wait for each other.

use std::time::{Duration, Instant};

use crate::answer::Answer;
use crate::error::{GetError, KeyError};
use crate::group::{Group, Landed, Purpose};
use crate::landings::Landings;
use crate::room::Room;
use crate::store::Entry;
use crate::sync::lock;
use crate::units::Key;

impl Group {
    /// What memory holds of these keys, each told with its place among them and its gets a second. What is told counts as
    /// a get and a hit; of the others nothing is counted, since they are to be asked for again.
    pub(crate) fn serve_held(&self, keys: &[&[u8]], mut tell: impl FnMut(usize, Answer, f64)) {
        let (now, clock) = (self.now(), self.shared.around.clock.now());
        let mut gets = 0;
        for (at, (key, (_, entry))) in keys.iter().zip(self.held_of(keys)).enumerate() {
            let Some(entry) = entry else { continue };
            gets += 1;
            self.count_hit(&entry);
            let minute_qps = lock(&self.shared.asked).record(key, now) / 60.0;
            tell(at, self.remembered_at(entry, clock), minute_qps);
        }
        self.shared.stats.gets.add(gets);
    }

    /// What memory holds of this key at an instant that was just read, and its gets a second; `None` also where the value has
    /// more than so many bytes. What is given counts as a get and a hit, else nothing is counted.
    pub(crate) fn serve_one_held(&self, key: &[u8], room: usize, now: Instant) -> Option<(Answer, f64)> {
        let entry = self.shared.store.lookup(self.is_local(key), key)?;
        if entry.value.len() > room {
            return None;
        }
        self.count_hit(&entry);
        self.shared.stats.gets.add(1);
        let clock = self.shared.around.clock.at(now);
        let elapsed = Duration::from_millis(clock.as_millis());
        let minute_qps = lock(&self.shared.asked).record(key, elapsed) / 60.0;
        Some((self.remembered_at(entry, clock), minute_qps))
    }

    /// Tells them in their order if memory holds all, and if their values have no more than so many bytes together.
    /// Whether it did; else nothing is counted.
    pub(crate) fn serve_all_held(
        &self,
        keys: &[&[u8]],
        room: usize,
        mut tell: impl FnMut(Answer, f64),
    ) -> bool {
        let held: Option<Vec<Entry>> = self.held_of(keys).map(|(_, entry)| entry).collect();
        let Some(held) = held else { return false };
        if held.iter().map(|entry| entry.value.len()).sum::<usize>() > room {
            return false;
        }
        let (now, clock) = (self.now(), self.shared.around.clock.now());
        let mut asked = lock(&self.shared.asked);
        let rates: Vec<f64> = keys.iter().map(|key| asked.record(key, now) / 60.0).collect();
        drop(asked);
        self.shared.stats.gets.add(keys.len() as u64);
        for (entry, minute_qps) in held.into_iter().zip(rates) {
            self.count_hit(&entry);
            tell(self.remembered_at(entry, clock), minute_qps);
        }
        true
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

    /// What a peer asks of this node, for many keys; see [`serve`](Self::serve). Those are left out for which the values
    /// of the others leave no room in one answer, and there is always one that is not. What is left out while it is being
    /// loaded is kept, if it can be; what is seen to be too much beforehand is neither counted nor loaded.
    ///
    /// # Errors
    /// When there are more keys than one call may ask for.
    pub(crate) async fn serve_many(
        &self,
        keys: &[Key],
        stand_in: bool,
        cached_only: bool,
    ) -> Result<Vec<Landed>, KeyError> {
        self.check_count(keys.len())?;
        let room = Room::new(self.shared.around.limits.value);
        let (mut missing, mut places) = (Vec::new(), Vec::new());
        let mut answers: Vec<Landed> = Vec::with_capacity(keys.len());
        for (key, (_, entry)) in keys.iter().zip(self.held_of(keys)) {
            let answer = match (self.checked(key.as_bytes()), entry) {
                (Err(bad), _) => Err(bad.into()),
                (Ok(_), Some(entry)) => {
                    if !room.takes(&entry.value) {
                        break;
                    }
                    self.count_hit(&entry);
                    Ok(self.remembered(entry))
                }
                (Ok(_), None) if cached_only => Err(GetError::NotCached { key: key.clone() }),
                (Ok(_), None) => {
                    missing.push(key.clone());
                    places.push(answers.len());
                    Err(room.left_out())
                }
            };
            let is_get = !matches!(answer, Err(GetError::Key(_)));
            self.shared.stats.gets.add(u64::from(is_get));
            answers.push(answer);
        }
        let purpose = if stand_in { Purpose::StandIn } else { Purpose::Answer };
        let waits = self.loading_many(&missing, purpose).await;
        let mut landings = Landings::of(places.into_iter().zip(waits));
        self.land_in(&room, &mut landings, &mut |at, landed| answers[at] = landed).await;
        answers.resize_with(keys.len(), || Err(room.left_out()));
        Ok(answers)
    }

    /// Counts one request of a peer's for `key`, and gives how many there are a second over the last minute.
    pub(crate) fn minute_qps(&self, key: &[u8]) -> f64 {
        lock(&self.shared.asked).record(key, self.now()) / 60.0
    }
}
