//! A node: its groups, and what it answers to other nodes, on every wire and in a simulator alike.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use arc_swap::ArcSwap;

use crate::answer::{Answer, Source};
use crate::clock;
use crate::error::{GetError, KeyError, OpenError, with_causes};
use crate::group::{Group, Landed, Settings, Surroundings};
use crate::loader::Loader;
use crate::message::{Change, Found, Reply, Request};
use crate::peers::PeerSnapshot;
use crate::stats::{Refusal, Stats};
use crate::units::{GroupName, Key};
use crate::view::Member;

/// A running node.
pub(crate) struct Node {
    pub(crate) around: Arc<Surroundings>,
    /// Random, made at each start. Only answers "is this me?".
    pub(crate) id: Arc<str>,
    /// Swapped whole when a group opens, so that a request never waits for one that does.
    groups: ArcSwap<HashMap<GroupName, Group>>,
}

impl Node {
    pub(crate) fn new(around: Surroundings, id: Arc<str>) -> Self {
        Self { around: Arc::new(around), id, groups: ArcSwap::default() }
    }

    /// Opens a group: from now on peers may ask for its keys.
    pub(crate) fn open(
        &self,
        name: GroupName,
        settings: Settings,
        loader: Arc<dyn Loader>,
    ) -> Result<Group, OpenError> {
        let has_ttl = settings.ttl.is_some();
        let group = Group::new(name.clone(), settings, loader, self.around.clone());
        let before = self.groups.rcu(|groups| {
            let mut groups = HashMap::clone(groups);
            groups.entry(name.clone()).or_insert_with(|| group.clone());
            groups
        });
        if before.contains_key(&name) {
            return Err(OpenError::Exists(name));
        }
        if has_ttl {
            self.mind_ttl();
        }
        Ok(group)
    }

    /// A ttl is worth a warning where this node has peers which drop it.
    fn mind_ttl(&self) {
        let Some(dialect) = self.around.peers.customs().drops_ttl else { return };
        if self.around.views.load().others().next().is_some() {
            self.around.peers.dropped_ttl().warn(dialect);
        }
    }

    /// The group of that name, if it is open.
    pub(crate) fn group(&self, name: &str) -> Option<Group> {
        self.groups.load().get(name).cloned()
    }

    /// What memory holds of a group's keys, each told with its place among them, at once. The others are to be asked for
    /// by [`answer`](Self::answer).
    pub(crate) fn look(&self, group: &str, keys: &[&[u8]], mut tell: impl FnMut(usize, Found)) {
        let groups = self.groups.load();
        let Some(group) = groups.get(group) else { return };
        let view = self.around.views.load().hash();
        group.serve_held(keys, |at, answer, minute_qps| tell(at, found(answer, minute_qps, view)));
    }

    /// What memory holds of one key at this instant, if that has no more than so many bytes. Else it is to be asked for.
    pub(crate) fn look_for_one(&self, group: &str, key: &[u8], room: usize, now: Instant) -> Option<Found> {
        let groups = self.groups.load();
        let (answer, minute_qps) = groups.get(group)?.serve_one_held(key, room, now)?;
        Some(found(answer, minute_qps, self.around.views.load().hash()))
    }

    /// Tells them in their order if memory holds all, and if they have no more than so many bytes together; whether it
    /// did.
    pub(crate) fn look_for_all(
        &self,
        group: &str,
        keys: &[&[u8]],
        room: usize,
        mut tell: impl FnMut(Found),
    ) -> bool {
        let groups = self.groups.load();
        let Some(group) = groups.get(group) else { return false };
        let view = self.around.views.load().hash();
        group.serve_all_held(keys, room, |answer, minute_qps| tell(found(answer, minute_qps, view)))
    }

    /// Answers a peer. Never asks another node to do so.
    pub(crate) async fn answer(&self, request: Request) -> Reply {
        match request {
            Request::Get { group, key, stand_in, cached_only } => match self.group(group.as_str()) {
                Some(group) => self.get(&group, &key, stand_in, cached_only).await,
                None => self.no_group(),
            },
            Request::GetMany { group, keys, stand_in, cached_only } => match self.group(group.as_str()) {
                Some(group) => self.get_many(&group, &keys, stand_in, cached_only).await,
                None => self.no_group(),
            },
            Request::Set { group, key, value, ttl } => {
                self.write(&group, &key, |group| match group.check_value(value.len()) {
                    Ok(()) if group.keep_as_owner(key.as_bytes(), value, ttl) => Reply::Done,
                    Ok(()) => Reply::NotOwner,
                    Err(error) => Reply::TooLarge(error.to_string().into()),
                })
            }
            Request::Remove { group, key } => self.write(&group, &key, |group| {
                group.forget(key.as_bytes());
                if group.is_local(key.as_bytes()) { Reply::Done } else { Reply::NotOwner }
            }),
            Request::Change { group, key, change } => self.write(&group, &key, |group| {
                if let Change::Set { value, .. } = &change
                    && let Err(error) = group.check_value(value.len())
                {
                    return Reply::TooLarge(error.to_string().into());
                }
                group.change_as_owner(key.as_bytes(), &change).map_or(Reply::NotOwner, Reply::Changed)
            }),
            Request::Clear { group } => match self.group(group.as_str()) {
                Some(group) => {
                    group.clear_here().await;
                    Reply::Done
                }
                None => self.no_group(),
            },
            Request::Held { group, key } => match self.group(group.as_str()) {
                Some(group) => Reply::Held(group.held(key.as_bytes())),
                None => self.no_group(),
            },
            Request::Id => Reply::Id(self.id.clone()),
            Request::Members => {
                let view = self.around.views.current();
                Reply::Members(view.members().iter().map(|member| member.name.clone()).collect())
            }
        }
    }

