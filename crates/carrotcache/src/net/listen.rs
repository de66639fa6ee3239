//! A listener that strangers cannot hold up: for the peer port, and for the program's data, Redis and admin ports.
//!
//! At the cap of connections we stop accepting, so that further ones wait in the system's queue instead of being broken.
//! One task accepts, and hands what it accepts to the runtimes of the listener in turn: a connection stays where it was
//! handed, and its requests take no task of their own. One socket rather than one a runtime with `SO_REUSEPORT`: the
//! turn is fairer than the system's hash, an address that another process has is an error, and a stop leaves no queue
//! unread but the one that it empties.
//! A connection may be an attacker's and say nothing, so it costs little: one that stays where it was accepted is
//! registered once, one that ends wakes nobody, and after a few the task leaves its thread to those served before.
//! Owned by whoever started it. What is said on a connection is its attendant's affair: HTTP's is in `http1.rs`.

use std::future::Future;
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering::Relaxed};
use std::time::Duration;

use tokio::net::{TcpListener, TcpStream};
use tokio::runtime::Handle;
use tokio::sync::{Notify, watch};
use tokio::task::{JoinHandle, JoinSet};

use crate::clock;
use crate::error::StartError;
use crate::limits::Limits;
use crate::panics::caught;
use crate::runtimes::Runtimes;
use crate::units::ByteSize;

/// After each so many the thread is others' for a moment: a burst that waits in the queue would have it to itself.
const IN_A_ROW: u32 = 4;

/// So many connections have ended before the task that accepts is woken to let go of them, if it is not awake anyway.
const SWEPT: usize = 64;

/// What one listener allows its clients.
#[derive(Clone, Debug)]
pub struct ListenLimits {
    /// Connections open at once. At the cap no more are accepted; they wait in the system's queue.
    pub connections: usize,
    /// For a new connection to send a whole header, and for a later header to be whole after its first byte.
    pub header_timeout: Duration,
    /// For a connection between two requests; a client must also have taken its reply by then.
    pub idle_timeout: Duration,
    /// The longest header, with the request line. At least 8 KiB; what a connection buffers of a request is no more.
    pub head: ByteSize,
}

impl From<&Limits> for ListenLimits {
    fn from(limits: &Limits) -> Self {
        Self {
            connections: limits.connections,
            header_timeout: limits.header_timeout,
            idle_timeout: limits.idle_timeout,
            // A key of 16 KiB takes 48 KiB of target, all escaped. Twice what hyper takes for a target, so that one
            // that is too long is told so (414) rather than that the header is (431).
            head: ByteSize::kib(128),
        }
    }
}

/// A port that is bound and not yet answered.
#[derive(Debug)]
pub struct Listener {
    socket: TcpListener,
    address: SocketAddr,
    limits: ListenLimits,
    runtimes: Runtimes,
}

impl Listener {
    /// Binds the address, to be answered on the caller's runtime; port 0 takes a free one.
    ///
    /// # Errors
    /// `StartError::Bind` with the address, when the system refuses it.
    ///
    /// # Panics
    /// Outside a tokio runtime.
    pub async fn bind(address: SocketAddr, limits: ListenLimits) -> Result<Self, StartError> {
        Self::bind_on(address, limits, []).await
    }

    /// As [`bind`](Self::bind), to be answered on these runtimes, each of which has to be driven: the first accepts, and
    /// connections are handed round. The caller's where there are none.
    ///
    /// # Errors
    /// As `bind`, and when the first has stopped.
    ///
    /// # Panics
    /// Outside a tokio runtime, if none are given.
    pub async fn bind_on(
        address: SocketAddr,
        limits: ListenLimits,
        runtimes: impl IntoIterator<Item = Handle>,
    ) -> Result<Self, StartError> {
        let refused = |source| StartError::Bind { address, source };
        let runtimes = Runtimes::new(runtimes);
        // There, since a socket belongs to the runtime on which it was made.
        let bound = runtimes.first().spawn(TcpListener::bind(address)).await;
        let socket = bound.map_err(io::Error::other).flatten().map_err(refused)?;
        let address = socket.local_addr().map_err(refused)?;
        Ok(Self { socket, address, limits, runtimes })
    }

