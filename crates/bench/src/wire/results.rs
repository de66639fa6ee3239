//! What a run of the bench holds: each row's contestants, every round of each, and who was not there.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

/// One repetition of everything.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub(crate) struct Run {
    /// Of the programs that took part, by name, as they tell it.
    #[serde(default)]
    pub(crate) versions: BTreeMap<String, String>,
    pub(crate) cells: Vec<Cell>,
    /// What could not be measured.
    pub(crate) missing: Vec<Absent>,
}

/// One contestant in one row.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct Cell {
    pub(crate) row: String,
    pub(crate) subject: String,
    /// The command that ran the server, and the one that ran the client.
    pub(crate) server: String,
    pub(crate) client: String,
    /// One a round, in order: round by round all contestants of a row took turns. Never empty.
    pub(crate) samples: Vec<Sample>,
}

/// A contestant that was not there, or did not go through with it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Absent {
    pub(crate) row: String,
    pub(crate) subject: String,
    /// In one line; for a program, how to get it.
    pub(crate) why: String,
}

/// One round, and the command that ran its client.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Played {
    pub(crate) sample: Sample,
    pub(crate) client: String,
}

/// One round of one contestant.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
pub(crate) struct Sample {
    /// Gets that were answered with their value; of many keys at once, each key.
    pub(crate) asked: u64,
    pub(crate) seconds: f64,
    /// From the call, or from the time it was planned for.
    pub(crate) p50_us: f64,
    pub(crate) p99_us: f64,
    /// `None` where the client's tool does not tell it.
    pub(crate) p99_9_us: Option<f64>,
    /// CPU time of the client and of the server, a get, in microseconds.
    pub(crate) client_us: f64,
    pub(crate) server_us: f64,
    /// Cores that were busy with anything else meanwhile: from some tenths on, there are more gets a second than were found.
    pub(crate) other_cores: f64,
    /// System calls of both, a get; `None` where they were not counted.
    pub(crate) syscalls: Option<f64>,
}

impl Sample {
    /// Gets a second.
    pub(crate) fn rate(&self) -> f64 {
        self.asked as f64 / self.seconds
    }

    /// CPU time of both, a get, in microseconds.
    pub(crate) fn cpu_us(&self) -> f64 {
        self.client_us + self.server_us
    }
}

impl Run {
    /// Whether this row was to be measured.
    pub(crate) fn asked_for(&self, row: &str) -> bool {
        self.cells.iter().any(|cell| cell.row == row) || self.missing.iter().any(|absent| absent.row == row)
    }

    /// What a contestant did in a row.
    pub(crate) fn cell(&self, row: &str, subject: &str) -> Option<&Cell> {
        self.cells.iter().find(|cell| cell.row == row && cell.subject == subject)
    }
}
