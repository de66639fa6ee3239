//! A distributed read-through cache that lives inside a service.
//!
//! Every key has one owner among the nodes of a cluster. The owner asks the origin (a database, another service)
//! once, however many callers on however many nodes want the key; keys that are asked for often are mirrored where
//! they are read. Nothing runs beside the service: its processes are the cache.
//!
//! ```
//! use std::time::Duration;
//!
//! use carrotcache::{Ask, BoxError, ByteSize, Cluster, Key, Source};
//!
//! #[tokio::main]
//! async fn main() -> Result<(), BoxError> {
//!     let cluster = Cluster::local().start().await?;
//!     let scores = cluster
//!         .group("scores")
//!         .capacity(ByteSize::mib(64))
//!         .ttl(Duration::from_secs(300))
//!         .open(|key: Key| async move {
//!             // Ask the database. `None`: there is no such key.
//!             Ok::<_, BoxError>((key.to_str()? == "Tom").then_some("630"))
//!         })?;
//!
//!     assert_eq!(scores.get("Tom").await?, "630");
//!     assert_eq!(scores.answer("Tom", Ask::default()).await?.source, Source::Memory);
//!     assert!(scores.get("Tim").await.is_err());
//!     Ok(cluster.leave().await?)
//! }
//! ```
//!
//! With the feature `http`, which is on by default, a cluster of several differs in one line. Each node says where
//! its peers reach it, and all say the same list:
//!
//! ```
//! # use carrotcache::{BoxError, Cluster};
//! # #[cfg(feature = "http")]
//! # #[tokio::main]
//! # async fn main() -> Result<(), BoxError> {
//! let cluster = Cluster::bind("127.0.0.1:0".parse()?) // on a real node "10.0.0.1:8001"
//!     .url("http://10.0.0.1:8001")
//!     .peers(["http://10.0.0.1:8001", "http://10.0.0.2:8001", "http://10.0.0.3:8001"])
//!     .start()
//!     .await?;
//! # assert_eq!(cluster.members().len(), 3);
//! # Ok(cluster.leave().await?)
//! # }
//! # #[cfg(not(feature = "http"))]
//! # fn main() {}
//! ```
//!
//! # The way of a get
//!
//! 1. *Whose is the key?* One hash of it, seeded by its group, gives one of 65,536 slots; the list of members alone
//!    gives the slot's owner. See [`placement`].
//! 2. *Is it here?* The group's memory holds what this node owns, and mirrors of others' hot keys. A hit ends here:
//!    it costs no task, no allocation, no clock and no lock (with [`Policy::Lru`], a short one of the key's shard).
//! 3. *Is somebody on the way for it?* All callers of one key share one flight, and one outcome, an error too. A
//!    flight is a task of its own: a caller who goes away strands nobody. It looks into memory once more first.
//! 4. *Does another node own it?* It is asked, and what it refuses is passed on. Only if it cannot be reached is its
//!    stand-in asked, the next in rank, and after that the origin from here, for a value that is not kept.
//! 5. *Do we own it?* The [`Loader`] asks the origin, in its turn and within its deadline. The value is kept unless
//!    it was removed meanwhile.
//!
//! [`Group::get_many`] goes the same way with many keys: it looks for all in one pass, and its flights ask each owner,
//! and an origin that can be asked so ([`Loader::load_many`]), once for all that is missing.
//!
//! A get that came from a peer ends at 2 or 5 and never asks a third node: lists that disagree cost loads, and
//! cannot make two nodes wait for each other.
//!
//! # What is where
//!
//! | floor | files | what they do |
//! |---|---|---|
//! | 7 | `cluster` | [`Cluster`]: starts a node, finds it in its list, leaves |
//! | 6 | `net`, `open` | the only sockets; [`GroupBuilder`] |
//! | 5 | `node`, `typed` | answers peers; [`TypedGroup`] and [`Codec`] |
//! | 4 | `write` | `set` and `remove` |
//! | 3 | `group`, `many`, `whereabouts`, `inventory` | [`Group`]: a get, and many; where a key is; what is here |
//! | 2 | `store`, `views`, `peers`, `load`, `flight`, `loader` | memory, members, asking, loading |
//! | 1 | `placement`, `hot`, `breaker`, `stats`, `units`, … | pure: time and randomness come in, decisions go out |
//!
//! Imports run down only. `ARCHITECTURE.md` in the repository has the map in full and what must stay true.
//!
//! # Features
//!
//! - `http` (default): peers over HTTP/1.1 and protobuf, among them Go's groupcache, its forks and the first carrotCache.
//!   Without it a cluster is this process alone.
//! - `json` (default): the codec `Json`, for groups of any type that serde knows.
//!
//! # What is never done
//!
//! - No global is set or read: no allocator, no tracing subscriber, no registry of groups. Many clusters live in one
//!   process, each on the tokio runtime that [`start`](ClusterBuilder::start) was called on.
//! - Nothing grows without a bound: [`Limits`] and [`GroupBuilder`] name them all, and [`Stats`] counts what was
//!   refused. With a [`Memory`] one number bounds all groups of a node and the values on their way to them.
//! - Bytes from a peer or an origin never cause a panic; a panic of a loader is an error to its callers.
//! - No hit copies a value: a [`Value`] is a handle on the cache's own memory.
//! - No promise is made of copies that other nodes mirror: after a write to one key they live on for at most
//!   their ttl or 60 s.

