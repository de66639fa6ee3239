//! A breaker per peer: one that failed several times in a row is left alone for a while, so that a dead node costs
//! a timeout now and then, not one for each get.
//!
//! The rest doubles with each failed trial up to a bound, and is ended by one trial request, not by the crowd that
//! waited for it. The usual three states (Nygard, "Release It!"), with two additions: a trial that is given up makes
//! way for another at once, and a success counts whenever it comes, also of a request sent before the rest, for it
//! proves that the peer lives.
//!
//! Pure: time comes in as the span since some start, which requests are sent is the caller's business. What counts
//! as a failure is his too: a peer that is slow or busy is not dead.

use std::time::Duration;

/// Failures in a row that open a closed breaker. One may be chance, two a connection that was closed meanwhile.
const FAILURES: u32 = 3;

/// The first rest. As long as the connect timeout, so that a dead peer is tried at most half of the time.
const FIRST_REST: Duration = Duration::from_millis(500);

/// The longest rest, and so the longest that a peer which came back stays unasked.
const LONGEST_REST: Duration = Duration::from_secs(10);

/// What is known of one peer's failures.
#[derive(Clone, Debug)]
pub(crate) struct Breaker {
    /// In a row, up to now.
    failures: u32,
    state: State,
}

#[derive(Clone, Copy, Debug)]
enum State {
    /// Every request is let through.
    Closed,
    /// None is, until then.
    Resting { until: Duration },
    /// One is on its way, and no other goes until something is heard of it, or it is given up.
    Trying,
}

/// The peer is left alone: ask its stand-in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Rest {
    /// Failures in a row.
    pub(crate) failures: u32,
    /// Until the next request may go.
    pub(crate) wait: Duration,
}

impl Default for Breaker {
    fn default() -> Self {
        Self { failures: 0, state: State::Closed }
    }
}

impl Breaker {
    /// Whether a request may go now. When a rest is over, the first to ask is the trial.
    pub(crate) fn admit(&mut self, now: Duration) -> Result<(), Rest> {
        match self.state {
            State::Closed => Ok(()),
            State::Resting { until } if now < until => {
                Err(Rest { failures: self.failures, wait: until - now })
            }
            State::Trying => Err(Rest { failures: self.failures, wait: rest_after(self.failures) }),
            State::Resting { .. } => {
                self.state = State::Trying;
                Ok(())
            }
        }
    }

    /// What is left of the rest, without asking for a trial: nothing of it where one is due or under way. `None`: every
    /// request goes.
    pub(crate) fn rest(&self, now: Duration) -> Option<Duration> {
        match self.state {
            State::Closed => None,
            State::Resting { until } => Some(until.saturating_sub(now)),
            State::Trying => Some(Duration::ZERO),
        }
    }

    /// Failures in a row, up to now.
    pub(crate) fn failures(&self) -> u32 {
        self.failures
    }

    /// The peer replied, whatever it said. Gives true if it had been left alone: it is back.
    pub(crate) fn on_success(&mut self) -> bool {
        let was_resting = self.failures >= FAILURES;
        *self = Self::default();
        was_resting
    }

    /// A request that was let through ended, and says nothing of the peer: its caller went away, or it was too slow.
    /// If it was the trial, another may go at once.
    pub(crate) fn on_silence(&mut self, now: Duration) {
        if matches!(self.state, State::Trying) {
            self.state = State::Resting { until: now };
        }
    }

    /// The peer was asked whether it lives, and did not say so: three failures at once. Gives true if that is news.
    pub(crate) fn on_death(&mut self, now: Duration) -> bool {
        let is_news = self.failures < FAILURES;
        self.failures = self.failures.max(FAILURES - 1);
        self.on_failure(now);
        is_news
    }

    /// The peer could not be reached. Gives true if that is news: its first rest begins.
    pub(crate) fn on_failure(&mut self, now: Duration) -> bool {
        match self.state {
            // A request that was under way when the rest began: it tells nothing that is not known.
            State::Resting { .. } => false,
            State::Closed | State::Trying => {
                self.failures = self.failures.saturating_add(1);
                if self.failures >= FAILURES {
                    self.state = State::Resting { until: now.saturating_add(rest_after(self.failures)) };
                }
                self.failures == FAILURES
            }
        }
    }
}