    /// The address that was bound, with its real port.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// What it allows its clients.
    pub(super) fn limits(&self) -> &ListenLimits {
        &self.limits
    }

    /// Has each connection attended by a future of its own, until the returned handle is stopped or dropped.
    ///
    /// A panic in it breaks the one connection it happened on. It has to end soon after the stop is told.
    pub fn attended_by<A, F>(self, attendant: A) -> Serving
    where
        A: Fn(Accepted) -> F + Send + Sync + 'static,
        F: Future<Output = Parted> + Send + 'static,
    {
        let (stop, stopped) = watch::channel(false);
        let counts = Arc::new(Counts::default());
        let (connections, runtimes) = (self.limits.connections, self.runtimes.clone());
        let hall = Hall { attendant, connections, counts: counts.clone(), runtimes, stopped };
        let task = self.runtimes.first().spawn(Arc::new(hall).open(self.socket));
        Serving { address: self.address, counts, stop, task }
    }
}

/// A connection that was accepted, and that a stop may end.
#[derive(Debug)]
#[non_exhaustive]
pub struct Accepted {
    /// It, without Nagle's algorithm.
    pub stream: TcpStream,
    /// Where its client is.
    pub address: SocketAddr,
    /// Of the listener.
    pub stop: Stop,
}

/// How a connection ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Parted {
    /// By its client, or in good order.
    Ended,
    /// The client let a deadline pass; counted.
    Overdue,
}

/// Tells a connection that its listener stops.
#[derive(Clone, Debug)]
pub struct Stop(watch::Receiver<bool>);

impl Stop {
    /// Until the stop; for ever if there can be none any more. Cancel-safe.
    pub async fn told(&mut self) {
        if self.0.wait_for(|stopped| *stopped).await.is_err() {
            std::future::pending::<()>().await;
        }
    }
}

/// A listener at work. Dropping it stops it at once and breaks what is in flight.
#[derive(Debug)]
pub struct Serving {
    address: SocketAddr,
    counts: Arc<Counts>,
    stop: watch::Sender<bool>,
    task: JoinHandle<()>,
}

impl Serving {
    /// The address that is answered.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// What has happened on this port so far.
    pub fn stats(&self) -> ListenStats {
        self.counts.snapshot()
    }

    /// The same numbers, for whoever reads them and does not own the listener.
    pub fn meter(&self) -> Meter {
        Meter(self.counts.clone())
    }

    /// Accepts no more, closes what is idle, lets requests in flight end, and after `drain` breaks the rest.
    ///
    /// Gives the number of connections that were broken. Dropping the future breaks them all at once.
    pub async fn stop(mut self, drain: Duration) -> usize {
        self.stop.send_replace(true);
        if clock::timeout(drain, &mut self.task).await.is_ok() {
            return 0;
        }
        let left = self.counts.open.load(Relaxed);
        self.task.abort();
        // An aborted task is gone only when it has been waited for, and its connections with it.
        let _ = (&mut self.task).await;
        left
    }
}

impl Drop for Serving {
    fn drop(&mut self) {
        self.task.abort();
    }
}

/// Reads what has happened on a listener; cheap to clone, and right also after the listener has stopped.
#[derive(Clone, Debug)]
pub struct Meter(Arc<Counts>);

impl Meter {
    /// What has happened so far.
    pub fn stats(&self) -> ListenStats {
        self.0.snapshot()
    }
}

/// What has happened on a listener.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct ListenStats {
    /// Connections open now.
    pub open: usize,
    /// Connections accepted.
    pub accepted: u64,
    /// Times that the cap of connections was reached.
    pub full: u64,
    /// Failures of the system to accept, such as running out of file descriptors. Each is followed by a pause.
    pub faults: u64,
    /// Connections closed because the client let a deadline pass.
    pub overdue: u64,
    /// Connections broken by a panic of the service.
    pub panics: u64,
}

#[derive(Debug, Default)]
struct Counts {
    open: AtomicUsize,
    accepted: AtomicU64,
    full: AtomicU64,
    faults: AtomicU64,
    overdue: AtomicU64,
    panics: AtomicU64,
    /// Connections that have ended.
    ended: AtomicUsize,
    /// Rung after each so many of them.
    many_ended: Notify,
}

