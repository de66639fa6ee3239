//! Readiness: whether a node may be sent traffic.
//!
//! Ready is a node whose every origin has answered once, by a load or when it was asked whether it is there, and that
//! was not told to stop. An origin that does not answer at start is said once in the log and asked again and again,
//! with growing waits; nobody waits for it but `/readyz`. One that fails later is its loads' affair: a node that has
//! the values in memory is of use all the same.

use std::fmt;
use std::future::Future;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use carrotcache::{GroupName, with_causes};
use tokio::sync::SetOnce;

use crate::origin::error::OriginError;

/// Between the first two times that an origin is asked; each wait after it is twice as long.
const FIRST_WAIT: Duration = Duration::from_secs(1);
/// Short enough that nobody restarts a node because it is slow to notice.
const LONGEST_WAIT: Duration = Duration::from_secs(30);
/// What an origin is given beyond the deadline of a load: its own deadline, which says more, comes first.
const GRACE: Duration = Duration::from_secs(2);

/// Whether one node may be sent traffic.
#[derive(Debug)]
pub struct Readiness {
    stopping: AtomicBool,
    origins: Vec<Arc<FirstAnswer>>,
}

/// Why a node is not to be sent traffic.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum NotReady {
    /// It was told to stop.
    Stopping,
    /// The origins of these groups have not answered yet.
    Waiting(Vec<GroupName>),
}

impl Readiness {
    /// Of a node with these groups, none of whose origins has answered.
    pub fn new<'a>(groups: impl IntoIterator<Item = &'a GroupName>) -> Self {
        let origins = groups.into_iter().map(|group| Arc::new(FirstAnswer::new(group.clone()))).collect();
        Self { stopping: AtomicBool::new(false), origins }
    }

    /// What is waited for, in the order of the groups.
    pub fn origins(&self) -> &[Arc<FirstAnswer>] {
        &self.origins
    }

    /// From now on the node is not ready, whatever answers.
    pub fn stop(&self) {
        self.stopping.store(true, Ordering::Release);
    }

    /// Whether the node may be sent traffic.
    ///
    /// # Errors
    /// Why it may not.
    pub fn check(&self) -> Result<(), NotReady> {
        if self.stopping.load(Ordering::Acquire) {
            return Err(NotReady::Stopping);
        }
        let silent = self.origins.iter().filter(|origin| !origin.came.initialized());
        let silent: Vec<GroupName> = silent.map(|origin| origin.group.clone()).collect();
        if silent.is_empty() { Ok(()) } else { Err(NotReady::Waiting(silent)) }
    }
}

impl fmt::Display for NotReady {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Stopping => f.write_str("not ready: stopping"),
            Self::Waiting(groups) => {
                let names: Vec<&str> = groups.iter().map(GroupName::as_str).collect();
                match &names[..] {
                    [name] => write!(f, "not ready: origin of group {name} has not answered yet"),
                    _ => {
                        write!(f, "not ready: origins of groups {} have not answered yet", names.join(", "))
                    }
                }
            }
        }
    }
}

/// The first answer of one group's origin.
#[derive(Debug)]
pub struct FirstAnswer {
    group: GroupName,
    came: SetOnce<()>,
}

impl FirstAnswer {
    fn new(group: GroupName) -> Self {
        Self { group, came: SetOnce::new() }
    }

    /// Takes note of how a load ended, and hands it on.
    pub fn heed<T>(&self, ended: Result<T, OriginError>) -> Result<T, OriginError> {
        if ended.is_ok() && !self.came.initialized() {
            // Another load or a probe may have been first.
            let _ = self.came.set(());
        }
        ended
    }

    /// Asks by `probe` until the origin has answered, to this or to a load. Says in the log that it does not, once,
    /// and then that it does. Dropping the future ends the asking.
    pub async fn await_from<F, Fut>(&self, load_deadline: Duration, probe: F)
    where
        F: Fn() -> Fut,
        Fut: Future<Output = Result<(), OriginError>>,
    {
        let patience = load_deadline.saturating_add(GRACE);
        let Err(failure) = self.answer_to(probe(), patience).await else { return };
        let group = &self.group;
        tracing::warn!("origin of group {group} does not answer: {failure}; asking again");
        let mut wait = FIRST_WAIT;
        while !self.came_within(wait).await && self.answer_to(probe(), patience).await.is_err() {
            wait = (wait * 2).min(LONGEST_WAIT);
        }
        tracing::info!("origin of group {group} answers");
    }

    /// Whether the origin answers, to this probe or meanwhile to a load; if not, why.
    async fn answer_to(
        &self,
        probe: impl Future<Output = Result<(), OriginError>>,
        patience: Duration,
    ) -> Result<(), String> {
        tokio::select! {
            _ = self.came.wait() => Ok(()),
            probed = tokio::time::timeout(patience, probe) => match probed {
                Ok(probed) => self.heed(probed).map_err(|failure| with_causes(&failure)),
                Err(_) => Err(format!("no answer within {patience:?}")),
            },
        }
    }

