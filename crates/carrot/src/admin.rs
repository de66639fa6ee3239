//! The admin listener: is the node alive, may it be sent traffic, what has it counted.
//!
//! For an operator, his monitoring and the commands. Reads what the library counts; holds no numbers of its own. The
//! name under which it is called is looked at first, and then the password: asked for under a foreign name, a browser
//! would hand the password to the page that has this name. Health is told without it.

use std::sync::Arc;
use std::time::Instant;

use bytes::Bytes;
use carrotcache::net::listen::{ListenStats, Meter};
use carrotcache::{Cluster, Refusal};
use http::header::{ALLOW, CONTENT_TYPE, HeaderValue, X_CONTENT_TYPE_OPTIONS};
use http::{Method, Request, Response, StatusCode};
use http_body_util::Full;
use hyper::body::Incoming;

use crate::auth::{Denied, Gate, Tries};
use crate::data::DataFront;
use crate::host::{Hosts, Stranger};
use crate::metrics;
use crate::readiness::Readiness;
use crate::resp::{CountsSnapshot, Front};
use crate::statistics::{self, Fronts};

/// The media type of OpenMetrics text.
const OPENMETRICS: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";

/// Answers operators.
pub struct Admin {
    /// The node that is asked about.
    pub cluster: Cluster,
    /// Its data front.
    pub front: Arc<DataFront>,
    /// What happens on the data front's port; the cluster has its own.
    pub data: Meter,
    /// The same of the Redis front, if there is one.
    pub resp: Option<(Meter, Arc<Front>)>,
    /// Whether the node may be sent traffic.
    pub readiness: Arc<Readiness>,
    /// Under which names it is called.
    pub hosts: Hosts,
    /// Who may ask.
    pub gate: Gate,
    /// When the node began to answer.
    pub since: Instant,
}

impl Admin {
    fn listeners(&self) -> Vec<(&'static str, ListenStats)> {
        let peer = self.cluster.port_stats().map(|stats| ("peer", stats));
        let resp = self.resp.as_ref().map(|(meter, _)| ("resp", meter.stats()));
        peer.into_iter().chain([("http", self.data.stats())]).chain(resp).collect()
    }

    /// The response to one request; `tries` are those of its connection.
    pub fn respond(&self, request: &Request<Incoming>, tries: &Tries) -> Response<Full<Bytes>> {
        let path = request.uri().path();
        if let Err(stranger) = self.hosts.check(request.uri(), request.headers()) {
            return self.turn_away(&stranger);
        }
        let is_health = matches!(path, "/livez" | "/readyz");
        if !is_health && let Err(denied) = self.gate.admit(request.headers(), tries) {
            return self.deny(denied);
        }
        if !matches!(path, "/livez" | "/readyz" | "/metrics" | "/admin/stats") {
            let line = "no such path: see /livez, /readyz, /metrics, /admin/stats\n";
            return text(StatusCode::NOT_FOUND, line);
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
            "/admin/stats" => typed(StatusCode::OK, "application/json", self.statistics()),
            _ => match metrics::encode(
                self.cluster.stats(),
                self.front.hit_seconds(),
                self.listeners(),
                self.commands(),
            ) {
                Ok(page) => typed(StatusCode::OK, OPENMETRICS, page),
                Err(error) => text(StatusCode::INTERNAL_SERVER_ERROR, &format!("no metrics: {error}\n")),
            },
        }
    }

    fn commands(&self) -> Option<CountsSnapshot> {
        self.resp.as_ref().map(|(_, front)| front.counts.snapshot())
    }

    fn statistics(&self) -> String {
        let fronts = Fronts {
            uptime: self.since.elapsed(),
            hit_seconds: self.front.hit_seconds(),
            listeners: self.listeners(),
            commands: self.commands(),
        };
        statistics::json(&self.cluster, &fronts)
    }

    fn turn_away(&self, stranger: &Stranger) -> Response<Full<Bytes>> {
        self.cluster.count_refusal(match stranger.status {
            StatusCode::BAD_REQUEST => Refusal::Malformed,
            _ => Refusal::Unauthorized,
        });
        text(stranger.status, &format!("{}\n", stranger.message))
    }

    fn deny(&self, denied: Denied) -> Response<Full<Bytes>> {
        self.cluster.count_refusal(Refusal::Unauthorized);
        let mut response = text(StatusCode::UNAUTHORIZED, &format!("{}\n", Denied::MESSAGE));
        denied.mark(response.headers_mut());
        response
    }
}

fn text(status: StatusCode, body: &str) -> Response<Full<Bytes>> {
    typed(status, "text/plain; charset=utf-8", body.to_owned())
}

fn typed(status: StatusCode, kind: &'static str, body: String) -> Response<Full<Bytes>> {
    let mut response = Response::new(Full::new(body.into()));
    *response.status_mut() = status;
    let headers = response.headers_mut();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static(kind));
    headers.insert(X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    response
}
