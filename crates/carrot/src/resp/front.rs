//! What all connections of the Redis front share: the groups, the password, the limits, the counts.

use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use carrotcache::net::intake::Intake;
use carrotcache::{Cluster, Group, GroupName, Limits};

use crate::auth::Gate;
use crate::resp::clients::Clients;
use crate::resp::keyspace::Keyspace;
use crate::resp::slowlog::Slowlog;

/// The largest values whose requests may be held at once, of all connections: as at the HTTP front.
const VALUES_AT_ONCE: u64 = 32;

/// The same of what is queued between MULTI and EXEC. Apart from requests, since it may stay for as long as a client likes,
/// and less.
const VALUES_QUEUED: u64 = 8;

/// The same of what waits for the replies before it. Past them a value is asked for again in its turn.
const VALUES_STANDING: u64 = 8;

/// For a connection that sends nothing and waits for nothing. Clients keep theirs open for long.
const IDLE_TIMEOUT: Duration = Duration::from_secs(300);

/// For a client to send the rest of a request, or to take a part of its replies.
const PART_TIMEOUT: Duration = Duration::from_secs(30);

/// What a front is made of.
pub struct FrontPlan {
    /// The node.
    pub cluster: Cluster,
    /// Its groups.
    pub groups: Vec<Group>,
    /// Whose keys may stand without their group's name.
    pub default_group: Option<GroupName>,
    /// Who may ask.
    pub gate: Gate,
    /// What the node allows.
    pub limits: Limits,
}

/// See the file's header.
pub struct Front {
    /// The node.
    pub cluster: Cluster,
    /// Its groups by the names in keys.
    pub keyspace: Keyspace,
    /// Who may ask.
    pub gate: Gate,
    /// Who is connected.
    pub clients: Arc<Clients>,
    /// What took long.
    pub slowlog: Slowlog,
    /// What was asked.
    pub counts: Counts,
    /// Of all requests that are being read.
    pub intake: Intake,
    /// Of all that is queued between MULTI and EXEC.
    pub queued: Intake,
    /// Of all replies that wait for those before them.
    pub standing: Intake,
    /// Of all long replies that are not taken yet.
    pub outgo: Intake,
    /// What one client may do.
    pub allowed: Allowed,
    /// When it began to answer.
    pub since: Instant,
}

/// What one client may do.
#[derive(Clone, Copy, Debug)]
pub struct Allowed {
    /// Connections open at once.
    pub connections: usize,
    /// The longest string of a request, in bytes: a value, or more than any key.
    pub bulk: i64,
    /// The longest request, in bytes.
    pub request: usize,
    /// For the first byte, and for the password where there is one.
    pub greeting_timeout: Duration,
    /// For the rest of a request, or for a part of the replies to be taken.
    pub part_timeout: Duration,
    /// Between two requests.
    pub idle_timeout: Duration,
}

/// What was asked so far.
#[derive(Debug, Default)]
pub struct Counts {
    /// Commands that were read whole, unknown ones among them.
    pub commands: AtomicU64,
    /// Replies that are errors.
    pub errors: AtomicU64,
    /// Writes to clients.
    pub writes: AtomicU64,
    /// Reads that were done again in their turn, since there was no room for what they gave to wait for it.
    pub repeats: AtomicU64,
    /// What the rate was last reckoned from, and what it was.
    looked: Mutex<Option<Look>>,
}

/// How many commands there were at a moment, and how many a second before it.
#[derive(Clone, Copy, Debug)]
struct Look {
    at: Instant,
    commands: u64,
    rate: u64,
}

/// For how long a rate is not reckoned anew.
const RATE_STANDS: Duration = Duration::from_millis(100);

/// The same, standing still.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct CountsSnapshot {
    /// See [`Counts`].
    pub commands: u64,
    /// See [`Counts`].
    pub errors: u64,
}

impl Counts {
    /// What was counted so far.
    pub fn snapshot(&self) -> CountsSnapshot {
        CountsSnapshot { commands: self.commands.load(Relaxed), errors: self.errors.load(Relaxed) }
    }

    /// Commands a second, since somebody last asked; nothing where nobody has.
    pub fn rate(&self) -> u64 {
        let (now, commands) = (Instant::now(), self.commands.load(Relaxed));
        // Held for a few divisions, by whoever asks for INFO.
        let mut looked = self.looked.lock().unwrap_or_else(PoisonError::into_inner);
        let rate = match *looked {
            None => 0,
            Some(look) if now - look.at < RATE_STANDS => return look.rate,
            Some(look) => {
                (commands.saturating_sub(look.commands) as f64 / (now - look.at).as_secs_f64()).round() as u64
            }
        };
        *looked = Some(Look { at: now, commands, rate });
        rate
    }
}

impl Front {
    /// A front as planned.
    pub fn new(plan: FrontPlan) -> Arc<Self> {
        let FrontPlan { cluster, groups, default_group, gate, limits } = plan;
        let value = limits.value.as_u64();
        let values =
            |most: u64| Intake::new(value.saturating_mul(most)).charged_to(cluster.memory().clone(), value);
        let (intake, outgo) = (values(VALUES_AT_ONCE), values(VALUES_AT_ONCE));
        let (queued, standing) = (values(VALUES_QUEUED), values(VALUES_STANDING));
        let allowed = Allowed {
            connections: limits.connections,
            bulk: i64::try_from(value.max(Limits::KEY_MAX.as_u64() * 2)).unwrap_or(i64::MAX),
            // Some large values, or as many keys as fit into it.
            request: usize::try_from(value.saturating_mul(4)).unwrap_or(usize::MAX).max(16 << 20),
            greeting_timeout: limits.header_timeout,
            part_timeout: PART_TIMEOUT,
            idle_timeout: IDLE_TIMEOUT,
        };
        Arc::new(Self {
            keyspace: Keyspace::new(groups, default_group.as_ref()),
            cluster,
            gate,
            clients: Arc::default(),
            slowlog: Slowlog::default(),
            counts: Counts::default(),
            intake,
            queued,
            standing,
            outgo,
            allowed,
            since: Instant::now(),
        })
    }
}
