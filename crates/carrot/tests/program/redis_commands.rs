//! The commands of the Redis front, over real sockets, each reply byte by byte.

use std::net::SocketAddr;
use std::time::{Duration, Instant};

use tempfile::TempDir;

use crate::awaiting::until;
use crate::database::{Pages, SERVE};
use crate::process::Node;
use crate::redis_client::{RedisClient, request};

pub(crate) struct Served {
    pub(crate) node: Node,
    pub(crate) resp: SocketAddr,
    _directory: TempDir,
}

/// A group with an origin, in which there are Tom, Jack and an empty value.
pub(crate) fn served(flags: &[&str]) -> Served {
    let directory = tempfile::tempdir().unwrap();
    let origin = ["--group", "scores", "--origin", "table:Tom=630,Jack=589,none="];
    let (node, resp) = Node::with_redis(directory.path(), &[&origin, flags].concat(), &[]);
    node.until_ready();
    Served { node, resp, _directory: directory }
}

impl Served {
    pub(crate) fn client(&self) -> RedisClient {
        RedisClient::connect(self.resp)
    }

    pub(crate) fn loads(&self) -> f64 {
        self.node.page().loads()
    }
}

#[test]
fn a_get_reads_through_and_what_asks_of_memory_does_not() {
    let served = served(&[]);
    let mut client = served.client();
    for (line, reply) in [
        ("EXISTS scores:Tom", ":0\r\n"),
        ("TYPE scores:Tom", "+none\r\n"),
        ("TTL scores:Tom", ":-2\r\n"),
        ("PTTL scores:Tom", ":-2\r\n"),
        ("EXPIRETIME scores:Tom", ":-2\r\n"),
        ("PEXPIRETIME scores:Tom", ":-2\r\n"),
        ("TOUCH scores:Tom", ":0\r\n"),
        ("OBJECT FREQ scores:Tom", "$-1\r\n"),
        ("MEMORY USAGE scores:Tom", "$-1\r\n"),
        ("SET scores:Tom 1 XX", "$-1\r\n"),
        ("GETDEL scores:Tom", "$-1\r\n"),
        ("DBSIZE", ":0\r\n"),
    ] {
        client.ask(line, reply);
    }
    assert_eq!(served.loads(), 0.0);
    for (line, reply) in [
        ("GET scores:Tom", "$3\r\n630\r\n"),
        ("GET scores:Tom", "$3\r\n630\r\n"),
        ("GET scores:none", "$0\r\n\r\n"),
        ("GET scores:nobody", "$-1\r\n"),
        ("STRLEN scores:Jack", ":3\r\n"),
        ("STRLEN scores:nobody", ":0\r\n"),
        ("GETRANGE scores:Jack 0 1", "$2\r\n58\r\n"),
        ("GETRANGE scores:Jack -1 -1", "$1\r\n9\r\n"),
        ("GETRANGE scores:nobody 0 1", "$0\r\n\r\n"),
        ("MGET scores:Tom scores:nobody scores:Jack", "*3\r\n$3\r\n630\r\n$-1\r\n$3\r\n589\r\n"),
        ("EXISTS scores:Tom scores:Tom scores:nobody", ":2\r\n"),
        ("TYPE scores:Tom", "+string\r\n"),
        ("TTL scores:Tom", ":-1\r\n"),
        ("TOUCH scores:Tom scores:nobody", ":1\r\n"),
        ("DBSIZE", ":3\r\n"),
    ] {
        client.ask(line, reply);
    }
    assert!(client.number("MEMORY USAGE scores:Tom SAMPLES 5") > 9);
    assert!(client.number("OBJECT FREQ scores:Tom") > 0);
    // Tom, none, Jack; the others are asked for each time, since what is not there is not kept.
    assert!(served.loads() >= 3.0);
}

