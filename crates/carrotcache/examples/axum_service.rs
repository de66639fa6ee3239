//! A web service with the cache inside it: axum answers `/users/{id}`, and the service's processes are the cluster.
//!
//! `cargo run -p carrotcache --example axum_service`, then type what it prints; Ctrl-C ends it. Two processes of one
//! cluster are told of each other, and of the database they share:
//!
//! ```text
//! A=http://127.0.0.1:8001 B=http://127.0.0.1:8002
//! cargo run -p carrotcache --example axum_service -- --database users.db --peers $A,$B
//! cargo run -p carrotcache --example axum_service -- --database users.db --peers $A,$B \
//!     --http 127.0.0.1:8081 --peer 127.0.0.1:8002
//! ```
//!
//! To look at: `show`, which answers from the group; `write` and `delete`, which tell the database first and the cache
//! second; `status`, where errors become status codes; `run`, which leaves in the order that loses nothing.
//!
//! In production one thing has to be added in front. `axum::serve` gives a client as long as it likes to send a
//! request's header (tokio-rs/axum#2741), and takes any number of connections. Stand behind a proxy that limits both,
//! or serve the routes by `carrotcache::net::listen::Listener`, which does too: they are a `tower_service::Service`, and
//! the closure that it takes is one call of them. And bind the peer port to a network of the cluster's own: whoever
//! reaches it can set values.

#![allow(clippy::print_stdout, clippy::print_stderr, reason = "what an example has to say, it prints")]

use std::net::SocketAddr;
use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;

use axum::extract::{Path, State};
use axum::http::{StatusCode, header::RETRY_AFTER};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use axum::{Json, Router};
use carrotcache::{BoxError, Cluster, GetError, Key, OpenError, TypedGroup, WriteError, with_causes};
use rusqlite::{Connection, OptionalExtension};
use serde::{Deserialize, Serialize};
use tokio::net::TcpListener;
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::{Mutex, oneshot};
use tokio::time::timeout;

/// How long a user may be served after it was loaded.
const TTL: Duration = Duration::from_secs(60);
/// How long the database may take.
const PATIENCE: Duration = Duration::from_secs(2);
/// How long a stop waits for what is in flight, for clients and for peers each.
const DRAIN: Duration = Duration::from_secs(10);

/// What is served.
#[derive(Clone, Serialize, Deserialize)]
struct User {
    name: String,
    score: u32,
}

/// What the handlers share. Both are handles, so a clone is cheap.
#[derive(Clone)]
struct Service {
    users: TypedGroup<User>,
    database: Database,
}

#[tokio::main]
async fn main() -> ExitCode {
    match run().await {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("axum_service: {}", with_causes(&*error));
            ExitCode::from(2)
        }
    }
}

async fn run() -> Result<(), BoxError> {
    let flags = Flags::read(std::env::args().skip(1))?;
    let database = Database::open(&flags.database)?;
    let cluster = Cluster::bind(flags.peer).peers(flags.peers).drain(DRAIN).start().await?;
    let users = open_users(&cluster, database.clone())?;
    let listener = TcpListener::bind(flags.http).await?;
    say(&cluster, listener.local_addr()?);

    serve(listener, routes(Service { users, database })).await?;
    // Last: until here other processes may still ask this one, and are answered.
    cluster.leave().await?;
    println!("left");
    Ok(())
}

/// The group of users. Each process opens it, and the one that owns a user asks the database for all.
fn open_users(cluster: &Cluster, database: Database) -> Result<TypedGroup<User>, OpenError> {
    // As many loads at once as the database has connections. Who waits for a turn for half the deadline is told that
    // we are busy, and those who ask for one user share one load.
    let group = cluster.group("users").codec(carrotcache::Json).ttl(TTL).load_deadline(PATIENCE).max_loads(1);
    group.open(move |key: Key| {
        let database = database.clone();
        async move { database.user(key.to_str()?.parse()?).await }
    })
}

fn routes(service: Service) -> Router {
    let user = get(show).put(write).delete(delete);
    Router::new().route("/users/{id}", user).route("/healthz", get(|| async { "ok\n" })).with_state(service)
}

async fn show(State(service): State<Service>, Path(id): Path<u32>) -> Result<Json<User>, Refused> {
    Ok(Json(service.users.get(id.to_string()).await?))
}

/// The database first: a get that comes between the two gives the old user, and nobody keeps it for longer than until
/// the `set` is done.
///
/// Two who write one user at once may `set` in another order than they wrote, and the older one is served until its
/// ttl. Where that matters, `remove` in place of `set`: the next get loads what the database has.
async fn write(
    State(service): State<Service>,
    Path(id): Path<u32>,
    Json(user): Json<User>,
) -> Result<StatusCode, Refused> {
    service.database.write(id, user.clone()).await?;
    service.users.set(id.to_string(), user).await?;
    Ok(StatusCode::NO_CONTENT)
}

async fn delete(State(service): State<Service>, Path(id): Path<u32>) -> Result<StatusCode, Refused> {
    service.database.delete(id).await?;
    service.users.remove(id.to_string()).await?;
    Ok(StatusCode::NO_CONTENT)
}

/// What a get that gave no user is to an HTTP client.
fn status(error: &GetError) -> StatusCode {
    match error {
        GetError::NotFound { .. } => StatusCode::NOT_FOUND,
        GetError::Busy { .. } | GetError::Leaving => StatusCode::SERVICE_UNAVAILABLE,
        GetError::Deadline { .. } => StatusCode::GATEWAY_TIMEOUT,
        // The database failed, here or where the user's owner is, or gave what cannot be served.
        _ => StatusCode::BAD_GATEWAY,
    }
}

/// A request that was not done: clients are told its status, and the log why.
struct Refused(StatusCode);

