//! Gets that all hit, beside a bare map: what a hit costs when nothing is ever evicted.

use crate::engine::entrants::{BARE, CACHES, bare};
use crate::engine::face::Capacity;
use crate::engine::results::Speed;
use crate::engine::scale::Scale;
use crate::engine::speed::{Streams, in_turn};
use crate::engine::subject::Subject;
use crate::engine::zipf::Requests;

/// The bare map first, then every cache.
pub(crate) fn measure(scale: Scale, streams: &mut Streams) -> Vec<Speed> {
    let all = Requests::each(0..scale.keys);
    // Twice as much as is stored: room for every key in whichever shard it falls.
    let capacity = Capacity { units: 2 * scale.keys as u64, ..Capacity::of_entries(scale.keys) };
    let mut subjects: Vec<(&str, Box<dyn Subject>)> = vec![(BARE, bare(scale.keys))];
    subjects
        .extend(CACHES.iter().map(|entrant| (entrant.name, (entrant.cache)(capacity) as Box<dyn Subject>)));
    for (_, subject) in &mut subjects {
        subject.fill(&all);
        // Once unmeasured: what is allocated at the first hit is allocated now.
        subject.gets(std::slice::from_ref(&all));
    }
    in_turn(&subjects, scale, streams, |subject, streams| subject.gets(streams))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_get_of_every_engine_hits() {
        let scale = Scale::tiny();
        let speeds = measure(scale, &mut Streams::new(scale.keys, 0));
        assert_eq!(speeds.len(), CACHES.len() + 1);
        for speed in speeds {
            for pace in [&speed.threads_1, &speed.threads_2] {
                assert_eq!(pace.hit_ratio.least(), 1.0, "{}", speed.engine);
                assert!(pace.mops.least() > 0.0);
            }
        }
    }
}
