//! What attackers cost a good client: `attack CARROT [--rounds N] [--seconds S] [ATTACK…]`, by `scripts/attack`.
//!
//! Starts a node, and asks it at a fixed pace, at the Redis front and at the data front, alone and beside each attack
//! in turn. Prints the 99th percentile of the good client's latencies, without and with, and their ratio: of each the
//! median over all rounds. Fails where an answer was wrong or missing, and where a ratio is over the goal.
//! All are in this process and on this machine, and take the node's cores, so an attack is paced: it is held to what
//! attackers cost by what they send, not by how fast this machine can send it. And its thread is the last to be given a
//! core (nice 19), since attackers have machines of their own: where the node or the good client wants the core as well,
//! to wait for this thread is no cost of the attack. It keeps its pace all the same, or the run is void. What remains is
//! the system's work for the attackers' ends of the connections, which it does on the node's cores without a break.

#![forbid(unsafe_code)]
#![allow(clippy::print_stdout, clippy::print_stderr, reason = "a program that prints its findings")]

use std::collections::BTreeMap;
use std::error::Error;
use std::io::{BufRead, BufReader, ErrorKind, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::process::{Child, Command, ExitCode, Stdio};
use std::sync::Barrier;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

/// What an attack may make of the good client's 99th percentile.
const GOAL: f64 = 1.5;

/// The good client: its connections, and how often each asks.
const CONNECTIONS: usize = 2;
const PACE: Duration = Duration::from_millis(2);
/// Before its time comes it is waited for awake, since sleep ends late.
const AWAKE: Duration = Duration::from_micros(150);

/// Between an attack's beginning and the first measure: it is measured as it goes on.
const SETTLED: Duration = Duration::from_millis(500);

/// An attack that is further behind its pace at its end is weaker than it says.
const BEHIND: Duration = Duration::from_millis(100);

/// For an answer. One that takes longer is missing.
const LONG: Duration = Duration::from_secs(30);

type Outcome<T> = Result<T, Box<dyn Error + Send + Sync>>;

fn main() -> ExitCode {
    match run() {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(error) => {
            eprintln!("attack: {error}");
            ExitCode::from(2)
        }
    }
}

/// What was asked for on the command line.
struct Plan {
    carrot: String,
    rounds: usize,
    window: Duration,
    attacks: Vec<&'static Attack>,
}

impl Plan {
    fn read() -> Outcome<Self> {
        let mut words = std::env::args().skip(1);
        let carrot = words.next().ok_or("usage: attack CARROT [--rounds N] [--seconds S] [ATTACK…]")?;
        let mut plan = Self { carrot, rounds: 5, window: Duration::from_secs(2), attacks: Vec::new() };
        while let Some(word) = words.next() {
            let mut number = || -> Outcome<u32> { Ok(words.next().ok_or("a number is missing")?.parse()?) };
            match &*word {
                "--rounds" => plan.rounds = number()?.max(1) as usize,
                "--seconds" => plan.window = Duration::from_secs(number()?.max(1).into()),
                name => {
                    let found = ATTACKS.iter().find(|attack| attack.name == name);
                    let names = || ATTACKS.each_ref().map(|attack| attack.name).join(", ");
                    plan.attacks
                        .push(found.ok_or_else(|| format!("no attack {name}; there are: {}", names()))?);
                }
            }
        }
        if plan.attacks.is_empty() {
            plan.attacks.extend(&ATTACKS);
        }
        Ok(plan)
    }
}

fn run() -> Outcome<bool> {
    let plan = Plan::read()?;
    let node = Node::start(&plan.carrot)?;
    node.set_large()?;
    let mut seen: BTreeMap<(Front, &str), Vec<[f64; 2]>> = BTreeMap::new();
    for round in 1..=plan.rounds {
        for front in [Front::Redis, Front::Http] {
            for attack in &plan.attacks {
                let without = p99(good_client(&node, front, plan.window)?);
                let with = beside(&node, front, attack, || good_client(&node, front, plan.window).map(p99))?;
                seen.entry((front, attack.name)).or_default().push([without, with]);
            }
        }
        eprintln!("attack: round {round} of {} is over", plan.rounds);
    }
    println!(
        "good client: {CONNECTIONS} connections, each asks every {PACE:?}; p99 in µs, medians of {}",
        plan.rounds
    );
    println!(
        "{:<6} {:<20} {:>9} {:>9} {:>7}  (least to most)",
        "front", "attack", "without", "with", "ratio"
    );
    let mut is_well = true;
    for ((front, name), pairs) in &seen {
        let column = |of: fn(&[f64; 2]) -> f64| sorted(pairs.iter().map(of).collect());
        let ratios = column(|[without, with]| with / without);
        let ratio = median(&ratios);
        is_well &= ratio <= GOAL;
        println!(
            "{:<6} {name:<20} {:>9.0} {:>9.0} {ratio:>6.2}x  ({:.2} to {:.2}){}",
            front.name(),
            median(&column(|pair| pair[0])),
            median(&column(|pair| pair[1])),
            ratios[0],
            ratios[ratios.len() - 1],
            if ratio <= GOAL { "" } else { "  over the goal" },
        );
    }
    Ok(is_well)
}

fn sorted(mut numbers: Vec<f64>) -> Vec<f64> {
    numbers.sort_by(f64::total_cmp);
    numbers
}

fn median(sorted: &[f64]) -> f64 {
    sorted[sorted.len() / 2]
}

fn p99(latencies: Vec<f64>) -> f64 {
    let sorted = sorted(latencies);
    sorted[sorted.len() * 99 / 100]
}

/// The fronts that are attacked.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Front {
    Redis,
    Http,
}

