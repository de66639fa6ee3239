//! The data front: values over HTTP, for clients in any language.
//!
//! `GET`, `HEAD`, `PUT` and `DELETE` on `/v1/{group}/{key…}`, and the first carrotCache's `/api?key=`. Turns requests
//! into calls on a group and answers into responses, and decides nothing else. The path is read as bytes and
//! unescaped once, so that every key has one spelling and no router tidies it up.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use carrotcache::{Answer, Ask, ByteSize, Cluster, Group, Loaded, Source, Span, Value};
use http::header::{AGE, ALLOW, CONTENT_TYPE, HeaderName, HeaderValue, RETRY_AFTER};
use http::{Method, Request, Response, StatusCode};
use http_body_util::{BodyExt, Full};
use hyper::body::{Body, Incoming};

use crate::refusal::Refusal;
use crate::target::{Bad, Target};

/// For a client to send the body of a PUT.
const BODY_TIMEOUT: Duration = Duration::from_secs(30);

/// What every answer carries: from where the value came, and whether it had to be loaded.
const X_CACHE: HeaderName = HeaderName::from_static("x-cache");

/// The groups of one node, as clients see them.
pub struct DataFront {
    /// Where refusals are counted.
    cluster: Cluster,
    groups: HashMap<String, Group>,
    /// The largest value a PUT may bring.
    value_max: ByteSize,
}

/// How a response is written.
#[derive(Clone, Copy)]
enum Voice {
    /// Errors as JSON.
    V1,
    /// Errors as a line of text, as the first carrotCache answered.
    Api,
}

impl DataFront {
    /// A front for these groups of the node.
    pub fn new(cluster: Cluster, groups: impl IntoIterator<Item = Group>, value_max: ByteSize) -> Arc<Self> {
        let groups = groups.into_iter().map(|group| (group.name().to_string(), group)).collect();
        Arc::new(Self { cluster, groups, value_max })
    }

    /// The response to one request. Never fails, never panics on what a client sends.
    pub async fn respond(&self, request: Request<Incoming>) -> Response<Full<Bytes>> {
        let (head, body) = request.into_parts();
        let (voice, answered) = match Target::parse(head.uri.path().as_bytes(), head.uri.query()) {
            Ok(Target::Entry { group, key, ttl }) => {
                (Voice::V1, self.entry(&head.method, &group, &key, ttl.as_deref(), body).await)
            }
            Ok(Target::Api { group, key }) => (Voice::Api, self.api(&head.method, &group, &key).await),
            Ok(Target::Nowhere) => (Voice::V1, Err(Refusal::no_such_path())),
            Err(Bad { api, why }) => {
                (if api { Voice::Api } else { Voice::V1 }, Err(Refusal::bad_request(why)))
            }
        };
        answered.unwrap_or_else(|refusal| {
            if let Some(cause) = refusal.counted {
                self.cluster.count_refusal(cause);
            }
            voice.refuse(&refusal)
        })
    }

    async fn entry(
        &self,
        method: &Method,
        group: &str,
        key: &[u8],
        ttl: Option<&str>,
        body: Incoming,
    ) -> Result<Response<Full<Bytes>>, Refusal> {
        let group = self.group(group)?;
        match *method {
            Method::GET | Method::HEAD | Method::DELETE if ttl.is_some() => {
                Err(Refusal::bad_request("ttl goes with PUT alone"))
            }
            Method::GET | Method::HEAD => get(group, key).await,
            Method::PUT => {
                let ttl = ttl.map(some_time).transpose()?;
                let mut loaded = Loaded::new(self.value(body).await?);
                loaded.ttl = ttl;
                group.set(key, loaded).await.map_err(|error| Refusal::of_write(&error))?;
                Ok(empty(StatusCode::NO_CONTENT))
            }
            Method::DELETE => {
                group.remove(key).await.map_err(|error| Refusal::of_write(&error))?;
                Ok(empty(StatusCode::NO_CONTENT))
            }
            _ => Err(Refusal::method("GET, HEAD, PUT, DELETE")),
        }
    }

