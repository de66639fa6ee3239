//! The way of a get and of a write over several nodes of one process, which reach each other through memory.
//!
//! [`Wires`] is the transport, and what is wrong with a peer is data in it. Waits run on tokio's paused time, so a hang
//! ends at once and is seen; ages and rates run on clocks that are moved by hand. Nothing here opens a socket.

use std::collections::HashMap;
use std::future::Future;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, Weak};
use std::time::{Duration, Instant};

use bytes::Bytes;
use tokio::sync::Semaphore;

use super::*;
use crate::answer::Ask;
use crate::clock::Clock;
use crate::error::{BoxError, PeerError};
use crate::fault::Faults;
use crate::hot::Hot;
use crate::limits::Limits;
use crate::loader::Loaded;
use crate::peers::{BoxFuture, Customs, Line, Peers, Sent, Then, Transport};
use crate::placement::PlacementKind;
use crate::runtimes::Runtimes;
use crate::stats::NodeStats;
use crate::value::Value;
use crate::view::{Member, Owner, View};
use crate::views::Views;

mod ages;
mod answers;
mod changes;
mod clears;
mod contract;
mod counts;
mod failures;
mod herd;
mod hot;
mod many;
mod many_loads;
mod peers;
mod rooms;
mod told;
mod whereabouts;
mod writes;

const A_SECOND: Duration = Duration::from_secs(1);
const A_MINUTE: Duration = Duration::from_secs(60);

/// What a peer is like to those who ask it.
#[derive(Clone)]
enum Health {
    Up,
    /// Nobody listens.
    Down,
    /// Whoever asks it has as much on its way there as he allows himself.
    Full,
    /// It takes requests and says nothing.
    Hangs,
    /// The same, and no timer rings beside whoever asks it: as on a thread that is held up.
    Stuck,
    /// It says who it is, and nothing else.
    Toils,
    /// Its connections break before it has seen a request.
    Breaks,
    /// It does what it is asked, and its reply is lost.
    Loses,
    /// It has never heard of a request for many keys, and reads it as one for none.
    KnowsOneKey,
    /// It has never heard of a change.
    KnowsNoChange,
    /// It waits with a clear until it is let, and does all else at once.
    ClearsLate(Arc<Semaphore>),
    /// Whatever it is asked, it says this.
    Says(Reply),
}

/// The wires between the nodes of one test.
#[derive(Default)]
struct Wires {
    /// By authority. Weak, since each node holds the wires.
    nodes: Mutex<HashMap<Arc<str>, Weak<Node>>>,
    /// Of those that are not up.
    health: Mutex<HashMap<Arc<str>, Health>>,
    asked: Mutex<Vec<(Arc<str>, Request)>>,
    /// Native, unless they are set.
    customs: Mutex<Option<Customs>>,
    /// These are wires of the family's older systems: they carry gets of any value, and nothing else.
    gets_alone: AtomicBool,
    /// To each peer, if it is set.
    line: Mutex<Option<Arc<dyn Line>>>,
}

impl Wires {
    fn set(&self, name: &str, health: Health) {
        self.health.lock().unwrap().insert(name.into(), health);
    }

    /// What `name` was asked so far.
    fn asked(&self, name: &str) -> Vec<Request> {
        let asked = self.asked.lock().unwrap();
        asked.iter().filter(|(to, _)| **to == *name).map(|(_, what)| what.clone()).collect()
    }

    async fn carry(&self, to: Arc<str>, what: Request) -> Result<Reply, PeerError> {
        let node = self.nodes.lock().unwrap().get(&to).and_then(Weak::upgrade);
        let health = self.health.lock().unwrap().get(&to).cloned().unwrap_or(Health::Up);
        match (node, health) {
            (_, Health::Down) | (None, Health::Up) => Err(PeerError::Connect("nobody listens".into())),
            (_, Health::Breaks) => Err(PeerError::Broken("no byte of a reply".into())),
            (_, Health::Full) => Err(PeerError::Busy(7)),
            (_, Health::Says(reply)) => Ok(reply),
            (_, Health::KnowsOneKey) if matches!(what, Request::GetMany { .. }) => {
                Ok(Reply::BadRequest("the path is no group/key".into()))
            }
            (_, Health::KnowsNoChange) if matches!(what, Request::Change { .. }) => Ok(Reply::Unsupported),
            (Some(node), Health::Up | Health::KnowsOneKey | Health::KnowsNoChange) => {
                Ok(copied(node.answer(what).await))
            }
            (Some(node), Health::Loses) => {
                node.answer(what).await;
                Err(PeerError::Broken("the reply was lost".into()))
            }
            (Some(node), Health::ClearsLate(gate)) => {
                if matches!(what, Request::Clear { .. }) {
                    gate.acquire().await.unwrap().forget();
                }
                Ok(copied(node.answer(what).await))
            }
            (Some(node), Health::Toils) if matches!(what, Request::Id) => Ok(node.answer(what).await),
            (_, Health::Hangs | Health::Stuck | Health::Toils)
            | (None, Health::Loses | Health::KnowsOneKey | Health::KnowsNoChange | Health::ClearsLate(_)) => {
                std::future::pending().await
            }
        }
    }
}

