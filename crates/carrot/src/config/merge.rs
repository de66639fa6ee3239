//! One part over another, and the defaults under both: what the command line says wins key by key over the file.
//!
//! Pure: parts come in, settings go out.

use std::num::NonZeroU32;
use std::path::Path;

use crate::config::keys::{ClusterPart, GroupPart, LimitPart, NodePart, Parts, RespPart};
use crate::config::origin::{OriginTable, useless_query};
use crate::config::words::{Address, Count};
use crate::origin::OriginSettings;
use crate::origin::error::OpenError;
use crate::origin::url::OriginUrl;
use crate::settings::name::Setting;
use crate::settings::validate::{BadSettings, Fault};
use crate::settings::{
    ClusterSettings, GroupSettings, LimitSettings, NodeSettings, RespSettings, Settings, half_of,
};
use crate::some::{SomeSize, SomeTime};

/// Which of a file's groups the flags of a group are about.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Meant {
    /// None: there are no such flags.
    None,
    /// The group at this place; behind the last: a new one.
    Group(usize),
    /// Cannot be told.
    Unclear,
}

impl Parts {
    /// Makes the paths in it begin at `directory`.
    pub fn begin_at(&mut self, directory: &Path) {
        for origin in self.groups.iter_mut().filter_map(|group| group.origin.as_mut()) {
            origin.begin_at(directory);
        }
    }

    /// Which of these groups another one, from the command line, is about: the one of its name, a new one of that
    /// name, or the only one.
    pub fn meant(&self, flags: &GroupPart) -> Meant {
        let of_that_name = |name| self.groups.iter().position(|group| group.name.as_ref() == Some(name));
        match (&flags.name, self.groups.len()) {
            (Some(name), count) => Meant::Group(of_that_name(name).unwrap_or(count)),
            (None, _) if flags.is_empty() => Meant::None,
            (None, 1) => Meant::Group(0),
            (None, _) => Meant::Unclear,
        }
    }

    /// Puts another group over the one at that place.
    pub fn put_group(&mut self, at: usize, over: GroupPart) {
        if at == self.groups.len() {
            self.groups.push(GroupPart::default());
        }
        if let Some(group) = self.groups.get_mut(at) {
            *group = over.over(std::mem::take(group));
        }
    }

    /// These settings, with the defaults for all that they do not say.
    ///
    /// # Errors
    /// A group without a name, an origin that cannot be; see [`Settings::validate`] for what is not checked here.
    pub fn settings(self) -> Result<Settings, BadSettings> {
        let groups = self.groups.into_iter().enumerate().map(|(at, group)| group.settings(at));
        Ok(Settings {
            node: self.node.settings(),
            cluster: self.cluster.settings(),
            limits: self.limits.settings(),
            resp: self.resp.settings(),
            groups: groups.collect::<Result<_, _>>()?,
        })
    }
}

impl NodePart {
    /// What this says, else what `below` says.
    pub fn over(self, below: Self) -> Self {
        Self {
            name: self.name.or(below.name),
            url: self.url.or(below.url),
            peer: self.peer.or(below.peer),
            http: self.http.or(below.http),
            resp: self.resp.or(below.resp),
            admin: self.admin.or(below.admin),
            memory: self.memory.or(below.memory),
            drain: self.drain.or(below.drain),
            password: self.password.or(below.password),
            hosts: self.hosts.or(below.hosts),
            insecure: self.insecure.or(below.insecure),
        }
    }

    fn settings(self) -> NodeSettings {
        let default = NodeSettings::default();
        let address = |said: Option<Address>, default| said.map_or(default, |address| address.0);
        NodeSettings {
            name: self.name,
            url: self.url,
            peer: address(self.peer, default.peer),
            http: address(self.http, default.http),
            resp: self.resp.map(|address| address.0),
            admin: address(self.admin, default.admin),
            drain: self.drain.map_or(default.drain, |drain| drain.0),
            memory: self.memory.map(|memory| memory.0),
            password: self.password,
            hosts: self.hosts.unwrap_or_default(),
            insecure: self.insecure.unwrap_or(default.insecure),
        }
    }
}

impl ClusterPart {
    /// What this says, else what `below` says.
    pub fn over(self, below: Self) -> Self {
        Self {
            name: self.name.or(below.name),
            peers: self.peers.or(below.peers),
            dialect: self.dialect.or(below.dialect),
            placement: self.placement.or(below.placement),
        }
    }

    fn settings(self) -> ClusterSettings {
        ClusterSettings {
            name: self.name,
            peers: self.peers.unwrap_or_default(),
            dialect: self.dialect.unwrap_or_default(),
            placement: self.placement,
        }
    }
}

