//! A cluster, as one of its nodes sees it: assembles the parts, starts them, finds itself among its peers, leaves.

use std::hash::{BuildHasher, RandomState};
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::time::Duration;

use tokio::runtime::Handle;
use tokio::task::JoinSet;

use crate::clock::{self, Clock};
use crate::error::{LeaveError, StartError};
use crate::fault::Faults;
use crate::group::Surroundings;
use crate::limits::Limits;
use crate::listed::{self, Spelling};
use crate::memory::Memory;
use crate::message::{Reply, Request};
#[cfg(feature = "http")]
use crate::net::{
    client::HttpTransport,
    cluster_name,
    dialect::Dialect,
    listen::{ListenStats, Listener, Serving},
    native::NativeTransport,
    reached::Reached,
    server,
    upgrade::Hello,
};
use crate::node::Node;
use crate::open::GroupBuilder;
use crate::peers::{NoPeers, PeerSnapshot, Peers, Transport};
use crate::placement::{Layout, PlacementKind};
use crate::runtimes::Runtimes;
use crate::stats::{NodeStats, Refusal, Stats};
#[cfg(feature = "http")]
use crate::sync::{Mutex, lock};
use crate::view::{Member, View};
use crate::views::Views;

/// For a listed peer to say who it is, while a node looks for itself in its list.
const WHO_ARE_YOU: Duration = Duration::from_secs(1);

/// A node about to be started.
#[must_use = "a node is started by `start`"]
pub struct ClusterBuilder {
    wire: Wire,
    name: Option<String>,
    #[cfg(feature = "http")]
    cluster: Option<String>,
    url: Option<String>,
    peers: Vec<String>,
    placement: Option<PlacementKind>,
    limits: Limits,
    memory: Option<Memory>,
    clock: Clock,
    drain: Duration,
    /// None: the caller's.
    runtimes: Vec<Handle>,
}

/// What a node's peers reach it by.
enum Wire {
    /// Nothing: a cluster of one.
    None,
    #[cfg(feature = "http")]
    Http { bind: SocketAddr, dialect: Dialect, frames: bool },
}

/// A running node of a cluster. A handle: cheap to clone, safe to share. The node stops when the last one is
/// dropped; [`leave`](Self::leave) lets it finish first.
#[derive(Clone)]
pub struct Cluster {
    running: Arc<Running>,
}

struct Running {
    node: Arc<Node>,
    #[cfg(feature = "http")]
    /// Until the node leaves.
    port: Mutex<Option<Serving>>,
    #[cfg(feature = "http")]
    /// What is spoken to peers, if there is a wire.
    dialect: Option<Dialect>,
    address: Option<SocketAddr>,
    identity: Identity,
    drain: Duration,
    /// One list is put in force at a time, so that the last one given is the one that stays.
    relisting: tokio::sync::Mutex<()>,
}

/// What a node knows of itself before it has seen a list.
struct Identity {
    /// `http://host:port`, as its peers write it, if that is known.
    url: Option<String>,
    spelling: Spelling,
    placement: Layout,
}

impl Cluster {
    /// A node whose peers reach it at this address, over HTTP/1.1. Port 0 takes a free one.
    ///
    /// Without [`peers`](ClusterBuilder::peers) it is a cluster of one.
    #[cfg(feature = "http")]
    pub fn bind(address: SocketAddr) -> ClusterBuilder {
        ClusterBuilder::new(Wire::Http { bind: address, dialect: Dialect::Native, frames: true })
    }

    /// A cluster of this process alone, without a socket.
    pub fn local() -> ClusterBuilder {
        ClusterBuilder::new(Wire::None)
    }

    /// A group of this name, to be opened with a loader. Each node of the cluster opens it.
    pub fn group(&self, name: &str) -> GroupBuilder {
        GroupBuilder::new(self.running.node.clone(), name)
    }

    /// Where peers reach this node; `None` for [`Cluster::local`].
    pub fn address(&self) -> Option<SocketAddr> {
        self.running.address
    }

    /// This node's name, as answers carry it.
    pub fn name(&self) -> &str {
        &self.running.node.around.node
    }

    /// The members that this node counts, itself included if it is listed.
    pub fn members(&self) -> Vec<Member> {
        self.running.node.around.views.current().members().to_vec()
    }

