//! Tests of pipelines: whatever stands in them, and however they are cut, each request is answered in its place.

use std::io::{Read, Write};
use std::net::{Ipv4Addr, Shutdown, TcpStream};
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;
use std::time::Duration;

use carrotcache::net::listen::{Listener, Serving};
use carrotcache::{ByteSize, Cluster, GroupName, Key, Limits};

use crate::auth::Gate;
use crate::resp::front::{Front, FrontPlan};
use crate::resp::port;

/// Two groups, whose values are their keys, but that of `no…` there is none.
async fn serve() -> (Serving, Arc<Front>) {
    let cluster = Cluster::bind((Ipv4Addr::LOCALHOST, 0).into()).start().await.unwrap();
    let open = |name| {
        let group = cluster.group(name).capacity(ByteSize::mib(8));
        let load = |key: Key| async move {
            Ok::<_, std::io::Error>((!key.as_bytes().starts_with(b"no")).then(|| key.as_bytes().to_vec()))
        };
        group.open(load).unwrap()
    };
    let groups = vec![open("a"), open("b")];
    let front = Front::new(FrontPlan {
        cluster,
        groups,
        default_group: Some(GroupName::new("b").unwrap()),
        gate: Gate::new(None),
        limits: Limits::default(),
    });
    let listener =
        Listener::bind((Ipv4Addr::LOCALHOST, 0).into(), (&Limits::default()).into()).await.unwrap();
    (port::open(listener, front.clone()), front)
}

/// All that comes for the bytes, sent in pieces of that length.
async fn told(serving: &Serving, bytes: String, piece: usize) -> String {
    let address = serving.address();
    let asked = tokio::task::spawn_blocking(move || {
        let mut stream = TcpStream::connect(address).unwrap();
        stream.set_nodelay(true).unwrap();
        stream.set_read_timeout(Some(Duration::from_secs(60))).unwrap();
        for piece in bytes.as_bytes().chunks(piece) {
            stream.write_all(piece).unwrap();
        }
        stream.shutdown(Shutdown::Write).unwrap();
        let mut told = Vec::new();
        stream.read_to_end(&mut told).unwrap();
        String::from_utf8(told).unwrap()
    });
    asked.await.unwrap()
}

fn request(words: &str) -> String {
    let words: Vec<&str> = words.split(' ').collect();
    let strings = words.iter().map(|word| format!("${}\r\n{word}\r\n", word.len()));
    format!("*{}\r\n{}", words.len(), strings.collect::<String>())
}

fn string(text: &str) -> String {
    format!("${}\r\n{text}\r\n", text.len())
}

/// Requests and their replies: more reads than are looked up together, of two groups, some twice and some of nothing; and
/// between reads what is none.
fn conversation(nil: &str) -> Vec<(String, String)> {
    let mut all: Vec<(String, String)> = Vec::new();
    for at in 0..80 {
        let is_none = at % 7 == 3;
        let key = format!("{}{}", if is_none { "no" } else { "k" }, at * at % 31);
        let asked = request(&format!("{} {}:{key}", ["GET", "get"][at % 2], ["a", "b"][at / 5 % 2]));
        all.push((asked, if is_none { nil.to_owned() } else { string(&key) }));
    }
    let wrong = "-ERR wrong number of arguments for 'get' command\r\n".to_owned();
    let too_long = "-ERR key of 5000 bytes is over the limit of 4096\r\n".to_owned();
    all.extend([
        (request("SET a:changed 1"), "+OK\r\n".to_owned()),
        (request("GET a:changed"), string("1")),
        (request("SET a:changed 22"), "+OK\r\n".to_owned()),
        (request("STRLEN a:changed"), ":2\r\n".to_owned()),
        (request("GET a:changed"), string("22")),
        (request("GET k"), string("k")),
        (request("GET"), wrong),
        (request("GET a:k1"), string("k1")),
        ("GET a:k2\r\n".to_owned(), string("k2")),
        ("\r\n*0\r\n".to_owned(), String::new()),
        ("get \"a:k\\x33\"\r\n".to_owned(), string("k3")),
        (request("MULTI"), "+OK\r\n".to_owned()),
        (request("GET a:k1"), "+QUEUED\r\n".to_owned()),
        (request("EXEC"), format!("*1\r\n{}", string("k1"))),
        (request(&format!("GET a:{}", "k".repeat(5000))), too_long),
        (request("GET a:no"), nil.to_owned()),
    ]);
    all
}

