//! A soak: caches under one budget are churned, and what they are charged and what the process really holds is watched.
//!
//! `soak [SECONDS] [SHAPE] [MIB]`, of a budget of so many MiB: 600, `mixed` and 256 by default; see [`Shape`]. Ends when
//! the time is over and 20 times the budget was inserted. Prints one line, and fails if the budget was ever exceeded or
//! the resident set passed 110 % of it, plus that of the same program with no budget at all, plus 16 MiB. Before it
//! begins it starts itself to learn the latter. For Linux: `/proc` tells what is resident.

use std::io::Write;
use std::process::{Command, ExitCode};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::Relaxed};
use std::time::{Duration, Instant};

use carrot_engine::{Budget, Cache, Clock, Weight};

const MIB: u64 = 1 << 20;
const THREADS: u64 = 2;
const CACHES: usize = 4;
/// How often the budget has to be inserted.
const TIMES: u64 = 20;
/// How long the program without a budget is watched.
const BASE_SECONDS: u64 = 5;

/// How long the values are.
#[derive(Clone, Copy, Debug)]
enum Shape {
    /// 1 byte to 1 KiB, each length as often as any.
    Small,
    /// 1 byte to 1 MiB, each order of magnitude as often as any.
    Mixed,
    /// 1 byte to 1 KiB for seven budgets, 64 KiB to 1 MiB for as many, and so on by turns: what is free after the small
    /// ones is of no use for the large ones to an allocator that cannot give it back.
    Phases,
}

struct Soak {
    shape: Shape,
    capacity: u64,
    budget: Arc<Budget>,
    caches: Vec<Cache<()>>,
    /// The weight of all that was ever stored.
    inserted: AtomicU64,
    is_over: AtomicBool,
}

impl Soak {
    fn new(shape: Shape, capacity: u64) -> Self {
        let budget = Arc::new(Budget::new(capacity));
        let clock = Clock::system();
        // One with a capacity of its own beside the budget, as groups of a node have it.
        let cache = |at| {
            let cache = Cache::builder().budget(budget.clone()).clock(clock.clone());
            if at == 0 { cache.capacity(capacity / 4) } else { cache }.build()
        };
        let caches = (0..CACHES).map(cache).collect();
        Self { shape, capacity, budget, caches, inserted: AtomicU64::new(0), is_over: AtomicBool::new(false) }
    }

    /// Runs for so long at least, and gives the most that was charged and the most that was resident.
    fn run(&self, span: Duration) -> (u64, u64) {
        let began = Instant::now();
        std::thread::scope(|threads| {
            for seed in 1..=THREADS {
                threads.spawn(move || self.churn(Random(seed << 32)));
            }
            let watcher = threads.spawn(|| self.watch());
            let mut resident = 0;
            while began.elapsed() < span || self.inserted.load(Relaxed) < TIMES * self.capacity {
                std::thread::sleep(Duration::from_secs(1));
                resident = resident.max(resident_bytes());
            }
            self.is_over.store(true, Relaxed);
            (watcher.join().unwrap_or(u64::MAX), resident)
        })
    }

    /// The most that is charged until the soak is over.
    fn watch(&self) -> u64 {
        let mut most = 0;
        while !self.is_over.load(Relaxed) {
            let weights = self.caches.iter().map(Cache::weight);
            most = weights.fold(most.max(self.budget.used()), u64::max);
            std::thread::sleep(Duration::from_micros(50));
        }
        most
    }

    fn churn(&self, mut random: Random) {
        let bytes = vec![b'v'; MIB as usize];
        while !self.is_over.load(Relaxed) {
            let cache = &self.caches[random.below(CACHES as u64) as usize];
            let length = self.length(&mut random);
            // Twice as many keys as have room, so that some are found, some replaced and some evicted.
            let key = random.below(2 * self.capacity / self.mean() / CACHES as u64 + 16).to_le_bytes();
            match random.below(16) {
                0 => drop(cache.remove(&key)),
                1..6 => drop(cache.get(&key)),
                // A quarter of them for up to 10 s.
                way => {
                    let ttl = Duration::from_millis(1 + random.below(10_000));
                    let expires = (way < 9).then(|| cache.clock().now() + ttl);
                    let value = &bytes[..length as usize];
                    if let Ok(hit) = cache.insert_if(&key, value, (), Weight::Real, expires, || true) {
                        self.inserted.fetch_add(hit.weight(), Relaxed);
                    }
                }
            }
        }
    }

