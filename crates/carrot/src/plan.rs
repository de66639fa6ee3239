//! What a node is started with, made of its settings: the origins opened, the defaults of this machine filled in.
//!
//! For `serve`, and for `check` where it is to ask the origins. Listens nowhere and starts no node.

use std::sync::Arc;
use std::time::Duration;

use anyhow::Context;
use carrotcache::{ByteSize, Limits, Memory};

use crate::config::sources::Sources;
use crate::node::{GroupPlan, NodePlan, RespPlan};
use crate::origin::{Allowance, Origin};
use crate::settings::name::Setting;
use crate::settings::{GroupSettings, LimitSettings, Settings};

/// What a node of these settings is started with; its origins are open by then.
///
/// # Errors
/// An origin that could never be asked, with the place where it was said.
pub fn plan(settings: Settings, sources: &Sources) -> anyhow::Result<NodePlan> {
    let resp_password = settings.resp_password().cloned();
    let Settings { node, cluster, limits, resp, groups } = settings;
    let limits = limits_of(limits, node.memory);
    let groups = groups.into_iter().enumerate().map(|(at, group)| {
        // Where the file has it: of several origins, which one.
        let place = sources.place(&Setting::at("group.origin", at));
        let opened = group_of(group, &limits);
        if let Some(place) = place { opened.context(place) } else { opened }
    });
    let groups = groups.collect::<anyhow::Result<_>>()?;
    Ok(NodePlan {
        name: node.name.or_else(|| default_name(node.peer.port())),
        url: node.url,
        peer: node.peer,
        http: node.http,
        resp: node.resp.map(|address| RespPlan {
            address,
            default_group: resp.default_group,
            password: resp_password,
        }),
        admin: node.admin,
        cluster: cluster.name,
        peers: cluster.peers,
        dialect: cluster.dialect,
        placement: cluster.placement,
        groups,
        limits,
        drain: node.drain,
        password: node.password,
        hosts: node.hosts,
    })
}

fn limits_of(settings: LimitSettings, memory: Option<ByteSize>) -> Limits {
    let mut limits = Limits::default();
    limits.memory = memory.map(Memory::new).unwrap_or_default();
    limits.key = settings.key;
    limits.value = settings.value;
    limits.connections = settings.connections.get() as usize;
    limits.in_flight = settings.in_flight.get() as usize;
    limits.in_flight_per_connection = settings.in_flight_per_connection.get() as usize;
    limits.waiting_per_peer = settings.waiting_per_peer.get() as usize;
    limits.bodies = settings.bodies;
    limits
}

fn group_of(settings: GroupSettings, limits: &Limits) -> anyhow::Result<GroupPlan> {
    let max_loads = settings.max_loads.get() as usize;
    let allowed = Allowance {
        load_deadline: settings.load_deadline,
        max_loads,
        value_max: limits.value,
        ttl: settings.ttl,
    };
    let origin = Origin::open(settings.origin, allowed)?;
    Ok(GroupPlan {
        name: settings.name,
        capacity: settings.capacity,
        ttl: settings.ttl,
        load_deadline: settings.load_deadline,
        max_loads,
        max_waiters: settings.max_waiters.get() as usize,
        hot: settings.hot,
        policy: settings.policy,
        origin: Arc::new(origin),
        slowed: Duration::ZERO,
    })
}

/// Host name and peer port; `None` where the machine has no name, or the port is yet to be chosen: the library's own
/// choice, the peer address, serves then.
pub fn default_name(peer_port: u16) -> Option<String> {
    let host = std::fs::read_to_string("/proc/sys/kernel/hostname").ok()?;
    let host = host.trim();
    (!host.is_empty() && peer_port != 0).then(|| format!("{host}:{peer_port}"))
}

#[cfg(test)]
mod tests {
    use std::num::NonZeroU32;

    use super::*;

    #[test]
    fn each_limit_that_can_be_set_is_the_nodes() {
        let count = |n| NonZeroU32::new(n).unwrap();
        let settings = LimitSettings {
            key: ByteSize::bytes(1),
            value: ByteSize::bytes(2),
            connections: count(3),
            in_flight: count(4),
            in_flight_per_connection: count(5),
            waiting_per_peer: count(6),
            bodies: ByteSize::bytes(7),
        };
        let limits = limits_of(settings, Some(ByteSize::bytes(8)));
        assert_eq!((limits.key, limits.value), (settings.key, settings.value));
        assert_eq!((limits.connections, limits.in_flight, limits.in_flight_per_connection), (3, 4, 5));
        assert_eq!((limits.waiting_per_peer, limits.bodies), (6, settings.bodies));
        assert_eq!(limits.memory.snapshot().map(|memory| memory.capacity_bytes), Some(8));
    }

    #[test]
    fn without_settings_the_limits_are_the_librarys() {
        let (ours, library) = (limits_of(LimitSettings::default(), None), Limits::default());
        assert_eq!(format!("{ours:?}"), format!("{library:?}"));
    }
}
