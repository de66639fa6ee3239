//! Answers that are given before hyper hears of the request.
//!
//! What memory holds is answered where it was read: a [`Quick`] is offered each plain request, and writes its whole
//! response or leaves it to hyper. A response is written as hyper writes one. Those to several requests that came
//! together go out together; a larger value goes out from where it lies, without a copy.
//! Bounded: while an answer waits to be taken nothing more is answered, nor read, so that a client which takes nothing
//! costs no more than `FULL` and one answer.

use std::io::{self, IoSlice};
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::{Duration, Instant};

use tokio::io::AsyncWrite;

use crate::clock;
use crate::value::Value;

pub use crate::net::plain::Plain;

/// The largest body that is copied to stand behind its head, in bytes.
pub(super) const COPIED: usize = 8 << 10;

/// What may wait to be sent, for another answer to be written behind it.
const FULL: usize = 16 << 10;

/// What is kept of a longer buffer once that is sent.
const KEPT: usize = 8 << 10;

/// Whoever answers plain requests at once.
pub trait Quick: Send + Sync + 'static {
    /// Whether it has answered the request: all of the answer is in `replies` then. Else hyper is given the request, and
    /// nothing may have been written nor counted. Called on the connection's task, which nothing may hold up.
    fn answer(&self, request: &Plain<'_>, replies: &mut Replies) -> bool;
}

/// The answers on one connection that were given and are not sent.
#[derive(Debug)]
pub struct Replies {
    bytes: Vec<u8>,
    /// Of `bytes`.
    sent: usize,
    /// What follows `bytes`, and how much of it is sent.
    value: Option<(Value, usize)>,
    date: Date,
}

/// An answer of which the headers are being written.
#[derive(Debug)]
pub struct Head<'a>(&'a mut Replies);

impl Replies {
    pub(super) fn new(now: Instant) -> Self {
        Self { bytes: Vec::new(), sent: 0, value: None, date: Date::of(now) }
    }

    /// From here on it is so late.
    pub(super) fn now(&mut self, now: Instant) {
        if now >= self.date.until {
            self.date = Date::of(now);
        }
    }

    /// Begins an answer of 200. It is whole once its body is given.
    pub fn found(&mut self, content_type: &str) -> Head<'_> {
        self.bytes.extend_from_slice(b"HTTP/1.1 200 OK\r\ncontent-type: ");
        self.bytes.extend_from_slice(content_type.as_bytes());
        Head(self)
    }

    /// Whether there is no room for another answer.
    pub(super) fn is_full(&self) -> bool {
        self.value.is_some() || self.bytes.len() >= FULL
    }

    pub(super) fn is_empty(&self) -> bool {
        self.value.is_none() && self.bytes.is_empty()
    }

    /// Sends all there is.
    pub(super) fn poll_send(
        &mut self,
        mut to: impl AsyncWrite + Unpin,
        cx: &mut Context<'_>,
    ) -> Poll<io::Result<()>> {
        while !self.is_empty() {
            let rest = &self.bytes[self.sent..];
            let written = match &self.value {
                None => ready!(Pin::new(&mut to).poll_write(cx, rest))?,
                Some((value, sent)) => {
                    let pieces = [IoSlice::new(rest), IoSlice::new(&value[*sent..])];
                    ready!(Pin::new(&mut to).poll_write_vectored(cx, &pieces))?
                }
            };
            if written == 0 {
                return Poll::Ready(Err(io::ErrorKind::WriteZero.into()));
            }
            self.sent(written);
        }
        Poll::Ready(Ok(()))
    }

    fn sent(&mut self, written: usize) {
        let of_bytes = written.min(self.bytes.len() - self.sent);
        self.sent += of_bytes;
        if let Some((value, sent)) = &mut self.value {
            *sent += written - of_bytes;
            if *sent < value.len() {
                return;
            }
            self.value = None;
        }
        if self.sent == self.bytes.len() {
            self.bytes.clear();
            self.bytes.shrink_to(KEPT);
            self.sent = 0;
        }
    }
}

impl Head<'_> {
    /// A header, its value given in pieces. It must be fit for one.
    #[must_use]
    pub fn header(self, name: &str, value: &[&str]) -> Self {
        let bytes = &mut self.0.bytes;
        for piece in ["\r\n", name, ": "].iter().chain(value) {
            bytes.extend_from_slice(piece.as_bytes());
        }
        self
    }

    /// A header whose value is a number.
    #[must_use]
    pub fn number(self, name: &str, value: u64) -> Self {
        let head = self.header(name, &[]);
        put_number(value, &mut head.0.bytes);
        head
    }

    /// The body.
    pub fn value(self, value: Value) {
        if value.len() <= COPIED {
            self.body(value.len(), |bytes| bytes.extend_from_slice(&value));
        } else {
            let replies = self.ended(value.len());
            replies.value = Some((value, 0));
        }
    }

    /// The body, of that length, as it is put behind what is there. For what is short.
    pub(super) fn body(self, length: usize, put: impl FnOnce(&mut Vec<u8>)) {
        let replies = self.ended(length);
        let before = replies.bytes.len();
        put(&mut replies.bytes);
        debug_assert_eq!(replies.bytes.len() - before, length, "the length that was told");
    }
}

impl<'a> Head<'a> {
    /// The last headers, as hyper adds them.
    fn ended(self, length: usize) -> &'a mut Replies {
        let head = self.number("content-length", length as u64);
        let replies = head.0;
        replies.bytes.extend_from_slice(b"\r\ndate: ");
        replies.bytes.extend_from_slice(&replies.date.text);
        replies.bytes.extend_from_slice(b"\r\n\r\n");
        replies
    }
}

