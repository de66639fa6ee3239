//! EXPIRE and its kin, PERSIST, GETEX: until when what is cached may be served.
//!
//! Said to the key's owner, who changes what it holds, if it holds anything; nothing is loaded for it but by GETEX, which
//! reads through as GET does. A time of its own may be longer than the group's. PERSIST gives the group's back.

use std::sync::Arc;

use carrotcache::{BoxFuture, ExpireIf, Life};

use crate::resp::expiry::Said;
use crate::resp::front::Front;
use crate::resp::reads::value;
use crate::resp::refused;
use crate::resp::reply::Reply;
use crate::resp::request::{Request, Words};

/// `EXPIRE key seconds [NX | XX | GT | LT]`
pub fn expire(front: Arc<Front>, request: Request) -> BoxFuture<'static, Reply> {
    ends(front, request, Said::Seconds, "expire")
}

/// `PEXPIRE key milliseconds [NX | XX | GT | LT]`
pub fn pexpire(front: Arc<Front>, request: Request) -> BoxFuture<'static, Reply> {
    ends(front, request, Said::Millis, "pexpire")
}

/// `EXPIREAT key unix-seconds [NX | XX | GT | LT]`
pub fn expireat(front: Arc<Front>, request: Request) -> BoxFuture<'static, Reply> {
    ends(front, request, Said::AtSecond, "expireat")
}

/// `PEXPIREAT key unix-milliseconds [NX | XX | GT | LT]`
pub fn pexpireat(front: Arc<Front>, request: Request) -> BoxFuture<'static, Reply> {
    ends(front, request, Said::AtMilli, "pexpireat")
}

/// `PERSIST key`: the group's ttl instead of one of its own; without end where the group has none.
pub fn persist(front: Arc<Front>, request: Request) -> BoxFuture<'static, Reply> {
    Box::pin(async move {
        let changed = change(&front, request.words().get(1), Life::OfGroup, ExpireIf::Ending).await;
        changed.map_or_else(|refusal| refusal, |changed| Reply::Number(i64::from(changed)))
    })
}

/// `GETEX key [EX s | PX ms | EXAT t | PXAT t | PERSIST]`
pub fn getex(front: Arc<Front>, request: Request) -> BoxFuture<'static, Reply> {
    Box::pin(async move {
        let words = request.words();
        let end = match end(words) {
            Ok(end) => end,
            Err(refusal) => return refusal,
        };
        let value = match value(&front.keyspace, words.get(1)).await {
            Ok(Some(value)) => value,
            Ok(None) => return Reply::Nil,
            Err(refusal) => return refusal,
        };
        let Some((life, only)) = end else { return Reply::Value(value) };
        // It may be gone again, or not be kept at all: then there is nothing that has to end.
        match change(&front, words.get(1), life, only).await {
            Ok(_) => Reply::Value(value),
            Err(refusal) => refusal,
        }
    })
}

/// What GETEX says of the end; `None`: nothing.
fn end(words: Words<'_>) -> Result<Option<(Life, ExpireIf)>, Reply> {
    match words.len() {
        2 => Ok(None),
        3 if words.get(2).eq_ignore_ascii_case(b"persist") => Ok(Some((Life::OfGroup, ExpireIf::Ending))),
        4 => {
            let said = Said::of(words.get(2)).ok_or_else(refused::syntax)?;
            let ttl = said.ttl(words.get(3), "getex")?;
            Ok(Some((Life::Of(ttl), ExpireIf::Always)))
        }
        _ => Err(refused::syntax()),
    }
}

