//! What waits to be written to a connection of frames.
//!
//! Whatever is small is encoded at once, behind what is there, so that one write takes it all; a value is copied here
//! and nowhere else. A message over one frame waits as it is, and of each such one frame at a time goes along, so that
//! nothing small waits behind more than those. Gets of one group that wait together share a frame. Values are charged to
//! the node's memory until they are written, and long ones are held in a share of what those of all connections may hold:
//! they wait whole, where of the others no more waits than one connection has room for. Never writes itself: whoever owns it swaps what waits for an empty batch, and writes that.

use std::collections::VecDeque;
use std::time::{Duration, Instant};

use prost::Message;
use prost::encoding::{WireType, encode_key, encode_varint};

use crate::memory::Charge;
use crate::net::frame::{self, BODY_MAX, Kind};
use crate::net::intake::{Intake, NoRoom, Share};
use crate::net::wire::framed::GetKeys;
use crate::units::GroupName;
use crate::value::Value;

/// What may wait before a peer is read no further, in bytes; messages over one frame apart.
pub(super) const ROOM: usize = 256 << 10;

/// A batch takes frames of long messages until it is this long.
const BATCH: usize = 64 << 10;

/// A buffer over this is not kept: it is where glibc's allocator goes to the system each time.
const KEPT: usize = 128 << 10;

/// Keys in one frame of gets.
pub(super) const KEYS: u64 = 1024;

/// Deadlines of gets in one frame lie no further apart: it has room for one.
const TOGETHER: Duration = Duration::from_millis(16);

/// Frames that are written together.
pub(super) struct Batch {
    bytes: Vec<u8>,
    written: usize,
    /// Of the values in it.
    charge: Charge,
}

impl Batch {
    fn new(values: &Intake) -> Self {
        Self { bytes: Vec::new(), written: 0, charge: values.memory().charge() }
    }

    /// What is still to be written.
    pub(super) fn rest(&self) -> &[u8] {
        &self.bytes[self.written..]
    }

    pub(super) fn is_empty(&self) -> bool {
        self.rest().is_empty()
    }

    /// So many bytes of the rest are written.
    pub(super) fn advance(&mut self, written: usize) {
        self.written += written;
        if self.is_empty() {
            self.written = 0;
            self.bytes.clear();
            self.bytes.shrink_to(KEPT);
            self.charge.release();
        }
    }
}

/// What waits to be written.
pub(super) struct Outbox {
    batch: Batch,
    values: Intake,
    long: VecDeque<Long>,
    /// What the long ones hold: all of each until its last frame is written, in bytes.
    long_bytes: u64,
    /// What they may hold together, in bytes.
    long_max: u64,
    /// The frame at the end of the batch, if keys can be added to it.
    open: Option<Gets>,
}

/// A message over one frame.
struct Long {
    id: u64,
    kind: Kind,
    /// The message before its value, with the value's tag and length.
    head: Vec<u8>,
    value: Value,
    /// How much of the two is written.
    at: usize,
    _share: Share,
}

/// A frame of gets to which keys can be added.
struct Gets {
    at: usize,
    asked: Gotten,
    deadline: Instant,
    next_id: u64,
    count: u64,
}

/// What gets in one frame have in common.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Gotten {
    pub(super) group: GroupName,
    pub(super) stand_in: bool,
    pub(super) cached_only: bool,
}

impl Outbox {
    /// An empty one, of which long messages hold at most `long_max` bytes together, or are one; and the others as many, or
    /// `ROOM`.
    pub(super) fn new(values: &Intake, long_max: u64) -> Self {
        let (values, batch) = (values.clone(), Batch::new(values));
        Self { batch, values, long: VecDeque::new(), long_bytes: 0, long_max, open: None }
    }

    /// An empty batch, to be swapped for what waits.
    pub(super) fn spare(&self) -> Batch {
        Batch::new(&self.values)
    }

    /// Nothing waits any more.
    pub(super) fn clear(&mut self) {
        *self = Self::new(&self.values, self.long_max);
    }

    pub(super) fn is_empty(&self) -> bool {
        self.batch.is_empty() && self.long.is_empty()
    }

