//! Processes of the program: started on free ports, watched, and ended by their ids, whatever becomes of the test.
//!
//! Whatever a process wrote is kept. One that wrote of a panic fails its test when it ends.

use std::io::{BufRead, BufReader, Read};
use std::net::{Ipv4Addr, SocketAddr, TcpListener};
use std::path::Path;
use std::process::{Child, ChildStderr, ChildStdout, Command, ExitStatus, Stdio};
use std::sync::mpsc::{Receiver, RecvTimeoutError, channel};
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;

use rustix::process::{Pid, Signal, kill_process};

use crate::awaiting::{LONG, eventually, until};
use crate::client::{Reply, get};
use crate::page::Page;

/// A process of the program. Dropping it kills it.
pub(crate) struct Process {
    child: Child,
    // In a mutex so that threads of a test can share a node.
    lines: Mutex<Receiver<String>>,
    /// What it wrote on standard error so far.
    written: Arc<Mutex<String>>,
    errors: Option<JoinHandle<()>>,
}

/// A node, once it has said where it listens.
pub(crate) struct Node {
    pub(crate) process: Process,
    pub(crate) peer: SocketAddr,
    pub(crate) http: SocketAddr,
    pub(crate) admin: SocketAddr,
}

/// What a process wrote and how it ended.
pub(crate) struct Ended {
    pub(crate) status: ExitStatus,
    pub(crate) lines: Vec<String>,
    pub(crate) errors: String,
}

impl Process {
    /// Starts the program in `directory`, with nothing in its environment but a place for temporary files.
    pub(crate) fn start(directory: &Path, arguments: &[&str]) -> Self {
        Self::start_with(directory, arguments, &[])
    }

    /// The same, with these variables in its environment.
    pub(crate) fn start_with(directory: &Path, arguments: &[&str], variables: &[(&str, &str)]) -> Self {
        let mut child = Command::new(env!("CARGO_BIN_EXE_carrot"))
            .args(arguments)
            .current_dir(directory)
            .env_clear()
            .env("TMPDIR", directory)
            .envs(variables.iter().copied())
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let lines = Mutex::new(lines_of(child.stdout.take().unwrap()));
        let written = Arc::default();
        let errors = gather(child.stderr.take().unwrap(), Arc::clone(&written));
        Self { child, lines, written, errors: Some(errors) }
    }

    /// Waits until it has written `text` on standard error, and gives the whole line.
    pub(crate) fn has_said(&self, text: &str) -> String {
        eventually(text, || {
            let written = self.written();
            let (whole, _) = written.rsplit_once('\n')?;
            whole.lines().find(|line| line.contains(text)).map(str::to_owned)
        })
    }

    /// The next line on standard output; `None` when there is no more.
    pub(crate) fn line(&self) -> Option<String> {
        match self.lines.lock().unwrap().recv_timeout(LONG) {
            Ok(line) => Some(line),
            Err(RecvTimeoutError::Disconnected) => None,
            Err(RecvTimeoutError::Timeout) => panic!("no line within {LONG:?}"),
        }
    }

    /// What it wrote on standard error so far.
    pub(crate) fn written(&self) -> String {
        self.written.lock().unwrap().clone()
    }

    /// Asks it to stop, as an operator's `kill` does.
    pub(crate) fn terminate(&self) {
        self.signal(Signal::TERM);
    }

    /// Asks it to stop, as Ctrl-C does.
    pub(crate) fn interrupt(&self) {
        self.signal(Signal::INT);
    }

    /// Tells it that its configuration may have changed.
    pub(crate) fn hang_up(&self) {
        self.signal(Signal::HUP);
    }

    fn signal(&self, signal: Signal) {
        // Not waited for yet, so the id is still this process's.
        kill_process(Pid::from_child(&self.child), signal).unwrap();
    }

    /// The most memory that it ever held, in bytes.
    pub(crate) fn peak_memory(&self) -> u64 {
        let status = std::fs::read_to_string(format!("/proc/{}/status", self.child.id())).unwrap();
        let peak = status.lines().find_map(|line| line.strip_prefix("VmHWM:")?.strip_suffix("kB")).unwrap();
        peak.trim().parse::<u64>().unwrap() << 10
    }

    /// Ends it as the system does when there is no memory left: without a word.
    pub(crate) fn kill(&mut self) {
        self.child.kill().unwrap();
    }

    /// Waits for its end, and gives what it wrote that was not read yet.
    pub(crate) fn end(mut self) -> Ended {
        let status = eventually("the process ends", || self.child.try_wait().unwrap());
        let lines = std::iter::from_fn(|| self.line()).collect();
        Ended { status, lines, errors: self.errors() }
    }

    fn errors(&mut self) -> String {
        if let Some(gathering) = self.errors.take() {
            gathering.join().unwrap();
        }
        let errors = self.written();
        assert!(!errors.contains("panicked"), "{errors}");
        errors
    }
}

#[expect(clippy::print_stderr, reason = "a test that fails shows what its process wrote")]
impl Drop for Process {
    fn drop(&mut self) {
        // Both fail where the process has ended already.
        let _ = self.child.kill();
        let _ = self.child.wait();
        if std::thread::panicking() {
            let gathered = self.errors.take().map(JoinHandle::join);
            eprintln!("the process wrote: {:?}, {gathered:?}", self.written());
        } else {
            self.errors();
        }
    }
}

fn lines_of(stdout: ChildStdout) -> Receiver<String> {
    let (sender, lines) = channel();
    std::thread::spawn(move || {
        for line in BufReader::new(stdout).lines() {
            // The test may have lost its interest; the process must be able to write on all the same.
            let _ = sender.send(line.unwrap());
        }
    });
    lines
}

