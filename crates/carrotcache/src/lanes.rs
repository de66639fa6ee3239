//! The loads of one call for many keys, where the loader takes one key at a time: some at once, the others in their turn.
//!
//! As many values are on their way for one call as there are lanes. Those begin as a few, and each value that comes out
//! small opens one more, so that many small ones take few rounds; one that comes out large closes its lane, if there are
//! more than a few. One whose load is slow is taken over by another, so that keys that hang keep no others waiting. A flight
//! whose turn has come and for which nobody waits any more is not begun.
//! The lanes run in tasks of their own and wait for nothing but loads.

use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use crate::clock::{self, Elapsed};
use crate::group::{Group, Purpose};
use crate::many::Flight;
use crate::sync::{Mutex, lock};

/// Lanes to begin with, and while values are large and come in time: with the largest of 8 MiB, 128 MiB. More are on their
/// way from a slow origin, since what is slow and what is large is not known before it has come.
const FEW: usize = 16;

/// A value is small if it is no more than this part of the largest: the lanes that a group may have, 256 by default, then
/// carry about what the few do with the largest.
const SMALL: usize = 16;

/// After this a load is slow: longer than an origin takes as a rule, and short beside what a caller is ready to wait.
const SLOW: Duration = Duration::from_millis(50);

struct Lanes {
    group: Group,
    purpose: Purpose,
    /// Those whose turn is still to come, the last first.
    queue: Mutex<Vec<Flight>>,
    open: AtomicUsize,
    /// In bytes.
    small: usize,
}

impl Group {
    /// Loads each of these, in their order.
    pub(crate) fn load_in_lanes(self, mut flights: Vec<Flight>, purpose: Purpose) {
        let largest = usize::try_from(self.shared.around.limits.value.as_u64()).unwrap_or(usize::MAX);
        let few = flights.len().min(FEW);
        flights.reverse();
        let (queue, open) = (Mutex::new(flights), AtomicUsize::new(few));
        let lanes = Arc::new(Lanes { group: self, purpose, queue, open, small: largest / SMALL });
        (0..few).for_each(|_| lanes.begin());
    }
}

impl Lanes {
    fn begin(self: &Arc<Self>) {
        self.group.spawn()(Box::pin(self.clone().run()));
    }

    async fn run(self: Arc<Self>) {
        while let Some(flight) = self.next() {
            let load = self.group.clone().load(flight.key().clone(), flight.keep(), self.purpose);
            let (landed, is_taken_over) = self.loaded(load).await;
            let is_small = landed.as_ref().map_or(true, |answer| answer.value.len() <= self.small);
            flight.land(landed);
            // Before more is brought, who waits takes it or lets it go: where loads never wait, nobody else has a turn.
            tokio::task::yield_now().await;
            let most = self.group.shared.settings.max_loads;
            let may_open = || self.has_more() && self.change(|open| (open < most).then_some(open + 1));
            let ends = match (is_small, is_taken_over) {
                // The one more that a small value opens is this one, or one beside it.
                (true, true) => !may_open(),
                (true, false) => {
                    if may_open() {
                        self.begin();
                    }
                    false
                }
                (false, true) => true,
                (false, false) => self.change(|open| (open > FEW).then(|| open - 1)),
            };
            if ends {
                return;
            }
        }
    }

    /// What the load comes to, and whether another lane has taken this one's place meanwhile.
    async fn loaded<T>(self: &Arc<Self>, load: impl Future<Output = T>) -> (T, bool) {
        let mut load = pin!(load);
        match clock::timeout(SLOW, load.as_mut()).await {
            Ok(landed) => (landed, false),
            Err(Elapsed) => {
                let has_more = self.has_more();
                if has_more {
                    self.begin();
                }
                (load.await, has_more)
            }
        }
    }

    fn has_more(&self) -> bool {
        !lock(&self.queue).is_empty()
    }

    /// The next that somebody waits for.
    fn next(&self) -> Option<Flight> {
        loop {
            // In a statement of its own: the lock is free again before the flight's own is taken.
            let next = lock(&self.queue).pop();
            if let Some(wanted) = next?.if_wanted() {
                return Some(wanted);
            }
        }
    }

    /// Whether the number of lanes has become another.
    fn change(&self, to: impl Fn(usize) -> Option<usize>) -> bool {
        self.open.fetch_update(Ordering::Relaxed, Ordering::Relaxed, to).is_ok()
    }
}
