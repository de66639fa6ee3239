//! What ends: entries by EXPIRE and its kin, all of them by FLUSHALL, connections by CLIENT KILL; on one node and on two.

use crate::awaiting::until;
use crate::process::Node;
use crate::redis_client::RedisClient;
use crate::redis_commands::served;

/// An answer that is this number, or one less: a moment has passed.
#[track_caller]
fn about(client: &mut RedisClient, line: &str, expected: i64) {
    let number = client.number(line);
    assert!((expected - 1..=expected).contains(&number), "{line}: {number}");
}

#[test]
fn an_entry_is_given_other_ends_and_none_is_loaded_for_it() {
    let served = served(&["--ttl", "1h"]);
    let mut client = served.client();
    for line in
        ["EXPIRE scores:Tom 100", "PEXPIREAT scores:Tom 1", "PERSIST scores:Tom", "EXPIRE scores:Tom -1"]
    {
        client.ask(line, ":0\r\n");
    }
    assert_eq!(served.loads(), 0.0);
    client.ask("GET scores:Tom", "$3\r\n630\r\n");
    about(&mut client, "TTL scores:Tom", 3600);
    for (line, ttl) in [
        ("EXPIRE scores:Tom 100", 100),
        ("PEXPIRE scores:Tom 200000", 200),
        ("EXPIRE scores:Tom 300 GT", 300),
        ("EXPIRE scores:Tom 250 LT", 250),
        ("EXPIRE scores:Tom 7200 XX", 7200),
        ("PERSIST scores:Tom", 3600),
    ] {
        client.ask(line, ":1\r\n");
        about(&mut client, "TTL scores:Tom", ttl);
    }
    for line in ["EXPIRE scores:Tom 100 NX", "EXPIRE scores:Tom 100 GT", "EXPIRE scores:Tom 7200 LT"] {
        client.ask(line, ":0\r\n");
        about(&mut client, "TTL scores:Tom", 3600);
    }
    let now = std::time::UNIX_EPOCH.elapsed().unwrap().as_secs();
    client.ask(&format!("EXPIREAT scores:Tom {}", now + 500), ":1\r\n");
    assert_eq!(client.number("EXPIRETIME scores:Tom"), i64::try_from(now + 500).unwrap());
    client.ask(&format!("PEXPIREAT scores:Tom {}", (now + 600) * 1000), ":1\r\n");
    about(&mut client, "TTL scores:Tom", 600);
    // A time of its own that is beyond the group's is not kept: what is set anew stays within it.
    client.ask("EXPIRE scores:Tom 7200", ":1\r\n");
    client.ask("SET scores:Tom 1 KEEPTTL", "+OK\r\n");
    about(&mut client, "TTL scores:Tom", 3600);
    assert_eq!(served.loads(), 1.0);
    // What has passed is gone, and is loaded anew.
    client.ask("EXPIRE scores:Tom 0", ":1\r\n");
    client.ask("EXISTS scores:Tom", ":0\r\n");
    client.ask("GET scores:Tom", "$3\r\n630\r\n");
    client.ask("PEXPIRE scores:Tom 1", ":1\r\n");
    until("it is over", || client.number("EXISTS scores:Tom") == 0);
}

#[test]
fn in_a_group_without_ttl_an_entry_has_an_end_until_it_is_persisted() {
    let served = served(&[]);
    let mut client = served.client();
    for (line, reply) in [
        ("GET scores:Tom", "$3\r\n630\r\n"),
        ("PERSIST scores:Tom", ":0\r\n"),
        ("EXPIRE scores:Tom 100 XX", ":0\r\n"),
        ("EXPIRE scores:Tom 100 GT", ":0\r\n"),
        ("EXPIRE scores:Tom 100 XX LT", ":0\r\n"),
        ("TTL scores:Tom", ":-1\r\n"),
        ("EXPIRE scores:Tom 100 LT", ":1\r\n"),
        ("EXPIRE scores:Tom 100 NX", ":0\r\n"),
        ("PERSIST scores:Tom", ":1\r\n"),
        ("TTL scores:Tom", ":-1\r\n"),
        ("EXPIRE scores:Tom 100 NX", ":1\r\n"),
    ] {
        client.ask(line, reply);
    }
    client.ask("MULTI", "+OK\r\n");
    client.ask("PERSIST scores:Tom", "+QUEUED\r\n");
    client.ask("GETEX scores:Tom EX 10", "+QUEUED\r\n");
    client.ask("FLUSHDB", "+QUEUED\r\n");
    client.ask("EXEC", "*3\r\n:1\r\n$3\r\n630\r\n+OK\r\n");
}

