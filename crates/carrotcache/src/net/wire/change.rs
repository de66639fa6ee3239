//! What the native row's message of a change means: numbers for what is to be done, and if what.
//!
//! A number that is not known makes the whole message none: what it depends on must not be passed over.
//! Pure.

use bytes::Bytes;

use crate::message::{Change, ExpireIf, Life, SetIf};
use crate::net::wire::{ChangeKey, ChangeRequest, floor_ms, span};

const SET: u64 = 1;
const EXPIRE: u64 = 2;
const REMOVE: u64 = 3;

/// By their numbers.
const SET_IF: [SetIf; 3] = [SetIf::Always, SetIf::Absent, SetIf::Present];
const EXPIRE_IF: [ExpireIf; 6] = [
    ExpireIf::Always,
    ExpireIf::Endless,
    ExpireIf::Ending,
    ExpireIf::Later,
    ExpireIf::Sooner,
    ExpireIf::EndingSooner,
];

impl From<Change> for ChangeRequest {
    fn from(change: Change) -> Self {
        match change {
            Change::Set { value, life, only } => {
                Self { what: SET, only: number(&SET_IF, &only), value, ..life.into() }
            }
            Change::Expire { life, only } => {
                Self { what: EXPIRE, only: number(&EXPIRE_IF, &only), ..life.into() }
            }
            Change::Remove => Self { what: REMOVE, ..Self::default() },
        }
    }
}

impl From<Life> for ChangeRequest {
    fn from(life: Life) -> Self {
        match life {
            Life::OfGroup => Self::default(),
            Life::Kept => Self { keep_ttl: true, ..Self::default() },
            Life::Of(ttl) => Self { ttl_ms: Some(floor_ms(ttl)), ..Self::default() },
        }
    }
}

impl ChangeRequest {
    /// The same with this value.
    pub(in crate::net) fn with(self, value: Bytes) -> Self {
        Self { value, ..self }
    }

    /// The same without its value, and that.
    pub(in crate::net) fn without_value(self) -> (Self, Bytes) {
        let Self { value, .. } = self;
        (Self { value: Bytes::new(), ..self }, value)
    }

    /// The change; `None` where one of the numbers is not known.
    pub(in crate::net) fn into_change(self) -> Option<Change> {
        let life = match (self.keep_ttl, self.ttl_ms) {
            (true, _) => Life::Kept,
            (false, Some(ms)) => Life::Of(span(ms)),
            (false, None) => Life::OfGroup,
        };
        let only = usize::try_from(self.only).ok()?;
        Some(match self.what {
            SET => Change::Set { value: self.value, life, only: *SET_IF.get(only)? },
            EXPIRE => Change::Expire { life, only: *EXPIRE_IF.get(only)? },
            REMOVE => Change::Remove,
            _ => return None,
        })
    }
}

impl ChangeKey {
    /// The number of `value`.
    pub(in crate::net) const VALUE: u32 = 4;
}

fn number<T: PartialEq>(all: &[T], one: &T) -> u64 {
    // Each is in its list, as the test below says.
    all.iter().position(|other| other == one).unwrap_or_default() as u64
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use prost::Message;

    use super::*;

    #[test]
    fn every_change_reads_back_as_it_was() {
        let lives =
            [Life::OfGroup, Life::Kept, Life::Of(Duration::ZERO), Life::Of(Duration::from_millis(1500))];
        let value = Bytes::from_static(b"630");
        let mut changes = vec![Change::Remove];
        for life in lives {
            changes.extend([SetIf::Always, SetIf::Absent, SetIf::Present].map(|only| Change::Set {
                value: value.clone(),
                life,
                only,
            }));
            let all = [
                ExpireIf::Always,
                ExpireIf::Endless,
                ExpireIf::Ending,
                ExpireIf::Later,
                ExpireIf::Sooner,
                ExpireIf::EndingSooner,
            ];
            changes.extend(all.map(|only| Change::Expire { life, only }));
        }
        for change in changes {
            let body = ChangeRequest::from(change.clone()).encode_to_vec();
            assert_eq!(ChangeRequest::decode(&*body).unwrap().into_change(), Some(change));
        }
    }

    #[test]
    fn a_number_that_is_not_known_is_no_change() {
        for (what, only) in [(0, 0), (4, 0), (SET, 3), (EXPIRE, 6), (u64::MAX, 0), (SET, u64::MAX)] {
            let request = ChangeRequest { what, only, ..ChangeRequest::default() };
            assert_eq!(request.into_change(), None, "{what} {only}");
        }
    }
}
