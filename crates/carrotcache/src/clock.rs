//! Time: what it is, and how to wait for it. The only file of the library that reads a clock or sleeps.
//!
//! Two kinds of time, kept apart. *What time is it* decides ages, expiry, rates and rests: that is a [`Clock`],
//! which a test may own and move by hand. *How long do we wait* bounds a load, a connection or a drain: that is
//! the runtime's timer, which a test of the runtime may pause.
//!
//! The wall clock is a third, for peers of the family whose wire says until when a value lives and not how long. It is
//! read at that wire's edge and nowhere else: two nodes' clocks agree on nothing.

use std::future::{Future, poll_fn};
use std::pin::pin;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::Poll;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

pub(crate) use carrot_engine::Time;

/// Tells a cluster's groups what time it is. Cheap to clone; clones show the same time.
#[derive(Clone, Debug)]
pub struct Clock(carrot_engine::Clock);

impl Clock {
    /// The machine's monotonic clock.
    pub fn system() -> Self {
        Self(carrot_engine::Clock::system())
    }

    /// A clock that stands still until it is advanced, for tests that own time.
    pub fn manual() -> Self {
        Self(carrot_engine::Clock::manual())
    }

    /// Moves a manual clock on.
    ///
    /// # Panics
    /// On the machine's clock: nobody moves that one.
    pub fn advance(&self, by: Duration) {
        self.0.advance(by);
    }

    /// The engine's view of the same clock.
    pub(crate) fn engine(&self) -> &carrot_engine::Clock {
        &self.0
    }

    /// Now, to the millisecond, since this clock began.
    pub(crate) fn now(&self) -> Time {
        self.0.now()
    }

    /// The same at an instant that was read already.
    pub(crate) fn at(&self, instant: Instant) -> Time {
        self.0.at(instant)
    }

    /// How long this clock has run: the argument of the pure parts (rates, rests).
    pub(crate) fn elapsed(&self) -> Duration {
        Duration::from_millis(self.0.now().as_millis())
    }
}

/// One moment by both kinds of time: read once for all who want to know, since a clock may cost as much as a lookup.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Moment {
    /// That waits are reckoned from.
    pub(crate) instant: Instant,
    /// How long the clock has run.
    pub(crate) elapsed: Duration,
}

impl Moment {
    pub(crate) fn now(clock: &Clock) -> Self {
        Self::at(now(), clock)
    }

    /// The moment of an instant that has been read; by it also where tokio's time is paused and the clock is the system's.
    pub(crate) fn at(instant: Instant, clock: &Clock) -> Self {
        Self { instant, elapsed: Duration::from_millis(clock.at(instant).as_millis()) }
    }
}

/// The time ran out before the future was ready.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Elapsed;

/// The instant that deadlines of waits are reckoned from.
pub(crate) fn now() -> Instant {
    tokio::time::Instant::now().into_std()
}

/// The wall clock, in nanoseconds since 1970: negative before that, and never past the year 2262.
pub(crate) fn unix_nanos() -> i64 {
    let saturated = |nanos: u128| i64::try_from(nanos).unwrap_or(i64::MAX);
    match SystemTime::now().duration_since(UNIX_EPOCH) {
        Ok(since) => saturated(since.as_nanos()),
        Err(before) => -saturated(before.duration().as_nanos()),
    }
}

/// So long after 1970 by the wall clock.
pub(crate) fn since_1970(span: Duration) -> SystemTime {
    UNIX_EPOCH + span
}

/// Waits.
pub(crate) async fn sleep(time: Duration) {
    tokio::time::sleep(time).await;
}

/// Waits until then.
pub(crate) async fn sleep_until(then: Instant) {
    tokio::time::sleep_until(then.into()).await;
}

/// The future's result, or `Elapsed` after `limit`; the future is dropped then, unless it was lent.
pub(crate) async fn timeout<F: Future>(limit: Duration, future: F) -> Result<F::Output, Elapsed> {
    tokio::time::timeout(limit, future).await.map_err(|_| Elapsed)
}

/// The future's result, or `Elapsed` at `deadline`. A future that is ready at once is ready whatever the deadline.
pub(crate) async fn timeout_at<F: Future>(deadline: Instant, future: F) -> Result<F::Output, Elapsed> {
    tokio::time::timeout_at(deadline.into(), future).await.map_err(|_| Elapsed)
}

/// As `timeout_at`, without a timer where the future says, when it is polled first, that it ends in time by itself.
pub(crate) async fn timeout_at_unless<F: Future>(
    deadline: Instant,
    is_sure: &AtomicBool,
    future: F,
) -> Result<F::Output, Elapsed> {
    let mut future = pin!(future);
    match poll_fn(|context| Poll::Ready(future.as_mut().poll(context))).await {
        Poll::Ready(output) => Ok(output),
        Poll::Pending if is_sure.load(Ordering::Relaxed) => Ok(future.await),
        Poll::Pending => timeout_at(deadline, future).await,
    }
}

/// `from` and `span` later. A span beyond all reckoning, as a setting may hold, is taken as a hundred years.
pub(crate) fn after(from: Instant, span: Duration) -> Instant {
    const CENTURY: Duration = Duration::from_secs(100 * 365 * 86_400);
    from + span.min(CENTURY)
}

/// A wait as people read it. What is left of a deadline when it is looked at is some microseconds under what was set.
#[cfg(feature = "http")]
pub(crate) fn in_whole_ms(wait: Duration) -> Duration {
    Duration::from_millis(u64::try_from(wait.as_nanos().div_ceil(1_000_000)).unwrap_or(u64::MAX))
}

#[cfg(all(test, feature = "http"))]
mod tests {
    use super::*;

    #[test]
    fn a_wait_is_told_in_whole_milliseconds() {
        for (nanos, told) in [(999_985_178, "1s"), (50_000_000, "50ms"), (1, "1ms"), (0, "0ns")] {
            assert_eq!(format!("{:?}", in_whole_ms(Duration::from_nanos(nanos))), told);
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_wait_has_a_timer_unless_it_says_that_it_ends_by_itself() {
        let (now, second) = (now(), Duration::from_secs(1));
        let wait = |lasts: Duration, sure: bool| async move {
            let is_sure = AtomicBool::new(false);
            // It says so when it is polled, and not before.
            let future = async {
                is_sure.store(sure, Ordering::Relaxed);
                sleep(lasts).await;
            };
            timeout_at_unless(now + second, &is_sure, future).await
        };
        assert_eq!(wait(second / 2, false).await, Ok(()));
        assert_eq!(wait(second * 2, false).await, Err(Elapsed));
        assert_eq!(wait(second * 2, true).await, Ok(()));
        assert_eq!(
            timeout_at_unless(now, &AtomicBool::new(false), async { 7 }).await,
            Ok(7),
            "ready at once"
        );
    }
}
