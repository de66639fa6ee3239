//! The admin listener: is the node alive, may it be sent traffic, what has it counted.
//!
//! For an operator and his monitoring. Reads what the library counts; holds no numbers of its own.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use bytes::Bytes;
use carrotcache::Cluster;
use carrotcache::net::listen::{ListenStats, Meter};
use http::header::{ALLOW, CONTENT_TYPE, HeaderValue};
use http::{Method, Request, Response, StatusCode};
use http_body_util::Full;
use hyper::body::Incoming;

use crate::metrics;

/// The media type of OpenMetrics text.
const OPENMETRICS: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";

/// Answers operators.
pub struct Admin {
    cluster: Cluster,
    /// Of the data front's port; the cluster has its own.
    data: Meter,
    ready: Arc<AtomicBool>,
}

impl Admin {
    /// An admin front of this node, whose data front `data` counts. `ready` is true while the node may be sent traffic.
    pub fn new(cluster: Cluster, data: Meter, ready: Arc<AtomicBool>) -> Arc<Self> {
        Arc::new(Self { cluster, data, ready })
    }

    fn listeners(&self) -> Vec<(&'static str, ListenStats)> {
        let peer = self.cluster.port_stats().map(|stats| ("peer", stats));
        peer.into_iter().chain([("http", self.data.stats())]).collect()
    }

    /// The response to one request.
    pub fn respond(&self, request: &Request<Incoming>) -> Response<Full<Bytes>> {
        let path = request.uri().path();
        if !matches!(path, "/livez" | "/readyz" | "/metrics") {
            return text(StatusCode::NOT_FOUND, "no such path: see /livez, /readyz, /metrics\n");
        }
        if !matches!(*request.method(), Method::GET | Method::HEAD) {
            let mut response = text(StatusCode::METHOD_NOT_ALLOWED, "allowed here: GET, HEAD\n");
            response.headers_mut().insert(ALLOW, HeaderValue::from_static("GET, HEAD"));
            return response;
        }
        match path {
            "/livez" => text(StatusCode::OK, "ok\n"),
            "/readyz" if self.ready.load(Ordering::Acquire) => text(StatusCode::OK, "ok\n"),
            "/readyz" => text(StatusCode::SERVICE_UNAVAILABLE, "not ready\n"),
            _ => match metrics::encode(self.cluster.stats(), self.listeners()) {
                Ok(page) => typed(StatusCode::OK, OPENMETRICS, page),
                Err(error) => text(StatusCode::INTERNAL_SERVER_ERROR, &format!("no metrics: {error}\n")),
            },
        }
    }
}

fn text(status: StatusCode, body: &str) -> Response<Full<Bytes>> {
    typed(status, "text/plain; charset=utf-8", body.to_owned())
}

fn typed(status: StatusCode, kind: &'static str, body: String) -> Response<Full<Bytes>> {
    let mut response = Response::new(Full::new(body.into()));
    *response.status_mut() = status;
    response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static(kind));
    response
}
