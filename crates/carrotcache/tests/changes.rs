//! Changes that depend on what is cached, and a clear, through the public API alone, over real sockets of the loopback.
//!
//! Without the feature `http` there is nothing here to test.

#![cfg(feature = "http")]
#![allow(clippy::unwrap_used, reason = "in a test a panic is the report")]

use std::net::TcpListener;
use std::time::Duration;

use carrotcache::net::dialect::Dialect;
use carrotcache::{BoxError, Cluster, ExpireIf, Group, Hot, Key, Life, SetIf, WriteError};

const HOUR: Duration = Duration::from_secs(3600);

/// Two nodes that know each other, their group `scores`, which mirrors whatever is fetched, and a key of the second's.
async fn two(dialect: Dialect, frames: bool) -> (Vec<Cluster>, Vec<Group>, String) {
    // A url of the family has to be known before the node starts; both ports are held until both are known.
    let held = [(); 2].map(|()| TcpListener::bind("127.0.0.1:0").unwrap());
    let addresses = held.map(|listener| listener.local_addr().unwrap());
    let urls: Vec<_> = addresses.iter().map(|address| format!("http://{address}")).collect();
    let mut nodes = Vec::new();
    for (address, url) in addresses.iter().zip(&urls) {
        let bound = Cluster::bind(*address).url(url.as_str()).dialect(dialect);
        let bound = if frames { bound } else { bound.without_frames() };
        nodes.push(bound.peers(urls.clone()).start().await.unwrap());
    }
    let groups: Vec<Group> = nodes.iter().map(open).collect();
    for n in 0_u32.. {
        let key = format!("a/{n} \u{fc}");
        let seen = groups[0].whereabouts(&key).await.unwrap();
        let owner = seen.members.iter().find(|at| at.rank == Some(0)).unwrap();
        if !owner.is_self {
            return (nodes, groups, key);
        }
    }
    unreachable!("half of all keys are the other node's")
}

fn open(node: &Cluster) -> Group {
    let load = |key: Key| async move { Ok::<_, BoxError>(Some(key.as_bytes().to_vec())) };
    node.group("scores").hot(Hot::Always).ttl(HOUR).open(load).unwrap()
}

async fn ttl(group: &Group, key: &str) -> Option<Duration> {
    group.holding(key).await.unwrap().and_then(|held| held.ttl)
}

#[tokio::test]
async fn a_change_is_made_at_the_owner_over_the_wire() {
    for frames in [true, false] {
        let (_nodes, groups, key) = two(Dialect::Native, frames).await;
        let group = &groups[0];
        assert!(!group.expire(&key, Life::Of(HOUR), ExpireIf::Always).await.unwrap());
        assert!(!group.set_if(&key, "1", Life::OfGroup, SetIf::Present).await.unwrap());
        assert!(group.set_if(&key, "2", Life::OfGroup, SetIf::Absent).await.unwrap());
        assert!(!group.set_if(&key, "3", Life::OfGroup, SetIf::Absent).await.unwrap());
        assert_eq!(groups[1].get(&key).await.unwrap(), "2");
        assert!(group.expire(&key, Life::Of(HOUR * 5), ExpireIf::Later).await.unwrap());
        assert!(!group.expire(&key, Life::Of(HOUR * 4), ExpireIf::Later).await.unwrap());
        assert!(ttl(group, &key).await.unwrap() > HOUR * 4);
        assert!(group.expire(&key, Life::OfGroup, ExpireIf::Ending).await.unwrap());
        let left = ttl(group, &key).await.unwrap();
        assert!(left <= HOUR && left > HOUR / 2, "{left:?}");
        // A value that no frame and no small buffer holds.
        let large = vec![7; 1 << 20];
        assert!(group.set_if(&key, large.clone(), Life::Kept, SetIf::Present).await.unwrap());
        assert_eq!(*groups[1].get(&key).await.unwrap(), *large);
        assert!(group.remove_held(&key).await.unwrap());
        assert!(!group.remove_held(&key).await.unwrap());
    }
}

#[tokio::test]
async fn a_clear_reaches_every_member_over_the_wire() {
    for frames in [true, false] {
        let (mut nodes, groups, key) = two(Dialect::Native, frames).await;
        for group in &groups {
            group.get(&key).await.unwrap();
            group.get("Tom").await.unwrap();
        }
        groups[0].clear().await.unwrap();
        assert_eq!((groups[0].entries(), groups[1].entries()), (0, 0));
        groups[0].get(&key).await.unwrap();
        let name = format!("http://{}", nodes[1].address().unwrap());
        nodes.pop().unwrap().leave().await.unwrap();
        match groups[0].clear().await {
            Err(WriteError::Unconfirmed { members, .. }) => assert_eq!(members, [name.into()]),
            other => panic!("{other:?}"),
        }
        assert_eq!(groups[0].entries(), 0);
    }
}

#[tokio::test]
async fn a_peer_of_the_family_is_told_no_change_and_no_clear() {
    for dialect in [Dialect::Golang, Dialect::Mailgun] {
        let (_nodes, groups, key) = two(dialect, false).await;
        let group = &groups[0];
        groups[1].get(&key).await.unwrap();
        for refused in [
            group.expire(&key, Life::OfGroup, ExpireIf::Always).await.unwrap_err(),
            group.set_if(&key, "1", Life::OfGroup, SetIf::Absent).await.unwrap_err(),
            group.clear().await.unwrap_err(),
        ] {
            assert!(matches!(refused, WriteError::Unsupported { .. }), "{refused:?}");
        }
        assert_eq!(groups[1].entries(), 1);
    }
}
