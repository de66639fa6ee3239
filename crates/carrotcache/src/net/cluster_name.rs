//! The name of the cluster that a node is of: two clusters whose lists were mixed up do not serve each other.
//!
//! A node that has one says it with all that it asks of native peers, and where it gives frames. Whoever is asked by a
//! node of another name refuses, on every path; whoever is given frames by one does not take them. A node without a name
//! takes everybody, and is taken by everybody: older ones have none, and neither have the family's.
//! No protection from strangers: a name is no secret, and who says none is not refused.

use std::collections::BTreeSet;
use std::sync::Arc;

use http::HeaderMap;
use http::header::{HeaderName, HeaderValue};

use crate::error::PeerError;
use crate::stats::{NodeStats, Refusal};
use crate::sync::{Mutex, lock};

/// Where the name stands, in requests and answers.
pub(super) const CLUSTER: HeaderName = HeaderName::from_static("x-carrot-cluster");

/// What a node of another cluster is answered, beside that node's name.
pub(super) const OTHER_CLUSTER: &str = "other_cluster";

/// The longest name, in bytes.
const LONGEST: usize = 64;

/// Clusters that are named in the log when they ask. Strangers could say one name after the other.
const NAMED_IN_LOG: usize = 16;

/// Whether a cluster can be called so. A header carries it as it stands.
pub(crate) fn is_fit(name: &str) -> bool {
    (1..=LONGEST).contains(&name.len()) && name.bytes().all(|byte| byte.is_ascii_graphic())
}

/// The name as a header carries it.
pub(super) fn header(name: &str) -> Option<HeaderValue> {
    HeaderValue::from_str(name).ok()
}

/// The name of another cluster than `ours`, where a peer has said one.
pub(super) fn other(ours: Option<&str>, said: Option<&[u8]>) -> Option<Arc<str>> {
    let (ours, said) = (ours?, said?);
    (said != ours.as_bytes() && !said.is_empty()).then(|| shown(said))
}

/// What a peer said, fit for a line of a log.
pub(super) fn shown(said: &[u8]) -> Arc<str> {
    said[..said.len().min(LONGEST)].escape_ascii().to_string().into()
}

/// Whether a peer's answer over HTTP says that it is of another cluster, by what it names as the outcome, and its name.
pub(super) fn refusal(outcome: Option<&[u8]>, cluster: Option<&[u8]>) -> Option<PeerError> {
    let is_it = outcome == Some(OTHER_CLUSTER.as_bytes());
    is_it.then(|| PeerError::OtherCluster(shown(cluster.unwrap_or_default())))
}

/// Who may ask on a port.
pub(super) struct Gate {
    ours: Option<Arc<str>>,
    stats: Arc<NodeStats>,
    /// Those that the log has named.
    named: Mutex<BTreeSet<Arc<str>>>,
}

impl Gate {
    pub(super) fn new(ours: Option<Arc<str>>, stats: Arc<NodeStats>) -> Self {
        Self { ours, stats, named: Mutex::default() }
    }

    /// Whether whoever says this is let in. Nothing is counted.
    pub(super) fn takes(&self, said: Option<&[u8]>) -> bool {
        said.is_none() || other(self.ours.as_deref(), said).is_none()
    }

    /// Our name, where whoever asks is of another cluster and has to be refused.
    pub(super) fn refuse(&self, head: &HeaderMap) -> Option<&str> {
        let ours = self.ours.as_deref()?;
        let theirs = other(Some(ours), head.get(CLUSTER).map(HeaderValue::as_bytes))?;
        self.stats.refusals.add(Refusal::OtherCluster);
        if self.is_news(&theirs) {
            tracing::warn!(
                cluster = ours,
                asked_by = &*theirs,
                "a node of another cluster asks this one, and is refused: one of the two has the other in its list"
            );
        }
        Some(ours)
    }

    fn is_news(&self, theirs: &Arc<str>) -> bool {
        let mut named = lock(&self.named);
        named.len() < NAMED_IN_LOG && named.insert(theirs.clone())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn said(name: &'static str) -> HeaderMap {
        HeaderMap::from_iter([(CLUSTER, HeaderValue::from_static(name))])
    }

    fn gate(ours: Option<&str>) -> Gate {
        Gate::new(ours.map(Arc::from), Arc::default())
    }

    #[test]
    fn a_name_is_a_few_visible_characters() {
        for fit in ["prod", "prod/eu-1:a", &"x".repeat(64)] {
            assert!(is_fit(fit) && header(fit).is_some(), "{fit}");
        }
        for unfit in ["", "a b", " a", "a\n", "ä", &"x".repeat(65)] {
            assert!(!is_fit(unfit), "{unfit}");
        }
    }

    #[test]
    fn only_another_name_is_refused_and_each_time_counted() {
        let gate = gate(Some("prod"));
        for taken in [HeaderMap::new(), said("prod"), said("")] {
            assert!(gate.refuse(&taken).is_none(), "{taken:?}");
        }
        for _ in 0..2 {
            assert_eq!(gate.refuse(&said("test")), Some("prod"));
        }
        assert!(gate.refuse(&said("Prod")).is_some());
        assert_eq!(gate.stats.refusals.snapshot().get(Refusal::OtherCluster), 3);
    }

    #[test]
    fn a_node_without_a_name_takes_everybody() {
        assert!(gate(None).refuse(&said("test")).is_none());
    }

    #[test]
    fn each_name_is_news_once_and_only_so_many_are() {
        let gate = gate(Some("prod"));
        let name = |n: usize| Arc::from(n.to_string());
        assert!((0..NAMED_IN_LOG).all(|n| gate.is_news(&name(n))));
        assert!(!gate.is_news(&name(0)));
        assert!(!gate.is_news(&name(NAMED_IN_LOG)));
    }

    #[test]
    fn what_a_stranger_says_is_shown_short_and_plain() {
        assert_eq!(&*shown(b"a\xff\x1b"), "a\\xff\\x1b");
        assert_eq!(shown(&[b'x'; 4000]).len(), LONGEST);
    }
}
