//! GET and its kin: a value from wherever it is, from the origin too. That is what the node is for.

use std::ptr;
use std::sync::Arc;

use bytes::Bytes;
use carrotcache::{Ask, BoxFuture, ByteSize, GetError, Group, KeyError, Limits, Room, Value};

use crate::resp::command::Told;
use crate::resp::front::Front;
use crate::resp::integer::integer;
use crate::resp::keyspace::Keyspace;
use crate::resp::refused;
use crate::resp::reply::Reply;
use crate::resp::request::Request;
use crate::resp::window::in_order;

/// What the values of one reply may come to, in bytes.
const REPLY_MAX: ByteSize = ByteSize::mib(64);

/// `GET key`
pub fn get(value: Option<Value>) -> Reply {
    value.map_or(Reply::Nil, Reply::Value)
}

/// `STRLEN key`
pub fn strlen(value: Option<Value>) -> Reply {
    Reply::Number(value.map_or(0, |value| value.len() as i64))
}

/// The value of a key if it is here, else nothing: what can be said without waiting.
pub fn at_once(keyspace: &Keyspace, key: &[u8], told: Told) -> Option<Reply> {
    let (group, key) = match keyspace.find(key) {
        Ok(found) => found,
        Err(refusal) => return Some(refusal),
    };
    here(group.hit(key), told)
}

/// What is told of what memory has said of a key; nothing if it has said that the value is not here.
pub fn here(found: Result<Option<Value>, KeyError>, told: Told) -> Option<Reply> {
    match found {
        Ok(Some(value)) => Some(told(Some(value))),
        Ok(None) => None,
        Err(error) => Some(refused::key(error)),
    }
}

/// The value of a key, waited for.
pub async fn waited(front: Arc<Front>, key: Bytes, told: Told) -> Reply {
    value(&front.keyspace, &key).await.map_or_else(|refusal| refusal, told)
}

/// The value of a key, from wherever it comes; `None`: there is none.
///
/// # Errors
/// The reply where that is not known.
pub async fn value(keyspace: &Keyspace, key: &[u8]) -> Result<Option<Value>, Reply> {
    let (group, key) = keyspace.find(key)?;
    match group.get(key).await {
        Ok(value) => Ok(Some(value)),
        Err(error) => match refused::of_get(&error) {
            Reply::Nil => Ok(None),
            refusal => Err(refusal),
        },
    }
}

/// `GETRANGE key start end`
pub fn getrange(front: Arc<Front>, request: Request) -> BoxFuture<'static, Reply> {
    Box::pin(async move {
        let words = request.words();
        let (Some(start), Some(end)) = (integer(words.get(2)), integer(words.get(3))) else {
            return refused::not_a_number();
        };
        match value(&front.keyspace, words.get(1)).await {
            Ok(Some(value)) => Reply::text(part(&value, start, end).to_vec()),
            Ok(None) => Reply::text(""),
            Err(refusal) => refusal,
        }
    })
}

/// The bytes from `start` to `end`, both included; below zero they are counted from behind.
fn part(value: &[u8], start: i64, end: i64) -> &[u8] {
    let length = value.len() as i64;
    if start < 0 && end < 0 && start > end {
        return &[];
    }
    let place = |at: i64| if at < 0 { at.saturating_add(length).max(0) } else { at };
    let (start, end) = (place(start), place(end).min(length - 1));
    if start > end || length == 0 {
        return &[];
    }
    // Both are places of the value by now.
    value.get(start as usize..=end as usize).unwrap_or_default()
}

/// The keys of one group in an MGET.
struct Asked<'a> {
    group: &'a Group,
    /// Where each is in the reply, and among the words where it is said whole.
    places: Vec<usize>,
    keys: Vec<&'a [u8]>,
}

