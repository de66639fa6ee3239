//! x
use std::sync::Arc;

/// A node as membership sees it.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Member {
    /// What placement hashes and users read.
    pub name: Arc<str>,
    /// `host:port`, to connect to.
    pub authority: Arc<str>,
}
