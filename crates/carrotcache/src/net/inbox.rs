//! What has been read of a connection of frames, and not yet been looked at.
//!
//! One buffer, used over and over. It begins small, doubles when a read fills it, and ends below 128 KiB, which holds
//! the longest frame and what an allocator keeps at hand. Frames are looked at where they lie; whoever keeps a part of
//! one copies it.

use std::io;
use std::time::Instant;

use tokio::io::{AsyncRead, AsyncReadExt};

use crate::clock;
use crate::net::frame::{self, BODY_MAX, Frame, HEAD, Malformed};

const SMALLEST: usize = 8 << 10;

/// Room for the longest frame and a good part of the next.
const LARGEST: usize = 120 << 10;
const _: () = assert!(LARGEST > HEAD + BODY_MAX);

/// The bytes read, and the part of them that is still to be looked at.
pub(super) struct Inbox {
    buffer: Vec<u8>,
    start: usize,
    end: usize,
    /// Since when the frame at the start has not been whole.
    begun: Option<Instant>,
    /// The last read filled the buffer.
    is_filled: bool,
}

impl Inbox {
    /// An inbox in which `read` has been read.
    pub(super) fn new(read: &[u8]) -> Self {
        let mut buffer = read.to_vec();
        buffer.resize(read.len().max(SMALLEST), 0);
        Self { buffer, start: 0, end: read.len(), begun: None, is_filled: false }
    }

    /// Reads once, as much as there is room for; nothing is the end. Cancel-safe.
    pub(super) async fn read(&mut self, from: &mut (impl AsyncRead + Unpin)) -> io::Result<usize> {
        self.make_room();
        let read = from.read(&mut self.buffer[self.end..]).await?;
        self.end += read;
        self.is_filled = self.end == self.buffer.len();
        // It perhaps left more behind.
        if self.is_filled {
            self.grow();
        }
        Ok(read)
    }

    fn make_room(&mut self) {
        if self.start == self.end {
            (self.start, self.end) = (0, 0);
        } else if self.end == self.buffer.len() {
            self.buffer.copy_within(self.start..self.end, 0);
            (self.start, self.end) = (0, self.end - self.start);
        }
    }

    /// The next whole frame.
    pub(super) fn next(&mut self) -> Result<Option<Frame<'_>>, Malformed> {
        let bytes = &self.buffer[self.start..self.end];
        match frame::decode(bytes)? {
            Some((frame, taken)) => {
                self.start += taken;
                self.begun = None;
                Ok(Some(frame))
            }
            None => {
                if bytes.is_empty() {
                    self.begun = None;
                } else if self.begun.is_none() {
                    self.begun = Some(clock::now());
                }
                Ok(None)
            }
        }
    }

    fn grow(&mut self) {
        let length = (self.buffer.len() * 2).min(LARGEST);
        if length > self.buffer.len() {
            self.buffer.resize(length, 0);
        }
    }

    /// Whether the last read took all there was room for. Whoever reads on at once would never wait, where the other side
    /// is as fast, and has to leave the thread to others by himself.
    pub(super) fn is_filled(&self) -> bool {
        self.is_filled
    }

    /// Since when a frame has begun and not ended.
    pub(super) fn begun(&self) -> Option<Instant> {
        self.begun
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::net::frame::Kind;

    /// Reads all of `bytes`, so many at a time, and gives the frames' ids and the lengths of their bodies.
    async fn frames(bytes: &[u8], step: usize) -> Vec<(u64, usize)> {
        let mut inbox = Inbox::new(&bytes[..1]);
        let mut seen = Vec::new();
        for mut piece in bytes[1..].chunks(step) {
            while !piece.is_empty() {
                assert!(inbox.read(&mut piece).await.unwrap() > 0);
                while let Some(frame) = inbox.next().unwrap() {
                    assert!(frame.body.iter().all(|byte| *byte == frame.kind.0));
                    seen.push((frame.id, frame.body.len()));
                }
                assert!(inbox.buffer.len() <= LARGEST);
            }
        }
        assert_eq!((inbox.start, inbox.begun), (inbox.end, None));
        seen
    }

    #[tokio::test]
    async fn frames_come_out_whole_however_their_bytes_came_in() {
        let lengths = [0, 5, BODY_MAX, 100, 9000, BODY_MAX, BODY_MAX, 1];
        let mut bytes = Vec::new();
        for (id, length) in (0..).zip(lengths) {
            let kind = Kind(u8::try_from(id).unwrap() + 1);
            frame::encode(&mut bytes, Frame { id, kind, more: false, body: &vec![kind.0; length] });
        }
        let expected: Vec<_> = (0..).zip(lengths).collect();
        for step in [1, 7, 4096, 70_000, 1 << 20] {
            assert_eq!(frames(&bytes, step).await, expected, "{step} bytes at a time");
        }
    }

    #[tokio::test]
    async fn a_frame_that_is_not_whole_has_a_beginning_until_it_is() {
        let mut bytes = Vec::new();
        frame::encode(&mut bytes, Frame { id: 1, kind: Kind::PING, more: false, body: b"" });
        let mut inbox = Inbox::new(&bytes[..3]);
        assert_eq!(inbox.next(), Ok(None));
        let begun = inbox.begun();
        inbox.read(&mut &bytes[3..5]).await.unwrap();
        assert_eq!(inbox.next(), Ok(None));
        assert!(begun.is_some() && inbox.begun() == begun);
        inbox.read(&mut &bytes[5..]).await.unwrap();
        assert!(inbox.next().unwrap().is_some());
        assert_eq!(inbox.begun(), None);
    }

    #[tokio::test]
    async fn a_read_that_may_have_left_something_behind_is_known() {
        let mut inbox = Inbox::new(b"");
        let mut bytes = &[0; SMALLEST + 1][..];
        for (taken, is_filled) in [(SMALLEST, true), (1, false)] {
            assert_eq!(inbox.read(&mut bytes).await.unwrap(), taken);
            assert_eq!(inbox.is_filled(), is_filled);
        }
    }
}