#[test]
fn what_is_set_is_got_until_it_is_deleted() {
    let served = served(&["--ttl", "1h"]);
    let mut client = served.client();
    let binary = b"\x00\r\n$5\r\n\xff";
    client.send(request(&[b"SET", b"scores:\x01", binary]));
    client.expect("+OK\r\n");
    client.send(request(&[b"GET", b"scores:\x01"]));
    client.expect([b"$8\r\n", &binary[..], b"\r\n"].concat());
    for (line, reply) in [
        ("SET scores:a 1", "+OK\r\n"),
        ("TTL scores:a", ":3600\r\n"),
        ("SET scores:a 2 NX", "$-1\r\n"),
        ("SETNX scores:a 2", ":0\r\n"),
        ("GET scores:a", "$1\r\n1\r\n"),
        ("SET scores:a 2 XX GET", "$1\r\n1\r\n"),
        ("SET scores:b 1 GET", "$-1\r\n"),
        ("SET scores:a 3 EX 100", "+OK\r\n"),
        ("TTL scores:a", ":100\r\n"),
        ("SET scores:a 4 KEEPTTL", "+OK\r\n"),
        ("TTL scores:a", ":100\r\n"),
        ("GET scores:a", "$1\r\n4\r\n"),
        ("SETEX scores:a 50 5", "+OK\r\n"),
        ("TTL scores:a", ":50\r\n"),
        ("PSETEX scores:a 70000 6", "+OK\r\n"),
        ("TTL scores:a", ":70\r\n"),
        ("SET scores:a 7 EXAT 1", "+OK\r\n"),
        ("EXISTS scores:a", ":0\r\n"),
        ("SETNX scores:a 8", ":1\r\n"),
        ("MSET scores:a 9 scores:c 10 scores:a 11", "+OK\r\n"),
        ("MGET scores:a scores:b scores:c", "*3\r\n$2\r\n11\r\n$1\r\n1\r\n$2\r\n10\r\n"),
        ("GETDEL scores:a", "$2\r\n11\r\n"),
        ("GETDEL scores:a", "$-1\r\n"),
        ("DEL scores:a scores:b scores:b scores:c", ":2\r\n"),
        ("UNLINK scores:b", ":0\r\n"),
    ] {
        client.ask(line, reply);
    }
    let ends = client.number("PEXPIRETIME scores:\\x01");
    assert_eq!(ends, -2, "a typed word without quotes stands for itself");
    let ends = client.number("EXPIRETIME \"scores:\\x01\"");
    assert!(ends > 1_700_000_000, "{ends}");
}

