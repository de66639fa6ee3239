//! SCAN, DBSIZE and KEYS: what this node's own memory holds, with its mirrors of other owners' keys.

use crate::resp::front::Front;
use crate::resp::glob;
use crate::resp::integer::integer;
use crate::resp::refused;
use crate::resp::reply::Reply;
use crate::resp::request::Words;
use crate::resp::session::Session;

/// Entries looked at by default, as in Redis, and at most: a shard's lock is held meanwhile.
const COUNT: usize = 10;
const COUNT_MAX: usize = 16_384;

/// The longest pattern, in bytes: each key is held against all of it.
const PATTERN_MAX: usize = 1024;

/// A cursor is the group's number above what the group's own memory goes on with.
const GROUP_SHIFT: u32 = 48;

/// What follows `SCAN cursor`.
struct Wanted<'a> {
    pattern: Option<&'a [u8]>,
    count: usize,
    /// All values are strings; of another type there is none.
    is_string: bool,
}

fn wanted(words: Words<'_>) -> Result<Wanted<'_>, Reply> {
    let mut wanted = Wanted { pattern: None, count: COUNT, is_string: true };
    let mut rest = words.from(2);
    while let Some(option) = rest.next() {
        let value = rest.next().ok_or_else(refused::syntax)?;
        if option.eq_ignore_ascii_case(b"count") {
            let count = integer(value).ok_or_else(refused::not_a_number)?;
            let count = usize::try_from(count).ok().filter(|count| *count > 0).ok_or_else(refused::syntax)?;
            wanted.count = count.min(COUNT_MAX);
        } else if option.eq_ignore_ascii_case(b"match") {
            if value.len() > PATTERN_MAX {
                return Err(Reply::error(format!("ERR the pattern is over {PATTERN_MAX} bytes")));
            }
            wanted.pattern = Some(value);
        } else if option.eq_ignore_ascii_case(b"type") {
            wanted.is_string = value.eq_ignore_ascii_case(b"string");
        } else {
            return Err(refused::syntax());
        }
    }
    Ok(wanted)
}

/// `SCAN cursor [MATCH pattern] [COUNT n] [TYPE type]`
pub fn scan(_: &mut Session, front: &Front, words: Words<'_>) -> Reply {
    let cursor = integer(words.get(1)).and_then(|cursor| u64::try_from(cursor).ok());
    let Some(cursor) = cursor else { return Reply::error("ERR invalid cursor") };
    let wanted = match wanted(words) {
        Ok(wanted) => wanted,
        Err(refusal) => return refusal,
    };
    let (next, names) = some(front, cursor, wanted.count);
    let fits = |name: &Vec<u8>| wanted.pattern.is_none_or(|pattern| glob::matches(pattern, name));
    let names = names.into_iter().filter(|name| wanted.is_string && fits(name)).map(Reply::text).collect();
    Reply::List(vec![Reply::text(next.to_string()), Reply::List(names)])
}

/// Keys from the cursor on, about so many, and the cursor behind them; 0 where there are no more.
fn some(front: &Front, cursor: u64, count: usize) -> (u64, Vec<Vec<u8>>) {
    let groups = front.keyspace.groups();
    let (mut at, mut inside) = ((cursor >> GROUP_SHIFT) as usize, cursor & ((1 << GROUP_SHIFT) - 1));
    let mut names = Vec::new();
    while let Some(group) = groups.get(at) {
        let (keys, next) = group.scan(inside, count - names.len());
        let prefix = group.name().as_str().as_bytes();
        names.extend(keys.iter().map(|key| [prefix, b":", key.as_bytes()].concat()));
        (at, inside) = next.map_or((at + 1, 0), |next| (at, next));
        if names.len() >= count || next.is_some() {
            break;
        }
    }
    let next = if at < groups.len() { (at as u64) << GROUP_SHIFT | inside } else { 0 };
    (next, names)
}

/// `DBSIZE`
pub fn dbsize(_: &mut Session, front: &Front, _: Words<'_>) -> Reply {
    Reply::Number(i64::try_from(entries(front)).unwrap_or(i64::MAX))
}

/// Entries in this node's memory.
pub fn entries(front: &Front) -> u64 {
    front.keyspace.groups().iter().map(carrotcache::Group::entries).sum()
}

/// `KEYS pattern`, which nobody should send to a node that others use.
pub fn keys(_: &mut Session, _: &Front, _: Words<'_>) -> Reply {
    Reply::error("ERR KEYS would walk all of this node's memory at once, use SCAN")
}
