//! An HTTP/1.1 listener that strangers cannot hold up: for the peer port, and for the program's data and admin ports.
//!
//! hyper reads and writes the requests; what it leaves open is done here. At the cap of connections we stop accepting,
//! so that further ones wait in the system's queue instead of being broken. A connection has a deadline whenever its
//! client is the one to act: until a request's header is whole, the first one's from the moment of accepting, and
//! between two requests. hyper's own header deadline also runs between requests, so an idle connection could not be
//! kept longer than a header may take; hence ours. A client that is refused while it sends is heard out for as long
//! as a header may take, so that it learns why.
//! One task accepts, and hands what it accepts to the runtimes of the listener in turn: a connection stays where it was
//! handed, and its requests take no task of their own. One socket rather than one a runtime with `SO_REUSEPORT`: the
//! turn is fairer than the system's hash, an address that another process has is an error, and a stop leaves no queue
//! unread but the one that it empties.
//! Owned by whoever started it. Never answers a request itself, save that hyper refuses a header that is malformed (400), a target over 64 KiB (414) and a header over
//! `ListenLimits::head` (431).

use std::convert::Infallible;
use std::future::Future;
use std::io;
use std::net::SocketAddr;
use std::pin::pin;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering::Relaxed};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use bytes::Bytes;
use http::header::UPGRADE;
use http::{Request, Response};
use hyper::body::{Body, Incoming};
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper::upgrade::{self, OnUpgrade};
use hyper_util::rt::TokioIo;
use tokio::net::{TcpListener, TcpStream};
use tokio::runtime::Handle;
use tokio::sync::watch;
use tokio::task::{JoinError, JoinHandle, JoinSet};

use crate::clock;
use crate::error::{BoxError, StartError};
use crate::limits::Limits;
use crate::net::tap::{Hear, Tap};
use crate::peers::BoxFuture;
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

    /// Answers requests with `service` until the returned handle is stopped or dropped.
    ///
    /// See [`serve_each`](Self::serve_each).
    pub fn serve<S, F, B>(self, service: S) -> Serving
    where
        S: Fn(Request<Incoming>) -> F + Send + Sync + 'static,
        F: Future<Output = Response<B>> + Send + 'static,
        B: Body<Data = Bytes> + Send + 'static,
        B::Error: Into<BoxError>,
    {
        let service = Arc::new(service);
        self.serve_each(move || {
            let service = service.clone();
            move |request| service(request)
        })
    }

    /// Answers the requests of each connection with a service of its own, which may keep in mind what happened on it.
    ///
    /// A panic of the service breaks the one connection it happened on. The service's future is dropped when its
    /// client goes away.
    pub fn serve_each<N, S, F, B>(self, new_service: N) -> Serving
    where
        N: Fn() -> S + Send + Sync + 'static,
        S: Fn(Request<Incoming>) -> F + Send + Sync + 'static,
        F: Future<Output = Response<B>> + Send + 'static,
        B: Body<Data = Bytes> + Send + 'static,
        B::Error: Into<BoxError>,
    {
        let (stop, stopped) = watch::channel(false);
        let counts = Arc::new(Counts::default());
        let address = self.address;
        let runtimes = self.runtimes.clone();
        let hall = Hall { new_service, limits: self.limits, counts: counts.clone(), runtimes, stopped };
        let task = self.runtimes.first().spawn(Arc::new(hall).open(self.socket));
        Serving { address, counts, stop, task }
    }
}

