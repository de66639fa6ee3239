//! The origin that is an API over HTTP or HTTPS.

use std::net::IpAddr;
use std::path::PathBuf;
use std::time::Duration;

use carrotcache::{Key, Loaded};

use crate::origin::Allowance;
use crate::origin::error::{OpenError, OriginError};
use crate::secret::Secret;

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
        Ok(Self {
            url: url.to_owned(),
            headers: Vec::new(),
            connect_timeout: Duration::from_secs(2),
            first_byte_timeout: None,
            allow: Vec::new(),
            ca: None,
        })
    }
}

/// An API that can be asked.
#[derive(Debug)]
pub struct Http {}

impl Http {
    /// Makes it ready to be asked.
    ///
    /// # Errors
    /// See [`OpenError`].
    pub fn open(_settings: HttpSettings, _allowed: Allowance) -> Result<Self, OpenError> {
        Ok(Self {})
    }

    /// The value of `key`.
    ///
    /// # Errors
    /// See [`OriginError`].
    pub async fn load(&self, _key: &Key) -> Result<Option<Loaded>, OriginError> {
        Err(OriginError::Closing)
    }

    /// Whether it answers now.
    ///
    /// # Errors
    /// See [`OriginError`].
    pub async fn probe(&self) -> Result<(), OriginError> {
        Err(OriginError::Closing)
    }

    /// How often it was asked.
    pub fn loads(&self) -> u64 {
        0
    }
}
