//! Rows of a database as values of a type: orders by their number, each with a time to live of its own.
//!
//! `cargo run -p carrotcache --example typed_rows`; it ends by itself, and says how often the database was asked.
//!
//! The database is SQLite, so that nothing has to be installed; it blocks, so it is asked on threads that may block.
//! Of Postgres, whose client is async, two lines differ: see `Database::order`.

#![allow(clippy::print_stdout, reason = "what an example has to say, it prints")]

use std::sync::atomic::{AtomicU32, Ordering::Relaxed};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use carrotcache::{Ask, BoxError, ByteSize, Cluster, GetError, Json, Key, Loaded, OpenError, TypedGroup};
use rusqlite::{Connection, OptionalExtension, Row};
use serde::{Deserialize, Serialize};

/// A row. Columns that may be null are options; serde writes and reads them as the bytes that are cached.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
struct Order {
    number: i64,
    customer: String,
    cents: i64,
    /// The carrier's number, once it is on its way.
    parcel: Option<String>,
}

impl Order {
    fn of_row(row: &Row<'_>) -> rusqlite::Result<Self> {
        Ok(Self {
            number: row.get("number")?,
            customer: row.get("customer")?,
            cents: row.get("cents")?,
            parcel: row.get("parcel")?,
        })
    }

    /// What is on its way changes no more; what is not may be changed by its customer at any time.
    fn ttl(&self) -> Duration {
        const MINUTE: Duration = Duration::from_secs(60);
        MINUTE * if self.parcel.is_some() { 24 * 60 } else { 5 }
    }
}

/// The table of orders, which counts how often it is asked.
struct Database {
    // std Mutex: held for one statement, by a thread that may block.
    connection: Mutex<Connection>,
    asked: AtomicU32,
}

impl Database {
    fn open() -> rusqlite::Result<Self> {
        let connection = Connection::open_in_memory()?;
        connection.execute_batch(
            "create table orders(number integer primary key, customer text not null, cents integer not null,
                 parcel text);
             insert into orders values (7, 'Tom', 2590, null), (8, 'Sam', 450, 'RR 123')",
        )?;
        Ok(Self { connection: Mutex::new(connection), asked: AtomicU32::new(0) })
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Connection> {
        self.connection.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The order of that number, if there is one.
    ///
    /// With tokio-postgres it is an `async fn` that blocks no thread, `Order::of_row` takes that crate's row, and the
    /// two lines of the query are
    ///
    /// ```text
    /// let query = "select * from orders where number = $1";
    /// client.query_opt(query, &[&number]).await?.as_ref().map(Order::of_row).transpose()
    /// ```
    fn order(&self, number: i64) -> Result<Option<Order>, rusqlite::Error> {
        self.asked.fetch_add(1, Relaxed);
        let query = "select * from orders where number = ?1";
        self.lock().query_row(query, [number], Order::of_row).optional()
    }

    fn send(&self, number: i64, parcel: &str) -> rusqlite::Result<()> {
        let update = "update orders set parcel = ?2 where number = ?1";
        self.lock().execute(update, (number, parcel)).map(|_| ())
    }
}

/// What the rest of a service sees: orders by number, and what can be done with one.
struct Orders {
    group: TypedGroup<Order>,
    database: Arc<Database>,
}

impl Orders {
    fn open(cluster: &Cluster, database: Arc<Database>) -> Result<Self, OpenError> {
        let origin = database.clone();
        let group =
            cluster.group("orders").codec(Json).capacity(ByteSize::mib(16)).open(move |key: Key| {
                let origin = origin.clone();
                async move {
                    // Only numbers are ever asked for, by `get`: another key is a fault of ours, and an error.
                    let number: i64 = key.to_str()?.parse()?;
                    let order = tokio::task::spawn_blocking(move || origin.order(number)).await??;
                    Ok::<_, BoxError>(order.map(|order| {
                        let ttl = order.ttl();
                        Loaded::new(order).ttl(ttl)
                    }))
                }
            })?;
        Ok(Self { group, database })
    }

    async fn get(&self, number: i64) -> Result<Order, GetError> {
        self.group.get(number.to_string()).await
    }

    /// How much longer the order may be served from the cache.
    async fn ttl(&self, number: i64) -> Result<Option<Duration>, GetError> {
        Ok(self.group.answer(number.to_string(), Ask::default()).await?.ttl)
    }

    /// Notes that an order is on its way: in the database first, and only then is the cached row forgotten.
    ///
    /// The other way round, a get between the two would load the old row and keep it. And it is `remove`, not `set`:
    /// of two writers each might set what the other has overwritten already, and a remove has nothing to be wrong
    /// about. The next get loads the row as it is.
    async fn send(&self, number: i64, parcel: String) -> Result<(), BoxError> {
        let database = self.database.clone();
        tokio::task::spawn_blocking(move || database.send(number, &parcel)).await??;
        Ok(self.group.remove(number.to_string()).await?)
    }
}

#[tokio::main]
async fn main() -> Result<(), BoxError> {
    let database = Arc::new(Database::open()?);
    let cluster = Cluster::local().start().await?;
    let orders = Orders::open(&cluster, database.clone())?;
    let asked = || database.asked.load(Relaxed);

    for _ in 0..1000 {
        orders.get(7).await?;
    }
    println!("{:?}", orders.get(7).await?);
    println!("after 1001 gets the database was asked {} time", asked());

    println!("{:?}", orders.get(8).await?);
    for number in [7, 8] {
        let left = orders.ttl(number).await?.unwrap_or_default();
        println!("order {number} is served for {:.0} minutes", left.as_secs_f64() / 60.0);
    }

    orders.send(7, "RR 124".to_owned()).await?;
    println!("{:?}", orders.get(7).await?);
    if let Err(missing) = orders.get(9).await {
        println!("{missing}");
    }
    println!("in all the database was asked {} times", asked());
    Ok(cluster.leave().await?)
}
