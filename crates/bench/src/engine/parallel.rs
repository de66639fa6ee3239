//! Threads that begin together, timed from the first one's start to the last one's end.

use std::sync::Barrier;
use std::thread;
use std::time::{Duration, Instant};

/// Runs `work(0)`, `work(1)`, … each on a thread of its own. Gives the time they took together and their answers' sum.
pub(crate) fn timed(threads: usize, work: impl Fn(usize) -> u64 + Sync) -> (Duration, u64) {
    let begin = Barrier::new(threads);
    let one = |number| {
        begin.wait();
        let started = Instant::now();
        let answer = work(number);
        (started, Instant::now(), answer)
    };
    let done: Vec<(Instant, Instant, u64)> = thread::scope(|scope| {
        let one = &one;
        let all: Vec<_> = (0..threads).map(|number| scope.spawn(move || one(number))).collect();
        all.into_iter().map(|thread| thread.join().expect("a measured thread does not panic")).collect()
    });
    let started = done.iter().map(|&(started, ..)| started).min();
    let ended = done.iter().map(|&(_, ended, _)| ended).max();
    let took = started.zip(ended).map_or(Duration::ZERO, |(started, ended)| ended - started);
    (took, done.iter().map(|&(.., answer)| answer).sum())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_thread_does_its_own_part_and_the_slowest_counts() {
        let (took, sum) = timed(3, |number| {
            thread::sleep(Duration::from_millis(5 * number as u64));
            number as u64
        });
        assert_eq!(sum, 3);
        assert!(took >= Duration::from_millis(10));
    }
}
