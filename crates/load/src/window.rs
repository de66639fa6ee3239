//! The stretch of time that is counted: what is answered before it warms up, what is answered after it ends.
//!
//! One task lets it pass, all that ask look at it: two flags, and no clock of their own.

use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

/// Whether one is before it, in it or past it.
#[derive(Debug, Default)]
pub struct Window {
    open: AtomicBool,
    over: AtomicBool,
}

/// Its two ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Edge {
    /// From now on answers count.
    Opens,
    /// No answer counts any more.
    Closes,
}

impl Window {
    /// Whether an answer that comes now counts.
    pub fn is_open(&self) -> bool {
        self.open.load(Ordering::Relaxed)
    }

    /// Whether no more need be asked.
    pub fn is_over(&self) -> bool {
        self.over.load(Ordering::Relaxed)
    }

    /// Opens it after `warm` and closes it after `lasts` more; `tell` hears of both as they happen. Gives how long it was
    /// open. Dropping the future leaves it as it stands.
    pub async fn pass(&self, warm: Duration, lasts: Duration, mut tell: impl FnMut(Edge)) -> Duration {
        tokio::time::sleep(warm).await;
        tell(Edge::Opens);
        let opened = Instant::now();
        self.open.store(true, Ordering::Relaxed);
        tokio::time::sleep(lasts).await;
        self.open.store(false, Ordering::Relaxed);
        let open = opened.elapsed();
        self.over.store(true, Ordering::Relaxed);
        tell(Edge::Closes);
        open
    }
}