    async fn api(&self, method: &Method, group: &str, key: &[u8]) -> Result<Response<Full<Bytes>>, Refusal> {
        if !matches!(*method, Method::GET | Method::HEAD) {
            return Err(Refusal::method("GET, HEAD"));
        }
        get(self.group(group)?, key).await
    }

    fn group(&self, name: &str) -> Result<&Group, Refusal> {
        self.groups.get(name).ok_or_else(|| Refusal::no_such_group(name))
    }

    /// The body of a PUT: at most as long as a value may be, whatever the client claims.
    async fn value(&self, mut body: Incoming) -> Result<Bytes, Refusal> {
        let limit = self.value_max.as_u64();
        let claimed = body.size_hint().lower();
        if claimed > limit {
            return Err(Refusal::large_value(format!(
                "value of {claimed} bytes is over the limit of {limit}"
            )));
        }
        let mut value = BytesMut::new();
        let reading = async {
            while let Some(frame) = body.frame().await {
                let frame =
                    frame.map_err(|error| Refusal::bad_request(format!("the body broke off: {error}")))?;
                if let Ok(data) = frame.into_data() {
                    value.extend_from_slice(&data);
                    if value.len() as u64 > limit {
                        return Err(Refusal::large_value(format!(
                            "value is over the limit of {limit} bytes"
                        )));
                    }
                }
            }
            Ok(())
        };
        let read = tokio::time::timeout(BODY_TIMEOUT, reading).await;
        read.unwrap_or_else(|_| Err(Refusal::bad_request(format!("no whole body within {BODY_TIMEOUT:?}"))))?;
        Ok(value.freeze())
    }
}

fn some_time(ttl: &str) -> Result<Duration, Refusal> {
    match ttl.parse::<Span>() {
        Ok(span) if span.0.is_zero() => Err(Refusal::bad_request("ttl has to be longer than nothing")),
        Ok(span) => Ok(span.0),
        Err(bad) => Err(Refusal::bad_request(bad.to_string())),
    }
}

async fn get(group: &Group, key: &[u8]) -> Result<Response<Full<Bytes>>, Refusal> {
    group.answer(key, Ask::default()).await.map(found).map_err(|error| Refusal::of_get(&error))
}

fn found(answer: Answer<Value>) -> Response<Full<Bytes>> {
    let (cache, source) = match answer.source {
        Source::Memory => ("hit", "memory"),
        Source::Mirror => ("hit", "mirror"),
        Source::Owner => ("hit", "owner"),
        Source::Origin => ("miss", "origin"),
    };
    let cache = if answer.stale { "stale" } else { cache };
    let told = format!("{cache}; source={source}");
    // A node's name is its operator's or a peer's word: one that no header can carry is left out.
    let told = HeaderValue::try_from(format!("{told}; node={}", answer.node))
        .or_else(|_| HeaderValue::try_from(told));
    let mut response = Response::new(Full::new(answer.value.into()));
    let headers = response.headers_mut();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/octet-stream"));
    headers.insert(AGE, answer.age.as_secs().into());
    if let Ok(told) = told {
        headers.insert(X_CACHE, told);
    }
    response
}

fn empty(status: StatusCode) -> Response<Full<Bytes>> {
    let mut response = Response::new(Full::default());
    *response.status_mut() = status;
    response
}

impl Voice {
    fn refuse(self, refusal: &Refusal) -> Response<Full<Bytes>> {
        let (kind, body) = match self {
            Self::V1 => ("application/json", refusal.json()),
            Self::Api => ("text/plain; charset=utf-8", format!("{}\n", refusal.message)),
        };
        let mut response = Response::new(Full::new(body.into()));
        *response.status_mut() = refusal.status;
        let headers = response.headers_mut();
        headers.insert(CONTENT_TYPE, HeaderValue::from_static(kind));
        headers.insert(http::header::X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
        if let Some(allow) = refusal.allow {
            headers.insert(ALLOW, HeaderValue::from_static(allow));
        }
        if refusal.status == StatusCode::SERVICE_UNAVAILABLE {
            headers.insert(RETRY_AFTER, HeaderValue::from_static("1"));
        }
        response
    }
}
