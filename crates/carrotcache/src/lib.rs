//! x
#![forbid(unsafe_code)]
#![cfg_attr(test, allow(clippy::unwrap_used, reason = "in a test a panic is the report"))]

mod breaker;
mod error;
mod fault;
mod flight;
mod hot;
mod limits;
mod message;
mod peers;
mod stats;
mod sync;
mod units;
mod value;
mod view;
