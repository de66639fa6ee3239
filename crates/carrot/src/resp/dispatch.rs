//! One request: may it run, is it queued, and who runs it.
//!
//! Never waits: what has to is given back to the connection.

use std::sync::Arc;

use carrotcache::{BoxFuture, Refusal};

use crate::resp::command::{Command, Run, Told};
use crate::resp::commands::TABLE;
use crate::resp::describe::find;
use crate::resp::front::Front;
use crate::resp::reads::at_once;
use crate::resp::refused;
use crate::resp::reply::Reply;
use crate::resp::request::{Request, Words};
use crate::resp::session::{Queue, Session, Unqueued};

/// What is to be done about a request.
pub enum Step {
    /// Its reply is there.
    Reply(Reply),
    /// A value is read that is not here; other reads may go on meanwhile.
    Read(Request, Told),
    /// To be waited for, once all before it is answered.
    Later(BoxFuture<'static, Reply>),
    /// What was queued, to be run in order.
    Exec(Queue),
    /// Nothing more is said.
    HangUp,
}

/// What is told of the value if a request is a read that may run: such may begin while others wait.
pub fn read(session: &Session, words: Words<'_>) -> Option<Told> {
    let command = find(TABLE, words.get(0)).filter(|command| command.takes(words.len()))?;
    match command.run {
        Run::Read(told) if session.is_known && session.queue.is_none() => Some(told),
        _ => None,
    }
}

/// What is to be done about a request that a client has sent.
pub fn dispatch(session: &mut Session, front: &Arc<Front>, words: Words<'_>) -> Step {
    let command = match allowed(session, front, words) {
        Ok(command) => command,
        // With words behind it: what is queued is given up, as in Redis.
        Err(_) if session.queue.is_some() && words.get(0).eq_ignore_ascii_case(b"exec") => {
            session.set_queue(None);
            let why = "wrong number of arguments for 'exec' command";
            return Step::Reply(Reply::error(format!("EXECABORT Transaction discarded because of: {why}")));
        }
        Err(refusal) => {
            session.spoil();
            return Step::Reply(refusal);
        }
    };
    let is_of_queue = matches!(command.run, Run::Multi | Run::Exec | Run::Discard | Run::HangUp)
        || matches!(command.name, "quit" | "reset");
    match &mut session.queue {
        Some(queue) if !is_of_queue => {
            let pushed = queue.push(words.to_request());
            let queued = queue.requests.len();
            match pushed {
                Ok(()) => {
                    session.client().say(|said| said.queued = Some(queued));
                    Step::Reply(Reply::Word("QUEUED"))
                }
                Err(unqueued) => {
                    if let Unqueued::NoRoom(full) = unqueued {
                        front.cluster.count_refusal(full.cause());
                    }
                    session.spoil();
                    Step::Reply(Reply::error(unqueued.to_string()))
                }
            }
        }
        _ => run(session, front, words),
    }
}

/// The command, if it may be run.
fn allowed(session: &Session, front: &Front, words: Words<'_>) -> Result<&'static Command, Reply> {
    let command = find(TABLE, words.get(0)).ok_or_else(|| refused::unknown(words))?;
    if !command.takes(words.len()) {
        return Err(refused::arity(command.name));
    }
    let is_greeting = matches!(command.name, "auth" | "hello" | "quit" | "reset" | "post" | "host:");
    if !session.is_known && !is_greeting {
        front.cluster.count_refusal(Refusal::Unauthorized);
        return Err(Reply::error("NOAUTH Authentication required."));
    }
    Ok(command)
}

/// Runs a request that may be: one that was just sent, or was queued.
pub fn run(session: &mut Session, front: &Arc<Front>, words: Words<'_>) -> Step {
    let Some(command) = find(TABLE, words.get(0)) else { return Step::Reply(refused::unknown(words)) };
    match command.run {
        Run::Here(run) => Step::Reply(run(session, front, words)),
        Run::Table(run) => Step::Reply(run(TABLE, words)),
        Run::Read(told) => match at_once(&front.keyspace, words.get(1), told) {
            Some(reply) => Step::Reply(reply),
            None => Step::Read(words.to_request(), told),
        },
        Run::Later(run) => Step::Later(run(front.clone(), words.to_request())),
        Run::Multi if session.queue.is_some() => {
            Step::Reply(Reply::error("ERR MULTI calls can not be nested"))
        }
        Run::Multi => {
            session.set_queue(Some(Queue::new(front.queued.share())));
            Step::Reply(Reply::OK)
        }
        Run::Exec => match session.set_queue(None) {
            None => Step::Reply(Reply::error("ERR EXEC without MULTI")),
            Some(Queue { is_spoilt: true, .. }) => {
                Step::Reply(Reply::error("EXECABORT Transaction discarded because of previous errors."))
            }
            Some(queue) => Step::Exec(queue),
        },
        Run::Discard => match session.set_queue(None) {
            None => Step::Reply(Reply::error("ERR DISCARD without MULTI")),
            Some(_) => Step::Reply(Reply::OK),
        },
        Run::HangUp => {
            front.cluster.count_refusal(Refusal::Malformed);
            Step::HangUp
        }
    }
}