fn put_number(mut value: u64, bytes: &mut Vec<u8>) {
    // The longest has twenty digits.
    let mut digits = [b'0'; 20];
    let mut first = digits.len() - 1;
    while value > 9 {
        digits[first] += (value % 10) as u8;
        value /= 10;
        first -= 1;
    }
    digits[first] += value as u8;
    bytes.extend_from_slice(&digits[first..]);
}

/// What a `date` header says, and until when it is true.
#[derive(Debug)]
struct Date {
    text: [u8; 29],
    until: Instant,
}

impl Date {
    fn of(now: Instant) -> Self {
        // Before 1970 it is 1970.
        let unix = Duration::from_nanos(clock::unix_nanos().try_into().unwrap_or(0));
        let left = Duration::from_secs(1) - Duration::from_nanos(unix.subsec_nanos().into());
        let mut text = [b' '; 29];
        let written = httpdate::fmt_http_date(clock::since_1970(unix));
        text[..written.len()].copy_from_slice(written.as_bytes());
        Self { text, until: clock::after(now, left) }
    }
}

#[cfg(test)]
mod tests {
    use std::task::Waker;

    use bytes::Bytes;

    use super::*;

    /// Takes so many bytes at a time, every other time.
    struct Narrow {
        width: usize,
        taken: Vec<u8>,
        is_ready: bool,
    }

    impl AsyncWrite for Narrow {
        fn poll_write(
            mut self: Pin<&mut Self>,
            _: &mut Context<'_>,
            bytes: &[u8],
        ) -> Poll<io::Result<usize>> {
            self.is_ready = !self.is_ready;
            if !self.is_ready {
                return Poll::Pending;
            }
            let length = self.width.min(bytes.len());
            self.taken.extend_from_slice(&bytes[..length]);
            Poll::Ready(Ok(length))
        }

        fn poll_write_vectored(
            self: Pin<&mut Self>,
            cx: &mut Context<'_>,
            pieces: &[IoSlice<'_>],
        ) -> Poll<io::Result<usize>> {
            self.poll_write(cx, &pieces.iter().flat_map(|piece| piece.iter().copied()).collect::<Vec<_>>())
        }

        fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
            Poll::Ready(Ok(()))
        }

        fn poll_shutdown(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
            Poll::Ready(Ok(()))
        }
    }

    fn all_sent(replies: &mut Replies, width: usize) -> Vec<u8> {
        let mut to = Narrow { width, taken: Vec::new(), is_ready: false };
        let mut cx = Context::from_waker(Waker::noop());
        while replies.poll_send(&mut to, &mut cx).is_pending() {}
        assert!(replies.is_empty() && !replies.is_full());
        to.taken
    }

    #[test]
    fn answers_of_all_lengths_come_out_whole_and_in_order_however_little_is_taken_at_a_time() {
        for width in [1, 7, 100, usize::MAX] {
            let mut replies = Replies::new(clock::now());
            let mut expected = Vec::new();
            for length in [0, 1, COPIED, COPIED + 1, 3 * COPIED] {
                let value = vec![b'x'; length];
                let date = String::from_utf8(replies.date.text.to_vec()).unwrap();
                expected.extend_from_slice(
                    format!(
                        "HTTP/1.1 200 OK\r\ncontent-type: a/b\r\nage: 12\r\nx-cache: c; d\r\ncontent-length: {length}\r\n\
                         date: {date}\r\n\r\n"
                    )
                    .as_bytes(),
                );
                expected.extend_from_slice(&value);
                let head = replies.found("a/b").number("age", 12).header("x-cache", &["c", "; ", "d"]);
                head.value(Value::from(Bytes::from(value)));
                if replies.is_full() {
                    let sent = all_sent(&mut replies, width);
                    assert_eq!(sent, expected);
                    expected.clear();
                }
            }
            assert_eq!(all_sent(&mut replies, width), expected);
        }
    }

    #[test]
    fn what_is_larger_is_not_copied_and_nothing_is_written_behind_it() {
        let mut replies = Replies::new(clock::now());
        replies.found("a/b").value(Value::from(Bytes::from(vec![0; COPIED])));
        assert!(!replies.is_full());
        replies.found("a/b").value(Value::from(Bytes::from(vec![0; COPIED + 1])));
        assert!(replies.is_full() && replies.bytes.len() < 2 * COPIED);
    }

    #[test]
    fn small_answers_fill_it_too_and_what_was_long_is_given_back() {
        let mut replies = Replies::new(clock::now());
        while !replies.is_full() {
            replies.found("a/b").body(1000, |bytes| bytes.extend_from_slice(&[0; 1000]));
        }
        assert!((FULL..FULL + 1200).contains(&replies.bytes.len()));
        all_sent(&mut replies, usize::MAX);
        assert!(replies.bytes.capacity() <= KEPT);
    }

    #[test]
    fn numbers_are_written_as_they_are_printed() {
        for number in [0, 9, 10, 99, 12_345, u64::MAX] {
            let mut bytes = Vec::new();
            put_number(number, &mut bytes);
            assert_eq!(bytes, number.to_string().as_bytes());
        }
    }

    #[test]
    fn the_date_is_written_anew_once_it_is_over() {
        let now = clock::now();
        let mut replies = Replies::new(now);
        assert!(replies.date.until > now && replies.date.until <= now + Duration::from_secs(1));
        replies.date.text = [b'?'; 29];
        replies.now(now);
        assert_eq!(replies.date.text[0], b'?');
        replies.now(replies.date.until);
        assert!(replies.date.text.ends_with(b" GMT"), "{:?}", replies.date);
    }
}
