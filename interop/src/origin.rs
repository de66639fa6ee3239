//! The origin that all members share: it makes a value of the key it is asked for, and keeps a ledger of who asked.
//!
//! `GET /load?node=NAME&key=KEY`, with the key percent-encoded. A key that nobody has is 404, one that is to fail for
//! now 500. Anything else that is asked is 404 and not in the ledger: a node may try whether its origin is there.

use std::collections::{HashMap, HashSet};
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use anyhow::Context;
use bytes::Bytes;
use carrotcache::Limits;
use carrotcache::net::listen::{Listener, Serving};
use http::{Response, StatusCode, Uri};
use http_body_util::Full;
use percent_encoding::percent_decode;

use crate::keys::{self, Key, MISSING};

/// An origin at work. Dropping it closes its port.
pub(crate) struct Origin {
    ledger: Arc<Mutex<Ledger>>,
    serving: Serving,
}

/// What was asked, and what is to fail.
#[derive(Default)]
struct Ledger {
    /// The names of those who asked for a key, in that order.
    loads: HashMap<Key, Vec<String>>,
    failing: HashSet<Key>,
}

impl Origin {
    pub(crate) async fn start() -> anyhow::Result<Self> {
        let ledger = Arc::new(Mutex::new(Ledger::default()));
        let listener = Listener::bind((Ipv4Addr::LOCALHOST, 0).into(), (&Limits::default()).into()).await?;
        let kept = ledger.clone();
        let serving = listener.serve(move |request| {
            let response = respond(&kept, request.uri());
            async move { response }
        });
        Ok(Self { ledger, serving })
    }

    /// Where the member of that name asks, without the key.
    pub(crate) fn url(&self, node: &str) -> String {
        let address: SocketAddr = self.serving.address();
        format!("http://{address}/load?node={node}&key=")
    }

    /// Who asked for `key` since it was last forgotten.
    pub(crate) fn loads_of(&self, key: &[u8]) -> Vec<String> {
        lock(&self.ledger).loads.get(key).cloned().unwrap_or_default()
    }

    /// How often that member asked for any key.
    pub(crate) fn loads_by(&self, node: &str) -> usize {
        lock(&self.ledger).loads.values().flatten().filter(|name| *name == node).count()
    }

    /// How often anyone asked for any key.
    pub(crate) fn loads(&self) -> usize {
        lock(&self.ledger).loads.values().map(Vec::len).sum()
    }

    /// A new page of the ledger.
    pub(crate) fn forget(&self) {
        lock(&self.ledger).loads.clear();
    }

    /// Has every request for `key` fail, until it is healed.
    pub(crate) fn fail(&self, key: &[u8]) {
        lock(&self.ledger).failing.insert(key.to_vec());
    }

    pub(crate) fn heal(&self, key: &[u8]) {
        lock(&self.ledger).failing.remove(key);
    }
}

fn lock(ledger: &Mutex<Ledger>) -> MutexGuard<'_, Ledger> {
    ledger.lock().unwrap_or_else(PoisonError::into_inner)
}

fn respond(ledger: &Mutex<Ledger>, uri: &Uri) -> Response<Full<Bytes>> {
    let (status, body) = match asked(uri) {
        Ok((node, key)) => answer(&mut lock(ledger), node, key),
        Err(_) => (StatusCode::NOT_FOUND, Bytes::from_static(b"no such path\n")),
    };
    let mut response = Response::new(Full::new(body));
    *response.status_mut() = status;
    response
}

/// Which member asks for which key.
fn asked(uri: &Uri) -> anyhow::Result<(String, Key)> {
    let query = uri.query().filter(|_| uri.path() == "/load").context("not asked for a value")?;
    let rest = query.strip_prefix("node=").context("nobody asks")?;
    let (node, key) = rest.split_once("&key=").context("no key")?;
    Ok((node.to_owned(), percent_decode(key.as_bytes()).collect()))
}

fn answer(ledger: &mut Ledger, node: String, key: Key) -> (StatusCode, Bytes) {
    let answer = if key.starts_with(MISSING.as_bytes()) {
        (StatusCode::NOT_FOUND, Bytes::from_static(b"no such key\n"))
    } else if ledger.failing.contains(&key) {
        (StatusCode::INTERNAL_SERVER_ERROR, Bytes::from_static(b"the origin fails\n"))
    } else {
        (StatusCode::OK, keys::value(&key))
    };
    ledger.loads.entry(key).or_default().push(node);
    answer
}
