//! Many connections that ask one server, in a closed loop or at a planned rate.
//!
//! Runs on the caller's tokio runtime; on a current-thread one it takes one core at most, and the clock's thread. Dropping
//! the future stops all that was begun.

use std::io;
use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio::sync::mpsc::Receiver;
use tokio::task::JoinSet;

use crate::connection::{Asks, Connection, Fault, Sent};
use crate::keys::{Law, Names, Random};
use crate::pace::{Due, Plan};
use crate::protocol::Protocol;
use crate::tally::Tally;
use crate::window::{Edge, Window};

/// What is asked, of whom, how.
#[derive(Clone, Debug)]
pub struct Load {
    /// A name or an address.
    pub host: String,
    /// On it.
    pub port: u16,
    /// What is spoken there.
    pub protocol: Protocol,
    /// How likely each key is.
    pub law: Law,
    /// What the keys are called.
    pub names: Names,
    /// At least 1.
    pub connections: usize,
    /// Requests that are written at once on a connection, at most; at least 1.
    pub depth: usize,
    /// Requests a second of all connections together; `None`: each asks again once it is answered.
    pub rate: Option<f64>,
    /// Asked before, and not counted.
    pub warm: Duration,
    /// How long what is asked counts.
    pub lasts: Duration,
    /// For connecting, and for the answers to what was written at once.
    pub timeout: Duration,
    /// The same seed asks for the same keys.
    pub seed: u64,
}

/// What came of it.
#[derive(Clone, Debug)]
pub struct Findings {
    /// Of all connections.
    pub tally: Tally,
    /// How long it was counted; at a planned rate, until the last was answered.
    pub lasted: Duration,
}

/// Why nothing was asked.
#[derive(Debug, thiserror::Error)]
pub enum DriveError {
    /// Nobody takes connections there.
    #[error("cannot connect to {host}:{port}")]
    Connect {
        /// As it was given.
        host: String,
        /// As it was given.
        port: u16,
        /// What the system said.
        source: io::Error,
    },
    /// The first connection was of no use.
    #[error("{host}:{port}: {why}")]
    Useless {
        /// As it was given.
        host: String,
        /// As it was given.
        port: u16,
        /// In a few words.
        why: String,
    },
    /// The system gives no thread for the clock.
    #[error("no thread for the clock")]
    Clock(#[source] io::Error),
}

impl Load {
    /// Asks. `tell` hears when counting begins and when it ends.
    ///
    /// # Errors
    /// When the first connection cannot be made. Later faults are counted, by kind.
    pub async fn run(&self, tell: impl FnMut(Edge)) -> Result<Findings, DriveError> {
        let mut seeds = Random::new(self.seed);
        let mut connections: Vec<_> =
            (0..self.connections).map(|_| Connection::new(self.asks(), seeds.next())).collect();
        for connection in &mut connections {
            connection.connect().await.map_err(|fault| self.useless(fault))?;
        }
        match self.rate {
            Some(rate) => self.at(rate, connections, tell).await,
            None => Ok(self.in_a_loop(connections, tell).await),
        }
    }

    /// Asks for one key, on a connection of its own: what the answer is, to be looked at before many are asked for.
    ///
    /// # Errors
    /// When the connection cannot be made. Whatever comes after that is counted.
    pub async fn one(&self) -> Result<Tally, DriveError> {
        let mut connection = Connection::new(self.asks(), self.seed);
        connection.connect().await.map_err(|fault| self.useless(fault))?;
        let (mut tally, sent) = (Tally::default(), Sent { at: Instant::now(), counts: true });
        connection.ask(&[sent], &mut tally, |_| true).await;
        Ok(tally)
    }

    fn asks(&self) -> Asks {
        Asks {
            host: self.host.clone(),
            port: self.port,
            protocol: self.protocol.clone(),
            law: self.law.clone(),
            names: self.names.clone(),
            timeout: self.timeout,
        }
    }

    async fn in_a_loop(&self, connections: Vec<Connection>, tell: impl FnMut(Edge)) -> Findings {
        let window = Arc::new(Window::default());
        let mut asking = JoinSet::new();
        for connection in connections {
            asking.spawn(again_and_again(connection, self.depth, window.clone()));
        }
        let lasted = window.pass(self.warm, self.lasts, tell).await;
        Findings { tally: together(asking).await, lasted }
    }

    async fn at(
        &self,
        rate: f64,
        connections: Vec<Connection>,
        tell: impl FnMut(Edge),
    ) -> Result<Findings, DriveError> {
        let plan = Plan { rate, warm: self.warm, lasts: self.lasts };
        let (pacer, due) = plan.start(connections.len()).map_err(DriveError::Clock)?;
        let mut asking = JoinSet::new();
        for (connection, due) in connections.into_iter().zip(due) {
            asking.spawn(when_due(connection, due, self.depth));
        }
        let open = Window::default().pass(self.warm, self.lasts, tell).await;
        let closed = Instant::now();
        let mut tally = together(asking).await;
        // What came late counts, and so does the time that it took.
        let lasted = open + closed.elapsed();
        tally.errors_of("not sent: too far behind", pacer.left_out());
        Ok(Findings { tally, lasted })
    }

    fn useless(&self, fault: Fault) -> DriveError {
        let (host, port) = (self.host.clone(), self.port);
        match fault {
            Fault::Connect(source) => DriveError::Connect { host, port, source },
            other => DriveError::Useless { host, port, why: other.to_string() },
        }
    }
}

async fn again_and_again(mut connection: Connection, depth: usize, window: Arc<Window>) -> Tally {
    let mut tally = Tally::default();
    while !window.is_over() {
        let at = Instant::now();
        let sent: Vec<Sent> = (0..depth).map(|_| Sent { at, counts: true }).collect();
        connection.ask(&sent, &mut tally, |_| window.is_open()).await;
    }
    tally
}

async fn when_due(mut connection: Connection, mut due: Receiver<Due>, depth: usize) -> Tally {
    let mut tally = Tally::default();
    let mut now_due = Vec::with_capacity(depth);
    while due.recv_many(&mut now_due, depth).await > 0 {
        let sent: Vec<Sent> = now_due.drain(..).map(|due| Sent { at: due.at, counts: due.counts }).collect();
        connection.ask(&sent, &mut tally, |sent| sent.counts).await;
    }
    tally
}

async fn together(mut asking: JoinSet<Tally>) -> Tally {
    let mut all = Tally::default();
    while let Some(done) = asking.join_next().await {
        match done {
            Ok(tally) => all.add(&tally),
            Err(_) => all.error("a task of the client's broke off"),
        }
    }
    all
}

#[cfg(test)]
mod tests;