fn ends(front: Arc<Front>, request: Request, said: Said, command: &'static str) -> BoxFuture<'static, Reply> {
    Box::pin(async move {
        let words = request.words();
        let told = only(words).and_then(|only| Ok((only, said.left(words.get(2), command)?)));
        let (only, left) = match told {
            Ok(told) => told,
            Err(refusal) => return refusal,
        };
        let changed = change(&front, words.get(1), Life::Of(left), only).await;
        changed.map_or_else(|refusal| refusal, |changed| Reply::Number(i64::from(changed)))
    })
}

/// The condition that follows `EXPIRE key time`.
fn only(words: Words<'_>) -> Result<ExpireIf, Reply> {
    let (mut nx, mut xx, mut gt, mut lt) = (false, false, false, false);
    for word in words.from(3) {
        let flag = match &word.to_ascii_lowercase()[..] {
            b"nx" => &mut nx,
            b"xx" => &mut xx,
            b"gt" => &mut gt,
            b"lt" => &mut lt,
            _ => return Err(refused::unsupported_option(word)),
        };
        *flag = true;
    }
    match (nx, xx, gt, lt) {
        (true, true, ..) | (true, _, true, _) | (true, _, _, true) => {
            Err(Reply::error("ERR NX and XX, GT or LT options at the same time are not compatible"))
        }
        (_, _, true, true) => Err(Reply::error("ERR GT and LT options at the same time are not compatible")),
        (true, ..) => Ok(ExpireIf::Endless),
        // What is later than an end has one to be later than.
        (_, _, true, _) => Ok(ExpireIf::Later),
        (_, true, _, true) => Ok(ExpireIf::EndingSooner),
        (_, false, _, true) => Ok(ExpireIf::Sooner),
        (_, true, ..) => Ok(ExpireIf::Ending),
        (false, false, false, false) => Ok(ExpireIf::Always),
    }
}

async fn change(front: &Front, key: &[u8], life: Life, only: ExpireIf) -> Result<bool, Reply> {
    let (group, key) = front.keyspace.find(key)?;
    group.expire(key, life, only).await.map_err(|error| refused::of_write(&error))
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::resp::request::{Bounds, Parser};

    fn read<T>(line: &str, read: fn(Words<'_>) -> T) -> T {
        let line = format!("{line}\n");
        let mut parser = Parser::default();
        parser.read(line.as_bytes(), Bounds { bulk: 1000, is_stranger: false }).unwrap();
        read(parser.words(line.as_bytes()))
    }

    #[test]
    fn conditions_are_read_in_any_case_and_those_that_contradict_each_other_are_refused() {
        let only = |after: &str| read(&format!("EXPIRE k 1 {after}"), only);
        for (after, expected) in [
            ("", ExpireIf::Always),
            ("nx", ExpireIf::Endless),
            ("XX", ExpireIf::Ending),
            ("gT", ExpireIf::Later),
            ("LT", ExpireIf::Sooner),
            ("XX GT", ExpireIf::Later),
            ("LT XX", ExpireIf::EndingSooner),
            ("NX NX", ExpireIf::Endless),
        ] {
            assert_eq!(only(after), Ok(expected), "{after}");
        }
        let nx = "ERR NX and XX, GT or LT options at the same time are not compatible";
        for after in ["NX XX", "GT NX", "NX LT", "NX GT LT"] {
            assert_eq!(only(after), Err(Reply::error(nx)), "{after}");
        }
        for after in ["GT LT", "XX LT GT"] {
            let both = "ERR GT and LT options at the same time are not compatible";
            assert_eq!(only(after), Err(Reply::error(both)), "{after}");
        }
        assert_eq!(only("nonsense"), Err(Reply::error("ERR Unsupported option nonsense")));
    }

    #[test]
    fn getex_says_an_end_or_that_there_is_none_of_its_own() {
        let end = |after: &str| read(&format!("GETEX k {after}"), end);
        let of = |seconds| Ok(Some((Life::Of(Duration::from_secs(seconds)), ExpireIf::Always)));
        assert_eq!(end(""), Ok(None));
        assert_eq!(end("ex 10"), of(10));
        assert_eq!(end("PX 10000"), of(10));
        assert_eq!(end("EXAT 1"), of(0));
        assert_eq!(end("persist"), Ok(Some((Life::OfGroup, ExpireIf::Ending))));
        for after in ["EX", "PERSIST 1", "10", "KEEPTTL", "EX 10 PERSIST", "nonsense 1"] {
            assert_eq!(end(after), Err(refused::syntax()), "{after}");
        }
        assert_eq!(end("EX 0"), Err(refused::bad_expiry("getex")));
        assert_eq!(end("EX ten"), Err(refused::not_a_number()));
    }
}
