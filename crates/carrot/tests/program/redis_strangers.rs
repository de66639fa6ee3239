//! What no client should send to the Redis front: it is refused in Redis's words or dropped, and a good client beside it
//! gets every answer.

use std::io::Write;
use std::net::{Shutdown, SocketAddr, TcpStream};
use std::sync::Barrier;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use crate::awaiting::until;
use crate::command::Shell;
use crate::database::{Pages, SERVE};
use crate::good_client::Over;
use crate::process::Node;
use crate::redis_client::{RedisClient, request};

const TABLE: [&str; 4] = ["--group", "pages", "--origin", "table:home=Hello"];

/// Does what is hostile while a good client asks on a connection that it had before: once before, once after at least.
fn beside<T>(resp: SocketAddr, hostile: impl FnOnce() -> T) -> T {
    let (begun, over) = (Barrier::new(2), AtomicBool::new(false));
    std::thread::scope(|scope| {
        scope.spawn(|| {
            let mut client = RedisClient::connect(resp);
            let mut round = |n: usize| {
                client.ask(&format!("SET pages:own {n}"), "+OK\r\n");
                assert_eq!(client.text("GET pages:own"), n.to_string());
                client.ask("GET pages:home", "$5\r\nHello\r\n");
            };
            round(0);
            begun.wait();
            let (mut rounds, mut is_last) = (1, false);
            while !is_last {
                is_last = over.load(Ordering::Relaxed);
                round(rounds);
                rounds += 1;
            }
        });
        begun.wait();
        // Also when the hostile part fails: the scope waits for the good client.
        let _over = Over(&over);
        hostile()
    })
}

