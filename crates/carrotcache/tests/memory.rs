//! One memory for all groups of a node and for the values on their way: through the public API, over real sockets of
//! the loopback.

#![cfg(feature = "http")]
#![allow(clippy::unwrap_used, reason = "in a test a panic is the report")]

use std::future::Future;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use carrotcache::{
    Ask, BoxError, BoxFuture, ByteSize, Charge, Cluster, EvictionCause, GetError, Group, Key, LoadOutcome,
    Loaded, Loader, Memory, Refusal, WriteError,
};
use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Semaphore;

const KIB: u64 = 1024;

fn used(cluster: &Cluster) -> u64 {
    cluster.stats().memory.unwrap().used_bytes
}

/// What the groups' entries are charged.
fn held(cluster: &Cluster) -> u64 {
    cluster.stats().groups.iter().map(|group| group.weight_bytes.total()).sum()
}

fn refused(cluster: &Cluster) -> u64 {
    let stats = cluster.stats();
    let of_groups: u64 = stats.groups.iter().map(|group| group.refusals.get(Refusal::Memory)).sum();
    of_groups + stats.refusals.get(Refusal::Memory)
}

/// Loads as many bytes as the key says.
async fn sized(key: Key) -> Result<Option<Vec<u8>>, BoxError> {
    let length = key.to_str()?.split('-').next().unwrap_or_default().parse()?;
    Ok(Some(vec![b'v'; length]))
}

