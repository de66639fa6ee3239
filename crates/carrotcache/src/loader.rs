//! The code that makes a value: a closure of the user's, or a type that implements [`Loader`].

use std::future::Future;
use std::time::Duration;

use bytes::Bytes;

use crate::error::BoxError;
use crate::memory::Charge;
use crate::peers::BoxFuture;
use crate::units::Key;

/// A value as it comes from the origin, with its own time to live where the origin knows better than the group.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Loaded<V = Bytes> {
    /// The value.
    pub value: V,
    /// How long it may be served; `None`: as long as the group's ttl says.
    pub ttl: Option<Duration>,
}

impl<V> Loaded<V> {
    /// A value that lives as long as the group's ttl says.
    pub fn new(value: V) -> Self {
        Self { value, ttl: None }
    }

    /// The same value with a time to live of its own. Zero: it is handed to those who wait for it, and not kept.
    #[must_use]
    pub fn ttl(mut self, ttl: Duration) -> Self {
        self.ttl = Some(ttl);
        self
    }
}

impl<V> From<V> for Loaded<V> {
    fn from(value: V) -> Self {
        Self::new(value)
    }
}

impl From<Vec<u8>> for Loaded<Bytes> {
    fn from(value: Vec<u8>) -> Self {
        Self::new(value.into())
    }
}

impl From<String> for Loaded<Bytes> {
    fn from(value: String) -> Self {
        Self::new(value.into())
    }
}

impl From<&'static str> for Loaded<Bytes> {
    fn from(value: &'static str) -> Self {
        Self::new(Bytes::from_static(value.as_bytes()))
    }
}

impl From<&'static [u8]> for Loaded<Bytes> {
    fn from(value: &'static [u8]) -> Self {
        Self::new(Bytes::from_static(value))
    }
}

/// What an origin says to many keys at once: of each, in the order asked, its value, that there is none, or why that is
/// not known; or why it says nothing of any.
pub type LoadedMany = Result<Vec<Result<Option<Loaded>, BoxError>>, BoxError>;

/// Asks the origin. Implemented for every async closure from a [`Key`] to `Result<Option<T>, E>`.
///
/// It is called at most once at a time for one key on one node, save that a load which a `remove` or `set` of its key
/// has overtaken does not keep the next one waiting; and at most `max_loads` times at once for a group,
/// each call in a task of its own. At the group's load deadline the future is dropped. A panic is an error to
/// those who wait, and to nobody else.
pub trait Loader: Send + Sync + 'static {
    /// The value of `key`, or `None` where the origin has none.
    fn load(&self, key: Key) -> BoxFuture<'static, Result<Option<Loaded>, BoxError>>;

    /// As [`load`](Self::load), for a loader that reads a value piece by piece: it grows `charge` by each piece before it
    /// takes that in, so that the value is charged to the node's memory from its first byte. Where `charge` is refused,
    /// it fails with whatever it likes, and the load's callers are told that the node is busy.
    ///
    /// This is what the library calls. By default it is `load`, whose value is charged when it is there, whole.
    fn load_charged(
        &self,
        key: Key,
        charge: &Charge,
    ) -> BoxFuture<'static, Result<Option<Loaded>, BoxError>> {
        let _ = charge;
        self.load(key)
    }

    /// The values of many different keys by one call to the origin: what a [`Group::get_many`](crate::Group::get_many)
    /// has to load on this node, whoever asked. `None`, as by default, where the origin has no such call: each key is
    /// loaded by itself then, by [`load_charged`](Self::load_charged): some at once, and the more the smaller their values are.
    ///
    /// The future is not polled before its turn: it counts as one of the group's `max_loads`, has its deadline, and is
    /// dropped there. Where it fails or panics, where the deadline takes it, or where it does not answer each key once,
    /// that is an error of all its keys. Each value is charged when all are there. A single key never comes this way.
    fn load_many(&self, keys: &[Key]) -> Option<BoxFuture<'static, LoadedMany>> {
        let _ = keys;
        None
    }
}

impl<F, Fut, T, E> Loader for F
where
    F: Fn(Key) -> Fut + Send + Sync + 'static,
    Fut: Future<Output = Result<Option<T>, E>> + Send + 'static,
    T: Into<Loaded>,
    E: Into<BoxError>,
{
    fn load(&self, key: Key) -> BoxFuture<'static, Result<Option<Loaded>, BoxError>> {
        let loading = self(key);
        Box::pin(async move { loading.await.map(|found| found.map(Into::into)).map_err(Into::into) })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn closures_over_text_vectors_and_loaded_values_are_loaders() {
        async fn load(loader: impl Loader) -> Option<Loaded> {
            loader.load(Key::from("k")).await.unwrap()
        }
        assert_eq!(load(|_| async { Ok::<_, BoxError>(Some("v")) }).await.unwrap().value, "v");
        assert_eq!(
            load(|k: Key| async move { Ok::<_, BoxError>(Some(k.as_bytes().to_vec())) }).await.unwrap().value,
            "k"
        );
        let brief = load(|_| async { Ok::<_, BoxError>(Some(Loaded::from("v").ttl(Duration::ZERO))) }).await;
        assert_eq!(brief.unwrap().ttl, Some(Duration::ZERO));
        assert_eq!(load(|_| async { Ok::<Option<String>, BoxError>(None) }).await, None);
    }
}
