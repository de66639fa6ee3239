//! How to test code that has a cache in it: three nodes in one process, and a clock that the test moves.
//!
//! `cargo test -p carrotcache --example own_clock`; `cargo run` in its place shows the code alone at work.
//!
//! The code under test is `Prices`, a part of some service. Two things make it easy to test: it is given the cluster
//! that it opens its group on, and it is given what it asks for prices. A test passes in a cluster whose clock stands
//! still until it is moved, so that a value expires when the test says so and no test sleeps.

#![cfg_attr(test, allow(clippy::unwrap_used, reason = "in a test a panic is the report"))]
#![allow(clippy::print_stdout, reason = "what an example has to say, it prints")]

use std::future::Future;
use std::time::Duration;

use carrotcache::{BoxError, Cluster, GetError, Group, Key, OpenError, WriteError};

/// How long a price may be quoted after the supplier was asked.
const QUOTED: Duration = Duration::from_secs(600);

/// What an article costs, in cents: the supplier is asked, and seldom.
#[derive(Clone)]
struct Prices {
    group: Group,
}

impl Prices {
    /// Prices as `ask` tells them, cached on `cluster`. Each node of the cluster has to open them.
    fn open<F, Fut>(cluster: &Cluster, ask: F) -> Result<Self, OpenError>
    where
        F: Fn(String) -> Fut + Clone + Send + Sync + 'static,
        Fut: Future<Output = Result<Option<u64>, BoxError>> + Send,
    {
        let load = move |key: Key| {
            let ask = ask.clone();
            async move {
                let cents = ask(key.to_str()?.to_owned()).await?;
                Ok::<_, BoxError>(cents.map(|cents| cents.to_string()))
            }
        };
        Ok(Self { group: cluster.group("prices").ttl(QUOTED).open(load)? })
    }

    /// The price of several of one article; `None` where the supplier does not have it.
    async fn of(&self, pieces: u64, article: &str) -> Result<Option<u64>, BoxError> {
        match self.group.get(article).await {
            Ok(cents) => Ok(Some(pieces * std::str::from_utf8(&cents)?.parse::<u64>()?)),
            Err(GetError::NotFound { .. }) => Ok(None),
            Err(error) => Err(error.into()),
        }
    }

    /// To be called when the supplier has announced another price: the next question is put to him.
    async fn changed(&self, article: &str) -> Result<(), WriteError> {
        self.group.remove(article).await
    }
}