impl Front {
    fn name(self) -> &'static str {
        match self {
            Self::Redis => "redis",
            Self::Http => "http",
        }
    }

    /// A get of `home`, and how its answer begins and ends.
    fn get_home(self) -> (&'static [u8], &'static [u8], &'static [u8]) {
        match self {
            Self::Redis => (b"*2\r\n$3\r\nGET\r\n$10\r\npages:home\r\n", b"$5\r\n", b"Hello\r\n"),
            Self::Http => {
                (b"GET /v1/pages/home HTTP/1.1\r\nHost: localhost\r\n\r\n", b"HTTP/1.1 200", b"\r\n\r\nHello")
            }
        }
    }

    /// A get of the large value.
    fn get_large(self) -> &'static [u8] {
        match self {
            Self::Redis => b"*2\r\n$3\r\nGET\r\n$11\r\npages:large\r\n",
            Self::Http => b"GET /v1/pages/large HTTP/1.1\r\nHost: localhost\r\n\r\n",
        }
    }

    /// A set of which the value is still to come: so long is it said to be.
    fn begin_set(self, key: &str, length: u64) -> Vec<u8> {
        match self {
            Self::Redis => {
                format!("*3\r\n$3\r\nSET\r\n${}\r\npages:{key}\r\n${length}\r\n", "pages:".len() + key.len())
            }
            Self::Http => {
                format!("PUT /v1/pages/{key} HTTP/1.1\r\nHost: localhost\r\nContent-Length: {length}\r\n\r\n")
            }
        }
        .into_bytes()
    }
}

/// The node; dropping it ends it.
struct Node {
    child: Child,
    http: SocketAddr,
    resp: SocketAddr,
}

impl Node {
    fn start(carrot: &str) -> Outcome<Self> {
        let any = "127.0.0.1:0";
        let ports = ["--peer", any, "--http", any, "--resp", any, "--admin", any];
        let mut command = Command::new(carrot);
        command.arg("serve").args(ports).args(["--group", "pages", "--origin", "table:home=Hello"]);
        let mut child = command.stdout(Stdio::piped()).spawn()?;
        let stdout = child.stdout.take().ok_or("no standard output")?;
        let any: SocketAddr = any.parse()?;
        let mut node = Self { child, http: any, resp: any };
        for line in BufReader::new(stdout).lines() {
            let line = line?;
            match line.split_once(' ') {
                Some(("http", address)) => node.http = address.parse()?,
                Some(("resp", address)) => node.resp = address.parse()?,
                Some(("admin", _)) => return Ok(node),
                _ => {}
            }
        }
        Err("the node ended at its start".into())
    }

    fn address(&self, front: Front) -> SocketAddr {
        match front {
            Front::Redis => self.resp,
            Front::Http => self.http,
        }
    }

    fn set_large(&self) -> Outcome<()> {
        let mut stream = connect(self.resp)?;
        stream.write_all(
            &[Front::Redis.begin_set("large", 1 << 20), vec![b'v'; 1 << 20], b"\r\n".to_vec()].concat(),
        )?;
        let mut reply = [0; 5];
        stream.read_exact(&mut reply)?;
        if &reply == b"+OK\r\n" { Ok(()) } else { Err("the large value was refused".into()) }
    }
}

