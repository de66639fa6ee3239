//! The origin that is a SQLite file: one query, asked by a few threads of its own.
//!
//! SQLite blocks, so it is kept off the runtime's threads: loads go through one bounded queue to threads named
//! `origin-sqlite-N`, each with its own connection. Another program may write the file meanwhile; each load sees
//! what was committed before it began.
//!
//! The file need not be there at start, nor its table: loads fail until it is, and each tries again. A query that is
//! wrong whatever the file holds is refused as soon as a file can be opened.
//!
//! In rollback mode a load waits while a writer commits, until its deadline; in WAL mode it never waits. A database
//! in WAL mode needs its `-wal` and `-shm` files, or a directory in which we may make them, even to be read. It may
//! be replaced by a rename over it, once no program has it open with a WAL behind it.

use std::path::PathBuf;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, channel};
use std::sync::{Arc, Mutex, PoisonError, Weak};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use bytes::Bytes;
use carrotcache::{Charge, Key};
use tokio::sync::oneshot;

use crate::origin::alarm::{Alarm, Bell};
use crate::origin::error::{OpenError, OriginError};
use crate::origin::reader::{Question, Reader};

/// For a look at the file while the node starts. One that is locked for longer is opened by a load.
const START_PATIENCE: Duration = Duration::from_secs(1);

/// For the threads of an origin that is dropped, all together. One that is in the midst of a read of a file system
/// that hangs cannot be told anything, and may never come back.
const END_PATIENCE: Duration = Duration::from_secs(1);

/// What a SQLite origin is made of.
#[derive(Clone, Debug)]
pub struct SqliteSettings {
    /// The database.
    pub file: PathBuf,
    /// One statement that reads, with one parameter: the key, as text where it is UTF-8, else as a blob.
    pub query: String,
    /// How long a load may take, from the call on, its wait in the queue included.
    pub deadline: Duration,
    /// Threads, each with a connection. Default 4: a disk has few arms, and what is in the page cache is quick.
    pub threads: usize,
    /// Loads that may wait for a thread. Default 1024: four groups at their default limit of 256 loads.
    pub queue: usize,
}

impl SqliteSettings {
    /// The defaults, for this query of this file.
    pub fn new(file: PathBuf, query: String, deadline: Duration) -> Self {
        Self { file, query, deadline, threads: 4, queue: 1024 }
    }
}

/// A SQLite file that can be asked, and is open from the first load on that finds it.
///
/// Dropping it ends its queries and waits for its threads, some milliseconds as a rule; after it the file is closed.
/// Threads that are not over within [`END_PATIENCE`] are left to themselves, and the log says so.
#[derive(Debug)]
pub struct Sqlite {
    /// `None` only while it is being dropped: the threads end when their queue has no sender.
    // Unbounded, and bounded by `waiting`: a bounded channel takes the memory for all its places when it is made.
    jobs: Option<Sender<Job>>,
    /// Jobs that no thread has taken yet.
    waiting: Arc<AtomicUsize>,
    threads: Vec<JoinHandle<()>>,
    /// Hears when the last thread has left the queue, its reader dropped. Nothing is ever sent.
    // In a mutex only because a receiver cannot be shared, and the origin is.
    ended: Mutex<Receiver<()>>,
    /// For the log.
    file: PathBuf,
    bell: Arc<Bell>,
    deadline: Duration,
    queue: usize,
    loads: AtomicU64,
}

/// What a thread does next: one load or probe, which answers by itself.
type Job = Box<dyn FnOnce(&mut Reader) + Send>;

impl Sqlite {
    /// Starts the threads, and checks the query if the file can be opened now. Blocks, for [`START_PATIENCE`] at most.
    ///
    /// # Errors
    /// See [`OpenError`]; only those that are final. Nothing is left running.
    pub fn open(settings: &SqliteSettings) -> Result<Self, OpenError> {
        let bell = Arc::new(Bell::default());
        let readers = readers(settings, &bell)?;
        let (jobs, queue) = channel();
        let (last, ended) = channel();
        let waiting = Arc::<AtomicUsize>::default();
        let mut sqlite = Self {
            jobs: Some(jobs),
            waiting: Arc::clone(&waiting),
            threads: Vec::with_capacity(readers.len()),
            ended: Mutex::new(ended),
            file: settings.file.clone(),
            bell,
            deadline: settings.deadline,
            queue: settings.queue,
            loads: AtomicU64::new(0),
        };
        sqlite.start(readers, &Arc::new(Queue { jobs: Mutex::new(queue), waiting, _last: last }))?;
        Ok(sqlite)
    }

    /// The value of `key`, or `None` where the query gives no row, or NULL. Charged by its length before it is copied out of
    /// SQLite, which holds one row for each thread.
    ///
    /// Dropping the future abandons the load: one that still waits is not begun, one that runs is ended.
    ///
    /// # Errors
    /// See [`OriginError`]. The deadline is kept by the thread that runs the query, so a file system that hangs
    /// can hold the answer back longer: whoever calls has to have a deadline too, as a group does.
    pub async fn load_charged(&self, key: Key, charge: &Charge) -> Result<Option<Bytes>, OriginError> {
        self.loads.fetch_add(1, Ordering::Relaxed);
        let charge = charge.clone();
        self.on_a_thread(move |reader, deadline, caller| reader.load(&key, &charge, deadline, caller)).await
    }