#[test]
fn errors_are_redis_s_own() {
    let served = served(&[]);
    let mut client = served.client();
    for (line, reply) in [
        ("NOSUCH a b", "-ERR unknown command 'NOSUCH', with args beginning with: 'a' 'b' \r\n"),
        ("INCR scores:a", "-ERR unknown command 'INCR', with args beginning with: 'scores:a' \r\n"),
        ("WATCH scores:a", "-ERR unknown command 'WATCH', with args beginning with: 'scores:a' \r\n"),
        ("GET", "-ERR wrong number of arguments for 'get' command\r\n"),
        ("get a b", "-ERR wrong number of arguments for 'get' command\r\n"),
        ("MSET scores:a", "-ERR wrong number of arguments for 'mset' command\r\n"),
        ("MSET scores:a 1 scores:b", "-ERR wrong number of arguments for 'mset' command\r\n"),
        ("PING a b", "-ERR wrong number of arguments for 'ping' command\r\n"),
        ("CLIENT", "-ERR wrong number of arguments for 'client' command\r\n"),
        ("CLIENT SETNAME", "-ERR wrong number of arguments for 'client|setname' command\r\n"),
        ("client nosuch", "-ERR unknown subcommand 'nosuch'. Try CLIENT HELP.\r\n"),
        ("CONFIG SET a b", "-ERR unknown subcommand 'SET'. Try CONFIG HELP.\r\n"),
        ("OBJECT ENCODING scores:a", "-ERR unknown subcommand 'ENCODING'. Try OBJECT HELP.\r\n"),
        ("SET scores:a 1 EX", "-ERR syntax error\r\n"),
        ("SET scores:a 1 EX 0", "-ERR invalid expire time in 'set' command\r\n"),
        ("EXPIRE scores:a", "-ERR wrong number of arguments for 'expire' command\r\n"),
        ("EXPIRE scores:a x", "-ERR value is not an integer or out of range\r\n"),
        ("EXPIRE scores:a 9223372036854776", "-ERR invalid expire time in 'expire' command\r\n"),
        ("PEXPIRE scores:a 9223372036854775807", "-ERR invalid expire time in 'pexpire' command\r\n"),
        ("EXPIREAT scores:a 9223372036854776", "-ERR invalid expire time in 'expireat' command\r\n"),
        ("EXPIRE scores:a 1 KEEPTTL", "-ERR Unsupported option KEEPTTL\r\n"),
        (
            "EXPIRE scores:a 1 NX GT",
            "-ERR NX and XX, GT or LT options at the same time are not compatible\r\n",
        ),
        ("EXPIRE scores:a 1 GT LT", "-ERR GT and LT options at the same time are not compatible\r\n"),
        ("EXPIRE none:a 1", "-NOGROUP no such group: none\r\n"),
        ("PERSIST scores:a 1", "-ERR wrong number of arguments for 'persist' command\r\n"),
        ("GETEX scores:a EX 0", "-ERR invalid expire time in 'getex' command\r\n"),
        ("GETEX scores:a EX 1 PERSIST", "-ERR syntax error\r\n"),
        ("FLUSHALL now", "-ERR syntax error\r\n"),
        ("FLUSHDB ASYNC SYNC", "-ERR syntax error\r\n"),
        ("CLIENT KILL", "-ERR wrong number of arguments for 'client|kill' command\r\n"),
        ("CLIENT KILL 127.0.0.1:1", "-ERR No such client\r\n"),
        ("CLIENT KILL ID 0", "-ERR client-id should be greater than 0\r\n"),
        ("CLIENT KILL ID x", "-ERR client-id should be greater than 0\r\n"),
        ("CLIENT KILL TYPE nosuch", "-ERR Unknown client type 'nosuch'\r\n"),
        ("CLIENT KILL USER nosuch", "-ERR No such user 'nosuch'\r\n"),
        ("CLIENT KILL SKIPME maybe", "-ERR syntax error\r\n"),
        ("CLIENT KILL ID 1 ADDR", "-ERR syntax error\r\n"),
        ("CLIENT LIST nosuch", "-ERR syntax error\r\n"),
        ("CLIENT LIST TYPE nosuch", "-ERR Unknown client type 'nosuch'\r\n"),
        ("CLIENT LIST TYPE normal 1", "-ERR syntax error\r\n"),
        ("CLIENT LIST ID", "-ERR syntax error\r\n"),
        ("CLIENT LIST ID 1 x", "-ERR Invalid client ID\r\n"),
        ("CLIENT REPLY", "-ERR wrong number of arguments for 'client|reply' command\r\n"),
        ("CLIENT REPLY maybe", "-ERR syntax error\r\n"),
        ("COMMAND LIST FILTERBY", "-ERR syntax error\r\n"),
        ("COMMAND LIST FILTERBY nosuch a", "-ERR syntax error\r\n"),
        ("SLOWLOG GET x", "-ERR count should be greater than or equal to -1\r\n"),
        ("SLOWLOG GET -2", "-ERR count should be greater than or equal to -1\r\n"),
        ("CLIENT HELP me", "-ERR wrong number of arguments for 'client|help' command\r\n"),
        ("SETEX scores:a -1 1", "-ERR invalid expire time in 'setex' command\r\n"),
        ("SET scores:a 1 PX x", "-ERR value is not an integer or out of range\r\n"),
        ("GETRANGE scores:a 0 x", "-ERR value is not an integer or out of range\r\n"),
        ("SELECT 1", "-ERR DB index is out of range\r\n"),
        ("SELECT a", "-ERR value is not an integer or out of range\r\n"),
        ("SCAN x", "-ERR invalid cursor\r\n"),
        ("SCAN 0 COUNT 0", "-ERR syntax error\r\n"),
        ("KEYS *", "-ERR KEYS would walk all of this node's memory at once, use SCAN\r\n"),
        ("EXEC", "-ERR EXEC without MULTI\r\n"),
        ("DISCARD", "-ERR DISCARD without MULTI\r\n"),
        ("HELLO 4", "-NOPROTO unsupported protocol version\r\n"),
        ("HELLO x", "-ERR Protocol version is not an integer or out of range\r\n"),
        ("HELLO 3 NOSUCH", "-ERR Syntax error in HELLO option 'NOSUCH'\r\n"),
        ("GET none:Tom", "-NOGROUP no such group: none\r\n"),
        ("GET Tom", "-NOGROUP no such group: Tom\r\n"),
        ("GET scores:", "-ERR key is required\r\n"),
        ("MGET scores:Tom none:a", "*2\r\n$3\r\n630\r\n-NOGROUP no such group: none\r\n"),
        (
            "AUTH a",
            "-ERR AUTH <password> called without any password configured for the default user. Are you sure your \
             configuration is correct?\r\n",
        ),
        ("AUTH other a", "-WRONGPASS invalid username-password pair or user is disabled.\r\n"),
        ("AUTH default a", "+OK\r\n"),
    ] {
        client.ask(line, reply);
    }
    let long = "k".repeat(5000);
    client.ask(&format!("GET scores:{long}"), "-ERR key of 5000 bytes is over the limit of 4096\r\n");
    assert_eq!(served.loads(), 1.0);
}

