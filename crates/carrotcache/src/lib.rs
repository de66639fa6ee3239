//! x
#![forbid(unsafe_code)]
#![cfg_attr(test, allow(clippy::unwrap_used, reason = "in a test a panic is the report"))]

mod answer;
mod breaker;
mod clock;
mod cluster;
mod error;
mod fault;
mod flight;
mod group;
mod hot;
mod limits;
mod listed;
mod load;
mod loader;
mod message;
#[cfg(feature = "http")]
pub mod net;
mod node;
mod open;
mod peers;
pub mod placement;
mod stats;
mod store;
mod sync;
mod typed;
mod units;
mod value;
mod view;
mod views;
mod write;

pub use crate::answer::{Answer, Ask, Source};
pub use crate::clock::Clock;
pub use crate::cluster::{Cluster, ClusterBuilder};
pub use crate::error::{
    BoxError, GetError, KeyError, LeaveError, OpenError, PeerError, StartError, WriteError, with_causes,
};
pub use crate::group::Group;
pub use crate::hot::Hot;
pub use crate::limits::Limits;
pub use crate::loader::{Loaded, Loader};
pub use crate::open::GroupBuilder;
pub use crate::stats::{
    Counts, EvictionCause, FetchOutcome, GroupSnapshot, HistogramSnapshot, HitSource, LoadOutcome, Refusal,
    Region, Stats,
};
#[cfg(feature = "json")]
pub use crate::typed::Json;
pub use crate::typed::{Codec, Raw, TypedGroup, Utf8};
pub use crate::units::{BadGroupName, BadUnit, ByteSize, GroupName, Key, Span};
pub use crate::value::Value;
pub use crate::view::Member;
