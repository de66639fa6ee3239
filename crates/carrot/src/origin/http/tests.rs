//! The HTTP origin against servers on loopback that say exactly what a test has them say.
//!
//! Real sockets and small timeouts: what is asserted is which error came of it, never how long it took.

mod addresses;
mod breaking;
mod certificates;
mod connections;
mod keeping;
mod meaning;
mod redirects;
mod server;

use super::*;
use crate::origin::http::tests::server::Server;

/// Longer than any test should take.
const LONG: Duration = Duration::from_secs(60);
/// Shorter than a server takes that never answers.
const SHORT: Duration = Duration::from_millis(50);
/// The largest value.
const VALUE_MAX: usize = 64 * 1024;

fn allowed() -> Allowance {
    let value_max = ByteSize::kib(VALUE_MAX as u64 / 1024);
    Allowance { load_deadline: LONG, max_loads: 256, value_max, ttl: None }
}

fn settings(server: &Server) -> HttpSettings {
    HttpSettings::new(&format!("http://{}/items/{{key}}", server.address)).unwrap()
}

fn open(server: &Server) -> Http {
    Http::open(settings(server), allowed()).unwrap()
}

async fn load(http: &Http, key: &str) -> Result<Option<Loaded>, OriginError> {
    http.load(&Key::from(key)).await
}

/// The value as text, where there is one.
async fn text(http: &Http, key: &str) -> Option<String> {
    let loaded = load(http, key).await.unwrap();
    loaded.map(|loaded| String::from_utf8(loaded.value.to_vec()).unwrap())
}

/// The one line that a failed load ends as.
async fn failure(http: &Http, key: &str) -> String {
    carrotcache::with_causes(&load(http, key).await.unwrap_err())
}
