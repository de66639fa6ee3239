//! A future that is seldom ready, beside one that often is.
//!
//! Both share a task, and whatever wakes it has both polled: a connection that answers a hundred thousand requests a
//! second would look at its deadline and its stop as often, and take the locks behind them. This one is polled only
//! when it was woken itself; and then also where its neighbour has used up what tokio allows a task at a time, since one
//! that always does would else never let a deadline pass.

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering::AcqRel, Ordering::Relaxed, Ordering::Release};
use std::task::{Context, Poll, Wake, Waker};

use tokio::task::{Unconstrained, unconstrained};

use crate::sync::{Mutex, lock};

/// The future, with a bell of its own.
pub(super) struct Seldom<F> {
    future: Pin<Box<Unconstrained<F>>>,
    bell: Arc<Bell>,
    /// Whom the bell wakes.
    task: Waker,
}

struct Bell {
    /// Since the future was last polled.
    is_rung: AtomicBool,
    task: Mutex<Waker>,
}

impl<F: Future> Seldom<F> {
    pub(super) fn new(future: F) -> Self {
        let task = Waker::noop().clone();
        let bell = Bell { is_rung: AtomicBool::new(true), task: Mutex::new(task.clone()) };
        Self { future: Box::pin(unconstrained(future)), bell: Arc::new(bell), task }
    }
}

impl Wake for Bell {
    fn wake(self: Arc<Self>) {
        self.wake_by_ref();
    }

    fn wake_by_ref(self: &Arc<Self>) {
        self.is_rung.store(true, Release);
        // Woken outside the lock: a waker is foreign code.
        let task = lock(&self.task).clone();
        task.wake();
    }
}

impl<F: Future> Future for Seldom<F> {
    type Output = F::Output;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<F::Output> {
        if !self.task.will_wake(cx.waker()) {
            self.task = cx.waker().clone();
            *lock(&self.bell.task) = self.task.clone();
        }
        // Looked at before it is taken back: in most cases there is nothing to take.
        if !self.bell.is_rung.load(Relaxed) || !self.bell.is_rung.swap(false, AcqRel) {
            return Poll::Pending;
        }
        let waker = Waker::from(self.bell.clone());
        self.future.as_mut().poll(&mut Context::from_waker(&waker))
    }
}

#[cfg(all(test, not(shuttle)))]
mod tests {
    use std::future::poll_fn;
    use std::pin::pin;
    use std::sync::atomic::{AtomicU32, Ordering::Relaxed};

    use std::time::Duration;

    use tokio::sync::Notify;

    use super::*;
    use crate::clock;

    #[tokio::test]
    async fn it_is_polled_when_it_was_woken_and_not_when_its_neighbour_was() {
        let (polls, notify) = (AtomicU32::new(0), Notify::new());
        let mut told = Box::pin(notify.notified());
        let mut seldom = Seldom::new(poll_fn(|cx| {
            polls.fetch_add(1, Relaxed);
            told.as_mut().poll(cx)
        }));
        for _ in 0..100 {
            tokio::select! {
                biased;
                () = &mut seldom => panic!("nobody has told it"),
                () = tokio::task::yield_now() => {}
            }
        }
        assert_eq!(polls.load(Relaxed), 1);
        notify.notify_one();
        seldom.await;
        assert_eq!(polls.load(Relaxed), 2);
    }

    #[tokio::test]
    async fn a_neighbour_that_uses_up_the_budget_of_the_task_does_not_hold_it_up() {
        let greedy = poll_fn(|cx| {
            while pin!(tokio::task::coop::consume_budget()).poll(cx).is_ready() {}
            Poll::<()>::Pending
        });
        tokio::select! {
            biased;
            () = greedy => {}
            () = Seldom::new(clock::sleep(Duration::from_millis(1))) => {}
        }
    }

    #[tokio::test]
    async fn it_wakes_the_task_that_polled_it_last() {
        let notify = Arc::new(Notify::new());
        let told = notify.clone();
        let mut seldom = Seldom::new(async move { told.notified().await });
        assert!(Pin::new(&mut seldom).poll(&mut Context::from_waker(Waker::noop())).is_pending());
        let waiting = tokio::spawn(seldom);
        tokio::task::yield_now().await;
        notify.notify_one();
        waiting.await.unwrap();
    }
}