impl Transport for Wires {
    fn ask<'a>(
        &'a self,
        to: &'a Member,
        what: Request,
        deadline: Instant,
    ) -> BoxFuture<'a, Result<Reply, PeerError>> {
        self.asked.lock().unwrap().push((to.authority.clone(), what.clone()));
        if matches!(self.health.lock().unwrap().get(&to.authority), Some(Health::Stuck)) {
            return Box::pin(std::future::pending());
        }
        Box::pin(async move {
            let allowed = deadline.saturating_duration_since(clock::now());
            let carried = clock::timeout_at(deadline, self.carry(to.authority.clone(), what));
            carried.await.unwrap_or(Err(PeerError::Timeout(allowed)))
        })
    }

    fn customs(&self) -> Customs {
        self.customs.lock().unwrap().unwrap_or(Customs::NATIVE)
    }

    /// One stands where only gets are carried, and is gone whenever it is used.
    fn line(&self, _: &Member) -> Option<Arc<dyn Line>> {
        let gone = || self.gets_alone.load(Ordering::Relaxed).then(|| Arc::new(Gone) as Arc<dyn Line>);
        self.line.lock().unwrap().clone().or_else(gone)
    }

    fn can_say(&self, what: &Request) -> bool {
        !self.gets_alone.load(Ordering::Relaxed) || matches!(what, Request::Get { cached_only: false, .. })
    }
}

struct Gone;

impl Line for Gone {
    fn send(&self, what: &Request, now: Instant, _: Instant, then: Then) -> bool {
        // As a line does that has no words for it.
        let is_get = matches!(what, Request::Get { .. });
        then(if is_get { Sent::Unseen } else { Sent::Answered(Ok(Reply::Unsupported)) }, now);
        false
    }
}

/// A reply as another process would hold it: no entry of the giver's memory in it.
fn copied(reply: Reply) -> Reply {
    match reply {
        Reply::Found(found) => {
            let value = Bytes::copy_from_slice(&found.value);
            Reply::Found(Found { value: value.into(), ..found })
        }
        Reply::Many(replies) => Reply::Many(replies.into_iter().map(copied).collect()),
        other => other,
    }
}

/// What a node of a test is made with.
#[derive(Clone)]
struct Plan {
    list: Vec<&'static str>,
    clock: Clock,
    limits: Limits,
    faults: Faults,
}

