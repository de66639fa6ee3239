//! The way to an origin's server: its name, an address that may be asked, TCP, TLS, all within one timeout.
//!
//! An address is judged after the name is resolved and right before it is connected to, for each connection anew. A
//! name that leads elsewhere the second time it is asked for leads nowhere.

use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use rustls::ClientConfig;
use rustls::pki_types::ServerName;
use tokio::net::TcpStream;
use tokio::time::{Instant, timeout};
use tokio_rustls::TlsConnector;

use crate::origin::error::{OpenError, OriginError};
use crate::origin::http::address;
use crate::origin::http::resolve::Resolver;
use crate::origin::http::site::Site;
use crate::origin::http::stream::Stream;

/// The name that a server's certificate has to be for.
///
/// # Errors
/// When no certificate can be.
pub fn certified(site: &Site) -> Result<ServerName<'static>, OpenError> {
    ServerName::try_from(site.host.clone()).map_err(|_| OpenError::UncertainName)
}

/// Connects to one server.
pub struct Connector {
    site: Site,
    /// `None`: the server is spoken to in the clear.
    tls: Option<(TlsConnector, ServerName<'static>)>,
    resolver: Resolver,
    allow: Vec<IpAddr>,
    timeout: Duration,
}

impl Connector {
    /// Asks no network yet.
    ///
    /// # Errors
    /// When the server is to prove who it is, and is not called by a name that a certificate can be for.
    pub fn new(
        site: Site,
        trust: Option<Arc<ClientConfig>>,
        resolver: Resolver,
        allow: Vec<IpAddr>,
        timeout: Duration,
    ) -> Result<Self, OpenError> {
        let tls = match trust {
            Some(trust) => Some((TlsConnector::from(trust), certified(&site)?)),
            None => None,
        };
        Ok(Self { site, tls, resolver, allow, timeout })
    }

    /// A new connection, its TLS handshake done.
    ///
    /// # Errors
    /// Which step failed, or that all of them took too long. Nothing is left open.
    pub async fn connect(&self) -> Result<Stream, OriginError> {
        timeout(self.timeout, self.dial()).await.unwrap_or_else(|_| Err(self.overdue()))
    }

    async fn dial(&self) -> Result<Stream, OriginError> {
        let began = Instant::now();
        let addresses = self.addresses().await?;
        let stream = self.reach(&addresses, began).await?;
        // Without it a request would wait for the acknowledgement of what TLS wrote before it.
        let _ = stream.set_nodelay(true);
        let Some((connector, name)) = &self.tls else { return Ok(Stream::new(stream)) };
        let handshake = connector.connect(name.clone(), stream).await;
        let secured =
            handshake.map_err(|source| OriginError::Handshake { site: self.site.to_string(), source })?;
        Ok(Stream::new(secured))
    }

    async fn addresses(&self) -> Result<Vec<IpAddr>, OriginError> {
        if let Some(address) = self.site.address() {
            return Ok(vec![address]);
        }
        let host = || self.site.host.clone();
        let found = self.resolver.resolve(&self.site.host).await;
        let addresses = found.map_err(|source| OriginError::Resolve { host: host(), source })?;
        if addresses.is_empty() { Err(OriginError::NoAddress { host: host() }) } else { Ok(addresses) }
    }

    /// The first that answers, each with its share of the time that is left: of two networks one may be dead, and an
    /// address there answers nothing at all.
    async fn reach(&self, addresses: &[IpAddr], began: Instant) -> Result<TcpStream, OriginError> {
        let (asked, refused) = self.sort(addresses);
        let mut failure = None;
        for (address, sharers) in asked.iter().zip((1..=asked.len() as u32).rev()) {
            let to = SocketAddr::new(*address, self.site.port);
            let share = self.timeout.saturating_sub(began.elapsed()) / sharers;
            match timeout(share, TcpStream::connect(to)).await {
                Ok(Ok(stream)) => return Ok(stream),
                Ok(Err(source)) => failure = Some(OriginError::Connect { to, source }),
                Err(_) => failure = Some(self.overdue()),
            }
        }
        // Without an address nobody would have come here, so one that was not asked was refused.
        Err(failure.or(refused).unwrap_or_else(|| self.overdue()))
    }

    /// Those that may be asked, and what is wrong with one that may not.
    fn sort(&self, addresses: &[IpAddr]) -> (Vec<IpAddr>, Option<OriginError>) {
        let mut refused = None;
        let may_be_asked = |address: &IpAddr| match address::refused(*address, &self.allow) {
            None => true,
            Some(what) => {
                let host = self.site.host.clone();
                refused = Some(OriginError::Address { host, address: *address, what });
                false
            }
        };
        (addresses.iter().copied().filter(may_be_asked).collect(), refused)
    }

    fn overdue(&self) -> OriginError {
        OriginError::ConnectTimeout { site: self.site.to_string(), waited: self.timeout }
    }
}