    /// What the groups of this node share, if that was set; for a front of a program that takes values in.
    pub fn memory(&self) -> &Memory {
        &self.running.node.around.limits.memory
    }

    /// What this node counted so far. Costs a few microseconds a group.
    pub fn stats(&self) -> Stats {
        self.running.node.stats()
    }

    /// The members that this node counts, which part of the keys each owns, and how asking it has gone.
    ///
    /// Walks the table of all keys, for some tens of microseconds: not for each get.
    pub fn peers(&self) -> Vec<PeerSnapshot> {
        self.running.node.peers()
    }

    /// A hash of the list of members and of the placement: two nodes with the same one agree on every owner.
    pub fn view_hash(&self) -> u64 {
        self.running.node.around.views.load().hash()
    }

    /// How keys are given to members.
    pub fn placement(&self) -> PlacementKind {
        self.running.node.around.views.load().kind()
    }

    /// What is spoken to peers; `None` for [`Cluster::local`].
    #[cfg(feature = "http")]
    pub fn dialect(&self) -> Option<Dialect> {
        self.running.dialect
    }

    /// What has happened on the port where peers ask; `None` for [`Cluster::local`], and once this node has left.
    #[cfg(feature = "http")]
    pub fn port_stats(&self) -> Option<ListenStats> {
        lock(&self.running.port).as_ref().map(Serving::stats)
    }

    /// Counts a request that a front of a program refused before a group saw it, beside those that this node refused
    /// itself. What a group refuses it counts by itself.
    pub fn count_refusal(&self, cause: Refusal) {
        self.running.node.around.stats.refusals.add(cause);
    }

    /// Puts another list of peers in force, whole. Gets in flight end under the list they began with.
    ///
    /// Where this node's address is not in the list as it is spelled here, each listed peer is asked who it is,
    /// for a second at most.
    ///
    /// Dropping the future abandons the wait; the list is put in force all the same.
    ///
    /// # Errors
    /// See [`StartError`]; the old list stays in force.
    pub async fn set_peers<I>(&self, peers: I) -> Result<(), StartError>
    where
        I: IntoIterator,
        I::Item: Into<String>,
    {
        let peers: Vec<String> = peers.into_iter().map(Into::into).collect();
        // In a task of its own: given up half-way, it could leave entries that a later list brings back.
        let running = self.running.clone();
        let done = self.running.node.around.runtimes.spawn(async move { running.put_in_force(&peers).await });
        done.await.unwrap_or(Err(StartError::Settings("the runtime of this node is gone")))
    }

    /// Stops taking requests, and waits until those in flight are answered and loads have landed. Dropping the future
    /// abandons the wait, not the leaving.
    ///
    /// # Errors
    /// [`LeaveError`] if some had not after [`ClusterBuilder::drain`]: connections of peers are cut off then, loads run on
    /// to their deadline.
    pub async fn leave(&self) -> Result<(), LeaveError> {
        let running = self.running.clone();
        let drain = running.drain;
        running.node.start_leaving();
        // In a task of its own: given up half-way, it would break what it promised to finish.
        let leaving = self.running.node.around.runtimes.spawn(async move {
            let finished = async {
                running.close_port(drain).await;
                running.node.landed().await;
            };
            clock::timeout(drain, finished).await
        });
        match leaving.await {
            Ok(Ok(())) => Ok(()),
            Ok(Err(clock::Elapsed)) | Err(_) => Err(LeaveError { drain }),
        }
    }
}

impl ClusterBuilder {
    fn new(wire: Wire) -> Self {
        Self {
            wire,
            name: None,
            #[cfg(feature = "http")]
            cluster: None,
            url: None,
            peers: Vec::new(),
            placement: None,
            limits: Limits::default(),
            memory: None,
            clock: Clock::system(),
            drain: Duration::from_secs(10),
            runtimes: Vec::new(),
        }
    }

    /// All nodes of the cluster, this one included, as `http://host:port`. The same list on every node.
    pub fn peers<I>(mut self, peers: I) -> Self
    where
        I: IntoIterator,
        I::Item: Into<String>,
    {
        self.peers = peers.into_iter().map(Into::into).collect();
        self
    }

    /// What answers call this node. Default: its address.
    pub fn name(mut self, name: impl Into<String>) -> Self {
        self.name = Some(name.into());
        self
    }

