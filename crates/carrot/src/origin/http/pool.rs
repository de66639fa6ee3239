//! The connections to an origin's server: one for each request under way, and some kept for the next.
//!
//! How many are under way is for whoever asks to bound, as a group does; how many are kept, and how long, is bounded
//! here. A kept connection may have been closed by the server at any moment: a request that it took without a byte of
//! an answer is sent once more, on a new one. Nothing else is ever sent twice.

use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::time::Duration;

use bytes::Bytes;
use http::uri::PathAndQuery;
use http::{HeaderMap, Request, Uri};
use http_body_util::Empty;
use hyper::Response;
use hyper::body::Incoming;
use hyper::client::conn::http1::{Builder, SendRequest};
use hyper_util::rt::TokioIo;
use tokio::time::{Instant, sleep, timeout};

use crate::origin::error::OriginError;
use crate::origin::http::connect::Connector;
use crate::origin::http::stream::Heard;

/// Connections kept at once. What a burst of loads opened beyond is closed when it has answered.
const IDLE_MAX: usize = 64;
/// How long one is kept without use. Below the minute after which servers and the boxes between begin to forget one:
/// a connection that a firewall has forgotten swallows a request without a word.
pub const IDLE_TIME: Duration = Duration::from_secs(30);
/// The longest head of a response: what servers themselves allow in a request, and as much again for cookies.
const HEAD_MAX: usize = 32 * 1024;

/// The connections to one server.
pub struct Pool {
    connector: Connector,
    /// Of every request.
    headers: HeaderMap,
    first_byte: Option<Duration>,
    requests: AtomicU64,
    // std Mutex: held to push or pop one connection.
    idle: Mutex<Idle>,
}

#[derive(Default)]
struct Idle {
    /// The one used last on top.
    kept: Vec<(Instant, Connection)>,
    /// A task looks after them.
    is_swept: bool,
}

/// A connection between two requests, or lent to one. Dropping it closes it.
pub struct Connection {
    sender: SendRequest<Empty<Bytes>>,
    heard: Heard,
    /// It has not answered a request yet.
    is_fresh: bool,
}

/// Why a request got no head of a response.
enum Failure {
    /// A connection used before broke, and not a byte had come.
    Unanswered(hyper::Error),
    Final(OriginError),
}

impl Pool {
    /// One without a connection yet.
    pub fn new(connector: Connector, headers: HeaderMap, first_byte: Option<Duration>) -> Arc<Self> {
        let (requests, idle) = (AtomicU64::new(0), Mutex::default());
        Arc::new(Self { connector, headers, first_byte, requests, idle })
    }

    /// Requests sent so far.
    pub fn requests(&self) -> u64 {
        self.requests.load(Relaxed)
    }

    /// One GET: the response, whose body is still to be read, and the connection to keep after that.
    ///
    /// # Errors
    /// See [`OriginError`]. Dropping the future closes the connection.
    pub async fn get(&self, target: &PathAndQuery) -> Result<(Response<Incoming>, Connection), OriginError> {
        if let Some(kept) = self.take().await {
            match self.exchange(kept, target).await {
                Err(Failure::Unanswered(_)) => {}
                Err(Failure::Final(error)) => return Err(error),
                Ok(answered) => return Ok(answered),
            }
        }
        let fresh = self.connect().await?;
        self.exchange(fresh, target).await.map_err(|failure| match failure {
            Failure::Final(error) => error,
            Failure::Unanswered(error) => OriginError::Broken(error),
        })
    }

    /// A connection that could be asked: a kept one, else a new one.
    ///
    /// # Errors
    /// As [`connect`](Self::connect).
    pub async fn connection(&self) -> Result<Connection, OriginError> {
        match self.take().await {
            Some(kept) => Ok(kept),
            None => self.connect().await,
        }
    }

    /// A new connection.
    ///
    /// # Errors
    /// See [`Connector::connect`].
    pub async fn connect(&self) -> Result<Connection, OriginError> {
        let stream = self.connector.connect().await?;
        let heard = stream.heard();
        let handshake = Builder::new().max_buf_size(HEAD_MAX).handshake(TokioIo::new(stream)).await;
        let (sender, connection) = handshake.map_err(OriginError::Broken)?;
        // Ends of itself: with the server's closing, or with the sender's being dropped. What broke, if it did, is
        // told to whoever waits for a response.
        tokio::spawn(async move {
            let _ = connection.await;
        });
        Ok(Connection { sender, heard, is_fresh: true })
    }

    /// Keeps a connection whose response was read to its end.
    pub fn keep(self: &Arc<Self>, connection: Connection) {
        let mut idle = self.lock();
        idle.kept.retain(|(_, kept)| !kept.sender.is_closed());
        if idle.kept.len() < IDLE_MAX && !connection.sender.is_closed() {
            idle.kept.push((Instant::now(), Connection { is_fresh: false, ..connection }));
            if !std::mem::replace(&mut idle.is_swept, true) {
                tokio::spawn(sweep(Arc::downgrade(self)));
            }
        }
    }

    /// The kept connection used last, if any still stands.
    async fn take(&self) -> Option<Connection> {
        loop {
            let mut connection = self.pop()?;
            // It comes back a moment before its task has noticed that the response is over.
            if connection.sender.ready().await.is_ok() {
                return Some(connection);
            }
        }
    }

    fn pop(&self) -> Option<Connection> {
        let (since, connection) = self.lock().kept.pop()?;
        (since.elapsed() < IDLE_TIME).then_some(connection)
    }

    async fn exchange(
        &self,
        mut connection: Connection,
        target: &PathAndQuery,
    ) -> Result<(Response<Incoming>, Connection), Failure> {
        let request = self.request(target);
        connection.heard.forget();
        self.requests.fetch_add(1, Relaxed);
        let answer = connection.sender.send_request(request);
        let answered = match self.first_byte {
            Some(first_byte) => timeout(first_byte, answer)
                .await
                .map_err(|_| Failure::Final(OriginError::FirstByteTimeout { waited: first_byte }))?,
            None => answer.await,
        };
        match answered {
            Ok(response) => Ok((response, connection)),
            Err(error) if !connection.is_fresh && !connection.heard.anything() => {
                Err(Failure::Unanswered(error))
            }
            Err(error) => Err(Failure::Final(OriginError::Broken(error))),
        }
    }

    fn request(&self, target: &PathAndQuery) -> Request<Empty<Bytes>> {
        let mut request = Request::new(Empty::new());
        *request.uri_mut() = Uri::from(target.clone());
        *request.headers_mut() = self.headers.clone();
        request
    }

    /// Closes what was not used for [`IDLE_TIME`]. Whether nothing is left to look after.
    fn close_old(&self) -> bool {
        let mut idle = self.lock();
        idle.kept.retain(|(since, kept)| since.elapsed() < IDLE_TIME && !kept.sender.is_closed());
        idle.is_swept = !idle.kept.is_empty();
        idle.kept.is_empty()
    }

    fn lock(&self) -> MutexGuard<'_, Idle> {
        self.idle.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Looks after the kept connections until there are none, or no pool.
async fn sweep(pool: Weak<Pool>) {
    loop {
        sleep(IDLE_TIME / 2).await;
        let Some(pool) = pool.upgrade() else { return };
        if pool.close_old() {
            return;
        }
    }
}
