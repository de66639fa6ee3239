//! A connection to a peer, as those see it who ask on it: one request at a time, written by whoever asks.
//!
//! What comes back is read by the connection's own task, in `exchange.rs`, which waits there anyway: so a request takes no
//! task, and wakes none to be sent. The task is told of what it cannot know from the socket: that a large request was not
//! taken in at once, that a deadline comes before it would look at the clock, that nobody wants the reply any more.
//! Owned by its task, by the pool while it is idle, and by whoever waits for a reply.

use std::io;
use std::sync::atomic::{
    AtomicBool,
    Ordering::{Acquire, Release},
};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, Waker, ready};
use std::time::{Duration, Instant};

use tokio::net::tcp::OwnedWriteHalf;
use tokio::runtime::{Handle, Id};
use tokio::sync::OwnedSemaphorePermit;

use crate::clock;
use crate::net::client::call::Call;
use crate::peers::Then;

/// The largest buffer that a connection keeps between two requests.
pub(super) const KEPT: usize = 128 << 10;

/// The asking side of a connection.
pub(super) struct Lane {
    writer: OwnedWriteHalf,
    /// The runtime of its task.
    home: Id,
    // std Mutex: held while one request is written, by which nobody is held up but the task that reads its reply.
    slot: Mutex<Slot>,
    /// There is something in the slot that the task has to see to.
    is_told: AtomicBool,
}

struct Slot {
    /// What is asked, until its reply begins.
    asked: Option<Asked>,
    /// Of the request under way.
    deadline: Option<Instant>,
    /// Which request that is, or was.
    turn: u64,
    /// The request, and how much of it is sent.
    out: Vec<u8>,
    sent: usize,
    /// Since when nobody asks.
    since: Instant,
    /// When the task looks at the clock.
    look: Instant,
    /// It takes no request any more.
    is_over: bool,
    task: Option<Waker>,
}

/// A request on its way.
pub(super) struct Asked {
    pub(super) call: Call,
    pub(super) began: Instant,
    pub(super) deadline: Instant,
    pub(super) then: Then,
    /// Among the requests in flight, if whoever asks does not hold it.
    pub(super) place: Option<OwnedSemaphorePermit>,
}

/// What a connection's task does next.
pub(super) enum Heed {
    /// Goes on, and looks at the clock at this time.
    On(Instant),
    /// Ends: nobody wants what comes.
    End,
}

/// What the clock says of a connection.
pub(super) enum Due {
    /// Nothing until then.
    Later(Instant),
    /// The reply should have come.
    Late,
    /// It was idle for too long.
    Idle,
}

impl Lane {
    /// One of this runtime, on which nothing is asked yet.
    pub(super) fn new(writer: OwnedWriteHalf) -> Self {
        let now = clock::now();
        let slot = Slot {
            asked: None,
            deadline: None,
            turn: 0,
            out: Vec::new(),
            sent: 0,
            since: now,
            look: now,
            is_over: false,
            task: None,
        };
        Self { writer, home: Handle::current().id(), slot: Mutex::new(slot), is_told: AtomicBool::new(false) }
    }

    /// Whether its task lives on this runtime.
    pub(super) fn is_at(&self, runtime: Id) -> bool {
        self.home == runtime
    }

    /// Writes a request, by whoever took the connection, and gives the number of its turn. Gives it back if the connection
    /// is closed, or the peer has said something unasked. What nobody has noticed yet comes out when the reply is read.
    #[expect(clippy::result_large_err, reason = "what comes back is what was given")]
    pub(super) fn send(&self, asked: Asked, said: &[u8]) -> Result<u64, Asked> {
        let mut slot = self.lock();
        // No call of the system in most cases: the runtime knows that nothing has come.
        let silence = self.writer.as_ref().try_read(&mut [0]);
        let is_silent = silence.is_err_and(|error| error.kind() == io::ErrorKind::WouldBlock);
        if slot.is_over || !is_silent {
            slot.is_over = true;
            self.tell(slot);
            return Err(asked);
        }
        slot.turn += 1;
        slot.deadline = Some(asked.deadline);
        slot.sent = 0;
        slot.out.clear();
        asked.call.write(said, &mut slot.out);
        let deadline = asked.deadline;
        slot.asked = Some(asked);
        // What is wrong, the task hears of.
        slot.sent = self.writer.try_write(&slot.out).unwrap_or(0);
        let turn = slot.turn;
        if slot.sent < slot.out.len() || deadline < slot.look {
            slot.look = slot.look.min(deadline);
            self.tell(slot);
        }
        Ok(turn)
    }

