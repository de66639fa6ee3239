//! Why a command did not do what it was asked, and the exit code that says so.
//!
//! 1: the key has no value. 2: wrong usage. 3: the node refused or failed, or what was read or written here did.
//! 4: no answer of a carrot node.

use std::fmt;
use std::io;
use std::time::Duration;

use carrotcache::{ByteSize, Key, Span, with_causes};

use crate::ask::front::Front;
use crate::ask::url::NodeUrl;

/// Why one question has no answer, or the answer is not the one that was hoped for.
#[derive(Debug, thiserror::Error)]
pub enum AskError {
    /// The key has no value. Nothing is wrong.
    #[error("{0}")]
    NotFound(String),
    /// The node understood and did not do it; the message is its own.
    #[error("{message}")]
    Refused {
        /// The word that programs tell refusals apart by.
        word: String,
        /// One line for a person.
        message: String,
    },
    /// The key is longer than any node takes.
    #[error("key {0} is longer than any node takes")]
    LongKey(Key),
    /// The node wants a password, and none was sent.
    #[error("{0} wants a password: set CARROT_PASSWORD")]
    NoPassword(NodeUrl),
    /// The node wants another password than the one that was sent.
    #[error("{0} does not take the password in CARROT_PASSWORD")]
    WrongPassword(NodeUrl),
    /// The password cannot be sent. Nothing was asked.
    #[error("CARROT_PASSWORD has to be UTF-8 without control characters")]
    BadPassword,
    /// Standard input cannot be read. Nothing was asked.
    #[error("standard input")]
    Input(#[source] io::Error),
    /// Standard input is longer than any value. Nothing was asked.
    #[error("standard input is over {0}, the largest value that is sent")]
    LongInput(ByteSize),
    /// The answer is there and cannot be written.
    #[error("standard output")]
    Output(#[source] io::Error),
    /// The answer is longer than this program takes in.
    #[error("the answer of {node} is over {limit}, the longest that is taken")]
    LongAnswer {
        /// Who answered.
        node: NodeUrl,
        /// What would have been taken.
        limit: ByteSize,
    },
    /// The system gives this process no way to wait for anything.
    #[error("cannot start")]
    Runtime(#[source] io::Error),
    /// Nobody answers at that address.
    #[error("cannot connect to {node}")]
    Connect {
        /// Who was to be asked.
        node: NodeUrl,
        /// What the system said.
        source: io::Error,
    },
    /// The time is over. Whether a write was done is not known.
    #[error("no answer of {node} within {}", Span(*.waited))]
    Late {
        /// Who was asked.
        node: NodeUrl,
        /// How long.
        waited: Duration,
    },
    /// The connection broke. Whether a write was done is not known.
    #[error("{node} broke off before its answer was whole")]
    Broken {
        /// Who was asked.
        node: NodeUrl,
        /// How it broke.
        source: hyper::Error,
    },
    /// Somebody answers there, and it is not what was looked for.
    #[error("{node} does not answer as the {front} of a carrot node: {why}")]
    Stranger {
        /// Who was asked.
        node: NodeUrl,
        /// What was looked for.
        front: Front,
        /// What gave it away.
        why: String,
    },
}

impl AskError {
    /// What the process ends with.
    pub fn exit_code(&self) -> u8 {
        match self {
            Self::NotFound(_) => 1,
            Self::BadPassword => 2,
            Self::Refused { .. }
            | Self::LongKey(_)
            | Self::NoPassword(_)
            | Self::WrongPassword(_)
            | Self::Input(_)
            | Self::LongInput(_)
            | Self::Output(_)
            | Self::LongAnswer { .. }
            | Self::Runtime(_) => 3,
            Self::Connect { .. } | Self::Late { .. } | Self::Broken { .. } | Self::Stranger { .. } => 4,
        }
    }
}

/// What a command leaves behind that could not be done: its lines for standard error, and its exit code.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Failed {
    lines: Vec<String>,
    code: u8,
}

impl Failed {
    /// One line for each key that failed, and the worst of the codes; `None` where nothing failed.
    pub fn of_keys(failures: &[(Key, AskError)]) -> Option<Self> {
        let code = failures.iter().map(|(_, error)| error.exit_code()).max()?;
        let lines = failures.iter().map(|(key, error)| format!("{key}: {}", with_causes(error))).collect();
        Some(Self { lines, code })
    }

    /// One for each thing that failed, each to be shown in one line.
    pub fn lines(&self) -> &[String] {
        &self.lines
    }

    /// What the process ends with.
    pub fn code(&self) -> u8 {
        self.code
    }
}

impl From<AskError> for Failed {
    fn from(error: AskError) -> Self {
        Self { lines: vec![with_causes(&error)], code: error.exit_code() }
    }
}

impl fmt::Display for Failed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.lines.join("; "))
    }
}

impl std::error::Error for Failed {}

#[cfg(test)]
mod tests {
    use super::*;

    fn refused() -> AskError {
        AskError::Refused { word: "busy".into(), message: "busy: max_loads of 2 is reached".into() }
    }

    fn unreachable() -> AskError {
        let node = "http://127.0.0.1:9999".parse().unwrap();
        AskError::Connect { node, source: io::Error::other("refused") }
    }

    #[test]
    fn a_failure_names_its_causes_in_one_line() {
        let failed = Failed::from(unreachable());
        assert_eq!(failed.lines(), ["cannot connect to http://127.0.0.1:9999: refused"]);
        assert_eq!(failed.code(), 4);
    }

    #[test]
    fn of_several_keys_each_failure_is_a_line_and_the_worst_code_stands() {
        assert_eq!(Failed::of_keys(&[]), None);
        let (tom, tim) = (Key::from("Tom"), Key::new(b"T\n"));
        let failed = Failed::of_keys(&[(tom, unreachable()), (tim, refused())]).unwrap();
        assert_eq!(failed.code(), 4);
        assert_eq!(
            failed.lines(),
            [
                "Tom: cannot connect to http://127.0.0.1:9999: refused",
                "T\\n: busy: max_loads of 2 is reached"
            ]
        );
    }
}
