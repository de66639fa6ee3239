//! Who is connected: what CLIENT tells of each, bounded by the connections there may be.
//!
//! A connection enters when it begins and leaves when its seat is dropped, however it ends. The locks are held for a few
//! assignments.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Instant;

use tokio::sync::Notify;

use crate::resp::reply::Version;

/// All clients of one front.
#[derive(Debug, Default)]
pub struct Clients {
    /// How many there ever were.
    entered: AtomicU64,
    open: Mutex<BTreeMap<u64, Arc<Client>>>,
}

/// One of them.
#[derive(Debug)]
pub struct Client {
    /// From 1, never given again.
    pub id: u64,
    /// From where it connected.
    pub address: SocketAddr,
    /// Where to.
    pub local: SocketAddr,
    since: Instant,
    said: Mutex<Said>,
    /// Somebody wants it gone.
    killed: Notify,
}

/// What a client has said of itself.
#[derive(Clone, Debug, Default)]
pub struct Said {
    /// `CLIENT SETNAME`
    pub name: String,
    /// `CLIENT SETINFO LIB-NAME`
    pub library: String,
    /// `CLIENT SETINFO LIB-VER`
    pub library_version: String,
    /// Which protocol it speaks.
    pub version: Version,
    /// Commands queued since MULTI, if that was said.
    pub queued: Option<usize>,
}

/// A client's place, for as long as it is connected.
#[derive(Debug)]
pub struct Seat {
    clients: Arc<Clients>,
    client: Arc<Client>,
}

impl Clients {
    /// A client has come.
    pub fn enter(self: &Arc<Self>, address: SocketAddr, local: SocketAddr) -> Seat {
        let id = self.entered.fetch_add(1, Relaxed) + 1;
        let client = Client {
            id,
            address,
            local,
            since: Instant::now(),
            said: Mutex::default(),
            killed: Notify::new(),
        };
        let client = Arc::new(client);
        locked(&self.open).insert(id, client.clone());
        Seat { clients: self.clone(), client }
    }

    /// How many there are.
    pub fn len(&self) -> usize {
        locked(&self.open).len()
    }

    /// How many there ever were.
    pub fn entered(&self) -> u64 {
        self.entered.load(Relaxed)
    }

    /// Has those end that `goes` is true of; how many they are. Each is asked about outside all locks.
    pub fn kill(&self, goes: impl Fn(&Client) -> bool) -> usize {
        let open: Vec<Arc<Client>> = locked(&self.open).values().cloned().collect();
        let gone = open.iter().filter(|client| goes(client));
        // A permit is kept for one that does not wait for it at this moment.
        gone.inspect(|client| client.killed.notify_one()).count()
    }

    /// A line for each that `shown` is true of, the oldest first.
    pub fn lines(&self, shown: impl Fn(&Client) -> bool) -> String {
        let open: Vec<Arc<Client>> = locked(&self.open).values().cloned().collect();
        let shown = open.iter().filter(|client| shown(client));
        shown.fold(String::new(), |lines, client| lines + &client.line())
    }
}

impl Seat {
    /// Whose it is.
    pub fn client(&self) -> &Arc<Client> {
        &self.client
    }
}

impl Drop for Seat {
    fn drop(&mut self) {
        locked(&self.clients.open).remove(&self.client.id);
    }
}

impl Client {
    /// What it has said of itself.
    pub fn said(&self) -> Said {
        locked(&self.said).clone()
    }

    /// Waits until somebody wants it gone.
    pub async fn killed(&self) {
        self.killed.notified().await;
    }

    /// It says something of itself.
    pub fn say(&self, change: impl FnOnce(&mut Said)) {
        change(&mut locked(&self.said));
    }

    /// As CLIENT LIST has it.
    pub fn line(&self) -> String {
        let Said { name, library, library_version, version, queued } = self.said();
        let mut line = String::new();
        // Written into memory, which does not fail.
        let _ = writeln!(
            line,
            "id={} addr={} laddr={} name={name} age={} db=0 sub=0 psub=0 multi={} user=default resp={} \
             lib-name={library} lib-ver={library_version}",
            self.id,
            self.address,
            self.local,
            self.since.elapsed().as_secs(),
            queued.map_or(-1, |queued| i64::try_from(queued).unwrap_or(i64::MAX)),
            version.number(),
        );
        line
    }
}

// Poison is no harm: what is under these locks is whole after each statement.
fn locked<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_client_is_listed_until_its_seat_is_gone() {
        let (clients, address) = (Arc::<Clients>::default(), "127.0.0.1:5".parse().unwrap());
        let (first, second) = (clients.enter(address, address), clients.enter(address, address));
        first.client().say(|said| said.name = "first".to_owned());
        assert_eq!((clients.len(), first.client().id, second.client().id), (2, 1, 2));
        let lines = clients.lines(|_| true);
        assert!(
            lines.starts_with("id=1 addr=127.0.0.1:5 laddr=127.0.0.1:5 name=first age=0 db=0 "),
            "{lines}"
        );
        assert!(lines.lines().nth(1).unwrap().starts_with("id=2 "), "{lines}");
        assert_eq!(clients.kill(|client| client.id == 2), 1);
        drop(first);
        assert_eq!((clients.len(), clients.lines(|_| true).lines().count()), (1, 1));
        assert_eq!(clients.enter(address, address).client().id, 3);
    }
}
