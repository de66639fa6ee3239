//! The commands that took long, the latest of them: SLOWLOG.
//!
//! Only what waited is looked at, for a load, a peer or many keys: what was answered from this node's memory takes some
//! microseconds. So no secret is ever in it: AUTH and HELLO wait for nobody. Bounded in entries, words and bytes.

use std::collections::VecDeque;
use std::net::SocketAddr;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use crate::resp::clients::Client;
use crate::resp::reply::Reply;
use crate::resp::request::Words;

/// From how long on a command is slow, as Redis has it by default.
pub const SLOW: Duration = Duration::from_millis(10);

/// How many are kept.
pub const KEPT: usize = 128;

/// Words and bytes kept of each, as Redis has it.
const WORDS_KEPT: usize = 32;
const BYTES_KEPT: usize = 128;

/// The latest slow commands.
#[derive(Debug, Default)]
pub struct Slowlog(Mutex<Log>);

#[derive(Debug, Default)]
struct Log {
    /// The newest first.
    entries: VecDeque<Entry>,
    noted: i64,
}

#[derive(Clone, Debug)]
struct Entry {
    id: i64,
    /// By the wall clock.
    at: i64,
    took: Duration,
    words: Vec<Vec<u8>>,
    address: SocketAddr,
    name: String,
}

impl Slowlog {
    /// Notes the command, if it was slow.
    pub fn note(&self, words: Words<'_>, took: Duration, client: &Client) {
        if took < SLOW {
            return;
        }
        let at = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs());
        let mut entry = Entry {
            id: 0,
            at: i64::try_from(at).unwrap_or(i64::MAX),
            took,
            words: kept(words),
            address: client.address,
            name: client.said().name,
        };
        let mut log = self.locked();
        entry.id = log.noted;
        log.noted += 1;
        log.entries.push_front(entry);
        log.entries.truncate(KEPT);
    }

    /// The newest entries, so many of them.
    pub fn latest(&self, most: usize) -> Reply {
        Reply::List(self.locked().entries.iter().take(most).map(Entry::reply).collect())
    }

    /// How many there are.
    pub fn len(&self) -> usize {
        self.locked().entries.len()
    }

    /// Forgets them.
    pub fn clear(&self) {
        self.locked().entries.clear();
    }

    fn locked(&self) -> MutexGuard<'_, Log> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Entry {
    fn reply(&self) -> Reply {
        let micros = i64::try_from(self.took.as_micros()).unwrap_or(i64::MAX);
        let words = self.words.iter().map(|word| Reply::text(word.clone())).collect();
        Reply::List(vec![
            Reply::Number(self.id),
            Reply::Number(self.at),
            Reply::Number(micros),
            Reply::List(words),
            Reply::text(self.address.to_string()),
            Reply::text(self.name.clone()),
        ])
    }
}

/// As much of a request as is kept, with a word on what is not.
fn kept(words: Words<'_>) -> Vec<Vec<u8>> {
    let shown = if words.len() > WORDS_KEPT { WORDS_KEPT - 1 } else { words.len() };
    let mut kept: Vec<Vec<u8>> = words.from(0).take(shown).map(cut).collect();
    if words.len() > shown {
        kept.push(format!("... ({} more arguments)", words.len() - shown).into_bytes());
    }
    kept
}

fn cut(word: &[u8]) -> Vec<u8> {
    if word.len() <= BYTES_KEPT {
        return word.to_vec();
    }
    let more = format!("... ({} more bytes)", word.len() - BYTES_KEPT);
    [&word[..BYTES_KEPT], more.as_bytes()].concat()
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::resp::clients::Clients;
    use crate::resp::request::{Bounds, Parser};

    #[test]
    fn only_what_is_slow_is_kept_and_the_newest_of_it() {
        let (log, clients) = (Slowlog::default(), Arc::<Clients>::default());
        let address = "127.0.0.1:5".parse().unwrap();
        let seat = clients.enter(address, address);
        let line = format!("MGET {} {}\n", "k".repeat(200), "a ".repeat(40));
        let mut parser = Parser::default();
        parser.read(line.as_bytes(), Bounds { bulk: 1000, is_stranger: false }).unwrap();
        let words = parser.words(line.as_bytes());
        log.note(words, SLOW - Duration::from_nanos(1), seat.client());
        assert_eq!(log.len(), 0);
        for _ in 0..=KEPT {
            log.note(words, SLOW, seat.client());
        }
        assert_eq!(log.len(), KEPT);
        let Reply::List(latest) = log.latest(1) else { panic!("a list") };
        let [Reply::List(entry)] = &latest[..] else { panic!("{latest:?}") };
        assert_eq!((&entry[0], &entry[2]), (&Reply::Number(KEPT as i64), &Reply::Number(10_000)));
        let Reply::List(words) = &entry[3] else { panic!("{entry:?}") };
        assert_eq!(words.len(), 32);
        let long = "k".repeat(128) + "... (72 more bytes)";
        assert_eq!((&words[1], &words[31]), (&Reply::text(long), &Reply::text("... (11 more arguments)")));
        log.clear();
        assert_eq!(log.latest(10), Reply::List(Vec::new()));
    }
}
