//! What is read of an answer, in any of the protocols, and how long it may be.

/// The longest value that is taken in: 1 GiB.
pub const VALUE_MAX: usize = 1 << 30;
/// The longest line, or head, of an answer.
pub(super) const HEAD_MAX: usize = 64 << 10;

/// What one request came to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Answer {
    /// A value of so many bytes.
    Value(usize),
    /// There is no such key.
    Missing,
    /// It was refused: the first word of why.
    Refused(String),
}

/// Bytes that are no answer in this protocol; the connection is of no more use.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct Garbled(pub &'static str);

/// What stands at the front of a buffer: how many bytes, and what they say; `None`: not whole yet.
pub type Read = Result<Option<(usize, Answer)>, Garbled>;