    /// What the cluster is called, the same on every node: 1 to 64 visible ASCII characters. Two nodes that both have a
    /// name, and not the same, do not serve each other: who is asked refuses and counts it
    /// ([`Refusal::OtherCluster`]), who asks takes the other for one that cannot be reached ([`PeerError::OtherCluster`]),
    /// and the log of each says so once. So lists that were mixed up do no harm. Default: none, which goes with every
    /// name. It is no secret and keeps no stranger out; peers of the family's dialects have none.
    ///
    /// [`PeerError::OtherCluster`]: crate::PeerError::OtherCluster
    #[cfg(feature = "http")]
    pub fn named(mut self, cluster: impl Into<String>) -> Self {
        self.cluster = Some(cluster.into());
        self
    }

    /// How peers write this node's address. Default: `http://` and the address it is bound to.
    pub fn url(mut self, url: impl Into<String>) -> Self {
        self.url = Some(url.into());
        self
    }

    /// What this node speaks to its peers. Default: [`Dialect::Native`]. The others bring their ring.
    #[cfg(feature = "http")]
    pub fn dialect(mut self, spoken: Dialect) -> Self {
        if let Wire::Http { dialect, .. } = &mut self.wire {
            *dialect = spoken;
        }
        self
    }

    /// Speaks HTTP/1.1 alone to native peers and with them, and no frames: for a network in which something between nodes
    /// breaks connections that are upgraded. Nodes of both kinds form one cluster; this costs speed alone.
    #[cfg(feature = "http")]
    pub fn without_frames(mut self) -> Self {
        if let Wire::Http { frames, .. } = &mut self.wire {
            *frames = false;
        }
        self
    }

    /// How keys are given to members. Default: slots, or the ring where the dialect has one.
    pub fn placement(mut self, placement: PlacementKind) -> Self {
        self.placement = Some(placement);
        self
    }

    /// Other limits than the default ones.
    pub fn limits(mut self, limits: Limits) -> Self {
        self.limits = limits;
        self
    }

    /// The memory that all groups of this node share, a size or a [`Memory`] of the caller's. Each group keeps within
    /// its own capacity as well; where those add up to more, whoever needs room takes it from the heaviest. Values on
    /// their way are charged too, and past it the answer is busy: a load, a fetch or a write is refused, nothing is
    /// stored, and [`Refusal::Memory`] counts it. A value that is stored is there twice for a moment, as it came and as
    /// it is kept, so let the memory be several times the largest value. Default: [`Limits::memory`], which has none.
    pub fn memory(mut self, memory: impl Into<Memory>) -> Self {
        self.memory = Some(memory.into());
        self
    }

    /// A clock of the caller's, for tests that own time.
    pub fn clock(mut self, clock: Clock) -> Self {
        self.clock = clock;
        self
    }

    /// How long `leave` waits. Default 10 s.
    pub fn drain(mut self, drain: Duration) -> Self {
        self.drain = drain;
        self
    }

    /// The runtimes that this node works on, for a program that has several, such as one a core. Each has to be driven
    /// already, and all go on for as long as the node does.
    ///
    /// The first accepts peers' connections and hands them round; a connection stays where it was handed. A load runs on the
    /// runtime that its first caller is on, or on the next in turn where that is none of these; so does a connection to
    /// a peer. When one of them stops, its flights end with an error. Default: the runtime that calls `start`.
    pub fn runtimes(mut self, runtimes: impl IntoIterator<Item = Handle>) -> Self {
        self.runtimes = runtimes.into_iter().collect();
        self
    }

