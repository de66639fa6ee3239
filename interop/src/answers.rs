//! Every key asked of every member at once, and what that costs the origin.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};

use anyhow::ensure;
use tokio::task::JoinSet;

use crate::front::{Fronts, shown};
use crate::keys::{self, Key};
use crate::ring::Ring;

/// Keys under way at once; each is asked of all members at the same time.
const WORKERS: usize = 32;

/// Gets of one key at one asker. 100 in a minute make it hot.
const HOT_GETS: usize = 300;

/// How the answers were.
pub(crate) struct Right {
    pub(crate) keys: usize,
    pub(crate) answers: usize,
}

/// Asks every member for every key. Gives how many answers there were, all of them right.
///
/// # Errors
/// At the first answer that is not.
pub(crate) async fn ask_all(fronts: &Fronts, keys: &[Key]) -> anyhow::Result<Right> {
    let (keys, next): (Arc<[Key]>, _) = (keys.into(), Arc::new(AtomicUsize::new(0)));
    let mut workers = JoinSet::new();
    for _ in 0..WORKERS {
        workers.spawn(work(fronts.clone(), keys.clone(), next.clone()));
    }
    let mut answers = 0;
    while let Some(worked) = workers.join_next().await {
        answers += worked??;
    }
    Ok(Right { keys: keys.len(), answers })
}

async fn work(fronts: Fronts, keys: Arc<[Key]>, next: Arc<AtomicUsize>) -> anyhow::Result<usize> {
    let mut answers = 0;
    while let Some(key) = keys.get(next.fetch_add(1, Relaxed)) {
        let mut asked = JoinSet::new();
        for asker in 0..fronts.len() {
            let (fronts, key) = (fronts.clone(), key.clone());
            asked.spawn(async move { fronts.right(asker, &key).await });
        }
        while let Some(right) = asked.join_next().await {
            right??;
            answers += 1;
        }
    }
    Ok(answers)
}

/// Pool: whatever the key, each answer is right, and its owner alone has asked the origin, once.
pub(crate) async fn with_the_pool(ring: &Ring, ordinary: usize) -> anyhow::Result<Right> {
    let mut keys = keys::peculiar(ring.fronts().len(), |key| ring.owner(key));
    keys.extend(keys::ordinary(ordinary));
    let right = ask_all(&ring.fronts(), &keys).await?;
    let shares = ring.loaded_once_by_their_owners(&keys)?;
    let loads = ring.origin.loads();
    ensure!(loads == keys.len(), "the origin was asked {loads} times for {} keys", keys.len());
    println!("pool: every key was loaded once, by the member that our ring calls its owner: {shares:?}");
    Ok(right)
}

/// ServeMux: as with the pool, save that a key which Go redirects only has its value, from whoever loads it.
pub(crate) async fn behind_the_mux(ring: &Ring, ordinary: usize) -> anyhow::Result<()> {
    let all = keys::peculiar(ring.fronts().len(), |key| ring.owner(key)).into_iter();
    let (redirected, mut keys): (Vec<Key>, Vec<Key>) = all.partition(|key| keys::is_redirected(key));
    keys.extend(keys::ordinary(ordinary));
    let right = ask_all(&ring.fronts(), &keys).await?;
    ring.loaded_once_by_their_owners(&keys)?;
    println!("mux: {} keys x 3 askers: {} answers right, loads == keys", right.keys, right.answers);
    // After the others: a peer that redirects three times in a row is left alone for a while.
    let right = ask_all(&ring.fronts(), &redirected).await?;
    let loads: Vec<usize> = redirected.iter().map(|key| ring.origin.loads_of(key).len()).collect();
    for (key, loads) in redirected.iter().zip(&loads) {
        // By its owner, and by the stand-in that keeps it for those whom Go redirects.
        ensure!((1..=2).contains(loads), "{} was loaded {loads} times", shown(key));
    }
    let (sum, most) = (loads.iter().sum::<usize>(), loads.iter().max().copied().unwrap_or_default());
    println!(
        "mux: {} keys that Go redirects x 3 askers: {} answers right, {sum} loads, at most {most} for a key",
        right.keys, right.answers
    );
    Ok(())
}

/// A key that is asked for all the time is mirrored where it is asked, and loaded once all the same.
pub(crate) async fn hot_keys(ring: &Ring) -> anyhow::Result<()> {
    let fronts = ring.fronts();
    for owner in 0..fronts.len() {
        let key = keys::shaped(b"hot ", b"", |key| ring.owner(key) == owner);
        for asker in 0..fronts.len() {
            let mut mirrored = 0;
            for _ in 0..HOT_GETS {
                mirrored += usize::from(fronts.right(asker, &key).await?.contains("source=mirror"));
            }
            let (asked, owned) = (ring.name(asker), ring.name(owner));
            // Only ours say so: Go has its own dice, and its answers name no source.
            let ours = ring.is_ours(asker) && asker != owner;
            ensure!(ours == (mirrored > 0), "{asked} answered {mirrored} times from its mirror of {owned}'s");
        }
        ring.loaded_once_by_their_owners(&[key])?;
    }
    println!(
        "pool: a hot key of each owner, {HOT_GETS} gets at each asker: ours mirror it, and it was loaded once"
    );
    Ok(())
}
