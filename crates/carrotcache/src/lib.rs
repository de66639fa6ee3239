//! x
#![forbid(unsafe_code)]
#![cfg_attr(test, allow(clippy::unwrap_used, reason = "in a test a panic is the report"))]

mod clock;
mod error;
mod limits;
mod message;
#[cfg(feature = "http")]
pub mod net;
mod peers;
mod units;
mod value;
mod view;

pub use error::{BoxError, GetError, KeyError, OpenError, PeerError, StartError, WriteError};
pub use limits::Limits;
pub use message::{Found, Reply, Request};
pub use peers::{BoxFuture, Transport};
pub use units::{BadGroupName, BadUnit, ByteSize, GroupName, Key, Span};
pub use value::Value;
pub use view::Member;
