//! The library's own gets from another node: a process that is one of two members, and asks for keys of the other alone.
//!
//! That each get was answered by the other node is not believed but counted: fetches and flights that were joined add up
//! to the gets, and nothing was hit or loaded here.

use std::process::Command;
use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::ensure;
use carrot_load::Tally;
use carrot_load::drive::Findings;
use carrot_load::keys::{Names, Random};
use carrot_load::pace::{Due, Plan};
use carrot_load::window::Window;
use carrotcache::placement::{GroupHash, Placement};
use carrotcache::{
    BoxError, Cluster, FetchOutcome, GetError, Group, GroupSnapshot, Hot, Key, Value, with_causes,
};
use tokio::sync::mpsc::Receiver;
use tokio::task::JoinSet;

use crate::wire::load::node::{GROUP, Owner, Pair};
use crate::wire::load::told;
use crate::wire::measure::{Terms, by_lines};
use crate::wire::programs::{self, NODES};
use crate::wire::results::Played;

/// The subcommand by which the bench starts itself.
pub(crate) const CHILD: &str = "wire-gets";
/// Keys that are asked for at once before anything is measured.
const FILL: usize = 1000;

/// How they ask.
#[derive(Clone, Copy, Debug, clap::Args)]
pub(crate) struct Callers {
    /// How many ask at once.
    #[arg(long)]
    pub(crate) callers: usize,
    /// Keys of one call: 1 is a get, more are a get of many.
    #[arg(long)]
    pub(crate) batch: usize,
    /// Calls a second of all callers together, each planned; without it each asks again once it is answered.
    #[arg(long)]
    pub(crate) rate: Option<f64>,
    /// Seconds before it counts.
    #[arg(long)]
    pub(crate) warm: f64,
    /// Seconds that count.
    #[arg(long)]
    pub(crate) seconds: f64,
}

/// A process that asks.
#[derive(Clone, Copy, Debug, clap::Args)]
pub(crate) struct Gets {
    #[command(flatten)]
    pub(crate) pair: Pair,
    #[command(flatten)]
    pub(crate) callers: Callers,
}

impl Callers {
    /// One round against this node.
    pub(crate) fn round(self, owner: &Owner, terms: Terms<'_>) -> anyhow::Result<Played> {
        let mut command = Command::new(programs::ours(NODES)?);
        command.arg(CHILD);
        owner.pair.tell(&mut command);
        command.args(["--callers", &self.callers.to_string(), "--batch", &self.batch.to_string()]);
        command.args(["--warm", &self.warm.to_string(), "--seconds", &self.seconds.to_string()]);
        if let Some(rate) = self.rate {
            command.args(["--rate", &rate.to_string()]);
        }
        by_lines(command, terms)
    }
}

impl Gets {
    /// Asks, in a process that does nothing else.
    ///
    /// # Errors
    /// When a node is not there, or a get was not answered by the other one.
    pub(crate) fn child(self) -> anyhow::Result<()> {
        self.pair.runtime()?.block_on(self.ask())
    }

    async fn ask(self) -> anyhow::Result<()> {
        let cluster = self.pair.node(self.pair.asker).start().await?;
        let group = cluster.group(GROUP).hot(Hot::Off);
        let loader =
            |_: Key| async { Err::<Option<&str>, _>(BoxError::from("it was loaded where it was asked for")) };
        let group = group.open(loader)?;
        let keys = Arc::new(Keys::new(&self.keys(&cluster)?));
        for from in (0..keys.len()).step_by(FILL) {
            let some: Vec<&[u8]> = (from..keys.len().min(from + FILL)).map(|at| keys.get(at)).collect();
            for value in group.get_many(&some).await {
                ensure!(value?.len() == self.pair.size, "the other node gives values of another length");
            }
        }
        let before = snapshot(&cluster)?;
        let (findings, gets) = self.run(group, keys).await?;
        self.check(&before, &snapshot(&cluster)?, gets)?;
        told::end(&findings)
    }

    /// As many as there are to be, all of them the other node's.
    fn keys(self, cluster: &Cluster) -> anyhow::Result<Vec<Vec<u8>>> {
        let members = cluster.members();
        let authority = format!("127.0.0.1:{}", self.pair.owner);
        let owner = members.iter().position(|member| *member.authority == *authority);
        let placement = Placement::new(cluster.placement(), members.iter().map(|member| &*member.name))?;
        let (group, names) = (GroupHash::of(GROUP), Names::of_redis_benchmark());
        let all = (0..).map(|number| {
            let mut name = Vec::new();
            names.write(number, &mut name);
            name
        });
        let owned = all.filter(|key| placement.place(group, key).owner() == owner);
        ensure!(owner.is_some(), "no member at {authority}");
        Ok(owned.take(self.pair.keys as usize).collect())
    }

