//! The admin listener: is the node alive, may it be sent traffic, what has it counted.
//!
//! For an operator and his monitoring. Reads what the library counts; holds no numbers of its own.

use std::sync::Arc;

use bytes::Bytes;
use carrotcache::Cluster;
use carrotcache::net::listen::{ListenStats, Meter};
use http::header::{ALLOW, CONTENT_TYPE, HeaderValue};
use http::{Method, Request, Response, StatusCode};
use http_body_util::Full;
use hyper::body::Incoming;

use crate::metrics;
use crate::readiness::Readiness;

/// The media type of OpenMetrics text.
const OPENMETRICS: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";

/// Answers operators.
pub struct Admin {
    cluster: Cluster,
    /// Of the data front's port; the cluster has its own.
    data: Meter,
    readiness: Arc<Readiness>,
}

impl Admin {
    /// An admin front of this node, whose data front `data` counts. `readiness` says whether it may be sent traffic.
    pub fn new(cluster: Cluster, data: Meter, readiness: Arc<Readiness>) -> Arc<Self> {
        Arc::new(Self { cluster, data, readiness })
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
            "/readyz" => match self.readiness.check() {
                Ok(()) => text(StatusCode::OK, "ok\n"),
                Err(not_yet) => text(StatusCode::SERVICE_UNAVAILABLE, &format!("{not_yet}\n")),
            },
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
