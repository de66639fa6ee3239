//! HELP of the commands that have subcommands: those that are answered here, in Redis's words.
//!
//! Pure.

use crate::resp::refused;
use crate::resp::reply::Reply;
use crate::resp::request::Words;

/// The lines on a command's subcommands; the first and the last two are every command's.
pub type Lines = &'static [&'static str];

pub const CLIENT: Lines = &[
    "GETNAME",
    "    Return the name of the current connection.",
    "ID",
    "    Return the ID of the current connection.",
    "INFO",
    "    Return information about the current client connection.",
    "KILL <ip:port>",
    "    Kill connection made from <ip:port>.",
    "KILL <option> <value> [<option> <value> [...]]",
    "    Kill connections. Options are:",
    "    * ADDR <ip:port>",
    "      Kill connections made from the specified address",
    "    * LADDR <ip:port>",
    "      Kill connections made to specified local address",
    "    * ID <client-id>",
    "      Kill the connection with this ID.",
    "    * TYPE (NORMAL|MASTER|REPLICA|PUBSUB)",
    "      Kill connections by type.",
    "    * USER <username>",
    "      Kill connections authenticated by <username>.",
    "    * SKIPME (YES|NO)",
    "      Skip killing current connection (default: yes).",
    "LIST [<option> <value> [...]]",
    "    Return information about client connections. Options are:",
    "    * TYPE (NORMAL|MASTER|REPLICA|PUBSUB)",
    "      Return clients of specified type.",
    "    * ID <client-id> [<client-id> ...]",
    "      Return clients of specified IDs only.",
    "REPLY ON",
    "    Replies are sent to the current connection: there is nothing else here.",
    "SETINFO <option> <value>",
    "    Set client meta attr. Options are:",
    "    * LIB-NAME: the client lib name.",
    "    * LIB-VER: the client lib version.",
    "SETNAME <name>",
    "    Assign the name <name> to the current connection.",
    "NO-EVICT (ON|OFF)",
    "    Protect current client connection from eviction.",
    "NO-TOUCH (ON|OFF)",
    "    Will not touch LRU/LFU stats when this mode is on.",
];

pub const COMMAND: Lines = &[
    "(no subcommand)",
    "    Return details about all commands.",
    "COUNT",
    "    Return the total number of commands in this server.",
    "LIST [FILTERBY PATTERN <pattern>]",
    "    Return a list of all commands in this server.",
    "INFO [<command-name> ...]",
    "    Return details about multiple commands.",
    "    If no command names are given, details for all commands are returned.",
    "DOCS [<command-name> ...]",
    "    Return documentation details about multiple commands.",
    "    If no command names are given, documentation details for all",
    "    commands are returned.",
];

pub const CONFIG: Lines =
    &["GET <pattern>", "    Return parameters matching the glob-like <pattern> and their values."];

pub const MEMORY: Lines = &[
    "USAGE <key> [SAMPLES <count>]",
    "    Return memory in bytes used by <key> and its value. Values are not nested:",
    "    <count> is read and changes nothing.",
];

pub const OBJECT: Lines = &[
    "FREQ <key>",
    "    Return the access frequency index of the key <key>: how often it was used of",
    "    late, up to a few.",
];

pub const SLOWLOG: Lines = &[
    "GET [<count>]",
    "    Return top <count> entries from the slowlog (default: 10, -1 mean all).",
    "    Entries are made of:",
    "    id, timestamp, time in microseconds, arguments array, client IP and port,",
    "    client name",
    "LEN",
    "    Return the length of the slowlog.",
    "RESET",
    "    Reset the slowlog.",
];

/// The reply to `command HELP`, if these words are that.
pub fn asked(words: Words<'_>, command: &str, lines: Lines) -> Option<Reply> {
    if words.len() < 2 || !words.get(1).eq_ignore_ascii_case(b"help") {
        return None;
    }
    if words.len() > 2 {
        return Some(refused::arity(&format!("{command}|help")));
    }
    let upper = command.to_uppercase();
    let head = format!("{upper} <subcommand> [<arg> [value] [opt] ...]. Subcommands are:");
    let tail = ["HELP", "    Print this help."];
    let lines = lines.iter().chain(&tail).map(|line| Reply::Word(line));
    Some(Reply::List([Reply::Line(head)].into_iter().chain(lines).collect()))
}
