//! A process of the bench's: started, waited for until it is ready, and ended by its id, with all that it started.

use std::io::{BufRead as _, BufReader, Read};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::path::Path;
use std::process::{Child, ChildStdin, Command, ExitStatus, Stdio};
use std::sync::mpsc::{self, Receiver, RecvTimeoutError};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context as _, bail};
use rustix::process::{Pid, Signal, kill_process};

use crate::report::without_place;
use crate::wire::stat;

/// For a server to take connections, its data filled in.
pub(crate) const STARTS_WITHIN: Duration = Duration::from_secs(60);
/// Beyond what it is to take, before a client is given up.
pub(crate) const GRACE: Duration = Duration::from_secs(60);
/// For a process to end once it is asked to.
const ENDS_WITHIN: Duration = Duration::from_secs(5);
/// Between two looks at what has no other way to tell.
const LOOK: Duration = Duration::from_millis(10);
/// What is kept of what a process says of its faults.
const SAID_MAX: u64 = 16 << 10;
/// Of util-linux, as taskset.
const SETPRIV: &str = "/usr/bin/setpriv";
const TASKSET: &str = "/usr/bin/taskset";

/// Where a process may run.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Cores {
    All,
    /// On the first core alone.
    First,
}

/// A process. Dropped, it is ended.
pub(crate) struct Running {
    name: String,
    command: String,
    child: Child,
    /// Open as long as it is to run, for those that end with it.
    input: Option<ChildStdin>,
    lines: Receiver<String>,
    said: Receiver<String>,
}

impl Running {
    /// Starts it. Where the system can, it is told to end when this process does, however that ends.
    pub(crate) fn start(command: Command, cores: Cores) -> anyhow::Result<Self> {
        let name = command.get_program().to_string_lossy().rsplit('/').next().unwrap_or_default().to_owned();
        let text = in_words(&command, cores);
        let mut command = match cores {
            Cores::All => tied(command),
            Cores::First => pinned(&tied(command))?,
        };
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child = command.spawn().with_context(|| format!("cannot start {name}"))?;
        let (output, faults) = (child.stdout.take(), child.stderr.take());
        let (line, lines) = mpsc::channel();
        let (faulty, said) = mpsc::channel();
        // Both are read to their end, so that no process waits for a reader.
        thread::spawn(move || {
            for text in BufReader::new(output.expect("it is piped")).lines().map_while(Result::ok) {
                let _ = line.send(text);
            }
        });
        thread::spawn(move || {
            let mut faults = faults.expect("it is piped");
            let mut text = Vec::new();
            let _ = faults.by_ref().take(SAID_MAX).read_to_end(&mut text);
            let _ = faulty.send(String::from_utf8_lossy(&text).trim().to_owned());
            let _ = std::io::copy(&mut faults, &mut std::io::sink());
        });
        let input = child.stdin.take();
        Ok(Self { name, command: text, child, input, lines, said })
    }

    /// What it is, in words: the program and its arguments, without where they are.
    pub(crate) fn command(&self) -> &str {
        &self.command
    }

    pub(crate) fn pid(&self) -> u32 {
        self.child.id()
    }

    /// The next line it prints that begins so, without its beginning.
    ///
    /// # Errors
    /// When it ends before, or does not print it in time.
    pub(crate) fn line(&mut self, beginning: &str, within: Duration) -> anyhow::Result<String> {
        let until = Instant::now() + within;
        loop {
            match self.lines.recv_timeout(until.saturating_duration_since(Instant::now())) {
                Ok(line) => {
                    if let Some(rest) = line.strip_prefix(beginning) {
                        return Ok(rest.trim().to_owned());
                    }
                }
                Err(RecvTimeoutError::Timeout) => {
                    bail!("{} did not say '{beginning}' within {within:?}", self.name)
                }
                Err(RecvTimeoutError::Disconnected) => bail!("{} ended: {}", self.name, self.faults()),
            }
        }
    }

    /// Waits until somebody takes connections there.
    ///
    /// # Errors
    /// When it ends before, or does not in time.
    pub(crate) fn accepts(&mut self, address: SocketAddr) -> anyhow::Result<()> {
        let until = Instant::now() + STARTS_WITHIN;
        while TcpStream::connect_timeout(&address, LOOK).is_err() {
            if let Some(status) = self.child.try_wait()? {
                bail!("{} ended ({status}): {}", self.name, self.faults());
            }
            if Instant::now() > until {
                bail!("{} takes no connections at {address} after {STARTS_WITHIN:?}", self.name);
            }
            thread::sleep(LOOK);
        }
        Ok(())
    }

    /// All it prints from here, once it has ended by itself.
    ///
    /// # Errors
    /// When it fails, or is not done in time; it is ended then.
    pub(crate) fn output(mut self, within: Duration) -> anyhow::Result<Output> {
        self.input = None;
        let Some(status) = self.ends(within)? else {
            bail!("{} is not done after {within:?}", self.name);
        };
        if !status.success() {
            bail!("{} failed ({status}): {}", self.name, self.faults());
        }
        let mut output = Output { printed: String::new(), said: self.faults() };
        while let Ok(line) = self.lines.recv_timeout(ENDS_WITHIN) {
            output.printed.push_str(&line);
            output.printed.push('\n');
        }
        Ok(output)
    }

    fn ends(&mut self, within: Duration) -> anyhow::Result<Option<ExitStatus>> {
        let until = Instant::now() + within;
        loop {
            match self.child.try_wait()? {
                Some(status) => return Ok(Some(status)),
                None if Instant::now() > until => return Ok(None),
                None => thread::sleep(LOOK),
            }
        }
    }

    /// What it said of its faults; one that ended has said all.
    fn faults(&self) -> String {
        let said = self.said.recv_timeout(ENDS_WITHIN).unwrap_or_default();
        said.lines().last().unwrap_or("it said nothing").to_owned()
    }
}

