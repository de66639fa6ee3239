//! The table of commands: what there is, how many words it takes, and who runs it.
//!
//! What is not in it is unknown, as in Redis: lists, hashes, scripts, subscriptions, counters, WATCH.

use crate::resp::command::{Command, Run};
use crate::resp::{client, describe, ends, flush, greet, info, reads, residents, walk, writes};

const NO_KEYS: (i64, i64, i64) = (0, 0, 0);
const ONE_KEY: (i64, i64, i64) = (1, 1, 1);
const MANY_KEYS: (i64, i64, i64) = (1, -1, 1);

const READS: &[&str] = &["readonly", "fast"];
const WRITES: &[&str] = &["write"];
const QUICK_WRITES: &[&str] = &["write", "fast"];
const SERVES: &[&str] = &["fast"];

const fn command(
    name: &'static str,
    arity: i64,
    flags: &'static [&'static str],
    keys: (i64, i64, i64),
    run: Run,
) -> Command {
    Command { name, arity, flags, keys, run }
}

/// All commands. Those that are sent most are found first.
pub const TABLE: &[Command] = &[
    command("get", 2, READS, ONE_KEY, Run::Read(reads::get)),
    command("set", -3, WRITES, ONE_KEY, Run::Later(writes::set)),
    command("mget", -2, READS, MANY_KEYS, Run::Later(reads::mget)),
    command("del", -2, WRITES, MANY_KEYS, Run::Later(writes::del)),
    command("exists", -2, READS, MANY_KEYS, Run::Later(residents::exists)),
    command("ttl", 2, READS, ONE_KEY, Run::Later(residents::ttl)),
    command("setex", 4, WRITES, ONE_KEY, Run::Later(writes::setex)),
    command("ping", -1, SERVES, NO_KEYS, Run::Here(greet::ping)),
    command("psetex", 4, WRITES, ONE_KEY, Run::Later(writes::psetex)),
    command("setnx", 3, WRITES, ONE_KEY, Run::Later(writes::setnx)),
    command("getex", -2, QUICK_WRITES, ONE_KEY, Run::Later(ends::getex)),
    command("getdel", 2, WRITES, ONE_KEY, Run::Later(writes::getdel)),
    command("mset", -3, WRITES, (1, -1, 2), Run::Later(writes::mset)),
    command("unlink", -2, WRITES, MANY_KEYS, Run::Later(writes::del)),
    command("strlen", 2, READS, ONE_KEY, Run::Read(reads::strlen)),
    command("getrange", 4, READS, ONE_KEY, Run::Later(reads::getrange)),
    command("touch", -2, READS, MANY_KEYS, Run::Later(residents::touch)),
    command("type", 2, READS, ONE_KEY, Run::Later(residents::kind)),
    command("pttl", 2, READS, ONE_KEY, Run::Later(residents::pttl)),
    command("expiretime", 2, READS, ONE_KEY, Run::Later(residents::expiretime)),
    command("pexpiretime", 2, READS, ONE_KEY, Run::Later(residents::pexpiretime)),
    command("expire", -3, QUICK_WRITES, ONE_KEY, Run::Later(ends::expire)),
    command("pexpire", -3, QUICK_WRITES, ONE_KEY, Run::Later(ends::pexpire)),
    command("expireat", -3, QUICK_WRITES, ONE_KEY, Run::Later(ends::expireat)),
    command("pexpireat", -3, QUICK_WRITES, ONE_KEY, Run::Later(ends::pexpireat)),
    command("persist", 2, QUICK_WRITES, ONE_KEY, Run::Later(ends::persist)),
    command("object", -2, READS, (2, 2, 1), Run::Later(residents::object)),
    command("memory", -2, READS, (2, 2, 1), Run::Later(residents::memory)),
    command("scan", -2, READS, NO_KEYS, Run::Here(walk::scan)),
    command("dbsize", 1, READS, NO_KEYS, Run::Here(walk::dbsize)),
    command("flushall", -1, WRITES, NO_KEYS, Run::Later(flush::flush)),
    command("flushdb", -1, WRITES, NO_KEYS, Run::Later(flush::flush)),
    command("keys", 2, READS, NO_KEYS, Run::Here(walk::keys)),
    command("multi", 1, SERVES, NO_KEYS, Run::Multi),
    command("exec", 1, SERVES, NO_KEYS, Run::Exec),
    command("discard", 1, SERVES, NO_KEYS, Run::Discard),
    command("hello", -1, SERVES, NO_KEYS, Run::Here(greet::hello)),
    command("auth", -2, SERVES, NO_KEYS, Run::Here(greet::auth)),
    command("select", 2, SERVES, NO_KEYS, Run::Here(greet::select)),
    command("echo", 2, SERVES, NO_KEYS, Run::Here(greet::echo)),
    command("quit", -1, SERVES, NO_KEYS, Run::Here(greet::quit)),
    command("reset", 1, SERVES, NO_KEYS, Run::Here(greet::reset)),
    command("client", -2, SERVES, NO_KEYS, Run::Here(client::client)),
    command("command", -1, SERVES, NO_KEYS, Run::Table(describe::command)),
    command("info", -1, SERVES, NO_KEYS, Run::Here(info::info)),
    command("config", -2, SERVES, NO_KEYS, Run::Here(info::config)),
    command("slowlog", -2, SERVES, NO_KEYS, Run::Here(info::slowlog)),
    command("post", -1, SERVES, NO_KEYS, Run::HangUp),
    command("host:", -1, SERVES, NO_KEYS, Run::HangUp),
];
