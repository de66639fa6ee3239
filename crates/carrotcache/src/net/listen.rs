//! A listener that strangers cannot hold up: for the peer port, and for the program's data, Redis and admin ports.
//!
//! At the cap of connections we stop accepting, so that further ones wait in the system's queue instead of being broken.
//! One task accepts, and hands what it accepts to the runtimes of the listener in turn: a connection stays where it was
//! handed, and its requests take no task of their own. One socket rather than one a runtime with `SO_REUSEPORT`: the
//! turn is fairer than the system's hash, an address that another process has is an error, and a stop leaves no queue
//! unread but the one that it empties.
//! Owned by whoever started it. What is said on a connection is its attendant's affair: HTTP's is in `http1.rs`.

use std::future::Future;
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering::Relaxed};
use std::time::Duration;

use tokio::net::{TcpListener, TcpStream};
use tokio::runtime::Handle;
use tokio::sync::watch;
use tokio::task::{JoinError, JoinHandle, JoinSet};

use crate::clock;
use crate::error::StartError;
use crate::limits::Limits;
use crate::runtimes::Runtimes;
use crate::units::ByteSize;

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
        self.0.open.fetch_sub(1, Relaxed);
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
        let mut stopped = Stop(self.stopped.clone());
        let mut connections = JoinSet::new();
        loop {
            let has_room = connections.len() < self.connections;
            tokio::select! {
                () = stopped.told() => break,
                Some(ended) = connections.join_next() => self.note(ended),
                (stream, address) = self.accept(&socket), if has_room => {
                    // Let go by the runtime of this task, for another to take up.
                    if let Ok(stream) = stream.into_std() {
                        self.hand_over((stream, address), &mut connections);
                    }
                }
            }
        }
        if let Ok(socket) = socket.into_std() {
            self.empty(&socket, &mut connections).await;
        }
        while let Some(ended) = connections.join_next().await {
            self.note(ended);
        }
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
                    Ok(accepted) => self.hand_over(accepted, connections),
                    Err(error) if is_of_the_client(&error) => {}
                    // None is left, or the system has no more for us.
                    Err(_) => return,
                }
            } else if let Some(ended) = connections.join_next().await {
                self.note(ended);
            }
        }
    }

    /// Has the connection attended on the next runtime in turn.
    fn hand_over(
        self: &Arc<Self>,
        (stream, address): (std::net::TcpStream, SocketAddr),
        connections: &mut JoinSet<()>,
    ) {
        let counted = self.counts.connection();
        connections.spawn_on(self.clone().attend(stream, address, counted), self.runtimes.next());
        if connections.len() == self.connections {
            self.counts.full.fetch_add(1, Relaxed);
        }
    }

    fn note(&self, ended: Result<(), JoinError>) {
        if ended.is_err_and(|error| error.is_panic()) {
            self.counts.panics.fetch_add(1, Relaxed);
            tracing::error!("a request panicked; its connection is closed");
        }
    }

    /// One connection, on the runtime it was handed to.
    async fn attend(self: Arc<Self>, stream: std::net::TcpStream, address: SocketAddr, _counted: Counted) {
        let Ok(stream) = taken_up(stream).await else { return };
        let stop = Stop(self.stopped.clone());
        if let Parted::Overdue = (self.attendant)(Accepted { stream, address, stop }).await {
            self.counts.overdue.fetch_add(1, Relaxed);
        }
    }
}

/// The connection, on the runtime of this task, which knows by then whether something has come in on it.
async fn taken_up(stream: std::net::TcpStream) -> io::Result<TcpStream> {
    stream.set_nonblocking(true)?;
    let stream = TcpStream::from_std(stream)?;
    // Replies are written whole: Nagle would only keep their last packet back.
    let _ = stream.set_nodelay(true);
    // At once; what has come in is told with it.
    stream.writable().await?;
    Ok(stream)
}

/// The client hung up while it was in the queue, which says nothing of the next one.
fn is_of_the_client(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::ConnectionAborted | io::ErrorKind::ConnectionReset)
}