    /// Waits, though not past the first answer. Whether that came.
    async fn came_within(&self, wait: Duration) -> bool {
        tokio::time::timeout(wait, self.came.wait()).await.is_ok()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::cell::RefCell;
    use std::io::{self, Write};
    use std::sync::Mutex;
    use tokio::time::Instant;

    fn readiness(groups: &[&str]) -> Readiness {
        let groups: Vec<GroupName> = groups.iter().map(|name| GroupName::new(name).unwrap()).collect();
        Readiness::new(&groups)
    }

    fn said(readiness: &Readiness) -> String {
        readiness.check().map_or_else(|not_yet| not_yet.to_string(), |()| "ready".to_owned())
    }

    /// The lines that are logged on this thread.
    #[derive(Clone, Default)]
    struct Lines(Arc<Mutex<Vec<u8>>>);

    impl Write for Lines {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            self.0.lock().unwrap().write(bytes)
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    impl Lines {
        fn begin() -> (Self, tracing::subscriber::DefaultGuard) {
            let lines = Self::default();
            let writer = lines.clone();
            let log = tracing_subscriber::fmt().without_time().with_target(false).with_ansi(false);
            let log = log.with_writer(move || writer.clone()).finish();
            (lines, tracing::subscriber::set_default(log))
        }

        fn so_far(&self) -> Vec<String> {
            let text = String::from_utf8(self.0.lock().unwrap().clone()).unwrap();
            text.lines().map(|line| line.trim().to_owned()).collect()
        }
    }

    #[test]
    fn a_node_without_groups_is_ready_until_it_stops() {
        let readiness = readiness(&[]);
        assert_eq!(said(&readiness), "ready");
        readiness.stop();
        assert_eq!(said(&readiness), "not ready: stopping");
    }

    #[test]
    fn a_node_is_ready_when_each_origin_has_answered_a_load_and_names_those_that_have_not() {
        let readiness = readiness(&["pages", "users"]);
        assert_eq!(said(&readiness), "not ready: origins of groups pages, users have not answered yet");
        let [pages, users] = readiness.origins() else { unreachable!("two groups") };
        assert!(pages.heed::<()>(Err(OriginError::Closing)).is_err());
        assert_eq!(users.heed(Ok(7)).unwrap(), 7);
        assert_eq!(said(&readiness), "not ready: origin of group pages has not answered yet");
        pages.heed(Ok(())).unwrap();
        assert_eq!(said(&readiness), "ready");
        assert!(pages.heed::<()>(Err(OriginError::Closing)).is_err());
        assert_eq!(said(&readiness), "ready", "what fails later is its loads' affair");
        readiness.stop();
        assert_eq!(said(&readiness), "not ready: stopping");
    }

    #[tokio::test(start_paused = true)]
    async fn an_origin_that_answers_at_once_is_asked_once_and_nothing_is_said() {
        let (lines, _guard) = Lines::begin();
        let readiness = readiness(&["pages"]);
        readiness.origins()[0].await_from(Duration::ZERO, || async { Ok(()) }).await;
        assert_eq!(said(&readiness), "ready");
        assert_eq!(lines.so_far(), Vec::<String>::new());
    }

    #[tokio::test(start_paused = true)]
    async fn an_origin_that_does_not_answer_is_said_once_and_asked_with_growing_waits_until_it_does() {
        let (lines, _guard) = Lines::begin();
        let readiness = readiness(&["pages"]);
        let start = Instant::now();
        let asked = RefCell::new(Vec::new());
        let probe = || {
            asked.borrow_mut().push(start.elapsed().as_secs());
            let answers = asked.borrow().len() == 9;
            async move { if answers { Ok(()) } else { Err(OriginError::Closing) } }
        };
        readiness.origins()[0].await_from(Duration::ZERO, probe).await;
        // Virtual time: the clock is paused, and only the waits move it.
        assert_eq!(*asked.borrow(), [0, 1, 3, 7, 15, 31, 61, 91, 121]);
        assert_eq!(said(&readiness), "ready");
        let line = "WARN origin of group pages does not answer: the origin is closing; asking again";
        assert_eq!(lines.so_far(), [line, "INFO origin of group pages answers"]);
    }

    #[tokio::test(start_paused = true)]
    async fn a_load_that_succeeds_ends_the_asking_in_the_midst_of_a_wait_and_of_a_probe() {
        for pause in [Duration::from_millis(500), Duration::from_millis(1500)] {
            let (lines, _guard) = Lines::begin();
            let readiness = readiness(&["pages"]);
            let first = &readiness.origins()[0];
            let asked = RefCell::new(0);
            let probe = || {
                *asked.borrow_mut() += 1;
                let hangs = *asked.borrow() == 2;
                async move { if hangs { std::future::pending().await } else { Err(OriginError::Closing) } }
            };
            let load = async {
                tokio::time::sleep(pause).await;
                first.heed(Ok(())).unwrap();
            };
            let start = Instant::now();
            tokio::join!(first.await_from(Duration::from_secs(10), probe), load);
            assert_eq!(start.elapsed(), pause);
            assert_eq!(said(&readiness), "ready");
            assert_eq!(lines.so_far().len(), 2, "{:?}", lines.so_far());
        }
    }

    #[tokio::test(start_paused = true)]
    async fn an_origin_that_hangs_is_given_up_a_little_after_the_deadline_of_a_load_and_asked_again() {
        let (lines, _guard) = Lines::begin();
        let readiness = readiness(&["pages"]);
        let asked = RefCell::new(0);
        let probe = || {
            *asked.borrow_mut() += 1;
            let hangs = *asked.borrow() == 1;
            async move { if hangs { std::future::pending().await } else { Ok(()) } }
        };
        readiness.origins()[0].await_from(Duration::from_secs(10), probe).await;
        assert_eq!(said(&readiness), "ready");
        let line = "WARN origin of group pages does not answer: no answer within 12s; asking again";
        assert_eq!(lines.so_far()[0], line);
    }
}