    /// Whether a peer that takes what there is for it is to be read further.
    pub(super) fn has_room(&self) -> bool {
        self.batch.bytes.len() < ROOM
    }

    /// Whether a message with a value of this length may be put in: those over a frame add to each other, and so do those
    /// that are encoded at once.
    pub(super) fn has_room_for(&self, value: usize) -> bool {
        if value < BODY_MAX {
            (self.batch.bytes.len() as u64) < self.long_max.max(ROOM as u64)
        } else {
            self.long_bytes < self.long_max
        }
    }

    /// A message without a value, which fits a frame.
    pub(super) fn message(&mut self, id: u64, kind: Kind, message: &impl Message) {
        debug_assert!(message.encoded_len() <= BODY_MAX, "it would be no frame");
        self.framed(id, kind, |out| message.encode_raw(out));
    }

    /// A message of this length, of which so many bytes are values. Nothing is put in if there is no room for them.
    pub(super) fn values(
        &mut self,
        id: u64,
        kind: Kind,
        length: usize,
        values: usize,
        encode: impl FnOnce(&mut Vec<u8>),
    ) -> Result<(), NoRoom> {
        if length > BODY_MAX {
            let share = self.share_of_long(length)?;
            let mut head = Vec::with_capacity(length);
            encode(&mut head);
            self.push_long(id, kind, head, Value::from(bytes::Bytes::new()), share);
        } else {
            self.batch.charge.grow(values as u64)?;
            self.framed(id, kind, encode);
        }
        Ok(())
    }

    /// A message that `write` writes, if it does and it fits a frame: it gives the bytes of values in it. Whether it is put
    /// in; not either if there is no room for the values.
    pub(super) fn written(
        &mut self,
        id: u64,
        kind: Kind,
        write: impl FnOnce(&mut Vec<u8>) -> Option<usize>,
    ) -> Result<bool, NoRoom> {
        let out = &mut self.batch.bytes;
        let at = frame::begin(out, id, kind, false);
        let written = write(out).filter(|_| out.len() - at - frame::HEAD <= BODY_MAX);
        let held = written.map(|values| self.batch.charge.grow(values as u64));
        let out = &mut self.batch.bytes;
        match held {
            Some(Ok(())) => {
                frame::end(out, at);
                self.open = None;
                Ok(true)
            }
            None => {
                out.truncate(at);
                Ok(false)
            }
            Some(Err(full)) => {
                out.truncate(at);
                Err(full.into())
            }
        }
    }

    /// A message that says nothing but its kind.
    pub(super) fn bare(&mut self, id: u64, kind: Kind) {
        self.framed(id, kind, |_| {});
    }

    /// A message whose last field is a value, as its field `tag`. Nothing is put in if there is no room for it.
    pub(super) fn value(
        &mut self,
        id: u64,
        kind: Kind,
        message: &impl Message,
        tag: u32,
        value: Value,
    ) -> Result<(), NoRoom> {
        // A tag under 16 is one byte, a length at most ten.
        let length = message.encoded_len() + 11 + value.len();
        let announce = |out: &mut Vec<u8>| {
            message.encode_raw(out);
            encode_key(tag, WireType::LengthDelimited, out);
            encode_varint(value.len() as u64, out);
        };
        if length > BODY_MAX {
            let share = self.share_of_long(length)?;
            let mut head = Vec::new();
            announce(&mut head);
            self.push_long(id, kind, head, value, share);
        } else {
            self.batch.charge.grow(value.len() as u64)?;
            self.framed(id, kind, |out| {
                announce(out);
                out.extend_from_slice(&value);
            });
        }
        Ok(())
    }

