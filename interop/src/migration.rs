//! Three Go members replaced one by one by nodes of ours, which then leave Go's dialect, and at last its ring.
//!
//! After each step every key is asked of every member. The ledger shows what a step costs the origin: what the
//! stopped process held, and nothing else, as long as owners stay where they are.

use std::sync::Arc;

use anyhow::ensure;
use http::Method;

use crate::answers::ask_all;
use crate::front::shown;
use crate::keys::{self, Key};
use crate::member::{Kind, Programs};
use crate::ring::{MEMBERS, Ring};

/// Keys of each kind that are held when the first member is replaced.
const KEYS: usize = 1000;

const NATIVE_RING: Kind = Kind::Carrot { dialect: "native", placement: "ring" };
const NATIVE_SLOTS: Kind = Kind::Carrot { dialect: "native", placement: "slots" };

/// From three of Go's to three of ours, and back for one of them.
pub(crate) async fn one_by_one(programs: &Arc<Programs>) -> anyhow::Result<()> {
    let mut ring = Ring::start(programs, ["m1", "m2", "m3"], [Kind::GoPool; MEMBERS]).await?;
    let keys = keys::ordinary(KEYS);
    ask_all(&ring.fronts(), &keys).await?;
    let shares = ring.loaded_once_by_their_owners(&keys)?;
    println!("migration: three Go members, {KEYS} keys: {shares:?}");
    spaces_are_lost_from_go_to_go(&ring).await?;
    a_missing_key_is_loaded_twice_from_go_to_go(&ring).await?;
    for at in 0..MEMBERS {
        step(&mut ring, &keys, at, Kind::AMONG_GO, "carrot in place of Go").await?;
    }
    step(&mut ring, &keys, 0, Kind::GoPool, "Go again").await?;
    step(&mut ring, &keys, 0, Kind::AMONG_GO, "carrot again").await?;
    for at in 0..MEMBERS {
        step(&mut ring, &keys, at, NATIVE_RING, "dialect native, placement ring").await?;
    }
    to_slots_one_by_one(&mut ring, &keys).await?;
    all_at_once(&mut ring, &keys, NATIVE_RING).await?;
    ring.stop().await
}

/// Replaces a member, and asks everyone for everything: what its predecessor held is loaded anew, and nothing else.
async fn step(ring: &mut Ring, keys: &[Key], at: usize, kind: Kind, what: &str) -> anyhow::Result<()> {
    ring.origin.forget();
    ring.replace(at, kind).await?;
    let right = ask_all(&ring.fronts(), keys).await?;
    let owned: Vec<Key> = keys.iter().filter(|key| ring.owner(key) == at).cloned().collect();
    ring.loaded_once_by_their_owners(&owned)?;
    let loads = ring.origin.loads();
    ensure!(loads == owned.len(), "{what}: {loads} loads, while {} owns {} keys", ring.name(at), owned.len());
    println!("migration: {} {what}: {} answers right, {loads} loads", ring.name(at), right.answers);
    Ok(())
}

/// Go writes a space as a plus and reads that as a plus: with two Go members a key with a space may be another key.
async fn spaces_are_lost_from_go_to_go(ring: &Ring) -> anyhow::Result<()> {
    let key = keys::shaped(b"a b", b"", |key| ring.owner(key) == 1);
    let taken_for = String::from_utf8_lossy(&key).replace(' ', "+");
    let reply = ring.fronts().ask(0, Method::GET, &key).await?;
    ensure!(
        reply.body == keys::value(taken_for.as_bytes()),
        "Go has repaired its spaces: say so in the docs"
    );
    println!("migration: a Go member gives the value of \"{taken_for}\" for {}", shown(&key));
    Ok(())
}

/// A Go member that hears of no value from a key's owner asks the origin itself.
async fn a_missing_key_is_loaded_twice_from_go_to_go(ring: &Ring) -> anyhow::Result<()> {
    let key = keys::shaped(keys::MISSING.as_bytes(), b"", |key| ring.owner(key) == 1);
    let status = ring.fronts().ask(0, Method::GET, &key).await?.status;
    let loads = ring.origin.loads_of(&key);
    ensure!(status == 404 && loads == ["m2", "m1"], "a key nobody has: {status}, loaded by {loads:?}");
    println!("migration: between Go members a get of a key nobody has costs {} loads", loads.len());
    Ok(())
}

/// To the native placement, one by one: the ring's nodes and the slots' disagree about owners meanwhile.
async fn to_slots_one_by_one(ring: &mut Ring, keys: &[Key]) -> anyhow::Result<()> {
    for at in 0..MEMBERS {
        ring.origin.forget();
        ring.replace(at, NATIVE_SLOTS).await?;
        let right = ask_all(&ring.fronts(), keys).await?;
        let (name, loads) = (ring.name(at), ring.origin.loads());
        ensure!(loads <= right.answers, "{name} with slots: {loads} loads for {} gets", right.answers);
        println!("migration: {name} placement slots: {} answers right, {loads} loads", right.answers);
    }
    ring.origin.forget();
    let right = ask_all(&ring.fronts(), keys).await?;
    let loads = ring.origin.loads();
    ensure!(loads == 0, "all nodes place by slots, and {loads} keys were loaded once more");
    println!("migration: all native: {} answers right, {loads} loads", right.answers);
    Ok(())
}

/// Another placement on all nodes, none of which is up meanwhile: every key is loaded once.
async fn all_at_once(ring: &mut Ring, keys: &[Key], kind: Kind) -> anyhow::Result<()> {
    ring.origin.forget();
    ring.replace_all(kind).await?;
    let right = ask_all(&ring.fronts(), keys).await?;
    ring.loaded_once_by_their_owners(keys)?;
    let loads = ring.origin.loads();
    println!(
        "migration: another placement on all nodes at once: {} answers right, {loads} loads",
        right.answers
    );
    Ok(())
}