    /// The same, charged to nobody.
    #[cfg(test)]
    pub async fn load(&self, key: Key) -> Result<Option<Bytes>, OriginError> {
        self.load_charged(key, &Charge::default()).await
    }

    /// Whether it could be asked now: the file is open and the query prepared. Waits and ends as a load does.
    ///
    /// # Errors
    /// See [`OriginError`].
    pub async fn probe(&self) -> Result<(), OriginError> {
        self.on_a_thread(Reader::probe).await
    }

    /// Has the next free thread do it, until the deadline, or until the returned future is dropped.
    async fn on_a_thread<T: Send + 'static>(
        &self,
        ask: impl FnOnce(&mut Reader, Instant, Weak<()>) -> Result<T, OriginError> + Send + 'static,
    ) -> Result<T, OriginError> {
        let (answer, answered) = oneshot::channel();
        // Goes with this future, however it ends.
        let here = Arc::new(());
        let (deadline, caller) = (after(self.deadline), Arc::downgrade(&here));
        self.send(Box::new(move |reader| {
            if !answer.is_closed() {
                // Nobody may be waiting any more.
                let _ = answer.send(ask(reader, deadline, caller));
            }
        }))?;
        // A thread that ended without a word can only have been told to.
        answered.await.unwrap_or(Err(OriginError::Closing))
    }

    /// How often it was asked, also when it was busy.
    pub fn loads(&self) -> u64 {
        self.loads.load(Ordering::Relaxed)
    }

    /// How often a load found the file locked by another program and waited.
    #[cfg(test)]
    pub fn lock_waits(&self) -> u64 {
        self.bell.lock_waits()
    }

    fn send(&self, job: Job) -> Result<(), OriginError> {
        let Some(jobs) = &self.jobs else { return Err(OriginError::Closing) };
        let one_more = |waiting: usize| (waiting < self.queue).then_some(waiting + 1);
        if self.waiting.fetch_update(Ordering::Relaxed, Ordering::Relaxed, one_more).is_err() {
            return Err(OriginError::Busy { waiting: self.queue });
        }
        jobs.send(job).map_err(|_| OriginError::Closing)
    }

    /// Starts a thread for each reader. The threads that run already end with `self` if one cannot be started.
    fn start(&mut self, readers: Vec<Reader>, queue: &Arc<Queue>) -> Result<(), OpenError> {
        for (number, reader) in readers.into_iter().enumerate() {
            let queue = Arc::clone(queue);
            let thread = std::thread::Builder::new()
                .name(format!("origin-sqlite-{number}"))
                .spawn(move || serve(reader, &queue))
                .map_err(OpenError::Thread)?;
            self.threads.push(thread);
        }
        Ok(())
    }
}

impl Drop for Sqlite {
    fn drop(&mut self) {
        self.bell.close();
        self.jobs = None;
        let ended = self.ended.get_mut().unwrap_or_else(PoisonError::into_inner);
        if ended.recv_timeout(END_PATIENCE) == Err(RecvTimeoutError::Timeout) {
            let stuck = self.threads.iter().filter(|thread| !thread.is_finished()).count();
            let file = self.file.display();
            tracing::warn!(
                "origin {file} is closed with {stuck} threads still in a read, which are left behind"
            );
            return;
        }
        for thread in self.threads.drain(..) {
            // A thread that panicked has said so already, and has closed its connection.
            let _ = thread.join();
        }
    }
}

/// A reader for each thread. The first looks at the file at once, so that a query that can never be asked is refused.
fn readers(settings: &SqliteSettings, bell: &Arc<Bell>) -> Result<Vec<Reader>, OpenError> {
    let SqliteSettings { file, query, deadline, threads, .. } = settings.clone();
    let question = Arc::new(Question { file, query, deadline });
    let end = after(deadline.min(START_PATIENCE));
    let reader = |_| Reader::new(Arc::clone(&question), Arc::new(Alarm::new(Arc::clone(bell), end)));
    let mut readers: Vec<Reader> = (0..threads.max(1)).map(reader).collect();
    match readers[0].open() {
        Err(refusal) if refusal.is_final() => Err(refusal),
        _ => Ok(readers),
    }
}

/// The moment `span` from now; a span beyond what the clock can count is as good as a year.
fn after(span: Duration) -> Instant {
    const YEAR: Duration = Duration::from_secs(365 * 24 * 3600);
    let now = Instant::now();
    now.checked_add(span).unwrap_or_else(|| now + YEAR)
}

/// The waiting loads.
struct Queue {
    // An idle thread sleeps in `recv` with the lock held, the others behind it at the lock.
    jobs: Mutex<Receiver<Job>>,
    /// How many there are.
    waiting: Arc<AtomicUsize>,
    /// Goes with the queue, and so with the last thread.
    _last: Sender<()>,
}

/// One thread's life: until the queue has no sender.
fn serve(mut reader: Reader, queue: &Queue) {
    while let Some(job) = next(queue) {
        job(&mut reader);
    }
}

fn next(queue: &Queue) -> Option<Job> {
    let job = queue.jobs.lock().unwrap_or_else(PoisonError::into_inner).recv().ok()?;
    queue.waiting.fetch_sub(1, Ordering::Relaxed);
    Some(job)
}

#[cfg(test)]
mod tests;
