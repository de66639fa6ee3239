//! What attackers cost a good client: `attack CARROT [--rounds N] [--seconds S] [ATTACK…]`, by `scripts/attack`.
//!
//! Starts a node, and asks it at a fixed pace, at the Redis front and at the data front. Each attack is measured in three
//! windows of time: `without` it, `with` it, and with the same attack led `elsewhere`, against a bystander in this
//! process. Prints the 99th percentile of the good client's latencies in each, and the ratios with / without and
//! with / elsewhere: of each the median over all rounds. Fails where an answer was wrong or missing, and where
//! with / without is over the goal.
//! All are on this machine and take the node's cores, so an attack is paced: it is held to what attackers cost by what
//! they send, not by how fast this machine can send it. And its thread is given a core only where nobody else wants it
//! (SCHED_IDLE), since attackers have machines of their own: to wait for this thread is no cost of the attack. It keeps its
//! pace all the same: a window in which it falls behind is measured again, and the run is given up where that does not help.
//! What remains is the system's work for the attackers' ends of the connections,
//! which it does on the node's cores without a break; `elsewhere` says what that costs together with a server that does
//! nothing but accept, read and close, for there the node has no part in it. It reads all that comes, so beside
//! `non-readers` it says little. With / elsewhere is thus about what the node itself adds.
//! Each round begins with another of the windows, so that what changes on the machine meanwhile is not one window's alone.
//! And the good client begins each at a random moment of its pace, which is a hair slower than it says: it and the attack
//! both go by clocks, and in step they would meet always or never. So it passes through the attack's moments in each
//! window, as one that knows nothing of attacks does; at random it would be in its own way, since two that wait awake
//! at once leave the node no core.

#![forbid(unsafe_code)]
#![allow(clippy::print_stdout, clippy::print_stderr, reason = "a program that prints its findings")]

mod attacks;
mod node;

use std::collections::BTreeMap;
use std::error::Error;
use std::hash::{BuildHasher, RandomState};
use std::io::{Read, Write};
use std::net::TcpStream;
use std::process::ExitCode;
use std::time::{Duration, Instant};

use crate::attacks::{ATTACKS, Attack, beside, bystander};
use crate::node::{Front, Node, connect};

/// What an attack may make of the good client's 99th percentile: with / without.
const GOAL: f64 = 1.5;

/// The good client: its connections, and how often each asks.
const CONNECTIONS: usize = 2;
const PACE: Duration = Duration::from_millis(2);
/// Between one that asks and the next.
const TURN: Duration = PACE.checked_div(CONNECTIONS as u32).unwrap();
/// Before its time comes it is waited for awake, since sleep ends late.
const AWAKE: Duration = Duration::from_micros(150);

/// How often a window is measured whose attack does not keep its pace, one time after the other.
const TRIES: usize = 5;

/// Before each measure: an attack is measured as it goes on, and the last one is over by then.
const SETTLED: Duration = Duration::from_millis(500);

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
    let bystander = bystander()?;
    // Not measured: a node that has just begun has its memory still to ask of the system.
    for front in [Front::Redis, Front::Http] {
        good_client(&node, front, plan.window)?;
    }
    let (mut measured_again, mut seen) = (0, BTreeMap::<(Front, &str), Vec<[f64; 3]>>::new());
    for round in 1..=plan.rounds {
        for front in [Front::Redis, Front::Http] {
            for attack in &plan.attacks {
                // In the order of the table: where the attack is led.
                let windows = [None, Some(node.address(front)), Some(bystander)];
                let mut p99s = [0.0; 3];
                for turn in 0..windows.len() {
                    let at = (round + turn) % windows.len();
                    let measured = || {
                        std::thread::sleep(SETTLED);
                        good_client(&node, front, plan.window).map(p99)
                    };
                    p99s[at] = match windows[at] {
                        None => measured()?,
                        Some(address) => {
                            let one = || beside(attack, front, address, measured);
                            kept_pace(attack.name, &mut measured_again, one)?
                        }
                    };
                }
                seen.entry((front, attack.name)).or_default().push(p99s);
            }
        }
        eprintln!("attack: round {round} of {} is over", plan.rounds);
    }
    println!(
        "good client: {CONNECTIONS} connections, each asks every {PACE:?}; p99 in µs, medians of {}",
        plan.rounds
    );
    println!(
        "{:<6} {:<18}{:>9}{:>9}{:>10}   {:<26}with/elsewhere",
        "front", "attack", "without", "with", "elsewhere", "with/without"
    );
    let mut is_well = true;
    for ((front, name), rounds) in &seen {
        let column = |of: fn(&[f64; 3]) -> f64| sorted(rounds.iter().map(of).collect());
        let [without, with, elsewhere] =
            [column(|p99s| p99s[0]), column(|p99s| p99s[1]), column(|p99s| p99s[2])]
                .map(|p99s| median(&p99s));
        let (ratios, added) = (column(|p99s| p99s[1] / p99s[0]), column(|p99s| p99s[1] / p99s[2]));
        let is_kept = median(&ratios) <= GOAL;
        is_well &= is_kept;
        println!(
            "{:<6} {name:<18}{without:>9.0}{with:>9.0}{elsewhere:>10.0}   {:<26}{}{}",
            front.name(),
            spread(&ratios),
            spread(&added),
            if is_kept { "" } else { "  over the goal" },
        );
    }
    println!("measured again, since the attack fell behind its pace: {measured_again} windows");
    Ok(is_well)
}