async fn until(what: impl AsyncFn() -> bool) {
    for _ in 0..2000 {
        if what().await {
            return;
        }
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    panic!("it does not come about");
}

fn assert_busy<T: std::fmt::Debug>(got: &Result<T, GetError>) {
    match got {
        Err(GetError::Busy { limit }) => assert!(limit.starts_with("memory of "), "{limit}"),
        other => panic!("not busy: {other:?}"),
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn groups_that_share_a_memory_never_exceed_it_together_nor_their_own_capacities() {
    const MEMORY: u64 = 256 * KIB;
    let cluster = Cluster::local().memory(ByteSize::bytes(MEMORY)).start().await.unwrap();
    let groups: Vec<Group> = (0..3)
        .map(|n| {
            let group = cluster.group(&format!("g{n}"));
            let group = if n == 0 { group.capacity(ByteSize::kib(64)) } else { group };
            group.open(sized).unwrap()
        })
        .collect();
    let mut getting = tokio::task::JoinSet::new();
    for task in 0..4_usize {
        let groups = groups.clone();
        getting.spawn(async move {
            for n in 0..1500_usize {
                let key = format!("{}-{n}", (n * 37 + task * 11) % 2000);
                groups[(n + task) % 3].get(key).await.unwrap();
            }
        });
    }
    while !getting.is_empty() {
        let stats = cluster.stats();
        let memory = stats.memory.unwrap();
        assert!(memory.used_bytes <= MEMORY && memory.capacity_bytes == MEMORY);
        assert!(held(&cluster) <= MEMORY);
        assert!(stats.groups[0].weight_bytes.total() <= 64 * KIB);
        assert_eq!((stats.groups[0].capacity_bytes, stats.groups[1].capacity_bytes), (64 * KIB, MEMORY));
        tokio::select! {
            done = getting.join_next() => done.unwrap().unwrap(),
            () = tokio::time::sleep(Duration::from_millis(1)) => {}
        }
    }
    // Nothing is on its way any more: what is used are the entries.
    assert_eq!(used(&cluster), held(&cluster));
    assert!(held(&cluster) > MEMORY / 2);
    assert!(cluster.stats().groups.iter().all(|group| group.evictions.get(EvictionCause::Room) > 0));
    assert_eq!(refused(&cluster), 0);
}

#[tokio::test]
async fn a_load_past_the_memory_is_busy_and_counted_and_the_next_succeeds_when_there_is_room() {
    let memory = Memory::new(ByteSize::kib(64));
    let cluster = Cluster::local().memory(memory.clone()).start().await.unwrap();
    let group = cluster.group("g").open(sized).unwrap();
    for n in 0..3 {
        group.get(format!("10000-{n}")).await.unwrap();
    }
    let others = memory.charge();
    others.grow(60 * KIB).unwrap();
    assert_eq!(held(&cluster), 0, "what was on its way came before what was kept");
    for _ in 0..2 {
        assert_busy(&group.get("10000-0").await.map(|value| value.len()));
    }
    assert_eq!((used(&cluster), refused(&cluster)), (60 * KIB, 2));
    let stats = &cluster.stats().groups[0];
    assert_eq!((stats.loads.get(LoadOutcome::Busy), stats.loads.get(LoadOutcome::Found)), (2, 3));
    // A value that can be handed out and not kept is handed out, and charged while it is.
    let value = group.get("3000-0").await.unwrap();
    assert_eq!((value.len(), used(&cluster), held(&cluster)), (3000, 60 * KIB + 3000, 0));
    drop(value);
    drop(others);
    assert_eq!(used(&cluster), 0);
    group.get("10000-0").await.unwrap();
    assert_eq!((used(&cluster), refused(&cluster)), (held(&cluster), 2));
    assert!(group.answer("10000-0", Ask::default()).await.unwrap().value.len() == 10_000);
}

#[tokio::test]
async fn without_a_memory_nothing_is_charged_and_each_group_has_its_capacity() {
    let cluster = Cluster::local().start().await.unwrap();
    let groups = ["a", "b"].map(|name| cluster.group(name).capacity(ByteSize::kib(64)).open(sized).unwrap());
    for n in 0..30 {
        for group in &groups {
            group.get(format!("4000-{n}")).await.unwrap();
        }
    }
    assert!(cluster.stats().memory.is_none() && cluster.memory().snapshot().is_none());
    assert!(held(&cluster) > 100 * KIB && held(&cluster) <= 128 * KIB);
}

/// Gives its values a piece at a time, and charges each before it takes it.
struct Pieces {
    go: Arc<Semaphore>,
    charged: Arc<AtomicU64>,
}

impl Loader for Pieces {
    fn load(&self, key: Key) -> BoxFuture<'static, Result<Option<Loaded>, BoxError>> {
        self.load_charged(key, &Charge::default())
    }

    fn load_charged(&self, _: Key, charge: &Charge) -> BoxFuture<'static, Result<Option<Loaded>, BoxError>> {
        let (go, charged, charge) = (self.go.clone(), self.charged.clone(), charge.clone());
        Box::pin(async move {
            let mut value = Vec::new();
            for _ in 0..10 {
                go.acquire().await?.forget();
                charge.grow(KIB).map_err(|_| "an error of its own")?;
                charged.fetch_add(KIB, Ordering::Relaxed);
                value.resize(value.len() + 1024, b'v');
            }
            Ok(Some(value.into()))
        })
    }
}

#[tokio::test]
async fn a_loader_may_charge_its_value_from_the_first_byte_and_is_busy_where_it_cannot() {
    let cluster = Cluster::local().memory(ByteSize::kib(100)).start().await.unwrap();
    let (go, charged) = (Arc::new(Semaphore::new(3)), Arc::new(AtomicU64::new(0)));
    let group = cluster.group("g").open(Pieces { go: go.clone(), charged: charged.clone() }).unwrap();
    let getting = tokio::spawn({
        let group = group.clone();
        async move { group.get("a").await.map(|value| value.len()) }
    });
    until(async || charged.load(Ordering::Relaxed) == 3 * KIB).await;
    assert_eq!(used(&cluster), 3 * KIB);
    // The value is charged once, not by its loader and then by the library as well.
    go.add_permits(7);
    assert_eq!(getting.await.unwrap().unwrap(), 10 * 1024);
    assert!(held(&cluster) > 10 * KIB && used(&cluster) == held(&cluster));
    let others = cluster.memory().charge();
    others.grow(96 * KIB).unwrap();
    go.add_permits(100);
    assert_busy(&group.get("b").await.map(|value| value.len()));
    assert_eq!((used(&cluster), refused(&cluster)), (96 * KIB, 1));
    assert_eq!(cluster.stats().groups[0].loads.get(LoadOutcome::Failed), 0);
}

fn url(address: std::net::SocketAddr) -> String {
    format!("http://{address}")
}

/// A node and a peer of it that is a script.
async fn beside<F: Future<Output = ()> + Send + 'static>(
    memory: ByteSize,
    script: impl Fn(BufReader<TcpStream>, String) -> F + Send + Sync + 'static,
) -> Cluster {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let peer = listener.local_addr().unwrap();
    let script = Arc::new(script);
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            let script = script.clone();
            tokio::spawn(async move {
                let mut stream = BufReader::new(stream);
                let mut head = String::new();
                while !head.ends_with("\r\n\r\n") {
                    if stream.read_line(&mut head).await.unwrap_or(0) == 0 {
                        return;
                    }
                }
                script(stream, head).await;
            });
        }
    });
    let cluster = Cluster::bind("127.0.0.1:0".parse().unwrap()).memory(memory).start().await.unwrap();
    cluster.set_peers([url(cluster.address().unwrap()), url(peer)]).await.unwrap();
    cluster
}

