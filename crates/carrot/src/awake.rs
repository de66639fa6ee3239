//! When a core sleeps: not between requests that come one upon the other.
//!
//! To fall asleep and to be woken costs a core some microseconds, and whoever wakes it some more. Where the last sleep was
//! short, so will the next be, and two things are done about it. The core lets others on it go on first, for whoever woke
//! it is amid saying more, and all of that is then read and answered at once. And once it has answered, it looks about
//! for a moment before it sleeps again. What is asked now and then is answered at once, and costs nothing more.
//!
//! Each core has its own; the runtime tells when it sleeps, a front that something came.

use std::cell::Cell;
use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio::runtime::Builder;
use tokio::sync::Notify;

/// A sleep that was shorter had better not have been: it costs those who take part about as long.
const SHORT: Duration = Duration::from_micros(50);

/// How long nothing comes before a core sleeps that was kept awake.
const QUIET: Duration = Duration::from_micros(20);

thread_local! {
    static HERE: Here = Here::default();
}

#[derive(Default)]
struct Here {
    /// How often something has come.
    heard: Cell<u64>,
    asleep_since: Cell<Option<Instant>>,
    /// The last sleep was short.
    was_short: Arc<Notify>,
}

/// Something has come in on this core.
pub fn heard() {
    HERE.with(|here| here.heard.set(here.heard.get().wrapping_add(1)));
}

/// Has a runtime of one thread tell when that sleeps.
pub fn watch(builder: &mut Builder) {
    builder.on_thread_park(fall_asleep).on_thread_unpark(wake_up);
}

fn fall_asleep() {
    HERE.with(|here| here.asleep_since.set(Some(Instant::now())));
}

fn wake_up() {
    HERE.with(|here| {
        if here.asleep_since.take().is_some_and(|since| since.elapsed() < SHORT) {
            here.was_short.notify_one();
            std::thread::yield_now();
        }
    });
}

/// Keeps the core on which it runs awake after a short sleep, until nothing comes for a moment. Never ends.
pub async fn keep() {
    let was_short = HERE.with(|here| here.was_short.clone());
    let count = || HERE.with(|here| here.heard.get());
    loop {
        was_short.notified().await;
        let (mut heard, mut since) = (count(), Instant::now());
        while since.elapsed() < QUIET {
            // Whatever is ready runs meanwhile, and what has come is asked for.
            tokio::task::yield_now().await;
            if count() != heard {
                (heard, since) = (count(), Instant::now());
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicU64, Ordering::SeqCst};

    use tokio::runtime::Runtime;
    use tokio::sync::mpsc;

    use super::*;

    /// A core that counts its sleeps.
    fn core() -> (Runtime, Arc<AtomicU64>) {
        let (mut builder, sleeps) = (Builder::new_current_thread(), Arc::<AtomicU64>::default());
        let counted = sleeps.clone();
        watch(&mut builder);
        builder.on_thread_park(move || {
            counted.fetch_add(1, SeqCst);
            fall_asleep();
        });
        (builder.enable_all().build().unwrap(), sleeps)
    }

    #[test]
    fn a_core_that_is_kept_awake_sleeps_when_nothing_comes_and_hears_what_comes_then() {
        let (core, sleeps) = core();
        let (say, mut said) = mpsc::unbounded_channel();
        let others = std::thread::spawn(move || {
            for round in 0..1000 {
                // As after a short sleep; it sleeps again each time.
                let before = sleeps.load(SeqCst);
                say.send(round).unwrap();
                while sleeps.load(SeqCst) == before {
                    std::thread::yield_now();
                }
            }
        });
        core.block_on(async {
            tokio::spawn(keep());
            for round in 0..1000 {
                HERE.with(|here| here.was_short.notify_one());
                assert_eq!(said.recv().await, Some(round));
                heard();
            }
            // The last sleep.
            assert_eq!(said.recv().await, None);
        });
        others.join().unwrap();
    }

    #[test]
    fn a_core_does_not_sleep_while_it_hears_something() {
        let (core, sleeps) = core();
        core.block_on(async {
            tokio::spawn(keep());
            HERE.with(|here| here.was_short.notify_one());
            tokio::task::yield_now().await;
            let before = sleeps.load(SeqCst);
            for _ in 0..1000 {
                heard();
                tokio::task::yield_now().await;
            }
            assert_eq!(sleeps.load(SeqCst), before);
        });
    }

    #[test]
    fn only_a_short_sleep_keeps_a_core_awake() {
        let was_short = || HERE.with(|here| here.was_short.clone());
        let is_told = || {
            let (now, short) = (std::task::Waker::noop(), was_short());
            let told = std::pin::pin!(short.notified());
            told.poll(&mut std::task::Context::from_waker(now)).is_ready()
        };
        let slept = |long| HERE.with(|here| here.asleep_since.set(Instant::now().checked_sub(long)));
        slept(SHORT * 2);
        wake_up();
        assert!(!is_told());
        // Begun in what is to come: no time has passed.
        HERE.with(|here| here.asleep_since.set(Some(Instant::now() + SHORT * 1_000_000)));
        wake_up();
        assert!(is_told());
        assert_eq!(HERE.with(|here| here.asleep_since.get()), None);
    }
}