    fn length(&self, random: &mut Random) -> u64 {
        // One of so many powers of two, and a length below it: each order as often as any.
        let mut orders = |from: u64, to: u64| {
            let most = 1 << (from + random.below(to - from) + 1);
            most / 2 + random.below(most / 2)
        };
        match self.shape {
            Shape::Mixed => orders(0, 20),
            Shape::Phases if self.is_in_a_large_phase() => orders(16, 20),
            Shape::Small | Shape::Phases => 1 + random.below(1 << 10),
        }
    }

    fn mean(&self) -> u64 {
        match self.shape {
            Shape::Mixed => MIB / 14,
            Shape::Phases if self.is_in_a_large_phase() => MIB / 3,
            // With what an entry takes beside its value.
            Shape::Small | Shape::Phases => 600,
        }
    }

    fn is_in_a_large_phase(&self) -> bool {
        self.inserted.load(Relaxed) / (7 * self.capacity.max(1)) % 2 == 1
    }
}

/// xorshift64*, which is enough to choose sizes and keys.
struct Random(u64);

impl Random {
    fn below(&mut self, limit: u64) -> u64 {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        let drawn = u128::from(self.0.wrapping_mul(0x2545_f491_4f6c_dd1d)) * u128::from(limit);
        (drawn >> 64) as u64
    }
}

/// What this process holds in memory now.
fn resident_bytes() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")?.trim().strip_suffix(" kB"));
    line.and_then(|kib| kib.parse::<u64>().ok()).expect("/proc says what is resident") << 10
}

/// What the same program holds with a budget of 0.
fn base_bytes(shape: &str) -> Result<u64, String> {
    let child = std::env::current_exe()
        .and_then(|this| Command::new(this).args([&BASE_SECONDS.to_string(), shape, "0"]).output());
    let said = child.map_err(|error| format!("cannot start the program without a budget: {error}"))?;
    let said = String::from_utf8_lossy(&said.stdout).into_owned();
    said.trim().parse().map_err(|_| format!("the program without a budget said {said:?}"))
}

fn soak(arguments: &[String]) -> Result<String, String> {
    let argument = |at: usize, default: &'static str| arguments.get(at).map_or(default, String::as_str);
    let number = |at, default| argument(at, default).parse::<u64>().map_err(|error| error.to_string());
    let (seconds, name, capacity) = (number(0, "600")?, argument(1, "mixed"), number(2, "256")? * MIB);
    let shape = match name {
        "small" => Shape::Small,
        "mixed" => Shape::Mixed,
        "phases" => Shape::Phases,
        other => return Err(format!("{other} is no shape: small, mixed, phases")),
    };
    let span = Duration::from_secs(seconds);
    let soak = Soak::new(shape, capacity);
    if capacity == 0 {
        return Ok(soak.run(span).1.to_string());
    }
    let base = base_bytes(name)?;
    let (charged, resident) = soak.run(span);
    let limit = capacity + capacity / 10 + base + 16 * MIB;
    let mib = |bytes: u64| format!("{:.1}", bytes as f64 / MIB as f64);
    let inserted = soak.inserted.load(Relaxed);
    let line = format!(
        "soak {name}: inserted {} MiB, {:.1} times the capacity of {}; charged at most {}; resident at most {}, base {}, \
         limit {}",
        mib(inserted),
        inserted as f64 / capacity as f64,
        mib(capacity),
        mib(charged),
        mib(resident),
        mib(base),
        mib(limit),
    );
    if charged <= capacity && resident <= limit { Ok(line) } else { Err(format!("{line}: exceeded")) }
}

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let ended = soak(&arguments);
    let (Ok(line) | Err(line)) = &ended;
    // With nobody there to read it, the exit code still says how it went.
    let _ = writeln!(std::io::stdout(), "{line}");
    if ended.is_ok() { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}
