//! The two fronts of a node, by the names under which errors speak of them.

use std::fmt;

/// Which of a node's listeners is asked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Front {
    /// For values.
    Data,
    /// For operators.
    Admin,
}

impl fmt::Display for Front {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Data => "data front",
            Self::Admin => "admin front",
        })
    }
}