    /// Gives also how many keys were asked for in all, counted or not.
    async fn run(self, group: Group, keys: Arc<Keys>) -> anyhow::Result<(Findings, u64)> {
        let Callers { callers, batch, rate, warm, seconds } = self.callers;
        let (warm, lasts) = (Duration::from_secs_f64(warm), Duration::from_secs_f64(seconds));
        let window = Arc::new(Window::default());
        let (pacer, mut due) = match rate {
            Some(rate) => Plan { rate, warm, lasts }.start(callers).map(|(pacer, due)| (Some(pacer), due))?,
            None => (None, Vec::new()),
        };
        let mut asking = JoinSet::new();
        for seed in 0..callers {
            let turn = due.pop().map_or(Turn::Always(window.clone()), Turn::Due);
            let caller = Caller {
                group: group.clone(),
                keys: keys.clone(),
                random: Random::new(seed as u64),
                batch,
                size: self.pair.size,
                tally: Tally::default(),
                gets: 0,
            };
            asking.spawn(caller.ask(turn));
        }
        let open = window.pass(warm, lasts, told::edge).await;
        let closed = Instant::now();
        let (mut tally, mut gets) = (Tally::default(), 0);
        while let Some(caller) = asking.join_next().await {
            let caller = caller?;
            tally.add(&caller.tally);
            gets += caller.gets;
        }
        // What was planned and came late counts, and so does the time that it took.
        let lasted = if pacer.is_some() { open + closed.elapsed() } else { open };
        if let Some(pacer) = pacer {
            tally.errors_of("not sent: too far behind", pacer.left_out());
        }
        Ok((Findings { tally, lasted }, gets))
    }

    /// Whether each get went to the other node and came back with a value.
    fn check(self, before: &GroupSnapshot, after: &GroupSnapshot, gets: u64) -> anyhow::Result<()> {
        let found = after.fetches.get(FetchOutcome::Found) - before.fetches.get(FetchOutcome::Found);
        let fetches = after.fetches.total() - before.fetches.total();
        // Of two callers who ask for the same key at once, and of a key that is twice in one call, one fetches.
        let shares = after.shares - before.shares;
        let remote =
            found == fetches && fetches <= gets && (self.callers.batch > 1 || fetches + shares == gets);
        let here = after.hits.total() + after.loads.total();
        ensure!(
            remote && here == 0,
            "of {gets} gets {found} were fetched and {shares} shared one, of {fetches} fetches; {here} ended here"
        );
        Ok(())
    }
}

fn snapshot(cluster: &Cluster) -> anyhow::Result<GroupSnapshot> {
    cluster.stats().groups.pop().ok_or_else(|| anyhow::anyhow!("the group is not there"))
}

/// Keys of one length, one behind the other: a caller has just made his key, and does not go to far memory for it.
struct Keys {
    all: Vec<u8>,
    length: usize,
}

impl Keys {
    fn new(keys: &[Vec<u8>]) -> Self {
        let length = keys.first().map_or(1, Vec::len);
        assert!(keys.iter().all(|key| key.len() == length), "keys of one length");
        Self { all: keys.concat(), length }
    }

    fn len(&self) -> usize {
        self.all.len() / self.length
    }

    fn get(&self, at: usize) -> &[u8] {
        &self.all[at * self.length..][..self.length]
    }
}

/// When a caller asks next.
enum Turn {
    /// As soon as it is answered.
    Always(Arc<Window>),
    Due(Receiver<Due>),
}

impl Turn {
    /// Where the latency counts from, and whether it does; `None`: it is over. In a closed loop that is known only later.
    async fn next(&mut self) -> Option<(Instant, bool)> {
        match self {
            Self::Always(window) if window.is_over() => None,
            Self::Always(_) => Some((Instant::now(), true)),
            Self::Due(due) => due.recv().await.map(|due| (due.at, due.counts)),
        }
    }

    fn counts(&self, planned: bool) -> bool {
        match self {
            Self::Always(window) => window.is_open(),
            Self::Due(_) => planned,
        }
    }
}

/// One who asks.
struct Caller {
    group: Group,
    keys: Arc<Keys>,
    random: Random,
    batch: usize,
    size: usize,
    tally: Tally,
    gets: u64,
}

impl Caller {
    async fn ask(mut self, mut turn: Turn) -> Self {
        while let Some((from, planned)) = turn.next().await {
            self.gets += self.batch as u64;
            if self.batch == 1 {
                let key = self.random.below(self.keys.len() as u64) as usize;
                let answer = self.group.get(self.keys.get(key)).await;
                self.count(&[answer], from.elapsed(), turn.counts(planned));
            } else {
                let (all, random) = (self.keys.clone(), &mut self.random);
                let key = |_| all.get(random.below(all.len() as u64) as usize);
                let keys: Vec<&[u8]> = (0..self.batch).map(key).collect();
                let answers = self.group.get_many(&keys).await;
                self.count(&answers, from.elapsed(), turn.counts(planned));
            }
        }
        self
    }

    /// A fault is told whenever it happens.
    fn count(&mut self, answers: &[Result<Value, GetError>], took: Duration, counts: bool) {
        let (mut values, mut bytes) = (0, 0);
        for answer in answers {
            match answer {
                Ok(value) if value.len() != self.size => self.tally.error("a value of another length"),
                Ok(value) => {
                    values += 1;
                    bytes += value.len() as u64;
                }
                Err(error) => self.tally.error(&with_causes(error)),
            }
        }
        if counts {
            self.tally.values_of(values, bytes, took);
        }
    }
}