/// The median, the least and the most.
fn spread(sorted: &[f64]) -> String {
    format!("{:.2}x ({:.2} to {:.2})", median(sorted), sorted[0], sorted[sorted.len() - 1])
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

/// What is measured in a window in which the attack keeps its pace: the first of a few.
fn kept_pace<T>(
    attack: &str,
    measured_again: &mut usize,
    mut measure: impl FnMut() -> Outcome<Option<T>>,
) -> Outcome<T> {
    for _ in 1..TRIES {
        if let Some(measured) = measure()? {
            return Ok(measured);
        }
        eprintln!("attack: {attack} fell behind its pace; its window is measured again");
        *measured_again += 1;
    }
    measure()?.ok_or_else(|| format!("{attack} did not keep its pace in any of {TRIES} windows").into())
}

/// Asks for a window of time, from a random moment on; gives the latencies in µs, each from when it was due.
fn good_client(node: &Node, front: Front, window: Duration) -> Outcome<Vec<f64>> {
    let address = node.address(front);
    // Of std's, each is another.
    let phase = RandomState::new().hash_one(()) as f64 / u64::MAX as f64;
    let began = Instant::now() + PACE.mul_f64(phase);
    // Later by one turn at the end of the window.
    let pace = PACE + TURN.mul_f64(PACE.as_secs_f64() / window.as_secs_f64());
    std::thread::scope(|scope| {
        let one = |at: usize| {
            let first = began + TURN * u32::try_from(at)?;
            asked(connect(address)?, front, first, pace, began + window)
        };
        let asking: Vec<_> = (0..CONNECTIONS).map(|at| scope.spawn(move || one(at))).collect();
        let mut all = Vec::new();
        for one in asking {
            all.extend(one.join().map_err(|_| "the good client panicked")??);
        }
        Ok(all)
    })
}

fn asked(
    mut stream: TcpStream,
    front: Front,
    first: Instant,
    pace: Duration,
    end: Instant,
) -> Outcome<Vec<f64>> {
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
        due += pace;
    }
    Ok(latencies)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_window_in_which_the_attack_falls_behind_is_measured_again_and_not_for_ever() {
        let mut again = 0;
        let mut windows = [None, None, Some(7)].into_iter();
        let measured = kept_pace("garbage", &mut again, || Ok(windows.next().flatten()));
        assert_eq!((measured.ok(), again), (Some(7), 2));
        let mut measures = 0;
        let never = kept_pace::<()>("garbage", &mut again, || {
            measures += 1;
            Ok(None)
        });
        let error = never.err().map(|error| error.to_string());
        assert_eq!(error.as_deref(), Some("garbage did not keep its pace in any of 5 windows"));
        assert_eq!((measures, again), (5, 6));
        // A wrong answer is one in any window.
        assert!(kept_pace::<()>("garbage", &mut again, || Err("a wrong answer".into())).is_err());
        assert_eq!(again, 6);
    }
}