impl Plan {
    fn of(list: &[&'static str]) -> Self {
        Self {
            list: list.to_vec(),
            clock: Clock::manual(),
            limits: Limits::default(),
            faults: Faults::none(),
        }
    }

    fn start(self, name: &'static str, wires: &Arc<Wires>) -> Arc<Node> {
        let members: Vec<_> = self.list.iter().map(|entry| member(entry)).collect();
        let me = members.iter().find(|member| *member.authority == *name).map(|member| member.name.clone());
        let stats = Arc::new(NodeStats::default());
        let view = View::new(members, me.as_deref(), PlacementKind::Slots).unwrap();
        let around = Surroundings {
            node: name.into(),
            views: Views::new(view, stats.clone()),
            peers: Peers::new(wires.clone(), self.clock.clone(), Runtimes::new([])),
            limits: self.limits,
            stats,
            clock: self.clock,
            runtimes: Runtimes::new([]),
            leaving: AtomicBool::new(false),
            faults: self.faults,
        };
        let node = Arc::new(Node::new(around, format!("id of {name}").into()));
        wires.nodes.lock().unwrap().insert(name.into(), Arc::downgrade(&node));
        node
    }
}

/// `b` is node b under that name, `bee=b` is node b under another.
fn member(entry: &str) -> Member {
    let (name, authority) = entry.split_once('=').unwrap_or((entry, entry));
    Member { name: name.into(), authority: authority.into() }
}

/// Nodes with one list, or each with its own.
struct Town {
    wires: Arc<Wires>,
    nodes: Vec<Arc<Node>>,
}

impl Town {
    /// Nodes of these names, that agree on the list and the time.
    fn of(names: &[&'static str]) -> Self {
        Self::as_planned(names, &Plan::of(names))
    }

    fn as_planned(names: &[&'static str], plan: &Plan) -> Self {
        let plans: Vec<_> = names.iter().map(|name| (*name, plan.clone())).collect();
        Self::with(plans)
    }

    fn with(plans: Vec<(&'static str, Plan)>) -> Self {
        let wires = Arc::<Wires>::default();
        let nodes = plans.into_iter().map(|(name, plan)| plan.start(name, &wires)).collect();
        Self { wires, nodes }
    }

    /// Opens the group `scores` on each node, with one origin for all.
    fn open(&self, settings: &Settings, origin: &Arc<Origin>) -> Vec<Group> {
        self.nodes.iter().map(|node| open(node, settings, origin)).collect()
    }

    /// Moves the clock that the nodes share, or that of the first.
    fn pass(&self, time: Duration) {
        self.nodes[0].around.clock.advance(time);
    }

    /// How often `name` was asked for a value.
    fn gets_of(&self, name: &str) -> usize {
        self.wires.asked(name).iter().filter(|what| matches!(what, Request::Get { .. })).count()
    }
}

fn scores() -> GroupName {
    GroupName::new("scores").unwrap()
}

fn open(node: &Node, settings: &Settings, origin: &Arc<Origin>) -> Group {
    node.open(scores(), settings.clone(), origin.clone()).unwrap()
}

/// Keys that rank these nodes first, in this order, as this group's node sees it.
fn keys<'a>(group: &'a Group, ranked: &'a [&'a str]) -> impl Iterator<Item = String> + 'a {
    let view = group.shared.around.views.current();
    (0..100_000).map(|n| format!("key {n}")).filter(move |key| {
        let place = view.place(group.shared.seed, key.as_bytes());
        let name = |owner| match owner {
            Owner::Local => group.shared.around.node.clone(),
            Owner::Remote(member) => member.authority.clone(),
        };
        let first_two = [Some(name(place.owner())), place.stand_in().map(name)];
        ranked.iter().zip(first_two).all(|(wanted, name)| name.as_deref() == Some(*wanted))
    })
}

/// The first of those keys.
fn key(group: &Group, ranked: &[&str]) -> String {
    keys(group, ranked).next().unwrap()
}

/// What an origin makes of a key and the number of the call, from 1 on.
type Say = dyn Fn(Key, usize) -> BoxFuture<'static, Result<Option<Loaded>, BoxError>> + Send + Sync;

/// An origin that counts.
struct Origin {
    say: Box<Say>,
    calls: AtomicUsize,
    running: Arc<AtomicUsize>,
    most: AtomicUsize,
}

impl Origin {
    fn new<F>(say: impl Fn(Key, usize) -> F + Send + Sync + 'static) -> Arc<Self>
    where
        F: Future<Output = Result<Option<Loaded>, BoxError>> + Send + 'static,
    {
        Arc::new(Self {
            say: Box::new(move |key, call| Box::pin(say(key, call))),
            calls: AtomicUsize::new(0),
            running: Arc::default(),
            most: AtomicUsize::new(0),
        })
    }

    /// An origin that takes so long for each key's own value.
    fn taking(time: Duration) -> Arc<Self> {
        Self::new(move |key, _| async move {
            clock::sleep(time).await;
            Ok(Some(Loaded::from(value_of(&key.to_string()))))
        })
    }

    /// An origin that has each key's own value at once.
    fn prompt() -> Arc<Self> {
        Self::new(|key, _| async move { Ok(Some(Loaded::from(value_of(&key.to_string())))) })
    }

    /// An origin whose values are the numbers of the calls.
    fn numbered() -> Arc<Self> {
        Self::new(|_, call| async move { Ok(Some(Loaded::from(call.to_string()))) })
    }

    fn calls(&self) -> usize {
        self.calls.load(Ordering::Relaxed)
    }

    /// The most calls that ran at one time.
    fn most(&self) -> usize {
        self.most.load(Ordering::Relaxed)
    }
}

impl Loader for Origin {
    fn load(&self, key: Key) -> BoxFuture<'static, Result<Option<Loaded>, BoxError>> {
        let call = self.calls.fetch_add(1, Ordering::Relaxed) + 1;
        let running = Running(self.running.clone());
        self.most.fetch_max(running.0.fetch_add(1, Ordering::Relaxed) + 1, Ordering::Relaxed);
        let said = (self.say)(key, call);
        Box::pin(async move {
            let _running = running;
            said.await
        })
    }
}

/// One call that runs, until it is dropped.
struct Running(Arc<AtomicUsize>);

impl Drop for Running {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}

fn value_of(key: &str) -> String {
    format!("value of {key}")
}

/// Waits until nothing can run without time passing: paused time moves only then.
async fn settle() {
    clock::sleep(Duration::from_millis(1)).await;
}

fn with_hot(hot: Hot) -> Settings {
    Settings { hot, ..Settings::default() }
}
