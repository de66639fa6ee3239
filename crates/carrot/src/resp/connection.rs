//! One client: reads all there is, runs all of it, writes once.
//!
//! Requests run in their order, and what is here is answered at once, without a task. Reads that follow one upon the
//! other are looked up together; those that have to wait go on beside each other, some at a time; whatever else comes
//! waits until all before it is answered, so that a client sees what it has written itself. Owned by the connection's
//! task. Deadlines run while the client is the one to act.

use std::pin::{Pin, pin};
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;
use std::time::Instant;

use carrotcache::net::intake::Share;
use carrotcache::{BoxFuture, Refusal};
use tokio::io::AsyncReadExt;
use tokio::net::TcpStream;
use tokio::net::tcp::ReadHalf;
use tokio::time::{Sleep, sleep_until};

use crate::awake;
use crate::resp::ahead::{Ahead, Looked};
use crate::resp::clients::Seat;
use crate::resp::dispatch::{Step, dispatch, read, run};
use crate::resp::end::End;
use crate::resp::front::Front;
use crate::resp::outgo::Outgo;
use crate::resp::reads::waited;
use crate::resp::reply::Reply;
use crate::resp::request::{Bounds, Parser, Words};
use crate::resp::session::{Queue, Session};
use crate::resp::window::at_once;

/// What a connection reads into at first, and what it keeps of a longer buffer once that is empty, in bytes.
const FIRST: usize = 16 << 10;
const PIECE: usize = 64 << 10;

/// So many reads that each found something, and the thread is others' for a moment: a socket that is never empty is
/// never waited for, and its client would have the thread to itself.
const IN_A_ROW: u32 = 4;

struct Connection<'c> {
    reader: ReadHalf<'c>,
    front: &'c Arc<Front>,
    session: Session,
    parser: Parser,
    /// What was read and not run.
    input: Vec<u8>,
    /// Where in it the next request begins.
    start: usize,
    /// Of long requests in it.
    held: Share,
    charged: usize,
    /// Reads that were read and not looked up.
    ahead: Ahead<'c>,
    out: Outgo<'c>,
    /// Something has come.
    has_spoken: bool,
    /// When the client was last done with something: a request, or taking what it was sent.
    idle_since: Instant,
    /// When the request began that is being read.
    begun: Option<Instant>,
    /// Reads since the socket was last empty, or the thread left to others.
    in_a_row: u32,
}

/// Answers one client until it goes, a deadline passes, or `stopped` is ready and it has been answered.
pub async fn serve(
    stream: &mut TcpStream,
    front: &Arc<Front>,
    seat: Seat,
    stopped: impl Future<Output = ()>,
) -> End {
    let now = Instant::now();
    let (reader, writer) = stream.split();
    let mut connection = Connection {
        reader,
        front,
        session: Session::new(seat, front.gate.is_open()),
        parser: Parser::default(),
        input: Vec::new(),
        start: 0,
        held: front.intake.share(),
        charged: 0,
        ahead: Ahead::default(),
        out: Outgo::new(writer.as_ref(), front),
        has_spoken: false,
        idle_since: now,
        begun: None,
        in_a_row: 0,
    };
    let client = connection.session.client().clone();
    let mut stopped = pin!(stopped);
    tokio::select! {
        biased;
        end = connection.go_on(stopped.as_mut()) => end,
        // Whatever it waits for: its client, or a load.
        () = client.killed() => End::Gone,
    }
}

