//! One load, of a key or of many: asking the origin, under the group's limits.
//!
//! Runs inside a flight's own task. However the loader ends, by an answer, an error, a panic or not at all, the
//! flight lands: nothing here outlives the group's load deadline, save a loader that blocks its thread.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use tokio::sync::{Semaphore, SemaphorePermit};

use crate::clock::{self, Elapsed};
use crate::error::{BoxError, GetError};
use crate::fault::{Fault, Faults};
use crate::loader::{Loaded, LoadedMany, Loader};
use crate::memory::{Charge, Memory, MemoryFull};
use crate::panics::{caught, panic_text};
use crate::stats::{GroupStats, LoadOutcome, Refusal};
use crate::units::{ByteSize, GroupName, Key};

/// The way from a group to its origin.
pub(crate) struct Origin {
    pub(crate) group: GroupName,
    pub(crate) loader: Arc<dyn Loader>,
    /// One permit for each load that may run.
    pub(crate) permits: Semaphore,
    pub(crate) max_loads: usize,
    pub(crate) deadline: Duration,
    /// The largest value that is taken.
    pub(crate) value_max: ByteSize,
    /// What values are charged to until they are kept or answered.
    pub(crate) memory: Memory,
    pub(crate) stats: Arc<GroupStats>,
    pub(crate) faults: Faults,
}

impl Origin {
    /// Asks the origin for `key`. Dropping the future drops the loader's.
    pub(crate) async fn load(&self, key: &Key) -> Result<Loaded<Bytes>, GetError> {
        let deadline = clock::after(clock::now(), self.deadline);
        let _permit = self.permit(1).await?;
        let began = clock::now();
        let charge = self.memory.charge();
        let loading = caught(|| self.loader.load_charged(key.clone(), &charge));
        let ended = clock::timeout_at(deadline, loading).await;
        let ended = ended.map(|ended| ended.map_err(|panic| panicked(&*panic)));
        self.stats.load_seconds.observe(clock::now() - began);
        self.judged(key, ended, charge)
    }

    /// Asks the origin for many keys in one call, and gives the outcome of each, in their order; `None`: the loader has
    /// no such call, and nothing was done. Dropping the future drops the loader's.
    pub(crate) async fn load_many(&self, keys: &[Key]) -> Option<Vec<Result<Loaded<Bytes>, GetError>>> {
        let deadline = clock::after(clock::now(), self.deadline);
        let made = catch_unwind(AssertUnwindSafe(|| self.loader.load_many(keys)));
        let ended = match made {
            Ok(None) => return None,
            Ok(Some(loading)) => {
                let _permit = match self.permit(keys.len()).await {
                    Ok(permit) => permit,
                    Err(busy) => return Some(vec![Err(busy); keys.len()]),
                };
                let began = clock::now();
                let ended = clock::timeout_at(deadline, caught(|| loading)).await;
                self.stats.load_seconds.observe(clock::now() - began);
                ended.map(|ended| ended.map_err(|panic| panicked(&*panic)))
            }
            Err(panic) => Ok(Err(panicked(&*panic))),
        };
        Some(self.judge_many(keys, ended))
    }