/// What is to become of a connection when a response of 101 has gone out on it: an extension of that response.
#[derive(Clone)]
pub(super) struct Takeover(Arc<dyn Fn(Taken) -> BoxFuture<'static, ()> + Send + Sync>);

impl Takeover {
    /// The connection is over when the future is. It is still one of the listener's: it counts, and a stop is heard.
    pub(super) fn by(attend: impl Fn(Taken) -> BoxFuture<'static, ()> + Send + Sync + 'static) -> Self {
        Self(Arc::new(attend))
    }
}

/// A connection that is no longer one of HTTP.
pub(super) struct Taken {
    pub(super) stream: TcpStream,
    /// What has come behind the request.
    pub(super) read: Bytes,
    /// For [`told`].
    pub(super) stopped: watch::Receiver<bool>,
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
struct Hall<N> {
    new_service: N,
    limits: ListenLimits,
    counts: Arc<Counts>,
    /// Where connections are attended.
    runtimes: Runtimes,
    stopped: watch::Receiver<bool>,
}

impl<N, S, F, B> Hall<N>
where
    N: Fn() -> S + Send + Sync + 'static,
    S: Fn(Request<Incoming>) -> F + Send + Sync + 'static,
    F: Future<Output = Response<B>> + Send + 'static,
    B: Body<Data = Bytes> + Send + 'static,
    B::Error: Into<BoxError>,
{
    /// Accepts until stopped, then waits for the connections to end.
    async fn open(self: Arc<Self>, socket: TcpListener) {
        let mut stopped = self.stopped.clone();
        let mut connections = JoinSet::new();
        loop {
            let has_room = connections.len() < self.limits.connections;
            tokio::select! {
                () = told(&mut stopped) => break,
                Some(ended) = connections.join_next() => self.note(ended),
                stream = self.accept(&socket), if has_room => {
                    // Let go by the runtime of this task, for another to take up.
                    if let Ok(stream) = stream.into_std() {
                        self.hand_over(stream, &mut connections);
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
    async fn accept(&self, socket: &TcpListener) -> TcpStream {
        let mut pause = Duration::from_millis(10);
        loop {
            match socket.accept().await {
                Ok((stream, _)) => return stream,
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
            if connections.len() < self.limits.connections {
                match socket.accept() {
                    Ok((stream, _)) => self.hand_over(stream, connections),
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
    fn hand_over(self: &Arc<Self>, stream: std::net::TcpStream, connections: &mut JoinSet<()>) {
        let counted = self.counts.connection();
        connections.spawn_on(self.clone().attend(stream, counted), self.runtimes.next());
        if connections.len() == self.limits.connections {
            self.counts.full.fetch_add(1, Relaxed);
        }
    }

    fn note(&self, ended: Result<(), JoinError>) {
        if ended.is_err_and(|error| error.is_panic()) {
            self.counts.panics.fetch_add(1, Relaxed);
            tracing::error!("a request panicked; its connection is closed");
        }
    }

    /// One connection, until its client, a deadline or a stop ends it.
    async fn attend(self: Arc<Self>, stream: std::net::TcpStream, _counted: Counted) {
        let Ok(stream) = taken_up(stream).await else { return };
        let (turn, answer) = (Arc::new(Turn::new()), (self.new_service)());
        let service = service_fn(|mut request: Request<Incoming>| {
            let upgrade = request.headers().contains_key(UPGRADE).then(|| upgrade::on(&mut request));
            let answer = answer(request);
            let turn = turn.clone();
            async move {
                // Ours from the first poll on. hyper may take up a request while the last answer waits for its client,
                // and polls nothing before that is taken: until then it is still the client who has to act.
                turn.ours();
                let mut response = answer.await;
                turn.hand_over(upgrade.zip(response.extensions_mut().remove()));
                turn.over();
                Ok::<_, Infallible>(response)
            }
        });
        let connection = http1::Builder::new()
            .max_buf_size(buffer(&self.limits))
            .header_read_timeout(None)
            .serve_connection(TokioIo::new(Tap::new(stream, turn.clone())), service)
            .with_upgrades();
        let mut connection = pin!(connection);
        let mut stopped = self.stopped.clone();
        let mut is_stopping = false;
        while let Some(wake) = turn.next_look(&self.limits) {
            tokio::select! {
                // First, so that a request which came before a stop is seen before the stop is.
                biased;
                ended = clock::timeout_at(wake, connection.as_mut()) => if ended.is_ok() {
                    return handed_over(&turn, stopped).await;
                },
                () = told(&mut stopped), if !is_stopping => {
                    is_stopping = true;
                    turn.stop();
                    connection.as_mut().graceful_shutdown();
                }
            }
        }
        self.counts.overdue.fetch_add(1, Relaxed);
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

/// What comes of the connection if it is no longer one of HTTP.
async fn handed_over(turn: &Turn, stopped: watch::Receiver<bool>) {
    let heir = turn.heir.lock().unwrap_or_else(PoisonError::into_inner).take();
    let Some((upgrade, Takeover(attend))) = heir else { return };
    let Ok(upgraded) = upgrade.await else { return };
    if let Ok(parts) = upgraded.downcast::<TokioIo<Tap<Turn>>>() {
        attend(Taken { stream: parts.io.into_inner().into_stream(), read: parts.read_buf, stopped }).await;
    }
}

/// Until the stop; for ever if there can be none any more.
pub(super) async fn told(stopped: &mut watch::Receiver<bool>) {
    if stopped.wait_for(|stopped| *stopped).await.is_err() {
        std::future::pending::<()>().await;
    }
}

/// The client hung up while it was in the queue, which says nothing of the next one.
fn is_of_the_client(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::ConnectionAborted | io::ErrorKind::ConnectionReset)
}

/// hyper refuses to be built with less than 8 KiB.
fn buffer(limits: &ListenLimits) -> usize {
    usize::try_from(limits.head.as_u64()).unwrap_or(usize::MAX).max(8 << 10)
}

/// Whose turn it is on a connection, and since when.
///
/// A client that sends its next request before it has taken a long reply is timed as sending a header meanwhile.
/// Peers and browsers wait for the reply, and one that does not is broken only if it is slow as well.
struct Turn {
    whose: Mutex<Whose>,
    /// The listener stops: nobody is waited for who is not being answered.
    is_stopping: AtomicBool,
    /// Who has the connection when it is no longer one of HTTP.
    heir: Mutex<Option<(OnUpgrade, Takeover)>>,
}

#[derive(Clone, Copy)]
enum Whose {
    /// The client's: the header is not whole yet.
    Header { since: Instant },
    /// Ours: a request is being answered. Its deadline is the service's business.
    Ours,
    /// Nobody's: the last answer is given, and may still be on its way out.
    Idle { since: Instant },
}

impl Turn {
    fn new() -> Self {
        let whose = Mutex::new(Whose::Header { since: clock::now() });
        Self { whose, is_stopping: AtomicBool::new(false), heir: Mutex::new(None) }
    }

    fn hand_over(&self, heir: Option<(OnUpgrade, Takeover)>) {
        if heir.is_some() {
            *self.heir.lock().unwrap_or_else(PoisonError::into_inner) = heir;
        }
    }

    // std Mutex: held for an assignment, by this connection's task alone.
    fn with<T>(&self, act: impl FnOnce(&mut Whose) -> T) -> T {
        act(&mut self.whose.lock().unwrap_or_else(PoisonError::into_inner))
    }

    fn ours(&self) {
        self.with(|whose| *whose = Whose::Ours);
    }

    fn over(&self) {
        self.with(|whose| *whose = Whose::Idle { since: clock::now() });
    }

    fn stop(&self) {
        self.is_stopping.store(true, Relaxed);
    }

    /// When to look again, or `None` when the deadline has passed.
    ///
    /// Looking as often as the shorter deadline is enough to be on time: what begins after one look is due after the
    /// next one. So the timer is not touched for each request.
    fn next_look(&self, limits: &ListenLimits) -> Option<Instant> {
        let now = clock::now();
        let look = clock::after(now, limits.header_timeout.min(limits.idle_timeout));
        let due = match self.with(|whose| *whose) {
            Whose::Header { since } => clock::after(since, limits.header_timeout),
            Whose::Idle { since } => clock::after(since, limits.idle_timeout),
            Whose::Ours => return Some(look),
        };
        (due > now).then(|| due.min(look))
    }
}

impl Hear for Turn {
    fn heard(&self) {
        self.with(|whose| {
            if let Whose::Idle { .. } = whose {
                *whose = Whose::Header { since: clock::now() };
            }
        });
    }

    fn hears_out(&self) -> bool {
        self.with(|whose| match whose {
            Whose::Header { .. } => {}
            // Its deadline is that of a header, from our last word on.
            Whose::Ours | Whose::Idle { .. } => *whose = Whose::Header { since: clock::now() },
        });
        !self.is_stopping.load(Relaxed)
    }
}

#[cfg(test)]
mod tests;