fn gather(mut stderr: ChildStderr, written: Arc<Mutex<String>>) -> JoinHandle<()> {
    std::thread::spawn(move || {
        let mut bytes = [0; 4096];
        loop {
            match stderr.read(&mut bytes).unwrap() {
                0 => return,
                read => written.lock().unwrap().push_str(&String::from_utf8_lossy(&bytes[..read])),
            }
        }
    })
}

impl Node {
    /// One node alone, in front of `origin`.
    pub(crate) fn alone(directory: &Path, arguments: &[&str]) -> Self {
        let ports = ["--peer", "127.0.0.1:0", "--http", "127.0.0.1:0", "--admin", "127.0.0.1:0"];
        Self::try_start(directory, &[&["serve"], &ports[..], arguments].concat())
            .unwrap_or_else(|ended| panic!("{}", ended.errors))
    }

    /// A node for each name. Its peers are these, and `others`, which listen somewhere already.
    ///
    /// Peers must be known before they start, so their ports are free ones that were bound and let go. Where another
    /// program takes one in between, all of them are tried anew.
    pub(crate) fn cluster(
        directory: &Path,
        names: &[&str],
        others: &[SocketAddr],
        arguments: &[&str],
    ) -> Vec<Self> {
        let fronts = ["--http", "127.0.0.1:0", "--admin", "127.0.0.1:0"];
        Self::clustered(names, others, |own| Self::try_start(directory, &[own, &fronts, arguments].concat()))
    }

    /// A node for each name that also speaks the Redis protocol, and where.
    pub(crate) fn cluster_with_redis(
        directory: &Path,
        names: &[&str],
        arguments: &[&str],
    ) -> Vec<(Self, SocketAddr)> {
        let fronts = ["--http", "127.0.0.1:0", "--resp", "127.0.0.1:0", "--admin", "127.0.0.1:0"];
        Self::clustered(names, &[], |own| {
            let process = Process::start(directory, &[own, &fronts, arguments].concat());
            match Self::said(&process, ["peer", "http", "resp", "admin"]) {
                Some([peer, http, resp, admin]) => Ok((Self { process, peer, http, admin }, resp)),
                None => Err(process.end()),
            }
        })
    }

    fn clustered<T>(
        names: &[&str],
        others: &[SocketAddr],
        start: impl Fn(&[&str]) -> Result<T, Ended>,
    ) -> Vec<T> {
        eventually("nobody takes our ports", || {
            let ports = free_ports(names.len());
            let peers: Vec<String> = ports.iter().chain(others).map(|a| format!("http://{a}")).collect();
            let peers = peers.join(",");
            let start = |(name, port): (&&str, &SocketAddr)| {
                let peer = port.to_string();
                start(&["serve", "--name", name, "--peer", &peer, "--peers", &peers])
            };
            match names.iter().zip(&ports).map(start).collect::<Result<Vec<_>, _>>() {
                Ok(nodes) => Some(nodes),
                Err(ended) if ended.errors.contains("address already in use") => None,
                Err(ended) => panic!("{}", ended.errors),
            }
        })
    }

    /// One node alone that also speaks the Redis protocol, and where.
    pub(crate) fn with_redis(
        directory: &Path,
        arguments: &[&str],
        variables: &[(&str, &str)],
    ) -> (Self, SocketAddr) {
        let ports = ["--peer", "127.0.0.1:0", "--http", "127.0.0.1:0", "--admin", "127.0.0.1:0"];
        let resp = ["--resp", "127.0.0.1:0"];
        let arguments = [&["serve"], &ports[..], &resp, arguments].concat();
        let process = Process::start_with(directory, &arguments, variables);
        let [peer, http, resp, admin] = Self::said(&process, ["peer", "http", "resp", "admin"])
            .unwrap_or_else(|| panic!("{}", process.written()));
        (Self { process, peer, http, admin }, resp)
    }

    fn try_start(directory: &Path, arguments: &[&str]) -> Result<Self, Ended> {
        let process = Process::start(directory, arguments);
        match Self::listening(&process) {
            Some([peer, http, admin]) => Ok(Self { process, peer, http, admin }),
            None => Err(process.end()),
        }
    }

    /// Where the process says that it listens; `None` if it ends without a word.
    pub(crate) fn listening(process: &Process) -> Option<[SocketAddr; 3]> {
        Self::said(process, ["peer", "http", "admin"])
    }

    fn said<const N: usize>(process: &Process, listeners: [&str; N]) -> Option<[SocketAddr; N]> {
        let first = process.line()?;
        let mut line = Some(first);
        Some(listeners.map(|kind| {
            let line = line.take().or_else(|| process.line()).unwrap();
            let (said, address) = line.split_once(' ').unwrap();
            assert_eq!(said, kind, "{line}");
            address.parse().unwrap()
        }))
    }

    pub(crate) fn get(&self, target: &str) -> Reply {
        get(self.http, target)
    }

    /// Comes back when its origins have answered.
    pub(crate) fn until_ready(&self) {
        until("the node is ready", || get(self.admin, "/readyz").status == 200);
    }

    /// What the node counts now.
    pub(crate) fn page(&self) -> Page {
        Page::read(self.admin)
    }

    /// Ends it as an operator does, and gives what it wrote.
    pub(crate) fn stop(self) -> Ended {
        self.process.terminate();
        self.process.end()
    }
}

/// Ports that were free a moment ago.
pub(crate) fn free_ports(count: usize) -> Vec<SocketAddr> {
    let bind = |_| TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
    let bound: Vec<TcpListener> = (0..count).map(bind).collect();
    bound.iter().map(|listener| listener.local_addr().unwrap()).collect()
}
