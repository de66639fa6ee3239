//! HTTP/1.1 on the connections of a listener.
//!
//! A connection's requests are read here. One that is plain is offered to the listener's `Quick`, if it has one, and what
//! that answers is all there is to it. Any other goes to hyper, which is lent the connection for this one request; or for
//! good, where it cannot be told where the request ends. What hyper leaves open is done here: a connection has a
//! deadline whenever its client is the one to act. hyper's own header deadline also runs between requests, so an idle
//! connection could not be kept longer than a header may take; hence ours. A client that is refused while it sends is
//! heard out for as long as a header may take, so that it learns why.
//! Never answers a request itself, save that hyper refuses a header that is malformed (400), a target over 64 KiB (414)
//! and a header over `ListenLimits::head` (431).

use std::convert::Infallible;
use std::future::{Future, poll_fn};
use std::pin::{Pin, pin};
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll, ready};

use bytes::Bytes;
use http::header::UPGRADE;
use http::{Request, Response};
use hyper::body::{Body, Frame, Incoming, SizeHint};
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use tokio::net::TcpStream;

use crate::clock;
use crate::error::BoxError;
use crate::net::listen::{Accepted, ListenLimits, Listener, Parted, Serving, Stop};
use crate::net::plain::{Cut, Plain, cut};
use crate::net::quick::{Quick, Replies};
use crate::net::read_ahead::{Lent, ReadAhead, Round};
use crate::net::seldom::Seldom;
use crate::net::turn::Turn;
use crate::peers::BoxFuture;

impl Listener {
    /// Answers requests with `service` until the returned handle is stopped or dropped.
    ///
    /// See [`serve_each`](Self::serve_each).
    pub fn serve<S, F, B>(self, service: S) -> Serving
    where
        S: Fn(Request<Incoming>) -> F + Send + Sync + 'static,
        F: Future<Output = Response<B>> + Send + 'static,
        B: Body<Data = Bytes> + Send + Unpin + 'static,
        B::Error: Into<BoxError>,
    {
        let service = Arc::new(service);
        self.serve_each(None, move || {
            let service = service.clone();
            move |request| service(request)
        })
    }

