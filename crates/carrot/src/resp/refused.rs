//! Errors in Redis's own words, by which clients tell them apart; and those of groups, which Redis does not have.
//!
//! Pure. The only place where errors of the library meet the protocol's codes.

use carrotcache::{GetError, HeldError, KeyError, WriteError, with_causes};

use crate::resp::reply::Reply;
use crate::resp::request::Words;

/// What stands of a client's own words in an error, in bytes.
const SHOWN: usize = 128;

/// The words are not those of this command.
pub fn syntax() -> Reply {
    Reply::error("ERR syntax error")
}

/// A word is no number.
pub fn not_a_number() -> Reply {
    Reply::error("ERR value is not an integer or out of range")
}

/// A time to live that is none, of that command.
pub fn bad_expiry(command: &str) -> Reply {
    Reply::error(format!("ERR invalid expire time in '{command}' command"))
}

/// An option that a command of the EXPIRE family does not have.
pub fn unsupported_option(option: &[u8]) -> Reply {
    Reply::error(format!("ERR Unsupported option {}", shown(option, SHOWN)))
}

/// Somebody of that name whom nobody knows.
pub fn unknown_named(what: &str, name: &[u8]) -> Reply {
    Reply::error(format!("ERR {what} '{}'", shown(name, SHOWN)))
}

/// Too few words, or too many; `command` is its full name.
pub fn arity(command: &str) -> Reply {
    Reply::error(format!("ERR wrong number of arguments for '{command}' command"))
}

/// A command that is not in the table.
pub fn unknown(words: Words<'_>) -> Reply {
    let mut arguments = String::new();
    for word in words.from(1) {
        if arguments.len() >= SHOWN {
            break;
        }
        arguments.push_str(&format!("'{}' ", shown(word, SHOWN - arguments.len())));
    }
    let name = shown(words.get(0), SHOWN);
    Reply::error(format!("ERR unknown command '{name}', with args beginning with: {arguments}"))
}

/// A subcommand that is not answered, of the command of that name.
pub fn unknown_sub(command: &str, sub: &[u8]) -> Reply {
    let (sub, command) = (shown(sub, SHOWN), command.to_uppercase());
    Reply::error(format!("ERR unknown subcommand '{sub}'. Try {command} HELP."))
}

/// No group of that name, and none for keys without one.
pub fn no_group(name: &[u8]) -> Reply {
    Reply::error(format!("NOGROUP no such group: {}", shown(name, 80)))
}

/// A key that no group takes.
pub fn key(error: KeyError) -> Reply {
    Reply::error(format!("ERR {error}"))
}

/// A get that gave no value. One without a value at the origin gives nil.
pub fn of_get(error: &GetError) -> Reply {
    match error {
        GetError::NotFound { .. } | GetError::NotCached { .. } => Reply::Nil,
        GetError::Key(error) => key(*error),
        GetError::Busy { limit } => Reply::error(format!("BUSY {limit}")),
        GetError::Leaving => Reply::error("BUSY this node is leaving"),
        GetError::Deadline { .. } => Reply::error(format!("TIMEOUT {error}")),
        // The origin's fault or the owner's.
        _ => Reply::error(format!("ORIGIN {}", with_causes(error))),
    }
}

/// A write that was not done, or not confirmed.
pub fn of_write(error: &WriteError) -> Reply {
    match error {
        WriteError::Key(error) => key(*error),
        WriteError::Busy { limit } => Reply::error(format!("BUSY {limit}")),
        WriteError::Unconfirmed { .. } | WriteError::Refused { .. } => {
            Reply::error(format!("UNCONFIRMED {}", with_causes(error)))
        }
        WriteError::Unsupported { .. } => Reply::error(format!("UNKNOWN {}", with_causes(error))),
        _ => Reply::error(format!("ERR {}", with_causes(error))),
    }
}

/// An owner that could not be asked what it holds.
pub fn of_held(error: &HeldError) -> Reply {
    if let HeldError::Key(error) = error {
        return key(*error);
    }
    Reply::error(format!("UNKNOWN {}", with_causes(error)))
}

/// The beginning of bytes that a client sent, as text.
fn shown(bytes: &[u8], most: usize) -> String {
    String::from_utf8_lossy(&bytes[..bytes.len().min(most)]).into_owned()
}
