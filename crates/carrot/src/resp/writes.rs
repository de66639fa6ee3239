//! SET and its kin, and DEL: what is put into the cache and taken out, at the key's owner. The origin is not told.
//!
//! Conditions (NX, XX, KEEPTTL) are the owner's to look at, at one moment with the write. What SET's GET and GETDEL give
//! is looked at just before.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use carrotcache::{Ask, BoxFuture, Life, Loaded, SetIf};

use crate::resp::expiry::Said;
use crate::resp::front::Front;
use crate::resp::refused;
use crate::resp::reply::Reply;
use crate::resp::request::{Request, Words};
use crate::resp::window::in_order;

/// What follows `SET key value`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Options {
    only: SetIf,
    life: Life,
    /// The reply is the value that was there.
    gives_old: bool,
}

const PLAIN: Options = Options { only: SetIf::Always, life: Life::OfGroup, gives_old: false };

impl Options {
    fn of(words: Words<'_>) -> Result<Self, Reply> {
        let mut options = PLAIN;
        let mut rest = words.from(3);
        while let Some(word) = rest.next() {
            let is = |option: &str| word.eq_ignore_ascii_case(option.as_bytes());
            if is("nx") && options.only != SetIf::Present {
                options.only = SetIf::Absent;
            } else if is("xx") && options.only != SetIf::Absent {
                options.only = SetIf::Present;
            } else if is("get") {
                options.gives_old = true;
            } else if options.life != Life::OfGroup {
                return Err(refused::syntax());
            } else if is("keepttl") {
                options.life = Life::Kept;
            } else if let (Some(said), Some(number)) = (Said::of(word), rest.next()) {
                options.life = Life::Of(said.ttl(number, "set")?);
            } else {
                return Err(refused::syntax());
            }
        }
        Ok(options)
    }
}

/// A reply, whether it is one of success or not.
fn either(reply: Result<Reply, Reply>) -> Reply {
    reply.unwrap_or_else(|refusal| refusal)
}

/// `SET key value [NX | XX] [GET] [EX s | PX ms | EXAT s | PXAT ms | KEEPTTL]`
pub fn set(front: Arc<Front>, request: Request) -> BoxFuture<'static, Reply> {
    Box::pin(async move {
        let options = match Options::of(request.words()) {
            Ok(options) => options,
            Err(refusal) => return refusal,
        };
        let old = if options.gives_old { old(&front, request.words().get(1)).await } else { Ok(Reply::OK) };
        let done = match old {
            Ok(_) => put(&front, request.words().get(1), request.bytes(2), options).await,
            Err(refusal) => return refusal,
        };
        match done {
            Ok(is_set) if !options.gives_old => {
                if is_set {
                    Reply::OK
                } else {
                    Reply::Nil
                }
            }
            Ok(_) => either(old),
            Err(refusal) => refusal,
        }
    })
}

/// `SETEX key seconds value`
pub fn setex(front: Arc<Front>, request: Request) -> BoxFuture<'static, Reply> {
    with_ttl(front, request, Said::Seconds, "setex")
}

/// `PSETEX key milliseconds value`
pub fn psetex(front: Arc<Front>, request: Request) -> BoxFuture<'static, Reply> {
    with_ttl(front, request, Said::Millis, "psetex")
}

fn with_ttl(
    front: Arc<Front>,
    request: Request,
    said: Said,
    command: &'static str,
) -> BoxFuture<'static, Reply> {
    Box::pin(async move {
        let ttl = match said.ttl(request.words().get(2), command) {
            Ok(ttl) => ttl,
            Err(refusal) => return refusal,
        };
        let options = Options { life: Life::Of(ttl), ..PLAIN };
        let done = put(&front, request.words().get(1), request.bytes(3), options).await;
        either(done.map(|_| Reply::OK))
    })
}

/// `SETNX key value`
pub fn setnx(front: Arc<Front>, request: Request) -> BoxFuture<'static, Reply> {
    Box::pin(async move {
        let options = Options { only: SetIf::Absent, ..PLAIN };
        let done = put(&front, request.words().get(1), request.bytes(2), options).await;
        either(done.map(|is_set| Reply::Number(i64::from(is_set))))
    })
}

/// `MSET key value …`, of which some may be set though one is refused.
pub fn mset(front: Arc<Front>, request: Request) -> BoxFuture<'static, Reply> {
    Box::pin(async move {
        let words = request.words();
        if words.len().is_multiple_of(2) {
            return refused::arity("mset");
        }
        // A key may be there twice, and then its last value stays: the others are not sent.
        let last: HashMap<&[u8], usize> =
            (1..words.len()).step_by(2).map(|at| (words.get(at), at + 1)).collect();
        let puts = last.into_iter().map(|(key, value)| {
            let (front, key, value) = (front.clone(), key.to_vec(), request.bytes(value));
            async move { put(&front, &key, value, PLAIN).await }
        });
        in_order(puts).await.map_or_else(|refusal| refusal, |_| Reply::OK)
    })
}

