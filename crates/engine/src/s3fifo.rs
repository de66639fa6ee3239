//! The default policy: S3-FIFO whose queues share their room by which ghosts come back, with a challenge.
//!
//! S3-FIFO (Yang et al. 2023) is two FIFO queues: what is new waits in a small one, and comes into the main one if it
//! was hit there; main's oldest goes round again while it has hits. A hit only counts, up to three. Ours differs in
//! this:
//!
//! - Small's share is no constant. A key that comes back soon after it left small says that small is too small; one
//!   that left main says the contrary (after ARC; Megiddo and Modha 2003). A key that neither would have kept says
//!   nothing.
//! - A key that comes back after it left small is let into main only if it has proved more often useful than main's
//!   oldest entry: so a long loop does not wash main out. The count of that rides in the entry and in its ghost: one
//!   for a new key, one more for each return and for each round in main with hits; halved as time goes on.
//! - While the cache fills, what leaves small goes to main unasked, so that a loop finds a stable part resident.
//! - A large entry has to be hit more often to stay in main.
//!
//! DESIGN.md has what each of these brings, and what was tried beside them.
//!
//! Pure but for the entries' own headers; lives in one shard, under its lock. `share` is the weight that the shard may
//! hold: an argument, since it changes.

use crate::block::{Hit, MAX_HITS};
use crate::ghosts::{From, Ghosts, MAX_COUNT};
use crate::queues::{Queue, Queues, Rank};

/// Small's part of the share at first, as in S3-FIFO, and the bounds within which it is moved.
const SMALL_FIRST: f64 = 0.1;
const SMALL_LEAST: f64 = 0.01;
const SMALL_MOST: f64 = 0.9;
/// A returning key moves it by the average entry's weight, times as many as the other queue's ghosts outnumber its own,
/// up to this: with steps of one a loop over a disk trace loses 20 points.
const STEP_MOST: f64 = 20.0;
/// It is moved only by keys that the larger queue would have kept: not by one that left small longer ago than three
/// quarters of what is main's now, nor by one that left main longer ago than twice what is small's.
const SMALL_AGE: f64 = 0.75;
const MAIN_AGE: f64 = 2.0;
/// Past this part, small keeps what was hit at all, as CLOCK does: it is then most of the cache.
const SMALL_IS_LARGE: f64 = 0.25;
/// How far back ghosts reach, in shares.
const SMALL_REACH: f64 = 1.5;
const MAIN_REACH: f64 = 0.3125;
/// Frequencies are halved each time that this many shares were inserted. From 6 to 10 there is no difference.
const EPOCH: u64 = 7;
/// Main keeps an entry for its hits only if it weighs no more than this times the average, for each hit.
const WORTH: f64 = 2.0;

/// What the policy remembers of one shard.
pub(crate) struct S3Fifo {
    /// Small's part of the share.
    small: f64,
    ghosts: Ghosts,
    epoch: u8,
    /// The weight inserted in this epoch.
    inserted: u64,
}

/// Where a new entry goes, and what was known of its key.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Admission {
    pub(crate) queue: Queue,
    /// It was evicted within the last tenth of the share: with a tenth more room it would have been a hit.
    pub(crate) nearly: bool,
}

/// What the policy did to make room.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Victim {
    /// This entry is to leave; it is still in its queue.
    Evict { address: u64, hash: u64 },
    /// An entry changed its queue, from small to main if `admitted`; ask again.
    Moved { admitted: bool },
}

impl S3Fifo {
    pub(crate) fn new() -> Self {
        Self { small: SMALL_FIRST, ghosts: Ghosts::default(), epoch: 0, inserted: 0 }
    }

    /// Has what is known of this key's ghost fetched.
    pub(crate) fn prefetch(&self, hash: u64) {
        self.ghosts.prefetch(hash);
    }

    /// Decides where a new entry goes, whose key has this hash; gives it its rank.
    pub(crate) fn admit<M>(
        &mut self,
        queues: &Queues<M>,
        entry: &Hit<M>,
        hash: u64,
        share: u64,
    ) -> Admission {
        let weight = entry.weight();
        self.inserted = self.inserted.saturating_add(weight);
        if self.inserted >= share.saturating_mul(EPOCH) {
            self.inserted = 0;
            self.epoch = (self.epoch + 1) & 3;
        }
        let [small, main] = [From::Small, From::Main].map(|from| self.ghosts.count(from).max(1.0));
        let Some(ghost) = self.ghosts.take(hash, weight) else {
            self.rank(Queue::Small, 1).write(entry);
            return Admission { queue: Queue::Small, nearly: false };
        };
        let step = |ratio: f64| average(queues) * ratio.clamp(1.0, STEP_MOST) / share.max(1) as f64;
        let age = ghost.age as f64 / share.max(1) as f64;
        let frequency = (ghost.count + 1).min(MAX_COUNT);
        let queue = match ghost.from {
            From::Small => {
                if age < (1.0 - self.small) * SMALL_AGE {
                    self.small = (self.small + step(main / small)).min(SMALL_MOST);
                }
                let oldest = queues.oldest(Queue::Main).map(|entry| self.frequency(&entry));
                if oldest.is_none_or(|oldest| frequency > oldest) { Queue::Main } else { Queue::Small }
            }
            From::Main => {
                if age < self.small * MAIN_AGE {
                    self.small = (self.small - step(small / main)).max(SMALL_LEAST);
                }
                Queue::Main
            }
        };
        self.rank(queue, frequency).write(entry);
        Admission { queue, nearly: age < 0.1 }
    }

