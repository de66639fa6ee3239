//! One connection to a peer: the task that reads what the peer replies.
//!
//! It waits for the first byte of a reply, or the connection's end, before anything is asked; so whoever asks has nobody
//! to wake. Small values are read with their head, by one call, large ones straight to where they stay. A request may
//! still be being sent while its reply is read, since a peer may refuse an upload before it is over. The task ends with
//! the connection: when the peer closes it or breaks the rules, when a reply is late or nobody wants it any more, or when
//! nobody has asked for too long.
//! Runs on the runtime where the connection was made.

use std::future::poll_fn;
use std::io;
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::task::Poll;
use std::time::{Duration, Instant};

use bytes::{BufMut, Bytes};
use http::StatusCode;
use tokio::io::AsyncReadExt;
use tokio::net::TcpStream;
use tokio::net::tcp::OwnedReadHalf;

use crate::clock;
use crate::error::PeerError;
use crate::limits::Limits;
use crate::memory::Charge;
use crate::message::Reply;
use crate::net::client::call::Call;
use crate::net::client::lane::{Asked, Due, Heed, KEPT, Lane};
use crate::net::client::response::{Body, HEAD_MAX, Head, Malformed, Search};
use crate::net::reply::TEXT_LIMIT;
use crate::net::seldom::Seldom;
use crate::peers::{BoxFuture, Sent};

/// What is read at once, in bytes; a head and a small value fit.
const READ: usize = 16 << 10;

/// How much of a value there is room made for before it has come. Beyond, as much again as has come.
const AHEAD: usize = 128 << 10;

/// The reading side of a connection.
pub(super) struct Reader {
    socket: Socket,
    /// What came of the reply, and is no part of a large value.
    read: Vec<u8>,
    /// Whom the peer named last as a value's giver, itself in most cases.
    giver: Arc<str>,
    limits: Arc<Limits>,
}

/// Where connections stand between two requests.
pub(super) trait Home {
    /// Takes it, or there is no such place any more.
    fn keep(&self, lane: &Arc<Lane>) -> bool;

    /// It is closed.
    fn forget(&self, lane: &Arc<Lane>);
}

/// The socket, as far as it is read, and what else wakes the task.
struct Socket {
    lane: Arc<Lane>,
    stream: OwnedReadHalf,
    idle_timeout: Duration,
    /// When to look at the clock. Seldom: it rings also where a peer sends without end, and costs the replies in time nothing.
    alarm: Seldom<BoxFuture<'static, ()>>,
    rings: Instant,
}

/// Why nothing more comes.
enum End {
    /// The peer's doing: its end, or an error.
    Peer(Option<io::Error>),
    Late,
    /// Nobody wants it.
    Unwanted,
}

impl From<Malformed> for PeerError {
    fn from(why: Malformed) -> Self {
        PeerError::broken(&why.to_string())
    }
}

/// Why there is no reply; `None`: nobody waits for one.
type Failure = Option<PeerError>;

impl Reader {
    /// A connection on this runtime.
    pub(super) fn new(stream: TcpStream, limits: Arc<Limits>) -> Self {
        let (stream, writer) = stream.into_split();
        let lane = Arc::new(Lane::new(writer));
        let idle_timeout = limits.idle_timeout;
        let rings = clock::after(clock::now(), idle_timeout);
        let socket = Socket { lane, stream, idle_timeout, alarm: alarm_at(rings), rings };
        Self { socket, read: Vec::with_capacity(READ), giver: Arc::default(), limits }
    }

    /// Where to ask on it.
    pub(super) fn lane(&self) -> &Arc<Lane> {
        &self.socket.lane
    }

    /// Reads replies until the connection ends. It goes home after each, for the next request. To drop the future closes it,
    /// also before it has begun.
    pub(super) fn attend<H: Home + Send>(self, home: H) -> impl Future<Output = ()> + Send {
        let ending = Ending { lane: self.lane().clone(), home };
        self.run(ending)
    }

