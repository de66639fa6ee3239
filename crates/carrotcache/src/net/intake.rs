//! How many bytes of bodies a port holds at once, over all of its connections.
//!
//! A value is held whole until it is where it belongs, and thousands of connections may bring one each: their sum is
//! bounded here, and who would exceed it is told to come again. Counted as bytes come and not as they are announced, so
//! that whoever announces much and sends nothing keeps nobody out. Owned by the port; never waits, and holds no byte
//! itself.

use std::sync::atomic::{AtomicU64, Ordering};

/// The bytes that are held, and how many may be.
///
/// For any port that takes bodies beside the cache's own; each has its own.
#[derive(Debug)]
pub struct Intake {
    held: AtomicU64,
    most: u64,
}

/// What one request holds of it, until it is dropped.
#[derive(Debug)]
pub struct Share<'a> {
    intake: &'a Intake,
    bytes: u64,
}

/// There is no room for more.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("bodies of {most} bytes together are being received")]
#[non_exhaustive]
pub struct Full {
    /// What may be held, in bytes.
    pub most: u64,
}

impl Intake {
    /// Room for so many bytes.
    pub fn new(most: u64) -> Self {
        Self { held: AtomicU64::new(0), most }
    }

    /// A share that holds nothing yet.
    pub fn share(&self) -> Share<'_> {
        Share { intake: self, bytes: 0 }
    }
}

impl Share<'_> {
    /// Holds so many bytes more. Costs one atomic operation.
    ///
    /// # Errors
    /// When all shares together would then hold too many; this one holds what it held.
    pub fn grow(&mut self, bytes: u64) -> Result<(), Full> {
        let most = self.intake.most;
        let more = |held: u64| held.checked_add(bytes).filter(|held| *held <= most);
        let grown = self.intake.held.fetch_update(Ordering::Relaxed, Ordering::Relaxed, more);
        grown.map_err(|_| Full { most })?;
        self.bytes += bytes;
        Ok(())
    }

    /// Holds nothing any more.
    pub fn release(&mut self) {
        self.intake.held.fetch_sub(std::mem::take(&mut self.bytes), Ordering::Relaxed);
    }
}

impl Drop for Share<'_> {
    fn drop(&mut self) {
        self.release();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shares_together_hold_no_more_than_there_is_and_give_it_back() {
        let intake = Intake::new(10);
        let (mut first, mut second) = (intake.share(), intake.share());
        first.grow(6).unwrap();
        second.grow(4).unwrap();
        assert_eq!(first.grow(1), Err(Full { most: 10 }));
        assert_eq!(first.grow(u64::MAX), Err(Full { most: 10 }));
        drop(second);
        first.grow(4).unwrap();
        assert_eq!(intake.share().grow(1), Err(Full { most: 10 }));
        drop(first);
        let mut third = intake.share();
        third.grow(10).unwrap();
        third.release();
        intake.share().grow(10).unwrap();
    }
}
