//! One node of the program: a cluster's member with its groups, its data front and its admin front.
//!
//! Starts whole or not at all: every address is bound before anything answers. Only an origin may come later: until
//! then loads fail, and the node is not ready. Stops in the order that loses nothing: not ready, data front, peers and
//! loads, admin.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use carrotcache::net::dialect::Dialect;
use carrotcache::net::listen::{ListenLimits, Listener, Serving};
use carrotcache::placement::PlacementKind;
use carrotcache::{
    BoxError, BoxFuture, ByteSize, Charge, Cluster, Group, GroupName, Hot, Key, Limits, Loaded, Loader,
    OpenError, Policy, StartError,
};
use tokio::runtime::Handle;
use tokio::task::JoinSet;
use tokio::time::Instant;

use crate::admin::Admin;
use crate::auth::{Gate, Tries};
use crate::data::DataFront;
use crate::host::Hosts;
use crate::origin::Origin;
use crate::origin::slow::Slow;
use crate::readiness::{FirstAnswer, Readiness};
use crate::resp::port;
use crate::resp::{Front, FrontPlan};
use crate::secret::Secret;

/// What a node is started with.
pub struct NodePlan {
    /// What answers call the node; `None`: its peer address.
    pub name: Option<String>,
    /// How peers write its address, where that is not what it is bound to.
    pub url: Option<String>,
    /// Where peers ask.
    pub peer: SocketAddr,
    /// Where clients ask.
    pub http: SocketAddr,
    /// Where Redis clients ask, if anywhere.
    pub resp: Option<RespPlan>,
    /// Where operators ask.
    pub admin: SocketAddr,
    /// What their cluster is called, if it has a name.
    pub cluster: Option<String>,
    /// All members, or none for a cluster of one.
    pub peers: Vec<String>,
    /// What is spoken to peers.
    pub dialect: Dialect,
    /// How keys are given to members; `None`: as the dialect has it.
    pub placement: Option<PlacementKind>,
    /// What the node allows itself and others.
    pub limits: Limits,
    /// How long a stop waits for what is in flight.
    pub drain: Duration,
    /// What clients of HTTP and operators have to know; `None`: nothing.
    pub password: Option<Secret>,
    /// Names under which the admin front may be called, beside addresses and localhost.
    pub hosts: Vec<String>,
    /// The groups, each with its origin.
    pub groups: Vec<GroupPlan>,
}

/// How the Redis protocol is answered.
pub struct RespPlan {
    /// Where.
    pub address: SocketAddr,
    /// Whose keys may stand without their group's name.
    pub default_group: Option<GroupName>,
    /// What its clients have to know; `None`: nothing.
    pub password: Option<Secret>,
}

/// What a group is opened with.
pub struct GroupPlan {
    /// Its name.
    pub name: GroupName,
    /// The memory it may take.
    pub capacity: ByteSize,
    /// How long a value is served; `None`: without end.
    pub ttl: Option<Duration>,
    /// How long a load may take.
    pub load_deadline: Duration,
    /// Loads at once.
    pub max_loads: usize,
    /// Callers that may wait at once.
    pub max_waiters: usize,
    /// Which keys of other owners are mirrored.
    pub hot: Hot,
    /// Which entries leave for room.
    pub policy: Policy,
    /// Where values come from.
    pub origin: Arc<Origin>,
    /// How much later the origin answers than it could, for a demonstration.
    pub slowed: Duration,
}

/// A listener that could not be opened; nothing is left open.
#[derive(Debug, thiserror::Error)]
#[error("{listener} {address}: {why}")]
struct NoListener {
    /// `peer`, `http`, `resp` or `admin`, as it is called everywhere.
    listener: &'static str,
    /// Where it would have listened.
    address: SocketAddr,
    why: String,
}

/// A fault at the start; one of a listener with what its user can change, `advice` of its name.
pub fn with_advice(fault: anyhow::Error, advice: impl FnOnce(&str) -> String) -> anyhow::Error {
    match fault.downcast_ref::<NoListener>() {
        Some(NoListener { listener, .. }) => anyhow::anyhow!("{fault}; {}", advice(listener)),
        None => fault,
    }
}

