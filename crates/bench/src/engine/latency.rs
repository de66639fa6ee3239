//! How long single gets take while another thread stores without pause: the median, and the slow ones.
//!
//! The longest is left out: with as many threads as cores it is the scheduler's, not the engine's.

use crate::engine::entrants::CACHES;
use crate::engine::face::Capacity;
use crate::engine::readthrough::ROOM;
use crate::engine::results::{Latency, TIMER};
use crate::engine::scale::Scale;
use crate::engine::speed::Streams;
use crate::engine::subject::{Caching, timer_latencies};

/// Of a round's gets, in order, the one at which this part of them is done.
const QUANTILES: [f64; 4] = [0.5, 0.99, 0.999, 0.9999];

/// Every cache with room for a tenth of the keys, and the timer.
pub(crate) fn measure(scale: Scale, streams: &mut Streams) -> Vec<Latency> {
    let capacity = Capacity::of_entries(scale.keys / ROOM);
    let warm_up = streams.fresh(1, scale.warm_up / 4);
    let subjects: Vec<(&str, Box<dyn Caching>)> =
        CACHES.iter().map(|entrant| (entrant.name, (entrant.cache)(capacity))).collect();
    for (_, subject) in &subjects {
        subject.read_through(&warm_up);
    }
    let mut rounds = vec![Vec::new(); subjects.len() + 1];
    for round in 0..scale.rounds {
        let fresh = streams.fresh(2, scale.requests);
        for turn in 0..subjects.len() {
            let at = (round + turn) % subjects.len();
            rounds[at].push(quantiles(subjects[at].1.get_latencies(&fresh[0], &fresh[1], scale.watch)));
        }
        rounds[subjects.len()].push(quantiles(timer_latencies(scale.requests)));
    }
    let names = subjects.iter().map(|(name, _)| *name).chain([TIMER]);
    names.zip(&rounds).map(|(engine, rounds)| latency(engine, rounds)).collect()
}

fn latency(engine: &str, rounds: &[[f64; 4]]) -> Latency {
    let [p50, p99, p99_9, p99_99] = [0, 1, 2, 3].map(|at| rounds.iter().map(|round| round[at]).collect());
    Latency { engine: engine.to_owned(), p50, p99, p99_9, p99_99 }
}

/// `latencies` is not empty.
fn quantiles(mut latencies: Vec<u32>) -> [f64; 4] {
    latencies.sort_unstable();
    QUANTILES.map(|part| f64::from(latencies[((latencies.len() - 1) as f64 * part) as usize]))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_quantile_is_the_latency_that_so_many_do_not_exceed() {
        let latencies: Vec<u32> = (0..=10_000).rev().collect();
        assert_eq!(quantiles(latencies), [5000.0, 9900.0, 9990.0, 9999.0]);
        assert_eq!(quantiles(vec![7]), [7.0; 4]);
    }

    #[test]
    fn every_cache_and_the_timer_have_latencies_that_rise_by_quantile() {
        let scale = Scale::tiny();
        let latencies = measure(scale, &mut Streams::new(scale.keys, 0));
        assert_eq!(latencies.len(), CACHES.len() + 1);
        assert_eq!(latencies[CACHES.len()].engine, TIMER);
        for latency in latencies {
            assert!(latency.p50.median() <= latency.p99.median(), "{}", latency.engine);
            assert!(latency.p99.most() <= latency.p99_99.most(), "{}", latency.engine);
        }
    }
}
