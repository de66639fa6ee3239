//! golang/groupcache as a Go team would use it: a program of ours in Go, built from Debian's packages, that is server or
//! client. See groupcache/main.go.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use super::Serves;
use super::fill::Values;
use crate::wire::load::gets::Callers;
use crate::wire::measure::{Terms, by_lines};
use crate::wire::programs::{Missing, Programs};
use crate::wire::results::Played;
use crate::wire::running::{Cores, Running, STARTS_WITHIN};

/// Debian's packages of Go's sources, which are used without modules: nothing is fetched.
const SOURCES: &str = "/usr/share/gocode";
const HOW: &str = "Debian's packages golang-go and golang-github-golang-groupcache-dev have it";
const BUILDS_WITHIN: Duration = Duration::from_secs(300);

/// The transport that the client's pool is given.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Pool {
    /// Go's own, which keeps 2 idle connections.
    Default,
    /// One that keeps as many as there are callers.
    Tuned,
}

/// A server that owns all keys.
pub(crate) struct Groupcache {
    program: PathBuf,
    address: String,
    values: Values,
    running: Running,
}

impl Serves for Groupcache {
    fn running(&self) -> &Running {
        &self.running
    }
}

/// Builds the program, if it was not built before, and starts a server with these values in it.
///
/// # Errors
/// When Go or groupcache is not here, or it does not start.
pub(crate) fn start(programs: &Programs, built: &Path, values: Values) -> anyhow::Result<Groupcache> {
    let program = build(programs, built)?;
    let mut command = Command::new(&program);
    command.args(["server", "-size", &values.size.to_string(), "-keys", &values.keys.to_string()]);
    let mut running = Running::start(command, Cores::All)?;
    let address = running.line("peer", STARTS_WITHIN)?;
    Ok(Groupcache { program, address, values, running })
}

fn build(programs: &Programs, built: &Path) -> anyhow::Result<PathBuf> {
    let source = Path::new(env!("CARGO_MANIFEST_DIR")).join("groupcache");
    let mut command = programs.command("go", HOW)?;
    if !Path::new(SOURCES).join("src/github.com/golang/groupcache").exists() {
        return Err(Missing::new("golang/groupcache", HOW).into());
    }
    let program = built.join("groupcache");
    command.current_dir(source).args(["build", "-o"]).arg(&program).arg(".");
    let mut gopath = built.as_os_str().to_owned();
    gopath.push(":");
    gopath.push(SOURCES);
    command.env("GO111MODULE", "off").env("GOPATH", gopath).env("GOCACHE", built.join("go-cache"));
    command.env("GOENV", "off").env("GOFLAGS", "").env("GOTOOLCHAIN", "local");
    Running::start(command, Cores::All)?.output(BUILDS_WITHIN)?;
    Ok(program)
}

impl Groupcache {
    /// One round of a client with such a pool. It has no get of many: there each key is a get.
    pub(crate) fn round(&self, pool: Pool, callers: Callers, terms: Terms<'_>) -> anyhow::Result<Played> {
        let mut command = Command::new(&self.program);
        command.args(["client", "-owner", &format!("http://{}", self.address)]);
        for (flag, number) in [
            ("-size", self.values.size.to_string()),
            ("-keys", self.values.keys.to_string()),
            ("-callers", callers.callers.to_string()),
            ("-rate", callers.rate.unwrap_or(0.0).to_string()),
            ("-warm", callers.warm.to_string()),
            ("-seconds", callers.seconds.to_string()),
        ] {
            command.args([flag, &number]);
        }
        if pool == Pool::Tuned {
            command.arg("-tuned");
        }
        by_lines(command, terms)
    }
}