impl Connection<'_> {
    /// Reads and answers, over and over.
    async fn go_on(&mut self, mut stopped: Pin<&mut impl Future<Output = ()>>) -> End {
        let mut alarm = pin!(sleep_until(self.deadline().into()));
        loop {
            if let Err(end) = self.read(stopped.as_mut(), alarm.as_mut()).await {
                return end;
            }
            let ended = self.answer().await;
            self.out.count();
            if let Err(end) = ended {
                return end;
            }
        }
    }

    /// Waits for more bytes.
    async fn read(
        &mut self,
        mut stopped: Pin<&mut impl Future<Output = ()>>,
        mut alarm: Pin<&mut Sleep>,
    ) -> Result<(), End> {
        self.make_room()?;
        // Else it is looked at when it rings: most connections have moved their deadline by then.
        if self.deadline() < alarm.deadline().into_std() {
            alarm.as_mut().reset(self.deadline().into());
        }
        loop {
            // Through tokio's reader, which knows by a read that left room that there is no more: asking the system again
            // would cost a call for each batch.
            let read = tokio::select! {
                biased;
                () = stopped.as_mut() => return Err(End::Stopped),
                read = self.reader.read_buf(&mut self.input) => read.map_err(|_| End::Gone)?,
                () = alarm.as_mut() => {
                    let deadline = self.deadline();
                    if deadline <= Instant::now() {
                        return Err(End::Overdue);
                    }
                    alarm.as_mut().reset(deadline.into());
                    continue;
                }
            };
            if read == 0 {
                return Err(End::Gone);
            }
            self.has_spoken = true;
            awake::heard();
            let may_have_left_some = self.input.len() == self.input.capacity();
            self.in_a_row = if may_have_left_some { self.in_a_row + 1 } else { 0 };
            if self.in_a_row == IN_A_ROW {
                self.in_a_row = 0;
                tokio::task::yield_now().await;
            }
            return Ok(());
        }
    }

    /// Until when the client has to act.
    fn deadline(&self) -> Instant {
        let allowed = &self.front.allowed;
        match self.begun {
            _ if !self.session.is_known || !self.has_spoken => {
                self.session.greets_since + allowed.greeting_timeout
            }
            Some(begun) => begun + allowed.part_timeout,
            None => self.idle_since + allowed.idle_timeout,
        }
    }

    /// Room to read into: what was run is dropped, and a request that is longer than the buffer makes it grow, by as
    /// much again each time, whatever length it claims.
    fn make_room(&mut self) -> Result<(), End> {
        self.input.drain(..self.start);
        self.start = 0;
        if self.input.is_empty() && self.input.capacity() > PIECE {
            self.input = Vec::new();
            self.held.release();
            self.charged = 0;
        }
        let spare = self.input.capacity() - self.input.len();
        if spare < FIRST / 2 {
            let more = self.input.len().max(FIRST);
            let charge = (self.input.len() + more).saturating_sub(PIECE.max(self.charged));
            if charge > 0 {
                self.held.grow(charge as u64).map_err(|full| {
                    self.front.cluster.count_refusal(full.cause());
                    End::Refused
                })?;
                self.charged = self.input.len() + more;
            }
            self.input.reserve_exact(more);
        }
        Ok(())
    }

    /// Runs all requests that are whole, and sends what comes of them.
    async fn answer(&mut self) -> Result<(), End> {
        let mut commands = 0;
        let ended = self.run_all(&mut commands).await;
        self.front.counts.commands.fetch_add(commands, Relaxed);
        let sent = match ended {
            // What was answered before the end is sent, also to a client that is refused.
            Ok(()) | Err(End::Refused | End::Stopped) => {
                self.out.settle(&self.session).await.and(self.out.flush().await)
            }
            Err(_) => Ok(()),
        };
        ended.and(sent)?;
        if self.session.is_ending {
            return Err(End::Gone);
        }
        let is_amid = self.start < self.input.len();
        self.idle_since = Instant::now();
        self.begun = if is_amid { self.begun.or(Some(self.idle_since)) } else { None };
        Ok(())
    }

    async fn run_all(&mut self, commands: &mut u64) -> Result<(), End> {
        while !self.session.is_ending {
            if self.ahead.is_full() {
                self.look_ahead().await?;
            }
            let bounds = Bounds { bulk: self.front.allowed.bulk, is_stranger: !self.session.is_known };
            let read = self.parser.read(&self.input[self.start..], bounds);
            if let Ok(Some(length)) = read {
                *commands += 1;
                self.begun = None;
                if self.is_put_ahead(length) {
                    self.start += length;
                    continue;
                }
            }
            self.look_ahead().await?;
            match read {
                Ok(Some(length)) => {
                    self.one(length).await?;
                    self.start += length;
                }
                Ok(None) if self.input.len() - self.start > self.front.allowed.request => {
                    self.front.cluster.count_refusal(Refusal::Value);
                    return Err(End::Refused);
                }
                Ok(None) => return Ok(()),
                Err(bad) => {
                    self.front.cluster.count_refusal(Refusal::Malformed);
                    self.out.put(Reply::error(format!("ERR {bad}")), &self.session).await?;
                    return Err(End::Refused);
                }
            }
        }
        Ok(())
    }

    /// Whether the request of that length is a read that is looked up with those around it.
    fn is_put_ahead(&mut self, length: usize) -> bool {
        let words = self.parser.words(&self.input[self.start..self.start + length]);
        !self.parser.is_typed()
            && read(&self.session, words)
                .is_some_and(|told| self.ahead.put(&self.front.keyspace, self.start, words, told))
    }

    /// Answers the reads that were put ahead.
    async fn look_ahead(&mut self) -> Result<(), End> {
        let Self { front, session, input, ahead, out, .. } = self;
        let Looked { told, held: _held } = ahead.look(input, front);
        for looked in told {
            match looked {
                Ok(reply) => out.put(reply, session).await?,
                Err((request, told)) => out.put_read(request, told, session).await?,
            }
        }
        Ok(())
    }

    /// Runs the request of that length.
    async fn one(&mut self, length: usize) -> Result<(), End> {
        let Self { front, session, parser, input, start, out, .. } = self;
        let words = parser.words(&input[*start..*start + length]);
        if words.len() == 0 {
            return Ok(());
        }
        if out.waits() && read(session, words).is_none() {
            out.settle(session).await?;
        }
        match dispatch(session, front, words) {
            Step::Reply(reply) => out.put(reply, session).await,
            Step::Read(request, told) => out.put_read(request, told, session).await,
            Step::Later(work) => noted(work, words, session, front, out).await,
            Step::Exec(queue) => exec(session, front, out, &queue).await,
            Step::HangUp => Err(End::Refused),
        }
    }
}

