//! x
#![forbid(unsafe_code)]
#![cfg_attr(test, allow(clippy::unwrap_used, reason = "in a test a panic is the report"))]

mod error;
mod limits;
mod message;
mod peers;
mod units;
mod value;
mod view;

pub use units::{BadGroupName, BadUnit, ByteSize, GroupName, Key, Span};
