//! COMMAND: the table of commands, as clients read it.

use crate::resp::command::Command;
use crate::resp::glob;
use crate::resp::help;
use crate::resp::refused;
use crate::resp::reply::Reply;
use crate::resp::request::Words;

/// The longest pattern of names, in bytes: a longer one fits none.
const PATTERN_MAX: usize = 64;

/// `COMMAND [COUNT | INFO name … | DOCS name … | LIST [FILTERBY PATTERN pattern] | HELP]`
pub fn command(table: &'static [Command], words: Words<'_>) -> Reply {
    if words.len() == 1 {
        return Reply::List(table.iter().map(described).collect());
    }
    if let Some(help) = help::asked(words, "command", help::COMMAND) {
        return help;
    }
    let sub = words.get(1).to_ascii_lowercase();
    let is = |at: usize, word: &str| words.get(at).eq_ignore_ascii_case(word.as_bytes());
    match (&sub[..], words.len()) {
        (b"count", 2) => Reply::Number(i64::try_from(table.len()).unwrap_or(i64::MAX)),
        (b"list", 2) => Reply::List(table.iter().map(|command| Reply::text(command.name)).collect()),
        (b"list", 5) if is(2, "filterby") && is(3, "pattern") => listed(table, words.get(4)),
        (b"list", 5) if is(2, "filterby") && is(3, "module") => Reply::List(Vec::new()),
        (b"list", _) => refused::syntax(),
        (b"info", 2) => Reply::List(table.iter().map(described).collect()),
        (b"info", _) => {
            Reply::List(words.from(2).map(|name| find(table, name).map_or(Reply::Nil, described)).collect())
        }
        (b"docs", 2) => Reply::Map(table.iter().map(documented).collect()),
        (b"docs", _) => {
            Reply::Map(words.from(2).filter_map(|name| find(table, name)).map(documented).collect())
        }
        (b"count", _) => refused::arity("command|count"),
        _ => refused::unknown_sub("command", words.get(1)),
    }
}

/// The names that fit a pattern, of any case as they are.
fn listed(table: &[Command], pattern: &[u8]) -> Reply {
    let lower = pattern.to_ascii_lowercase();
    let fits =
        |command: &&Command| pattern.len() <= PATTERN_MAX && glob::matches(&lower, command.name.as_bytes());
    Reply::List(table.iter().filter(fits).map(|command| Reply::text(command.name)).collect())
}

/// The command of that name, in any case.
pub fn find<'t>(table: &'t [Command], name: &[u8]) -> Option<&'t Command> {
    table.iter().find(|command| name.eq_ignore_ascii_case(command.name.as_bytes()))
}

fn described(command: &Command) -> Reply {
    let (first, last, step) = command.keys;
    Reply::List(vec![
        Reply::text(command.name),
        Reply::Number(command.arity),
        Reply::List(command.flags.iter().map(|flag| Reply::Word(flag)).collect()),
        Reply::Number(first),
        Reply::Number(last),
        Reply::Number(step),
        Reply::List(Vec::new()),
        Reply::List(Vec::new()),
        Reply::List(Vec::new()),
        Reply::List(Vec::new()),
    ])
}

fn documented(command: &Command) -> (&'static str, Reply) {
    let is_data = command.keys.0 > 0;
    let group = if is_data { "string" } else { "server" };
    (command.name, Reply::Map(vec![("group", Reply::text(group)), ("arity", Reply::Number(command.arity))]))
}
