//! Clusters whose lists were mixed up, told apart by their names, over real sockets of the loopback.

#![cfg(feature = "http")]
#![allow(clippy::unwrap_used, reason = "in a test a panic is the report")]

use std::collections::BTreeSet;
use std::fmt::Debug;
use std::sync::{Arc, Mutex};

use carrotcache::{Ask, BoxError, Cluster, ClusterBuilder, FetchOutcome, Group, Key, Refusal, StartError};
use tracing::field::{Field, Visit};
use tracing::{Event, Level, Metadata, Subscriber, span};

/// The lines of level WARN that this thread says, with their fields.
#[derive(Clone, Default)]
struct Warnings(Arc<Mutex<Vec<String>>>);

impl Subscriber for Warnings {
    fn enabled(&self, metadata: &Metadata<'_>) -> bool {
        *metadata.level() == Level::WARN
    }

    fn new_span(&self, _: &span::Attributes<'_>) -> span::Id {
        span::Id::from_u64(1)
    }

    fn record(&self, _: &span::Id, _: &span::Record<'_>) {}

    fn record_follows_from(&self, _: &span::Id, _: &span::Id) {}

    fn event(&self, event: &Event<'_>) {
        let mut line = Line(String::new());
        event.record(&mut line);
        self.0.lock().unwrap().push(line.0);
    }

    fn enter(&self, _: &span::Id) {}

    fn exit(&self, _: &span::Id) {}
}

struct Line(String);

impl Visit for Line {
    fn record_debug(&mut self, field: &Field, value: &dyn Debug) {
        self.0 += &format!("{}={value:?} ", field.name());
    }
}

fn any_port() -> ClusterBuilder {
    Cluster::bind("127.0.0.1:0".parse().unwrap())
}

/// Nodes that have each other in their lists, and a group on each whose values are its keys.
async fn listed<const N: usize>(builders: [ClusterBuilder; N]) -> (Vec<Cluster>, Vec<Group>) {
    let mut nodes = Vec::new();
    for builder in builders {
        nodes.push(builder.start().await.unwrap());
    }
    let urls: Vec<_> = nodes.iter().map(|node| format!("http://{}", node.address().unwrap())).collect();
    for node in &nodes {
        node.set_peers(urls.clone()).await.unwrap();
    }
    let load = |key: Key| async move { Ok::<_, BoxError>(Some(key.as_bytes().to_vec())) };
    let groups = nodes.iter().map(|node| node.group("g").open(load).unwrap()).collect();
    (nodes, groups)
}

/// Who gave the values of so many keys, each of which has to be there.
async fn givers(group: &Group, keys: usize) -> BTreeSet<String> {
    let mut givers = BTreeSet::new();
    for n in 0..keys {
        let answer = group.answer(n.to_string(), Ask::default()).await.unwrap();
        assert_eq!(answer.value, *n.to_string().as_bytes());
        givers.insert(answer.node.to_string());
    }
    givers
}

fn only(node: &Cluster) -> BTreeSet<String> {
    BTreeSet::from([node.name().to_owned()])
}

#[tokio::test]
async fn nodes_of_two_clusters_do_not_serve_each_other_on_any_wire_and_each_log_says_so_once() {
    for frames in [true, false] {
        let of = |cluster| {
            let builder = any_port().named(cluster);
            if frames { builder } else { builder.without_frames() }
        };
        let warnings = Warnings::default();
        let _heard = tracing::subscriber::set_default(warnings.clone());
        let (nodes, groups) = listed([of("prod"), of("test")]).await;
        assert_eq!(givers(&groups[0], 40).await, only(&nodes[0]));
        let [asked_by, asked] = [&nodes[0], &nodes[1]].map(Cluster::stats);
        let refused = asked.refusals.get(Refusal::OtherCluster);
        assert!(refused >= 3, "{refused}");
        assert_eq!(asked_by.refusals.get(Refusal::OtherCluster), 0);
        assert!(asked_by.groups[0].fetches.get(FetchOutcome::Unreachable) >= refused);
        assert_eq!(asked.groups[0].gets, 0);
        let lines = warnings.0.lock().unwrap().clone();
        let [theirs, ours] = &lines[..] else { panic!("{lines:#?}") };
        assert!(theirs.contains("a node of another cluster asks this one"), "{theirs}");
        assert!(theirs.contains("cluster=\"test\" asked_by=\"prod\""), "{theirs}");
        assert!(ours.contains("it is of another cluster, \"test\""), "{ours}");
        // It has no better luck the other way round.
        assert_eq!(givers(&groups[1], 40).await, only(&nodes[1]));
        assert!(nodes[0].stats().refusals.get(Refusal::OtherCluster) >= 3);
    }
}

#[tokio::test]
async fn a_node_without_a_name_goes_with_those_of_any_and_nodes_of_one_name_with_each_other() {
    for others in [any_port(), any_port().named("prod"), any_port().named("prod").without_frames()] {
        let (nodes, groups) = listed([any_port().named("prod"), others]).await;
        let all: BTreeSet<_> = nodes.iter().map(|node| node.name().to_owned()).collect();
        for group in &groups {
            assert_eq!(givers(group, 40).await, all);
        }
        assert!(nodes.iter().all(|node| node.stats().refusals.get(Refusal::OtherCluster) == 0));
    }
}

#[tokio::test]
async fn a_name_that_no_header_carries_is_refused_at_the_start() {
    for name in ["", "a b", "ä", &"x".repeat(65)] {
        let refused = any_port().named(name).start().await;
        assert!(matches!(refused, Err(StartError::Settings(_))), "{name:?}");
    }
}
