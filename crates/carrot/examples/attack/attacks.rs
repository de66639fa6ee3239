//! The attacks, each on a thread that gives way to all others, and whom they are led against that is not the node.

use std::io::{ErrorKind, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::process::{Command, Stdio};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Barrier, Once};
use std::time::{Duration, Instant};

use crate::Outcome;
use crate::node::Front;

/// An attack that is further behind its pace at its end is weaker than it says.
const BEHIND: Duration = Duration::from_millis(100);

/// Connections that the bystander attends at once: more than any attack holds.
const ATTENDED: usize = 400;

/// What is done while an attack is led against an address: from when all of it stands until it is told to end. Nothing if
/// the attack fell behind its pace meanwhile: whatever was done then, it was not beside this attack.
pub(crate) fn beside<T>(
    attack: &Attack,
    front: Front,
    address: SocketAddr,
    done: impl FnOnce() -> Outcome<T>,
) -> Outcome<Option<T>> {
    let field = Field {
        address,
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
        let done = done();
        field.over.store(true, Ordering::Relaxed);
        attacking.join().map_err(|_| "the attack panicked")??;
        let done = done?;
        Ok((!field.is_late.load(Ordering::Relaxed)).then_some(done))
    })
}

/// Has this thread be given a core only where nobody else wants it; or where that fails, be the last to be given one. By
/// programs of the system, since std has no such call.
fn give_way() -> Outcome<()> {
    static SAID: Once = Once::new();
    let own = std::fs::read_link("/proc/thread-self")?;
    let number = own.file_name().ok_or("a thread without a number")?;
    let done_by = |program: &str, words: &[&str]| {
        let mut command = Command::new(program);
        let status = command.args(words).arg(number).stdout(Stdio::null()).stderr(Stdio::null()).status();
        status.is_ok_and(|status| status.success())
    };
    if done_by("chrt", &["--idle", "--pid", "0"]) {
        return Ok(());
    }
    SAID.call_once(|| {
        eprintln!("attack: no SCHED_IDLE by chrt here; attackers run at nice 19, and cost more for it");
    });
    if done_by("renice", &["-n", "19", "-p"]) { Ok(()) } else { Err("neither chrt nor renice works".into()) }
}

/// Whom an attack is led against in the node's stead: accepts, reads what comes, and closes when its client has. It takes
/// no more of the machine than that, and stays for as long as the program.
pub(crate) fn bystander() -> Outcome<SocketAddr> {
    let listener = Arc::new(TcpListener::bind("127.0.0.1:0")?);
    let address = listener.local_addr()?;
    for _ in 0..ATTENDED {
        let listener = listener.clone();
        // Threads that are there already, since to start one costs more than a connection does.
        std::thread::Builder::new().stack_size(64 << 10).spawn(move || {
            while let Ok((mut stream, _)) = listener.accept() {
                let mut piece = [0; 4096];
                while matches!(stream.read(&mut piece), Ok(1..)) {}
            }
        })?;
    }
    Ok(address)
}

/// Where an attack is led.
pub(crate) struct Field {
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
            if due.elapsed() > BEHIND {
                self.is_late.store(true, Ordering::Relaxed);
            }
            if self.over.load(Ordering::Relaxed) {
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
pub(crate) struct Attack {
    pub(crate) name: &'static str,
    run: fn(&Field),
}

pub(crate) static ATTACKS: [Attack; 6] = [
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