/// `GETDEL key`: the value that is cached, which is cached no longer.
pub fn getdel(front: Arc<Front>, request: Request) -> BoxFuture<'static, Reply> {
    Box::pin(async move {
        let key = request.words().get(1);
        let old = match old(&front, key).await {
            Ok(old) => old,
            Err(refusal) => return refusal,
        };
        // Somebody else may have taken it out meanwhile: it is given to one.
        either(remove(&front, key).await.map(|was_cached| if was_cached { old } else { Reply::Nil }))
    })
}

/// `DEL key …`: how many of them were cached anywhere it had to go.
pub fn del(front: Arc<Front>, request: Request) -> BoxFuture<'static, Reply> {
    Box::pin(async move {
        let words = request.words();
        if words.len() == 2 {
            let removed = remove(&front, words.get(1)).await;
            return either(removed.map(|was_cached| Reply::Number(i64::from(was_cached))));
        }
        // A key that is there twice is gone once.
        let keys: HashSet<&[u8]> = words.from(1).collect();
        let removes = keys.into_iter().map(|key| {
            let (front, key) = (front.clone(), key.to_vec());
            async move { remove(&front, &key).await }
        });
        let removed = in_order(removes).await;
        let count = |removed: Vec<bool>| removed.into_iter().filter(|was_cached| *was_cached).count() as i64;
        either(removed.map(|removed| Reply::Number(count(removed))))
    })
}

/// Sets it, unless a condition is not met: then false.
async fn put(front: &Front, key: &[u8], value: Bytes, options: Options) -> Result<bool, Reply> {
    let (group, key) = front.keyspace.find(key)?;
    let done = match (options.only, options.life) {
        // It is over before it began.
        (SetIf::Always, Life::Of(Duration::ZERO)) => group.remove(key).await.map(|()| true),
        // Such a set can be said in more dialects.
        (SetIf::Always, Life::OfGroup) => group.set(key, value).await.map(|()| true),
        (SetIf::Always, Life::Of(ttl)) => group.set(key, Loaded::new(value).ttl(ttl)).await.map(|()| true),
        (only, life) => group.set_if(key, value, life, only).await,
    };
    done.map_err(|error| refused::of_write(&error))
}

async fn remove(front: &Front, key: &[u8]) -> Result<bool, Reply> {
    let (group, key) = front.keyspace.find(key)?;
    group.remove_held(key).await.map_err(|error| refused::of_write(&error))
}

/// What is cached under a key, at its owner or here.
async fn old(front: &Front, key: &[u8]) -> Result<Reply, Reply> {
    let (group, key) = front.keyspace.find(key)?;
    match group.answer(key, Ask::default().cached_only()).await {
        Ok(answer) => Ok(Reply::Value(answer.value)),
        Err(error) => match refused::of_get(&error) {
            Reply::Nil => Ok(Reply::Nil),
            refusal => Err(refusal),
        },
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::resp::request::{Bounds, Parser};

    fn options(after: &str) -> Result<Options, Reply> {
        let line = format!("SET k v {after}\n");
        let mut parser = Parser::default();
        parser.read(line.as_bytes(), Bounds { bulk: 1000, is_stranger: false }).unwrap();
        Options::of(parser.words(line.as_bytes()))
    }

    #[test]
    fn options_come_in_any_order_and_case() {
        assert_eq!(options(""), Ok(PLAIN));
        let ten = Life::Of(Duration::from_secs(10));
        assert_eq!(options("ex 10 nx"), Ok(Options { only: SetIf::Absent, life: ten, gives_old: false }));
        assert_eq!(
            options("GET XX PX 10000"),
            Ok(Options { only: SetIf::Present, life: ten, gives_old: true })
        );
        assert_eq!(options("keepTTL"), Ok(Options { life: Life::Kept, ..PLAIN }));
        assert_eq!(options("EXAT 1"), Ok(Options { life: Life::Of(Duration::ZERO), ..PLAIN }));
    }

    #[test]
    fn options_that_contradict_each_other_are_a_syntax_error() {
        for after in ["NX XX", "XX NX", "EX 1 PX 1", "EX", "KEEPTTL EX 1", "EX 1 KEEPTTL", "10", "nonsense"] {
            assert_eq!(options(after), Err(refused::syntax()), "{after}");
        }
        assert_eq!(options("EX 0"), Err(refused::bad_expiry("set")));
        assert_eq!(options("EX ten"), Err(refused::not_a_number()));
    }
}
