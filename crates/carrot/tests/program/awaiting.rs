//! Waiting for something to become true, with an end to the waiting.

use std::time::{Duration, Instant};

/// Far longer than anything here takes, on a machine however busy: past it the thing will not happen any more.
pub(crate) const LONG: Duration = Duration::from_secs(60);

/// What `look` gives, as soon as it gives something.
pub(crate) fn eventually<T>(what: &str, mut look: impl FnMut() -> Option<T>) -> T {
    let end = Instant::now() + LONG;
    loop {
        if let Some(found) = look() {
            return found;
        }
        assert!(Instant::now() < end, "not within {LONG:?}: {what}");
        std::thread::sleep(Duration::from_millis(2));
    }
}

/// Comes back as soon as `is_so`.
pub(crate) fn until(what: &str, mut is_so: impl FnMut() -> bool) {
    eventually(what, || is_so().then_some(()));
}