#[test]
fn getex_reads_through_and_gives_an_end() {
    let served = served(&["--ttl", "1h"]);
    let mut client = served.client();
    client.ask("GETEX scores:nobody EX 10", "$-1\r\n");
    client.ask("GETEX scores:Tom", "$3\r\n630\r\n");
    about(&mut client, "TTL scores:Tom", 3600);
    client.ask("GETEX scores:Jack EX 100", "$3\r\n589\r\n");
    about(&mut client, "TTL scores:Jack", 100);
    client.ask("GETEX scores:Jack PERSIST", "$3\r\n589\r\n");
    about(&mut client, "TTL scores:Jack", 3600);
    client.ask("GETEX scores:Jack PX 5000", "$3\r\n589\r\n");
    about(&mut client, "TTL scores:Jack", 5);
    client.ask("GETEX scores:Jack EXAT 1", "$3\r\n589\r\n");
    client.ask("EXISTS scores:Jack", ":0\r\n");
    assert_eq!(served.loads(), 3.0);
}

#[test]
fn help_names_what_is_answered() {
    let served = served(&[]);
    let mut client = served.client();
    for command in ["CLIENT", "COMMAND", "CONFIG", "MEMORY", "OBJECT", "SLOWLOG"] {
        client.send(format!("{command} HELP\r\n"));
        let count: usize = client.line().trim_start_matches('*').parse().unwrap();
        let lines: Vec<String> = (0..count).map(|_| client.line()).collect();
        let head = format!("+{command} <subcommand> [<arg> [value] [opt] ...]. Subcommands are:");
        assert_eq!(lines[0], head);
        assert_eq!(lines[count - 2..], ["+HELP", "+    Print this help."]);
        // What it names, it answers.
        let is_named = |line: &&String| line.as_bytes().get(1).is_some_and(u8::is_ascii_uppercase);
        for line in lines[1..].iter().filter(is_named) {
            let sub = line.trim_start_matches('+').split(' ').next().unwrap();
            if sub != "KILL" {
                client.send(format!("{command} {sub} 1 2 3 4 5 6\r\n"));
                client.send("PING end\r\n");
                let mut told = client.line();
                assert!(!told.contains("unknown subcommand"), "{command} {sub}: {told}");
                while told != "end" {
                    told = client.line();
                }
            }
        }
    }
}