/// A node that answers.
pub struct RunningNode {
    cluster: Cluster,
    data: Serving,
    resp: Option<Serving>,
    admin: Serving,
    readiness: Arc<Readiness>,
    /// One for each origin, until it has answered. Dropping it ends them.
    asking: JoinSet<()>,
    drain: Duration,
}

impl RunningNode {
    /// Binds, joins, opens and answers clients and peers on these runtimes; on the caller's where there are none, as
    /// operators always are.
    ///
    /// # Errors
    /// Whatever keeps one of them from being whole; nothing is left running then.
    pub async fn start(plan: NodePlan, cores: &[Handle]) -> anyhow::Result<Self> {
        let hosts = Hosts::new(&plan.hosts, plan.url.as_deref());
        let limits = ListenLimits::from(&plan.limits);
        let data = Listener::bind_on(plan.http, limits.clone(), cores.iter().cloned()).await;
        let data = data.map_err(|fault| unopened("http", fault))?;
        let resp = bind_resp(&plan, cores).await?;
        let admin = Listener::bind(plan.admin, limits).await.map_err(|fault| unopened("admin", fault))?;
        let cluster = start_member(&plan, cores).await.map_err(|fault| unopened("peer", fault))?;
        let readiness = Arc::new(Readiness::new(plan.groups.iter().map(|group| &group.name)));
        let groups: Vec<Group> = plan
            .groups
            .iter()
            .zip(readiness.origins())
            .map(|(group, first)| open_group(&cluster, group, first))
            .collect::<Result<_, _>>()?;
        let redis = resp.map(|(listener, resp)| {
            let front = redis_front(resp, &cluster, &groups, &plan);
            (port::open(listener, front.clone()), front)
        });
        let front =
            DataFront::new(cluster.clone(), groups, plan.limits.value, Gate::new(plan.password.clone()));
        let data = front.clone().serve(data);
        // The admin front is the last to accept, so whoever is told that the node is ready can reach the others.
        let operators = Admin {
            cluster: cluster.clone(),
            front,
            data: data.meter(),
            resp: redis.as_ref().map(|(resp, front)| (resp.meter(), front.clone())),
            readiness: readiness.clone(),
            hosts,
            gate: Gate::new(plan.password.clone()),
            since: std::time::Instant::now(),
        };
        Ok(Self {
            data,
            resp: redis.map(|(resp, _)| resp),
            admin: serve_admin(admin, operators),
            cluster,
            asking: plan.groups.iter().zip(readiness.origins()).map(asked).collect(),
            readiness,
            drain: plan.drain,
        })
    }

    /// One line for each listener, to be printed once all accept.
    pub fn listeners(&self) -> Vec<String> {
        let peer = self.cluster.address().map(|address| format!("peer {address}"));
        let http = [format!("http {}", self.data.address())];
        let resp = self.resp.as_ref().map(|resp| format!("resp {}", resp.address()));
        let admin = [format!("admin {}", self.admin.address())];
        peer.into_iter().chain(http).chain(resp).chain(admin).collect()
    }

    /// Puts another list of peers in force, whole. Dropping the future abandons the wait alone.
    ///
    /// # Errors
    /// See [`StartError`]; the old list stays in force.
    pub async fn set_peers(&self, peers: &[String]) -> Result<(), StartError> {
        self.cluster.set_peers(peers.iter().cloned()).await
    }

    /// Ends what is in flight and stops, at the end of the drain at the latest. Gives what had to be cut off.
    pub async fn stop(self) -> Option<String> {
        self.readiness.stop();
        drop(self.asking);
        let end = Instant::now() + self.drain;
        let resp = async {
            match self.resp {
                Some(resp) => resp.stop(self.drain).await,
                None => 0,
            }
        };
        let (http, resp) = tokio::join!(self.data.stop(self.drain), resp);
        let broken = http + resp;
        let left = tokio::time::timeout_at(end, self.cluster.leave()).await;
        self.admin.stop(Duration::ZERO).await;
        match (broken, left) {
            (0, Ok(Ok(()))) => None,
            (broken, _) => Some(format!(
                "stopped after {:?} with {broken} clients unanswered or loads under way",
                self.drain
            )),
        }
    }
}

