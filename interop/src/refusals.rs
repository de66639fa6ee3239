//! What is no value: a key nobody has, an origin that fails, the writes that Go's peers do not know, the empty key.

use anyhow::ensure;
use http::Method;

use crate::front::shown;
use crate::keys;
use crate::ring::Ring;

/// A key that the origin does not have is an error everywhere, and costs one load for each get, or two at Go.
///
/// Go's wire has no word for it: the owner answers 500, whatever it knows. Our nodes pass that on as a load that
/// failed. A Go node that hears it from another asks the origin itself.
pub(crate) async fn a_missing_key(ring: &Ring) -> anyhow::Result<()> {
    let fronts = ring.fronts();
    for owner in 0..fronts.len() {
        let key = keys::shaped(keys::MISSING.as_bytes(), b" x", |key| ring.owner(key) == owner);
        let mut due = 0;
        for asker in 0..fronts.len() {
            let (ours, owns) = (ring.is_ours(asker), asker == owner);
            let reply = fronts.ask(asker, Method::GET, &key).await?;
            let status = if owns || !ours { 404 } else { 502 };
            let (name, shown) = (ring.name(asker), shown(&key));
            ensure!(reply.status == status, "{name} answers {} for {shown}, not {status}", reply.status);
            due += if ours || owns { 1 } else { 2 };
            let loads = ring.origin.loads_of(&key);
            ensure!(loads.len() == due, "{shown} was loaded by {loads:?} after {name}: {due} loads are due");
        }
    }
    println!(
        "pool: a key nobody has is an error at all askers; a get of it costs 1 load, 2 where Go asks an owner of ours"
    );
    Ok(())
}

/// An origin that fails is an error everywhere; once it is well, its value is there, loaded once.
pub(crate) async fn a_failing_loader(ring: &Ring) -> anyhow::Result<()> {
    let fronts = ring.fronts();
    for owner in 0..fronts.len() {
        let key = keys::shaped(b"ill ", b"", |key| ring.owner(key) == owner);
        ring.origin.fail(&key);
        for asker in 0..fronts.len() {
            let reply = fronts.ask(asker, Method::GET, &key).await?;
            let status = if ring.is_ours(asker) { 502 } else { 500 };
            let (name, shown) = (ring.name(asker), shown(&key));
            ensure!(reply.status == status, "{name} answers {} for {shown}, not {status}", reply.status);
        }
        ring.origin.heal(&key);
        ring.origin.forget();
        for asker in 0..fronts.len() {
            fronts.right(asker, &key).await?;
        }
        ring.loaded_once_by_their_owners(&[key])?;
    }
    println!(
        "pool: an origin that fails is an error at all askers; once it is well, its value is loaded once"
    );
    Ok(())
}

/// A remove or set of a key that another member owns is refused, and never sent: a Go peer would take it for a get.
pub(crate) async fn writes(ring: &Ring) -> anyhow::Result<()> {
    let fronts = ring.fronts();
    for owner in 0..fronts.len() {
        let key = keys::shaped(b"write ", b"", |key| ring.owner(key) == owner);
        for asker in (0..fronts.len()).filter(|&asker| ring.is_ours(asker) && asker != owner) {
            for method in [Method::DELETE, Method::PUT] {
                let reply = fronts.ask(asker, method.clone(), &key).await?;
                let (name, status) = (ring.name(asker), reply.status);
                ensure!(status == 501, "{name} answers {method} of {} by {status}", shown(&key));
            }
        }
        let loads = ring.origin.loads_of(&key);
        ensure!(loads.is_empty(), "{} was loaded by {loads:?} for a write", shown(&key));
    }
    println!("pool: a set or remove of another member's key is refused as unsupported, and loads nothing");
    Ok(())
}

/// The empty key is one of Go's keys and none of ours, whoever would own it.
pub(crate) async fn the_empty_key(ring: &Ring) -> anyhow::Result<()> {
    let fronts = ring.fronts();
    for asker in 0..fronts.len() {
        if ring.is_ours(asker) {
            let status = fronts.ask(asker, Method::GET, b"").await?.status;
            ensure!(status == 400, "{} answers {status} for the empty key", ring.name(asker));
        } else {
            fronts.right(asker, b"").await?;
        }
    }
    println!("pool: the empty key has its value at Go, whoever owns it, and is refused by ours");
    Ok(())
}
