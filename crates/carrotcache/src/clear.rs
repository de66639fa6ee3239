//! Clearing a group: every member forgets all it holds of it.
//!
//! All members are told at once, and then once more. For a member that has forgotten may fetch, and mirror, what another
//! has not forgotten yet; after the first round no owner has anything from before the call, and the second takes those
//! mirrors. What was loaded between the two goes with them, and is loaded anew: that is a moment, since a round that some
//! member misses is the last.

use crate::error::WriteError;
use crate::group::Group;
use crate::message::Request;

impl Group {
    /// Forgets all keys of the group, on every member, so that the next get of each asks the origin.
    ///
    /// After `Ok`, and while the list of members is the same, no member serves a value that was read at the origin before
    /// the call began: loads and fetches that are in the air are detached, their callers get what they bring, and it is
    /// not kept. Two ways to each member and back, and some ten nanoseconds an entry there. Dropping the future leaves it
    /// open who has done it.
    ///
    /// # Errors
    /// `Unconfirmed` names the members that may hold what they held: all others, and this node, have forgotten.
    /// `Unsupported` where there are other members in a dialect without it; nothing is changed then.
    pub async fn clear(&self) -> Result<(), WriteError> {
        let view = self.shared.around.views.current();
        let what = Request::Clear { group: self.name().clone() };
        if let Some(other) = view.others().next()
            && !self.shared.around.peers.can_say(&what)
        {
            return Err(WriteError::Unsupported { owner: other.name.clone() });
        }
        self.clear_here().await;
        if view.others().next().is_some() {
            self.tell_each(view.others(), &what, Ok(())).await?;
            self.tell_each(view.others(), &what, Ok(())).await?;
            self.clear_here().await;
        }
        Ok(())
    }

    /// Forgets all that this node holds of the group, and what is on its way here.
    pub(crate) async fn clear_here(&self) {
        let group = self.clone();
        let runtime = self.shared.around.runtimes.nearest();
        // A thread that waits for nobody: millions of entries are a moment too long for one that others wait for.
        if runtime.spawn_blocking(move || group.forget_all()).await.is_err() {
            // The runtime is stopping.
            self.forget_all();
        }
    }

    /// Flights first, as of one key: one that lands in between is not kept, or is kept and taken out next.
    fn forget_all(&self) {
        self.shared.loads.detach_all();
        self.shared.fetches.detach_all();
        self.shared.store.clear();
    }
}
