//! The flights that one call waits for, in the order in which they land.
//!
//! Whoever waits for them in the order asked holds what has landed meanwhile: a flight keeps its outcome for whoever
//! still waits. Here each is taken when it lands, for a caller who bounds what he holds. Costs an allocation a flight
//! more than to wait in order.

use std::collections::VecDeque;
use std::future::poll_fn;
use std::sync::Arc;
use std::task::{Context, Poll, Wake, Waker};

use crate::flight::{Flown, Wait};
use crate::sync::{Mutex, lock};

/// Waits that have not ended, each with its place in the caller's question.
pub(crate) struct Landings<T> {
    waits: Vec<Option<Waiting<T>>>,
    left: usize,
    bell: Arc<Bell>,
}

struct Waiting<T> {
    place: usize,
    wait: Wait<T>,
    waker: Waker,
}

/// Who has called since it was last heard.
struct Bell(Mutex<Rung>);

struct Rung {
    /// Each at most as often as its flight wakes it: once.
    by: VecDeque<usize>,
    waker: Option<Waker>,
}

/// One of the waits, as its flight wakes it.
struct Cord {
    bell: Arc<Bell>,
    at: usize,
}

impl Wake for Cord {
    fn wake(self: Arc<Self>) {
        self.wake_by_ref();
    }

    fn wake_by_ref(self: &Arc<Self>) {
        let mut rung = lock(&self.bell.0);
        rung.by.push_back(self.at);
        let waker = rung.waker.take();
        drop(rung);
        if let Some(waker) = waker {
            waker.wake();
        }
    }
}

impl<T: Clone> Landings<T> {
    pub(crate) fn of(waits: impl Iterator<Item = (usize, Wait<T>)>) -> Self {
        let bell = Arc::new(Bell(Mutex::new(Rung { by: VecDeque::new(), waker: None })));
        let waiting = |(at, (place, wait))| {
            let waker = Waker::from(Arc::new(Cord { bell: bell.clone(), at }));
            Some(Waiting { place, wait, waker })
        };
        let waits: Vec<_> = waits.enumerate().map(waiting).collect();
        let left = waits.len();
        // None has been asked yet.
        lock(&bell.0).by.extend(0..left);
        Self { waits, left, bell }
    }

    /// The next that lands, by its place; `None` when all have. Dropping the future loses none.
    pub(crate) async fn next(&mut self) -> Option<(usize, Flown<T>)> {
        poll_fn(|context| self.poll_next(context)).await
    }

    fn poll_next(&mut self, context: &mut Context<'_>) -> Poll<Option<(usize, Flown<T>)>> {
        if self.left == 0 {
            return Poll::Ready(None);
        }
        // Cloned before the lock is taken, and the one it replaces dropped after it is free: both run foreign code.
        let waker = context.waker().clone();
        let replaced = lock(&self.bell.0).waker.replace(waker);
        drop(replaced);
        loop {
            let by = lock(&self.bell.0).by.pop_front();
            let Some(at) = by else { return Poll::Pending };
            let Some(Waiting { place, wait, waker }) = &mut self.waits[at] else { continue };
            let place = *place;
            if let Poll::Ready(flown) = wait.poll_flown(&mut Context::from_waker(waker)) {
                self.waits[at] = None;
                self.left -= 1;
                return Poll::Ready(Some((place, flown)));
            }
        }
    }

    /// The places of those that have not ended; they are waited for no longer.
    pub(crate) fn abandon(self) -> impl Iterator<Item = usize> {
        self.waits.into_iter().flatten().map(|waiting| waiting.place)
    }
}