    /// Binds the address, starts to answer peers, and finds this node in its list. Runs on the caller's tokio
    /// runtime, and its flights do too, unless there are [`runtimes`](Self::runtimes) for it.
    ///
    /// Where the list spells this node's address otherwise than it does itself, each listed peer is asked who it is,
    /// for a second at most. A node that is in no list owns nothing, says so in the log, and serves all the same.
    ///
    /// # Errors
    /// See [`StartError`]; nothing is left running.
    pub async fn start(mut self) -> Result<Cluster, StartError> {
        if let Some(memory) = self.memory.take() {
            self.limits.memory = memory;
        }
        if self.limits.key.as_u64() > Limits::KEY_MAX.as_u64() {
            return Err(StartError::Settings("a key may be at most 16KiB: it travels in a request's target"));
        }
        if self.name.as_ref().is_some_and(|name| !is_fit_for_a_name(name)) {
            return Err(StartError::Settings("a node's name has 1 to 255 bytes and no control characters"));
        }
        #[cfg(feature = "http")]
        if self.cluster.as_ref().is_some_and(|name| !cluster_name::is_fit(name)) {
            return Err(StartError::Settings("a cluster's name has 1 to 64 visible ASCII characters"));
        }
        let peers = self.peers.clone();
        let running = match self.wire {
            Wire::None => self.assemble(Parts::alone())?,
            #[cfg(feature = "http")]
            Wire::Http { bind, dialect, frames } => self.assemble_http(bind, dialect, frames).await?,
        };
        let cluster = Cluster { running: Arc::new(running) };
        if let Err(refused) = cluster.running.put_in_force(&peers).await {
            // Waited for: a port that is merely dropped is still bound for a moment.
            cluster.running.close_port(Duration::ZERO).await;
            return Err(refused);
        }
        Ok(cluster)
    }

    #[cfg(feature = "http")]
    async fn assemble_http(
        self,
        bind: SocketAddr,
        dialect: Dialect,
        frames: bool,
    ) -> Result<Running, StartError> {
        let placement = match (dialect.ring(), self.placement) {
            (Some(_), Some(PlacementKind::Slots)) => {
                return Err(StartError::Settings(
                    "a family dialect brings its own ring: placement slots cannot be had beside it",
                ));
            }
            (Some(hash), _) => Layout::Ring(hash),
            (None, placement) => placement.unwrap_or_default().into(),
        };
        let listener = Listener::bind_on(bind, (&self.limits).into(), self.runtimes.clone()).await?;
        let address = listener.address();
        if address.ip().is_unspecified() && self.url.is_none() && !self.peers.is_empty() {
            return Err(StartError::Settings(
                "a node bound to every address needs its url, as peers write it",
            ));
        }
        let (limits, stats) = (self.limits.clone(), Arc::new(NodeStats::default()));
        let cluster = self.cluster.as_deref().map(Arc::from);
        let hello = Hello { node: self.name_at(Some(address)), id: random_id(), cluster };
        let transport: Arc<dyn Transport> = match dialect {
            Dialect::Native if frames => {
                Arc::new(NativeTransport::new(limits.clone(), hello.clone(), stats.clone()))
            }
            _ => Arc::new(HttpTransport::new(dialect, limits.clone()).of_cluster(hello.cluster.as_deref())),
        };
        let parts = Parts {
            transport,
            stats,
            id: hello.id.clone(),
            address: Some(address),
            spelling: dialect.spelling(),
            placement,
        };
        let running = Running { dialect: Some(dialect), ..self.assemble(parts)? };
        let node = running.node.clone();
        let answer = Arc::new(Reached(node));
        let terms = server::Terms {
            dialect,
            limits,
            stats: running.node.around.stats.clone(),
            dropped_ttl: running.node.around.peers.dropped_ttl().clone(),
            hello,
            frames,
        };
        *lock(&running.port) = Some(server::serve(listener, answer, terms));
        Ok(running)
    }

    /// What answers call a node that is bound there.
    fn name_at(&self, address: Option<SocketAddr>) -> Arc<str> {
        match (&self.name, address) {
            (Some(name), _) => name.as_str().into(),
            (None, Some(address)) => address.to_string().into(),
            (None, None) => "local".into(),
        }
    }

    fn assemble(self, parts: Parts) -> Result<Running, StartError> {
        let Parts { transport, stats, id, address, spelling, placement } = parts;
        let name = self.name_at(address);
        let runtimes = Runtimes::new(self.runtimes);
        let url = self.url.or_else(|| address.map(|address| format!("http://{address}")));
        let around = Surroundings {
            node: name,
            // Nobody's, until the node has found itself in its list: no group is open before.
            views: Views::new(View::new(Vec::new(), None, placement)?, stats.clone()),
            stats,
            peers: Peers::new(transport, self.clock.clone(), runtimes.clone()),
            limits: self.limits,
            clock: self.clock,
            runtimes: runtimes.clone(),
            leaving: AtomicBool::new(false),
            faults: Faults::none(),
        };
        Ok(Running {
            node: Arc::new(Node::new(around, id)),
            #[cfg(feature = "http")]
            port: Mutex::new(None),
            #[cfg(feature = "http")]
            dialect: None,
            address,
            identity: Identity { url, spelling, placement },
            drain: self.drain,
            relisting: tokio::sync::Mutex::new(()),
        })
    }
}

