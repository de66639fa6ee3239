//! What is in memory, asked of the owner: EXISTS, TYPE, TTL, MEMORY USAGE and the like. Nothing is ever loaded for them.

use std::sync::Arc;
use std::time::Duration;

use carrotcache::{Ask, BoxFuture, GetError, Holding};

use crate::resp::expiry::{millis, now_ms};
use crate::resp::front::Front;
use crate::resp::help;
use crate::resp::integer::integer;
use crate::resp::refused;
use crate::resp::reply::Reply;
use crate::resp::request::Request;
use crate::resp::window::in_order;

/// Of a key that is not there, and of one that stays until it is evicted.
const NOT_THERE: i64 = -2;
const WITHOUT_END: i64 = -1;

async fn holding(front: &Front, key: &[u8]) -> Result<Option<Holding>, Reply> {
    let (group, key) = front.keyspace.find(key)?;
    group.holding(key).await.map_err(|error| refused::of_held(&error))
}

/// A reply made of what the owner holds of the first key.
fn told(
    front: Arc<Front>,
    request: Request,
    key: usize,
    tell: fn(Option<Holding>) -> Reply,
) -> BoxFuture<'static, Reply> {
    Box::pin(
        async move { holding(&front, request.words().get(key)).await.map_or_else(|refusal| refusal, tell) },
    )
}

/// `EXISTS key …`: how many are cached; one that is there twice counts twice.
pub fn exists(front: Arc<Front>, request: Request) -> BoxFuture<'static, Reply> {
    Box::pin(async move {
        let asks = request.words().from(1).map(|key| {
            let (front, key) = (front.clone(), key.to_vec());
            async move { holding(&front, &key).await.map(|held| held.is_some()) }
        });
        count(in_order(asks).await)
    })
}

/// `TOUCH key …`: as EXISTS, and each counts as used.
pub fn touch(front: Arc<Front>, request: Request) -> BoxFuture<'static, Reply> {
    Box::pin(async move {
        let asks = request.words().from(1).map(|key| {
            let (front, key) = (front.clone(), key.to_vec());
            async move {
                let (group, key) = front.keyspace.find(&key)?;
                match group.answer(key, Ask::default().cached_only()).await {
                    Ok(_) => Ok(true),
                    Err(GetError::NotCached { .. }) => Ok(false),
                    Err(error) => Err(refused::of_get(&error)),
                }
            }
        });
        count(in_order(asks).await)
    })
}

fn count(there: Result<Vec<bool>, Reply>) -> Reply {
    match there {
        Ok(there) => Reply::Number(there.into_iter().filter(|is_there| *is_there).count() as i64),
        Err(refusal) => refusal,
    }
}

/// `TYPE key`
pub fn kind(front: Arc<Front>, request: Request) -> BoxFuture<'static, Reply> {
    told(front, request, 1, |held| Reply::Word(if held.is_some() { "string" } else { "none" }))
}

/// `TTL key`, in seconds.
pub fn ttl(front: Arc<Front>, request: Request) -> BoxFuture<'static, Reply> {
    told(front, request, 1, |held| left(held, |ttl| (millis(ttl).saturating_add(500)) / 1000))
}

/// `PTTL key`, in milliseconds.
pub fn pttl(front: Arc<Front>, request: Request) -> BoxFuture<'static, Reply> {
    told(front, request, 1, |held| left(held, millis))
}

/// `EXPIRETIME key`, in seconds since 1970.
pub fn expiretime(front: Arc<Front>, request: Request) -> BoxFuture<'static, Reply> {
    told(front, request, 1, |held| left(held, |ttl| moment(ttl).saturating_add(500) / 1000))
}

/// `PEXPIRETIME key`, in milliseconds since 1970.
pub fn pexpiretime(front: Arc<Front>, request: Request) -> BoxFuture<'static, Reply> {
    told(front, request, 1, |held| left(held, moment))
}

fn left(held: Option<Holding>, number: impl FnOnce(Duration) -> i64) -> Reply {
    Reply::Number(match held {
        None => NOT_THERE,
        Some(Holding { ttl: None, .. }) => WITHOUT_END,
        Some(Holding { ttl: Some(ttl), .. }) => number(ttl),
    })
}

fn moment(ttl: Duration) -> i64 {
    millis(ttl).saturating_add(i64::try_from(now_ms()).unwrap_or(i64::MAX))
}

/// `OBJECT FREQ key`: how often it was used of late, in the engine's small numbers.
pub fn object(front: Arc<Front>, request: Request) -> BoxFuture<'static, Reply> {
    let words = request.words();
    if let Some(help) = help::asked(words, "object", help::OBJECT) {
        return Box::pin(async { help });
    }
    if !words.get(1).eq_ignore_ascii_case(b"freq") {
        let refusal = refused::unknown_sub("object", words.get(1));
        return Box::pin(async { refusal });
    }
    if words.len() != 3 {
        return Box::pin(async { refused::arity("object|freq") });
    }
    told(front, request, 2, |held| held.map_or(Reply::Nil, |held| Reply::Number(i64::from(held.uses))))
}

/// `MEMORY USAGE key [SAMPLES n]`: what its entry is charged.
pub fn memory(front: Arc<Front>, request: Request) -> BoxFuture<'static, Reply> {
    let words = request.words();
    if let Some(help) = help::asked(words, "memory", help::MEMORY) {
        return Box::pin(async { help });
    }
    if !words.get(1).eq_ignore_ascii_case(b"usage") {
        let refusal = refused::unknown_sub("memory", words.get(1));
        return Box::pin(async { refusal });
    }
    let refusal = match words.len() {
        0..3 => Some(refused::arity("memory|usage")),
        3 => None,
        5 if !words.get(3).eq_ignore_ascii_case(b"samples") => Some(refused::syntax()),
        5 if integer(words.get(4)).is_none() => Some(refused::not_a_number()),
        5 if integer(words.get(4)).is_some_and(|samples| samples < 0) => Some(refused::syntax()),
        5 => None,
        _ => Some(refused::syntax()),
    };
    if let Some(refusal) = refusal {
        return Box::pin(async { refusal });
    }
    told(front, request, 2, |held| held.map_or(Reply::Nil, |held| weight(&held)))
}

fn weight(held: &Holding) -> Reply {
    Reply::Number(i64::try_from(held.weight_bytes).unwrap_or(i64::MAX))
}
