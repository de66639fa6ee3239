//! Wake-ups closer together than the timers of an async runtime, which are a millisecond apart.
//!
//! A timer of the system that the runtime waits for with its sockets, so that no other thread has to wake the one that
//! asks. Elsewhere than on Linux it is the runtime's own timer.

use std::io;
use std::time::Duration;

#[cfg(target_os = "linux")]
mod of_the_system {
    use std::os::fd::OwnedFd;

    use rustix::time::{
        Itimerspec, TimerfdClockId, TimerfdFlags, TimerfdTimerFlags, Timespec, timerfd_create,
        timerfd_settime,
    };
    use tokio::io::Interest;
    use tokio::io::unix::AsyncFd;

    use super::*;

    #[derive(Debug)]
    pub(crate) struct Ticks(AsyncFd<OwnedFd>);

    impl Ticks {
        pub(crate) fn every(period: Duration) -> io::Result<Self> {
            let timer =
                timerfd_create(TimerfdClockId::Monotonic, TimerfdFlags::NONBLOCK | TimerfdFlags::CLOEXEC)?;
            let period = Timespec::try_from(period).map_err(io::Error::other)?;
            let both = Itimerspec { it_interval: period, it_value: period };
            timerfd_settime(&timer, TimerfdTimerFlags::empty(), &both)?;
            #[expect(deprecated, reason = "its successor is unsafe, and an OwnedFd is closed by nobody else")]
            let waited_for = AsyncFd::with_interest(timer, Interest::READABLE)?;
            Ok(Self(waited_for))
        }

        pub(crate) async fn next(&mut self) -> io::Result<()> {
            loop {
                let mut ready = self.0.readable().await?;
                // How often it has rung; read so that it is silent again.
                let read = ready.try_io(|timer| Ok(rustix::io::read(timer.get_ref(), &mut [0_u8; 8])?));
                if let Ok(read) = read {
                    return read.map(drop);
                }
            }
        }
    }
}

#[cfg(not(target_os = "linux"))]
mod of_the_system {
    use tokio::time::{Interval, interval};

    use super::*;

    #[derive(Debug)]
    pub(crate) struct Ticks(Interval);

    impl Ticks {
        pub(crate) fn every(period: Duration) -> io::Result<Self> {
            Ok(Self(interval(period)))
        }

        pub(crate) async fn next(&mut self) -> io::Result<()> {
            self.0.tick().await;
            Ok(())
        }
    }
}

pub(crate) use of_the_system::Ticks;
