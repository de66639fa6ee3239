//! Room for the values of one answer to many keys: what they may come to together.
//!
//! Taken as values come, and not when all are there: whoever asks for many keys then holds no more than the room, and
//! what one more key would bring is told to come again. Several calls may share one.

use std::sync::atomic::{AtomicU64, Ordering};

use crate::error::GetError;
use crate::units::ByteSize;
use crate::value::Value;

/// How many bytes the values of an answer may have together; see
/// [`Group::answer_many_in`](crate::Group::answer_many_in).
#[derive(Debug)]
pub struct Room {
    size: u64,
    left: AtomicU64,
}

impl Room {
    /// Room for so much.
    pub fn new(size: ByteSize) -> Self {
        Self { size: size.as_u64(), left: AtomicU64::new(size.as_u64()) }
    }

    /// Takes the value in, if it fits.
    pub(crate) fn takes(&self, value: &Value) -> bool {
        let less = |left: u64| left.checked_sub(value.len() as u64);
        self.left.fetch_update(Ordering::Relaxed, Ordering::Relaxed, less).is_ok()
    }

    /// What a key is told whose value does not fit.
    pub(crate) fn left_out(&self) -> GetError {
        GetError::LeftOut { room: self.size }
    }
}

#[cfg(all(test, not(shuttle)))]
mod tests {
    use bytes::Bytes;

    use super::*;

    #[test]
    fn a_room_takes_what_fits_and_keeps_what_is_left_for_others() {
        let room = Room::new(ByteSize::bytes(10));
        let takes = |length| room.takes(&Value::from(Bytes::from(vec![0; length])));
        assert_eq!([6, 5, 4, 1, 0].map(takes), [true, false, true, false, true]);
        assert_eq!(
            room.left_out().to_string(),
            "values of 10 bytes are in this answer: ask for this one again"
        );
    }
}
