//! The node, and what is said to it.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use crate::Outcome;

/// For an answer. One that takes longer is missing.
const LONG: Duration = Duration::from_secs(30);

/// The fronts that are attacked.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Front {
    Redis,
    Http,
}

impl Front {
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Redis => "redis",
            Self::Http => "http",
        }
    }

    /// A get of `home`, and how its answer begins and ends.
    pub(crate) fn get_home(self) -> (&'static [u8], &'static [u8], &'static [u8]) {
        match self {
            Self::Redis => (b"*2\r\n$3\r\nGET\r\n$10\r\npages:home\r\n", b"$5\r\n", b"Hello\r\n"),
            Self::Http => {
                (b"GET /v1/pages/home HTTP/1.1\r\nHost: localhost\r\n\r\n", b"HTTP/1.1 200", b"\r\n\r\nHello")
            }
        }
    }

    /// A get of the large value.
    pub(crate) fn get_large(self) -> &'static [u8] {
        match self {
            Self::Redis => b"*2\r\n$3\r\nGET\r\n$11\r\npages:large\r\n",
            Self::Http => b"GET /v1/pages/large HTTP/1.1\r\nHost: localhost\r\n\r\n",
        }
    }

    /// A set of which the value is still to come: so long is it said to be.
    pub(crate) fn begin_set(self, key: &str, length: u64) -> Vec<u8> {
        match self {
            Self::Redis => {
                format!("*3\r\n$3\r\nSET\r\n${}\r\npages:{key}\r\n${length}\r\n", "pages:".len() + key.len())
            }
            Self::Http => {
                format!("PUT /v1/pages/{key} HTTP/1.1\r\nHost: localhost\r\nContent-Length: {length}\r\n\r\n")
            }
        }
        .into_bytes()
    }
}

/// The node; dropping it ends it.
pub(crate) struct Node {
    child: Child,
    http: SocketAddr,
    resp: SocketAddr,
}

impl Node {
    pub(crate) fn start(carrot: &str) -> Outcome<Self> {
        let any = "127.0.0.1:0";
        let ports = ["--peer", any, "--http", any, "--resp", any, "--admin", any];
        let mut command = Command::new(carrot);
        command.arg("serve").args(ports).args(["--group", "pages", "--origin", "table:home=Hello"]);
        let mut child = command.stdout(Stdio::piped()).spawn()?;
        let stdout = child.stdout.take().ok_or("no standard output")?;
        let any: SocketAddr = any.parse()?;
        let mut node = Self { child, http: any, resp: any };
        for line in BufReader::new(stdout).lines() {
            let line = line?;
            match line.split_once(' ') {
                Some(("http", address)) => node.http = address.parse()?,
                Some(("resp", address)) => node.resp = address.parse()?,
                Some(("admin", _)) => return Ok(node),
                _ => {}
            }
        }
        Err("the node ended at its start".into())
    }

    pub(crate) fn address(&self, front: Front) -> SocketAddr {
        match front {
            Front::Redis => self.resp,
            Front::Http => self.http,
        }
    }

    pub(crate) fn set_large(&self) -> Outcome<()> {
        let mut stream = connect(self.resp)?;
        stream.write_all(
            &[Front::Redis.begin_set("large", 1 << 20), vec![b'v'; 1 << 20], b"\r\n".to_vec()].concat(),
        )?;
        let mut reply = [0; 5];
        stream.read_exact(&mut reply)?;
        if &reply == b"+OK\r\n" { Ok(()) } else { Err("the large value was refused".into()) }
    }
}

impl Drop for Node {
    fn drop(&mut self) {
        // Both fail where it has ended already.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

pub(crate) fn connect(address: SocketAddr) -> Outcome<TcpStream> {
    let stream = TcpStream::connect(address)?;
    stream.set_nodelay(true)?;
    stream.set_read_timeout(Some(LONG))?;
    stream.set_write_timeout(Some(LONG))?;
    Ok(stream)
}