    async fn run<H: Home>(mut self, ending: Ending<H>) {
        let (lane, look) = (self.lane().clone(), self.socket.rings);
        let task = poll_fn(|cx| Poll::Ready(cx.waker().clone())).await;
        lane.attended_by(task, look);
        let mut is_used = false;
        loop {
            self.read.clear();
            self.read.reserve(READ);
            let first = self.socket.more(&mut self.read, READ).await;
            // Closed, or something said unasked, while nobody asked.
            let Some(Asked { call, began, deadline, then, place }) = lane.begun() else { return };
            let replied = match first {
                // It was closed meanwhile, and the peer has most likely not seen the request.
                Err(End::Peer(_)) if is_used => return then(Sent::Unseen, clock::now()),
                Err(end) => Err(end.failure("closed without a reply", deadline - began)),
                Ok(()) => self.reply(&call, deadline - began).await,
            };
            let (reply, is_whole) = match replied {
                Ok(reply) => reply,
                Err(None) => return,
                Err(Some(error)) => (Err(error), false),
            };
            let now = clock::now();
            let is_kept = lane.finished(is_whole, now) && ending.home.keep(&lane);
            drop(place);
            then(Sent::Answered(reply), now);
            if !is_kept {
                return;
            }
            is_used = true;
            if self.read.capacity() > KEPT {
                self.read = Vec::new();
            }
        }
    }

    /// The reply whose first bytes have come, and whether it is one after which another may come: it was read to its end, of
    /// a refusal the beginning is enough.
    async fn reply(
        &mut self,
        call: &Call,
        allowed: Duration,
    ) -> Result<(Result<Reply, PeerError>, bool), Failure> {
        let head = self.head(allowed).await?;
        let (body, end) = self.body(&head, call, allowed).await?;
        let is_whole = end == Some(self.read.len()) && !head.is_last;
        let reply = call.read(head.fields(&self.read), body, &self.giver, &self.limits);
        if let Ok(Reply::Found(found)) = &reply {
            self.giver.clone_from(&found.node);
        }
        Ok((reply, is_whole))
    }

    async fn head(&mut self, allowed: Duration) -> Result<Head, Failure> {
        let mut search = Search::default();
        loop {
            if let Some(head) = search.look(&self.read).map_err(PeerError::from)? {
                return Ok(head);
            }
            let room = HEAD_MAX.saturating_sub(self.read.len()).min(READ);
            let more = self.socket.more(&mut self.read, room).await;
            more.map_err(|end| end.failure(CUT, allowed))?;
        }
    }

    /// The body as far as it is wanted, and where in what was read the reply ends; `None`: it was not read to its end. A value
    /// is charged to the node's memory as it comes in, for as long as it is held.
    async fn body(
        &mut self,
        head: &Head,
        call: &Call,
        allowed: Duration,
    ) -> Result<(Bytes, Option<usize>), Failure> {
        let carries_value = head.status == StatusCode::OK;
        if carries_value && head.body.has_no_end() {
            return Err(Some(PeerError::broken(
                "a reply that ends when the connection does, and may have been cut",
            )));
        }
        let mut taken = Taken::new(carries_value, call, &self.limits);
        let (mut body, mut at) = (head.body, head.end);
        loop {
            let mut bytes = &self.read[at..];
            let is_enough = taken.pieces(&mut body, &mut bytes)?;
            at = self.read.len() - bytes.len();
            if is_enough || body.is_over() {
                return Ok((taken.whole(), (!is_enough).then_some(at)));
            }
            let more = match body.run() {
                // Much of it in one run: straight to where it stays.
                Some(run) if carries_value && run >= READ as u64 => {
                    let (before, room) = (taken.bytes.len(), taken.room_for(run));
                    let more = self.socket.more(&mut taken.bytes, room).await;
                    let came = taken.bytes.len() - before;
                    taken.charged(came)?;
                    body.came(came);
                    more
                }
                _ => {
                    self.read.drain(head.end..at);
                    at = head.end;
                    self.socket.more(&mut self.read, READ).await
                }
            };
            match more {
                Ok(()) => {}
                Err(End::Peer(None)) if body.has_no_end() => return Ok((taken.whole(), None)),
                Err(end) => return Err(end.failure(CUT, allowed)),
            }
        }
    }
}

/// What was taken of a body: of a value all, and no more than one may have; of a refusal's text the beginning.
struct Taken<'a> {
    bytes: Vec<u8>,
    is_value: bool,
    limit: usize,
    call: &'a Call,
    charge: Charge,
}

impl<'a> Taken<'a> {
    fn new(is_value: bool, call: &'a Call, limits: &Limits) -> Self {
        let (limit, charge) = match is_value {
            true => (call.value_limit(limits), limits.memory.charge()),
            false => (TEXT_LIMIT, Charge::default()),
        };
        Self { bytes: Vec::new(), is_value, limit, call, charge }
    }

