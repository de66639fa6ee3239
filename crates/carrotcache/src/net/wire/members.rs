//! What the native row's list of members means.
//!
//! Pure.

use std::sync::Arc;

use bytes::Bytes;
use prost::Message;

use crate::net::wire::{Members, in_place};
use crate::placement::MEMBERS_MAX;

impl Members {
    /// The names that the message says, or why it is none. They are counted first: where they are short the list of them is
    /// many times as large as the body.
    pub(in crate::net) fn read(body: Bytes) -> Result<Vec<Arc<str>>, Arc<str>> {
        if in_place::fields(&body) > MEMBERS_MAX {
            return Err(Arc::from("more members than can be placed"));
        }
        let members = Self::decode(body).map_err(|error| format!("malformed message: {error}"))?;
        Ok(members.names.into_iter().map(Arc::from).collect())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn more_members_than_can_be_placed_are_no_message() {
        let body = |count: usize| Bytes::from([0x0a, 0].repeat(count));
        assert_eq!(Members::read(body(MEMBERS_MAX)).unwrap().len(), MEMBERS_MAX);
        assert_eq!(&*Members::read(body(MEMBERS_MAX + 1)).unwrap_err(), "more members than can be placed");
        assert!(
            Members::read(Bytes::from_static(b"\x0a\x05")).unwrap_err().starts_with("malformed message: ")
        );
    }

    #[test]
    fn members_behind_a_field_that_is_skipped_are_counted_too() {
        // Four bytes, and a group, under tags that are not known.
        for unknown in [&b"\x3d\0\0\0\0"[..], b"\x3b\x3c"] {
            let body = |count: usize| Bytes::from([unknown, &[0x0a, 0].repeat(count)].concat());
            assert_eq!(Members::read(body(1)).unwrap(), [Arc::from("")]);
            assert!(Members::read(body(MEMBERS_MAX + 1)).is_err());
        }
    }
}