#[test]
fn keys_without_a_group_go_to_the_default_one() {
    let served = served(&["--default-group", "scores"]);
    let mut client = served.client();
    client.ask("GET Tom", "$3\r\n630\r\n");
    client.ask("GET scores:Tom", "$3\r\n630\r\n");
    client.ask("SET none:a 1", "+OK\r\n");
    client.ask("GET scores:none:a", "$1\r\n1\r\n");
}

#[test]
fn a_connection_is_greeted_in_both_versions() {
    let served = served(&[]);
    let mut client = served.client();
    client.ask("PING", "+PONG\r\n");
    client.ask("PING hello", "$5\r\nhello\r\n");
    client.ask("ECHO hello", "$5\r\nhello\r\n");
    client.ask("CLIENT ID", ":1\r\n");
    client.ask(
        "HELLO",
        "*14\r\n$6\r\nserver\r\n$5\r\nredis\r\n$7\r\nversion\r\n$6\r\n7.0.15\r\n$5\r\nproto\r\n:2\r\n$2\r\nid\r\n:1\r\n\
         $4\r\nmode\r\n$10\r\nstandalone\r\n$4\r\nrole\r\n$6\r\nmaster\r\n$7\r\nmodules\r\n*0\r\n",
    );
    client.ask("GET scores:nobody", "$-1\r\n");
    client.ask(
        "HELLO 3 SETNAME me",
        "%7\r\n$6\r\nserver\r\n$5\r\nredis\r\n$7\r\nversion\r\n$6\r\n7.0.15\r\n$5\r\nproto\r\n:3\r\n$2\r\nid\r\n:1\r\n\
         $4\r\nmode\r\n$10\r\nstandalone\r\n$4\r\nrole\r\n$6\r\nmaster\r\n$7\r\nmodules\r\n*0\r\n",
    );
    client.ask("GET scores:nobody", "_\r\n");
    client.ask("MGET scores:nobody scores:Tom", "*2\r\n_\r\n$3\r\n630\r\n");
    client.ask("CLIENT GETNAME", "$2\r\nme\r\n");
    client.ask("CLIENT SETINFO lib-name tests", "+OK\r\n");
    client.ask("CLIENT SETINFO nosuch tests", "-ERR Unrecognized option 'nosuch'\r\n");
    let named = "ERR Client names cannot contain spaces, newlines or special characters.";
    client.ask("CLIENT SETNAME \"a b\"", format!("-{named}\r\n"));
    let info = client.text("CLIENT INFO");
    assert!(info.contains(" name=me ") && info.contains(" resp=3 lib-name=tests "), "{info}");
    for (list, is_in) in [
        ("TYPE normal", true),
        ("TYPE master", false),
        ("ID 1", true),
        ("ID 2 1", true),
        ("ID 2", false),
        ("", true),
    ] {
        let lines = client.text(&format!("CLIENT LIST {list}"));
        assert_eq!(lines.contains("id=1 "), is_in, "{list}: {lines}");
    }
    client.ask("CLIENT REPLY ON", "+OK\r\n");
    client.ask("COMMAND LIST FILTERBY PATTERN MS*", "*1\r\n$4\r\nmset\r\n");
    client.ask("CONFIG GET databases", "%1\r\n$9\r\ndatabases\r\n$1\r\n1\r\n");
    client.ask("SLOWLOG LEN", ":0\r\n");
    client.ask("COMMAND INFO get nosuch", "*2\r\n*10\r\n$3\r\nget\r\n:2\r\n*2\r\n+readonly\r\n+fast\r\n:1\r\n:1\r\n:1\r\n*0\r\n*0\r\n*0\r\n*0\r\n_\r\n");
    client.ask("RESET", "+RESET\r\n");
    client.ask("GET scores:nobody", "$-1\r\n");
    client.ask("QUIT", "+OK\r\n");
    assert_eq!(client.rest(), b"");
}