    /// Takes the pieces of the body in what was read, up to where they end; whether that is enough of a text.
    fn pieces(&mut self, body: &mut Body, read: &mut &[u8]) -> Result<bool, Failure> {
        loop {
            let piece = body.take(read).map_err(PeerError::from)?;
            let room = self.limit - self.bytes.len();
            // Of a value it counts what is to come, so that all of a run has room when it is read.
            let run = body.run().filter(|_| self.is_value).unwrap_or(0);
            if run.saturating_add(piece.len() as u64) > room as u64 {
                if self.is_value {
                    return Err(Some(PeerError::broken("a reply over the limit")));
                }
                self.bytes.extend_from_slice(&piece[..room]);
                return Ok(true);
            }
            if piece.is_empty() {
                return Ok(false);
            }
            self.charged(piece.len())?;
            if self.bytes.is_empty() {
                self.bytes.reserve_exact(piece.len() + ahead(body.run().unwrap_or(0), 0));
            }
            self.bytes.extend_from_slice(piece);
        }
    }

    /// Makes room to read a part of a run of so many bytes, and gives for how many.
    fn room_for(&mut self, run: u64) -> usize {
        if self.bytes.capacity() == self.bytes.len() {
            self.bytes.reserve_exact(ahead(run, self.bytes.len()));
        }
        let room = self.bytes.capacity() - self.bytes.len();
        usize::try_from(run).map_or(room, |run| run.min(room))
    }

    fn charged(&self, bytes: usize) -> Result<(), PeerError> {
        self.charge.grow(bytes as u64).map_err(|full| self.call.full(full))
    }

    /// All of it, charged for as long as it is held.
    fn whole(self) -> Bytes {
        self.charge.around(self.bytes.into())
    }
}

/// The connection ended in the middle of a reply.
const CUT: &str = "closed within a reply";

impl End {
    /// What whoever waits for a reply is told; `closed`, if the peer has just ended.
    fn failure(self, closed: &str, allowed: Duration) -> Failure {
        Some(match self {
            Self::Peer(None) => PeerError::broken(closed),
            Self::Peer(Some(error)) => PeerError::broken(&error.to_string()),
            Self::Late => PeerError::Timeout(clock::in_whole_ms(allowed)),
            Self::Unwanted => return None,
        })
    }
}

/// However the task ends, nothing more is asked on the connection, and whoever has asked learns that nothing comes.
struct Ending<H: Home> {
    lane: Arc<Lane>,
    home: H,
}

impl<H: Home> Drop for Ending<H> {
    fn drop(&mut self) {
        drop(self.lane.ends());
        self.home.forget(&self.lane);
    }
}

impl Socket {
    /// Reads some bytes, `most` at most.
    async fn more(&mut self, into: &mut Vec<u8>, most: usize) -> Result<(), End> {
        let Self { lane, stream, idle_timeout, alarm, rings } = self;
        let mut into = into.limit(most);
        let mut read = pin!(stream.read_buf(&mut into));
        poll_fn(|cx| {
            if lane.is_told() {
                let Heed::On(look) = lane.heed(cx) else { return Poll::Ready(Err(End::Unwanted)) };
                if look != *rings {
                    (*alarm, *rings) = (alarm_at(look), look);
                }
            }
            if let Poll::Ready(came) = read.as_mut().poll(cx) {
                return Poll::Ready(match came {
                    Ok(1..) => Ok(()),
                    Ok(0) => Err(End::Peer(None)),
                    Err(error) => Err(End::Peer(Some(error))),
                });
            }
            while Pin::new(&mut *alarm).poll(cx).is_ready() {
                match lane.due(*idle_timeout) {
                    Due::Later(then) => (*alarm, *rings) = (alarm_at(then), then),
                    Due::Late => return Poll::Ready(Err(End::Late)),
                    Due::Idle => return Poll::Ready(Err(End::Unwanted)),
                }
            }
            Poll::Pending
        })
        .await
    }
}

fn alarm_at(then: Instant) -> Seldom<BoxFuture<'static, ()>> {
    Seldom::new(Box::pin(clock::sleep_until(then)))
}

/// How many bytes of a run of so many there is to be room for, behind what came before.
fn ahead(run: u64, came: usize) -> usize {
    usize::try_from(run).unwrap_or(usize::MAX).min(came.max(AHEAD))
}
