//! The listener of the Redis front: accepts, counts, ends connections.
//!
//! As the library's for HTTP: at the cap of connections no more are accepted, and they wait in the system's queue; a
//! stop closes what is idle, lets what is being answered end, and after the drain breaks the rest. One task for accepting
//! and one for each connection.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering::Relaxed};
use std::time::Duration;

use carrotcache::StartError;
use carrotcache::net::listen::ListenStats;
use tokio::io::AsyncWriteExt;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio::task::{JoinError, JoinHandle, JoinSet};

use crate::resp::connection::serve;
use crate::resp::end::End;
use crate::resp::front::{CountsSnapshot, Front};

/// After a failure of the system to accept, such as running out of file descriptors.
const PAUSE: Duration = Duration::from_millis(50);

/// How long a client that was refused is heard out.
const HEARD_OUT: Duration = Duration::from_secs(1);

/// A port that is bound and not yet answered.
#[derive(Debug)]
pub struct Port {
    socket: TcpListener,
    address: SocketAddr,
}

impl Port {
    /// Binds the address; port 0 takes a free one.
    ///
    /// # Errors
    /// With the address, when the system refuses it.
    pub async fn bind(address: SocketAddr) -> Result<Self, StartError> {
        let refused = |source| StartError::Bind { address, source };
        let socket = TcpListener::bind(address).await.map_err(refused)?;
        let address = socket.local_addr().map_err(refused)?;
        Ok(Self { socket, address })
    }

    /// Answers until the returned handle is stopped or dropped.
    pub fn serve(self, front: Arc<Front>) -> Serving {
        let (stop, stopped) = watch::channel(false);
        let meter = Meter { counts: Arc::default(), front };
        let task = tokio::spawn(accept_all(self.socket, meter.clone(), stopped));
        Serving { address: self.address, meter, stop, task }
    }
}

/// A front at work. Dropping it stops it at once and breaks what is in flight.
pub struct Serving {
    address: SocketAddr,
    meter: Meter,
    stop: watch::Sender<bool>,
    task: JoinHandle<()>,
}

impl Serving {
    /// The address that is answered.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Its numbers, for whoever reads them.
    pub fn meter(&self) -> Meter {
        self.meter.clone()
    }

    /// Accepts no more, closes what is idle, lets what is being answered end, and after `drain` breaks the rest; gives
    /// the number of those.
    pub async fn stop(mut self, drain: Duration) -> usize {
        self.stop.send_replace(true);
        if tokio::time::timeout(drain, &mut self.task).await.is_ok() {
            return 0;
        }
        let left = self.meter.counts.open.load(Relaxed);
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

/// Reads what has happened on the port; cheap to clone.
#[derive(Clone)]
pub struct Meter {
    counts: Arc<Counts>,
    front: Arc<Front>,
}

impl Meter {
    /// Its connections.
    pub fn stats(&self) -> ListenStats {
        let mut stats = ListenStats::default();
        stats.open = self.counts.open.load(Relaxed);
        stats.accepted = self.counts.accepted.load(Relaxed);
        stats.full = self.counts.full.load(Relaxed);
        stats.faults = self.counts.faults.load(Relaxed);
        stats.overdue = self.counts.overdue.load(Relaxed);
        stats.panics = self.counts.panics.load(Relaxed);
        stats
    }

    /// Its commands.
    pub fn commands(&self) -> CountsSnapshot {
        self.front.counts.snapshot()
    }
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

/// One open connection, for as long as it is held: also when its task panics or is aborted.
struct Counted(Arc<Counts>);

impl Counted {
    fn new(counts: &Arc<Counts>) -> Self {
        counts.accepted.fetch_add(1, Relaxed);
        counts.open.fetch_add(1, Relaxed);
        Self(counts.clone())
    }
}

impl Drop for Counted {
    fn drop(&mut self) {
        self.0.open.fetch_sub(1, Relaxed);
    }
}

async fn accept_all(socket: TcpListener, meter: Meter, stopped: watch::Receiver<bool>) {
    let Meter { counts, front } = meter;
    let mut connections = JoinSet::new();
    let mut told = stopped.clone();
    loop {
        let has_room = connections.len() < front.allowed.connections;
        tokio::select! {
            () = stop_of(&mut told) => break,
            Some(ended) = connections.join_next() => note(ended, &counts),
            accepted = socket.accept(), if has_room => match accepted {
                Ok((stream, address)) => {
                    let counted = Counted::new(&counts);
                    connections.spawn(attend(stream, address, front.clone(), counted, stopped.clone()));
                    if connections.len() == front.allowed.connections {
                        counts.full.fetch_add(1, Relaxed);
                    }
                }
                Err(error) if is_of_the_client(&error) => {}
                Err(error) => {
                    counts.faults.fetch_add(1, Relaxed);
                    tracing::warn!(%error, "cannot accept a connection");
                    tokio::time::sleep(PAUSE).await;
                }
            }
        }
    }
    drop(socket);
    while let Some(ended) = connections.join_next().await {
        note(ended, &counts);
    }
}

async fn attend(
    stream: TcpStream,
    address: SocketAddr,
    front: Arc<Front>,
    counted: Counted,
    mut stopped: watch::Receiver<bool>,
) {
    // Replies are written whole: Nagle would only keep their last packet back.
    let _ = stream.set_nodelay(true);
    let Ok(local) = stream.local_addr() else { return };
    let seat = front.clients.enter(address, local);
    match serve(&stream, &front, seat, stop_of(&mut stopped)).await {
        End::Overdue => drop(counted.0.overdue.fetch_add(1, Relaxed)),
        End::Refused => hear_out(stream).await,
        End::Gone | End::Stopped => {}
    }
}

/// Lets a client that still sends learn why it was refused: closed with bytes unread, the system would take the reply
/// back.
async fn hear_out(mut stream: TcpStream) {
    let _ = tokio::time::timeout(HEARD_OUT, async {
        stream.shutdown().await?;
        tokio::io::copy(&mut stream, &mut tokio::io::sink()).await
    })
    .await;
}

/// Until the stop; for ever if there can be none any more.
async fn stop_of(stopped: &mut watch::Receiver<bool>) {
    if stopped.wait_for(|stopped| *stopped).await.is_err() {
        std::future::pending::<()>().await;
    }
}

fn note(ended: Result<(), JoinError>, counts: &Counts) {
    if ended.is_err_and(|error| error.is_panic()) {
        counts.panics.fetch_add(1, Relaxed);
        tracing::error!("a command panicked; its connection is closed");
    }
}

/// The client hung up while it was in the queue, which says nothing of the next one.
fn is_of_the_client(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::ConnectionAborted | io::ErrorKind::ConnectionReset)
}