impl Drop for Node {
    fn drop(&mut self) {
        // Both fail where it has ended already.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn connect(address: SocketAddr) -> Outcome<TcpStream> {
    let stream = TcpStream::connect(address)?;
    stream.set_nodelay(true)?;
    stream.set_read_timeout(Some(LONG))?;
    stream.set_write_timeout(Some(LONG))?;
    Ok(stream)
}

/// Asks for a window of time; gives the latencies in µs, each from when it was due.
fn good_client(node: &Node, front: Front, window: Duration) -> Outcome<Vec<f64>> {
    let address = node.address(front);
    let began = Instant::now();
    std::thread::scope(|scope| {
        let one = |at: usize| {
            let first = began + PACE * u32::try_from(at)? / CONNECTIONS as u32;
            asked(connect(address)?, front, first, began + window)
        };
        let asking: Vec<_> = (0..CONNECTIONS).map(|at| scope.spawn(move || one(at))).collect();
        let mut all = Vec::new();
        for one in asking {
            all.extend(one.join().map_err(|_| "the good client panicked")??);
        }
        Ok(all)
    })
}

fn asked(mut stream: TcpStream, front: Front, first: Instant, end: Instant) -> Outcome<Vec<f64>> {
    let (request, begins, ends) = front.get_home();
    let (mut due, mut latencies, mut reply) = (first, Vec::new(), Vec::new());
    while due < end {
        std::thread::sleep(due.saturating_duration_since(Instant::now()).saturating_sub(AWAKE));
        while Instant::now() < due {
            std::hint::spin_loop();
        }
        stream.write_all(request)?;
        reply.clear();
        while !reply.ends_with(ends) {
            let mut some = [0; 1024];
            let read = stream.read(&mut some)?;
            if read == 0 {
                return Err("the good client's connection was closed".into());
            }
            reply.extend_from_slice(&some[..read]);
        }
        if !reply.starts_with(begins) {
            return Err(format!("the good client was answered {}", reply.escape_ascii()).into());
        }
        latencies.push(due.elapsed().as_secs_f64() * 1e6);
        due += PACE;
    }
    Ok(latencies)
}

/// What is done while an attack goes on: from when all of it stands until it is told to end.
fn beside<T>(node: &Node, front: Front, attack: &Attack, done: impl FnOnce() -> Outcome<T>) -> Outcome<T> {
    let field = Field {
        address: node.address(front),
        front,
        stands: Barrier::new(2),
        over: AtomicBool::new(false),
        is_late: AtomicBool::new(false),
    };
    std::thread::scope(|scope| {
        let attacking = scope.spawn(|| {
            let gives_way = give_way();
            (attack.run)(&field);
            gives_way
        });
        field.stands.wait();
        std::thread::sleep(SETTLED);
        let outcome = done();
        field.over.store(true, Ordering::Relaxed);
        attacking.join().map_err(|_| "the attack panicked")??;
        if field.is_late.load(Ordering::Relaxed) {
            return Err(format!("{} did not keep its pace", attack.name).into());
        }
        outcome
    })
}

/// Has this thread be the last to be given a core. By a program that every system has: the call is none of std's.
fn give_way() -> Outcome<()> {
    let own = std::fs::read_link("/proc/thread-self")?;
    let number = own.file_name().ok_or("a thread without a number")?;
    let status =
        Command::new("renice").args(["-n", "19", "-p"]).arg(number).stdout(Stdio::null()).status()?;
    if status.success() { Ok(()) } else { Err("renice failed".into()) }
}

/// Where an attack is led.
struct Field {
    address: SocketAddr,
    front: Front,
    stands: Barrier,
    over: AtomicBool,
    /// It did less than it was to do.
    is_late: AtomicBool,
}

impl Field {
    /// Calls it at a pace until it is over, with a number that counts up; after the first `stand` calls the attack
    /// stands.
    fn at_pace(&self, a_second: u32, stand: usize, mut call: impl FnMut(usize)) {
        (0..stand).for_each(&mut call);
        self.stands.wait();
        let began = Instant::now();
        for n in 0_u32.. {
            let due = began + Duration::from_secs(1) * n / a_second;
            std::thread::sleep(due.saturating_duration_since(Instant::now()));
            if self.over.load(Ordering::Relaxed) {
                let behind = began.elapsed().saturating_sub(due - began);
                self.is_late.store(behind > BEHIND, Ordering::Relaxed);
                return;
            }
            call(stand + n as usize);
        }
    }

