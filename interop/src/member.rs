//! A member of the ring: a process of the Go program or of `carrot`, from its start to its end.
//!
//! A process has said where it listens before it is handed out. It is ended by its id: dropping it kills it, and the
//! Go program also ends when its standard input does, should this process be killed itself.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::process::Stdio;
use std::time::Duration;

use anyhow::{Context, bail};
use rustix::process::{Pid, Signal, kill_process};
use tokio::io::{AsyncBufReadExt, BufReader, Lines};
use tokio::process::{Child, ChildStdout, Command};
use tokio::time::timeout;

use crate::front::GROUP;

/// For a process to start, or to end when it is asked to.
const SOON: Duration = Duration::from_secs(30);

/// The programs that members run.
pub(crate) struct Programs {
    pub(crate) go: PathBuf,
    pub(crate) carrot: PathBuf,
}

/// What a member is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    /// Go, whose pool answers the peer port itself.
    GoPool,
    /// Go, with a ServeMux before the pool.
    GoMux,
    /// Ours.
    Carrot { dialect: &'static str, placement: &'static str },
}

impl Kind {
    /// Ours, as one of Go's.
    pub(crate) const AMONG_GO: Self = Self::Carrot { dialect: "golang", placement: "ring" };
}

/// What a member is told, whatever it is.
pub(crate) struct Told<'a> {
    pub(crate) name: &'a str,
    /// Its URL, as it is in the list.
    pub(crate) url: &'a str,
    /// The URLs of all members.
    pub(crate) urls: &'a [String],
    /// What it asks for a value; the key comes last.
    pub(crate) origin: &'a str,
}

/// A process that answers both its ports.
pub(crate) struct Member {
    process: Child,
    // Kept so that the process may write on.
    _lines: Lines<BufReader<ChildStdout>>,
    /// Where it serves data.
    pub(crate) data: SocketAddr,
    pub(crate) kind: Kind,
}

impl Member {
    /// Starts a process and waits until it accepts.
    ///
    /// # Errors
    /// When it cannot be started, ends at once or does not say where it listens; its own words are on standard error.
    pub(crate) async fn start(programs: &Programs, kind: Kind, told: &Told<'_>) -> anyhow::Result<Self> {
        let mut command = match kind {
            Kind::GoPool | Kind::GoMux => go(programs, kind, told),
            Kind::Carrot { dialect, placement } => carrot(programs, dialect, placement, told)?,
        };
        let spawned =
            command.env_clear().env("CARROT_LOG", "error").stdout(Stdio::piped()).kill_on_drop(true);
        let mut process = spawned.spawn().with_context(|| format!("cannot start {:?}", command.as_std()))?;
        let out = process.stdout.take().context("no standard output")?;
        let mut lines = BufReader::new(out).lines();
        let said = timeout(SOON, data_address(&mut lines)).await.context("it does not say where it listens");
        let data = said.and_then(|data| data).with_context(|| format!("{} does not start", told.name))?;
        Ok(Self { process, _lines: lines, data, kind })
    }

    /// Ends it as the system does when there is no memory left.
    pub(crate) async fn kill(mut self) -> anyhow::Result<()> {
        Ok(self.process.kill().await?)
    }

    /// Ends it as an operator does, and waits for it.
    pub(crate) async fn stop(mut self) -> anyhow::Result<()> {
        match self.kind {
            Kind::GoPool | Kind::GoMux => drop(self.process.stdin.take()),
            Kind::Carrot { .. } => {
                let id = self.process.id().context("it has ended already")?;
                let id = i32::try_from(id).ok().and_then(Pid::from_raw).context("it has no id")?;
                // Not waited for yet, so the id is still this process's.
                kill_process(id, Signal::TERM)?;
            }
        }
        timeout(SOON, self.process.wait()).await.context("a member does not stop")??;
        Ok(())
    }
}

fn go(programs: &Programs, kind: Kind, told: &Told<'_>) -> Command {
    let mut command = Command::new(&programs.go);
    command.args(["-self", told.url, "-peers", &told.urls.join(",")]);
    command.args(["-group", GROUP, "-origin", told.origin]);
    if kind == Kind::GoMux {
        command.arg("-mux");
    }
    command.stdin(Stdio::piped());
    command
}

fn carrot(programs: &Programs, dialect: &str, placement: &str, told: &Told<'_>) -> anyhow::Result<Command> {
    let peer = told.url.strip_prefix("http://").context("a URL of http")?;
    let origin = format!("{}{{key}}", told.origin);
    let mut command = Command::new(&programs.carrot);
    command.args(["serve", "--name", told.name, "--url", told.url, "--peers", &told.urls.join(",")]);
    command.args(["--dialect", dialect, "--placement", placement]);
    command.args(["--peer", peer, "--http", "127.0.0.1:0", "--admin", "127.0.0.1:0"]);
    command.args(["--group", GROUP, "--origin", &origin, "--capacity", "256MiB"]);
    command.stdin(Stdio::null());
    Ok(command)
}

/// The address on the line `data …` or `http …`; every port accepts by then.
async fn data_address(lines: &mut Lines<BufReader<ChildStdout>>) -> anyhow::Result<SocketAddr> {
    while let Some(line) = lines.next_line().await? {
        if let Some(("data" | "http", address)) = line.split_once(' ') {
            return address.parse().with_context(|| format!("{line:?} names no address"));
        }
    }
    bail!("it ended without a word");
}
