//! What is taken of the times and rates that a peer may make up.
//!
//! Pure; used by the messages of every row.

use std::time::Duration;

/// Longest time taken from a peer. Further off makes no difference to anyone, and would overflow an instant.
const LONGEST: Duration = Duration::from_secs(100 * 365 * 86_400);

/// A span of time, as far as it makes a difference.
pub(super) fn span(span: Duration) -> Duration {
    span.min(LONGEST)
}

/// A rate that is no rate is dropped: it is advice, and not worth losing the value over.
pub(super) fn rate(per_second: Option<f64>) -> Option<f64> {
    per_second.filter(|rate| rate.is_finite() && *rate >= 0.0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_span_can_be_added_to_an_instant_and_taken_from_it() {
        let now = std::time::Instant::now();
        assert!(now.checked_add(span(Duration::MAX)).is_some());
        assert_eq!(span(Duration::from_secs(5)), Duration::from_secs(5));
    }

    #[test]
    fn what_is_no_rate_is_dropped() {
        for bad in [f64::NAN, f64::INFINITY, -1.0] {
            assert_eq!(rate(Some(bad)), None);
        }
        assert_eq!(rate(Some(0.5)), Some(0.5));
    }
}
