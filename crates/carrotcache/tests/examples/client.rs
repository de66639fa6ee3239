//! A client of few words: one request, one connection, the reply as it came.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};

use crate::process::PATIENCE;

/// A reply, whole.
#[derive(Debug)]
pub(crate) struct Reply {
    pub(crate) status: u16,
    head: String,
    pub(crate) body: String,
}

impl Reply {
    /// The value of a header, whose name is given in lower case; empty where it is missing.
    pub(crate) fn header(&self, name: &str) -> &str {
        let fields = self.head.lines().filter_map(|line| line.split_once(": "));
        let mut values =
            fields.filter_map(|(known, value)| known.eq_ignore_ascii_case(name).then_some(value));
        values.next().unwrap_or_default()
    }
}

/// A request that is under way.
pub(crate) struct Asked(TcpStream);

impl Asked {
    /// Its reply.
    pub(crate) fn reply(mut self) -> Reply {
        let mut reply = String::new();
        self.0.read_to_string(&mut reply).unwrap();
        let (head, body) = reply.split_once("\r\n\r\n").unwrap_or_else(|| panic!("no reply: {reply:?}"));
        let status = head.split(' ').nth(1).unwrap().parse().unwrap();
        Reply { status, head: head.to_owned(), body: body.to_owned() }
    }
}

/// Sends a request, with its body as JSON if there is one.
pub(crate) fn send(address: SocketAddr, method: &str, target: &str, body: &str) -> Asked {
    let mut stream = TcpStream::connect(address).unwrap();
    stream.set_read_timeout(Some(PATIENCE)).unwrap();
    let kind = if body.is_empty() { "" } else { "content-type: application/json\r\n" };
    let head = format!("{method} {target} HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n{kind}");
    let length = body.len();
    stream.write_all(format!("{head}content-length: {length}\r\n\r\n{body}").as_bytes()).unwrap();
    Asked(stream)
}

pub(crate) fn ask(address: SocketAddr, method: &str, target: &str, body: &str) -> Reply {
    send(address, method, target, body).reply()
}

pub(crate) fn get(address: SocketAddr, target: &str) -> Reply {
    ask(address, "GET", target, "")
}
