//! nginx as a cache in front of an HTTP origin: proxy_cache, a worker a core, no log, connections kept.

use std::fs;

use super::carrot::Carrot;
use super::{HOW, Server, Serves};
use crate::wire::programs::Programs;
use crate::wire::running::{Cores, Running, free_port};

/// nginx, what it is in front of, and its files.
pub(crate) struct Nginx {
    // In this order they are dropped: first who asks, then who is asked, then what both have on disk.
    pub(crate) server: Server,
    _origin: Carrot,
    _folder: tempfile::TempDir,
}

impl Serves for Nginx {
    fn running(&self) -> &Running {
        &self.server.running
    }
}

/// Starts it in front of this node.
///
/// # Errors
/// When it is not here or does not start.
pub(crate) fn start(programs: &Programs, origin: Carrot) -> anyhow::Result<Nginx> {
    let port = free_port()?;
    let mut command = programs.command("nginx", HOW)?;
    let folder = tempfile::tempdir()?;
    let file = folder.path().join("nginx.conf");
    fs::write(&file, config(folder.path(), port, origin.http))?;
    command.arg("-c").arg(&file).arg("-p").arg(folder.path()).args(["-e", "stderr"]);
    let server = Server::at(port, Running::start(command, Cores::All)?)?;
    Ok(Nginx { server, _origin: origin, _folder: folder })
}

fn config(folder: &std::path::Path, port: u16, origin: u16) -> String {
    let folder = folder.display();
    format!(
        "daemon off;
pid {folder}/pid;
error_log stderr warn;
user root;
worker_processes auto;
events {{ worker_connections 4096; }}
http {{
    access_log off;
    keepalive_requests 1000000000;
    client_body_temp_path {folder}/body;
    proxy_temp_path {folder}/temp;
    fastcgi_temp_path {folder}/fastcgi;
    uwsgi_temp_path {folder}/uwsgi;
    scgi_temp_path {folder}/scgi;
    proxy_cache_path {folder}/cache keys_zone=bench:64m inactive=1h;
    server {{
        listen 127.0.0.1:{port};
        location / {{
            proxy_pass http://127.0.0.1:{origin};
            proxy_cache bench;
            proxy_cache_valid 200 1h;
        }}
    }}
}}
"
    )
}
