//! One node asked over HTTP/1.1, within one stretch of time, on one connection that is kept from call to call.
//!
//! Believes nothing: an answer counts only if it is what a carrot node would say, and is never longer than the call
//! allows. No redirect is followed and no proxy is asked. Whether a failed write was done is for its caller to find out.

use std::io;
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use carrotcache::{ByteSize, Span};
use http::header::{AUTHORIZATION, HOST, HeaderValue};
use http::{HeaderMap, Request, StatusCode};
use http_body_util::BodyExt;
use hyper::body::{Body, Incoming};
use hyper::client::conn::http1::{self, SendRequest};
use hyper_util::rt::TokioIo;
use serde::Deserialize;
use serde::de::DeserializeOwned;
use tokio::net::TcpStream;
use tokio::time::{Instant, timeout_at};

use crate::ask::call::Call;
use crate::ask::error::AskError;
use crate::ask::front::Front;
use crate::ask::payload::Payload;
use crate::ask::url::NodeUrl;
use crate::host::NOT_A_NAME;
use crate::line::in_one_line;
use crate::secret::Secret;

/// To connect, the look-up of the host's name included.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(2);

/// The longest body of a refusal that is read.
const REFUSAL_MAX: ByteSize = ByteSize::kib(64);

/// What is shown of a refusal, in characters: the node's lines are shorter, a stranger's may be anything.
const SHOWN: usize = 1000;

/// The variable that holds the node's password.
const PASSWORD: &str = "CARROT_PASSWORD";

/// A node, as a command asks it.
pub struct Client {
    node: NodeUrl,
    /// What is sent to authorize, if anything.
    password: Option<HeaderValue>,
    waits: Duration,
    until: Instant,
    kept: Option<SendRequest<Payload>>,
}

/// An answer with the status that was hoped for.
#[derive(Debug)]
pub struct Reply {
    headers: HeaderMap,
    /// Whole.
    pub body: Bytes,
}

/// A refusal, in the words of the fronts.
#[derive(Deserialize)]
struct Refusal {
    error: String,
    message: String,
}

impl Client {
    /// A client of that node, with the password in the environment. From now on all of its calls together may take as
    /// long as `timeout`.
    ///
    /// # Errors
    /// When the password is none that can be sent. Nothing is connected yet.
    pub fn new(node: NodeUrl, timeout: Duration) -> Result<Self, AskError> {
        let password = match std::env::var(PASSWORD) {
            Ok(password) => bearer(&Secret::new(password))?,
            Err(std::env::VarError::NotPresent) => None,
            Err(std::env::VarError::NotUnicode(_)) => return Err(AskError::BadPassword),
        };
        Ok(Self { node, password, waits: timeout, until: Instant::now() + timeout, kept: None })
    }

    /// The answer to one call.
    ///
    /// # Errors
    /// Whatever is not the answer that was hoped for. A write may have been done all the same where no whole answer came.
    pub async fn ask(&mut self, call: &Call) -> Result<Reply, AskError> {
        let late = AskError::Late { node: self.node.clone(), waited: self.waits };
        timeout_at(self.until, self.exchange(call)).await.unwrap_or(Err(late))
    }

    async fn exchange(&mut self, call: &Call) -> Result<Reply, AskError> {
        let mut sender = self.sender().await?;
        let request = Payload::put_into(self.request(call), call.value.clone());
        let response = sender.send_request(request).await.map_err(|error| self.broken(call, error))?;
        let (head, body) = response.into_parts();
        let limit = if head.status == call.expects { call.answer_max } else { REFUSAL_MAX };
        let body = self.body(call, body, limit).await?;
        self.kept = Some(sender);
        if head.status == call.expects {
            return Ok(Reply { headers: head.headers, body });
        }
        Err(self.refused(call, head.status, &body))
    }

    /// The connection of the call before, or a new one.
    async fn sender(&mut self) -> Result<SendRequest<Payload>, AskError> {
        if let Some(mut kept) = self.kept.take()
            && kept.ready().await.is_ok()
        {
            return Ok(kept);
        }
        let unreachable = |source| AskError::Connect { node: self.node.clone(), source };
        let connected = timeout_at(self.until.min(Instant::now() + CONNECT_TIMEOUT), self.connect()).await;
        let late = || Err(io::Error::other(format!("no connection within {}", Span(CONNECT_TIMEOUT))));
        connected.unwrap_or_else(|_| late()).map_err(unreachable)
    }

