//! From a host's name to its addresses, a few at a time.
//!
//! The system's resolver blocks a thread and cannot be told to stop: where no name server answers, it holds on for
//! longer than any load does. So a look-up keeps its place until it is really over, whoever has stopped waiting, and
//! an origin with a dead name server never takes more than a few of the runtime's threads.

use std::future::Future;
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::pin::Pin;
use std::sync::Arc;

use tokio::sync::Semaphore;

/// Look-ups at once, of one origin. Needed are few: a kept connection needs none.
const LOOKUPS: usize = 4;
/// Addresses of one name that are heeded. The connect timeout is shared among them.
const ADDRESSES: usize = 8;

/// A look-up under way.
pub type Lookup = Pin<Box<dyn Future<Output = io::Result<Vec<IpAddr>>> + Send>>;

/// What knows the addresses of names.
#[derive(Clone)]
pub struct Resolver(Arc<dyn Fn(String) -> Lookup + Send + Sync>);

impl Resolver {
    /// One that asks this function.
    pub fn new(resolve: impl Fn(String) -> Lookup + Send + Sync + 'static) -> Self {
        Self(Arc::new(resolve))
    }

    /// The system's.
    pub fn system() -> Self {
        let places = Arc::new(Semaphore::new(LOOKUPS));
        Self::new(move |host| Box::pin(look_up(host, places.clone())))
    }

    /// The addresses of `host`, in the order in which they should be tried; at most [`ADDRESSES`].
    ///
    /// # Errors
    /// What the resolver said. Dropping the future abandons the answer; a look-up that has begun runs to its end.
    pub async fn resolve(&self, host: &str) -> io::Result<Vec<IpAddr>> {
        let mut addresses = (self.0)(host.to_owned()).await?;
        addresses.truncate(ADDRESSES);
        Ok(addresses)
    }
}

async fn look_up(host: String, places: Arc<Semaphore>) -> io::Result<Vec<IpAddr>> {
    let place = places.acquire_owned().await.map_err(io::Error::other)?;
    let looking = tokio::spawn(async move {
        // Any port: only addresses are wanted.
        let found = tokio::net::lookup_host((host, 0)).await;
        drop(place);
        found.map(|found| found.map(|address: SocketAddr| address.ip()).collect())
    });
    looking.await.map_err(io::Error::other)?
}