#[tokio::main]
async fn main() -> Result<(), BoxError> {
    let cluster = Cluster::local().start().await?;
    let prices = Prices::open(&cluster, |article: String| async move {
        println!("the supplier is asked for {article}");
        Ok((article == "apple").then_some(35))
    })?;
    for pieces in [1, 10] {
        println!("{pieces}: {:?} cents", prices.of(pieces, "apple").await?);
    }
    println!("a pear: {:?}", prices.of(1, "pear").await?);
    prices.changed("apple").await?;
    println!("asked anew: {:?} cents", prices.of(1, "apple").await?);
    Ok(cluster.leave().await?)
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

    use carrotcache::Clock;

    use super::*;

    /// One millisecond, the finest that a cache's clock tells.
    const MOMENT: Duration = Duration::from_millis(1);

    /// A supplier that the test owns: it has apples, and counts who asks.
    #[derive(Clone, Default)]
    struct Supplier {
        cents: Arc<AtomicU64>,
        asked: Arc<AtomicU64>,
    }

    impl Supplier {
        fn asking(cents: u64) -> Self {
            Self { cents: Arc::new(cents.into()), asked: Arc::default() }
        }

        /// The prices as a node of `cluster` knows them from this supplier.
        fn prices(&self, cluster: &Cluster) -> Prices {
            let supplier = self.clone();
            let ask = move |article: String| {
                let supplier = supplier.clone();
                async move {
                    supplier.asked.fetch_add(1, Relaxed);
                    match &*article {
                        "apple" => Ok(Some(supplier.cents.load(Relaxed))),
                        "quince" => Err(BoxError::from("the supplier does not answer")),
                        _ => Ok(None),
                    }
                }
            };
            Prices::open(cluster, ask).unwrap()
        }

        fn asked(&self) -> u64 {
            self.asked.load(Relaxed)
        }
    }

    /// Three nodes of one cluster on free ports of this machine, whose time is `clock`'s.
    ///
    /// A node's address is known once it listens. So each starts alone, and then all are told of all.
    async fn three_nodes(clock: &Clock) -> Vec<Cluster> {
        let mut nodes = Vec::new();
        for _ in 0..3 {
            let node = Cluster::bind("127.0.0.1:0".parse().unwrap()).clock(clock.clone());
            nodes.push(node.start().await.unwrap());
        }
        let addresses = nodes.iter().map(|node| node.address().unwrap());
        let urls: Vec<String> = addresses.map(|address| format!("http://{address}")).collect();
        for node in &nodes {
            node.set_peers(urls.clone()).await.unwrap();
        }
        nodes
    }

    /// What each of the three says that an apple costs.
    async fn of_an_apple(nodes: &[Prices]) -> Vec<u64> {
        let mut all = Vec::new();
        for node in nodes {
            all.push(node.of(1, "apple").await.unwrap().unwrap());
        }
        all
    }

    // Most tests need no more than this: one node, no sockets, and a clock of their own.
    #[tokio::test]
    async fn several_pieces_cost_several_times_as_much_and_ask_once() {
        let cluster = Cluster::local().clock(Clock::manual()).start().await.unwrap();
        let supplier = Supplier::asking(35);
        let prices = supplier.prices(&cluster);
        assert_eq!(prices.of(1, "apple").await.unwrap(), Some(35));
        assert_eq!(prices.of(10, "apple").await.unwrap(), Some(350));
        assert_eq!(supplier.asked(), 1);
        assert_eq!(prices.of(1, "pear").await.unwrap(), None);
    }

    #[tokio::test]
    async fn three_nodes_ask_once_and_again_when_the_time_of_a_price_is_over() {
        let clock = Clock::manual();
        let nodes = three_nodes(&clock).await;
        let supplier = Supplier::asking(35);
        let prices: Vec<_> = nodes.iter().map(|node| supplier.prices(node)).collect();

        assert_eq!(of_an_apple(&prices).await, [35, 35, 35]);
        assert_eq!(supplier.asked(), 1, "the node that owns the key asked for all three");

        supplier.cents.store(40, Relaxed);
        clock.advance(QUOTED - MOMENT);
        assert_eq!(of_an_apple(&prices).await, [35, 35, 35], "to the last moment");
        assert_eq!(supplier.asked(), 1);

        clock.advance(MOMENT);
        assert_eq!(of_an_apple(&prices).await, [40, 40, 40], "and not a moment longer");
        assert_eq!(supplier.asked(), 2);
    }

    #[tokio::test]
    async fn a_price_that_was_announced_on_one_node_is_told_by_all() {
        let nodes = three_nodes(&Clock::manual()).await;
        let supplier = Supplier::asking(35);
        let prices: Vec<_> = nodes.iter().map(|node| supplier.prices(node)).collect();
        for (announcer, cents) in prices.iter().zip([40, 41, 42]) {
            of_an_apple(&prices).await;
            supplier.cents.store(cents, Relaxed);
            announcer.changed("apple").await.unwrap();
            assert_eq!(of_an_apple(&prices).await, [cents, cents, cents]);
        }
        assert_eq!(supplier.asked(), 4);
    }

    #[tokio::test]
    async fn a_supplier_that_fails_is_named_and_asked_again_the_next_time() {
        let nodes = three_nodes(&Clock::manual()).await;
        let supplier = Supplier::default();
        let prices: Vec<_> = nodes.iter().map(|node| supplier.prices(node)).collect();
        for (asked, prices) in (1..).zip(&prices) {
            let failed = prices.of(1, "quince").await.unwrap_err();
            let line = carrotcache::with_causes(&*failed);
            assert!(line.ends_with("the supplier does not answer"), "{line}");
            assert_eq!(supplier.asked(), asked, "nothing was kept of it");
        }
    }
}