    /// Nobody wants the reply of this turn any more: if it has not come yet, the connection is closed.
    pub(super) fn hang_up(&self, turn: u64) {
        let mut slot = self.lock();
        if slot.turn == turn && slot.deadline.is_some() {
            slot.is_over = true;
            self.tell(slot);
        }
    }

    /// Closes it, unless a request is under way: it is closed after that, since nobody keeps it.
    pub(super) fn close_if_idle(&self) {
        let mut slot = self.lock();
        if slot.deadline.is_none() {
            slot.is_over = true;
            self.tell(slot);
        }
    }

    fn tell(&self, slot: MutexGuard<'_, Slot>) {
        self.is_told.store(true, Release);
        let task = slot.task.clone();
        drop(slot);
        if let Some(task) = task {
            task.wake();
        }
    }

    fn lock(&self) -> MutexGuard<'_, Slot> {
        self.slot.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// For its task.
impl Lane {
    /// Whom to wake. The same for as long as the task lives.
    pub(super) fn attended_by(&self, task: Waker, look: Instant) {
        let mut slot = self.lock();
        slot.task = Some(task);
        slot.look = look.min(slot.deadline.unwrap_or(look));
        self.is_told.store(true, Release);
    }

    /// Whether there is anything to heed: cheap, since it is asked at every wake.
    pub(super) fn is_told(&self) -> bool {
        self.is_told.load(Acquire)
    }

    /// Does what the task was told to.
    pub(super) fn heed(&self, cx: &mut Context<'_>) -> Heed {
        let mut slot = self.lock();
        if slot.is_over {
            return Heed::End;
        }
        // It may have been told again: that is in the slot by now.
        self.is_told.store(self.push(&mut slot, cx).is_pending(), Release);
        Heed::On(slot.look)
    }

    /// Sends what is left of the request, as far as the system takes it. Told again as soon as it takes more.
    fn push(&self, slot: &mut Slot, cx: &mut Context<'_>) -> Poll<()> {
        while slot.sent < slot.out.len() {
            match self.writer.try_write(&slot.out[slot.sent..]) {
                Ok(sent @ 1..) => slot.sent += sent,
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                    if ready!(self.writer.as_ref().poll_write_ready(cx)).is_err() {
                        return Poll::Ready(());
                    }
                }
                // The peer may have replied before it hung up.
                Ok(0) | Err(_) => return Poll::Ready(()),
            }
        }
        Poll::Ready(())
    }

    /// What was asked, now that a reply begins, or none will. Where nothing was, it is closed.
    pub(super) fn begun(&self) -> Option<Asked> {
        let mut slot = self.lock();
        slot.is_over |= slot.asked.is_none();
        slot.asked.take()
    }

    /// The reply was read at that time. Whether another request may follow: all of this one was sent, and it was not given up.
    pub(super) fn finished(&self, is_whole: bool, at: Instant) -> bool {
        let mut slot = self.lock();
        let is_free = is_whole && slot.sent == slot.out.len() && !slot.is_over;
        slot.is_over |= !is_free;
        slot.deadline = None;
        slot.since = at;
        if slot.out.capacity() > KEPT {
            slot.out = Vec::new();
        }
        is_free
    }

    /// What is due, to a task that ends if anything is.
    pub(super) fn due(&self, idle_timeout: Duration) -> Due {
        let now = clock::now();
        let mut slot = self.lock();
        let then = slot.deadline.unwrap_or_else(|| clock::after(slot.since, idle_timeout));
        if then > now {
            slot.look = then;
            return Due::Later(then);
        }
        slot.is_over = true;
        if slot.deadline.is_some() { Due::Late } else { Due::Idle }
    }

    /// The task ends.
    pub(super) fn ends(&self) -> Option<Asked> {
        let mut slot = self.lock();
        slot.is_over = true;
        slot.task = None;
        slot.asked.take()
    }
}
