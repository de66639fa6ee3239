//! Get, else load and store, with room for a tenth of the keys: what a cache does all day.

use crate::engine::entrants::CACHES;
use crate::engine::face::Capacity;
use crate::engine::results::Speed;
use crate::engine::scale::Scale;
use crate::engine::speed::{Streams, in_turn};
use crate::engine::subject::Caching;

/// The part of the keys that there is room for.
pub(crate) const ROOM: usize = 10;

/// Every cache, after the same warm-up.
pub(crate) fn measure(scale: Scale, streams: &mut Streams) -> Vec<Speed> {
    let capacity = Capacity::of_entries(scale.keys / ROOM);
    let warm_up = streams.fresh(1, scale.warm_up);
    let subjects: Vec<(&str, Box<dyn Caching>)> =
        CACHES.iter().map(|entrant| (entrant.name, (entrant.cache)(capacity))).collect();
    for (_, subject) in &subjects {
        subject.read_through(&warm_up);
    }
    in_turn(&subjects, scale, streams, |subject, streams| subject.read_through(streams))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_tenth_that_is_kept_is_hit_more_often_than_a_tenth_of_the_time() {
        let scale = Scale::tiny();
        let speeds = measure(scale, &mut Streams::new(scale.keys, 0));
        assert_eq!(speeds.len(), CACHES.len());
        // The most popular tenth of 500 keys gets some two thirds of the requests, and up to three quarters by luck of the draw.
        for speed in speeds {
            for pace in [&speed.threads_1, &speed.threads_2] {
                let hit_ratio = pace.hit_ratio.median();
                assert!((0.3..0.85).contains(&hit_ratio), "{}: {hit_ratio}", speed.engine);
            }
        }
    }
}
