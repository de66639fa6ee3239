//! An entry of the table of commands, and how one is run.

use std::sync::Arc;

use carrotcache::{BoxFuture, Value};

use crate::resp::front::Front;
use crate::resp::reply::Reply;
use crate::resp::request::{Request, Words};
use crate::resp::session::Session;

/// A command, as COMMAND tells of it.
pub struct Command {
    /// In lower case.
    pub name: &'static str,
    /// How many words there are with its name; below zero: at least so many.
    pub arity: i64,
    /// In Redis's words, what it does: `readonly`, `write`.
    pub flags: &'static [&'static str],
    /// Where its keys are: the first word, the last, from behind where it is below zero, and from one to the next.
    pub keys: (i64, i64, i64),
    /// Who runs it.
    pub run: Run,
}

/// What is told of a key's value; `None`: there is none.
pub type Told = fn(Option<Value>) -> Reply;

/// Who runs a command.
#[derive(Clone, Copy)]
pub enum Run {
    /// At once, on the connection's own state and what all share.
    Here(fn(&mut Session, &Front, Words<'_>) -> Reply),
    /// At once, of the table itself.
    Table(fn(&'static [Command], Words<'_>) -> Reply),
    /// The value of one key, from wherever it comes, and what is told of it. Such commands have their name and the key for
    /// words, and wait beside each other.
    Read(Told),
    /// In its turn, once all before it is answered.
    Later(fn(Arc<Front>, Request) -> BoxFuture<'static, Reply>),
    /// Begins to queue.
    Multi,
    /// Runs what is queued.
    Exec,
    /// Forgets what is queued.
    Discard,
    /// What no client of Redis says, but a browser does that was led here: the connection ends without a word.
    HangUp,
}

impl Command {
    /// Whether it may be sent with so many words.
    pub fn takes(&self, words: usize) -> bool {
        let words = i64::try_from(words).unwrap_or(i64::MAX);
        if self.arity < 0 { words >= -self.arity } else { words == self.arity }
    }
}
