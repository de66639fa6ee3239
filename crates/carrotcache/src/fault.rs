//! Faults that tests switch on, each breaking one rule of the flight contract.
//!
//! A rule is worth what its test can see: a test that still passes when the rule is broken checks nothing. So the
//! product's own code asks `faults.has(…)` at the place where each rule is kept. In the product `Faults` has no
//! bytes and `has` is the constant false, so the compiler drops the branch; only a test can choose a fault. The
//! two builds are told apart in this file and nowhere else. Passed in as a value, never global: tests run side by
//! side.

/// One way to break the flight contract.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Fault {
    /// A takeoff that is dropped lands nothing: a load that panics keeps its key and its waiters for ever.
    GuardNotDropped,
    /// The errand does not look into memory again: it loads what a flight has stored since the caller looked.
    NoSecondLookup,
    /// The errand runs inside the leader's own future: a leader that leaves takes the load with it.
    LeaderRunsInCaller,
    /// A failure is not shared: each waiter that is told of it starts a load of its own.
    ErrorPerWaiter,
    /// Neither waiters nor loads are limited.
    NoCap,
}

/// The fault that is on, if any.
#[cfg(not(test))]
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Faults;

#[cfg(not(test))]
impl Faults {
    /// No fault: the only choice outside tests.
    pub(crate) const fn none() -> Self {
        Self
    }

    /// Whether this fault is on.
    #[inline(always)]
    pub(crate) const fn has(self, _fault: Fault) -> bool {
        false
    }
}

/// The fault that is on, if any.
#[cfg(test)]
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Faults(Option<Fault>);

#[cfg(test)]
impl Faults {
    /// No fault: the only choice outside tests.
    pub(crate) const fn none() -> Self {
        Self(None)
    }

    /// This fault and no other.
    pub(crate) const fn with(fault: Fault) -> Self {
        Self(Some(fault))
    }

    /// Whether this fault is on.
    pub(crate) fn has(self, fault: Fault) -> bool {
        self.0 == Some(fault)
    }
}