    /// While there was room for all: what small has too much goes to main.
    pub(crate) fn fill<M>(&self, queues: &mut Queues<M>, share: u64) {
        while queues.weight(Queue::Small) > self.small_target(share) && queues.len(Queue::Small) > 1 {
            let oldest = queues.oldest(Queue::Small).expect("there is more than one");
            oldest.set_hits(0);
            queues.requeue_oldest(Queue::Small, Queue::Main);
        }
    }

    /// One step towards room: the next victim, or a move. `None`: there is no major entry. `coming` is the weight that
    /// is about to come into small: counted before the queue is chosen, or large entries push each other out of it.
    /// Who is not `patient` has no entry go round again for its hits.
    pub(crate) fn evict<M>(
        &mut self,
        queues: &mut Queues<M>,
        share: u64,
        coming: u64,
        patient: bool,
        hash_of: &impl Fn(&[u8]) -> u64,
    ) -> Option<Victim> {
        let small_is_heavy = queues.weight(Queue::Small) + coming > self.small_target(share);
        if queues.len(Queue::Main) == 0 || (small_is_heavy && queues.len(Queue::Small) > 0) {
            self.evict_small(queues, share, patient, hash_of)
        } else {
            self.evict_main(queues, share, patient, hash_of)
        }
    }

    fn evict_small<M>(
        &mut self,
        queues: &mut Queues<M>,
        share: u64,
        patient: bool,
        hash_of: &impl Fn(&[u8]) -> u64,
    ) -> Option<Victim> {
        let oldest = queues.oldest(Queue::Small)?;
        let hits = oldest.hits();
        let admitted = hits >= MAX_HITS;
        if admitted || (hits > 0 && patient && self.small > SMALL_IS_LARGE) {
            oldest.set_hits(0);
            let to = if admitted { Queue::Main } else { Queue::Small };
            queues.requeue_oldest(Queue::Small, to);
            return Some(Victim::Moved { admitted });
        }
        Some(self.give_up(&oldest, From::Small, queues, share, hash_of))
    }

    fn evict_main<M>(
        &mut self,
        queues: &mut Queues<M>,
        share: u64,
        patient: bool,
        hash_of: &impl Fn(&[u8]) -> u64,
    ) -> Option<Victim> {
        queues.prefetch(Queue::Main, 2);
        let oldest = queues.oldest(Queue::Main)?;
        let hits = oldest.hits();
        let is_worth_it = oldest.weight() as f64 <= average(queues) * f64::from(hits) * WORTH;
        if hits > 0 && patient && is_worth_it {
            oldest.set_hits(hits - 1);
            self.rank(Queue::Main, (self.frequency(&oldest) + 1).min(MAX_COUNT)).write(&oldest);
            queues.requeue_oldest(Queue::Main, Queue::Main);
            return Some(Victim::Moved { admitted: false });
        }
        Some(self.give_up(&oldest, From::Main, queues, share, hash_of))
    }

    /// The entry is to leave; its ghost stays.
    fn give_up<M>(
        &mut self,
        entry: &Hit<M>,
        from: From,
        queues: &Queues<M>,
        share: u64,
        hash_of: &impl Fn(&[u8]) -> u64,
    ) -> Victim {
        let reach = share as f64 * if from == From::Small { SMALL_REACH } else { MAIN_REACH };
        let residents = queues.len(Queue::Small) + queues.len(Queue::Main);
        let (hash, frequency) = (hash_of(entry.key()), self.frequency(entry));
        self.ghosts.put(hash, from, frequency, entry.weight(), reach as u64, residents);
        Victim::Evict { address: entry.address(), hash }
    }

    /// Forgets what left.
    pub(crate) fn clear(&mut self) {
        *self = Self::new();
    }

    fn small_target(&self, share: u64) -> u64 {
        (self.small * share as f64) as u64
    }

    fn rank(&self, queue: Queue, frequency: u8) -> Rank {
        Rank { queue, frequency, epoch: self.epoch }
    }

    /// An entry's frequency as of now: halved for each epoch since it was written.
    fn frequency<M>(&self, entry: &Hit<M>) -> u8 {
        let rank = Rank::of(entry);
        rank.frequency >> (self.epoch.wrapping_sub(rank.epoch) & 3)
    }
}

/// What a major entry weighs, in the mean.
fn average<M>(queues: &Queues<M>) -> f64 {
    let entries = queues.len(Queue::Small) + queues.len(Queue::Main);
    let weight = queues.weight(Queue::Small) + queues.weight(Queue::Main);
    (weight as f64 / entries.max(1) as f64).max(1.0)
}