    /// A connection that waits for nothing; `None` while the system has none to give.
    fn connect(&self) -> Option<TcpStream> {
        let stream = TcpStream::connect(self.address).ok()?;
        stream.set_nonblocking(true).ok()?;
        Some(stream)
    }

    /// Holds so many connections, and opens anew what was closed. Each call is for the next of them.
    fn hold(&self, connections: usize, a_second: u32, mut call: impl FnMut(&mut TcpStream, bool) -> bool) {
        let mut held: Vec<Option<TcpStream>> = (0..connections).map(|_| None).collect();
        self.at_pace(a_second, connections, |n| {
            let place = &mut held[n % connections];
            let is_new = place.is_none();
            if is_new {
                *place = self.connect();
            }
            if !place.as_mut().is_some_and(|stream| call(stream, is_new)) {
                *place = None;
            }
        });
    }
}

/// Sends what is taken at once; false if the other side has closed.
fn send(stream: &mut TcpStream, bytes: &[u8]) -> bool {
    match stream.write(bytes) {
        Ok(sent) => sent > 0,
        Err(error) => error.kind() == ErrorKind::WouldBlock,
    }
}

/// Whether the other side has closed. What it said is not looked at.
fn is_closed(stream: &mut TcpStream) -> bool {
    match stream.read(&mut [0; 4096]) {
        Ok(read) => read == 0,
        Err(error) => error.kind() != ErrorKind::WouldBlock,
    }
}

/// One kind of attacker.
struct Attack {
    name: &'static str,
    run: fn(&Field),
}

static ATTACKS: [Attack; 6] = [
    Attack { name: "slow-senders", run: slow_senders },
    Attack { name: "half-requests", run: half_requests },
    Attack { name: "connection-flood", run: connection_flood },
    Attack { name: "non-readers", run: non_readers },
    Attack { name: "garbage", run: garbage },
    Attack { name: "huge-claims", run: huge_claims },
];

/// 300 connections, each of which sends a byte of a request a second.
fn slow_senders(field: &Field) {
    let request = field.front.begin_set("much", 1000);
    let mut sent = 0;
    field.hold(300, 300, |stream, _| {
        sent += 1;
        let byte = request[sent / 300 % request.len()];
        send(stream, &[byte]) && !is_closed(stream)
    });
}

/// 300 connections that have sent half a request and say no more.
fn half_requests(field: &Field) {
    let (request, ..) = field.front.get_home();
    field.hold(300, 300, |stream, is_new| {
        !is_new && !is_closed(stream) || send(stream, &request[..request.len() / 2])
    });
}

/// 1,000 connections a second; the last 100 stay open.
fn connection_flood(field: &Field) {
    let mut open: Vec<_> = (0..100).map(|_| None).collect();
    field.at_pace(1000, 100, |n| open[n % 100] = field.connect());
}

/// 16 connections that ask for 1 MiB as often as they can and take nothing.
fn non_readers(field: &Field) {
    let requests = field.front.get_large().repeat(1000);
    field.hold(16, 160, |stream, _| send(stream, &requests));
}

/// 200 times a second a connection that sends 4 KiB of noise.
fn garbage(field: &Field) {
    let mut state = 1_u64;
    let mut next = || {
        // Xorshift, Marsaglia 2003.
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        state.to_le_bytes()[3]
    };
    let noise: Vec<u8> = (0..4096).map(|_| next()).collect();
    field.hold(20, 200, |stream, is_new| if is_new { send(stream, &noise) } else { false });
}

/// 200 times a second a request that claims gigabytes, and 20 connections that claim as much as is allowed.
fn huge_claims(field: &Field) {
    let (huge, large) = (field.front.begin_set("much", 4 << 30), field.front.begin_set("much", 8 << 20));
    let mut turn = 0;
    field.hold(40, 400, |stream, is_new| {
        turn += 1;
        match (turn % 2 == 0, is_new) {
            (true, true) => send(stream, &huge),
            (true, false) => false,
            (false, true) => send(stream, &large),
            (false, false) => !is_closed(stream),
        }
    });
}
