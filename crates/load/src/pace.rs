//! The clock of a planned rate: a task that says when each request is due, to one of several that ask in turn.
//!
//! It rings by `ticks.rs`: a runtime's timers are a millisecond apart, at which 10,000 requests a second would come in heaps
//! of ten; and a thread of its own would have to wake the one that asks, which takes longer than many an answer. What it
//! cannot hand over, since those who ask are too far behind, it counts: nothing is left out of the picture in silence.

use std::io;
use std::time::{Duration, Instant};

use tokio::sync::mpsc::error::TrySendError;
use tokio::sync::mpsc::{self, Receiver, Sender};
use tokio::task::JoinHandle;

use crate::ticks::Ticks;

/// How many due requests one who asks may be behind; those past it are counted as not sent.
const BEHIND: usize = 1 << 14;

/// It rings no more often than so: of what is due more often, some fall together.
const CLOSEST: Duration = Duration::from_micros(20);

/// And no less often, so that it ends soon after nobody listens.
const FARTHEST: Duration = Duration::from_millis(10);

/// A request that is due.
#[derive(Clone, Copy, Debug)]
pub struct Due {
    /// When it was planned to be sent: its latency counts from here.
    pub at: Instant,
    /// Whether it falls into the stretch that is measured.
    pub counts: bool,
}

/// How many requests, and for how long.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Plan {
    /// Requests a second, of all together; above 0.
    pub rate: f64,
    /// These are sent too, and not counted.
    pub warm: Duration,
    /// How long requests are planned that count.
    pub lasts: Duration,
}

/// The running clock. Dropped, it runs on until its time is over or nobody listens.
#[derive(Debug)]
pub struct Pacer {
    task: JoinHandle<u64>,
}

impl Plan {
    /// When request number `number` is due, from the start.
    fn due(&self, number: u64) -> Duration {
        Duration::from_secs_f64(number as f64 / self.rate)
    }

    /// Starts the clock for so many listeners, at least one, on this runtime. Each request is one listener's; the channels
    /// close when all are planned.
    ///
    /// # Errors
    /// When the system gives no timer.
    ///
    /// # Panics
    /// Outside a tokio runtime.
    pub fn start(self, listeners: usize) -> io::Result<(Pacer, Vec<Receiver<Due>>)> {
        let (senders, receivers): (Vec<_>, _) = (0..listeners).map(|_| mpsc::channel(BEHIND)).unzip();
        let ticks = Ticks::every(self.due(1).clamp(CLOSEST, FARTHEST))?;
        Ok((Pacer { task: tokio::spawn(self.run(senders, ticks)) }, receivers))
    }

    /// Gives how many that count were not handed over.
    async fn run(self, senders: Vec<Sender<Due>>, mut ticks: Ticks) -> u64 {
        let start = Instant::now();
        let mut left_out = 0;
        for number in 0.. {
            let due = self.due(number);
            if due >= self.warm + self.lasts {
                break;
            }
            let at = start + due;
            // Late, it hands over all that is due.
            while Instant::now() < at {
                if ticks.next().await.is_err() || senders.iter().all(Sender::is_closed) {
                    return left_out;
                }
            }
            tokio::task::consume_budget().await;
            let counts = due >= self.warm;
            match senders[(number % senders.len() as u64) as usize].try_send(Due { at, counts }) {
                Ok(()) => {}
                Err(TrySendError::Full(_)) => left_out += u64::from(counts),
                Err(TrySendError::Closed(_)) if senders.iter().all(Sender::is_closed) => break,
                Err(TrySendError::Closed(_)) => left_out += u64::from(counts),
            }
        }
        left_out
    }
}

impl Pacer {
    /// Waits for its end, which is there once the channels are closed; gives how many requests that count could not be
    /// handed over.
    pub async fn left_out(self) -> u64 {
        self.task.await.unwrap_or_default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const PLAN: Plan =
        Plan { rate: 20_000.0, warm: Duration::from_millis(5), lasts: Duration::from_millis(20) };

    async fn all(receivers: Vec<Receiver<Due>>) -> Vec<Due> {
        let mut all = Vec::new();
        for mut receiver in receivers {
            while let Some(due) = receiver.recv().await {
                all.push(due);
            }
        }
        all
    }

    #[tokio::test]
    async fn each_request_is_planned_at_its_time_whenever_it_is_heard_of() {
        let (pacer, receivers) = PLAN.start(3).unwrap();
        let mut due = all(receivers).await;
        due.sort_by_key(|due| due.at);
        assert_eq!((due.len(), pacer.left_out().await), (500, 0));
        assert_eq!(due.iter().filter(|due| due.counts).count(), 400);
        for two in due.windows(2) {
            let apart = two[1].at - two[0].at;
            assert!(apart.abs_diff(Duration::from_micros(50)) < Duration::from_micros(1), "{apart:?}");
        }
    }

    #[tokio::test]
    async fn who_hears_nothing_gets_no_more_than_there_is_room_for_and_the_rest_is_counted() {
        let plan = Plan { rate: 4e6, warm: Duration::ZERO, lasts: Duration::from_millis(10) };
        let (pacer, receivers) = plan.start(1).unwrap();
        assert_eq!(pacer.left_out().await, 40_000 - BEHIND as u64);
        assert_eq!(all(receivers).await.len(), BEHIND);
    }

    #[tokio::test]
    async fn the_clock_stops_when_nobody_listens() {
        for rate in [PLAN.rate, 0.01] {
            let plan = Plan { rate, lasts: Duration::from_secs(3600), ..PLAN };
            let (pacer, receivers) = plan.start(2).unwrap();
            drop(receivers);
            assert!(pacer.left_out().await <= 1);
        }
    }
}
