//! One runtime a core, each with one thread of its own.
//!
//! A connection stays on the core that it was handed to, and so does what its requests begin: nothing is stolen and no
//! second thread is woken for an answer from memory. The caller's thread is one of them, on which the commands run and
//! signals are heard. Stops them all when the command has ended.

use std::thread::JoinHandle;
use std::time::Duration;

use anyhow::Context;
use tokio::runtime::{Builder, Handle, Runtime};
use tokio::sync::oneshot;

use crate::awake;

/// For threads that are in the midst of a read when all is done.
const LAST_WAIT: Duration = Duration::from_secs(1);

/// Runs on this thread what `work` makes of the runtimes of all cores, this thread's first.
///
/// # Errors
/// What the work ended with, or that a thread could not be had.
pub fn on_all_cores<F>(work: impl FnOnce(Vec<Handle>) -> F) -> anyhow::Result<()>
where
    F: Future<Output = anyhow::Result<()>>,
{
    let own = runtime()?;
    let cores = std::thread::available_parallelism().map_or(1, usize::from);
    let others: Vec<Core> = (1..cores).map(Core::start).collect::<anyhow::Result<_>>()?;
    let handles: Vec<Handle> =
        std::iter::once(own.handle()).chain(others.iter().map(|core| &core.handle)).cloned().collect();
    // Where there is but one, whoever asks has need of it.
    if cores > 1 {
        handles.iter().for_each(|core| drop(core.spawn(awake::keep())));
    }
    let ended = own.block_on(work(handles));
    // All at once, and then each waited for.
    let threads: Vec<_> = others.into_iter().map(Core::stop).collect();
    stop(own);
    for thread in threads {
        // One that panicked has said so.
        let _ = thread.join();
    }
    ended
}

fn runtime() -> anyhow::Result<Runtime> {
    let mut builder = Builder::new_current_thread();
    awake::watch(&mut builder);
    builder.enable_all().build().context("a runtime")
}

/// A runtime that is dropped waits for them without end, also where a file system hangs.
fn stop(runtime: Runtime) {
    runtime.shutdown_timeout(LAST_WAIT);
}

/// A runtime on a thread of its own.
struct Core {
    handle: Handle,
    /// Dropped, it stops.
    running: oneshot::Sender<()>,
    thread: JoinHandle<()>,
}

impl Core {
    fn start(nth: usize) -> anyhow::Result<Self> {
        let runtime = runtime()?;
        let handle = runtime.handle().clone();
        let (running, stopped) = oneshot::channel();
        let drive = move || {
            // An error is the drop that it waits for.
            let _ = runtime.block_on(stopped);
            stop(runtime);
        };
        let thread = std::thread::Builder::new().name(format!("core-{nth}")).spawn(drive);
        Ok(Self { handle, running, thread: thread.context("a thread for a core")? })
    }

    fn stop(self) -> JoinHandle<()> {
        drop(self.running);
        self.thread
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn there_is_a_driven_runtime_for_each_core_this_threads_first() {
        let here = std::thread::current().id();
        on_all_cores(|cores| async move {
            assert_eq!(cores.len(), std::thread::available_parallelism().unwrap().get());
            assert_eq!(cores[0].id(), Handle::current().id());
            let mut threads = std::collections::HashSet::new();
            for core in &cores {
                threads.insert(core.spawn(async { std::thread::current().id() }).await.unwrap());
            }
            assert_eq!(threads.len(), cores.len());
            assert!(threads.contains(&here));
            Ok(())
        })
        .unwrap();
    }

    #[test]
    fn what_the_work_ended_with_is_given_and_what_it_left_behind_is_stopped() {
        let (left, dropped) = std::sync::mpsc::channel::<()>();
        let ended = on_all_cores(|cores| async move {
            for core in cores {
                let left = left.clone();
                core.spawn(async move {
                    std::future::pending::<()>().await;
                    drop(left);
                });
            }
            anyhow::bail!("as asked")
        });
        assert_eq!(ended.unwrap_err().to_string(), "as asked");
        assert!(dropped.recv().is_err());
    }
}
