//! Some things at a time, in order: what they give comes in the order in which they began, however long each takes.
//!
//! What is not done at once is a task of its own, which ends with whoever waits for it.

use std::collections::VecDeque;
use std::future::poll_fn;
use std::pin::Pin;
use std::task::{Context, Poll};

use tokio::task::JoinHandle;

use crate::resp::reply::Reply;

/// How many of one client's are under way at once: enough to hide a network's way there and back, few enough that one
/// client does not fill the queue of loads.
pub const AT_ONCE: usize = 64;

/// A task that ends with its handle.
#[derive(Debug)]
pub struct Errand<T>(JoinHandle<T>);

impl<T: Send + 'static> Errand<T> {
    /// Begins it.
    pub fn begin(work: impl Future<Output = T> + Send + 'static) -> Self {
        Self(tokio::spawn(work))
    }

    /// Whether it would be ready at once.
    pub fn is_ready(&self) -> bool {
        self.0.is_finished()
    }
}

impl<T> Future for Errand<T> {
    /// An error where it panicked.
    type Output = Result<T, Reply>;

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Self::Output> {
        let lost = |_| Reply::error("ERR this node failed at the command");
        Pin::new(&mut self.0).poll(context).map(|ended| ended.map_err(lost))
    }
}

impl<T> Drop for Errand<T> {
    fn drop(&mut self) {
        self.0.abort();
    }
}

/// What work gives if it is done at once. Else it has begun, and is to be gone on with.
pub async fn at_once<F: Future + Unpin>(work: &mut F) -> Option<F::Output> {
    poll_fn(|context| {
        Poll::Ready(match Pin::new(&mut *work).poll(context) {
            Poll::Ready(given) => Some(given),
            Poll::Pending => None,
        })
    })
    .await
}

/// One of some things.
enum Part<T> {
    Done(T),
    UnderWay(Errand<Result<T, Reply>>),
}

impl<T> Part<T> {
    async fn done(self) -> Result<T, Reply> {
        match self {
            Self::Done(given) => Ok(given),
            Self::UnderWay(errand) => errand.await?,
        }
    }
}

/// What each gives, in order, at most [`AT_ONCE`] under way; done at once, without a task, where all of them are. The first
/// error ends it, and what is under way.
pub async fn in_order<T: Send + 'static>(
    works: impl Iterator<Item = impl Future<Output = Result<T, Reply>> + Send + 'static>,
) -> Result<Vec<T>, Reply> {
    let (mut parts, mut given) = (VecDeque::new(), Vec::new());
    for work in works {
        if parts.len() == AT_ONCE
            && let Some(first) = parts.pop_front()
        {
            let first: Part<_> = first;
            given.push(first.done().await?);
        }
        let mut work = Box::pin(work);
        parts.push_back(match at_once(&mut work).await {
            Some(done) => Part::Done(done?),
            None => Part::UnderWay(Errand::begin(work)),
        });
        // There may be tens of thousands, and others share this thread.
        tokio::task::consume_budget().await;
    }
    for part in parts {
        given.push(part.done().await?);
    }
    Ok(given)
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::sync::atomic::{AtomicUsize, Ordering::SeqCst};
    use std::task::Waker;

    use super::*;

    #[tokio::test(start_paused = true)]
    async fn what_comes_is_in_order_and_so_many_are_under_way() {
        let (now, most) = (Arc::new(AtomicUsize::new(0)), Arc::new(AtomicUsize::new(0)));
        let works = (0..500_u64).map(|n| {
            let (now, most) = (now.clone(), most.clone());
            async move {
                most.fetch_max(now.fetch_add(1, SeqCst) + 1, SeqCst);
                tokio::time::sleep(std::time::Duration::from_millis(1 + n * 7 % 50)).await;
                now.fetch_sub(1, SeqCst);
                Ok(n)
            }
        });
        assert_eq!(in_order(works).await, Ok((0..500).collect()));
        assert_eq!(most.load(SeqCst), AT_ONCE);
    }

    #[test]
    fn what_is_done_at_once_takes_no_task_and_no_time() {
        // There is no runtime that could have a task.
        let works = (0..500).map(|n| async move { Ok(n) });
        let mut all = Box::pin(in_order(works));
        let done = all.as_mut().poll(&mut Context::from_waker(Waker::noop()));
        assert_eq!(done, Poll::Ready(Ok((0..500).collect())));
    }

    #[tokio::test]
    async fn an_error_ends_what_is_under_way() {
        let held = Arc::new(());
        let works = (0..10).map(|n| {
            let held = held.clone();
            async move {
                if n == 3 {
                    return Err(Reply::Nil);
                }
                if n > 3 {
                    std::future::pending::<()>().await;
                }
                drop(held);
                Ok(n)
            }
        });
        assert_eq!(in_order(works).await, Err(Reply::Nil));
        // The runtime drops an aborted task in its own time.
        while Arc::strong_count(&held) > 1 {
            tokio::task::yield_now().await;
        }
    }
}