#[test]
fn bytes_that_are_no_request_are_refused_in_redis_s_words_and_end_the_connection() {
    let directory = tempfile::tempdir().unwrap();
    let (node, resp) = Node::with_redis(directory.path(), &TABLE, &[]);
    let nested = "*1\r\n".repeat(1_000_000);
    beside(resp, || {
        for (bytes, said) in [
            (nested.as_str(), "-ERR Protocol error: expected '$', got '*'\r\n"),
            ("*2000000000\r\n", "-ERR Protocol error: invalid multibulk length\r\n"),
            ("*1\r\n$-2\r\n", "-ERR Protocol error: invalid bulk length\r\n"),
            ("*2\r\n$3\r\nGET\r\n$536870912\r\n", "-ERR Protocol error: invalid bulk length\r\n"),
            ("GET \"a\r\n", "-ERR Protocol error: unbalanced quotes in request\r\n"),
            ("PING\r\n*1\r\n:1\r\n", "+PONG\r\n-ERR Protocol error: expected '$', got ':'\r\n"),
            // What a browser sends that was led here, and what Redis says to it.
            (
                "GET / HTTP/1.1\r\nHost: localhost\r\nUser-Agent: a\r\n\r\n",
                "-ERR wrong number of arguments for 'get' command\r\n",
            ),
            ("POST /v1/pages/home HTTP/1.1\r\nHost: localhost\r\n\r\nSET pages:home x\r\n", ""),
        ] {
            let mut client = RedisClient::connect(resp);
            client.send(bytes);
            assert_eq!(client.rest().escape_ascii().to_string(), said.as_bytes().escape_ascii().to_string());
        }
    });
    assert_eq!(node.page().number(r#"carrot_refusals_total{cause="malformed"}"#), 8.0);
    assert!(node.process.peak_memory() < 256 << 20);
}

#[test]
fn a_client_that_pipelines_large_values_and_never_reads_is_held_to_its_share() {
    let directory = tempfile::tempdir().unwrap();
    let (node, resp) = Node::with_redis(directory.path(), &TABLE, &[]);
    let value = vec![b'v'; 1 << 20];
    let mut client = RedisClient::connect(resp);
    client.send(request(&[b"SET", b"pages:large", &value]));
    client.expect("+OK\r\n");
    beside(resp, || {
        let greedy = "GET pages:large\r\n".repeat(1_000_000);
        let mut clients: Vec<_> = (0..8).map(|_| RedisClient::connect(resp)).collect();
        for client in &mut clients {
            let sent = client.stuff(greedy.as_bytes(), Duration::from_millis(100));
            assert!(sent < greedy.len(), "it is not read for whoever does not read");
        }
        // They are still connected, and what waits for them is bounded.
        assert!(node.process.peak_memory() < 256 << 20, "{}", node.process.peak_memory());
    });
}

#[test]
fn many_clients_that_pipeline_misses_of_large_values_and_never_read_are_held_to_one_share() {
    const CLIENTS: usize = 20;
    // As many as one client has under way.
    const EACH: usize = 64;
    let pages = Pages::new("delete", &[("home", "Hello")]);
    let query = "select coalesce((select body from pages where id = ?1), zeroblob(1048576))";
    let origin = ["--group", "pages", "--origin", "sqlite:app.db", "--query", query, "--capacity", "16MiB"];
    let (node, resp) = Node::with_redis(pages.directory.path(), &origin, &[]);
    node.until_ready();
    let mut clients: Vec<_> = (0..CLIENTS).map(|_| RedisClient::connect(resp)).collect();
    for (at, client) in clients.iter_mut().enumerate() {
        let greedy = (0..500).map(|n| format!("GET pages:{at}-{n}\r\n"));
        client.send(greedy.collect::<String>());
    }
    until("all are loaded that may be", || node.page().loads() >= (CLIENTS * EACH) as f64);
    RedisClient::connect(resp).ask("GET pages:home", "$5\r\nHello\r\n");
    assert!(node.process.peak_memory() < 640 << 20, "{}", node.process.peak_memory());
    // Nobody was refused: who reads gets all of it, though some of it was asked for again.
    let mut client = clients.swap_remove(0);
    drop(clients);
    (0..500).for_each(|n| assert!(client.string().len() == 1 << 20, "{n}"));
    let info = RedisClient::connect(resp).text("INFO stats");
    let repeated = info.lines().find_map(|line| line.strip_prefix("carrot_repeated_reads:"));
    assert!(repeated.is_some_and(|reads| reads != "0"), "{info}");
}

#[test]
fn what_is_queued_and_never_run_is_held_to_its_share_and_charged_to_memory() {
    let directory = tempfile::tempdir().unwrap();
    let value = vec![b'v'; 4 << 20];
    let set = request(&[b"SET", b"pages:large", &value]);
    // The room for all: 64 MiB by default, and a quarter of the memory where that has a size.
    for (flags, room) in [(&[][..], 64 << 20), (&["--memory", "64MiB"], 16 << 20)] {
        let (node, resp) = Node::with_redis(directory.path(), &[&TABLE[..], flags].concat(), &[]);
        let mut clients: Vec<_> = (0..12).map(|_| RedisClient::connect(resp)).collect();
        let mut queued = 0;
        beside(resp, || {
            for client in &mut clients {
                client.ask("MULTI", "+OK\r\n");
                let told = [(); 3].map(|()| {
                    client.send(&set);
                    client.line()
                });
                // Of one that is refused a part nothing is kept.
                let refused = told.iter().find(|told| *told != "+QUEUED");
                queued += if refused.is_none() { 3 * value.len() } else { 0 };
                let busy = "-BUSY all that clients have queued leaves no room for this";
                assert!(refused.is_none_or(|told| told == busy), "{flags:?}: {told:?}");
            }
        });
        assert!(queued > 0 && queued <= room, "{queued} of {room}");
        assert!(node.process.peak_memory() < 256 << 20, "{}", node.process.peak_memory());
        if !flags.is_empty() {
            // But what is free to each connection.
            let free = clients.len() * (16 << 10);
            assert!(node.page().number("carrot_memory_bytes") >= (queued - free) as f64);
        }
        let mut refused = clients.pop().unwrap();
        refused.ask("EXEC", "-EXECABORT Transaction discarded because of previous errors.\r\n");
        // A short one has room all the same.
        let mut short = RedisClient::connect(resp);
        short.send("MULTI\r\nGET pages:home\r\nEXEC\r\n");
        short.expect("+OK\r\n+QUEUED\r\n*1\r\n$5\r\nHello\r\n");
        drop(clients);
        // And once they are gone, a long one.
        until("there is room", || {
            let mut client = RedisClient::connect(resp);
            client.ask("MULTI", "+OK\r\n");
            client.send(&set);
            client.line() == "+QUEUED"
        });
    }
}

#[test]
fn a_client_that_never_stops_asking_leaves_the_thread_to_others() {
    const ROUNDS: usize = 20;
    let directory = tempfile::tempdir().unwrap();
    let (_node, resp) = Node::with_redis(directory.path(), &TABLE, &[]);
    let (over, much) = (AtomicBool::new(false), "PING\r\n".repeat(20_000));
    let begun = Instant::now();
    std::thread::scope(|scope| {
        // Of whom each takes his answers as they come, so that nobody ever waits for him.
        for _ in 0..std::thread::available_parallelism().map_or(2, usize::from) {
            let stream = TcpStream::connect(resp).unwrap();
            let (mut asks, mut takes) = (stream.try_clone().unwrap(), stream);
            scope.spawn(move || std::io::copy(&mut takes, &mut std::io::sink()));
            let (over, much) = (&over, &much);
            scope.spawn(move || {
                while !over.load(Ordering::Relaxed) && begun.elapsed() < Duration::from_secs(30) {
                    asks.write_all(much.as_bytes()).unwrap();
                }
                asks.shutdown(Shutdown::Both).unwrap();
            });
        }
        let _over = Over(&over);
        for n in 0..ROUNDS {
            RedisClient::connect(resp).ask("PING", "+PONG\r\n");
            assert!(begun.elapsed() < Duration::from_secs(30), "{n} of {ROUNDS} rounds");
        }
    });
}

#[test]
fn a_stranger_is_told_nothing_before_the_password() {
    let directory = tempfile::tempdir().unwrap();
    let variables = [("CARROT_PASSWORD", "sesame")];
    let (_node, resp) = Node::with_redis(directory.path(), &TABLE, &variables);
    let mut client = RedisClient::connect(resp);
    let hello = "-NOAUTH HELLO must be called with the client already authenticated, otherwise the HELLO <proto> AUTH \
                 <user> <pass> option can be used to authenticate the client and select the RESP protocol version at \
                 the same time\r\n";
    let wrong = "-WRONGPASS invalid username-password pair or user is disabled.\r\n";
    client.ask("GET pages:home", "-NOAUTH Authentication required.\r\n");
    client.ask("PING", "-NOAUTH Authentication required.\r\n");
    client.ask("HELLO 3", hello);
    client.ask("AUTH open", wrong);
    client.ask("AUTH other sesame", wrong);
    client.ask("AUTH sesame", "+OK\r\n");
    client.ask("GET pages:home", "$5\r\nHello\r\n");
    client.ask("RESET", "+RESET\r\n");
    client.ask("GET pages:home", "-NOAUTH Authentication required.\r\n");
    client.send("HELLO 3 AUTH default sesame\r\n");
    assert_eq!(client.line(), "%7");

    for (bytes, said) in [
        ("*11\r\n", "-ERR Protocol error: unauthenticated multibulk length\r\n"),
        ("*2\r\n$4\r\nAUTH\r\n$16385\r\n", "-ERR Protocol error: unauthenticated bulk length\r\n"),
    ] {
        let mut client = RedisClient::connect(resp);
        client.send(bytes);
        assert_eq!(client.rest(), said.as_bytes());
    }
    let mut client = RedisClient::connect(resp);
    client.send("AUTH guess\r\n".repeat(20));
    assert_eq!(client.rest(), wrong.repeat(8).as_bytes(), "the eighth guess is the last");
}

#[test]
fn values_that_are_too_much_for_one_mget_are_refused_whether_they_are_here_or_not() {
    let directory = tempfile::tempdir().unwrap();
    std::fs::create_dir(directory.path().join("public")).unwrap();
    let file = std::fs::File::create(directory.path().join("public/large")).unwrap();
    file.set_len(8_000_000).unwrap();
    let origin = ["--group", "files", "--origin", "dir:public"];
    let (_node, resp) = Node::with_redis(directory.path(), &origin, &[]);
    let mut client = RedisClient::connect(resp);
    let nine = format!("MGET{}", " files:large".repeat(9));
    let refused = "-ERR these values are over 67108864 bytes together: ask for fewer\r\n";
    client.ask(&nine, refused);
    client.ask("STRLEN files:large", ":8000000\r\n");
    client.ask(&nine, refused);
}

#[test]
fn redis_clients_may_have_another_password_than_those_of_http() {
    let directory = tempfile::tempdir().unwrap();
    let variables = [("CARROT_PASSWORD", "sesame"), ("CARROT_RESP_PASSWORD", "open")];
    let (node, resp) = Node::with_redis(directory.path(), &TABLE, &variables);
    let mut client = RedisClient::connect(resp);
    client.ask("AUTH sesame", "-WRONGPASS invalid username-password pair or user is disabled.\r\n");
    client.ask("AUTH open", "+OK\r\n");
    client.ask("GET pages:home", "$5\r\nHello\r\n");
    let get = ["get", "pages", "home"];
    let shell = |password| Shell::asking(node.http).with("CARROT_PASSWORD", password);
    assert_eq!(shell("sesame").run(&get).done(), b"Hello");
    let line = shell("open").refusal(&get, 3);
    assert!(line.ends_with("does not take the password in CARROT_PASSWORD"), "{line}");
}

#[test]
fn whoever_has_not_spoken_or_not_said_the_password_in_time_is_closed() {
    let directory = tempfile::tempdir().unwrap();
    let (_node, resp) = Node::with_redis(directory.path(), &TABLE, &[("CARROT_PASSWORD", "sesame")]);
    let beginnings = ["", "*", "*2\r\n$4\r\nAUTH\r\n$6\r\nses", "AUTH ses"];
    let over = &AtomicBool::new(false);
    std::thread::scope(|scope| {
        // Also when one is not closed: the scope waits for the client that is known.
        let _over = Over(over);
        let mut known = RedisClient::connect(resp);
        known.ask("AUTH sesame", "+OK\r\n");
        let mut crowd = Vec::new();
        for beginning in beginnings.repeat(50) {
            let mut client = RedisClient::connect(resp);
            client.send(beginning);
            crowd.push(client);
        }
        scope.spawn(move || {
            // It has nothing to do with them, and is answered until all are gone and after.
            let mut is_last = false;
            while !is_last {
                is_last = over.load(Ordering::Relaxed);
                known.ask("GET pages:home", "$5\r\nHello\r\n");
            }
        });
        for client in &mut crowd {
            assert_eq!(client.rest(), b"");
        }
    });
}

#[test]
fn pipelined_replies_come_in_order_with_misses_between_hits() {
    let pages = Pages::new("delete", &[("a", "1"), ("b", "2"), ("c", "3")]);
    let (node, resp) = Node::with_redis(pages.directory.path(), &SERVE, &[]);
    node.until_ready();
    let mut client = RedisClient::connect(resp);
    client.ask("GET pages:a", "$1\r\n1\r\n");
    pages.lock();
    client.send(
        "GET pages:a\r\nGET pages:b\r\nGET pages:a\r\nGET pages:c\r\nGET none:a\r\nGET pages:a\r\nSET pages:b 9\r\n\
         GET pages:b\r\nPING\r\n",
    );
    // What is here is answered though what comes next has to wait.
    client.expect("$1\r\n1\r\n");
    pages.unlock();
    client.expect(
        "$1\r\n2\r\n$1\r\n1\r\n$1\r\n3\r\n-NOGROUP no such group: none\r\n$1\r\n1\r\n+OK\r\n$1\r\n9\r\n+PONG\r\n",
    );
}

#[test]
fn many_requests_in_one_piece_are_all_answered_in_order() {
    let directory = tempfile::tempdir().unwrap();
    let (_node, resp) = Node::with_redis(directory.path(), &TABLE, &[]);
    let mut client = RedisClient::connect(resp);
    let (mut requests, mut replies) = (Vec::new(), Vec::new());
    for n in 0..20_000 {
        let text = format!("{n}");
        requests.extend(request(&[b"ECHO", text.as_bytes()]));
        requests.extend(request(&[b"GET", b"pages:home"]));
        replies.extend(format!("${}\r\n{n}\r\n$5\r\nHello\r\n", text.len()).into_bytes());
    }
    std::thread::scope(|scope| {
        let mut writer = client.other_half();
        scope.spawn(move || writer.send(&requests));
        client.expect(&replies);
    });
}

#[test]
fn a_client_that_leaves_before_its_answer_harms_nobody() {
    let pages = Pages::new("delete", &[("home", "Hello")]);
    let (node, resp) = Node::with_redis(pages.directory.path(), &SERVE, &[]);
    pages.lock();
    for _ in 0..20 {
        RedisClient::connect(resp).send("GET pages:home\r\nMGET pages:home pages:none\r\n");
    }
    pages.unlock();
    RedisClient::connect(resp).ask("GET pages:home", "$5\r\nHello\r\n");
    for gauge in ["carrot_flights", "carrot_waiters"] {
        until(gauge, || node.page().sum(gauge, "") == 0.0);
    }
}

#[test]
fn a_stop_answers_what_was_asked_and_closes_what_is_idle() {
    let pages = Pages::new("delete", &[("home", "Hello")]);
    let (node, resp) = Node::with_redis(pages.directory.path(), &SERVE, &[]);
    node.until_ready();
    let (mut idle, mut asking) = (RedisClient::connect(resp), RedisClient::connect(resp));
    idle.ask("PING", "+PONG\r\n");
    asking.ask("PING", "+PONG\r\n");
    pages.lock();
    asking.send("GET pages:home\r\n");
    until("the load is under way", || node.page().sum("carrot_flights", "") == 1.0);
    node.process.terminate();
    assert_eq!(idle.rest(), b"");
    pages.unlock();
    assert_eq!(asking.rest(), b"$5\r\nHello\r\n");
    let ended = node.process.end();
    assert!(ended.status.success(), "{}", ended.errors);
}
