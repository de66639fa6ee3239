//! The only place that reads a clock or waits for one.
//!
//! All waits go through tokio's timer, so that a test with a paused runtime moves every deadline of the library at
//! once. Instants are `std`'s: they cross the `Transport` seam, which knows no runtime.

use std::future::Future;
use std::time::{Duration, Instant};

/// The time ran out first.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Elapsed;

/// The present, as the runtime sees it.
pub(crate) fn now() -> Instant {
    tokio::time::Instant::now().into_std()
}

/// Waits this long.
pub(crate) async fn sleep(span: Duration) {
    tokio::time::sleep(span).await;
}

/// Drives `future` for at most this long. When the time runs out it is dropped, unless it was lent by `&mut`.
pub(crate) async fn timeout<F: Future>(span: Duration, future: F) -> Result<F::Output, Elapsed> {
    tokio::time::timeout(span, future).await.map_err(|_| Elapsed)
}

/// Drives `future` until `deadline` at most; a future that is ready at once is ready whatever the deadline.
pub(crate) async fn timeout_at<F: Future>(deadline: Instant, future: F) -> Result<F::Output, Elapsed> {
    tokio::time::timeout_at(deadline.into(), future).await.map_err(|_| Elapsed)
}

/// `from` and `span` later. A span beyond all reckoning, as a setting may hold, is taken as a hundred years.
pub(crate) fn after(from: Instant, span: Duration) -> Instant {
    const CENTURY: Duration = Duration::from_secs(100 * 365 * 86_400);
    from + span.min(CENTURY)
}