impl Counts {
    fn snapshot(&self) -> ListenStats {
        ListenStats {
            open: self.open.load(Relaxed),
            accepted: self.accepted.load(Relaxed),
            full: self.full.load(Relaxed),
            faults: self.faults.load(Relaxed),
            overdue: self.overdue.load(Relaxed),
            panics: self.panics.load(Relaxed),
        }
    }

    fn connection(self: &Arc<Self>) -> Counted {
        self.accepted.fetch_add(1, Relaxed);
        self.open.fetch_add(1, Relaxed);
        Counted(self.clone())
    }
}

/// One open connection, for as long as it is held: also when its task panics or is aborted.
struct Counted(Arc<Counts>);

impl Drop for Counted {
    fn drop(&mut self) {
        let counts = &self.0;
        counts.open.fetch_sub(1, Relaxed);
        if (counts.ended.fetch_add(1, Relaxed) + 1).is_multiple_of(SWEPT) {
            counts.many_ended.notify_one();
        }
    }
}

/// What all connections of a listener share.
struct Hall<A> {
    attendant: A,
    /// Open at once.
    connections: usize,
    counts: Arc<Counts>,
    /// Where connections are attended.
    runtimes: Runtimes,
    stopped: watch::Receiver<bool>,
}

impl<A, F> Hall<A>
where
    A: Fn(Accepted) -> F + Send + Sync + 'static,
    F: Future<Output = Parted> + Send + 'static,
{
    /// Accepts until stopped, then waits for the connections to end.
    async fn open(self: Arc<Self>, socket: TcpListener) {
        let (mut stopped, mut connections) = (Stop(self.stopped.clone()), JoinSet::new());
        let mut in_a_row = 0;
        loop {
            let has_room = connections.len() < self.connections;
            tokio::select! {
                () = stopped.told() => break,
                // Where there is room nobody waits for one to end: to wake this task for each costs more than it does.
                Some(_) = connections.join_next(), if !has_room => {}
                () = self.counts.many_ended.notified() => sweep(&mut connections),
                (stream, address) = self.accept(&socket), if has_room => {
                    self.seat(stream, address, &mut connections);
                    in_a_row += 1;
                }
            }
            if in_a_row == IN_A_ROW {
                in_a_row = 0;
                tokio::task::yield_now().await;
            }
        }
        if let Ok(socket) = socket.into_std() {
            self.empty(&socket, &mut connections).await;
        }
        while connections.join_next().await.is_some() {}
    }

    /// The next connection. Whatever the system says, this neither gives up nor spins.
    async fn accept(&self, socket: &TcpListener) -> (TcpStream, SocketAddr) {
        let mut pause = Duration::from_millis(10);
        loop {
            match socket.accept().await {
                Ok(accepted) => return accepted,
                Err(error) if is_of_the_client(&error) => {}
                Err(error) => {
                    self.counts.faults.fetch_add(1, Relaxed);
                    tracing::warn!(%error, ?pause, "cannot accept a connection");
                    clock::sleep(pause).await;
                    pause = (pause * 2).min(Duration::from_secs(1));
                }
            }
        }
    }

    /// Accepts what waits in the queue, and returns once nothing does: with the socket it would be broken, and a request
    /// that was sent before the stop with it.
    async fn empty(self: &Arc<Self>, socket: &std::net::TcpListener, connections: &mut JoinSet<()>) {
        loop {
            if connections.len() < self.connections {
                match socket.accept() {
                    Ok((stream, address)) => {
                        if stream.set_nonblocking(true).is_ok() {
                            let runtime = self.runtimes.next();
                            self.attend_on(
                                runtime,
                                async { TcpStream::from_std(stream) },
                                address,
                                connections,
                            );
                        }
                    }
                    Err(error) if is_of_the_client(&error) => {}
                    // None is left, or the system has no more for us.
                    Err(_) => return,
                }
            } else {
                connections.join_next().await;
            }
        }
    }

    /// Has the connection attended on the next runtime in turn.
    fn seat(self: &Arc<Self>, stream: TcpStream, address: SocketAddr, connections: &mut JoinSet<()>) {
        let runtime = self.runtimes.next();
        if runtime.id() == self.runtimes.first().id() {
            self.attend_on(runtime, async { Ok(stream) }, address, connections);
        } else if let Ok(stream) = stream.into_std() {
            // Let go by the runtime of this task, for another to take up.
            self.attend_on(runtime, async { TcpStream::from_std(stream) }, address, connections);
        }
    }

    /// Has the connection, which is to be made on that runtime, attended there.
    fn attend_on(
        self: &Arc<Self>,
        runtime: &Handle,
        stream: impl Future<Output = io::Result<TcpStream>> + Send + 'static,
        address: SocketAddr,
        connections: &mut JoinSet<()>,
    ) {
        sweep(connections);
        let counted = self.counts.connection();
        connections.spawn_on(self.clone().attend(stream, address, counted), runtime);
        if connections.len() == self.connections {
            self.counts.full.fetch_add(1, Relaxed);
        }
    }

    /// One connection, on the runtime it was handed to.
    async fn attend(
        self: Arc<Self>,
        stream: impl Future<Output = io::Result<TcpStream>>,
        address: SocketAddr,
        _counted: Counted,
    ) {
        let Ok(stream) = stream.await else { return };
        // Replies are written whole: Nagle would only keep their last packet back.
        let _ = stream.set_nodelay(true);
        // At once; where the stream is new to this runtime, what has come in is told with it.
        if stream.writable().await.is_err() {
            return;
        }
        let stop = Stop(self.stopped.clone());
        match caught(|| (self.attendant)(Accepted { stream, address, stop })).await {
            Ok(Parted::Overdue) => drop(self.counts.overdue.fetch_add(1, Relaxed)),
            Ok(Parted::Ended) => {}
            Err(_) => {
                self.counts.panics.fetch_add(1, Relaxed);
                tracing::error!("a request panicked; its connection is closed");
            }
        }
    }
}