#[test]
fn a_flush_clears_every_group_on_every_member() {
    let directory = tempfile::tempdir().unwrap();
    let origin = ["--group", "scores", "--origin", "table:Tom=630,Jack=589"];
    let mut nodes = Node::cluster_with_redis(directory.path(), &["a", "b"], &origin);
    nodes.iter().for_each(|(node, _)| node.until_ready());
    let mut clients: Vec<_> = nodes.iter().map(|(_, resp)| RedisClient::connect(*resp)).collect();
    for n in 0..100 {
        clients[n % 2].ask(&format!("SET scores:{n} v"), "+OK\r\n");
    }
    let held = |clients: &mut [RedisClient]| -> i64 {
        clients.iter_mut().map(|client| client.number("DBSIZE")).sum()
    };
    assert_eq!(held(&mut clients), 100);
    clients[0].ask("FLUSHALL", "+OK\r\n");
    assert_eq!(held(&mut clients), 0);
    clients[1].ask("GET scores:Tom", "$3\r\n630\r\n");
    clients[1].ask("FLUSHDB ASYNC", "+OK\r\n");
    assert_eq!(held(&mut clients), 0);
    // Changes find their owners from either node.
    clients[0].ask("MSET scores:0 v scores:1 v scores:2 v scores:3 v", "+OK\r\n");
    for n in 0..4 {
        clients[0].ask(&format!("SET scores:{n} w NX"), "$-1\r\n");
        clients[1].ask(&format!("EXPIRE scores:{n} 100 NX"), ":1\r\n");
        about(&mut clients[0], &format!("TTL scores:{n}"), 100);
        clients[0].ask(&format!("DEL scores:{n}"), ":1\r\n");
        clients[1].ask(&format!("DEL scores:{n}"), ":0\r\n");
        clients[1].ask(&format!("SETNX scores:{n} w"), ":1\r\n");
    }
    nodes.remove(1).0.process.kill();
    clients[0].send("FLUSHALL\r\n");
    let told = clients[0].line();
    assert!(told.starts_with("-UNCONFIRMED http://127.0.0.1:") && told.contains("did not confirm"), "{told}");
    clients[0].ask("DBSIZE", ":0\r\n");
}

#[test]
fn a_client_that_waits_for_a_load_is_killed_without_an_answer() {
    // An origin that takes connections and says nothing.
    let silent = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let directory = tempfile::tempdir().unwrap();
    let origin = format!("http://{}/{{key}}", silent.local_addr().unwrap());
    let group = ["--group", "scores", "--origin", &origin];
    let (node, resp) = Node::with_redis(directory.path(), &group, &[]);
    let (mut waiting, mut other) = (RedisClient::connect(resp), RedisClient::connect(resp));
    let id = waiting.number("CLIENT ID");
    waiting.send("GET scores:Tom\r\n");
    until("it waits", || node.page().number(r#"carrot_waiters{group="scores"}"#) == 1.0);
    other.ask(&format!("CLIENT KILL ID {id}"), ":1\r\n");
    assert_eq!(waiting.rest(), b"");
    other.ask("PING", "+PONG\r\n");
}

#[test]
fn a_client_is_killed_by_its_address_its_id_or_with_all_others() {
    let served = served(&[]);
    let mut client = served.client();
    let address = |client: &mut RedisClient| {
        let info = client.text("CLIENT INFO");
        info.split(' ').find_map(|word| word.strip_prefix("addr=")).unwrap().to_owned()
    };
    let mut others: Vec<RedisClient> = (0..4).map(|_| served.client()).collect();
    let (first, second) = (address(&mut others[0]), others[1].number("CLIENT ID"));
    others[2].ask("PING", "+PONG\r\n");
    others[3].ask("PING", "+PONG\r\n");
    client.ask(&format!("CLIENT KILL {first}"), "+OK\r\n");
    assert_eq!(others[0].rest(), b"");
    client.ask(&format!("CLIENT KILL ID {second} TYPE replica"), ":0\r\n");
    client.ask(&format!("CLIENT KILL ID {second} USER default"), ":1\r\n");
    assert_eq!(others[1].rest(), b"");
    let local = served.resp.to_string();
    client.ask("CLIENT KILL LADDR 127.0.0.1:1 SKIPME no", ":0\r\n");
    client.ask(&format!("CLIENT KILL LADDR {local} TYPE normal"), ":2\r\n");
    assert_eq!((others[2].rest(), others[3].rest()), (Vec::new(), Vec::new()));
    until("they have left", || client.text("CLIENT LIST").lines().count() == 1);
    client.ask("CLIENT KILL TYPE normal SKIPME no", ":1\r\n");
    assert_eq!(client.rest(), b"");
    // By the old form one may end oneself.
    let mut last = served.client();
    let own = address(&mut last);
    last.ask(&format!("CLIENT KILL {own}"), "+OK\r\n");
    assert_eq!(last.rest(), b"");
}