#![forbid(unsafe_code)]
// Without a wire nobody asks this node, and the half of it that answers peers is idle.
#![cfg_attr(not(feature = "http"), allow(dead_code, reason = "only a wire calls what answers peers"))]
#![cfg_attr(test, allow(clippy::unwrap_used, reason = "in a test a panic is the report"))]

mod answer;
mod breaker;
mod by_authority;
mod change;
mod clear;
mod clock;
mod cluster;
mod dropped_ttl;
mod error;
mod fault;
mod fetch;
mod fetch_many;
mod flight;
mod group;
mod hot;
mod inventory;
mod landings;
mod lanes;
mod limits;
mod listed;
mod load;
mod loader;
mod many;
mod memory;
mod message;
#[cfg(feature = "http")]
pub mod net;
mod node;
mod open;
mod panics;
mod peers;
pub mod placement;
mod policy;
#[cfg(all(doctest, feature = "http"))]
mod readme;
mod room;
mod runtimes;
mod serve;
mod stats;
mod store;
mod sync;
mod typed;
mod units;
mod value;
mod view;
mod views;
mod whereabouts;
mod write;

// In the order in which a user meets them: a cluster, its groups, what they give, what can be set, what is counted,
// and the words for all of it.
pub use crate::cluster::{Cluster, ClusterBuilder};
pub use crate::group::Group;
pub use crate::open::GroupBuilder;

pub use crate::loader::{Loaded, LoadedMany, Loader};
pub use crate::peers::{BoxFuture, PeerRequests, PeerSnapshot, PeerState};

#[cfg(feature = "json")]
pub use crate::typed::Json;
pub use crate::typed::{Codec, Raw, TypedGroup, Utf8};

pub use crate::answer::{Answer, Ask, Source};
pub use crate::error::{
    BoxError, GetError, HeldError, KeyError, LeaveError, OpenError, PeerError, StartError, WriteError,
    with_causes,
};
pub use crate::value::Value;

pub use crate::clock::Clock;
pub use crate::hot::Hot;
pub use crate::limits::Limits;
pub use crate::memory::{Charge, Memory, MemoryFull, MemorySnapshot};
pub use crate::policy::Policy;
pub use crate::room::Room;
pub use crate::units::{BadGroupName, BadUnit, ByteSize, GroupName, Key, Span};
pub use crate::view::Member;

pub use crate::message::{ExpireIf, Holding, Life, SetIf};
pub use crate::whereabouts::{AtMember, Whereabouts};

pub use crate::stats::{
    Counts, Cut, EvictionCause, FetchOutcome, GroupSnapshot, Histogram, HistogramSnapshot, HitSource,
    LoadOutcome, Refusal, Region, Stats,
};