impl RespPart {
    /// What this says, else what `below` says.
    pub fn over(self, below: Self) -> Self {
        Self {
            default_group: self.default_group.or(below.default_group),
            password: self.password.or(below.password),
        }
    }

    fn settings(self) -> RespSettings {
        RespSettings { default_group: self.default_group, password: self.password }
    }
}

impl LimitPart {
    /// What this says, else what `below` says.
    pub fn over(self, below: Self) -> Self {
        Self {
            key: self.key.or(below.key),
            value: self.value.or(below.value),
            connections: self.connections.or(below.connections),
            in_flight: self.in_flight.or(below.in_flight),
            in_flight_per_connection: self.in_flight_per_connection.or(below.in_flight_per_connection),
            waiting_per_peer: self.waiting_per_peer.or(below.waiting_per_peer),
            bodies: self.bodies.or(below.bodies),
        }
    }

    fn settings(self) -> LimitSettings {
        let default = LimitSettings::default();
        let size = |said: Option<SomeSize>, default| said.map_or(default, |size| size.0);
        let in_flight = count(self.in_flight, default.in_flight);
        LimitSettings {
            key: size(self.key, default.key),
            value: size(self.value, default.value),
            connections: count(self.connections, default.connections),
            in_flight,
            in_flight_per_connection: count(self.in_flight_per_connection, half_of(in_flight)),
            waiting_per_peer: count(self.waiting_per_peer, default.waiting_per_peer),
            bodies: size(self.bodies, default.bodies),
        }
    }
}

impl GroupPart {
    fn is_empty(&self) -> bool {
        let Self {
            name,
            origin_url,
            query,
            origin,
            ttl,
            capacity,
            load_deadline,
            max_loads,
            max_waiters,
            hot,
            policy,
        } = self;
        let tuned = ttl.is_some() || capacity.is_some() || load_deadline.is_some() || hot.is_some();
        let bounded = max_loads.is_some() || max_waiters.is_some() || policy.is_some();
        let sourced = origin_url.is_some() || query.is_some() || origin.is_some();
        name.is_none() && !tuned && !bounded && !sourced
    }

    fn over(self, below: Self) -> Self {
        Self {
            name: self.name.or(below.name),
            origin_url: self.origin_url.or(below.origin_url),
            query: self.query.or(below.query),
            origin: self.origin.or(below.origin),
            ttl: self.ttl.or(below.ttl),
            capacity: self.capacity.or(below.capacity),
            load_deadline: self.load_deadline.or(below.load_deadline),
            max_loads: self.max_loads.or(below.max_loads),
            max_waiters: self.max_waiters.or(below.max_waiters),
            hot: self.hot.or(below.hot),
            policy: self.policy.or(below.policy),
        }
    }

    fn settings(self, at: usize) -> Result<GroupSettings, BadSettings> {
        let name = self.name.ok_or_else(|| Fault::NoName.of(Setting::at("group", at)))?;
        let default = GroupSettings::new(name);
        Ok(GroupSettings {
            capacity: self.capacity.unwrap_or(default.capacity),
            ttl: self.ttl.map(|ttl| ttl.0),
            load_deadline: self.load_deadline.map_or(default.load_deadline, |SomeTime(time)| time),
            max_loads: count(self.max_loads, default.max_loads),
            max_waiters: count(self.max_waiters, default.max_waiters),
            hot: self.hot.unwrap_or(default.hot),
            policy: self.policy.unwrap_or(default.policy),
            origin: origin(self.origin_url, self.origin, self.query, at)?,
            name: default.name,
        })
    }
}

fn count(said: Option<Count>, default: NonZeroU32) -> NonZeroU32 {
    said.map_or(default, |count| count.0)
}

/// An origin of the command line replaces the file's, whole, lest one's headers be sent to the other; of a database
/// that replaces a database the query stays, unless there is a new one.
fn origin(
    url: Option<OriginUrl>,
    table: Option<OriginTable>,
    query: Option<String>,
    at: usize,
) -> Result<OriginSettings, BadSettings> {
    match (url, table) {
        (Some(url), table) => {
            let takes_query = matches!(url, OriginUrl::Sqlite(_));
            let stays = || table.filter(|_| takes_query).and_then(OriginTable::into_query);
            url.settings(query.or_else(stays)).map_err(|bad| of_url(bad, at))
        }
        (None, Some(table)) => table.settings(query, at),
        (None, None) if query.is_some() => Err(useless_query(at)),
        (None, None) => Ok(OriginSettings::Nothing),
    }
}

fn of_url(bad: OpenError, at: usize) -> BadSettings {
    let fault = match bad {
        OpenError::UselessQuery => return useless_query(at),
        OpenError::NoQuery(file) => Fault::NoQuery(file),
        other => Fault::Wrong(other.to_string()),
    };
    fault.of(Setting::at("group.origin", at))
}