impl From<GetError> for Refused {
    fn from(error: GetError) -> Self {
        let status = status(&error);
        if status != StatusCode::NOT_FOUND {
            eprintln!("{}", with_causes(&error));
        }
        Self(status)
    }
}

/// The database has it and the cache may not: an old user may be served until its ttl. Both can be done once more
/// without harm, so the client is asked to.
impl From<WriteError> for Refused {
    fn from(error: WriteError) -> Self {
        eprintln!("{}", with_causes(&error));
        Self(StatusCode::SERVICE_UNAVAILABLE)
    }
}

impl From<BoxError> for Refused {
    fn from(error: BoxError) -> Self {
        eprintln!("the database failed: {}", with_causes(&*error));
        Self(StatusCode::BAD_GATEWAY)
    }
}

impl IntoResponse for Refused {
    fn into_response(self) -> Response {
        let reason = format!("{}\n", self.0.canonical_reason().unwrap_or_default());
        match self.0 {
            StatusCode::SERVICE_UNAVAILABLE => (self.0, [(RETRY_AFTER, "1")], reason).into_response(),
            status => (status, reason).into_response(),
        }
    }
}

/// Answers clients until a signal comes, and after it those who are being answered.
async fn serve(listener: TcpListener, routes: Router) -> Result<(), BoxError> {
    let (stop, stopped) = oneshot::channel::<()>();
    let stopped = async move {
        // The sender says nothing: that it is gone is the word.
        let _ = stopped.await;
    };
    let serving = tokio::spawn(axum::serve(listener, routes).with_graceful_shutdown(stopped).into_future());
    signalled().await?;
    drop(stop);
    // axum waits for its last connection without end, and a client may keep one for as long as it likes.
    if let Ok(served) = timeout(DRAIN, serving).await {
        served??;
    }
    Ok(())
}

/// Until somebody wants this process to end: Ctrl-C, or whatever runs it.
async fn signalled() -> std::io::Result<()> {
    let (mut interrupt, mut terminate) = (signal(SignalKind::interrupt())?, signal(SignalKind::terminate())?);
    tokio::select! {
        _ = interrupt.recv() => {}
        _ = terminate.recv() => {}
    }
    Ok(())
}

/// Printed once everything accepts, so that whoever started us knows when and where to ask.
fn say(cluster: &Cluster, http: SocketAddr) {
    if let Some(peer) = cluster.address() {
        println!("peer {peer}");
    }
    println!("http {http}");
    println!();
    println!("  curl -i http://{http}/users/1 --json '{{\"name\":\"Tom\",\"score\":630}}' -X PUT");
    println!("  curl -i http://{http}/users/1");
    println!("  curl -i http://{http}/users/1 -X DELETE");
}

/// The truth, which all processes share: one table of SQLite, over one connection.
#[derive(Clone)]
struct Database(Arc<Mutex<Connection>>);

impl Database {
    fn open(file: &str) -> rusqlite::Result<Self> {
        let connection = Connection::open(file)?;
        connection.execute_batch(
            "create table if not exists users(id integer primary key, name text not null, score integer not null)",
        )?;
        Ok(Self(Arc::new(Mutex::new(connection))))
    }

    async fn user(&self, id: u32) -> Result<Option<User>, BoxError> {
        self.ask(move |connection| {
            let query = "select name, score from users where id = ?1";
            let user = |row: &rusqlite::Row<'_>| Ok(User { name: row.get(0)?, score: row.get(1)? });
            connection.query_row(query, [id], user).optional()
        })
        .await
    }

    async fn write(&self, id: u32, user: User) -> Result<(), BoxError> {
        let insert = "insert or replace into users values (?1, ?2, ?3)";
        let written = self.ask(move |connection| connection.execute(insert, (id, user.name, user.score)));
        timeout(PATIENCE, written).await??;
        Ok(())
    }

    async fn delete(&self, id: u32) -> Result<(), BoxError> {
        let deleted = self.ask(move |connection| connection.execute("delete from users where id = ?1", [id]));
        timeout(PATIENCE, deleted).await??;
        Ok(())
    }

    /// Runs `query` where it may block.
    async fn ask<T, Q>(&self, query: Q) -> Result<T, BoxError>
    where
        Q: FnOnce(&Connection) -> rusqlite::Result<T> + Send + 'static,
        T: Send + 'static,
    {
        // The connection before the thread: whoever gives up in the queue has never taken one.
        let connection = self.0.clone().lock_owned().await;
        Ok(tokio::task::spawn_blocking(move || query(&connection)).await??)
    }
}

/// The command line: pairs of a flag and its value.
struct Flags {
    http: SocketAddr,
    peer: SocketAddr,
    /// All processes, this one included; none for a cluster of one.
    peers: Vec<String>,
    database: String,
}

impl Flags {
    fn read(mut args: impl Iterator<Item = String>) -> Result<Self, BoxError> {
        let mut flags = Self {
            http: SocketAddr::from(([127, 0, 0, 1], 8080)),
            peer: SocketAddr::from(([127, 0, 0, 1], 8001)),
            peers: Vec::new(),
            database: ":memory:".to_owned(),
        };
        while let Some(flag) = args.next() {
            let value = args.next().ok_or_else(|| format!("{flag} needs a value"))?;
            match &*flag {
                "--http" => flags.http = value.parse()?,
                "--peer" => flags.peer = value.parse()?,
                "--peers" => flags.peers = value.split(',').map(str::to_owned).collect(),
                "--database" => flags.database = value,
                _ => return Err(format!("{flag} is none of --http, --peer, --peers and --database").into()),
            }
        }
        if !flags.peers.is_empty() && flags.database == ":memory:" {
            return Err("--peers needs --database FILE: processes of one cluster share their origin".into());
        }
        Ok(flags)
    }
}