/// `MGET key …`: the values in the order asked; a key that has none is nil, one that failed is an error in its place.
///
/// Memory is looked through first; what is not there each group is asked for once, and all of them at a time.
pub fn mget(front: Arc<Front>, request: Request) -> BoxFuture<'static, Reply> {
    Box::pin(async move {
        let words = request.words();
        let limit = Limits::KEYS_MAX;
        if words.len() > limit + 1 {
            return Reply::error(format!("ERR more than {limit} keys at once"));
        }
        let mut replies: Vec<Reply> = Vec::with_capacity(words.len() - 1);
        let mut asked: Vec<Asked<'_>> = Vec::new();
        for (place, word) in words.from(1).enumerate() {
            match front.keyspace.find(word) {
                Ok((group, key)) => {
                    of_group(&mut asked, group, words.len() - 1).put(place, key);
                    replies.push(Reply::Nil);
                }
                Err(refusal) => replies.push(refusal),
            }
        }
        let (mut places, mut missing_of) = (Vec::new(), Vec::new());
        // What memory has takes its part of the room first.
        let mut left = REPLY_MAX.as_u64();
        for Asked { group, places: asked, keys } in asked {
            let mut missing = Vec::new();
            for ((place, key), found) in asked.into_iter().zip(&keys).zip(group.hits(&keys)) {
                match here(found, get) {
                    Some(reply) => {
                        match left.checked_sub(reply.values_len() as u64) {
                            Some(less) => left = less,
                            None => return too_much(),
                        }
                        replies[place] = reply;
                    }
                    None => {
                        let whole = request.bytes(place + 1);
                        missing.push(whole.slice(whole.len() - key.len()..));
                        places.push(place);
                    }
                }
            }
            if !missing.is_empty() {
                missing_of.push((group.clone(), missing));
            }
        }
        let room = Arc::new(Room::new(ByteSize::bytes(left)));
        let asks = missing_of.into_iter().map(|(group, missing)| {
            let room = room.clone();
            async move { Ok(group.answer_many_in(&missing, Ask::default(), &room).await) }
        });
        let given = match in_order(asks).await {
            Ok(given) => given,
            Err(lost) => return lost,
        };
        for (place, got) in places.into_iter().zip(given.into_iter().flatten()) {
            replies[place] = match got {
                Ok(answer) => Reply::Value(answer.value),
                Err(GetError::LeftOut { .. }) => return too_much(),
                Err(error) => refused::of_get(&error),
            };
        }
        Reply::List(replies)
    })
}

fn too_much() -> Reply {
    let most = REPLY_MAX.as_u64();
    Reply::error(format!("ERR these values are over {most} bytes together: ask for fewer"))
}

impl<'a> Asked<'a> {
    fn put(&mut self, place: usize, key: &'a [u8]) {
        self.places.push(place);
        self.keys.push(key);
    }
}

/// That of a group, of which there are few: most often it is the last one that was asked. At most so many keys come.
fn of_group<'l, 'a>(asked: &'l mut Vec<Asked<'a>>, group: &'a Group, keys: usize) -> &'l mut Asked<'a> {
    let at = asked.iter().rposition(|asked| ptr::eq(asked.group, group)).unwrap_or_else(|| {
        let room = if asked.is_empty() { keys } else { 0 };
        asked.push(Asked { group, places: Vec::with_capacity(room), keys: Vec::with_capacity(room) });
        asked.len() - 1
    });
    &mut asked[at]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parts_of_a_value_are_those_that_redis_gives() {
        for (start, end, expected) in [
            (0, 3, "This"),
            (-3, -1, "ing"),
            (0, -1, "This is a string"),
            (10, 100, "string"),
            (5, 3, ""),
            (-1, -3, ""),
            (100, 200, ""),
            (-100, 3, "This"),
            (0, -100, "T"),
            (i64::MIN, i64::MAX, "This is a string"),
            (i64::MAX, i64::MIN, ""),
        ] {
            let part = part(b"This is a string", start, end);
            assert_eq!(part, expected.as_bytes(), "{start} {end}");
        }
        assert_eq!(part(b"", 0, -1), b"");
    }
}
