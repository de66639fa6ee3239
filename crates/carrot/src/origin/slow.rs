//! An origin made slower, so that a demonstration can show what a cache is for.
//!
//! Wraps any origin and is shared by the nodes that load from it. Not for production: without a delay, as it is unless
//! a demonstration asks for one, it adds nothing.

use std::sync::Arc;
use std::time::Duration;

use carrotcache::{Charge, Key, Loaded};

use crate::origin::Origin;
use crate::origin::error::OriginError;

/// An origin whose every answer is late by `delay`.
#[derive(Clone, Debug)]
pub struct Slow {
    origin: Arc<Origin>,
    delay: Duration,
}

impl Slow {
    /// Answers as `origin` does, later by `delay`.
    pub fn new(origin: Arc<Origin>, delay: Duration) -> Self {
        Self { origin, delay }
    }

    /// Waits, then asks the origin. Dropping the future while it waits asks nothing.
    ///
    /// # Errors
    /// Those of the origin.
    pub async fn load_charged(&self, key: Key, charge: &Charge) -> Result<Option<Loaded>, OriginError> {
        if !self.delay.is_zero() {
            tokio::time::sleep(self.delay).await;
        }
        self.origin.load_charged(key, charge).await
    }

    /// The same, charged to nobody.
    #[cfg(test)]
    pub async fn load(&self, key: Key) -> Result<Option<Loaded>, OriginError> {
        self.load_charged(key, &Charge::default()).await
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::origin::table::{self, Table};

    #[tokio::test(start_paused = true)]
    async fn the_answer_is_the_origins_and_comes_later_by_the_delay() {
        let origin = Arc::new(Origin::Table(Table::new(table::parse("Tom=630").unwrap())));
        let slow = Slow::new(Arc::clone(&origin), Duration::from_millis(20));
        let start = tokio::time::Instant::now();
        assert_eq!(slow.load(Key::from("Tom")).await.unwrap(), Some("630".into()));
        // Virtual time: the clock is paused, and only the delay moves it.
        assert_eq!(start.elapsed(), Duration::from_millis(20));
        assert_eq!(origin.loads(), 1);
    }
}