/// Half a second, doubled with every failure past the first three.
fn rest_after(failures: u32) -> Duration {
    let doublings = failures.saturating_sub(FAILURES).min(16);
    FIRST_REST.saturating_mul(1 << doublings).min(LONGEST_REST)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ms(n: u64) -> Duration {
        Duration::from_millis(n)
    }

    #[test]
    fn the_first_rest_and_the_return_are_news_and_nothing_between_is() {
        let mut breaker = Breaker::default();
        assert!(!breaker.on_success(), "it never rested");
        let news: Vec<bool> = (0..3).map(|n| breaker.on_failure(ms(n))).collect();
        assert_eq!(news, [false, false, true]);
        assert!(!breaker.on_failure(ms(3)), "a latecomer");
        breaker.admit(ms(1000)).unwrap();
        assert!(!breaker.on_failure(ms(1001)), "a trial that failed");
        breaker.admit(ms(9000)).unwrap();
        assert!(breaker.on_success());
        assert!(!breaker.on_success());
    }

    fn resting(failures: u32, wait_ms: u64) -> Result<(), Rest> {
        Err(Rest { failures, wait: ms(wait_ms) })
    }

    /// A breaker that opened at 0 ms.
    fn open() -> Breaker {
        let mut breaker = Breaker::default();
        for _ in 0..3 {
            breaker.on_failure(ms(0));
        }
        breaker
    }

    #[test]
    fn two_failures_are_borne_and_the_third_begins_a_rest() {
        let mut breaker = Breaker::default();
        for _ in 0..2 {
            breaker.on_failure(ms(10));
            assert_eq!(breaker.admit(ms(10)), Ok(()));
        }
        breaker.on_failure(ms(10));
        assert_eq!(breaker.admit(ms(10)), resting(3, 500));
        assert_eq!(breaker.admit(ms(509)), resting(3, 1));
    }

    #[test]
    fn failures_count_only_in_a_row() {
        let mut breaker = Breaker::default();
        for _ in 0..10 {
            breaker.on_failure(ms(0));
            breaker.on_failure(ms(0));
            breaker.on_success();
        }
        assert_eq!(breaker.admit(ms(0)), Ok(()));
    }

    #[test]
    fn when_the_rest_is_over_one_request_goes_and_the_others_wait_for_it() {
        let mut breaker = open();
        assert_eq!(breaker.admit(ms(500)), Ok(()));
        assert_eq!(breaker.admit(ms(500)), resting(3, 500));
        assert_eq!(breaker.admit(ms(700)), resting(3, 500));
    }

    #[test]
    fn a_trial_that_succeeds_closes_the_breaker_and_its_past_is_forgotten() {
        let mut breaker = open();
        assert_eq!(breaker.admit(ms(500)), Ok(()));
        breaker.on_success();
        breaker.on_failure(ms(600));
        breaker.on_failure(ms(600));
        assert_eq!(breaker.admit(ms(600)), Ok(()));
        breaker.on_failure(ms(600));
        assert_eq!(breaker.admit(ms(600)), resting(3, 500));
    }

    #[test]
    fn looking_at_a_rest_begins_no_trial() {
        assert_eq!((Breaker::default().rest(ms(0)), Breaker::default().failures()), (None, 0));
        let mut breaker = open();
        assert_eq!((breaker.rest(ms(100)), breaker.failures()), (Some(ms(400)), 3));
        assert_eq!(breaker.rest(ms(900)), Some(ms(0)), "a trial is due");
        assert_eq!(breaker.admit(ms(900)), Ok(()), "and nobody has begun it");
        assert_eq!(breaker.rest(ms(900)), Some(ms(0)));
        breaker.on_success();
        assert_eq!((breaker.rest(ms(900)), breaker.failures()), (None, 0));
    }

    #[test]
    fn each_trial_that_fails_doubles_the_rest_up_to_ten_seconds() {
        let mut breaker = open();
        let mut now = ms(500);
        for (failures, rest_ms) in [(4, 1000), (5, 2000), (6, 4000), (7, 8000), (8, 10_000), (9, 10_000)] {
            assert_eq!(breaker.admit(now), Ok(()));
            breaker.on_failure(now);
            assert_eq!(breaker.admit(now), resting(failures, rest_ms));
            now += ms(rest_ms);
        }
    }

    #[test]
    fn failures_that_come_late_do_not_lengthen_the_rest() {
        let mut breaker = open();
        for _ in 0..100 {
            breaker.on_failure(ms(400));
        }
        assert_eq!(breaker.admit(ms(499)), resting(3, 1));
        assert_eq!(breaker.admit(ms(500)), Ok(()));
    }

    #[test]
    fn a_success_that_comes_late_ends_the_rest_at_once() {
        let mut breaker = open();
        breaker.on_success();
        assert_eq!(breaker.admit(ms(1)), Ok(()));
    }

    #[test]
    fn a_trial_that_is_given_up_makes_way_for_another_at_once_and_until_then_for_none() {
        let mut breaker = open();
        assert_eq!(breaker.admit(ms(500)), Ok(()));
        assert_eq!(breaker.admit(ms(600_000)), resting(3, 500));
        breaker.on_silence(ms(600_000));
        assert_eq!(breaker.admit(ms(600_000)), Ok(()));
    }

    #[test]
    fn silence_says_nothing_of_a_peer_that_is_asked_as_ever() {
        let mut breaker = Breaker::default();
        (0..100).for_each(|n| breaker.on_silence(ms(n)));
        assert_eq!(breaker.admit(ms(100)), Ok(()));
        breaker.on_failure(ms(100));
        breaker.on_failure(ms(100));
        breaker.on_silence(ms(100));
        assert!(breaker.on_failure(ms(100)), "three in a row, silence or not");
    }

    #[test]
    fn a_peer_that_does_not_say_that_it_lives_rests_at_once() {
        let mut breaker = Breaker::default();
        assert!(breaker.on_death(ms(0)));
        assert_eq!(breaker.admit(ms(0)), resting(3, 500));
        assert!(!breaker.on_death(ms(1)), "it is known");
    }

    #[test]
    fn failures_without_end_neither_overflow_nor_rest_longer_than_the_bound() {
        let mut breaker = Breaker { failures: u32::MAX, state: State::Closed };
        breaker.on_failure(Duration::MAX);
        assert_eq!(breaker.admit(ms(0)).unwrap_err().failures, u32::MAX);
        assert_eq!(rest_after(u32::MAX), LONGEST_REST);
    }
}
