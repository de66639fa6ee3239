//! Processes of an example: started, listened to, and ended by their ids, whatever becomes of the test.

use std::io::{BufRead, BufReader, Read};
use std::net::{Ipv4Addr, SocketAddr, TcpListener};
use std::path::PathBuf;
use std::process::{Child, ChildStdout, Command, Stdio};
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, channel};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use rustix::process::{Pid, Signal, kill_process};

/// Past it something hangs, and the test ends by itself.
pub(crate) const PATIENCE: Duration = Duration::from_secs(60);

/// One process of an example; it ends when this value does.
pub(crate) struct Process {
    child: Child,
    /// What it prints, until it ends.
    lines: Receiver<String>,
    /// What it logs.
    errors: Option<JoinHandle<String>>,
}

/// How a process ended, and what it had printed that was not read yet.
pub(crate) struct Ended {
    pub(crate) success: bool,
    pub(crate) lines: Vec<String>,
    pub(crate) errors: String,
}

impl Process {
    pub(crate) fn start(example: &str, args: &[&str]) -> Self {
        let mut command = Command::new(program(example));
        let command = command.args(args).stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child = command.spawn().unwrap();
        let (output, mut log) = (child.stdout.take().unwrap(), child.stderr.take().unwrap());
        let (sender, lines) = channel();
        thread::spawn(move || pass_on(output, &sender));
        let errors = thread::spawn(move || {
            let mut errors = Vec::new();
            log.read_to_end(&mut errors).unwrap();
            String::from_utf8_lossy(&errors).into_owned()
        });
        Self { child, lines, errors: Some(errors) }
    }

    /// Waits until it prints a line that begins with `word`, and gives the rest; `None` if it ends before.
    pub(crate) fn says(&self, word: &str) -> Option<String> {
        let mut said = self.lines().filter_map(|line| Some(line.strip_prefix(word)?.trim().to_owned()));
        said.next()
    }

    /// What it prints, until it ends.
    fn lines(&self) -> impl Iterator<Item = String> + '_ {
        std::iter::from_fn(|| match self.lines.recv_timeout(PATIENCE) {
            Ok(line) => Some(line),
            Err(RecvTimeoutError::Disconnected) => None,
            Err(RecvTimeoutError::Timeout) => panic!("neither a line nor an end within {PATIENCE:?}"),
        })
    }

    /// Asks it to stop, as whatever runs a service does.
    pub(crate) fn terminate(&self) {
        // Not waited for yet, so the id is still this process's.
        kill_process(Pid::from_child(&self.child), Signal::TERM).unwrap();
    }

    /// Ends it without a word.
    pub(crate) fn kill(&mut self) {
        self.child.kill().unwrap();
    }

    /// Waits for its end.
    pub(crate) fn end(mut self) -> Ended {
        // To the end of what it prints first: `wait` has no deadline.
        let lines = self.lines().collect();
        let success = self.child.wait().unwrap().success();
        Ended { success, lines, errors: self.errors() }
    }

    fn errors(&mut self) -> String {
        let errors = self.errors.take().map(|errors| errors.join().unwrap()).unwrap_or_default();
        assert!(!errors.contains("panicked"), "{errors}");
        errors
    }
}

#[expect(clippy::print_stderr, reason = "a test that fails shows what its process wrote")]
impl Drop for Process {
    fn drop(&mut self) {
        // It may have ended by itself, since a port was taken.
        let _ = self.child.kill();
        let _ = self.child.wait();
        if thread::panicking() {
            let written = self.errors.take().map(JoinHandle::join);
            eprintln!("the process wrote: {written:?}");
        } else {
            self.errors();
        }
    }
}

/// Ends with the process, or with whoever listens.
fn pass_on(output: ChildStdout, lines: &Sender<String>) {
    for line in BufReader::new(output).lines().map_while(Result::ok) {
        if lines.send(line).is_err() {
            return;
        }
    }
}

/// Cargo puts it beside the directory of the tests.
fn program(example: &str) -> PathBuf {
    let test = std::env::current_exe().unwrap();
    let profile = test.parent().unwrap().parent().unwrap();
    let program = profile.join("examples").join(format!("{example}{}", std::env::consts::EXE_SUFFIX));
    assert!(
        program.is_file(),
        "no {}: cargo test -p carrotcache builds it, --test alone does not",
        program.display()
    );
    program
}

/// Addresses of this machine that were free a moment ago.
pub(crate) fn free_addresses<const N: usize>() -> [SocketAddr; N] {
    let bound = [(); N].map(|()| TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap());
    bound.each_ref().map(|listener| listener.local_addr().unwrap())
}
