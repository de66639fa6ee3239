//! The inner loops: what is done between two looks at the clock. Compiled once for each engine.

use std::hint::black_box;
use std::sync::Barrier;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use bytes::Bytes;
use carrot_trace::Request;

use crate::engine::bare::Bare;
use crate::engine::face::{Capacity, Engine};
use crate::engine::parallel::timed;
use crate::engine::zipf::Requests;

/// Length of each value, in bytes.
pub(crate) const VALUE: usize = 100;

/// How often put-off work is done in a replay, in requests: a trace is replayed faster than it was recorded, so
/// engines that do it after a while would never come to it.
const SETTLE_EVERY: usize = 64;

fn value() -> Bytes {
    Bytes::copy_from_slice(&[7; VALUE])
}

/// What came of one timed loop.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Sample {
    /// Millions of requests a second, of all threads together.
    pub(crate) mops: f64,
    /// The part of the requests that found their key.
    pub(crate) hit_ratio: f64,
}

impl Sample {
    fn new(took: Duration, hits: u64, requests: usize) -> Self {
        Self { mops: requests as f64 / took.as_secs_f64() / 1e6, hit_ratio: hits as f64 / requests as f64 }
    }
}

/// What can be asked, when it is full.
pub(crate) trait Subject: Send + Sync {
    /// Stores a value under each key, and settles.
    fn fill(&mut self, keys: &Requests);

    /// Gets by as many threads as there are streams, each its own from end to end.
    fn gets(&self, streams: &[Requests]) -> Sample;

    fn len(&self) -> usize;
}

/// What can also store while it is asked.
pub(crate) trait Caching: Subject {
    /// As `gets`, and what is not found is loaded and stored.
    fn read_through(&self, streams: &[Requests]) -> Sample;

    /// The time of each get in `asked`, over and over, in ns, while another thread stores `stored`, over and over.
    fn get_latencies(&self, asked: &Requests, stored: &Requests, during: Duration) -> Vec<u32>;
}

impl<E: Engine<String, Bytes>> Subject for E {
    fn fill(&mut self, keys: &Requests) {
        for key in keys.iter() {
            self.insert(key, value());
        }
        self.settle();
    }

    fn gets(&self, streams: &[Requests]) -> Sample {
        gets(streams, |key| self.get(key))
    }

    fn len(&self) -> usize {
        Engine::len(self)
    }
}

impl<E: Engine<String, Bytes>> Caching for E {
    fn read_through(&self, streams: &[Requests]) -> Sample {
        let (took, misses) = timed(streams.len(), |thread| {
            let mut misses = 0;
            for key in streams[thread].iter() {
                black_box(self.get_or_load(key, || {
                    misses += 1;
                    value()
                }));
            }
            misses
        });
        let requests: usize = streams.iter().map(Requests::len).sum();
        Sample::new(took, requests as u64 - misses, requests)
    }

    fn get_latencies(&self, asked: &Requests, stored: &Requests, during: Duration) -> Vec<u32> {
        let (stop, begin) = (AtomicBool::new(false), Barrier::new(2));
        thread::scope(|scope| {
            scope.spawn(|| {
                begin.wait();
                let keys = (0..stored.len()).cycle().map(|i| stored.get(i));
                for key in keys.take_while(|_| !stop.load(Ordering::Relaxed)) {
                    self.insert(key, value());
                }
            });
            // Room before the clock starts; pages are touched as they are filled, between two measured gets.
            let mut latencies = Vec::with_capacity(1 << 23);
            begin.wait();
            let began = Instant::now();
            for i in (0..asked.len()).cycle() {
                let key = asked.get(i);
                // std's clock waits for the loads before it (on x86 by a fence), which the bare time stamp counter
                // of the timer crates does not: it would be read while the get's cache misses are still under way.
                let before = Instant::now();
                black_box(self.get(key));
                let after = Instant::now();
                latencies.push(nanoseconds(after - before));
                if after - began >= during || latencies.len() == latencies.capacity() {
                    break;
                }
            }
            stop.store(true, Ordering::Relaxed);
            latencies
        })
    }
}

impl Subject for Bare {
    fn fill(&mut self, keys: &Requests) {
        for key in keys.iter() {
            self.put(key, value());
        }
    }

