//! The origin that is an API over HTTP or HTTPS: a load is one GET of a URL with the key in it.
//!
//! It is asked as a careful stranger would ask: with an end to every wait, for no more bytes than a value may have,
//! at no address that an origin has no business at, and with no redirect to another server. What the server says of
//! keeping its answer is heeded. The files below are one step each; here is the order they come in.
//!
//! Connections run as tasks of the runtime that a load is asked on, and end with the origin. HTTP/1.1 alone is spoken.

mod address;
mod answer;
mod cache_control;
mod connect;
mod headers;
mod pool;
mod redirect;
mod resolve;
mod site;
mod stream;
mod template;
mod tls;

use std::fmt;
use std::net::IpAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use carrotcache::{ByteSize, Charge, Key, Loaded};
use http::header::LOCATION;
use http::response::Parts;
use http::uri::PathAndQuery;

use crate::origin::error::{OpenError, OriginError};
use crate::origin::http::answer::Answer;
use crate::origin::http::cache_control::lifetime;
use crate::origin::http::connect::Connector;
use crate::origin::http::pool::Pool;
use crate::origin::http::resolve::Resolver;
use crate::origin::http::template::Template;
use crate::secret::Secret;

/// Redirects that one load follows. A server that needs more of them is going in circles.
const REDIRECTS: usize = 5;

/// What an HTTP origin is made of.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HttpSettings {
    /// `http://` or `https://`, a host, and a path or query that holds `{key}` once.
    pub url: String,
    /// Sent with every request, as a token is. Names in lower case.
    pub headers: Vec<(String, Secret)>,
    /// For the connection, its TLS handshake included. Default 2 s.
    pub connect_timeout: Duration,
    /// From the request to the head of the response. `None`: as long as the load may take.
    pub first_byte_timeout: Option<Duration>,
    /// Link-local and metadata addresses that may be asked all the same.
    pub allow: Vec<IpAddr>,
    /// A file of certificates, in PEM, that are trusted beside the system's.
    pub ca: Option<PathBuf>,
}

impl HttpSettings {
    /// The defaults, for this URL.
    ///
    /// # Errors
    /// When it is no URL that an origin can have.
    pub fn new(url: &str) -> Result<Self, OpenError> {
        Template::parse(url)?;
        Ok(Self {
            url: url.to_owned(),
            headers: Vec::new(),
            connect_timeout: Duration::from_secs(2),
            first_byte_timeout: None,
            allow: Vec::new(),
            ca: None,
        })
    }

    /// Whether an origin can be made of them, as far as that shows without a look at files or the network.
    ///
    /// # Errors
    /// The first thing that is wrong, as a line that says what was expected.
    pub fn check(&self) -> Result<(), OpenError> {
        let site = Template::parse(&self.url)?.site;
        headers::sent(&site, &self.headers)?;
        match (site.is_secure, &self.ca) {
            (true, _) => connect::certified(&site).map(drop),
            (false, Some(_)) => Err(OpenError::UselessCa),
            (false, None) => Ok(()),
        }
    }
}

/// What a load may take, and a value may be.
#[derive(Clone, Copy, Debug)]
pub struct Bounds {
    /// For a load, redirects included.
    pub deadline: Duration,
    /// The largest value.
    pub value_max: ByteSize,
    /// How long the group serves a value, which a response can only shorten; `None`: without end.
    pub ttl: Option<Duration>,
}

/// An API that can be asked.
pub struct Http {
    template: Template,
    pool: Arc<Pool>,
    bounds: Bounds,
}

/// What a response comes to.
enum Step {
    /// The load has its answer.
    Done(Option<Bytes>),
    /// It is to be found there.
    Onward(PathAndQuery),
}

impl Http {
    /// Makes it ready to be asked. Blocks while certificates are read; asks no network.
    ///
    /// # Errors
    /// See [`OpenError`].
    pub fn open(settings: HttpSettings, bounds: Bounds) -> Result<Self, OpenError> {
        Self::open_with(settings, bounds, Resolver::system())
    }

    fn open_with(settings: HttpSettings, bounds: Bounds, resolver: Resolver) -> Result<Self, OpenError> {
        settings.check()?;
        let template = Template::parse(&settings.url)?;
        let headers = headers::sent(&template.site, &settings.headers)?;
        let trust = template.site.is_secure.then(|| tls::trust(settings.ca.as_deref())).transpose()?;
        let (site, timeout) = (template.site.clone(), settings.connect_timeout);
        let connector = Connector::new(site, trust, resolver, settings.allow, timeout)?;
        let pool = Pool::new(connector, headers, settings.first_byte_timeout);
        Ok(Self { template, pool, bounds })
    }

