//! The program as its users meet it: real processes, asked over real sockets, killed and stopped by their ids.
//!
//! One binary for all of it, since each one links the program's dependencies anew. How a process is started and
//! watched is in process.rs, how it is asked in client.rs; every other file is one side of what the program promises.

#![allow(clippy::unwrap_used, reason = "in a test a panic is the report")]

mod awaiting;
mod benching;
mod broken_peers;
mod client;
mod command;
mod commands;
mod config;
mod database;
mod demo;
mod directory_origin;
mod frames;
mod fronts;
mod good_client;
mod hostile_bytes;
mod hostile_crowds;
mod hostile_requests;
mod http_origin;
mod late_origin;
mod lost_nodes;
mod many_keys;
mod memory;
mod operators;
mod origin_changes;
mod owner_and_stat;
mod page;
mod process;
mod redis_client;
mod redis_commands;
mod redis_ends;
mod redis_strangers;
mod refusals;
mod replaying;
mod scripted;
mod start;
mod strangers;
mod three_nodes;
mod watching;
