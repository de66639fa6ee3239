//! Hits, misses and departures, counted by the threads that have them, each in a place of its own.
//!
//! A counter that all threads add to is a cache line that they all wait for, and would cost more than the rest of a
//! hit. So each of the first threads of the process has a seat, and in each cache's counters a line by that seat which
//! nobody else writes: there it adds by a plain load and store. Threads past the last seat share one line, and add
//! atomically. A seat is free again when its thread ends.

use std::cell::Cell;
use std::sync::atomic::{AtomicU64, Ordering};

/// Threads that have a line of their own: as many as there are bits in the list of seats.
pub(crate) const SEATS: usize = 64;

/// The seats that are taken, a bit each. A number for the process and no state of any cache's.
static TAKEN: AtomicU64 = AtomicU64::new(0);

struct Seat(Cell<Option<usize>>);

thread_local!(static SEAT: Seat = const { Seat(Cell::new(None)) });

impl Seat {
    /// This thread's line: its own, or the last one, which is shared.
    fn line(&self) -> usize {
        self.0.get().unwrap_or_else(|| {
            let seat = take_seat().unwrap_or(SEATS);
            self.0.set(Some(seat));
            seat
        })
    }
}

impl Drop for Seat {
    fn drop(&mut self) {
        if let Some(seat) = self.0.get().filter(|&seat| seat < SEATS) {
            // Release, against `take_seat`: what this thread counted is there before the next one adds to it.
            TAKEN.fetch_and(!(1 << seat), Ordering::Release);
        }
    }
}

/// This thread's seat, a number below `SEATS`, if it has one: nobody else has it for as long as the thread lives.
pub(crate) fn seat() -> Option<usize> {
    SEAT.try_with(Seat::line).ok().filter(|&line| line < SEATS)
}

#[cold]
fn take_seat() -> Option<usize> {
    let take = |taken: u64| (taken != u64::MAX).then(|| taken | (taken + 1));
    let before = TAKEN.fetch_update(Ordering::Acquire, Ordering::Relaxed, take).ok()?;
    Some(before.trailing_ones() as usize)
}

/// The counters of one cache.
pub(crate) struct Counters {
    lines: Box<[Line; SEATS + 1]>,
}

/// Two cache lines, since processors fetch them in pairs.
#[repr(align(128))]
#[derive(Default)]
struct Line {
    hits: AtomicU64,
    misses: AtomicU64,
    /// Entries that left.
    left: AtomicU64,
}

impl Counters {
    pub(crate) fn new() -> Self {
        Self { lines: Box::new(std::array::from_fn(|_| Line::default())) }
    }

    #[inline]
    pub(crate) fn hit(&self) {
        self.add(|line| &line.hits, 1);
    }

    #[inline]
    pub(crate) fn miss(&self) {
        self.add(|line| &line.misses, 1);
    }

    /// So many entries left by a call of this thread. Says how many times another `each` of them have, since the last
    /// call.
    pub(crate) fn left(&self, entries: u64, each: u64) -> u64 {
        let before = self.add(|line| &line.left, entries);
        (before + entries) / each - before / each
    }

    /// Hits and misses until now.
    pub(crate) fn sums(&self) -> (u64, u64) {
        let sum = |counter: fn(&Line) -> &AtomicU64| {
            self.lines.iter().map(|line| counter(line).load(Ordering::Relaxed)).sum()
        };
        (sum(|line| &line.hits), sum(|line| &line.misses))
    }

    #[inline]
    fn add(&self, counter: impl Fn(&Line) -> &AtomicU64, by: u64) -> u64 {
        // A thread that is ending has no seat any more.
        let at = SEAT.try_with(Seat::line).unwrap_or(SEATS);
        let counter = counter(&self.lines[at]);
        if at == SEATS {
            return counter.fetch_add(by, Ordering::Relaxed);
        }
        let before = counter.load(Ordering::Relaxed);
        counter.store(before + by, Ordering::Relaxed);
        before
    }
}

#[cfg(all(test, not(shuttle)))]
mod tests {
    use super::*;

    #[test]
    fn threads_with_and_without_a_seat_lose_no_count() {
        let counters = Counters::new();
        let start = std::sync::Barrier::new(SEATS + 40);
        for _ in 0..2 {
            std::thread::scope(|scope| {
                for _ in 0..SEATS + 40 {
                    scope.spawn(|| {
                        start.wait();
                        for _ in 0..1000 {
                            counters.hit();
                        }
                        counters.miss();
                    });
                }
            });
        }
        let threads = 2 * (SEATS as u64 + 40);
        assert_eq!(counters.sums(), (threads * 1000, threads));
    }

    #[test]
    fn when_every_seat_is_taken_the_others_share_a_line() {
        let counters = Counters::new();
        let all = std::sync::Barrier::new(SEATS + 10);
        std::thread::scope(|scope| {
            for _ in 0..SEATS + 10 {
                scope.spawn(|| {
                    counters.hit();
                    // Nobody leaves before all have a seat, or have found none.
                    all.wait();
                    counters.hit();
                });
            }
        });
        assert_eq!(counters.sums(), (2 * (SEATS as u64 + 10), 0));
    }
}
