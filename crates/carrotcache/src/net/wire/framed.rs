//! The protobuf messages that stand in frames alone; in docs/peer.proto with the others.
//!
//! A value is a message's last field, so that whoever sends one can go on with its bytes where the message ends.

use bytes::Bytes;
use prost::encoding::{WireType, encode_key, encode_varint, encoded_len_varint};

/// The values of keys of one group.
#[derive(Clone, PartialEq, prost::Message)]
pub(in crate::net) struct GetKeys {
    #[prost(string, tag = "1")]
    pub(in crate::net) group: String,
    #[prost(uint64, optional, tag = "2")]
    pub(in crate::net) deadline_ms: Option<u64>,
    #[prost(bool, tag = "3")]
    pub(in crate::net) stand_in: bool,
    #[prost(bool, tag = "4")]
    pub(in crate::net) cached_only: bool,
    #[prost(bytes = "bytes", repeated, tag = "5")]
    pub(in crate::net) keys: Vec<Bytes>,
}

impl GetKeys {
    /// The number of `keys`.
    pub(in crate::net) const KEYS: u32 = 5;

    /// Adds a key behind the message, without a copy of its own.
    pub(in crate::net) fn put_key(key: &[u8], out: &mut Vec<u8>) {
        encode_key(Self::KEYS, WireType::LengthDelimited, out);
        encode_varint(key.len() as u64, out);
        out.extend_from_slice(key);
    }

    /// How much that adds to it.
    pub(in crate::net) fn key_len(key: &[u8]) -> usize {
        1 + encoded_len_varint(key.len() as u64) + key.len()
    }
}

/// A value to keep.
#[derive(Clone, PartialEq, prost::Message)]
pub(in crate::net) struct SetKey {
    #[prost(string, tag = "1")]
    pub(in crate::net) group: String,
    #[prost(bytes = "bytes", tag = "2")]
    pub(in crate::net) key: Bytes,
    #[prost(uint64, optional, tag = "3")]
    pub(in crate::net) ttl_ms: Option<u64>,
    #[prost(bytes = "bytes", tag = "4")]
    pub(in crate::net) value: Bytes,
}

impl SetKey {
    /// The number of `value`.
    pub(in crate::net) const VALUE: u32 = 4;
}

/// A key, of which something is asked.
#[derive(Clone, PartialEq, prost::Message)]
pub(in crate::net) struct OneKey {
    #[prost(string, tag = "1")]
    pub(in crate::net) group: String,
    #[prost(bytes = "bytes", tag = "2")]
    pub(in crate::net) key: Bytes,
}

/// Why something was refused; or a node's id.
#[derive(Clone, PartialEq, prost::Message)]
pub(in crate::net) struct Words {
    #[prost(string, tag = "1")]
    pub(in crate::net) text: String,
}
