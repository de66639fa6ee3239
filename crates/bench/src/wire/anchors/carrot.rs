//! `carrot serve`: the program as users run it, with one group that is filled over its Redis front.

use std::fs;
use std::process::Command;

use anyhow::Context as _;

use super::Serves;
use super::fill::{Spoken, Values};
use crate::wire::programs;
use crate::wire::running::{Cores, Running, STARTS_WITHIN};

/// A group without an origin: what is set is there, and nothing else. Keys have no group before them.
const CONFIG: &str = r#"[node]
peer = "127.0.0.1:0"
http = "127.0.0.1:0"
resp = "127.0.0.1:0"
admin = "127.0.0.1:0"
[resp]
default_group = "bench"
[[group]]
name = "bench"
capacity = "1GiB"
"#;

/// A node that is running.
pub(crate) struct Carrot {
    pub(crate) http: u16,
    pub(crate) resp: u16,
    running: Running,
    _folder: tempfile::TempDir,
}

impl Serves for Carrot {
    fn running(&self) -> &Running {
        &self.running
    }
}

/// Starts it, with these values in it.
///
/// # Errors
/// When it was not built or does not start.
pub(crate) fn start(values: Values) -> anyhow::Result<Carrot> {
    let program = programs::ours("carrot")?;
    let folder = tempfile::tempdir()?;
    let file = folder.path().join("carrot.toml");
    fs::write(&file, CONFIG)?;
    let mut command = Command::new(program);
    command.arg("serve").arg("--config").arg(&file).env("CARROT_LOG", "warn");
    let mut running = Running::start(command, Cores::All)?;
    // In whatever order they are told.
    let (mut http, mut resp) = (None, None);
    while http.is_none() || resp.is_none() {
        let line = running.line("", STARTS_WITHIN)?;
        let port = || line.rsplit(':').next().and_then(|port| port.trim().parse::<u16>().ok());
        match line.split_whitespace().next() {
            Some("http") => http = port(),
            Some("resp") => resp = port(),
            _ => {}
        }
    }
    let (http, resp) = (http.context("no port for HTTP")?, resp.context("no port for RESP")?);
    values.put(resp, Spoken::Resp)?;
    Ok(Carrot { http, resp, running, _folder: folder })
}
