//! Tests of the deadlines: each kind of slow client on a front that is served over real sockets, whose one deadline is
//! short, and beside it a client that asks all the while and has to be answered each time.

use std::io::{ErrorKind, Read, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use carrotcache::net::listen::{Listener, Serving};
use carrotcache::{ByteSize, Cluster, Limits};

use crate::auth::Gate;
use crate::resp::front::{Allowed, Front, FrontPlan};
use crate::resp::port;
use crate::secret::Secret;

/// Far longer than anything here takes.
const LONG: Duration = Duration::from_secs(60);
/// The deadline that a test is about.
const SHORT: Duration = Duration::from_millis(200);
/// Between two bytes of a client that drips: many of them within a short deadline.
const DRIP: Duration = Duration::from_millis(10);

const PASSWORD: &str = "sesame";

/// A front with one value of 1 MiB. `shorten` one of its deadlines; the others are too long to matter.
async fn serve(password: Option<&str>, shorten: fn(&mut Allowed)) -> Serving {
    let cluster = Cluster::bind((Ipv4Addr::LOCALHOST, 0).into()).start().await.unwrap();
    let pages = cluster.group("pages").capacity(ByteSize::mib(8));
    let pages = pages.open(|_| async { Ok::<_, std::io::Error>(None::<Vec<u8>>) }).unwrap();
    pages.set("large", vec![b'v'; 1 << 20]).await.unwrap();
    let mut front = Front::new(FrontPlan {
        cluster,
        groups: vec![pages],
        default_group: None,
        gate: Gate::new(password.map(Secret::new)),
        limits: Limits::default(),
    });
    let allowed = &mut Arc::get_mut(&mut front).unwrap().allowed;
    (allowed.greeting_timeout, allowed.part_timeout, allowed.idle_timeout) = (LONG, LONG, LONG);
    shorten(allowed);
    let listener =
        Listener::bind((Ipv4Addr::LOCALHOST, 0).into(), (&Limits::default()).into()).await.unwrap();
    port::open(listener, front)
}

struct Client(TcpStream);

impl Client {
    fn connect(address: SocketAddr) -> Self {
        let stream = TcpStream::connect(address).unwrap();
        stream.set_nodelay(true).unwrap();
        stream.set_read_timeout(Some(LONG)).unwrap();
        Self(stream)
    }

    fn ask(&mut self, line: &str, reply: &str) {
        self.0.write_all(format!("{line}\r\n").as_bytes()).unwrap();
        let mut bytes = vec![0; reply.len()];
        self.0.read_exact(&mut bytes).unwrap();
        assert_eq!(String::from_utf8_lossy(&bytes), reply);
    }

    /// What comes until the other side closes.
    fn rest(&mut self) -> Vec<u8> {
        let mut rest = Vec::new();
        if let Err(error) = self.0.read_to_end(&mut rest) {
            assert_eq!(error.kind(), ErrorKind::ConnectionReset, "{error}");
        }
        rest
    }

    /// Sends the bytes one by one, over and over, until the other side closes.
    fn drip(&mut self, bytes: &[u8]) {
        for byte in bytes.iter().cycle() {
            if self.0.write_all(&[*byte]).is_err() {
                return;
            }
            std::thread::sleep(DRIP);
        }
    }
}

/// Says that it is over when it is dropped.
struct Over<'a>(&'a AtomicBool);

impl Drop for Over<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

/// Runs a slow client until it is closed, beside one that asks; gives how many connections were overdue.
async fn overdue(
    serving: Serving,
    password: Option<&str>,
    slow: impl FnOnce(&mut Client) + Send + 'static,
) -> u64 {
    let (address, over) = (serving.address(), AtomicBool::new(false));
    let login = password.map(|password| format!("AUTH {password}"));
    tokio::task::spawn_blocking(move || {
        std::thread::scope(|scope| {
            let asking = scope.spawn(|| {
                let mut client = Client::connect(address);
                if let Some(login) = &login {
                    client.ask(login, "+OK\r\n");
                }
                while !over.load(Ordering::Relaxed) {
                    client.ask("GET pages:none", "$-1\r\n");
                }
                client.ask("GET pages:none", "$-1\r\n");
            });
            // Also when the slow part fails: the scope waits for the other.
            let _over = Over(&over);
            let mut client = Client::connect(address);
            slow(&mut client);
            client.rest();
            drop(_over);
            asking.join().unwrap();
        });
    })
    .await
    .unwrap();
    // A connection is counted after its client has seen it close.
    while serving.stats().open > 0 {
        tokio::task::yield_now().await;
    }
    serving.stats().overdue
}

fn short_greeting(allowed: &mut Allowed) {
    allowed.greeting_timeout = SHORT;
}

fn short_part(allowed: &mut Allowed) {
    allowed.part_timeout = SHORT;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_client_that_says_nothing_is_closed() {
    let serving = serve(None, short_greeting).await;
    assert_eq!(overdue(serving, None, |_| {}).await, 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stranger_is_closed_however_much_it_says() {
    let serving = serve(Some(PASSWORD), short_greeting).await;
    assert_eq!(overdue(serving, Some(PASSWORD), |client| client.drip(b"PING\r\n")).await, 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stranger_does_not_put_it_off_by_resets() {
    let serving = serve(Some(PASSWORD), short_greeting).await;
    assert_eq!(overdue(serving, Some(PASSWORD), |client| client.drip(b"RESET\r\n")).await, 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_reset_of_an_old_connection_leaves_time_to_say_the_password_again() {
    // Long enough for one answer on a machine that has much to do.
    const GREETING: Duration = Duration::from_secs(2);
    let serving = serve(Some(PASSWORD), |allowed| allowed.greeting_timeout = GREETING).await;
    let resets = |client: &mut Client| {
        let (login, begun) = (format!("AUTH {PASSWORD}"), Instant::now());
        client.ask(&login, "+OK\r\n");
        while begun.elapsed() <= GREETING {
            client.ask("GET pages:none", "$-1\r\n");
        }
        client.ask("RESET", "+RESET\r\n");
        client.ask(&login, "+OK\r\n");
        client.ask("GET pages:none", "$-1\r\n");
        // And no longer than that.
        client.ask("RESET", "+RESET\r\n");
    };
    assert_eq!(overdue(serving, Some(PASSWORD), resets).await, 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn half_a_request_is_waited_for_no_longer_than_a_part() {
    for half in ["*2\r\n$3\r\nGET\r\n$5\r\npag", "*2\r\n", "GET pages:a", "*1\r\n$1048576\r\nvv", "PING\r\n*"]
    {
        let serving = serve(None, short_part).await;
        let slow = move |client: &mut Client| client.0.write_all(half.as_bytes()).unwrap();
        assert_eq!(overdue(serving, None, slow).await, 1, "{half:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_request_that_comes_byte_by_byte_has_to_be_whole_in_time() {
    let serving = serve(None, short_part).await;
    let drip = |client: &mut Client| client.drip(&[b'a'; 100]);
    assert_eq!(overdue(serving, None, drip).await, 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_client_that_takes_no_replies_is_closed() {
    let serving = serve(None, short_part).await;
    let greedy = |client: &mut Client| {
        // More than the system holds between the two; the write ends when the other side has closed.
        let _ = client.0.write_all("GET pages:large\r\n".repeat(1_000_000).as_bytes());
    };
    assert_eq!(overdue(serving, None, greedy).await, 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_idle_client_is_closed_after_its_last_request() {
    let serving = serve(None, |allowed| allowed.idle_timeout = SHORT).await;
    assert_eq!(overdue(serving, None, |client| client.ask("PING", "+PONG\r\n")).await, 1);
}
