//! Engines timed in turn, round after round, by 1 and by 2 threads, all on the same requests and these always fresh.

use std::thread;

use carrot_load::keys::Zipf;

use crate::engine::results::{Pace, Speed};
use crate::engine::scale::Scale;
use crate::engine::subject::Sample;
use crate::engine::zipf::Requests;

/// Popularity of the keys: the exponent of Zipf's law.
pub(crate) const EXPONENT: f64 = 0.99;

/// Request streams by one law, none like another.
pub(crate) struct Streams {
    zipf: Zipf,
    next_seed: u64,
}

impl Streams {
    /// Over so many keys. Streams of different runs differ.
    pub(crate) fn new(keys: usize, run: usize) -> Self {
        Self { zipf: Zipf::new(keys, EXPONENT), next_seed: (run as u64) << 32 }
    }

    /// So many streams that were not asked before.
    pub(crate) fn fresh(&mut self, streams: usize, requests: usize) -> Vec<Requests> {
        let first = self.next_seed;
        self.next_seed += streams as u64;
        let zipf = &self.zipf;
        thread::scope(|scope| {
            let made: Vec<_> = (first..self.next_seed)
                .map(|seed| scope.spawn(move || Requests::zipf(zipf, requests, seed)))
                .collect();
            made.into_iter().map(|made| made.join().expect("making requests does not panic")).collect()
        })
    }
}

/// Measures every subject in every round. The order is turned by one each round, so that nobody is always the first,
/// who finds the machine cold.
pub(crate) fn in_turn<S>(
    subjects: &[(&str, S)],
    scale: Scale,
    streams: &mut Streams,
    sample: impl Fn(&S, &[Requests]) -> Sample,
) -> Vec<Speed> {
    let mut samples = vec![[Vec::new(), Vec::new()]; subjects.len()];
    for round in 0..scale.rounds {
        let by_threads = [streams.fresh(1, scale.requests), streams.fresh(2, scale.requests)];
        for turn in 0..subjects.len() {
            let at = (round + turn) % subjects.len();
            for (samples, streams) in samples[at].iter_mut().zip(&by_threads) {
                samples.push(sample(&subjects[at].1, streams));
            }
        }
    }
    let told = subjects.iter().zip(&samples);
    told.map(|((engine, _), [one, two])| Speed {
        engine: (*engine).to_owned(),
        threads_1: pace(one),
        threads_2: pace(two),
    })
    .collect()
}

fn pace(samples: &[Sample]) -> Pace {
    Pace {
        mops: samples.iter().map(|sample| sample.mops).collect(),
        hit_ratio: samples.iter().map(|sample| sample.hit_ratio).collect(),
    }
}

#[cfg(test)]
mod tests {
    use std::cell::RefCell;

    use super::*;

    #[test]
    fn each_subject_is_measured_in_each_round_on_the_same_fresh_requests() {
        let asked: RefCell<Vec<(usize, Vec<String>)>> = RefCell::default();
        let scale = Scale { rounds: 3, requests: 5, ..Scale::tiny() };
        let mut streams = Streams::new(1000, 0);
        let speeds = in_turn(&[("a", 1), ("b", 2)], scale, &mut streams, |&subject, streams| {
            let first = streams.iter().map(|stream| stream.iter().collect::<String>());
            asked.borrow_mut().push((subject, first.collect()));
            Sample { mops: subject as f64, hit_ratio: streams.len() as f64 }
        });
        assert_eq!(speeds.iter().map(|speed| &*speed.engine).collect::<Vec<_>>(), ["a", "b"]);
        assert_eq!(speeds[1].threads_2.mops.median(), 2.0);
        assert_eq!(speeds[0].threads_2.hit_ratio.median(), 2.0);
        let asked = asked.into_inner();
        assert_eq!(
            asked.iter().map(|(subject, _)| *subject).collect::<Vec<_>>(),
            [1, 1, 2, 2, 2, 2, 1, 1, 1, 1, 2, 2]
        );
        // Within a round both are asked the same; no stream comes twice.
        assert_eq!(asked[0].1, asked[2].1);
        assert_eq!(asked[1].1, asked[3].1);
        let mut streams: Vec<&String> = asked.iter().flat_map(|(_, streams)| streams).collect();
        streams.sort();
        streams.dedup();
        assert_eq!(streams.len(), 3 * 3);
    }
}
