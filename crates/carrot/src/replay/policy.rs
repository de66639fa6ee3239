//! Which policies can be replayed, and what the engine calls them.

use std::fmt;
use std::str::FromStr;

/// Which entry leaves when room is needed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Policy {
    /// What a group has unless it says otherwise.
    Default,
    /// The one used longest ago.
    Lru,
}

impl Policy {
    /// The engine's own.
    pub fn of_engine(self) -> carrot_engine::Policy {
        match self {
            Self::Default => carrot_engine::Policy::Default,
            Self::Lru => carrot_engine::Policy::Lru,
        }
    }

    /// As it is written.
    pub fn name(self) -> &'static str {
        match self {
            Self::Default => "default",
            Self::Lru => "lru",
        }
    }
}

impl fmt::Display for Policy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// A text that names no policy.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0:?} is not a policy: default or lru")]
pub struct BadPolicy(String);

impl FromStr for Policy {
    type Err = BadPolicy;
    fn from_str(text: &str) -> Result<Self, BadPolicy> {
        let known = [Self::Default, Self::Lru].into_iter().find(|policy| policy.name() == text);
        known.ok_or_else(|| BadPolicy(text.chars().take(40).collect()))
    }
}
