//! An HTTP/1.1 client of few words: what a test writes is sent as it stands, and what comes back is read strictly.
//!
//! Raw on purpose. A client library would mend what the tests mean to send: dot segments, escapes, broken headers.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpStream};

use crate::awaiting::LONG;

/// A kept-alive connection.
pub(crate) struct Client {
    stream: BufReader<TcpStream>,
}

/// A reply, whole.
#[derive(Clone, Debug)]
pub(crate) struct Reply {
    pub(crate) status: u16,
    headers: Vec<(String, String)>,
    pub(crate) body: Vec<u8>,
}

impl Client {
    pub(crate) fn connect(address: SocketAddr) -> Self {
        let stream = TcpStream::connect(address).unwrap();
        stream.set_nodelay(true).unwrap();
        stream.set_read_timeout(Some(LONG)).unwrap();
        stream.set_write_timeout(Some(LONG)).unwrap();
        Self { stream: BufReader::new(stream) }
    }

    /// One exchange. The connection is left as the reply leaves it.
    pub(crate) fn ask(&mut self, method: &str, target: &str) -> Reply {
        self.send(format!("{method} {target} HTTP/1.1\r\nHost: localhost\r\n\r\n").as_bytes());
        self.receive(method)
    }

    pub(crate) fn get(&mut self, target: &str) -> Reply {
        self.ask("GET", target)
    }

    /// Sends these bytes; a peer that has closed meanwhile may have said why, so it is not heeded here.
    pub(crate) fn send(&mut self, bytes: &[u8]) {
        let _ = self.stream.get_mut().write_all(bytes);
    }

    /// Sends these bytes, all of which have to be taken.
    pub(crate) fn send_whole(&mut self, bytes: &[u8]) {
        self.stream.get_mut().write_all(bytes).unwrap();
    }

    /// The reply to a request of that method.
    pub(crate) fn receive(&mut self, method: &str) -> Reply {
        let status_line = self.line();
        let words: Vec<&str> = status_line.splitn(3, ' ').collect();
        assert_eq!(words[0], "HTTP/1.1", "{status_line:?}");
        let status = words[1].parse().unwrap();
        let mut headers = Vec::new();
        loop {
            let line = self.line();
            if line.is_empty() {
                break;
            }
            let (name, value) = line.split_once(':').unwrap();
            headers.push((name.to_ascii_lowercase(), value.trim().to_owned()));
        }
        let mut reply = Reply { status, headers, body: Vec::new() };
        if method != "HEAD" && !matches!(status, 100 | 204) {
            reply.body = vec![0; reply.length()];
            self.stream.read_exact(&mut reply.body).unwrap();
        }
        reply
    }

    /// Every reply until the other side closes, to requests of other methods than HEAD.
    pub(crate) fn replies(&mut self) -> Vec<Reply> {
        let mut replies = Vec::new();
        while self.has_more() {
            replies.push(self.receive("GET"));
        }
        replies
    }

    /// Whether something has come, or the end. Does not wait.
    pub(crate) fn has_heard(&self) -> bool {
        if !self.stream.buffer().is_empty() {
            return true;
        }
        let stream = self.stream.get_ref();
        stream.set_nonblocking(true).unwrap();
        let peeked = stream.peek(&mut [0]);
        stream.set_nonblocking(false).unwrap();
        !matches!(peeked, Err(error) if error.kind() == std::io::ErrorKind::WouldBlock)
    }

    /// Waits for a byte, or for the end.
    fn has_more(&mut self) -> bool {
        match self.stream.fill_buf() {
            Ok(bytes) => !bytes.is_empty(),
            Err(error) => {
                check_ended(&error);
                false
            }
        }
    }

    /// Whatever else comes until the other side closes. Empty if it closes at once.
    pub(crate) fn rest(&mut self) -> Vec<u8> {
        let mut rest = Vec::new();
        if let Err(error) = self.stream.read_to_end(&mut rest) {
            check_ended(&error);
        }
        rest
    }

    /// Says that nothing more will be sent.
    pub(crate) fn end(&mut self) {
        // It may have been closed from the other side already.
        let _ = self.stream.get_mut().shutdown(std::net::Shutdown::Write);
    }

    fn line(&mut self) -> String {
        let mut line = String::new();
        self.stream.read_line(&mut line).unwrap();
        assert!(line.ends_with("\r\n"), "the connection ended after {line:?}");
        line.truncate(line.len() - 2);
        line
    }
}

/// A reset says the same as an end: nothing more will come. That nothing came in all the time is another matter.
fn check_ended(error: &std::io::Error) {
    let overdue = matches!(error.kind(), std::io::ErrorKind::WouldBlock | std::io::ErrorKind::TimedOut);
    assert!(!overdue, "the connection is still open after {LONG:?}");
}

impl Reply {
    /// The value of a header that is there once at most.
    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        let mut values = self.headers.iter().filter(|(known, _)| known == name).map(|(_, value)| &**value);
        let value = values.next();
        assert_eq!(values.next(), None, "{name} is there twice");
        value
    }

    /// The length of the body, which every reply of ours with a body states.
    pub(crate) fn length(&self) -> usize {
        self.length_if_any().unwrap_or_else(|| panic!("no length: {self:?}"))
    }

    /// What it says of its length, if it says anything.
    pub(crate) fn length_if_any(&self) -> Option<usize> {
        self.header("content-length").map(|length| length.parse().unwrap())
    }

    pub(crate) fn text(&self) -> &str {
        std::str::from_utf8(&self.body).unwrap()
    }

    /// The three parts of `X-Cache`: hit, miss or stale; the source; the node.
    pub(crate) fn cache(&self) -> (&str, &str, &str) {
        let told = self.header("x-cache").unwrap_or_else(|| panic!("no X-Cache: {self:?}"));
        let parts: Vec<&str> = told.split("; ").collect();
        assert_eq!(parts.len(), 3, "{told}");
        (parts[0], parts[1].strip_prefix("source=").unwrap(), parts[2].strip_prefix("node=").unwrap())
    }

    pub(crate) fn age(&self) -> u64 {
        self.header("age").unwrap_or_else(|| panic!("no Age: {self:?}")).parse().unwrap()
    }
}

/// One exchange on a connection of its own.
pub(crate) fn ask(address: SocketAddr, method: &str, target: &str) -> Reply {
    Client::connect(address).ask(method, target)
}

pub(crate) fn get(address: SocketAddr, target: &str) -> Reply {
    ask(address, "GET", target)
}

/// Sends a value, with its length said beforehand.
pub(crate) fn put(address: SocketAddr, target: &str, value: &[u8]) -> Reply {
    let mut client = Client::connect(address);
    client.send(
        format!("PUT {target} HTTP/1.1\r\nHost: localhost\r\nContent-Length: {}\r\n\r\n", value.len())
            .as_bytes(),
    );
    client.send(value);
    client.receive("PUT")
}