/// Lets go of the tasks of connections that have ended.
fn sweep(connections: &mut JoinSet<()>) {
    while connections.try_join_next().is_some() {}
}

/// The client hung up while it was in the queue, which says nothing of the next one.
fn is_of_the_client(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::ConnectionAborted | io::ErrorKind::ConnectionReset)
}

#[cfg(test)]
mod tests {
    use std::pin::pin;
    use std::task::Context;

    use super::*;

    async fn bind(connections: usize) -> Listener {
        let limits = ListenLimits { connections, ..ListenLimits::from(&Limits::default()) };
        Listener::bind("127.0.0.1:0".parse().unwrap(), limits).await.unwrap()
    }

    /// Attended until the client goes.
    async fn until_it_goes(mut accepted: Accepted) -> Parted {
        let _ = tokio::io::copy(&mut accepted.stream, &mut tokio::io::sink()).await;
        Parted::Ended
    }

    #[tokio::test]
    async fn a_burst_of_connections_leaves_the_thread_to_others_after_a_few() {
        let listener = bind(1000).await;
        let address = listener.address();
        // The system completes them; they wait in its queue.
        let burst: Vec<_> = (0..50).map(|_| std::net::TcpStream::connect(address).unwrap()).collect();
        let serving = listener.attended_by(until_it_goes);
        let mut before = 0;
        while before < burst.len() as u64 {
            tokio::task::yield_now().await;
            let accepted = serving.stats().accepted;
            assert!(accepted - before <= u64::from(IN_A_ROW), "{before} and then {accepted}");
            before = accepted;
        }
    }

    #[tokio::test]
    async fn connections_that_have_ended_take_no_place_of_others() {
        let listener = bind(2).await;
        let address = listener.address();
        let serving = listener.attended_by(until_it_goes);
        for nth in 1..=SWEPT as u64 * 2 {
            drop(TcpStream::connect(address).await.unwrap());
            while serving.stats().accepted < nth || serving.stats().open > 0 {
                tokio::task::yield_now().await;
            }
        }
        assert_eq!(serving.stats().full, 0);
    }

    #[test]
    fn who_accepts_is_called_each_time_that_many_connections_have_ended() {
        let counts = Arc::<Counts>::default();
        for _ in 0..3 {
            let mut called = pin!(counts.many_ended.notified());
            let mut is_called =
                || called.as_mut().poll(&mut Context::from_waker(std::task::Waker::noop())).is_ready();
            for _ in 1..SWEPT {
                drop(counts.connection());
                assert!(!is_called());
            }
            drop(counts.connection());
            assert!(is_called());
        }
    }
}
