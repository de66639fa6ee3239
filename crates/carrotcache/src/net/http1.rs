//! HTTP/1.1 on the connections of a listener.
//!
//! hyper reads and writes the requests; what it leaves open is done here. A connection has a deadline whenever its
//! client is the one to act: until a request's header is whole, the first one's from the moment of accepting, and
//! between two requests. hyper's own header deadline also runs between requests, so an idle connection could not be
//! kept longer than a header may take; hence ours. A client that is refused while it sends is heard out for as long
//! as a header may take, so that it learns why.
//! Never answers a request itself, save that hyper refuses a header that is malformed (400), a target over 64 KiB (414)
//! and a header over `ListenLimits::head` (431).

use std::convert::Infallible;
use std::future::Future;
use std::pin::pin;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Instant;

use bytes::Bytes;
use http::header::UPGRADE;
use http::{Request, Response};
use hyper::body::{Body, Incoming};
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper::upgrade::{self, OnUpgrade};
use hyper_util::rt::TokioIo;
use tokio::net::TcpStream;

use crate::clock;
use crate::error::BoxError;
use crate::net::listen::{Accepted, ListenLimits, Listener, Parted, Serving, Stop};
use crate::net::tap::{Hear, Tap};
use crate::peers::BoxFuture;

impl Listener {
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
        let (new_service, limits) = (Arc::new(new_service), self.limits().clone());
        self.attended_by(move |accepted| attend(accepted, new_service.clone(), limits.clone()))
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
    /// Of the listener.
    pub(super) stop: Stop,
}

/// One connection, until its client, a deadline or a stop ends it.
async fn attend<N, S, F, B>(accepted: Accepted, new_service: Arc<N>, limits: ListenLimits) -> Parted
where
    N: Fn() -> S,
    S: Fn(Request<Incoming>) -> F,
    F: Future<Output = Response<B>>,
    B: Body<Data = Bytes> + Send + 'static,
    B::Error: Into<BoxError>,
{
    let Accepted { stream, mut stop, .. } = accepted;
    let (turn, answer) = (Arc::new(Turn::new()), new_service());
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
        .max_buf_size(buffer(&limits))
        .header_read_timeout(None)
        .serve_connection(TokioIo::new(Tap::new(stream, turn.clone())), service)
        .with_upgrades();
    let mut connection = pin!(connection);
    let mut is_stopping = false;
    while let Some(wake) = turn.next_look(&limits) {
        tokio::select! {
            // First, so that a request which came before a stop is seen before the stop is.
            biased;
            ended = clock::timeout_at(wake, connection.as_mut()) => if ended.is_ok() {
                handed_over(&turn, stop).await;
                return Parted::Ended;
            },
            () = stop.told(), if !is_stopping => {
                is_stopping = true;
                turn.stop();
                connection.as_mut().graceful_shutdown();
            }
        }
    }
    Parted::Overdue
}

/// What comes of the connection if it is no longer one of HTTP.
async fn handed_over(turn: &Turn, stop: Stop) {
    let heir = turn.heir.lock().unwrap_or_else(PoisonError::into_inner).take();
    let Some((upgrade, Takeover(attend))) = heir else { return };
    let Ok(upgraded) = upgrade.await else { return };
    if let Ok(parts) = upgraded.downcast::<TokioIo<Tap<Turn>>>() {
        attend(Taken { stream: parts.io.into_inner().into_stream(), read: parts.read_buf, stop }).await;
    }
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
