//! CLIENT: what a connection says of itself, and who else is there.

use std::collections::HashSet;
use std::net::SocketAddr;

use crate::resp::clients::Client;
use crate::resp::front::Front;
use crate::resp::greet::plain;
use crate::resp::help;
use crate::resp::integer::integer;
use crate::resp::refused;
use crate::resp::reply::Reply;
use crate::resp::request::Words;
use crate::resp::session::Session;

type Run = fn(&Session, &Front, Words<'_>) -> Reply;

/// `CLIENT ID | SETNAME name | GETNAME | SETINFO attribute value | INFO | LIST … | KILL … | NO-EVICT on |
/// NO-TOUCH on | REPLY ON | HELP`
pub fn client(session: &mut Session, front: &Front, words: Words<'_>) -> Reply {
    if let Some(help) = help::asked(words, "client", help::CLIENT) {
        return help;
    }
    let sub = words.get(1).to_ascii_lowercase();
    if sub == b"kill" {
        return kill(session, front, words);
    }
    if sub == b"list" {
        return list(front, words);
    }
    let (wants, run): (usize, Run) = match &sub[..] {
        b"id" => (2, |session, _, _| Reply::Number(i64::try_from(session.client().id).unwrap_or(i64::MAX))),
        b"setname" => (3, |session, _, words| set_name(session, words)),
        b"getname" => (2, |session, _, _| match session.client().said().name {
            name if name.is_empty() => Reply::Nil,
            name => Reply::text(name),
        }),
        b"setinfo" => (4, |session, _, words| set_info(session, words)),
        b"info" => (2, |session, _, _| Reply::Lines(session.client().line())),
        // Nobody is evicted here, and no order of use is kept for a client's sake.
        b"no-evict" | b"no-touch" => (3, |_, _, words| match words.get(2) {
            word if word.eq_ignore_ascii_case(b"on") || word.eq_ignore_ascii_case(b"off") => Reply::OK,
            _ => refused::syntax(),
        }),
        // What is asked is answered: there are no replies that could be left out.
        b"reply" => (3, |_, _, words| match words.get(2) {
            word if word.eq_ignore_ascii_case(b"on") => Reply::OK,
            _ => refused::syntax(),
        }),
        _ => return refused::unknown_sub("client", words.get(1)),
    };
    if words.len() != wants {
        return refused::arity(&format!("client|{}", String::from_utf8_lossy(&sub)));
    }
    run(session, front, words)
}

/// `CLIENT LIST [TYPE type | ID id …]`
fn list(front: &Front, words: Words<'_>) -> Reply {
    let is = |option: &str| words.get(2).eq_ignore_ascii_case(option.as_bytes());
    let lines = match words.len() {
        2 => front.clients.lines(|_| true),
        4 if is("type") => match is_normal(words.get(3)) {
            Ok(is_normal) => front.clients.lines(|_| is_normal),
            Err(refusal) => return refusal,
        },
        4.. if is("id") => {
            let ids: Option<HashSet<i64>> = words.from(3).map(integer).collect();
            let Some(ids) = ids else { return Reply::error("ERR Invalid client ID") };
            front.clients.lines(|client| i64::try_from(client.id).is_ok_and(|id| ids.contains(&id)))
        }
        _ => return refused::syntax(),
    };
    Reply::Lines(lines)
}

/// Whether a type of clients is that of those there are.
fn is_normal(word: &[u8]) -> Result<bool, Reply> {
    match &word.to_ascii_lowercase()[..] {
        b"normal" => Ok(true),
        b"master" | b"replica" | b"slave" | b"pubsub" => Ok(false),
        _ => Err(refused::unknown_named("Unknown client type", word)),
    }
}

/// `CLIENT KILL ip:port`, which may be one's own, or `CLIENT KILL option value …`, which counts.
fn kill(session: &mut Session, front: &Front, words: Words<'_>) -> Reply {
    let (doomed, is_old) = match words.len() {
        0..3 => return refused::arity("client|kill"),
        3 => (Ok(Doomed { address: Some(text(words.get(2))), skips_me: false, ..Doomed::default() }), true),
        _ => (Doomed::of(words), false),
    };
    let doomed = match doomed {
        Ok(doomed) => doomed,
        Err(refusal) => return refusal,
    };
    let me = session.client().id;
    let is_me = doomed.is(session.client()) && !doomed.skips_me;
    // One's own connection ends when this is answered.
    let others = front.clients.kill(|client| client.id != me && doomed.is(client));
    session.is_ending |= is_me;
    match others + usize::from(is_me) {
        0 if is_old => Reply::error("ERR No such client"),
        _ if is_old => Reply::OK,
        killed => Reply::Number(i64::try_from(killed).unwrap_or(i64::MAX)),
    }
}

/// Whose connections are to end: all of it has to be so.
struct Doomed {
    id: Option<u64>,
    address: Option<String>,
    local: Option<String>,
    /// Of a kind that there is here.
    is_normal: bool,
    skips_me: bool,
}

impl Default for Doomed {
    fn default() -> Self {
        Self { id: None, address: None, local: None, is_normal: true, skips_me: true }
    }
}

impl Doomed {
    /// Of `CLIENT KILL option value …`
    fn of(words: Words<'_>) -> Result<Self, Reply> {
        let mut doomed = Self::default();
        let mut rest = words.from(2);
        while let Some(option) = rest.next() {
            let value = rest.next().ok_or_else(refused::syntax)?;
            match &option.to_ascii_lowercase()[..] {
                b"id" => {
                    let id = integer(value).and_then(|id| u64::try_from(id).ok()).filter(|id| *id > 0);
                    let bad = || Reply::error("ERR client-id should be greater than 0");
                    doomed.id = Some(id.ok_or_else(bad)?);
                }
                b"addr" => doomed.address = Some(text(value)),
                b"laddr" => doomed.local = Some(text(value)),
                b"type" => doomed.is_normal = is_normal(value)?,
                // The one that there is.
                b"user" if value == b"default" => {}
                b"user" => return Err(refused::unknown_named("No such user", value)),
                b"skipme" => {
                    doomed.skips_me = match &value.to_ascii_lowercase()[..] {
                        b"yes" => true,
                        b"no" => false,
                        _ => return Err(refused::syntax()),
                    }
                }
                _ => return Err(refused::syntax()),
            }
        }
        Ok(doomed)
    }

    fn is(&self, client: &Client) -> bool {
        let fits = |wanted: &Option<String>, address: SocketAddr| {
            wanted.as_ref().is_none_or(|wanted| *wanted == address.to_string())
        };
        self.is_normal
            && self.id.is_none_or(|id| id == client.id)
            && fits(&self.address, client.address)
            && fits(&self.local, client.local)
    }
}

/// An address as it was sent; what is none is that of nobody.
fn text(word: &[u8]) -> String {
    String::from_utf8_lossy(&word[..word.len().min(128)]).into_owned()
}

fn set_name(session: &Session, words: Words<'_>) -> Reply {
    match plain(words.get(2), "Client names") {
        Ok(name) => {
            session.client().say(|said| said.name = name);
            Reply::OK
        }
        Err(refusal) => refusal,
    }
}

fn set_info(session: &Session, words: Words<'_>) -> Reply {
    let attribute = words.get(2).to_ascii_lowercase();
    let (what, is_version) = match &attribute[..] {
        b"lib-name" => ("lib-name", false),
        b"lib-ver" => ("lib-ver", true),
        other => {
            let other = String::from_utf8_lossy(&other[..other.len().min(128)]).into_owned();
            return Reply::error(format!("ERR Unrecognized option '{other}'"));
        }
    };
    match plain(words.get(3), what) {
        Ok(text) => {
            session
                .client()
                .say(|said| if is_version { said.library_version = text } else { said.library = text });
            Reply::OK
        }
        Err(refusal) => refusal,
    }
}