    async fn get(&self, group: &Group, key: &Key, stand_in: bool, cached_only: bool) -> Reply {
        let minute_qps = group.minute_qps(key.as_bytes());
        match group.serve(key.as_bytes(), stand_in, cached_only).await {
            Ok(answer) => Reply::Found(self.found(answer, minute_qps)),
            Err(error) => refusal(error),
        }
    }

    async fn get_many(&self, group: &Group, keys: &[Key], stand_in: bool, cached_only: bool) -> Reply {
        let answers = match group.serve_many(keys, stand_in, cached_only).await {
            Ok(answers) => answers,
            Err(error) => return refusal(error.into()),
        };
        let reply = |(key, answer): (&Key, Landed)| match answer {
            Ok(answer) => Reply::Found(self.found(answer, group.minute_qps(key.as_bytes()))),
            Err(error) => refusal(error),
        };
        Reply::Many(keys.iter().zip(answers).map(reply).collect())
    }

    fn write(&self, group: &GroupName, key: &Key, apply: impl FnOnce(&Group) -> Reply) -> Reply {
        let Some(group) = self.group(group.as_str()) else { return self.no_group() };
        match group.checked(key.as_bytes()) {
            Ok(_) => apply(&group),
            Err(error) => refusal(error.into()),
        }
    }

    fn no_group(&self) -> Reply {
        self.around.stats.refusals.add(Refusal::NoGroup);
        Reply::NoGroup
    }

    fn found(&self, answer: Answer, minute_qps: f64) -> Found {
        found(answer, minute_qps, self.around.views.load().hash())
    }

    /// What this node counted so far.
    pub(crate) fn stats(&self) -> Stats {
        let mut groups: Vec<_> = self.groups.load().values().map(Group::stats).collect();
        groups.sort_by(|a, b| a.group.cmp(&b.group));
        Stats { memory: self.around.limits.memory.snapshot(), ..self.around.stats.snapshot(groups) }
    }

    /// The members, and what is known of each. Walks the table of the view.
    pub(crate) fn peers(&self) -> Vec<PeerSnapshot> {
        let known = |(member, is_me, share): (&Member, bool, f64)| PeerSnapshot {
            member: member.clone(),
            share,
            asked: (!is_me).then(|| self.around.peers.asked(member)),
        };
        self.around.views.current().shares().map(known).collect()
    }

    /// Drops what other members own by now. Walks all memory: not for a thread that others wait for.
    pub(crate) fn disown(&self) {
        self.groups.load().values().for_each(Group::disown);
    }

    /// From now on memory answers and no flight begins.
    pub(crate) fn start_leaving(&self) {
        self.around.leaving.store(true, Ordering::Relaxed);
    }

    /// Waits until no flight is in the air. May wait as long as a loader does: bound it.
    pub(crate) async fn landed(&self) {
        // Looked at now and then: a node leaves once, and a flight is worth no bell of its own for that.
        const LOOK: Duration = Duration::from_millis(5);
        while self.groups.load().values().any(|group| group.flying() > 0) {
            clock::sleep(LOOK).await;
        }
    }
}

/// A value as it is handed to a peer, by a node of this view.
fn found(answer: Answer, minute_qps: f64, view: u64) -> Found {
    Found {
        loaded: answer.source == Source::Origin,
        value: answer.value,
        ttl: answer.ttl,
        age: answer.age,
        node: answer.node,
        minute_qps: Some(minute_qps),
        view: Some(view),
    }
}

/// An error of a get, in the words of the wire. What the loader said goes with it: a peer's caller needs the cause.
fn refusal(error: GetError) -> Reply {
    match error {
        GetError::NotFound { .. } => Reply::NotFound,
        GetError::NotCached { .. } => Reply::NotCached,
        GetError::LeftOut { .. } => Reply::LeftOut,
        GetError::Load { source, .. } => Reply::LoadFailed(with_causes(&*source).into()),
        GetError::Busy { limit } => Reply::Busy(limit),
        // Ask somebody else: the wire has one word for it, and a get must not fail since its owner goes in good order.
        GetError::Leaving => Reply::NoGroup,
        GetError::Deadline { .. } => Reply::Deadline,
        GetError::Key(KeyError::Empty) => Reply::BadRequest(KeyError::Empty.to_string().into()),
        GetError::Key(error @ (KeyError::TooLong { .. } | KeyError::TooMany { .. })) => {
            Reply::TooLarge(error.to_string().into())
        }
        error @ (GetError::TooLarge { .. } | GetError::Refused { .. } | GetError::Decode { .. }) => {
            Reply::LoadFailed(error.to_string().into())
        }
    }
}

#[cfg(all(test, not(shuttle)))]
mod tests;
