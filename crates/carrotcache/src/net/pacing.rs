//! Who writes what waits on a connection to a peer: whoever asks, or the connection's task; and when.
//!
//! The task writes for all who ask at a time. A caller who is alone, as the one before him was, writes for himself: where
//! many ask at a time the first of them is alone for a moment, and to write for him would cost a write for one in place of
//! one for all. And where the peer has nothing to do, whoever asks as the last of a first half writes that: the peer works
//! on it while others ask, lest both sides work in turns.
//! Pure.

/// The fewest requests for which there is a write before others are made.
const EARLY_MIN: usize = 8;

/// What is known of the writing on one connection.
pub(super) struct Pacing {
    /// The task writes, or has been told to. If not, there is nothing to write.
    is_told: bool,
    /// The task has taken what waited, and has not written all of it.
    is_in_hand: bool,
    /// Requests that were put in since somebody last took what waits.
    unsent: usize,
    /// How many a first half is: of what was asked at a time of late. Fewer cost a write for few, more keep the peer waiting.
    early: usize,
    /// The last request was the only one when it was put in.
    was_alone: bool,
}

impl Default for Pacing {
    fn default() -> Self {
        Self { is_told: false, is_in_hand: false, unsent: 0, early: EARLY_MIN, was_alone: true }
    }
}

impl Pacing {
    /// A request was put in, and with it so many are not answered. Whether its caller is to write what waits.
    pub(super) fn put(&mut self, unanswered: usize) -> bool {
        self.unsent += 1;
        let is_early = self.unsent == self.early && unanswered == self.early;
        let is_only = unanswered == 1;
        let was_alone = std::mem::replace(&mut self.was_alone, is_only);
        is_only && was_alone && !self.is_told || is_early && !self.is_in_hand
    }

    /// A caller has written.
    pub(super) fn written(&mut self) {
        self.unsent = 0;
    }

    /// Something waits: whether the task is to be told.
    pub(super) fn tell(&mut self) -> bool {
        !std::mem::replace(&mut self.is_told, true)
    }

    /// The task takes what waits, if anything does; so many are not answered.
    pub(super) fn take(&mut self, does_wait: bool, unanswered: usize) {
        (self.is_told, self.is_in_hand) = (does_wait, does_wait);
        if does_wait {
            self.unsent = 0;
            self.early = (unanswered / 2).max(EARLY_MIN);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_caller_writes_who_is_alone_as_the_one_before_was_and_leaves_it_to_the_task_where_others_ask() {
        let mut pacing = Pacing::default();
        assert!(pacing.put(1), "nobody was there before");
        pacing.written();
        assert!(pacing.put(1));
        pacing.written();
        assert!(!pacing.put(2));
        assert!(pacing.tell() && !pacing.tell(), "the task is told once");
        pacing.take(true, 2);
        pacing.take(false, 2);
        // The first of many, most likely.
        assert!(!pacing.put(1));
        assert!(pacing.put(1), "and the next is alone after one who was");
    }

    #[test]
    fn nobody_writes_beside_the_task_who_is_alone() {
        let mut pacing = Pacing::default();
        pacing.tell();
        assert!(!pacing.put(1));
    }

    #[test]
    fn whoever_is_the_last_of_a_first_half_writes_it_unless_the_task_has_some_in_hand() {
        let mut pacing = Pacing::default();
        let callers = |pacing: &mut Pacing, all: usize| -> Vec<usize> {
            (2..=all).filter(|unanswered| pacing.put(*unanswered)).collect()
        };
        // As if one had been put in by whoever is alone, and not written.
        assert!(pacing.put(1));
        assert_eq!(callers(&mut pacing, 40), [EARLY_MIN]);
        pacing.take(true, 40);
        pacing.take(false, 0);
        pacing.put(1);
        assert_eq!(callers(&mut pacing, 40), [20], "half of what was asked at a time");
        pacing.take(true, 40);
        pacing.put(1);
        assert_eq!(callers(&mut pacing, 40), [0; 0], "it has not written all it took");
    }
}
