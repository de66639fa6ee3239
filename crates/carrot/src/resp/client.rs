//! CLIENT: what a connection says of itself, and who else is there.

use crate::resp::front::Front;
use crate::resp::greet::plain;
use crate::resp::refused;
use crate::resp::reply::Reply;
use crate::resp::request::Words;
use crate::resp::session::Session;

type Run = fn(&Session, &Front, Words<'_>) -> Reply;

/// `CLIENT ID | SETNAME name | GETNAME | SETINFO attribute value | INFO | LIST | NO-EVICT on | NO-TOUCH on`
pub fn client(session: &mut Session, front: &Front, words: Words<'_>) -> Reply {
    let sub = words.get(1).to_ascii_lowercase();
    let (wants, run): (usize, Run) = match &sub[..] {
        b"id" => (2, |session, _, _| Reply::Number(i64::try_from(session.client().id).unwrap_or(i64::MAX))),
        b"setname" => (3, |session, _, words| set_name(session, words)),
        b"getname" => (2, |session, _, _| match session.client().said().name {
            name if name.is_empty() => Reply::Nil,
            name => Reply::text(name),
        }),
        b"setinfo" => (4, |session, _, words| set_info(session, words)),
        b"info" => (2, |session, _, _| Reply::Lines(session.client().line())),
        b"list" => (2, |_, front, _| Reply::Lines(front.clients.lines())),
        // Nobody is evicted here, and no order of use is kept for a client's sake.
        b"no-evict" | b"no-touch" => (3, |_, _, words| match words.get(2) {
            word if word.eq_ignore_ascii_case(b"on") || word.eq_ignore_ascii_case(b"off") => Reply::OK,
            _ => refused::syntax(),
        }),
        _ => return refused::unknown_sub("client", words.get(1)),
    };
    if words.len() != wants {
        return refused::arity(&format!("client|{}", String::from_utf8_lossy(&sub)));
    }
    run(session, front, words)
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