#[test]
fn what_was_slow_is_in_the_slowlog_also_where_it_was_queued() {
    let pages = Pages::new("delete", &[("home", "Hello")]);
    let (node, resp) = Node::with_redis(pages.directory.path(), &SERVE, &[]);
    node.until_ready();
    let mut client = RedisClient::connect(resp);
    for (sent, slow) in [
        ("GET pages:1\r\nPING\r\n", vec!["GET", "pages:1"]),
        ("GETRANGE pages:2 0 1\r\nPING\r\n", vec!["GETRANGE", "pages:2", "0", "1"]),
        ("MULTI\r\nGET pages:3\r\nEXEC\r\nPING\r\n", vec!["GET", "pages:3"]),
        ("MULTI\r\nMGET pages:4\r\nEXEC\r\nPING\r\n", vec!["MGET", "pages:4"]),
    ] {
        pages.lock();
        client.send(sent);
        until("it is loaded", || node.page().sum("carrot_flights", "") == 1.0);
        let begun = Instant::now();
        // From 10 ms on it is slow.
        until("it was slow", || begun.elapsed() > Duration::from_millis(10));
        pages.unlock();
        while client.line() != "+PONG" {}
        client.ask("SLOWLOG LEN", ":1\r\n");
        client.send("SLOWLOG GET\r\n");
        let heads = [(); 6].map(|()| client.line());
        assert_eq!(heads[5], format!("*{}", slow.len()), "{heads:?}");
        assert_eq!(slow.iter().map(|_| client.string()).collect::<Vec<_>>(), slow);
        // From where, and the client's name.
        client.string();
        client.string();
        client.ask("SLOWLOG RESET", "+OK\r\n");
    }
}