    fn gets(&self, streams: &[Requests]) -> Sample {
        gets(streams, |key| self.get(key))
    }

    fn len(&self) -> usize {
        Bare::len(self)
    }
}

/// The gets of one loop, timed, and counted where they found something.
pub(crate) fn gets<T>(streams: &[Requests], get: impl Fn(&str) -> Option<T> + Sync) -> Sample {
    let (took, hits) = timed(streams.len(), |thread| {
        streams[thread].iter().map(|key| u64::from(black_box(get(key)).is_some())).sum()
    });
    Sample::new(took, hits, streams.iter().map(Requests::len).sum())
}

/// What two looks at the clock with nothing between them take, in ns: part of each latency.
pub(crate) fn timer_latencies(count: usize) -> Vec<u32> {
    (0..count)
        .map(|_| {
            let before = Instant::now();
            nanoseconds(Instant::now() - before)
        })
        .collect()
}

/// Past 4 s it stays at that.
fn nanoseconds(time: Duration) -> u32 {
    u32::try_from(time.as_nanos()).unwrap_or(u32::MAX)
}

/// What came of a replay, in parts of 1.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Hits {
    /// Of the requests.
    pub(crate) object: f64,
    /// Of their bytes.
    pub(crate) byte: f64,
}

/// One thread asks for each request's key, and stores what is missing.
pub(crate) fn replay<E: Engine<u64, u32>>(requests: &[Request], capacity: Capacity) -> Hits {
    let engine = E::new(capacity);
    let (mut hits, mut hit_bytes, mut bytes) = (0u64, 0u64, 0u64);
    for (i, request) in requests.iter().enumerate() {
        let key = u64::from(request.key);
        bytes += u64::from(request.size);
        if engine.get(&key).is_some() {
            hits += 1;
            hit_bytes += u64::from(request.size);
        } else {
            engine.insert(&key, request.size);
        }
        if i % SETTLE_EVERY == 0 {
            engine.settle();
        }
    }
    Hits { object: hits as f64 / requests.len() as f64, byte: hit_bytes as f64 / bytes as f64 }
}

#[cfg(test)]
mod tests {
    use carrot_load::keys::Zipf;

    use super::*;
    use crate::engine::lru::MutexLru;

    fn lru(entries: usize) -> MutexLru<String, Bytes> {
        Engine::<String, Bytes>::new(Capacity::of_entries(entries))
    }

    #[test]
    fn gets_count_what_is_found() {
        let mut lru = lru(100);
        lru.fill(&Requests::each(0..10));
        assert_eq!(Subject::len(&lru), 10);
        let sample = lru.gets(&[Requests::each(0..10), Requests::each(5..15)]);
        assert!((sample.hit_ratio - 0.75).abs() < 1e-9 && sample.mops > 0.0);
    }

    #[test]
    fn the_bare_map_counts_as_the_caches_do() {
        let mut bare = Bare::new(10);
        bare.fill(&Requests::each(0..10));
        assert_eq!(Subject::len(&bare), 10);
        assert!((bare.gets(&[Requests::each(5..15)]).hit_ratio - 0.5).abs() < 1e-9);
    }

    #[test]
    fn what_is_read_through_is_found_the_second_time() {
        let lru = lru(10);
        let twice: Requests = (0..2)
            .flat_map(|_| Requests::each(0..10).iter().map(str::to_owned).collect::<Vec<_>>())
            .collect();
        assert!((lru.read_through(&[twice]).hit_ratio - 0.5).abs() < 1e-9);
        assert!((lru.read_through(&[Requests::each(10..20)]).hit_ratio).abs() < 1e-9);
    }

    #[test]
    fn latencies_are_taken_while_another_stores() {
        let lru = lru(10);
        let asked = Requests::zipf(&Zipf::new(20, 0.99), 50, 1);
        let latencies = lru.get_latencies(&asked, &Requests::each(0..20), Duration::from_millis(20));
        // More than one pass over what is asked, and the other thread has filled the cache.
        assert!(latencies.len() > 50 && latencies.iter().any(|&ns| ns > 0));
        assert_eq!(Subject::len(&lru), 10);
    }
}
