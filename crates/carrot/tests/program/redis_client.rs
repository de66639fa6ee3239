//! A client of the Redis protocol of few words: what a test writes is sent as it stands, what comes back is compared
//! byte by byte.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::time::Duration;

use crate::awaiting::LONG;

/// A connection.
pub(crate) struct RedisClient(TcpStream);

impl RedisClient {
    pub(crate) fn connect(address: SocketAddr) -> Self {
        let stream = TcpStream::connect(address).unwrap();
        stream.set_nodelay(true).unwrap();
        stream.set_read_timeout(Some(LONG)).unwrap();
        stream.set_write_timeout(Some(LONG)).unwrap();
        Self(stream)
    }

    /// The same connection, to send on while this one reads.
    pub(crate) fn other_half(&self) -> Self {
        Self(self.0.try_clone().unwrap())
    }

    /// Sends these bytes; the other side may have closed meanwhile.
    pub(crate) fn send(&mut self, bytes: impl AsRef<[u8]>) {
        let _ = self.0.write_all(bytes.as_ref());
    }

    /// Sends as much as is taken within a moment; gives how much that was.
    pub(crate) fn stuff(&mut self, bytes: &[u8], moment: Duration) -> usize {
        self.0.set_write_timeout(Some(moment)).unwrap();
        let mut sent = 0;
        while sent < bytes.len() {
            match self.0.write(&bytes[sent..]) {
                Ok(written) if written > 0 => sent += written,
                _ => break,
            }
        }
        sent
    }

    /// What comes next has to be just this.
    #[track_caller]
    pub(crate) fn expect(&mut self, reply: impl AsRef<[u8]>) {
        let reply = reply.as_ref();
        let mut bytes = vec![0; reply.len()];
        let mut read = 0;
        while read < bytes.len() {
            match self.0.read(&mut bytes[read..]) {
                Ok(more) if more > 0 => read += more,
                ended => panic!(
                    "{} and then {ended:?}, not {}",
                    bytes[..read].escape_ascii(),
                    reply.escape_ascii()
                ),
            }
            let so_far = &bytes[..read];
            assert!(reply.starts_with(so_far), "{}, not {}", so_far.escape_ascii(), reply.escape_ascii());
        }
    }

    /// The reply to a line, as a person would type it.
    #[track_caller]
    pub(crate) fn ask(&mut self, line: &str, reply: impl AsRef<[u8]>) {
        self.send(format!("{line}\r\n"));
        self.expect(reply);
    }

    /// The next line, without its end.
    pub(crate) fn line(&mut self) -> String {
        let mut line = Vec::new();
        while !line.ends_with(b"\r\n") {
            let mut byte = [0];
            self.0.read_exact(&mut byte).unwrap();
            line.push(byte[0]);
        }
        line.truncate(line.len() - 2);
        String::from_utf8(line).unwrap()
    }

    /// The string that is the reply to a line.
    pub(crate) fn text(&mut self, line: &str) -> String {
        self.send(format!("{line}\r\n"));
        self.string()
    }

    /// The string that comes next.
    pub(crate) fn string(&mut self) -> String {
        let head = self.line();
        let length: usize = head.trim_start_matches(['$', '=']).parse().unwrap_or_else(|_| panic!("{head}"));
        let mut bytes = vec![0; length + 2];
        self.0.read_exact(&mut bytes).unwrap();
        bytes.truncate(length);
        String::from_utf8(bytes).unwrap()
    }

    /// The number that is the reply to a line.
    pub(crate) fn number(&mut self, line: &str) -> i64 {
        self.send(format!("{line}\r\n"));
        let reply = self.line();
        reply.strip_prefix(':').unwrap_or_else(|| panic!("{reply}")).parse().unwrap()
    }

    /// Whatever comes until the other side closes.
    pub(crate) fn rest(&mut self) -> Vec<u8> {
        let mut rest = Vec::new();
        if let Err(error) = self.0.read_to_end(&mut rest) {
            // A reset says the same as an end.
            let overdue =
                matches!(error.kind(), std::io::ErrorKind::WouldBlock | std::io::ErrorKind::TimedOut);
            assert!(!overdue, "the connection is still open after {LONG:?}");
        }
        rest
    }
}

/// A request as clients send it.
pub(crate) fn request(words: &[&[u8]]) -> Vec<u8> {
    let mut bytes = format!("*{}\r\n", words.len()).into_bytes();
    for word in words {
        bytes.extend_from_slice(format!("${}\r\n", word.len()).as_bytes());
        bytes.extend_from_slice(word);
        bytes.extend_from_slice(b"\r\n");
    }
    bytes
}
