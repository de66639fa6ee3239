//! The view in force, and what is known of peers whose list is another.
//!
//! Two lists that disagree cost loads, never an answer: a get that came from a peer is answered where it arrived.
//! But somebody should know, so the first value that arrives with another view's hash has its giver asked for its
//! list, and the entries that differ are named once in the log.

use std::collections::{BTreeSet, HashMap};
use std::sync::Arc;
use std::time::Duration;

use arc_swap::{ArcSwap, Guard};

use crate::clock;
use crate::message::{Reply, Request};
use crate::peers::Peers;
use crate::stats::NodeStats;
use crate::sync::{Mutex, lock};
use crate::view::{Member, View};

/// For a peer to name its members; it is a line in the log, not a get, that waits for it.
const ASK: Duration = Duration::from_secs(5);

/// The one place where a node's view is kept.
pub(crate) struct Views {
    current: ArcSwap<View>,
    /// The last foreign hash seen from each peer, by authority; bounded by the view, see `replace`.
    foreign: Mutex<HashMap<Arc<str>, Option<u64>>>,
    stats: Arc<NodeStats>,
}

impl Views {
    pub(crate) fn new(view: View, stats: Arc<NodeStats>) -> Self {
        Self { current: ArcSwap::from_pointee(view), foreign: Mutex::new(HashMap::new()), stats }
    }

    /// The view in force, for the length of one decision. Do not hold it over an await.
    pub(crate) fn load(&self) -> Guard<Arc<View>> {
        self.current.load()
    }

    /// The view in force, to keep.
    pub(crate) fn current(&self) -> Arc<View> {
        self.current.load_full()
    }

    /// Puts another view in force.
    pub(crate) fn replace(&self, view: View) {
        self.current.store(Arc::new(view));
        lock(&self.foreign).clear();
    }

    /// Takes note of the view that `from` answered under. Gives true if it is another than ours, and news.
    pub(crate) fn note(&self, from: &Member, hash: Option<u64>) -> bool {
        let Some(hash) = hash else { return false };
        if hash == self.load().hash() {
            return false;
        }
        self.disagrees(from, Some(hash))
    }

    /// Takes note that `from` goes by another list, whose hash may not be known. Gives true if that is news.
    pub(crate) fn disagrees(&self, from: &Member, hash: Option<u64>) -> bool {
        self.stats.view_mismatches.add(1);
        lock(&self.foreign).insert(from.authority.clone(), hash) != Some(hash)
    }

    /// Asks `from` for its members and names those that differ, once, in the log.
    pub(crate) async fn explain(&self, peers: &Peers, from: &Member) {
        let Ok(Reply::Members(theirs)) = peers.ask(from, Request::Members, clock::now() + ASK).await else {
            tracing::warn!(peer = %from.name, "a peer counts other members than this node");
            return;
        };
        let (unknown, missing) = differences(&self.current(), &theirs);
        if unknown.is_empty() && missing.is_empty() {
            tracing::warn!(
                peer = %from.name,
                "a peer counts the same members and places keys otherwise, or lists them in another order: keys whose \
                 owners differ are loaded more than once"
            );
            return;
        }
        tracing::warn!(
            peer = %from.name, only_there = ?unknown, only_here = ?missing,
            "a peer counts other members than this node: keys whose owners differ are loaded more than once"
        );
    }
}

/// The names that only they have, and those that only we have.
fn differences(ours: &View, theirs: &[Arc<str>]) -> (Vec<String>, Vec<String>) {
    let ours: BTreeSet<&str> = ours.members().iter().map(|member| &*member.name).collect();
    let theirs: BTreeSet<&str> = theirs.iter().map(|name| &**name).collect();
    let names = |set: Vec<&&str>| set.into_iter().map(|name| (*name).escape_debug().to_string()).collect();
    (names(theirs.difference(&ours).collect()), names(ours.difference(&theirs).collect()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::placement::PlacementKind;

    fn member(name: &str) -> Member {
        Member { name: name.into(), authority: name.into() }
    }

    fn view(names: &[&str]) -> View {
        View::new(names.iter().map(|name| member(name)).collect(), None, PlacementKind::Slots).unwrap()
    }

    #[test]
    fn another_view_is_news_once_and_counted_each_time() {
        let stats = Arc::new(NodeStats::default());
        let views = Views::new(view(&["a", "b"]), stats.clone());
        let (ours, other) = (views.current().hash(), view(&["a", "c"]).hash());
        assert!(!views.note(&member("b"), None));
        assert!(!views.note(&member("b"), Some(ours)));
        assert!(views.note(&member("b"), Some(other)));
        assert!(!views.note(&member("b"), Some(other)));
        assert!(views.note(&member("a"), Some(other)));
        assert_eq!(stats.view_mismatches.get(), 3);
        views.replace(view(&["a", "b", "d"]));
        assert!(views.note(&member("b"), Some(other)), "a new view of ours is compared anew");
    }

    #[test]
    fn the_entries_that_differ_are_named_on_both_sides() {
        let (unknown, missing) = differences(&view(&["a", "b"]), &["b".into(), "c\n".into()]);
        assert_eq!((unknown, missing), (vec!["c\\n".to_owned()], vec!["a".to_owned()]));
    }
}
