//! How a connection begins and ends: HELLO, AUTH, SELECT, PING, ECHO, RESET, QUIT.

use std::time::Instant;

use carrotcache::Refusal;

use crate::resp::front::Front;
use crate::resp::integer::integer;
use crate::resp::refused;
use crate::resp::reply::{Reply, Version};
use crate::resp::request::Words;
use crate::resp::session::Session;

/// The version of Redis whose commands these are, for clients that look for what they may send.
pub const REDIS_VERSION: &str = "7.0.15";

const WRONG_PASSWORD: &str = "WRONGPASS invalid username-password pair or user is disabled.";
const NO_PASSWORD: &str = "ERR AUTH <password> called without any password configured for the default user. \
                           Are you sure your configuration is correct?";
const HELLO_STRANGER: &str = "NOAUTH HELLO must be called with the client already authenticated, otherwise the HELLO \
                              <proto> AUTH <user> <pass> option can be used to authenticate the client and select the \
                              RESP protocol version at the same time";

/// The only user there is.
const USER: &[u8] = b"default";

/// `HELLO [version [AUTH user password] [SETNAME name]]`
pub fn hello(session: &mut Session, front: &Front, words: Words<'_>) -> Reply {
    let version = match words.len() {
        1 => session.version,
        _ => match integer(words.get(1)) {
            None => return Reply::error("ERR Protocol version is not an integer or out of range"),
            Some(2) => Version::Resp2,
            Some(3) => Version::Resp3,
            Some(_) => return Reply::error("NOPROTO unsupported protocol version"),
        },
    };
    let mut name = None;
    let mut rest = words.from(2);
    while let Some(option) = rest.next() {
        if option.eq_ignore_ascii_case(b"auth") && rest.len() >= 2 {
            let (user, password) = (rest.next().unwrap_or_default(), rest.next().unwrap_or_default());
            if let Err(refusal) = admit(session, front, user, password) {
                return refusal;
            }
        } else if option.eq_ignore_ascii_case(b"setname") && rest.len() >= 1 {
            match plain(rest.next().unwrap_or_default(), "Client names") {
                Ok(plain) => name = Some(plain),
                Err(refusal) => return refusal,
            }
        } else {
            let option = String::from_utf8_lossy(&option[..option.len().min(128)]).into_owned();
            return Reply::error(format!("ERR Syntax error in HELLO option '{option}'"));
        }
    }
    if !session.is_known {
        return Reply::error(HELLO_STRANGER);
    }
    if let Some(name) = name {
        session.client().say(|said| said.name = name);
    }
    session.speak(version);
    Reply::Map(vec![
        ("server", Reply::text("redis")),
        ("version", Reply::text(REDIS_VERSION)),
        ("proto", Reply::Number(version.number())),
        ("id", Reply::Number(i64::try_from(session.client().id).unwrap_or(i64::MAX))),
        ("mode", Reply::text("standalone")),
        ("role", Reply::text("master")),
        ("modules", Reply::List(Vec::new())),
    ])
}

/// What a client may call itself or its library: short, and without what would break a line or a list.
pub fn plain(word: &[u8], what: &str) -> Result<String, Reply> {
    let is_plain = word.len() <= 255 && word.iter().all(u8::is_ascii_graphic);
    if !is_plain {
        let refusal = format!("ERR {what} cannot contain spaces, newlines or special characters.");
        return Err(Reply::error(refusal));
    }
    Ok(String::from_utf8_lossy(word).into_owned())
}

/// `AUTH [user] password`
pub fn auth(session: &mut Session, front: &Front, words: Words<'_>) -> Reply {
    let admitted = match words.len() {
        2 if front.gate.is_open() => return Reply::error(NO_PASSWORD),
        2 => admit(session, front, USER, words.get(1)),
        3 => admit(session, front, words.get(1), words.get(2)),
        _ => return refused::syntax(),
    };
    admitted.map_or_else(|refusal| refusal, |()| Reply::OK)
}

fn admit(session: &mut Session, front: &Front, user: &[u8], password: &[u8]) -> Result<(), Reply> {
    // The default user without a password takes any, as in Redis.
    let password = if user == USER { password } else { b"" };
    if user == USER && front.gate.is_open() {
        return Ok(());
    }
    let checked = if front.gate.is_open() { None } else { Some(front.gate.check(password, &session.tries)) };
    match checked {
        Some(Ok(())) => {
            session.is_known = true;
            Ok(())
        }
        None => Err(Reply::error(WRONG_PASSWORD)),
        Some(Err(denied)) => {
            front.cluster.count_refusal(Refusal::Unauthorized);
            session.is_ending |= denied.is_last;
            Err(Reply::error(WRONG_PASSWORD))
        }
    }
}

/// `SELECT 0`
pub fn select(_: &mut Session, _: &Front, words: Words<'_>) -> Reply {
    match integer(words.get(1)) {
        Some(0) => Reply::OK,
        Some(_) => Reply::error("ERR DB index is out of range"),
        None => refused::not_a_number(),
    }
}

/// `PING [message]`
pub fn ping(_: &mut Session, _: &Front, words: Words<'_>) -> Reply {
    match words.len() {
        1 => Reply::Word("PONG"),
        2 => Reply::text(words.get(1).to_vec()),
        _ => refused::arity("ping"),
    }
}

/// `ECHO message`
pub fn echo(_: &mut Session, _: &Front, words: Words<'_>) -> Reply {
    Reply::text(words.get(1).to_vec())
}

/// `RESET`: as the connection was at its beginning.
pub fn reset(session: &mut Session, front: &Front, _: Words<'_>) -> Reply {
    session.set_queue(None);
    session.speak(Version::Resp2);
    session.client().say(|said| said.name.clear());
    if session.is_known && !front.gate.is_open() {
        session.is_known = false;
        // Not for who has yet to say the password: he could put it off for ever.
        session.greets_since = Instant::now();
    }
    Reply::Word("RESET")
}

/// `QUIT`
pub fn quit(session: &mut Session, _: &Front, _: Words<'_>) -> Reply {
    session.is_ending = true;
    Reply::OK
}
