//! The bytes of a value, as callers and peers hold them, and what the library keeps beside each.
//!
//! A value is either a counted handle on the engine's own block, which is what a hit gives, without a copy or an
//! allocation; or bytes that came from a loader or a peer and were not kept.

use std::fmt;
use std::ops::Deref;

use bytes::Bytes;
use carrot_engine::Hit;

/// What the library keeps beside each entry.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Meta {
    /// When the value was read at the origin, in milliseconds of this node's clock; below zero for what is older
    /// than the clock.
    pub(crate) loaded_ms: i64,
    /// A copy of another owner's entry, not one of ours.
    pub(crate) mirror: bool,
}

/// The bytes of one value. Cheap to clone, valid for as long as it is held, also after the entry is evicted.
#[derive(Clone)]
pub struct Value(Held);

#[derive(Clone)]
enum Held {
    Entry(Hit<Meta>),
    Bytes(Bytes),
}

impl Deref for Value {
    type Target = [u8];
    fn deref(&self) -> &[u8] {
        match &self.0 {
            Held::Entry(hit) => hit,
            Held::Bytes(bytes) => bytes,
        }
    }
}

impl AsRef<[u8]> for Value {
    fn as_ref(&self) -> &[u8] {
        self
    }
}

impl From<Hit<Meta>> for Value {
    fn from(hit: Hit<Meta>) -> Self {
        Self(Held::Entry(hit))
    }
}

impl From<Bytes> for Value {
    fn from(bytes: Bytes) -> Self {
        Self(Held::Bytes(bytes))
    }
}

/// Costs one small allocation where the value is an entry of the cache, and never a copy.
impl From<Value> for Bytes {
    fn from(value: Value) -> Self {
        match value.0 {
            Held::Entry(hit) => Self::from_owner(hit),
            Held::Bytes(bytes) => bytes,
        }
    }
}

impl PartialEq for Value {
    fn eq(&self, other: &Self) -> bool {
        **self == **other
    }
}

impl Eq for Value {}

impl PartialEq<[u8]> for Value {
    fn eq(&self, other: &[u8]) -> bool {
        **self == *other
    }
}

impl<const N: usize> PartialEq<&[u8; N]> for Value {
    fn eq(&self, other: &&[u8; N]) -> bool {
        **self == other[..]
    }
}

impl PartialEq<&str> for Value {
    fn eq(&self, other: &&str) -> bool {
        **self == *other.as_bytes()
    }
}

impl fmt::Debug for Value {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Value({} bytes)", self.len())
    }
}