fn in_words(command: &Command, cores: Cores) -> String {
    let pinned = (cores == Cores::First).then(|| "taskset -c 0".to_owned());
    let words = std::iter::once(command.get_program()).chain(command.get_args());
    let words = words.map(|word| without_place(&word.to_string_lossy()));
    let bare = words.map(|word| match word.trim_start_matches("…/") {
        "" => "''".to_owned(),
        bare => bare.to_owned(),
    });
    pinned.into_iter().chain(bare).collect::<Vec<_>>().join(" ")
}

/// What a process that is done printed, and said beside it.
pub(crate) struct Output {
    pub(crate) printed: String,
    /// The last line.
    pub(crate) said: String,
}

impl Drop for Running {
    fn drop(&mut self) {
        // First what ends by itself: a node when its input does, a daemon at the signal, which has it end its children too.
        self.input = None;
        let family = stat::with_children(&[self.pid()]).unwrap_or_else(|_| vec![self.pid()]);
        if matches!(self.child.try_wait(), Ok(None)) {
            signal(self.pid(), Signal::TERM);
        }
        let ended = matches!(self.ends(ENDS_WITHIN), Ok(Some(_)));
        // What is left of the others, their ids of a moment ago; and the process itself, which keeps its id until it is
        // waited for.
        for pid in family {
            if pid != self.pid() || !ended {
                signal(pid, Signal::KILL);
            }
        }
        let _ = self.child.wait();
    }
}

fn signal(pid: u32, signal: Signal) {
    if let Some(pid) = i32::try_from(pid).ok().and_then(Pid::from_raw) {
        // It may have ended meanwhile.
        let _ = kill_process(pid, signal);
    }
}

/// The same command, told to end when this process does; as it is where there is no setpriv.
fn tied(command: Command) -> Command {
    if Path::new(SETPRIV).exists() { wrapped(&command, SETPRIV, &["--pdeathsig", "TERM"]) } else { command }
}

/// The same command, kept on the first core.
fn pinned(command: &Command) -> anyhow::Result<Command> {
    anyhow::ensure!(
        Path::new(TASKSET).exists(),
        "no {TASKSET} here to pin a process to a core: util-linux has it"
    );
    Ok(wrapped(command, TASKSET, &["-c", "0"]))
}

/// The command run by another, which puts itself out of the way; with the same id.
fn wrapped(command: &Command, by: &str, arguments: &[&str]) -> Command {
    let mut wrapped = Command::new(by);
    wrapped.args(arguments).arg(command.get_program()).args(command.get_args());
    for (name, value) in command.get_envs() {
        match value {
            Some(value) => wrapped.env(name, value),
            None => wrapped.env_remove(name),
        };
    }
    if let Some(folder) = command.get_current_dir() {
        wrapped.current_dir(folder);
    }
    wrapped
}

/// A port that is free now, for those that cannot say which they took.
///
/// # Errors
/// When the system has none.
pub(crate) fn free_port() -> anyhow::Result<u16> {
    let listener = TcpListener::bind(("127.0.0.1", 0)).context("no free port")?;
    Ok(listener.local_addr()?.port())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::wire::puppet::puppet;

    fn running(deeds: &[&str]) -> Running {
        Running::start(puppet(deeds), Cores::All).unwrap()
    }

    #[test]
    fn a_process_that_ends_before_it_is_ready_is_an_error_with_its_own_words() {
        let deeds = ["say starting", "fault no such thing", "fail"];
        let said = running(&deeds).line("ready", STARTS_WITHIN).unwrap_err().to_string();
        assert!(said.ends_with(" ended: no such thing"), "{said}");
        let address = SocketAddr::from(([127, 0, 0, 1], free_port().unwrap()));
        let said = running(&["fault bad port", "fail"]).accepts(address).unwrap_err().to_string();
        assert!(said.ends_with(" ended (exit status: 3): bad port"), "{said}");
    }

    #[test]
    fn a_process_that_is_not_done_in_time_is_ended_and_an_error() {
        let running = running(&["wait"]);
        let pid = running.pid();
        assert!(running.output(Duration::from_millis(50)).is_err());
        assert!(!Path::new(&format!("/proc/{pid}")).exists());
    }

    #[test]
    fn what_it_prints_before_it_ends_is_told_whole() {
        let mut running = running(&["say begin", "say a", "say b", "fault why"]);
        assert_eq!(running.line("begin", STARTS_WITHIN).unwrap(), "");
        let output = running.output(STARTS_WITHIN).unwrap();
        assert_eq!((output.printed.as_str(), output.said.as_str()), ("\na\n\nb\n", "why"));
    }

    #[test]
    fn a_command_is_told_without_where_its_files_are() {
        let mut command = Command::new("/usr/bin/redis-server");
        command.args(["--port", "1", "--save", "", "-n", "/tmp/x"]);
        assert_eq!(in_words(&command, Cores::All), "redis-server --port 1 --save '' -n x");
        assert!(in_words(&command, Cores::First).starts_with("taskset -c 0 redis-server"));
    }

    #[test]
    fn children_are_ended_with_what_started_them() {
        let mut running = running(&["child", "wait"]);
        let child: u32 = running.line("child", STARTS_WITHIN).unwrap().parse().unwrap();
        assert!(stat::with_children(&[running.pid()]).unwrap().contains(&child));
        drop(running);
        // Whoever is its parent now may not have waited for it yet; it runs no more.
        let until = Instant::now() + ENDS_WITHIN;
        while Path::new(&format!("/proc/{child}/exe")).exists() {
            assert!(Instant::now() < until, "it still runs");
            thread::sleep(LOOK);
        }
    }
}