    /// Answers the requests of each connection with a service of its own, which may keep in mind what happened on it.
    /// Plain ones are offered to `quick` first, if there is one.
    ///
    /// A panic of the service breaks the one connection it happened on. The service's future is dropped when its
    /// client goes away.
    pub fn serve_each<N, S, F, B>(self, quick: Option<Arc<dyn Quick>>, new_service: N) -> Serving
    where
        N: Fn() -> S + Send + Sync + 'static,
        S: Fn(Request<Incoming>) -> F + Send + Sync + 'static,
        F: Future<Output = Response<B>> + Send + 'static,
        B: Body<Data = Bytes> + Send + Unpin + 'static,
        B::Error: Into<BoxError>,
    {
        let (new_service, limits) = (Arc::new(new_service), self.limits().clone());
        self.attended_by(move |accepted| attend(accepted, quick.clone(), new_service.clone(), limits.clone()))
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
async fn attend<N, S, F, B>(
    accepted: Accepted,
    quick: Option<Arc<dyn Quick>>,
    new_service: Arc<N>,
    limits: ListenLimits,
) -> Parted
where
    N: Fn() -> S,
    S: Fn(Request<Incoming>) -> F,
    F: Future<Output = Response<B>>,
    B: Body<Data = Bytes> + Send + Unpin + 'static,
    B::Error: Into<BoxError>,
{
    let Accepted { stream, stop, .. } = accepted;
    let (turn, answer) = (Arc::new(Turn::new()), new_service());
    let talk = Talk { quick: quick.as_deref(), answer, turn: turn.clone(), buffer: buffer(&limits) };
    let deadlines = Seldom::new(turn.overdue(&limits, stop.clone()));
    tokio::select! {
        // First, so that a request which came before a stop is seen before the stop is.
        biased;
        () = talk.hold(ReadAhead::new(stream), stop) => Parted::Ended,
        () = deadlines => Parted::Overdue,
    }
}

/// hyper refuses to be built with less than 8 KiB.
fn buffer(limits: &ListenLimits) -> usize {
    usize::try_from(limits.head.as_u64()).unwrap_or(usize::MAX).max(8 << 10)
}

/// What is said on one connection.
struct Talk<'a, S> {
    quick: Option<&'a dyn Quick>,
    answer: S,
    turn: Arc<Turn>,
    /// The most that hyper buffers of a request, in bytes.
    buffer: usize,
}

/// What comes of a connection on which nothing more can be answered at once.
enum Next {
    /// Nothing: it is over.
    Ended,
    /// hyper answers; of what comes on it so many bytes, or all there are.
    Hyper(Option<u64>),
}

impl<S, F, B> Talk<'_, S>
where
    S: Fn(Request<Incoming>) -> F,
    F: Future<Output = Response<B>>,
    B: Body<Data = Bytes> + Send + Unpin + 'static,
    B::Error: Into<BoxError>,
{
    /// Answers the client until either side ends it.
    async fn hold(&self, mut client: ReadAhead, stop: Stop) {
        let mut replies = Replies::new(clock::now());
        loop {
            let next = match self.quick {
                Some(quick) => poll_fn(|cx| self.poll_quick(quick, &mut client, &mut replies, cx)).await,
                None => Next::Hyper(None),
            };
            let Next::Hyper(left) = next else { return };
            match self.by_hyper(client, left, &stop).await {
                Some(back) => client = back,
                None => return,
            }
        }
    }

    /// Answers what can be answered at once, until there comes what cannot.
    fn poll_quick(
        &self,
        quick: &dyn Quick,
        client: &mut ReadAhead,
        replies: &mut Replies,
        cx: &mut Context<'_>,
    ) -> Poll<Next> {
        // Read once for all that came together: a clock costs as much as a lookup.
        let mut now = None;
        loop {
            // What is answered goes out before more is.
            if ready!(replies.poll_send(client.stream(), cx)).is_err() {
                return Poll::Ready(Next::Ended);
            }
            let is_stopping = self.turn.is_stopping();
            if !client.unread().is_empty() {
                let now = *now.get_or_insert_with(clock::now);
                replies.now(now);
                let next = loop {
                    if replies.is_full() {
                        break None;
                    }
                    // hyper answers a client that it has to go elsewhere.
                    let offer = |plain: &Plain<'_>| !is_stopping && quick.answer(plain, replies);
                    match cut(client.unread(), now, offer) {
                        Cut::Answered(length) => client.skip(length),
                        Cut::Part if !client.is_full() => break None,
                        Cut::Other(length) => break Some(Next::Hyper(Some(length))),
                        Cut::Part | Cut::Endless => break Some(Next::Hyper(None)),
                    }
                };
                self.turn.answered(!replies.is_empty(), !client.unread().is_empty(), now);
                match next {
                    Some(next) if replies.is_empty() => return Poll::Ready(next),
                    // Sent first; what is left is then cut again.
                    _ if !replies.is_empty() => continue,
                    _ => {}
                }
            }
            match client.poll_more(cx) {
                Poll::Ready(Ok(1..)) => now = None,
                Poll::Ready(Ok(0) | Err(_)) => return Poll::Ready(Next::Ended),
                Poll::Pending if is_stopping && client.unread().is_empty() => {
                    return Poll::Ready(Next::Ended);
                }
                Poll::Pending => return Poll::Pending,
            }
        }
    }

    /// Has hyper answer; the connection once it has, if that goes on.
    async fn by_hyper(&self, client: ReadAhead, left: Option<u64>, stop: &Stop) -> Option<ReadAhead> {
        let (round, heir) = (Arc::new(Round::default()), Mutex::new(None));
        let with_heir = |act: &dyn Fn(&mut Option<Takeover>)| {
            act(&mut heir.lock().unwrap_or_else(PoisonError::into_inner));
        };
        let service = service_fn(|request: Request<Incoming>| {
            let is_upgrade = request.headers().contains_key(UPGRADE);
            let answer = (self.answer)(request);
            let (round, with_heir) = (round.clone(), &with_heir);
            async move {
                // Ours from the first poll on. hyper may take up a request while the last answer waits for its client,
                // and polls nothing before that is taken: until then it is still the client who has to act.
                self.turn.ours();
                let mut response = answer.await;
                let takeover = response.extensions_mut().remove::<Takeover>().filter(|_| is_upgrade);
                with_heir(&|heir| heir.clone_from(&takeover));
                self.turn.over();
                Ok::<_, Infallible>(response.map(|body| Told { body, round }))
            }
        });
        let lent = Lent::new(client, left, round.clone(), self.turn.clone());
        let mut connection = http1::Builder::new()
            .max_buf_size(self.buffer)
            .header_read_timeout(None)
            // A request that comes after a stop is answered, and its client told to go elsewhere.
            .keep_alive(!self.turn.is_stopping())
            .serve_connection(TokioIo::new(lent), service);
        let mut is_told_to_end = false;
        // Whether hyper is done with the connection, and not just with the request; and whether all went well.
        let ended = poll_fn(|cx| {
            loop {
                // First, so that hyper sees a request before it is told to end, and answers it.
                if let Poll::Ready(ended) = Pin::new(&mut connection).poll(cx) {
                    return Poll::Ready(Some(ended.is_ok()));
                }
                if round.is_over() {
                    return Poll::Ready(None);
                }
                if is_told_to_end || !self.turn.is_stopping() {
                    return Poll::Pending;
                }
                is_told_to_end = true;
                Pin::new(&mut connection).graceful_shutdown();
            }
        });
        let ended = pin!(ended).await;
        let parts = connection.into_parts();
        let (client, read) = (parts.io.into_inner().into_client(), parts.read_buf);
        match ended {
            // What hyper has read and not used is lost: a request that it did not take as we did.
            None => {
                // Anew: the rest of a body that nobody wanted may have come behind the answer.
                self.turn.over();
                read.is_empty().then_some(client)
            }
            Some(false) => None,
            Some(true) => {
                let Takeover(attend) = heir.into_inner().unwrap_or_else(PoisonError::into_inner)?;
                let (stream, read) = client.into_parts(read);
                // Its deadlines are those of whoever has it now.
                self.turn.ours();
                attend(Taken { stream, read, stop: stop.clone() }).await;
                None
            }
        }
    }
}

/// A body that says when hyper has all of it.
struct Told<B> {
    body: B,
    round: Arc<Round>,
}

impl<B: Body + Unpin> Body for Told<B> {
    type Data = B::Data;
    type Error = B::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<B::Data>, B::Error>>> {
        Pin::new(&mut self.body).poll_frame(cx)
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

/// hyper lets go of a body when it has taken the last of it.
impl<B> Drop for Told<B> {
    fn drop(&mut self) {
        self.round.told();
    }
}

#[cfg(test)]
mod tests;
