//! Opening a group: its name, its settings, its codec, and last its loader.

use std::future::Future;
use std::marker::PhantomData;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;

use crate::error::{BoxError, OpenError};
use crate::group::{Group, Settings};
use crate::hot::Hot;
use crate::loader::{Loaded, Loader};
use crate::node::Node;
use crate::policy::Policy;
use crate::typed::{Codec, TypedGroup};
use crate::units::{ByteSize, GroupName, Key};

/// A group about to be opened, of bytes or, after [`codec`](Self::codec), of typed values. Made by
/// `Cluster::group`; nothing happens before `open`.
#[must_use = "a group is opened by `open`"]
pub struct GroupBuilder<C = Bytes> {
    node: Arc<Node>,
    name: String,
    settings: Settings,
    values: C,
}

/// The values of a group that has a codec.
pub struct Coded<C>(C);

impl<C> GroupBuilder<C> {
    /// The memory this group may take on this node, keys, values and bookkeeping together. Default 64 MiB; 0 keeps
    /// nothing. Where the node has a memory for all its groups, that bounds them together.
    pub fn capacity(mut self, capacity: ByteSize) -> Self {
        self.settings.capacity = capacity;
        self
    }

    /// How long a value may be served after its load, unless the loader gives it a time of its own. Default:
    /// without end.
    pub fn ttl(mut self, ttl: Duration) -> Self {
        self.settings.ttl = Some(ttl);
        self
    }

    /// How long one load may take, its wait for a turn included. Default 10 s.
    pub fn load_deadline(mut self, deadline: Duration) -> Self {
        self.settings.load_deadline = deadline;
        self
    }

    /// Loads that may run at once on this node. Default 256, at least 1.
    pub fn max_loads(mut self, loads: usize) -> Self {
        self.settings.max_loads = loads;
        self
    }

    /// Callers that may wait at once on this node for loads, and as many for fetches; past it they get
    /// `GetError::Busy`. Default 100,000.
    pub fn max_waiters(mut self, waiters: usize) -> Self {
        self.settings.max_waiters = waiters;
        self
    }

    /// Which fetched keys are mirrored here. Default: those fetched 100 times a minute.
    pub fn hot(mut self, hot: Hot) -> Self {
        self.settings.hot = hot;
        self
    }

    /// Which entries leave when room is needed. Default: [`Policy::Default`].
    pub fn policy(mut self, policy: Policy) -> Self {
        self.settings.policy = policy;
        self
    }

    /// Makes it a group of typed values: `Json`, [`Utf8`](crate::typed::Utf8),
    /// [`Raw`](crate::typed::Raw), or a codec of your own.
    pub fn codec<D>(self, codec: D) -> GroupBuilder<Coded<D>> {
        GroupBuilder { node: self.node, name: self.name, settings: self.settings, values: Coded(codec) }
    }
}

impl GroupBuilder {
    pub(crate) fn new(node: Arc<Node>, name: &str) -> Self {
        Self { node, name: name.to_owned(), settings: Settings::default(), values: Bytes::new() }
    }

    /// Opens the group: `loader` is an async closure from a [`Key`] to `Result<Option<T>, E>`, or a [`Loader`].
    ///
    /// # Errors
    /// See [`OpenError`]; nothing changed then.
    pub fn open(self, loader: impl Loader) -> Result<Group, OpenError> {
        self.node.open(GroupName::new(&self.name)?, self.settings, Arc::new(loader))
    }
}

impl<C> GroupBuilder<Coded<C>> {
    /// Opens the group. `loader` is an async closure from a [`Key`] to `Result<Option<T>, E>`, where `T` is a `V` or a
    /// [`Loaded<V>`].
    ///
    /// # Errors
    /// See [`OpenError`]; nothing changed then.
    pub fn open<V, F, Fut, T, E>(self, loader: F) -> Result<TypedGroup<V>, OpenError>
    where
        C: Codec<V>,
        V: Send + 'static,
        F: Fn(Key) -> Fut + Send + Sync + 'static,
        Fut: Future<Output = Result<Option<T>, E>> + Send + 'static,
        T: Into<Loaded<V>> + Send + 'static,
        E: Into<BoxError> + 'static,
    {
        let Self { node, name, settings, values: Coded(codec) } = self;
        let codec: Arc<dyn Codec<V>> = Arc::new(codec);
        let encoding = Encoding { loader, codec: codec.clone(), value: PhantomData::<fn() -> V> };
        let encoding = Arc::new(encoding);
        let loader = move |key| {
            let encoding = encoding.clone();
            async move { encoding.load(key).await }
        };
        let group = node.open(GroupName::new(&name)?, settings, Arc::new(loader))?;
        Ok(TypedGroup::new(group, codec))
    }
}

/// A loader of `V`s, seen as a loader of bytes.
struct Encoding<V: 'static, F> {
    loader: F,
    codec: Arc<dyn Codec<V>>,
    value: PhantomData<fn() -> V>,
}

impl<V: 'static, F> Encoding<V, F> {
    async fn load<Fut, T, E>(&self, key: Key) -> Result<Option<Loaded<Bytes>>, BoxError>
    where
        F: Fn(Key) -> Fut,
        Fut: Future<Output = Result<Option<T>, E>>,
        T: Into<Loaded<V>>,
        E: Into<BoxError>,
    {
        let Some(loaded) = (self.loader)(key).await.map_err(Into::into)? else { return Ok(None) };
        let Loaded { value, ttl } = loaded.into();
        Ok(Some(Loaded { value: self.codec.encode(value)?, ttl }))
    }
}
