//! Whose turn it is on a connection of HTTP, and since when: what its deadlines are reckoned from.
//!
//! A connection has a deadline whenever its client is the one to act: until a request's header is whole, the first
//! one's from the moment of accepting, and between two requests.

use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::sync::{Mutex, PoisonError};
use std::time::Instant;

use crate::clock;
use crate::net::listen::{ListenLimits, Stop};

/// Whose turn it is on a connection, and since when.
///
/// A client that sends its next request before it has taken a long reply is timed as sending a header meanwhile.
/// Peers and browsers wait for the reply, and one that does not is broken only if it is slow as well.
pub(super) struct Turn {
    whose: Mutex<Whose>,
    /// The listener stops: nobody is waited for who is not being answered.
    is_stopping: AtomicBool,
}

#[derive(Clone, Copy)]
enum Whose {
    /// The client's: the header is not whole yet.
    Header { since: Instant },
    /// Ours: a request is being answered. Its deadline is the service's business.
    Ours,
    /// Nobody's: the last answer is given, and may still be on its way out.
    Idle { since: Instant },
}

impl Turn {
    /// Of a connection that was just accepted.
    pub(super) fn new() -> Self {
        let whose = Mutex::new(Whose::Header { since: clock::now() });
        Self { whose, is_stopping: AtomicBool::new(false) }
    }

    // std Mutex: held for an assignment, by this connection's task alone.
    fn with<T>(&self, act: impl FnOnce(&mut Whose) -> T) -> T {
        act(&mut self.whose.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// A request is being answered.
    pub(super) fn ours(&self) {
        self.with(|whose| *whose = Whose::Ours);
    }

    /// It is answered.
    pub(super) fn over(&self) {
        self.with(|whose| *whose = Whose::Idle { since: clock::now() });
    }

    /// Bytes have come in.
    pub(super) fn heard(&self) {
        self.with(|whose| {
            if let Whose::Idle { .. } = whose {
                *whose = Whose::Header { since: clock::now() };
            }
        });
    }

    /// What came in was answered as far as it could be at once: whether anything was, and whether anything is left.
    pub(super) fn answered(&self, any: bool, rest: bool, now: Instant) {
        self.with(|whose| match (any, rest, *whose) {
            (true, false, _) => *whose = Whose::Idle { since: now },
            (true, true, _) | (false, true, Whose::Idle { .. }) => *whose = Whose::Header { since: now },
            _ => {}
        });
    }

    /// We have said our last word. Whether what still comes is read and dropped, until the other side ends. Asked anew
    /// each time there is something to read.
    pub(super) fn hears_out(&self) -> bool {
        self.with(|whose| match whose {
            Whose::Header { .. } => {}
            // Its deadline is that of a header, from our last word on.
            Whose::Ours | Whose::Idle { .. } => *whose = Whose::Header { since: clock::now() },
        });
        !self.is_stopping()
    }

    /// Whether the listener has stopped.
    pub(super) fn is_stopping(&self) -> bool {
        self.is_stopping.load(Relaxed)
    }

    /// Returns once a deadline has passed. Sees to it that the connection's task is polled after a stop.
    pub(super) async fn overdue(&self, limits: &ListenLimits, mut stop: Stop) {
        while let Some(look) = self.next_look(limits) {
            tokio::select! {
                () = stop.told(), if !self.is_stopping() => {
                    self.is_stopping.store(true, Relaxed);
                    tokio::task::yield_now().await;
                }
                () = clock::sleep_until(look) => {}
            }
        }
    }

    /// When to look again, or `None` when the deadline has passed.
    ///
    /// Looking as often as the shorter deadline is enough to be on time: what begins after one look is due after the
    /// next one. So the timer is not touched for each request.
    fn next_look(&self, limits: &ListenLimits) -> Option<Instant> {
        let now = clock::now();
        let look = clock::after(now, limits.header_timeout.min(limits.idle_timeout));
        let due = match self.with(|whose| *whose) {
            Whose::Header { since } => clock::after(since, limits.header_timeout),
            Whose::Idle { since } => clock::after(since, limits.idle_timeout),
            Whose::Ours => return Some(look),
        };
        (due > now).then(|| due.min(look))
    }
}