/// The port of the Redis front, if there is to be one, and how it is to answer.
async fn bind_resp<'a>(
    plan: &'a NodePlan,
    cores: &[Handle],
) -> anyhow::Result<Option<(Listener, &'a RespPlan)>> {
    let Some(resp) = &plan.resp else { return Ok(None) };
    let listener = Listener::bind_on(resp.address, (&plan.limits).into(), cores.iter().cloned()).await;
    Ok(Some((listener.map_err(|fault| unopened("resp", fault))?, resp)))
}

fn redis_front(resp: &RespPlan, cluster: &Cluster, groups: &[Group], plan: &NodePlan) -> Arc<Front> {
    Front::new(FrontPlan {
        cluster: cluster.clone(),
        groups: groups.to_vec(),
        default_group: resp.default_group.clone(),
        gate: Gate::new(resp.password.clone()),
        limits: plan.limits.clone(),
    })
}

fn serve_admin(listener: Listener, operators: Admin) -> Serving {
    let operators = Arc::new(operators);
    listener.serve_each(None, move || {
        let (operators, tries) = (operators.clone(), Tries::default());
        move |request| {
            let response = operators.respond(&request, &tries);
            async move { response }
        }
    })
}

/// A fault at the start, as one of a listener where the system has refused its address.
fn unopened(listener: &'static str, fault: StartError) -> anyhow::Error {
    match fault {
        StartError::Bind { address, source } => {
            let why = match source.kind() {
                io::ErrorKind::AddrInUse => "address already in use".to_owned(),
                io::ErrorKind::AddrNotAvailable => "not an address of this machine".to_owned(),
                _ => source.to_string(),
            };
            NoListener { listener, address, why }.into()
        }
        other => anyhow::Error::new(other).context(format!("{listener} port")),
    }
}

async fn start_member(plan: &NodePlan, cores: &[Handle]) -> Result<Cluster, StartError> {
    let mut member = Cluster::bind(plan.peer)
        .peers(plan.peers.iter().cloned())
        .dialect(plan.dialect)
        .limits(plan.limits.clone())
        .runtimes(cores.iter().cloned())
        .drain(plan.drain);
    if let Some(name) = &plan.name {
        member = member.name(name);
    }
    if let Some(cluster) = &plan.cluster {
        member = member.named(cluster);
    }
    if let Some(url) = &plan.url {
        member = member.url(url);
    }
    if let Some(placement) = plan.placement {
        member = member.placement(placement);
    }
    member.start().await
}

/// Has the origin of a group asked until it answers.
fn asked((plan, first): (&GroupPlan, &Arc<FirstAnswer>)) -> impl Future<Output = ()> + Send + 'static {
    let (origin, first, load_deadline) = (plan.origin.clone(), first.clone(), plan.load_deadline);
    async move { first.await_from(load_deadline, || origin.probe()).await }
}

fn open_group(cluster: &Cluster, plan: &GroupPlan, first: &Arc<FirstAnswer>) -> Result<Group, OpenError> {
    let mut group = cluster
        .group(plan.name.as_str())
        .capacity(plan.capacity)
        .load_deadline(plan.load_deadline)
        .max_loads(plan.max_loads)
        .max_waiters(plan.max_waiters)
        .hot(plan.hot)
        .policy(plan.policy);
    if let Some(ttl) = plan.ttl {
        group = group.ttl(ttl);
    }
    let (origin, first) = (Slow::new(plan.origin.clone(), plan.slowed), first.clone());
    group.open(FromOrigin { origin, first })
}

/// The loader of a group.
struct FromOrigin {
    origin: Slow,
    first: Arc<FirstAnswer>,
}

impl Loader for FromOrigin {
    fn load(&self, key: Key) -> BoxFuture<'static, Result<Option<Loaded>, BoxError>> {
        self.load_charged(key, &Charge::default())
    }

    fn load_charged(
        &self,
        key: Key,
        charge: &Charge,
    ) -> BoxFuture<'static, Result<Option<Loaded>, BoxError>> {
        let (origin, first, charge) = (self.origin.clone(), self.first.clone(), charge.clone());
        Box::pin(async move { Ok(first.heed(origin.load_charged(key, &charge).await)?) })
    }
}

#[cfg(test)]
mod tests;