/// Keys that the peer owns.
async fn theirs(group: &Group) -> Vec<String> {
    let mut keys = Vec::new();
    for n in 0..40 {
        let key = format!("key-{n}");
        let seen = group.whereabouts(&key).await.unwrap();
        if seen.members.iter().any(|member| member.rank == Some(0) && !member.is_self) {
            keys.push(key);
        }
    }
    keys
}

#[tokio::test]
async fn replies_of_slow_peers_are_charged_as_they_come_in() {
    const LENGTH: usize = 20_000;
    let go = Arc::new(Semaphore::new(0));
    let wait = go.clone();
    let cluster = beside(ByteSize::kib(100), move |mut stream, head| {
        let go = wait.clone();
        async move {
            if !head.starts_with("GET /_carrot/g/") {
                return;
            }
            // The field of the value, and the first half of it.
            let mut body = b"\x0a".to_vec();
            body.extend([
                (LENGTH & 0x7f | 0x80) as u8,
                (LENGTH >> 7 & 0x7f | 0x80) as u8,
                (LENGTH >> 14) as u8,
            ]);
            body.resize(body.len() + LENGTH, b'v');
            let head = format!(
                "HTTP/1.1 200 OK\r\ncontent-type: application/x-protobuf\r\ncontent-length: {}\r\n\r\n",
                body.len()
            );
            stream.write_all(head.as_bytes()).await.unwrap();
            stream.write_all(&body[..LENGTH / 2]).await.unwrap();
            go.acquire().await.unwrap().forget();
            let _ = stream.write_all(&body[LENGTH / 2..]).await;
            let _ = stream.read(&mut [0]).await;
        }
    })
    .await;
    let group = cluster.group("g").open(sized).unwrap();
    let keys = theirs(&group).await;
    let mut getting = tokio::task::JoinSet::new();
    for key in &keys[..4] {
        let (group, key) = (group.clone(), key.clone());
        getting.spawn(async move { group.get(key).await.map(|value| value.len()) });
    }
    until(async || used(&cluster) == 4 * LENGTH as u64 / 2).await;
    // Somebody else takes what is left: the rest of one has no room, and nothing of it is stored. What it had is enough
    // for the next.
    let others = cluster.memory().charge();
    others.grow(60 * KIB).unwrap();
    go.add_permits(1);
    assert_busy(&getting.join_next().await.unwrap().unwrap());
    assert_eq!((used(&cluster), refused(&cluster)), (60 * KIB + 30_000, 1));
    for _ in 0..3 {
        go.add_permits(1);
        assert_eq!(getting.join_next().await.unwrap().unwrap().unwrap(), LENGTH);
    }
    drop(others);
    go.add_permits(1);
    let value = group.get(&keys[0]).await.unwrap();
    assert_eq!(value.len(), LENGTH);
    // It is not kept here, since it is not hot: it is charged while it is held.
    assert!(used(&cluster) >= LENGTH as u64);
    drop(value);
    until(async || used(&cluster) == 0).await;
}

