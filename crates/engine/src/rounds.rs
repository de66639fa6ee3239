//! How often a test goes round: fewer times where each step costs tens of times as much, as under valgrind.

/// `rounds`, or a twentieth of it where `CARROT_FEWER_ROUNDS` is set.
pub(crate) fn rounds(rounds: usize) -> usize {
    if std::env::var_os("CARROT_FEWER_ROUNDS").is_some() { rounds.div_ceil(20) } else { rounds }
}
