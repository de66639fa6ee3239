//! Peers asked over HTTP/1.1: one request at a time on each of a few kept connections.
//!
//! How a request is written and its reply is read is `call.rs`'s, by the rules of a row; the connections are `pool.rs`'s,
//! and what goes over one of them `exchange.rs`'s.
//! Shared by all groups of a node. Never decides what a failure means.

mod call;
mod exchange;
mod lane;
pub(super) mod pool;
pub(super) mod response;

use std::fmt;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Instant;

use http::HeaderValue;

use crate::by_authority::ByAuthority;
use crate::clock;
use crate::error::PeerError;
use crate::limits::Limits;
use crate::memory::Charge;
use crate::message::{Change, Reply, Request};
use crate::net::client::call::{Call, can_say};
use crate::net::client::pool::{Pool, Times};
use crate::net::cluster_name;
use crate::net::dialect::{Dialect, Row};
use crate::peers::{BoxFuture, Customs, Line, Transport};
use crate::view::Member;

/// Asks peers over HTTP/1.1, in one dialect.
pub(crate) struct HttpTransport {
    row: &'static Row,
    limits: Arc<Limits>,
    /// What this node's cluster is called.
    cluster: Option<HeaderValue>,
    // std Mutex: held to look up one pool, once for each request.
    pools: Mutex<ByAuthority<Arc<Pool>>>,
}

impl fmt::Debug for HttpTransport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("HttpTransport").field("dialect", &self.row.dialect).finish_non_exhaustive()
    }
}

impl HttpTransport {
    /// A transport without connections; they are made when they are needed.
    pub(crate) fn new(dialect: Dialect, limits: Limits) -> Self {
        Self { row: dialect.row(), limits: Arc::new(limits), cluster: None, pools: Mutex::default() }
    }

    /// One that says of which cluster this node is. Peers of the family know of none, and are not told.
    pub(crate) fn of_cluster(mut self, name: Option<&str>) -> Self {
        self.cluster = name.filter(|_| self.row.dialect == Dialect::Native).and_then(cluster_name::header);
        self
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, ByAuthority<Arc<Pool>>> {
        self.pools.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn pool(&self, member: &Member) -> Arc<Pool> {
        let mut pools = self.lock();
        if let Some(pool) = pools.get(&member.authority) {
            return pool.clone();
        }
        let pool = Pool::new(member.authority.clone(), self.row, self.limits.clone(), self.cluster.as_ref());
        let pool = Arc::new(pool);
        pools.insert(member.authority.clone(), pool.clone());
        pool
    }
}

impl Transport for HttpTransport {
    fn ask<'a>(
        &'a self,
        to: &'a Member,
        what: Request,
        deadline: Instant,
    ) -> BoxFuture<'a, Result<Reply, PeerError>> {
        Box::pin(async move {
            // What is sent is a copy, made before there is a connection for it.
            let _sent = match &what {
                Request::Set { value, .. } | Request::Change { change: Change::Set { value, .. }, .. } => {
                    self.limits.memory.charge_of(value.len() as u64)?
                }
                _ => Charge::default(),
            };
            let Some(call) = Call::new(self.row, what) else { return Ok(Reply::Unsupported) };
            let began = clock::now();
            let pool = self.pool(to);
            // A wait for a connection of ours says nothing of the peer, however long it was.
            let Ok(place) = clock::timeout_at(deadline, pool.place()).await else {
                return Err(PeerError::Busy(self.limits.connections_per_peer));
            };
            let _place = place?;
            match clock::timeout_at(deadline, pool.exchange(call, Times { began, deadline })).await {
                Ok(result) => result,
                Err(clock::Elapsed) => {
                    Err(PeerError::Timeout(clock::in_whole_ms(deadline.saturating_duration_since(began))))
                }
            }
        })
    }

    /// One stands while a connection is idle.
    fn line(&self, to: &Member) -> Option<Arc<dyn Line>> {
        let pool = self.lock().get(&to.authority)?.clone();
        if pool.can_send() { Some(pool) } else { None }
    }

    fn customs(&self) -> Customs {
        self.row.customs
    }

    fn dialect(&self) -> &'static str {
        self.row.name
    }

    fn can_say(&self, what: &Request) -> bool {
        can_say(self.row, what)
    }

    /// Lets go of the connections to all but these members. Requests under way are not disturbed.
    fn retain(&self, members: &[Member]) {
        self.lock().retain(|authority, _| members.iter().any(|member| member.authority == *authority));
    }
}

#[cfg(test)]
mod tests;
