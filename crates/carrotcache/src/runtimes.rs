//! The runtimes that a node works on: the caller's, or several of his, such as one a core.
//!
//! What begins on one of them stays there, so that a load runs where its leader is and a connection to a peer where it
//! was made. What begins elsewhere, on a runtime that may end before the node does, goes to the next of them in turn.
//! A runtime that stops drops its tasks, and gives no sign; what a task owed others it has to settle when it is dropped,
//! as a flight does. Knows nothing of what is run, and never stops a runtime.

use std::future::Future;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use tokio::runtime::Handle;
#[cfg(feature = "http")]
use tokio::runtime::{Id, RuntimeFlavor};
use tokio::task::{JoinError, JoinHandle, JoinSet};

/// Cheap to clone; clones share the turn.
#[derive(Clone, Debug)]
pub(crate) struct Runtimes {
    /// Invariant: at least one.
    handles: Arc<[Handle]>,
    /// Whose turn it is, modulo their number.
    turn: Arc<AtomicUsize>,
}

impl Runtimes {
    /// These, or the caller's where there are none.
    ///
    /// # Panics
    /// Where there are none and the caller has none either.
    pub(crate) fn new(handles: impl IntoIterator<Item = Handle>) -> Self {
        let mut handles: Vec<Handle> = handles.into_iter().collect();
        if handles.is_empty() {
            handles.push(Handle::current());
        }
        Self { handles: handles.into(), turn: Arc::default() }
    }

    /// The one that a listener accepts on.
    #[cfg(feature = "http")]
    pub(crate) fn first(&self) -> &Handle {
        &self.handles[0]
    }

    /// The next in turn.
    pub(crate) fn next(&self) -> &Handle {
        // Relaxed: the number guards nothing. It wraps round, which costs one of them a turn.
        &self.handles[self.turn.fetch_add(1, Ordering::Relaxed) % self.handles.len()]
    }

    /// The one that this is called on, or else the next in turn.
    pub(crate) fn nearest(&self) -> &Handle {
        self.here().unwrap_or_else(|| self.next())
    }

    /// Runs a task on the nearest.
    pub(crate) fn spawn<F>(&self, work: F) -> JoinHandle<F::Output>
    where
        F: Future<Output: Send> + Send + 'static,
    {
        self.nearest().spawn(work)
    }

    /// Whether this is called on one of them.
    pub(crate) fn are_here(&self) -> bool {
        self.here().is_some()
    }

    /// Runs the work as a task on the nearest, and gives what it made. Dropping the future drops the work.
    ///
    /// # Errors
    /// When the runtime stops before the work is done, or the work panics.
    pub(crate) async fn run<F>(&self, work: F) -> Result<F::Output, JoinError>
    where
        F: Future<Output: Send> + Send + 'static,
    {
        // A set of one, since a handle that is dropped lets its task run on.
        let mut task = JoinSet::new();
        task.spawn_on(work, self.nearest());
        task.join_next().await.expect("it was given a task")
    }

    fn here(&self) -> Option<&Handle> {
        let here = Handle::try_current().ok()?.id();
        self.handles.iter().find(|handle| handle.id() == here)
    }
}

/// The runtime on which this is called, where it is one of one thread.
#[cfg(feature = "http")]
pub(crate) fn lone_here() -> Option<Id> {
    let here = Handle::try_current().ok()?;
    is_lone(&here).then(|| here.id())
}

/// Whether it has but one thread.
#[cfg(feature = "http")]
pub(crate) fn is_lone(runtime: &Handle) -> bool {
    runtime.runtime_flavor() == RuntimeFlavor::CurrentThread
}

#[cfg(test)]
mod tests {
    use super::*;

    use tokio::runtime::{Builder, Id, Runtime};
    use tokio::sync::oneshot;

    fn runtime() -> Runtime {
        Builder::new_multi_thread().worker_threads(1).build().unwrap()
    }

    async fn where_am_i() -> Id {
        Handle::current().id()
    }

    #[test]
    fn work_stays_on_the_runtime_where_it_begins_and_from_elsewhere_takes_turns() {
        let (a, b, elsewhere) = (runtime(), runtime(), runtime());
        let ids = [a.handle().id(), b.handle().id()];
        let runtimes = Runtimes::new([a.handle().clone(), b.handle().clone()]);
        for runtime in [&a, &b] {
            let (here, runtimes) = (runtime.handle().id(), runtimes.clone());
            runtime.block_on(async move {
                assert!(runtimes.are_here());
                for _ in 0..3 {
                    assert_eq!(runtimes.spawn(where_am_i()).await.unwrap(), here);
                    assert_eq!(runtimes.run(where_am_i()).await.unwrap(), here);
                }
            });
        }
        let seen = elsewhere.block_on(async {
            assert!(!runtimes.are_here());
            [runtimes.spawn(where_am_i()).await.unwrap(), runtimes.run(where_am_i()).await.unwrap()]
        });
        assert!(seen == ids || seen == [ids[1], ids[0]], "{seen:?} of {ids:?}");
    }

    #[test]
    fn work_whose_caller_goes_away_is_dropped() {
        let (ours, elsewhere) = (runtime(), runtime());
        let runtimes = Runtimes::new([ours.handle().clone()]);
        elsewhere.block_on(async {
            let (kept, dropped) = oneshot::channel::<()>();
            let work = runtimes.run(async move {
                std::future::pending::<()>().await;
                drop(kept);
            });
            tokio::select! {
                biased;
                _ = work => unreachable!("it never ends"),
                () = std::future::ready(()) => {}
            }
            assert!(dropped.await.is_err());
        });
    }

    #[test]
    fn work_whose_runtime_stops_ends_with_an_error() {
        let (ours, elsewhere) = (runtime(), runtime());
        let runtimes = Runtimes::new([ours.handle().clone()]);
        let working = elsewhere.spawn({
            let runtimes = runtimes.clone();
            async move { runtimes.run(std::future::pending::<()>()).await }
        });
        ours.shutdown_background();
        assert!(elsewhere.block_on(working).unwrap().unwrap_err().is_cancelled());
        // Nor does what comes too late wait for ever.
        assert!(elsewhere.block_on(runtimes.run(async {})).unwrap_err().is_cancelled());
    }
}