    /// The value of `key`: the body of a response. `None` for 404 and 410. Charged as it comes in.
    ///
    /// Dropping the future closes the connection that it uses.
    ///
    /// # Errors
    /// See [`OriginError`]; which timeout it was, where it was one. The server may have been at work.
    pub async fn load_charged(&self, key: &Key, charge: &Charge) -> Result<Option<Loaded>, OriginError> {
        let Some(target) = self.template.target(key)? else {
            // So that no key is "not found" at a server that is not there: that would count as its first answer.
            self.pool.keep(self.pool.connection().await?);
            return Ok(None);
        };
        let waited = self.bounds.deadline;
        let followed = tokio::time::timeout(waited, self.follow(target, charge)).await;
        followed.unwrap_or(Err(OriginError::Overdue { waited }))
    }

    /// The same, charged to nobody.
    #[cfg(test)]
    pub async fn load(&self, key: &Key) -> Result<Option<Loaded>, OriginError> {
        self.load_charged(key, &Charge::default()).await
    }

    /// Whether the server can be reached: connects to it, by its name, at an address that may be asked, and with its
    /// certificate checked, as a load would. The connection is kept for the first load.
    ///
    /// It proves nothing of what the server would answer, since no request is sent: there is no key that could be
    /// asked for without a load that nobody wanted.
    ///
    /// # Errors
    /// See [`OriginError`]; within the connect timeout.
    pub async fn probe(&self) -> Result<(), OriginError> {
        let connection = self.pool.connect().await?;
        self.pool.keep(connection);
        Ok(())
    }

    /// Requests sent for loads. More than loads where some were redirected, or sent once more since the server had
    /// closed the connection; fewer where no connection came about.
    pub fn loads(&self) -> u64 {
        self.pool.requests()
    }

    async fn follow(&self, mut target: PathAndQuery, charge: &Charge) -> Result<Option<Loaded>, OriginError> {
        // The shortest that any response on the way says: where the value is to be found may be said for a moment only.
        let mut shortest = None;
        for _ in 0..=REDIRECTS {
            let (step, lifetime) = self.ask(&target, charge).await?;
            shortest = shortest.into_iter().chain(lifetime).min();
            match step {
                Step::Done(value) => return Ok(value.map(|value| self.loaded(value, shortest))),
                Step::Onward(next) => target = next,
            }
        }
        Err(OriginError::Circles { limit: REDIRECTS })
    }

    /// What one response comes to, and for how long it may be kept, if it says so.
    async fn ask(
        &self,
        target: &PathAndQuery,
        charge: &Charge,
    ) -> Result<(Step, Option<Duration>), OriginError> {
        let (response, connection) = self.pool.get(target).await?;
        let (head, body) = response.into_parts();
        let mut answer = Answer::new(body, charge.clone());
        let step = self.judge(target, &head, &mut answer).await;
        // Otherwise it is dropped, and closed: nobody reads what may still come.
        if answer.is_over() {
            self.pool.keep(connection);
        }
        step.map(|step| (step, lifetime(&head.headers)))
    }

    async fn judge(
        &self,
        target: &PathAndQuery,
        head: &Parts,
        answer: &mut Answer,
    ) -> Result<Step, OriginError> {
        match head.status.as_u16() {
            // 203 is 200 by way of a proxy.
            200 | 203 => {
                let value = answer.value(&head.headers, self.bounds.value_max).await?;
                Ok(Step::Done(Some(value)))
            }
            204 => Ok(Step::Done(Some(Bytes::new()))),
            404 | 410 => {
                answer.said().await;
                Ok(Step::Done(None))
            }
            301 | 302 | 303 | 307 | 308 => {
                answer.said().await;
                let location = head.headers.get(LOCATION);
                redirect::next(&self.template.site, target, location).map(Step::Onward)
            }
            // A part of a value, or the word that one is on its way, is none.
            _ => Err(OriginError::Status { status: head.status, said: answer.said().await }),
        }
    }

    /// The value, for as long as both the responses and the group would have it served.
    fn loaded(&self, value: Bytes, lifetime: Option<Duration>) -> Loaded {
        let loaded = Loaded::new(value);
        match lifetime {
            Some(lifetime) => loaded.ttl(self.bounds.ttl.map_or(lifetime, |ttl| ttl.min(lifetime))),
            None => loaded,
        }
    }
}

impl fmt::Debug for Http {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Http").field("site", &self.template.site).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests;
