//! The first twenty lines: a cluster of one, and two gets of a key whose origin is slow.
//!
//! `cargo run -p carrotcache --example quickstart`

#![allow(clippy::print_stdout, reason = "what an example has to say, it prints")]

use std::convert::Infallible;
use std::time::{Duration, Instant};

use carrotcache::{Ask, ByteSize, Cluster, Key};

#[tokio::main]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    // With `.peers([…])`, the same list on each node, it is a cluster of several.
    let cluster = Cluster::bind("127.0.0.1:0".parse()?).start().await?;
    let scores = cluster
        .group("scores")
        .capacity(ByteSize::mib(64))
        .ttl(Duration::from_secs(300))
        .open(|key: Key| async move { score(&key).await })?;

    for _ in 0..2 {
        let asked = Instant::now();
        let answer = scores.answer("Tom", Ask::default()).await?;
        let value = String::from_utf8_lossy(&answer.value);
        println!("Tom has {value}, from {:?}, in {:?}", answer.source, asked.elapsed());
    }
    Ok(cluster.leave().await?)
}

/// Stands for a database that takes its time.
async fn score(key: &Key) -> Result<Option<&'static str>, Infallible> {
    tokio::time::sleep(Duration::from_millis(100)).await;
    Ok((key.as_bytes() == b"Tom").then_some("630"))
}