    /// A get, in the frame before it if that is one of gets like it and the ids go on from its.
    pub(super) fn get(&mut self, id: u64, asked: Gotten, key: &[u8], (now, deadline): (Instant, Instant)) {
        let room = BODY_MAX - key.len() - 11;
        let out = &mut self.batch.bytes;
        let mut gets = match self.open.take() {
            Some(gets)
                if gets.next_id == id
                    && gets.count < KEYS
                    && gets.asked == asked
                    && out.len() - gets.at - frame::HEAD <= room
                    && deadline.saturating_duration_since(gets.deadline) <= TOGETHER
                    && gets.deadline.saturating_duration_since(deadline) <= TOGETHER =>
            {
                gets
            }
            _ => {
                let at = frame::begin(out, id, Kind::GET, false);
                let allowed = deadline.saturating_duration_since(now) + TOGETHER;
                let message = GetKeys {
                    group: asked.group.as_str().to_owned(),
                    deadline_ms: Some(u64::try_from(allowed.as_millis()).unwrap_or(u64::MAX)),
                    stand_in: asked.stand_in,
                    cached_only: asked.cached_only,
                    keys: Vec::new(),
                };
                message.encode_raw(out);
                Gets { at, asked, deadline, next_id: id, count: 0 }
            }
        };
        GetKeys::put_key(key, out);
        frame::end(out, gets.at);
        gets.next_id = id.wrapping_add(1);
        gets.count += 1;
        self.open = Some(gets);
    }

    /// What is left of a long message is not wanted any more, and not sent on. How much of it was, if there is one.
    pub(super) fn forget(&mut self, id: u64) -> Option<usize> {
        let at = self.long.iter().position(|long| long.id == id)?;
        let long = self.long.remove(at)?;
        self.long_bytes -= long.length();
        Some(long.at)
    }

    /// Whether a long message is on its way under one of so many ids from this one on: another under it would come between.
    pub(super) fn is_sending(&self, first: u64, count: u64) -> bool {
        self.long.iter().any(|long| long.id.wrapping_sub(first) < count)
    }

    /// Swaps what waits for `batch`, which is empty, and lets long messages send a frame or two along.
    pub(super) fn fill(&mut self, batch: &mut Batch) {
        debug_assert!(batch.is_empty(), "a batch is filled when it is written");
        self.open = None;
        std::mem::swap(&mut self.batch, batch);
        while batch.bytes.len() < BATCH
            && let Some(mut long) = self.long.pop_front()
        {
            long.write(&mut batch.bytes);
            if long.left() > 0 {
                self.long.push_back(long);
            } else {
                self.long_bytes -= long.length();
            }
        }
    }

    /// The batch that waits, for a caller who has the connection to himself; messages over one frame are not in it.
    pub(super) fn waiting(&mut self) -> &mut Batch {
        self.open = None;
        &mut self.batch
    }

    fn framed(&mut self, id: u64, kind: Kind, body: impl FnOnce(&mut Vec<u8>)) {
        self.open = None;
        let out = &mut self.batch.bytes;
        let at = frame::begin(out, id, kind, false);
        body(out);
        frame::end(out, at);
    }

    /// The share of a long message, all of it: what is no value in it takes as much room.
    fn share_of_long(&self, length: usize) -> Result<Share, NoRoom> {
        if self.long_bytes >= self.long_max {
            return Err(NoRoom::Full { most: self.long_max });
        }
        let mut share = self.values.share();
        share.grow(length as u64)?;
        Ok(share)
    }

    fn push_long(&mut self, id: u64, kind: Kind, head: Vec<u8>, value: Value, share: Share) {
        let long = Long { id, kind, head, value, at: 0, _share: share };
        self.long_bytes += long.length();
        self.long.push_back(long);
    }
}

impl Long {
    fn length(&self) -> u64 {
        (self.head.len() + self.value.len()) as u64
    }

    fn left(&self) -> u64 {
        self.length() - self.at as u64
    }

    /// Writes its next frame.
    fn write(&mut self, out: &mut Vec<u8>) {
        let head = self.head.get(self.at..).unwrap_or_default();
        let head = &head[..head.len().min(BODY_MAX)];
        let from = (self.at + head.len()).saturating_sub(self.head.len());
        let until = self.value.len().min(from + (BODY_MAX - head.len()));
        let value = if self.at + head.len() < self.head.len() { &[][..] } else { &self.value[from..until] };
        self.at += head.len() + value.len();
        let more = self.head.len() + self.value.len() > self.at;
        let at = frame::begin(out, self.id, self.kind, more);
        out.extend_from_slice(head);
        out.extend_from_slice(value);
        frame::end(out, at);
    }
}

#[cfg(test)]
mod tests;