    async fn connect(&self) -> io::Result<SendRequest<Payload>> {
        let stream = TcpStream::connect(self.node.target()).await?;
        stream.set_nodelay(true)?;
        let (sender, connection) = http1::handshake(TokioIo::new(stream)).await.map_err(io::Error::other)?;
        // Its end is told to whoever waits for an answer.
        tokio::spawn(connection);
        Ok(sender)
    }

    fn request(&self, call: &Call) -> Request<()> {
        let mut request = Request::new(());
        request.method_mut().clone_from(&call.method);
        request.uri_mut().clone_from(&call.target);
        let headers = request.headers_mut();
        let host = HeaderValue::from_str(self.node.authority());
        headers.insert(HOST, host.expect("a node's URL holds letters, digits and a few signs"));
        if let Some(password) = &self.password {
            headers.insert(AUTHORIZATION, password.clone());
        }
        request
    }

    /// The whole body of an answer, if it is no longer than `limit`.
    async fn body(&self, call: &Call, mut body: Incoming, limit: ByteSize) -> Result<Bytes, AskError> {
        let long = || AskError::LongAnswer { node: self.node.clone(), limit };
        if body.size_hint().lower() > limit.as_u64() {
            return Err(long());
        }
        let mut whole = BytesMut::new();
        while let Some(frame) = body.frame().await {
            let frame = frame.map_err(|error| self.broken(call, error))?;
            let Ok(data) = frame.into_data() else { continue };
            if (whole.len() + data.len()) as u64 > limit.as_u64() {
                return Err(long());
            }
            whole.extend_from_slice(&data);
        }
        Ok(whole.freeze())
    }

    fn broken(&self, call: &Call, source: hyper::Error) -> AskError {
        if source.is_parse() {
            return self.stranger(call, source.to_string());
        }
        AskError::Broken { node: self.node.clone(), source }
    }

    /// Somebody answered who is no carrot node.
    pub fn stranger(&self, call: &Call, why: impl Into<String>) -> AskError {
        AskError::Stranger { node: self.node.clone(), front: call.front, why: why.into() }
    }

    fn refused(&self, call: &Call, status: StatusCode, body: &[u8]) -> AskError {
        let unlike = || self.stranger(call, format!("it says {status}"));
        match (status, call.front) {
            (StatusCode::UNAUTHORIZED, _) if self.password.is_none() => {
                AskError::NoPassword(self.node.clone())
            }
            (StatusCode::UNAUTHORIZED, _) => AskError::WrongPassword(self.node.clone()),
            // It answers, but not under this name, and says in plain text how to allow it.
            (StatusCode::FORBIDDEN, Front::Admin) => match std::str::from_utf8(body) {
                Ok(line) if line.contains(NOT_A_NAME) => {
                    AskError::Refused { word: "forbidden".to_owned(), message: shown(line.trim_end()) }
                }
                _ => unlike(),
            },
            // What refuses in the words of the data front is one.
            (_, Front::Admin) => unlike(),
            (_, Front::Data) => match serde_json::from_slice::<Refusal>(body) {
                Ok(refusal) => AskError::Refused { word: refusal.error, message: shown(&refusal.message) },
                Err(_) => unlike(),
            },
        }
    }

    /// The JSON of a reply.
    ///
    /// # Errors
    /// When it is not what such an answer holds.
    pub fn read<T: DeserializeOwned>(&self, call: &Call, reply: &Reply) -> Result<T, AskError> {
        let read = serde_json::from_slice(&reply.body);
        read.map_err(|error| {
            self.stranger(call, format!("its answer cannot be read: {}", shown(&error.to_string())))
        })
    }
}

impl Reply {
    /// Whether it says where the value came from, as every value of a carrot node does; other caches have the header
    /// too, with other words in it.
    pub fn is_value(&self) -> bool {
        let told = self.headers.get("x-cache").map(HeaderValue::as_bytes).unwrap_or_default();
        ["hit; source=", "miss; source=", "stale; source="]
            .iter()
            .any(|start| told.starts_with(start.as_bytes()))
    }
}

/// What is sent to show the password; `None` where it is empty.
fn bearer(password: &Secret) -> Result<Option<HeaderValue>, AskError> {
    if password.reveal().is_empty() {
        return Ok(None);
    }
    let line = HeaderValue::try_from(format!("Bearer {}", password.reveal()));
    let mut line = line.map_err(|_| AskError::BadPassword)?;
    line.set_sensitive(true);
    Ok(Some(line))
}

fn shown(message: &str) -> String {
    let mut shown: String = in_one_line(message).chars().take(SHOWN).collect();
    if shown.len() < message.len() && shown.chars().count() == SHOWN {
        shown.push('…');
    }
    shown
}
