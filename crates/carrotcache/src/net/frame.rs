//! Frames: what native peers exchange once a connection is theirs, many requests at a time.
//!
//! A frame is a head of fourteen bytes and a body. The head is the length of all that follows it (u32), the id of the
//! request it belongs to (u64), its kind and its flags (u8 each), numbers with the lowest byte first. A body is a
//! protobuf message, at most 64 KiB of it: a longer message goes in several frames of one id and one kind, all but the
//! last flagged `MORE`, and frames of other ids may stand between them, so that nothing small waits behind anything
//! large. docs/protocol.md says what each kind means.
//! Pure. Reads from a slice and reserves nothing; a length is looked at before the bytes that it announces are there.

use std::fmt;

/// The bytes before a body.
pub(super) const HEAD: usize = 14;

/// The longest body of one frame, in bytes.
pub(super) const BODY_MAX: usize = 64 << 10;

/// Another frame of the same id goes on with this one's message.
const MORE: u8 = 1;

/// What a length counts beside the body: id, kind and flags.
const COUNTED: usize = HEAD - 4;

/// What a frame says. An open set: a kind that is not known has a class all the same, which says how to refuse it.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub(super) struct Kind(pub(super) u8);

/// What is to be done with a kind, known or not.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Class {
    /// 0–63: answered once under its id; a `GET` once for each of its keys.
    Request,
    /// 64–127: not answered, and passed over where it is not known.
    Notice,
    /// 128–255: answers the request with its id.
    Answer,
}

impl Kind {
    pub(super) const GET: Self = Self(1);
    pub(super) const SET: Self = Self(2);
    pub(super) const REMOVE: Self = Self(3);
    pub(super) const HELD: Self = Self(4);
    pub(super) const ID: Self = Self(5);
    pub(super) const MEMBERS: Self = Self(6);
    pub(super) const PING: Self = Self(7);
    pub(super) const GET_MANY: Self = Self(8);

    /// The request with this id is not wanted any more. It is answered all the same, by `CANCELLED` or as it was.
    pub(super) const CANCEL: Self = Self(64);
    /// No request that comes after this one is sure of an answer: send them elsewhere, and close when all are answered.
    pub(super) const DRAIN: Self = Self(65);

    pub(super) const FOUND: Self = Self(128);
    pub(super) const DONE: Self = Self(129);
    pub(super) const NOT_FOUND: Self = Self(130);
    pub(super) const NOT_CACHED: Self = Self(131);
    pub(super) const NO_GROUP: Self = Self(132);
    pub(super) const NOT_OWNER: Self = Self(133);
    pub(super) const LOAD_FAILED: Self = Self(134);
    pub(super) const BUSY: Self = Self(135);
    pub(super) const DEADLINE: Self = Self(136);
    pub(super) const TOO_LARGE: Self = Self(137);
    pub(super) const BAD_REQUEST: Self = Self(138);
    pub(super) const UNSUPPORTED: Self = Self(139);
    pub(super) const ID_IS: Self = Self(140);
    pub(super) const MEMBERS_ARE: Self = Self(141);
    pub(super) const HELD_IS: Self = Self(142);
    pub(super) const PONG: Self = Self(143);
    pub(super) const CANCELLED: Self = Self(144);
    pub(super) const MANY: Self = Self(145);

    pub(super) fn class(self) -> Class {
        match self.0 {
            0..64 => Class::Request,
            64..128 => Class::Notice,
            128.. => Class::Answer,
        }
    }
}

impl fmt::Debug for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "kind {}", self.0)
    }
}

/// One frame, in the bytes it was read from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Frame<'a> {
    /// Of the request that it is, or that it answers; given by who asks. A `GET`'s keys count up from its id.
    pub(super) id: u64,
    pub(super) kind: Kind,
    /// The message goes on in the next frame of this id.
    pub(super) more: bool,
    pub(super) body: &'a [u8],
}

/// Bytes that are no frame.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub(super) enum Malformed {
    /// The length is not that of any frame.
    #[error("a frame of {0} bytes")]
    Length(u32),
    /// Flags that are not known change what the frame means.
    #[error("a frame with the flags {0:#04x}")]
    Flags(u8),
}

/// The first frame of `bytes`, and how many of them it takes; `None` while it is not whole.
pub(super) fn decode(bytes: &[u8]) -> Result<Option<(Frame<'_>, usize)>, Malformed> {
    let Some((length, rest)) = bytes.split_first_chunk() else { return Ok(None) };
    let announced = u32::from_le_bytes(*length);
    let length = usize::try_from(announced).unwrap_or(usize::MAX);
    if !(COUNTED..=COUNTED + BODY_MAX).contains(&length) {
        return Err(Malformed::Length(announced));
    }
    let Some(counted) = rest.get(..length) else { return Ok(None) };
    let Some((id, [kind, flags, body @ ..])) = counted.split_first_chunk() else {
        return Err(Malformed::Length(announced));
    };
    if flags & !MORE != 0 {
        return Err(Malformed::Flags(*flags));
    }
    let frame = Frame { id: u64::from_le_bytes(*id), kind: Kind(*kind), more: flags & MORE != 0, body };
    Ok(Some((frame, 4 + length)))
}

