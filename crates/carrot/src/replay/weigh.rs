//! How the entries of a replay are weighed. No bytes of values are copied: they only weigh what they would.

use std::str::FromStr;

use carrot_engine::Weight;
use carrot_trace::{Request, Trace};

use crate::amount::{bytes, count};

/// How an entry is weighed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Weigh {
    /// Each as one.
    Entries,
    /// By the size that the trace tells.
    Payload,
    /// By what it takes in memory, as a node charges it.
    Real,
}

impl Weigh {
    /// What the entry of this request weighs; never nothing.
    pub fn weight(self, trace: &Trace, request: Request) -> Weight {
        match self {
            Self::Entries => Weight::Entry,
            Self::Payload => Weight::Units(u64::from(request.size)),
            Self::Real => {
                let units = Weight::Real.units::<()>(trace.key_len(request.key), request.size as usize);
                Weight::Units(units)
            }
        }
    }

    /// What all keys of the trace weigh together: with so much, each is loaded once.
    pub fn of_all(self, trace: &Trace) -> u64 {
        match self {
            Self::Entries => trace.unique,
            Self::Payload => trace.unique_bytes,
            Self::Real => {
                let mut next = 0;
                // Ids are dense in order of first use, so each is met first as the next one.
                let first = trace.requests.iter().filter(|request| {
                    let new = request.key == next;
                    next += u32::from(new);
                    new
                });
                let units = |request: &Request| self.weight(trace, *request).units::<()>(0, 0);
                first.map(units).fold(0, u64::saturating_add)
            }
        }
    }

    /// An amount for eyes.
    pub fn amount(self, units: u64) -> String {
        match self {
            Self::Entries => count(units),
            Self::Payload | Self::Real => bytes(units),
        }
    }

    /// As it is written.
    pub fn name(self) -> &'static str {
        match self {
            Self::Entries => "entries",
            Self::Payload => "payload",
            Self::Real => "real",
        }
    }

    /// What a capacity is measured in, for whoever looks at a plot.
    pub fn measure(self) -> &'static str {
        match self {
            Self::Entries => "entries",
            Self::Payload => "bytes of values",
            Self::Real => "memory for entries",
        }
    }
}

/// A text that names no way to weigh.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0:?} is no way to weigh: entries, payload or real")]
pub struct BadWeigh(String);

impl FromStr for Weigh {
    type Err = BadWeigh;
    fn from_str(text: &str) -> Result<Self, BadWeigh> {
        let known = [Self::Entries, Self::Payload, Self::Real].into_iter().find(|way| way.name() == text);
        known.ok_or_else(|| BadWeigh(text.chars().take(40).collect()))
    }
}
