//! Whereabouts: where a key falls, who owns it, and what each member holds of it.
//!
//! For an operator who asks why an answer is old, or why a key is loaded twice. All members are asked at once, each
//! for what its memory holds, also those that rest: whoever looks wants to know how it is, not how it was. Looking
//! changes nothing, here or there: no get is counted, no order of use, no rate of a hot key, and no peer's health.
//! Runs in the caller's future, with a task for each member; never loads.

use tokio::task::JoinSet;

use crate::clock;
use crate::error::{HeldError, KeyError, PeerError};
use crate::group::{Group, HOP};
use crate::message::{Holding, Reply, Request};
use crate::placement::Spot;
use crate::units::Key;
use crate::view::{Member, Owner, Ranked};

/// What a cluster holds of a key, as one of its nodes sees it.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Whereabouts {
    /// Where the key falls.
    pub spot: Spot,
    /// All members: those with a rank for the key by rank, the others in the order of the view.
    pub members: Vec<AtMember>,
}

/// What one member holds of a key.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct AtMember {
    /// The member.
    pub member: Member,
    /// From 0, the owner's; `None` where it is neither owner nor stand-in.
    pub rank: Option<usize>,
    /// It is the node that was asked.
    pub is_self: bool,
    /// What it holds, `None` where that is nothing; or why that is not known.
    pub held: Result<Option<Holding>, HeldError>,
}

impl Group {
    /// Where `key` falls, and what each member of the cluster holds of it.
    ///
    /// Asks all members at once, and waits for a second at most. Dropping the future abandons the asking. A node
    /// that is in no list is not among the members, whatever it mirrors.
    ///
    /// # Errors
    /// A key that no group takes. A member that could not be asked is no error: see [`AtMember::held`].
    pub async fn whereabouts(&self, key: impl AsRef<[u8]>) -> Result<Whereabouts, KeyError> {
        let key = Key::new(self.checked(key.as_ref())?);
        let shared = &*self.shared;
        let view = shared.around.views.current();
        let everyone = view.place(shared.seed, key.as_bytes()).everyone();
        let mut asking = JoinSet::new();
        for (at, ranked) in everyone.iter().enumerate().filter(|(_, ranked)| !ranked.is_me) {
            let (group, member, key) = (self.clone(), ranked.member.clone(), key.clone());
            let asked = async move { (at, group.ask_held(&member, key).await) };
            asking.spawn_on(asked, shared.around.runtimes.nearest());
        }
        let mut members: Vec<AtMember> = everyone.iter().map(|ranked| self.at_member(ranked, &key)).collect();
        while let Some(asked) = asking.join_next().await {
            if let Ok((at, held)) = asked {
                members[at].held = held;
            }
        }
        Ok(Whereabouts { spot: view.spot(shared.seed, key.as_bytes()), members })
    }

    /// What the owner of `key` holds of it, in memory; nothing is loaded and nothing is counted, here or there.
    ///
    /// Costs the way to the owner and back, where that is another node. Dropping the future abandons the wait.
    ///
    /// # Errors
    /// A key that no group takes; an owner that could not be asked, within a second.
    pub async fn holding(&self, key: impl AsRef<[u8]>) -> Result<Option<Holding>, HeldError> {
        let key = self.checked(key.as_ref())?;
        let view = self.shared.around.views.current();
        match view.place(self.shared.seed, key).owner() {
            Owner::Local => Ok(self.held(key)),
            Owner::Remote(owner) => match self.ask_held(owner, Key::new(key)).await {
                Err(HeldError::Peer(source)) => Err(HeldError::Owner { owner: owner.name.clone(), source }),
                held => held,
            },
        }
    }

    /// What this node holds of the key and would serve.
    pub(crate) fn held(&self, key: &[u8]) -> Option<Holding> {
        self.shared.store.held(self.is_local(key), key)
    }

    /// What is known of a member before it has answered.
    fn at_member(&self, ranked: &Ranked<'_>, key: &Key) -> AtMember {
        let Ranked { member, rank, is_me } = *ranked;
        let held = if is_me { Ok(self.held(key.as_bytes())) } else { Err(unanswered()) };
        AtMember { member: member.clone(), rank, is_self: is_me, held }
    }

    async fn ask_held(&self, member: &Member, key: Key) -> Result<Option<Holding>, HeldError> {
        let shared = &*self.shared;
        let what = Request::Held { group: shared.name.clone(), key };
        let peers = &shared.around.peers;
        if !peers.can_say(&what) {
            return Err(HeldError::Unsupported { dialect: peers.dialect() });
        }
        match peers.ask_anyway(member, what, clock::now() + HOP).await? {
            Reply::Held(held) => Ok(held),
            refusal => Err(HeldError::Refused(refusal.to_string().into())),
        }
    }
}

/// The task that asked is gone, as happens when the node's runtime stops.
fn unanswered() -> HeldError {
    PeerError::broken("the asking was cut short").into()
}