/// Writes a frame's head, and gives where it begins. The body is to be appended, and [`end`] to be called.
pub(super) fn begin(out: &mut Vec<u8>, id: u64, kind: Kind, more: bool) -> usize {
    let at = out.len();
    let mut head = [0; HEAD];
    head[4..12].copy_from_slice(&id.to_le_bytes());
    head[12] = kind.0;
    head[13] = u8::from(more);
    out.extend_from_slice(&head);
    at
}

/// Writes the length of the frame that begins `at` and ends with `out`.
pub(super) fn end(out: &mut [u8], at: usize) {
    let length = out.len() - at - 4;
    debug_assert!((COUNTED..=COUNTED + BODY_MAX).contains(&length), "a frame of {length} bytes");
    let length = u32::try_from(length).unwrap_or(u32::MAX);
    out[at..at + 4].copy_from_slice(&length.to_le_bytes());
}

#[cfg(test)]
/// Writes a whole frame. Its body is at most [`BODY_MAX`] bytes long.
pub(super) fn encode(out: &mut Vec<u8>, frame: Frame<'_>) {
    let at = begin(out, frame.id, frame.kind, frame.more);
    out.extend_from_slice(frame.body);
    end(out, at);
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn frame(body: &[u8]) -> Frame<'_> {
        Frame { id: 0x0102_0304_0506_0708, kind: Kind::FOUND, more: false, body }
    }

    fn written(frame: Frame<'_>) -> Vec<u8> {
        let mut out = Vec::new();
        encode(&mut out, frame);
        out
    }

    #[test]
    fn a_frame_stands_on_the_wire_as_documented() {
        let bytes = written(Frame { more: true, ..frame(b"ab") });
        assert_eq!(bytes, [12, 0, 0, 0, 8, 7, 6, 5, 4, 3, 2, 1, 128, 1, b'a', b'b']);
    }

    #[test]
    fn a_frame_is_there_when_its_last_byte_is() {
        let bytes = written(frame(b"body"));
        for cut in 0..bytes.len() {
            assert_eq!(decode(&bytes[..cut]), Ok(None), "{cut} bytes");
        }
        let two = [&bytes[..], &bytes[..3]].concat();
        assert_eq!(decode(&two), Ok(Some((frame(b"body"), bytes.len()))));
    }

    #[test]
    fn a_length_that_no_frame_has_is_refused_before_anything_follows_it() {
        let longest = u32::try_from(COUNTED + BODY_MAX).unwrap();
        for length in [0, 9, longest + 1, u32::MAX] {
            assert_eq!(decode(&length.to_le_bytes()), Err(Malformed::Length(length)));
        }
        for length in [10, longest] {
            assert_eq!(decode(&length.to_le_bytes()), Ok(None));
        }
    }

    #[test]
    fn flags_that_are_not_known_are_refused() {
        let mut bytes = written(frame(b""));
        for flags in 2..=u8::MAX {
            bytes[13] = flags;
            assert_eq!(decode(&bytes), Err(Malformed::Flags(flags)));
        }
    }

    #[test]
    fn each_kind_has_a_class_whether_it_is_known_or_not() {
        let classes = [0, 63, 64, 127, 128, 255].map(|kind| Kind(kind).class());
        use Class::{Answer, Notice, Request};
        assert_eq!(classes, [Request, Request, Notice, Notice, Answer, Answer]);
    }

    proptest! {
        #[test]
        fn what_was_encoded_is_decoded(id: u64, kind: u8, more: bool, body in prop::collection::vec(any::<u8>(), 0..300)) {
            let frame = Frame { id, kind: Kind(kind), more, body: &body };
            let bytes = written(frame);
            prop_assert_eq!(decode(&bytes), Ok(Some((frame, bytes.len()))));
        }

        #[test]
        fn whatever_is_decoded_is_encoded_as_it_was(bytes in prop::collection::vec(any::<u8>(), 0..64), length in 8u32..60) {
            // Most of what is random is no length.
            for bytes in [bytes.clone(), [&length.to_le_bytes()[..], &bytes].concat()] {
                if let Ok(Some((frame, taken))) = decode(&bytes) {
                    prop_assert_eq!(written(frame), &bytes[..taken]);
                }
            }
        }
    }
}
