//! A cluster on several runtimes of its program, over the public API and real sockets of the loopback.
//!
//! Each runtime has one thread, as a program has one a core. No test waits for a time to pass.

#![cfg(feature = "http")]
#![allow(clippy::unwrap_used, reason = "in a test a panic is the report")]

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};

use carrotcache::{BoxError, Cluster, ClusterBuilder, GetError, Group, Key};
use tokio::runtime::{Builder, Handle, Id, Runtime};
use tokio::sync::Semaphore;

fn runtime() -> Runtime {
    Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap()
}

fn handles(runtimes: &[Runtime]) -> Vec<Handle> {
    runtimes.iter().map(|runtime| runtime.handle().clone()).collect()
}

fn any_port() -> ClusterBuilder {
    Cluster::bind("127.0.0.1:0".parse().unwrap())
}

/// A group whose first load never ends, and how many loads began.
fn first_hangs(cluster: &Cluster) -> (Group, Arc<Semaphore>) {
    let begun = Arc::new(Semaphore::new(0));
    let (loads, counted) = (AtomicUsize::new(0), begun.clone());
    let load = move |_: Key| {
        let nth = loads.fetch_add(1, Ordering::Relaxed);
        counted.add_permits(1);
        async move {
            if nth == 0 {
                std::future::pending::<()>().await;
            }
            Ok::<_, BoxError>(Some("630"))
        }
    };
    (cluster.group("scores").open(load).unwrap(), begun)
}

#[test]
fn a_load_runs_where_its_leader_is_and_a_strangers_on_one_of_the_nodes_own() {
    let (ours, elsewhere) = ([runtime(), runtime()], runtime());
    let cluster = elsewhere.block_on(Cluster::local().runtimes(handles(&ours)).start()).unwrap();
    let seen = Arc::new(Mutex::new(Vec::<Id>::new()));
    let told = seen.clone();
    let load = move |_: Key| {
        told.lock().unwrap().push(Handle::current().id());
        async { Ok::<_, BoxError>(Some("630")) }
    };
    let group = cluster.group("scores").open(load).unwrap();
    for (runtime, key) in ours.iter().zip(["a", "b"]) {
        runtime.block_on(group.get(key)).unwrap();
    }
    for key in ["c", "d"] {
        elsewhere.block_on(group.get(key)).unwrap();
    }
    let ids: Vec<Id> = ours.iter().map(|runtime| runtime.handle().id()).collect();
    let mut seen = seen.lock().unwrap().clone();
    assert_eq!(seen[..2], ids);
    seen[2..].sort_by_key(|id| ids.iter().position(|own| own == id));
    assert_eq!(seen[2..], ids);
}

#[test]
fn when_a_runtime_stops_its_flights_land_with_an_error_and_their_keys_are_free() {
    let [a, b] = [runtime(), runtime()];
    let cluster = Cluster::local().runtimes([a.handle().clone(), b.handle().clone()]);
    let cluster = a.block_on(cluster.start()).unwrap();
    let (group, begun) = first_hangs(&cluster);
    let get = || {
        let group = group.clone();
        async move { group.get("Tom").await }
    };
    let _leader = b.spawn(get());
    a.block_on(begun.acquire()).unwrap().forget();
    let waiter = a.spawn(get());
    while cluster.stats().groups[0].waiters < 2 {
        std::thread::yield_now();
    }
    b.shutdown_background();
    let landed = a.block_on(waiter).unwrap();
    assert!(matches!(landed, Err(GetError::Load { .. })), "{landed:?}");
    assert_eq!(a.block_on(get()).unwrap().as_ref(), b"630");
    assert_eq!(begun.available_permits(), 1);
}

#[test]
fn a_get_whose_turn_falls_on_a_runtime_that_has_stopped_ends_with_an_error() {
    let (stopped, elsewhere) = (runtime(), runtime());
    let cluster = Cluster::local().runtimes([stopped.handle().clone()]);
    let cluster = stopped.block_on(cluster.start()).unwrap();
    let (group, begun) = first_hangs(&cluster);
    stopped.shutdown_background();
    let landed = elsewhere.block_on(group.get("Tom"));
    assert!(matches!(landed, Err(GetError::Load { .. })), "{landed:?}");
    assert_eq!((begun.available_permits(), cluster.stats().groups[0].flights), (0, 0));
}

#[test]
fn a_connection_to_a_peer_outlives_the_callers_runtime() {
    let (ours, theirs) = ([runtime(), runtime()], runtime());
    let asking = theirs.block_on(any_port().runtimes(handles(&ours)).start()).unwrap();
    let asked = theirs.block_on(any_port().start()).unwrap();
    let urls = [&asking, &asked].map(|node| format!("http://{}", node.address().unwrap()));
    let open = |node: &Cluster| {
        let load = async |_: Key| Ok::<_, BoxError>(Some("630"));
        node.group("scores").open(load).unwrap()
    };
    let [group, owner] = [&asking, &asked].map(open);
    for node in [&asking, &asked] {
        theirs.block_on(node.set_peers(urls.clone())).unwrap();
    }
    let before = asked.port_stats().unwrap().accepted;
    for nth in 0..4 {
        // Of a key that the other owns: a set asks from where its caller is, without a flight.
        let caller = runtime();
        let key = (0..).map(|n| format!("{nth} {n}")).find(|key| is_owned(&theirs, &owner, key)).unwrap();
        caller.block_on(group.set(&key, "1")).unwrap();
        caller.shutdown_background();
    }
    assert_eq!(asked.port_stats().unwrap().accepted - before, 1);
}

fn is_owned(runtime: &Runtime, group: &Group, key: &str) -> bool {
    let seen = runtime.block_on(group.whereabouts(key)).unwrap();
    seen.members.iter().any(|at| at.is_self && at.rank == Some(0))
}