#[tokio::test(flavor = "multi_thread")]
async fn each_is_answered_in_its_place_whatever_stands_around_it_and_however_it_is_cut() {
    let (serving, _front) = serve().await;
    for piece in [usize::MAX, 1, 7, 1000] {
        let (two, three) = (conversation("$-1\r\n"), conversation("_\r\n"));
        let asked = |all: &[(String, String)]| all.iter().map(|(asked, _)| &**asked).collect::<String>();
        let replies = |all: &[(String, String)]| all.iter().map(|(_, reply)| &**reply).collect::<String>();
        // Nothing is answered behind QUIT; what was asked before a change of the protocol is told in the old one.
        let (hello, end) = (request("HELLO 3"), request("QUIT") + &request("GET a:k1"));
        let told = told(&serving, asked(&two) + &hello + &asked(&three) + &end, piece).await;
        let (before, after) = told.split_once("%7\r\n").unwrap();
        assert_eq!(before, replies(&two), "{piece}");
        let (_, after) = after.split_once("$7\r\nmodules\r\n*0\r\n").unwrap();
        assert_eq!(after, replies(&three) + "+OK\r\n", "{piece}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_memory_answers_is_sent_with_one_write_however_many_keys_are_asked_for() {
    let (serving, front) = serve().await;
    let times = 32;
    for (asked, reply) in [
        ("SET a:k1 k1", "+OK\r\n"),
        ("GET a:k1", "$2\r\nk1\r\n"),
        ("MSET a:k1 k1 b:k1 k1", "+OK\r\n"),
        ("MGET a:k1 b:k1 a:k1", "*3\r\n$2\r\nk1\r\n$2\r\nk1\r\n$2\r\nk1\r\n"),
        ("GETRANGE a:k1 0 0", "$1\r\nk\r\n"),
        ("EXISTS a:k1 b:k1 b:k2", ":2\r\n"),
        ("TOUCH a:k1 b:k1 b:k2", ":2\r\n"),
        ("TTL a:k1", ":-1\r\n"),
        ("DEL b:k2 b:k3", ":0\r\n"),
    ] {
        let before = front.counts.writes.load(Relaxed);
        let all = told(&serving, request(asked).repeat(times), usize::MAX).await;
        assert_eq!(all, reply.repeat(times), "{asked}");
        assert_eq!(front.counts.writes.load(Relaxed) - before, 1, "{asked}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn reads_whose_values_find_no_room_to_wait_are_answered_in_their_places_all_the_same() {
    let (serving, front) = serve().await;
    let value = "v".repeat(20_000);
    let sets: String = (0..8).map(|n| request(&format!("SET a:{n} {value}"))).collect();
    assert_eq!(told(&serving, sets, usize::MAX).await, "+OK\r\n".repeat(8));
    // Those of `b` are loaded.
    let gets: String =
        (0..8).map(|n| request(&format!("GET a:{n}")) + &request(&format!("GET b:{n}"))).collect();
    let replies: String = (0..8).map(|n| string(&value) + &string(&n.to_string())).collect();
    for is_full in [false, true] {
        let mut others = front.standing.share();
        while is_full && others.grow(10_000).is_ok() {}
        let before = front.counts.repeats.load(Relaxed);
        assert_eq!(told(&serving, gets.repeat(3), usize::MAX).await, replies.repeat(3), "{is_full}");
        assert_eq!(front.counts.repeats.load(Relaxed) > before, is_full);
    }
    // Nothing is held of what was answered.
    let mut all = front.standing.share();
    while all.grow(10_000).is_ok() {}
    assert!(all.grow(5_000).is_ok());
}
