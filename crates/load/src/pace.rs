//! The clock of a planned rate: a thread that says when each request is due, to one of several that ask in turn.
//!
//! A thread, since the timers of an async runtime are a millisecond apart: at 10,000 requests a second they would come in
//! heaps of ten. One of its own, since a timer of the system's on the thread of those who ask rings late whenever that is
//! busy: the median fell by a ninth with it, and the 99th percentile doubled (10,000 a second on two cores, 2026-11-26). What it
//! cannot hand over, since those who ask are too far behind, it counts: nothing is left out of the
//! picture in silence.

use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use tokio::sync::mpsc::error::TrySendError;
use tokio::sync::mpsc::{self, Receiver, Sender};

/// How many due requests one who asks may be behind; those past it are counted as not sent.
const BEHIND: usize = 1 << 14;

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
    thread: JoinHandle<u64>,
}

impl Plan {
    /// When request number `number` is due, from the start.
    fn due(&self, number: u64) -> Duration {
        Duration::from_secs_f64(number as f64 / self.rate)
    }

    /// Starts the clock for so many listeners, at least one. Each request is one listener's; the channels close when all
    /// are planned.
    ///
    /// # Errors
    /// When the system gives no thread.
    pub fn start(self, listeners: usize) -> std::io::Result<(Pacer, Vec<Receiver<Due>>)> {
        let (senders, receivers): (Vec<_>, _) = (0..listeners).map(|_| mpsc::channel(BEHIND)).unzip();
        let thread = thread::Builder::new().name("pacer".to_owned()).spawn(move || self.run(&senders))?;
        Ok((Pacer { thread }, receivers))
    }

    /// Gives how many that count were not handed over.
    fn run(self, senders: &[Sender<Due>]) -> u64 {
        let start = Instant::now();
        let mut left_out = 0;
        for number in 0.. {
            let due = self.due(number);
            if due >= self.warm + self.lasts {
                break;
            }
            let at = start + due;
            // Late, it sends all that is due without a sleep between.
            thread::sleep(at.saturating_duration_since(Instant::now()));
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
    pub fn left_out(self) -> u64 {
        self.thread.join().unwrap_or_default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const PLAN: Plan =
        Plan { rate: 20_000.0, warm: Duration::from_millis(5), lasts: Duration::from_millis(20) };

    fn all(mut receiver: Receiver<Due>) -> Vec<Due> {
        std::iter::from_fn(|| receiver.blocking_recv()).collect()
    }

    #[test]
    fn each_request_is_planned_at_its_time_whenever_it_is_heard_of() {
        let (pacer, receivers) = PLAN.start(3).unwrap();
        let mut due: Vec<Due> = receivers.into_iter().flat_map(all).collect();
        due.sort_by_key(|due| due.at);
        assert_eq!((due.len(), pacer.left_out()), (500, 0));
        assert_eq!(due.iter().filter(|due| due.counts).count(), 400);
        for two in due.windows(2) {
            let apart = two[1].at - two[0].at;
            assert!(apart.abs_diff(Duration::from_micros(50)) < Duration::from_micros(1), "{apart:?}");
        }
    }

    #[test]
    fn who_hears_nothing_gets_no_more_than_there_is_room_for_and_the_rest_is_counted() {
        let plan = Plan { rate: 4e6, warm: Duration::ZERO, lasts: Duration::from_millis(10) };
        let (pacer, receivers) = plan.start(1).unwrap();
        assert_eq!(pacer.left_out(), 40_000 - BEHIND as u64);
        assert_eq!(receivers.into_iter().flat_map(all).count(), BEHIND);
    }

    #[test]
    fn the_clock_stops_when_nobody_listens() {
        let (pacer, receivers) = Plan { lasts: Duration::from_secs(3600), ..PLAN }.start(2).unwrap();
        drop(receivers);
        assert!(pacer.left_out() <= 1);
    }
}