#[test]
fn info_tells_what_tools_look_for() {
    let served = served(&[]);
    let mut client = served.client();
    client.ask("MGET scores:Tom scores:Jack", "*2\r\n$3\r\n630\r\n$3\r\n589\r\n");
    client.ask("GET scores:Tom", "$3\r\n630\r\n");
    let info = client.text("INFO");
    for line in [
        "redis_version:7.0.15",
        "redis_mode:standalone",
        "connected_clients:1",
        "role:master",
        "blocked_clients:0",
        "db0:keys=2,expires=0,avg_ttl=0",
        "total_commands_processed:2",
        "keyspace_hits:1",
        "keyspace_misses:2",
    ] {
        assert!(info.lines().any(|told| told == line), "{line} is not in\n{info}");
    }
    let memory = client.text("INFO memory");
    assert!(memory.starts_with("# Memory\r\nused_memory:") && !memory.contains("# Server"), "{memory}");
    let page = served.node.page();
    assert_eq!(page.number("carrot_resp_commands_total"), 4.0);
    assert_eq!(page.number(r#"carrot_connections_accepted_total{listener="resp"}"#), 1.0);
}

#[test]
fn a_scan_finds_every_key_of_this_node() {
    let served = served(&[]);
    let mut client = served.client();
    for n in 0..1000 {
        client.send(format!("SET scores:{n} v\r\n"));
    }
    (0..1000).for_each(|_| client.expect("+OK\r\n"));
    let mut scan = |options: &str| {
        let (mut cursor, mut keys) = ("0".to_owned(), Vec::new());
        loop {
            client.send(format!("SCAN {cursor} {options}\r\n"));
            assert_eq!(client.line(), "*2");
            cursor = client.string();
            let count: usize = client.line().trim_start_matches('*').parse().unwrap();
            keys.extend((0..count).map(|_| client.string()));
            if cursor == "0" {
                keys.sort();
                return keys;
            }
        }
    };
    let mut all: Vec<String> = (0..1000).map(|n| format!("scores:{n}")).collect();
    all.sort();
    assert_eq!(scan(""), all);
    assert_eq!(scan("COUNT 300 TYPE string"), all);
    assert_eq!(scan("COUNT 300 TYPE hash"), [""; 0]);
    assert_eq!(scan("MATCH scores:99?").len(), 10);
    client.ask("DBSIZE", ":1000\r\n");
}

#[test]
fn what_is_queued_runs_in_order_at_exec() {
    let served = served(&[]);
    let mut client = served.client();
    client.ask("MULTI", "+OK\r\n");
    for line in ["SET scores:a 1", "GET scores:a", "GET scores:Tom", "GET none:a", "DEL scores:a", "PING"] {
        client.ask(line, "+QUEUED\r\n");
    }
    client.ask("MULTI", "-ERR MULTI calls can not be nested\r\n");
    served.client().ask("EXISTS scores:a", ":0\r\n");
    client
        .ask("EXEC", "*6\r\n+OK\r\n$1\r\n1\r\n$3\r\n630\r\n-NOGROUP no such group: none\r\n:1\r\n+PONG\r\n");
    client.ask("MULTI", "+OK\r\n");
    client.ask("SET scores:a 1", "+QUEUED\r\n");
    client.ask("DISCARD", "+OK\r\n");
    client.ask("MULTI", "+OK\r\n");
    client.ask("SET scores:a 1", "+QUEUED\r\n");
    client.ask("GET", "-ERR wrong number of arguments for 'get' command\r\n");
    client.ask("EXEC", "-EXECABORT Transaction discarded because of previous errors.\r\n");
    client.ask("EXISTS scores:a", ":0\r\n");
    client.ask("MULTI", "+OK\r\n");
    client.ask("SET scores:a 1", "+QUEUED\r\n");
    client.ask(
        "EXEC now",
        "-EXECABORT Transaction discarded because of: wrong number of arguments for 'exec' command\r\n",
    );
    client.ask("EXEC", "-ERR EXEC without MULTI\r\n");
    client.ask("EXISTS scores:a", ":0\r\n");
    client.ask("MULTI", "+OK\r\n");
    client.ask("EXEC", "*0\r\n");
}