/// What differs between wires.
struct Parts {
    transport: Arc<dyn Transport>,
    stats: Arc<NodeStats>,
    id: Arc<str>,
    address: Option<SocketAddr>,
    spelling: Spelling,
    placement: Layout,
}

impl Parts {
    fn alone() -> Self {
        Self {
            transport: Arc::new(NoPeers),
            stats: Arc::default(),
            id: random_id(),
            address: None,
            spelling: Spelling::One,
            placement: Layout::Slots,
        }
    }
}

impl Running {
    async fn put_in_force(&self, peers: &[String]) -> Result<(), StartError> {
        let _one_at_a_time = self.relisting.lock().await;
        let Identity { url, spelling, placement } = &self.identity;
        let members: Vec<Member> =
            peers.iter().map(|entry| listed::member(entry, *spelling)).collect::<Result<_, _>>()?;
        let view = if members.is_empty() {
            self.view_alone()?
        } else {
            let me = self.find_me(&members, url.as_deref()).await?;
            if me.is_none() {
                tracing::warn!(node = %self.node.around.node, "this node is not in its list of peers: it owns nothing");
            }
            View::new(members, me.as_deref(), *placement)?
        };
        self.node.around.peers.retain(&view);
        self.node.around.views.replace(view);
        let node = self.node.clone();
        // Waited for, so that no later list gives a key back before its old entry is gone.
        let _ = self.node.around.runtimes.nearest().spawn_blocking(move || node.disown()).await;
        Ok(())
    }

    /// The view of a cluster of one.
    fn view_alone(&self) -> Result<View, StartError> {
        let Identity { url, spelling, placement } = &self.identity;
        let me = match url {
            Some(url) => listed::member(url, *spelling)?,
            None => Member { name: self.node.around.node.clone(), authority: "".into() },
        };
        let name = me.name.clone();
        Ok(View::new(vec![me], Some(&name), *placement)?)
    }

    /// The name under which this node is in the list: its own spelling, else that of the peer which turns out to be
    /// this node. A family's peers are never asked: a path they do not know makes them panic.
    async fn find_me(&self, members: &[Member], url: Option<&str>) -> Result<Option<Arc<str>>, StartError> {
        if let Some(url) = url {
            let own = listed::member(url, self.identity.spelling)?;
            if members.iter().any(|member| member.name == own.name) {
                return Ok(Some(own.name));
            }
            if self.identity.spelling != Spelling::One {
                return Err(StartError::NotListed { url: url.to_owned() });
            }
        }
        let mut asked = JoinSet::new();
        for member in members {
            let (node, member) = (self.node.clone(), member.clone());
            asked.spawn(async move {
                let deadline = clock::now() + WHO_ARE_YOU;
                let reply = node.around.peers.ask_anyway(&member, Request::Id, deadline).await;
                matches!(reply, Ok(Reply::Id(id)) if id == node.id).then_some(member.name)
            });
        }
        while let Some(answered) = asked.join_next().await {
            if let Ok(Some(name)) = answered {
                return Ok(Some(name));
            }
        }
        Ok(None)
    }

    #[cfg(feature = "http")]
    async fn close_port(&self, drain: Duration) {
        let port = lock(&self.port).take();
        if let Some(port) = port {
            port.stop(drain).await;
        }
    }

    #[cfg(not(feature = "http"))]
    async fn close_port(&self, _: Duration) {}
}

/// Names travel beside values, into headers, logs and metrics.
fn is_fit_for_a_name(name: &str) -> bool {
    (1..=255).contains(&name.len()) && !name.chars().any(char::is_control)
}

/// 128 random bits, from the seeds that the standard library draws for its hash maps.
fn random_id() -> Arc<str> {
    let word = || RandomState::new().hash_one(std::process::id());
    format!("{:016x}{:016x}", word(), word()).into()
}
