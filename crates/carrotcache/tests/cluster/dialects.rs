//! Clusters that speak the dialects of the family.

use carrotcache::net::dialect::Dialect;

use super::*;

/// So many nodes that speak this dialect, and whose list spells them as they do themselves.
async fn family(dialect: Dialect, count: usize) -> Vec<Cluster> {
    let mut nodes = Vec::new();
    for _ in 0..count {
        nodes.push(any_port().dialect(dialect).start().await.unwrap());
    }
    let urls: Vec<_> = nodes.iter().map(url).collect();
    for node in &nodes {
        node.set_peers(urls.clone()).await.unwrap();
    }
    nodes
}

const OLDER: [Dialect; 2] = [Dialect::Carrot, Dialect::Golang];
const NEWER: [Dialect; 2] = [Dialect::Mailgun, Dialect::GroupcacheGo];

#[tokio::test]
async fn each_key_is_loaded_once_in_every_dialect_of_the_family() {
    for dialect in OLDER.into_iter().chain(NEWER) {
        let nodes = family(dialect, 3).await;
        let (groups, loads) = scores(&nodes);
        for n in 1..=200 {
            // Its last bytes decide on the owner in the newer rings: so that all nodes own some.
            let key = format!("{n} {}", n * 7919);
            for group in &groups {
                assert_eq!(group.get(&key).await.unwrap(), &*n.to_string(), "{dialect}");
            }
        }
        assert_eq!(loads.load(Ordering::Relaxed), 200, "{dialect}");
        for node in &nodes {
            assert!(node.stats().groups[0].loads.total() > 0, "{dialect}");
        }
    }
}

#[tokio::test]
async fn the_older_dialects_have_no_set_and_no_remove() {
    for dialect in OLDER {
        let nodes = family(dialect, 2).await;
        let (groups, _) = scores(&nodes);
        let key = key_of(&groups[1]).await;
        assert_eq!(groups[0].get(&key).await.unwrap(), groups[1].get(&key).await.unwrap());
        for refused in [groups[0].set(&key, "set").await, groups[0].remove(&key).await] {
            assert!(matches!(refused, Err(WriteError::Unsupported { .. })), "{refused:?}");
        }
        assert_eq!(source(&groups[1], &key).await, Source::Memory, "nothing was sent");
    }
}

/// The group `scores` on each node, which mirrors all it fetches; its values are the numbers of the loads.
fn mirrored(nodes: &[Cluster]) -> Vec<Group> {
    scores_with(nodes, Hot::Always).0
}

#[tokio::test]
async fn in_the_newer_dialects_a_write_reaches_every_members_mirror() {
    for dialect in NEWER {
        let nodes = family(dialect, 3).await;
        let groups = mirrored(&nodes);
        for writer in 0..3 {
            let key = format!("key of {writer}");
            let first = groups[0].get(&key).await.unwrap();
            for group in &groups {
                assert_eq!(group.get(&key).await.unwrap(), first);
                assert!(matches!(source(group, &key).await, Source::Memory | Source::Mirror), "{dialect}");
            }
            groups[writer].set(&key, "set").await.unwrap();
            for group in &groups {
                assert_eq!(group.get(&key).await.unwrap(), "set", "{dialect} {writer}");
            }
            groups[writer].remove(&key).await.unwrap();
            let second = groups[writer].get(&key).await.unwrap();
            assert!(second != first && second != "set", "{dialect} {writer}");
            for group in &groups {
                assert_eq!(group.get(&key).await.unwrap(), second, "{dialect} {writer}");
            }
        }
    }
}

#[tokio::test]
async fn in_the_newer_dialects_a_ttl_travels_both_ways_and_no_key_is_told_from_no_group() {
    let hour = Duration::from_secs(3600);
    for dialect in NEWER {
        let nodes = family(dialect, 2).await;
        let open = |node: &Cluster| {
            let load = move |key: Key| async move {
                Ok::<_, BoxError>((key.as_bytes() != b"nobody").then(|| Loaded::from("630").ttl(24 * hour)))
            };
            node.group("scores").open(load).unwrap()
        };
        let groups: Vec<_> = nodes.iter().map(open).collect();
        let mut fetched = 0;
        for n in 0..100 {
            let key = format!("{n} {}", n * 7919);
            if n % 2 == 0 {
                groups[0].set(&key, Loaded::from("set").ttl(24 * hour)).await.unwrap();
            }
            for group in &groups {
                let answer = group.answer(&key, Ask::default()).await.unwrap();
                fetched += usize::from(answer.source == Source::Owner);
                // As far as this machine's clock goes evenly meanwhile.
                assert!(answer.ttl.is_some_and(|ttl| (20 * hour..=28 * hour).contains(&ttl)), "{answer:?}");
            }
        }
        assert!(fetched > 0, "some of them came from the other node");
        for group in &groups {
            let missing = group.get("nobody").await;
            assert!(matches!(missing, Err(GetError::NotFound { .. })), "{missing:?}");
        }
        // Which has no such group: a value all the same, by whoever has it.
        let other = nodes[0].group("other").open(|_| async { Ok::<_, BoxError>(Some("630")) }).unwrap();
        for n in 0..20 {
            assert_eq!(other.get(format!("{n} {}", n * 7919)).await.unwrap(), "630");
        }
    }
}

#[tokio::test]
async fn a_member_that_is_gone_is_named_by_a_write_that_it_may_have_missed() {
    let mut nodes = family(Dialect::Mailgun, 3).await;
    let groups = mirrored(&nodes);
    let key = key_of(&groups[0]).await;
    let gone = nodes.pop().unwrap();
    let name = url(&gone);
    gone.leave().await.unwrap();
    for written in [groups[0].set(&key, "set").await, groups[1].remove(&key).await] {
        let Err(WriteError::Unconfirmed { members, .. }) = written else { panic!("{written:?}") };
        assert_eq!(members, [name.as_str().into()]);
    }
    assert!(matches!(source(&groups[0], &key).await, Source::Origin), "its owner has removed it");
}
