//! What others' code does in a panic, as a value: a loader's, a request's.
//!
//! The one place where a future's panic is caught. Whoever does so uses nothing of it after that.

use std::any::Any;
use std::future::{Future, poll_fn};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::pin;
use std::task::Poll;

/// What a panic carried.
pub(crate) type Panic = Box<dyn Any + Send>;

/// What `make`'s future gives, or what it panicked with; or `make` itself.
pub(crate) async fn caught<F: Future>(make: impl FnOnce() -> F) -> Result<F::Output, Panic> {
    // A future is not polled again after its panic, so nobody sees what it left half done.
    let mut future = pin!(catch_unwind(AssertUnwindSafe(make))?);
    poll_fn(|context| match catch_unwind(AssertUnwindSafe(|| future.as_mut().poll(context))) {
        Ok(poll) => poll.map(Ok),
        Err(panic) => Poll::Ready(Err(panic)),
    })
    .await
}

/// The text that it was given, most often.
pub(crate) fn panic_text(panic: &(dyn Any + Send)) -> &str {
    let text = panic.downcast_ref::<&str>().copied();
    text.or_else(|| panic.downcast_ref::<String>().map(String::as_str)).unwrap_or("no message")
}

#[cfg(all(test, not(shuttle)))]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_panic_is_caught_where_the_future_is_made_and_where_it_runs() {
        async fn runs(panics: bool) -> u32 {
            tokio::task::yield_now().await;
            assert!(!panics, "at {}", "last");
            7
        }
        fn makes() -> std::future::Ready<u32> {
            panic!("at once")
        }
        let text = |panic: Panic| panic_text(&*panic).to_owned();
        assert_eq!(caught(|| runs(false)).await.map_err(text), Ok(7));
        assert_eq!(caught(|| runs(true)).await.map_err(text), Err("at last".to_owned()));
        assert_eq!(caught(makes).await.map_err(text), Err("at once".to_owned()));
        assert_eq!(panic_text(&7), "no message");
    }
}
