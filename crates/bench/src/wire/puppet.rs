//! A process that does what a test tells it. It is the test's own program, so that no shell has to be there.

#![cfg(test)]

use std::env;
use std::io::Read as _;
use std::process::{Command, exit};

const NAME: &str = "wire::puppet::a_puppet_does_what_it_is_told";
const DEEDS: &str = "CARROT_BENCH_PUPPET";

/// A process that does these deeds, one after another, and ends well if none says otherwise: `say LINE`, `fault LINE`,
/// `fail`, `read` all of its input, `work` for some time, start a `child` and say its id, `wait` for ever.
pub(crate) fn puppet(deeds: &[&str]) -> Command {
    let mut command = Command::new(env::current_exe().unwrap());
    // By two threads, since by one the name of the test stands before what it prints.
    command.args(["--exact", NAME, "--ignored", "--nocapture", "--test-threads=2"]);
    command.env(DEEDS, deeds.join("|"));
    command
}

#[test]
#[ignore = "it is a process of other tests"]
#[allow(clippy::zombie_processes, reason = "the test is whether another ends it")]
fn a_puppet_does_what_it_is_told() {
    let Ok(deeds) = env::var(DEEDS) else { return };
    for deed in deeds.split('|') {
        match deed.split_once(' ').unwrap_or((deed, "")) {
            ("say", line) => println!("\n{line}"),
            ("fault", line) => eprintln!("{line}"),
            ("fail", _) => exit(3),
            ("read", _) => drop(std::io::stdin().read_to_end(&mut Vec::new()).unwrap()),
            ("work", _) => while ticks() < 5 {},
            ("child", _) => println!("\nchild {}", puppet(&["wait"]).spawn().unwrap().id()),
            ("wait", _) => loop {
                std::thread::park();
            },
            _ => panic!("no such deed: {deed}"),
        }
    }
    // Before the harness has its say.
    exit(0);
}

/// Hundredths of a second that it has worked, user and system.
fn ticks() -> u64 {
    let stat = std::fs::read_to_string("/proc/self/stat").unwrap();
    let fields = stat.rsplit_once(')').unwrap().1.split_whitespace().skip(11);
    fields.take(2).map(|ticks| ticks.parse::<u64>().unwrap()).sum()
}
