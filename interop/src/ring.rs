//! A ring of three members over one origin, on ports that are free.
//!
//! Knows who owns which key by our own reckoning, so that the ledger of the origin shows whether Go reckons alike.

use std::collections::BTreeMap;
use std::net::{Ipv4Addr, TcpListener};
use std::sync::Arc;

use anyhow::{Context, ensure};
use carrotcache::placement;

use crate::front::{Fronts, shown};
use crate::keys::Key;
use crate::member::{Kind, Member, Programs, Told};
use crate::origin::Origin;

/// Members of a ring.
pub(crate) const MEMBERS: usize = 3;

/// How often the ports are chosen anew, where another program takes one of them before a member does.
const TRIES: usize = 3;

/// Three members and their origin.
pub(crate) struct Ring {
    programs: Arc<Programs>,
    pub(crate) origin: Arc<Origin>,
    names: [&'static str; MEMBERS],
    urls: Vec<String>,
    placement: Arc<placement::Ring>,
    /// `None`: it is down.
    members: Vec<Option<Member>>,
}

impl Ring {
    /// Starts a member of each kind.
    pub(crate) async fn start(
        programs: &Arc<Programs>,
        names: [&'static str; MEMBERS],
        kinds: [Kind; MEMBERS],
    ) -> anyhow::Result<Self> {
        let mut tried = Self::try_start(programs, names, kinds).await;
        for _ in 1..TRIES {
            if tried.is_err() {
                tried = Self::try_start(programs, names, kinds).await;
            }
        }
        tried
    }

    async fn try_start(
        programs: &Arc<Programs>,
        names: [&'static str; MEMBERS],
        kinds: [Kind; MEMBERS],
    ) -> anyhow::Result<Self> {
        let urls = free_urls()?;
        let placement = Arc::new(placement::Ring::new(placement::RingHash::Crc32, &urls)?);
        let origin = Arc::new(Origin::start().await?);
        let members = (0..MEMBERS).map(|_| None).collect();
        let mut ring = Self { programs: programs.clone(), origin, names, urls, placement, members };
        for (at, kind) in kinds.into_iter().enumerate() {
            ring.begin(at, kind).await?;
        }
        Ok(ring)
    }

    /// Starts a member that is down, at the place of the list that it always has.
    pub(crate) async fn begin(&mut self, at: usize, kind: Kind) -> anyhow::Result<()> {
        let name = self.names[at];
        let origin = self.origin.url(name);
        let told = Told { name, url: &self.urls[at], urls: &self.urls, origin: &origin };
        self.members[at] = Some(Member::start(&self.programs, kind, &told).await?);
        Ok(())
    }

    /// Kills a member.
    pub(crate) async fn kill(&mut self, at: usize) -> anyhow::Result<()> {
        self.members[at].take().context("it is down")?.kill().await
    }

    /// Stops a member and starts another in its place.
    pub(crate) async fn replace(&mut self, at: usize, kind: Kind) -> anyhow::Result<()> {
        self.members[at].take().context("it is down")?.stop().await?;
        self.begin(at, kind).await
    }

    /// Stops all members, and starts others in their places.
    pub(crate) async fn replace_all(&mut self, kind: Kind) -> anyhow::Result<()> {
        self.stop_all().await?;
        for at in 0..MEMBERS {
            self.begin(at, kind).await?;
        }
        Ok(())
    }

    /// Stops all members.
    pub(crate) async fn stop(mut self) -> anyhow::Result<()> {
        self.stop_all().await
    }

    async fn stop_all(&mut self) -> anyhow::Result<()> {
        for member in self.members.iter_mut().filter_map(Option::take) {
            member.stop().await?;
        }
        Ok(())
    }

    /// The data ports of all members that are up, in the order of the list.
    pub(crate) fn fronts(&self) -> Fronts {
        let up = self.names.iter().zip(&self.members);
        Fronts::new(
            up.filter_map(|(name, member)| Some(((*name).to_owned(), member.as_ref()?.data))).collect(),
        )
    }

    /// Who owns `key`, by our ring: its place in the list.
    pub(crate) fn owner(&self, key: &[u8]) -> usize {
        owner(&self.placement, key)
    }

    /// Who is asked for `key` when its owner cannot be.
    pub(crate) fn stand_in(&self, key: &[u8]) -> usize {
        ranks(&self.placement, key)[1]
    }

    /// The owner, for a task of its own.
    pub(crate) fn placing(&self) -> impl Fn(&[u8]) -> usize + use<> {
        let placement = self.placement.clone();
        move |key| owner(&placement, key)
    }

    /// Whether this member is a node of ours.
    pub(crate) fn is_ours(&self, at: usize) -> bool {
        self.members[at].as_ref().is_some_and(|member| matches!(member.kind, Kind::Carrot { .. }))
    }

    /// What the origin calls this member.
    pub(crate) fn name(&self, at: usize) -> &'static str {
        self.names[at]
    }

    /// That each of these keys was asked for once, by its owner. Gives how many each member owns.
    pub(crate) fn loaded_once_by_their_owners(&self, keys: &[Key]) -> anyhow::Result<BTreeMap<&str, usize>> {
        let mut shares = BTreeMap::new();
        for key in keys {
            let (owner, loads) = (self.names[self.owner(key)], self.origin.loads_of(key));
            ensure!(loads == [owner], "{} of {owner} was loaded by {loads:?}", shown(key));
            *shares.entry(owner).or_default() += 1;
        }
        Ok(shares)
    }
}

fn owner(placement: &placement::Ring, key: &[u8]) -> usize {
    ranks(placement, key)[0]
}

/// All members, in the order in which they are responsible for `key`.
fn ranks(placement: &placement::Ring, key: &[u8]) -> [usize; MEMBERS] {
    let ranks: Vec<usize> = placement.ranks(placement.place(key)).iter().collect();
    ranks.try_into().unwrap_or_else(|ranks| unreachable!("three members have three ranks: {ranks:?}"))
}

/// URLs for ports that were free a moment ago: members have to know them before the first of them starts.
fn free_urls() -> anyhow::Result<Vec<String>> {
    let bind = |_| TcpListener::bind((Ipv4Addr::LOCALHOST, 0));
    let bound = (0..MEMBERS).map(bind).collect::<Result<Vec<_>, _>>()?;
    bound.iter().map(|socket| Ok(format!("http://{}", socket.local_addr()?))).collect()
}