#[tokio::test]
async fn a_set_that_cannot_be_sent_for_want_of_memory_is_busy_and_reaches_nobody() {
    let asked = Arc::new(AtomicU64::new(0));
    let count = asked.clone();
    let cluster = beside(ByteSize::kib(64), move |mut stream, head| {
        let count = count.clone();
        async move {
            count.fetch_add(u64::from(head.starts_with("PUT ")), Ordering::Relaxed);
            let _ = stream.write_all(b"HTTP/1.1 204 No Content\r\nconnection: close\r\n\r\n").await;
            let _ = tokio::io::copy(&mut stream, &mut tokio::io::sink()).await;
        }
    })
    .await;
    let group = cluster.group("g").open(sized).unwrap();
    let key = &theirs(&group).await[0];
    let others = cluster.memory().charge();
    others.grow(60 * KIB).unwrap();
    let told = group.set(key, vec![b'v'; 10_000]).await;
    assert!(matches!(&told, Err(WriteError::Busy { limit }) if limit.starts_with("memory of")), "{told:?}");
    assert_eq!((asked.load(Ordering::Relaxed), refused(&cluster)), (0, 1));
    group.set(key, vec![b'v'; 3000]).await.unwrap();
    drop(others);
    group.set(key, vec![b'v'; 10_000]).await.unwrap();
    assert_eq!((asked.load(Ordering::Relaxed), used(&cluster)), (2, 0));
}

/// A PUT whose body has begun and does not end.
async fn begin_put(cluster: &Cluster, key: &str, length: usize, sent: usize) -> TcpStream {
    let mut stream = TcpStream::connect(cluster.address().unwrap()).await.unwrap();
    // A native set is its value's field and nothing else.
    let head = format!("PUT /_carrot/g/{key} HTTP/1.1\r\nhost: x\r\ncontent-length: {length}\r\n\r\n");
    stream.write_all(head.as_bytes()).await.unwrap();
    stream.write_all(&vec![0; sent]).await.unwrap();
    stream
}

async fn status(stream: &mut TcpStream) -> String {
    let mut line = String::new();
    BufReader::new(stream).read_line(&mut line).await.unwrap();
    line.split(' ').nth(1).unwrap_or_default().to_owned()
}

#[tokio::test]
async fn bodies_of_slow_peers_are_charged_as_they_come_in() {
    let any = "127.0.0.1:0".parse().unwrap();
    let cluster = Cluster::bind(any).memory(ByteSize::kib(100)).start().await.unwrap();
    let group = cluster.group("g").open(sized).unwrap();
    for n in 0..20 {
        group.get(format!("4000-{n}")).await.unwrap();
    }
    let before = held(&cluster);
    let mut slow = Vec::new();
    for n in 0..9 {
        slow.push(begin_put(&cluster, &format!("slow{n}"), 20_000, 10_000).await);
    }
    until(async || used(&cluster) - held(&cluster) == 90_000).await;
    assert!(held(&cluster) < before, "entries have made room");
    // One that is whole is refused while it has no room, and its sender hears of it.
    let mut late = begin_put(&cluster, "late", 20_000, 20_000).await;
    assert_eq!(status(&mut late).await, "503");
    assert_eq!(refused(&cluster), 1);
    // Nor is a value read, to be sent to a peer.
    let mut reader = TcpStream::connect(cluster.address().unwrap()).await.unwrap();
    reader.write_all(b"GET /_carrot/g/14000-1 HTTP/1.1\r\nhost: x\r\n\r\n").await.unwrap();
    assert_eq!(status(&mut reader).await, "503");
    drop(slow);
    until(async || used(&cluster) == held(&cluster)).await;
    let mut reader = TcpStream::connect(cluster.address().unwrap()).await.unwrap();
    reader.write_all(b"GET /_carrot/g/14000-1 HTTP/1.1\r\nhost: x\r\n\r\n").await.unwrap();
    assert_eq!(status(&mut reader).await, "200");
}
