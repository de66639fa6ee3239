//! What a request carries: nothing, a value, or a value that waits until the node wants it.
//!
//! A large value is announced first, as RFC 9110 §10.1.1 has it: a node that will not take it says so before a gigabyte
//! is on its way, and its word is not lost in a connection that it closes meanwhile. One that says nothing at all may
//! not know of announcements and is sent the value after a while.

use std::convert::Infallible;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use bytes::Bytes;
use http::header::{EXPECT, HeaderValue};
use http::{Request, StatusCode};
use hyper::body::{Body, Frame, SizeHint};
use tokio::sync::Notify;

/// From here on a value is announced. Below it the question would take longer than the answer saves.
const ANNOUNCED: usize = 1 << 20;

/// For a node to say that it wants the value.
const PATIENCE: Duration = Duration::from_secs(1);

/// The body of a request.
pub struct Payload {
    bytes: Bytes,
    /// Ready once the node wants the bytes; `None`: now.
    wanted: Option<Pin<Box<dyn Future<Output = ()> + Send>>>,
}

impl Payload {
    /// Puts the value into the request, announced where it is large.
    pub fn put_into(mut request: Request<()>, value: Option<Bytes>) -> Request<Self> {
        let bytes = value.unwrap_or_default();
        let wanted = (bytes.len() >= ANNOUNCED).then(|| announce(&mut request));
        request.map(|()| Self { bytes, wanted })
    }
}

/// Has the node asked whether it wants the body. The future ends when it does, or when it has been silent for too long.
fn announce(request: &mut Request<()>) -> Pin<Box<dyn Future<Output = ()> + Send>> {
    request.headers_mut().insert(EXPECT, HeaderValue::from_static("100-continue"));
    let wanted = Arc::new(Notify::new());
    let told = wanted.clone();
    hyper::ext::on_informational(request, move |response| {
        if response.status() == StatusCode::CONTINUE {
            wanted.notify_one();
        }
    });
    Box::pin(async move {
        // Wanted or not heard of: sent in either case.
        let _ = tokio::time::timeout(PATIENCE, told.notified()).await;
    })
}

impl Body for Payload {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        if let Some(wanted) = &mut self.wanted {
            ready!(wanted.as_mut().poll(context));
            self.wanted = None;
        }
        let bytes = std::mem::take(&mut self.bytes);
        Poll::Ready((!bytes.is_empty()).then(|| Ok(Frame::data(bytes))))
    }

    fn is_end_stream(&self) -> bool {
        self.bytes.is_empty()
    }

    fn size_hint(&self) -> SizeHint {
        SizeHint::with_exact(self.bytes.len() as u64)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use http_body_util::BodyExt;
    use tokio::time::Instant;

    fn of(length: usize) -> Request<Payload> {
        Payload::put_into(Request::new(()), Some(vec![7; length].into()))
    }

    #[tokio::test(start_paused = true)]
    async fn a_large_value_is_announced_and_waits_for_a_word_of_the_node_but_not_for_ever() {
        let begun = Instant::now();
        let request = of(ANNOUNCED);
        assert_eq!(request.headers()[EXPECT], "100-continue");
        assert_eq!(request.body().size_hint().exact(), Some(ANNOUNCED as u64));
        let whole = request.into_body().collect().await.unwrap().to_bytes();
        assert_eq!(whole.len(), ANNOUNCED);
        assert_eq!(begun.elapsed(), PATIENCE, "nobody said a word");
    }

    #[tokio::test(start_paused = true)]
    async fn what_is_small_is_sent_at_once() {
        let begun = Instant::now();
        for length in [0, 1, ANNOUNCED - 1] {
            let request = of(length);
            assert!(!request.headers().contains_key(EXPECT));
            assert_eq!(request.into_body().collect().await.unwrap().to_bytes().len(), length);
        }
        let nothing = Payload::put_into(Request::new(()), None);
        assert!(nothing.body().is_end_stream());
        assert_eq!(begun.elapsed(), Duration::ZERO);
    }
}
