//! Which entries leave for room, as a setting: a name for what the engine does.
//!
//! Pure. The default is what wins on recorded traces, and may become another where another wins; whoever wants the seed's
//! choice holds on to it by its name.

use std::fmt;
use std::str::FromStr;

/// Which entries a group evicts when it needs room.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Policy {
    /// Whatever wins on recorded traces: S3-FIFO that adapts, for now. A hit takes no lock.
    #[default]
    Default,
    /// Those that were not read for the longest time, as the seed does. A hit takes a short lock.
    Lru,
}

/// A text that names no policy.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0:?} is not a policy: default or lru")]
pub struct BadPolicy(String);

impl FromStr for Policy {
    type Err = BadPolicy;
    fn from_str(text: &str) -> Result<Self, BadPolicy> {
        match text {
            "default" => Ok(Self::Default),
            "lru" => Ok(Self::Lru),
            _ => Err(BadPolicy(text.chars().take(40).collect())),
        }
    }
}

impl fmt::Display for Policy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Default => "default",
            Self::Lru => "lru",
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn policies_read_back_and_no_other_text_is_one() {
        for policy in [Policy::Default, Policy::Lru] {
            assert_eq!(policy.to_string().parse(), Ok(policy));
        }
        let refused = "LRU".parse::<Policy>().unwrap_err().to_string();
        assert_eq!(refused, "\"LRU\" is not a policy: default or lru");
    }
}
