//! What came of the requests of one who asks, or of all together.

use std::collections::BTreeMap;
use std::time::Duration;

use crate::histogram::Histogram;

/// Kinds of refusals that are told apart; those past it are counted together.
const KINDS: usize = 32;
/// Under which name.
const OTHERS: &str = "others";

/// Counts of what was answered within the window, or planned in it.
#[derive(Clone, Debug, Default)]
pub struct Tally {
    /// How long answers took, those without a value too; what was never answered is not in here.
    pub latency: Histogram,
    /// Answers with a value.
    pub values: u64,
    /// The values' bytes.
    pub value_bytes: u64,
    /// Answers that there is no such key.
    pub missing: u64,
    /// What went wrong, by kind: an answer that says so, or none.
    pub errors: BTreeMap<String, u64>,
}

impl Tally {
    /// Counts what went wrong under its name.
    pub fn error(&mut self, kind: &str) {
        self.errors_of(kind, 1);
    }

    /// Counts so many at once.
    pub fn errors_of(&mut self, kind: &str, count: u64) {
        if count == 0 {
            return;
        }
        let kind = if self.errors.len() < KINDS || self.errors.contains_key(kind) { kind } else { OTHERS };
        // No allocation for what is known.
        match self.errors.get_mut(kind) {
            Some(counted) => *counted += count,
            None => drop(self.errors.insert(kind.to_owned(), count)),
        }
    }

    /// A value of so many bytes, after so long.
    pub fn value(&mut self, bytes: usize, took: Duration) {
        self.values_of(1, bytes as u64, took);
    }

    /// So many values of so many bytes together, each after so long.
    pub fn values_of(&mut self, values: u64, bytes: u64, took: Duration) {
        self.values += values;
        self.value_bytes += bytes;
        self.latency.record_some(took, values);
    }

    /// Adds what another counted.
    pub fn add(&mut self, other: &Self) {
        self.latency.add(&other.latency);
        self.values += other.values;
        self.value_bytes += other.value_bytes;
        self.missing += other.missing;
        for (kind, count) in &other.errors {
            self.errors_of(kind, *count);
        }
    }

    /// All that went wrong.
    pub fn failed(&self) -> u64 {
        self.errors.values().sum()
    }

    /// All that came to an end, good or bad.
    pub fn asked(&self) -> u64 {
        self.values + self.missing + self.failed()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn errors_are_counted_by_kind_and_kinds_are_bounded() {
        let mut tally = Tally::default();
        tally.error("busy");
        for kind in 0..100 {
            tally.error(&kind.to_string());
        }
        let mut all = tally.clone();
        all.add(&tally);
        assert_eq!((all.errors["busy"], all.failed()), (2, 202));
        assert_eq!(all.errors.len(), KINDS + 1);
        assert_eq!(all.errors[OTHERS], 2 * (101 - KINDS as u64));
    }
}
