//! Nodes of `carrot` and real Go peers in one ring: `carrot-interop GO_PROGRAM CARROT_PROGRAM`.
//!
//! Starts processes of both programs over an origin of its own that counts, asks all of them for every kind of key,
//! and fails at the first answer that is not right, or where the origin was asked more often than it should.
//! `scripts/interop` builds both programs and runs this; `cargo test` runs what needs no Go.

#![forbid(unsafe_code)]
#![cfg_attr(test, allow(clippy::unwrap_used, reason = "in a test a panic is the report"))]
#![allow(clippy::print_stdout, clippy::print_stderr, reason = "a program that prints its findings")]

mod answers;
mod front;
mod keys;
mod member;
mod migration;
mod origin;
mod outage;
mod refusals;
mod ring;

use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::Arc;

use tokio::signal::unix::{SignalKind, signal};

use crate::answers::Right;
use crate::member::{Kind, Programs};
use crate::ring::Ring;

const USAGE: &str = "usage: carrot-interop GO_PROGRAM CARROT_PROGRAM";

/// Keys as most caches have them, beside the peculiar ones.
const ORDINARY: usize = 10_000;

/// The names under which members ask the origin: Go's first, then ours.
const NAMES: [&str; 3] = ["go", "a", "b"];
const GO: usize = 0;
const OURS: usize = 1;

#[tokio::main]
async fn main() -> ExitCode {
    let arguments: Vec<PathBuf> = std::env::args_os().skip(1).map(PathBuf::from).collect();
    let [go, carrot] = &arguments[..] else {
        eprintln!("{USAGE}");
        return ExitCode::from(2);
    };
    let programs = Arc::new(Programs { go: go.clone(), carrot: carrot.clone() });
    match until_stopped(run(&programs)).await {
        Ok(Right { keys, answers }) => {
            println!("{keys} keys x 3 askers: {answers} answers right, loads == keys");
            ExitCode::SUCCESS
        }
        Err(error) => {
            eprintln!("carrot-interop: {error:#}");
            ExitCode::FAILURE
        }
    }
}

/// A signal drops the run, and with it all its processes.
async fn until_stopped<T>(run: impl Future<Output = anyhow::Result<T>>) -> anyhow::Result<T> {
    let (mut interrupt, mut terminate) = (signal(SignalKind::interrupt())?, signal(SignalKind::terminate())?);
    tokio::select! {
        done = run => done,
        _ = interrupt.recv() => anyhow::bail!("interrupted"),
        _ = terminate.recv() => anyhow::bail!("terminated"),
    }
}

async fn run(programs: &Arc<Programs>) -> anyhow::Result<Right> {
    let right = with_the_pool(programs).await?;
    behind_the_mux(programs).await?;
    migration::one_by_one(programs).await?;
    Ok(right)
}

async fn with_the_pool(programs: &Arc<Programs>) -> anyhow::Result<Right> {
    let mut ring = Ring::start(programs, NAMES, [Kind::GoPool, Kind::AMONG_GO, Kind::AMONG_GO]).await?;
    let right = answers::with_the_pool(&ring, ORDINARY).await?;
    println!("pool: {} keys x 3 askers: {} answers right, loads == keys", right.keys, right.answers);
    answers::hot_keys(&ring).await?;
    refusals::a_missing_key(&ring).await?;
    refusals::a_failing_loader(&ring).await?;
    refusals::writes(&ring).await?;
    refusals::the_empty_key(&ring).await?;
    outage::of_the_go_member(&mut ring, GO, Kind::GoPool).await?;
    outage::of_ours(&mut ring, GO, OURS, Kind::AMONG_GO).await?;
    ring.stop().await?;
    Ok(right)
}

async fn behind_the_mux(programs: &Arc<Programs>) -> anyhow::Result<()> {
    let ring = Ring::start(programs, NAMES, [Kind::GoMux, Kind::AMONG_GO, Kind::AMONG_GO]).await?;
    answers::behind_the_mux(&ring, ORDINARY).await?;
    ring.stop().await
}
