//! What differs between two settings, by name: what a file that is read again asks for, and a running node has not.
//!
//! Pure. Each struct is taken apart by name, so that a new field cannot be forgotten.

use carrotcache::GroupName;

use crate::settings::{ClusterSettings, GroupSettings, LimitSettings, NodeSettings, RespSettings, Settings};

/// The settings that differ and that a running node does not change: all but its list of peers.
pub fn for_a_restart(old: &Settings, new: &Settings) -> Vec<String> {
    let named = [
        node(&old.node, &new.node),
        cluster(&old.cluster, &new.cluster),
        limits(&old.limits, &new.limits),
        resp(&old.resp, &new.resp),
    ];
    let named = named.into_iter().flatten().map(str::to_owned);
    named.chain(groups(&old.groups, &new.groups)).collect()
}

fn differing<const N: usize>(keys: [(&'static str, bool); N]) -> Vec<&'static str> {
    keys.into_iter().filter(|(_, differs)| *differs).map(|(key, _)| key).collect()
}

fn node(old: &NodeSettings, new: &NodeSettings) -> Vec<&'static str> {
    let NodeSettings { name, url, peer, http, resp, admin, drain, memory, password, hosts, insecure } = new;
    differing([
        ("node.name", old.name != *name),
        ("node.url", old.url != *url),
        ("node.peer", old.peer != *peer),
        ("node.http", old.http != *http),
        ("node.resp", old.resp != *resp),
        ("node.admin", old.admin != *admin),
        ("node.drain", old.drain != *drain),
        ("node.memory", old.memory != *memory),
        ("node.password", old.password != *password),
        ("node.hosts", old.hosts != *hosts),
        ("node.insecure", old.insecure != *insecure),
    ])
}

fn cluster(old: &ClusterSettings, new: &ClusterSettings) -> Vec<&'static str> {
    let ClusterSettings { name, peers: _, dialect, placement } = new;
    differing([
        ("cluster.name", old.name != *name),
        ("cluster.dialect", old.dialect != *dialect),
        ("cluster.placement", old.placement != *placement),
    ])
}

fn limits(old: &LimitSettings, new: &LimitSettings) -> Vec<&'static str> {
    let LimitSettings {
        key,
        value,
        connections,
        in_flight,
        in_flight_per_connection,
        waiting_per_peer,
        bodies,
    } = *new;
    differing([
        ("limits.key", old.key != key),
        ("limits.value", old.value != value),
        ("limits.connections", old.connections != connections),
        ("limits.in_flight", old.in_flight != in_flight),
        ("limits.in_flight_per_connection", old.in_flight_per_connection != in_flight_per_connection),
        ("limits.waiting_per_peer", old.waiting_per_peer != waiting_per_peer),
        ("limits.bodies", old.bodies != bodies),
    ])
}

fn resp(old: &RespSettings, new: &RespSettings) -> Vec<&'static str> {
    let RespSettings { default_group, password } = new;
    differing([
        ("resp.default_group", old.default_group != *default_group),
        ("resp.password", old.password != *password),
    ])
}

fn groups(old: &[GroupSettings], new: &[GroupSettings]) -> Vec<String> {
    let find =
        |groups: &[GroupSettings], name: &GroupName| groups.iter().position(|group| group.name == *name);
    let gone = old.iter().filter(|group| find(new, &group.name).is_none());
    let gone = gone.map(|group| format!("group {}, which is gone", group.name));
    let there = new.iter().flat_map(|group| match find(old, &group.name) {
        None => vec![format!("group {}, which is new", group.name)],
        Some(at) => {
            let keys = group_keys(&old[at], group);
            keys.into_iter().map(|key| format!("{key} of group {}", group.name)).collect()
        }
    });
    gone.chain(there).collect()
}

fn group_keys(old: &GroupSettings, new: &GroupSettings) -> Vec<&'static str> {
    let GroupSettings { name: _, capacity, ttl, load_deadline, max_loads, max_waiters, hot, policy, origin } =
        new;
    differing([
        ("capacity", old.capacity != *capacity),
        ("ttl", old.ttl != *ttl),
        ("load_deadline", old.load_deadline != *load_deadline),
        ("max_loads", old.max_loads != *max_loads),
        ("max_waiters", old.max_waiters != *max_waiters),
        ("hot", old.hot != *hot),
        ("policy", old.policy != *policy),
        ("origin", old.origin != *origin),
    ])
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::secret::Secret;

    fn settings() -> Settings {
        let group = |name| GroupSettings::new(GroupName::new(name).unwrap());
        Settings {
            node: NodeSettings::default(),
            cluster: ClusterSettings::default(),
            limits: LimitSettings::default(),
            resp: RespSettings::default(),
            groups: vec![group("scores"), group("pages")],
        }
    }

    #[test]
    fn what_differs_is_named_and_the_list_of_peers_is_not() {
        let old = settings();
        let mut new = settings();
        new.cluster.peers = vec!["http://a:1".to_owned()];
        assert_eq!(for_a_restart(&old, &new), [""; 0]);
        new.node.password = Some(Secret::new("sesame"));
        new.resp.password = Some(Secret::new("sesame"));
        new.limits.key = carrotcache::ByteSize::kib(1);
        new.cluster.name = Some("prod".to_owned());
        new.cluster.placement = Some(carrotcache::placement::PlacementKind::Ring);
        new.groups[1].ttl = Some(Duration::from_secs(1));
        new.groups[0].name = GroupName::new("points").unwrap();
        let expected = [
            "node.password",
            "cluster.name",
            "cluster.placement",
            "limits.key",
            "resp.password",
            "group scores, which is gone",
            "group points, which is new",
            "ttl of group pages",
        ];
        assert_eq!(for_a_restart(&old, &new), expected);
    }

    #[test]
    fn the_order_of_groups_is_no_difference() {
        let old = settings();
        let mut new = settings();
        new.groups.reverse();
        assert_eq!(for_a_restart(&old, &new), [""; 0]);
    }
}