    /// Leave to run one load, of so many keys. Half the deadline is for waiting, so that a load that begins has time to end.
    async fn permit(&self, keys: usize) -> Result<Option<SemaphorePermit<'_>>, GetError> {
        if self.faults.has(Fault::NoCap) {
            return Ok(None);
        }
        match clock::timeout(self.deadline / 2, self.permits.acquire()).await {
            Ok(permit) => Ok(permit.ok()),
            Err(Elapsed) => {
                for _ in 0..keys {
                    self.stats.loads.add(LoadOutcome::Busy);
                    self.stats.refusals.add(Refusal::Loads);
                }
                Err(GetError::busy("max_loads", self.max_loads))
            }
        }
    }

    /// What became of one call for many keys. What befalls the call befalls each of them.
    fn judge_many(
        &self,
        keys: &[Key],
        ended: Result<Result<LoadedMany, String>, Elapsed>,
    ) -> Vec<Result<Loaded<Bytes>, GetError>> {
        let failed = |error: BoxError| {
            // One error for all, as all callers of one key get one.
            let source: Arc<dyn std::error::Error + Send + Sync> = error.into();
            let fail = |key: &Key| {
                self.stats.loads.add(LoadOutcome::Failed);
                let (group, key, source) = (self.group.clone(), key.clone(), source.clone());
                Err(GetError::Load { group, key, source })
            };
            keys.iter().map(fail).collect()
        };
        let each = |ended: &dyn Fn() -> Ended| {
            keys.iter().map(|key| self.judged(key, ended(), self.memory.charge())).collect()
        };
        match ended {
            Ok(Ok(Ok(answers))) if answers.len() == keys.len() => {
                let pairs = keys.iter().zip(answers);
                pairs.map(|(key, answer)| self.judged(key, Ok(Ok(answer)), self.memory.charge())).collect()
            }
            Ok(Ok(Ok(answers))) => {
                failed(format!("the loader gave {} answers to {} keys", answers.len(), keys.len()).into())
            }
            Ok(Ok(Err(error))) => failed(error),
            Ok(Err(panic)) => each(&|| Ok(Err(panic.clone()))),
            Err(Elapsed) => each(&|| Err(Elapsed)),
        }
    }

    /// What a load's waiters get, counted.
    fn judged(&self, key: &Key, ended: Ended, charge: Charge) -> Result<Loaded<Bytes>, GetError> {
        let (outcome, loaded) = self.judge(key, ended, charge);
        self.stats.loads.add(outcome);
        loaded
    }

    /// What became of a load: how it counts, and what its waiters get.
    fn judge(
        &self,
        key: &Key,
        ended: Ended,
        charge: Charge,
    ) -> (LoadOutcome, Result<Loaded<Bytes>, GetError>) {
        match ended {
            Ok(Ok(Ok(Some(loaded)))) => match self.check_size(key, loaded.value.len()) {
                // Whatever the loader has charged, from here on it is the value.
                Ok(()) => match charge.cover(loaded.value.len() as u64) {
                    Ok(()) => {
                        let value = charge.around(loaded.value);
                        (LoadOutcome::Found, Ok(Loaded { value, ..loaded }))
                    }
                    Err(full) => (LoadOutcome::Busy, Err(self.busy(full))),
                },
                Err(error) => (LoadOutcome::TooLarge, Err(error)),
            },
            Ok(Ok(Ok(None))) => (
                LoadOutcome::NotFound,
                Err(GetError::NotFound { group: self.group.clone(), key: key.clone() }),
            ),
            // It failed for want of room: whatever it calls that, nothing is wrong with the origin.
            Ok(Ok(Err(error))) => match charge.refused() {
                Some(full) => (LoadOutcome::Busy, Err(self.busy(full))),
                None => (LoadOutcome::Failed, Err(GetError::load(&self.group, key, error))),
            },
            Ok(Err(panic)) => (LoadOutcome::Panicked, Err(GetError::load(&self.group, key, panic.into()))),
            Err(Elapsed) => {
                (LoadOutcome::Deadline, Err(GetError::late(&self.group, key, None, self.deadline)))
            }
        }
    }

    /// The node's memory has no room for a value on its way.
    pub(crate) fn busy(&self, full: MemoryFull) -> GetError {
        self.stats.refusals.add(Refusal::Memory);
        GetError::Busy { limit: full.to_string().into() }
    }

    /// Whether a value of this length is taken, from the origin or from a peer.
    pub(crate) fn check_size(&self, key: &Key, length: usize) -> Result<(), GetError> {
        let (length, limit) = (length as u64, self.value_max.as_u64());
        if length > limit {
            return Err(GetError::TooLarge { group: self.group.clone(), key: key.clone(), length, limit });
        }
        Ok(())
    }
}

/// In time or not, whole or in a panic, with an answer or an error.
type Ended = Result<Result<Result<Option<Loaded<Bytes>>, BoxError>, String>, Elapsed>;

fn panicked(panic: &(dyn std::any::Any + Send)) -> String {
    format!("the loader panicked: {}", panic_text(panic))
}