/// Answers with what work comes to, and notes it if that took long.
async fn noted(
    work: BoxFuture<'static, Reply>,
    words: Words<'_>,
    session: &Session,
    front: &Front,
    out: &mut Outgo<'_>,
) -> Result<(), End> {
    let began = Instant::now();
    let reply = later(work, out).await?;
    front.slowlog.note(words, began.elapsed(), session.client());
    out.put(reply, session).await
}

/// What work comes to. If it is not done at once, what was answered before is sent first.
async fn later(mut work: BoxFuture<'static, Reply>, out: &mut Outgo<'_>) -> Result<Reply, End> {
    if let Some(reply) = at_once(&mut work).await {
        return Ok(reply);
    }
    out.flush().await?;
    Ok(work.await)
}

/// Runs what was queued, one after the other; their replies are one list.
async fn exec(
    session: &mut Session,
    front: &Arc<Front>,
    out: &mut Outgo<'_>,
    queue: &Queue,
) -> Result<(), End> {
    out.put_list(queue.requests.len());
    for request in &queue.requests {
        let work = match run(session, front, request.words()) {
            Step::Reply(reply) => {
                out.put(reply, session).await?;
                continue;
            }
            Step::Read(request, told) => Box::pin(waited(front.clone(), request.bytes(1), told)),
            Step::Later(work) => work,
            // Neither is ever queued.
            Step::Exec(_) | Step::HangUp => return Err(End::Refused),
        };
        noted(work, request.words(), session, front, out).await?;
    }
    Ok(())
}
