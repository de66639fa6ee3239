//! The Go member killed and started again, while our nodes are asked for its keys without a pause; and one of ours.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering::Relaxed};
use std::time::Duration;

use anyhow::{Context, bail, ensure};
use tokio::task::JoinSet;

use crate::front::Fronts;
use crate::keys::{self, Key};
use crate::member::Kind;
use crate::ring::Ring;

/// Far longer than a peer that is back stays unasked, which is 10 s.
const LONG: Duration = Duration::from_secs(60);

/// Between two looks at the ledger.
const LOOK: Duration = Duration::from_millis(5);

/// Callers at each of our nodes.
const CALLERS: usize = 4;

/// Loads that show that a state lasts.
const LOADS: usize = 200;

/// Gets of one key at each of our nodes while its owner is down.
const GETS: usize = 10;

/// What the callers share.
struct Work {
    fronts: Fronts,
    numbers: AtomicU32,
    answers: AtomicU32,
    is_over: AtomicBool,
}

/// No get of ours fails while the Go member at `go` is killed and comes back, and then it is asked again.
pub(crate) async fn of_the_go_member(ring: &mut Ring, go: usize, kind: Kind) -> anyhow::Result<()> {
    ring.origin.forget();
    let work = Arc::new(Work {
        fronts: ring.fronts(),
        numbers: AtomicU32::new(0),
        answers: AtomicU32::new(0),
        is_over: AtomicBool::new(false),
    });
    let ours: Vec<usize> = (0..work.fronts.len()).filter(|&asker| asker != go).collect();
    let mut callers = JoinSet::new();
    for asker in ours.iter().flat_map(|&asker| [asker; CALLERS]) {
        let owner = ring.placing();
        callers.spawn(call(work.clone(), asker, move |key| owner(key) == go));
    }
    loads(ring, &mut callers, &[go], "the owner loads its keys").await?;
    ring.kill(go).await?;
    loads(ring, &mut callers, &ours, "stand-ins load for an owner that is down").await?;
    loaded_once_for_all(ring, &work.fronts, &ours, go).await?;
    ring.begin(go, kind).await?;
    loads(ring, &mut callers, &[go], "an owner that is back loads its keys again").await?;
    work.is_over.store(true, Relaxed);
    while let Some(called) = callers.join_next().await {
        called??;
    }
    all_from_the_owner(ring, &work.fronts, &ours, go).await?;
    let answers = work.answers.load(Relaxed);
    println!("pool: the Go member killed and started again: {answers} gets of its keys at ours, none failed");
    println!(
        "pool: while it was down, {GETS} gets each at a node, its stand-in, and the node again: 1, 0 and 0 loads"
    );
    Ok(())
}

/// A node of ours at `down` is killed and comes back: the Go member loads its keys by itself, and keeps them for good.
pub(crate) async fn of_ours(ring: &mut Ring, go: usize, down: usize, kind: Kind) -> anyhow::Result<()> {
    let fronts = ring.fronts();
    let keys = owned(ring, "ours down", down);
    ring.kill(down).await?;
    ring.origin.forget();
    right_at(&fronts, &keys, go).await?;
    let loads = ring.origin.loads_by(ring.name(go));
    ensure!(loads == keys.len(), "{loads} loads by Go for {} keys of a node that is down", keys.len());
    ring.begin(down, kind).await?;
    ring.origin.forget();
    right_at(&fronts, &keys, go).await?;
    ensure!(
        ring.origin.loads() == 0,
        "Go asks an owner that is back for what it loaded itself: say so in the docs"
    );
    println!(
        "pool: a node of ours killed: Go answers {loads} of its keys by as many loads, and keeps them after that"
    );
    Ok(())
}

/// Asks for one key of Go's after the other until it is over. Any answer that is not right is an error.
async fn call(work: Arc<Work>, asker: usize, of_go: impl Fn(&[u8]) -> bool) -> anyhow::Result<()> {
    while !work.is_over.load(Relaxed) {
        let number = work.numbers.fetch_add(1, Relaxed);
        let key = keys::shaped(format!("outage {number} ").as_bytes(), b"", &of_go);
        work.fronts.right(asker, &key).await?;
        work.answers.fetch_add(1, Relaxed);
    }
    Ok(())
}

/// Comes back when these members have loaded some more; at once, with its error, when a caller fails.
async fn loads(
    ring: &Ring,
    callers: &mut JoinSet<anyhow::Result<()>>,
    members: &[usize],
    what: &str,
) -> anyhow::Result<()> {
    let count = || members.iter().map(|&at| ring.origin.loads_by(ring.name(at))).sum::<usize>();
    let due = count() + LOADS;
    let looking = async {
        while count() < due {
            tokio::time::sleep(LOOK).await;
        }
    };
    tokio::select! {
        looked = tokio::time::timeout(LONG, looking) => looked.with_context(|| format!("not within {LONG:?}: {what}")),
        Some(failed) = callers.join_next() => failed?.context(what.to_owned()),
    }
}

/// What a key costs the origin while its owner is down: at the node that does not stand in, whose first get has the
/// other one keep it; at that one; and at the first again.
async fn loaded_once_for_all(ring: &Ring, fronts: &Fronts, ours: &[usize], go: usize) -> anyhow::Result<()> {
    let &[stand_in, other] = ours else { bail!("two nodes of ours are left, where one is down") };
    let right = |key: &[u8]| ring.owner(key) == go && ring.stand_in(key) == stand_in;
    let key = keys::shaped(b"again ", b"", right);
    let mut loads = Vec::new();
    for asker in [other, stand_in, other] {
        let before = ring.origin.loads_of(&key).len();
        for _ in 0..GETS {
            fronts.right(asker, &key).await?;
        }
        loads.push(ring.origin.loads_of(&key).len() - before);
    }
    ensure!(loads == [1, 0, 0], "a key of an owner that is down: {loads:?} loads");
    Ok(())
}

/// Now that all callers have ended and the member is up: new keys of its are loaded by it, and by nobody else.
async fn all_from_the_owner(ring: &Ring, fronts: &Fronts, ours: &[usize], go: usize) -> anyhow::Result<()> {
    let keys = owned(ring, "back", go);
    for &asker in ours {
        right_at(fronts, &keys, asker).await?;
    }
    ring.loaded_once_by_their_owners(&keys).map(drop)
}

/// Keys of one member, which nobody has asked for yet.
fn owned(ring: &Ring, word: &str, owner: usize) -> Vec<Key> {
    let key =
        |number| keys::shaped(format!("{word} {number} ").as_bytes(), b"", |key| ring.owner(key) == owner);
    (0..LOADS).map(key).collect()
}

async fn right_at(fronts: &Fronts, keys: &[Key], asker: usize) -> anyhow::Result<()> {
    for key in keys {
        fronts.right(asker, key).await?;
    }
    Ok(())
}
