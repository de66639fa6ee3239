//! A client that speaks bytes, for tests of what no proper client would send.

use std::net::SocketAddr;
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use crate::clock;

/// One connection.
pub(super) struct Raw {
    stream: TcpStream,
    read: Vec<u8>,
}

/// A response, as it came.
#[derive(Debug)]
pub(super) struct Seen {
    pub(super) status: u16,
    /// The status line and the header lines, in lower case.
    pub(super) head: String,
    pub(super) body: Vec<u8>,
}

impl Raw {
    pub(super) async fn connect(address: SocketAddr) -> Self {
        Self { stream: TcpStream::connect(address).await.unwrap(), read: Vec::new() }
    }

    /// Sends what the other side will take; it may well have hung up.
    pub(super) async fn send(&mut self, bytes: &[u8]) {
        let _ = self.sends(bytes).await;
    }

    /// Sends, and says whether the other side has not hung up.
    pub(super) async fn sends(&mut self, bytes: &[u8]) -> bool {
        self.stream.write_all(bytes).await.is_ok()
    }

    /// Sends all of it: the other side has to take it.
    pub(super) async fn send_all(&mut self, bytes: &[u8]) {
        self.stream.write_all(bytes).await.unwrap();
    }

    /// Says that it sends no more.
    pub(super) async fn finish(&mut self) {
        self.stream.shutdown().await.unwrap();
    }

    /// The next response that tells its length, or `None` when the connection ends before it.
    pub(super) async fn response(&mut self) -> Option<Seen> {
        let end = loop {
            if let Some(at) = self.read.windows(4).position(|four| four == b"\r\n\r\n") {
                break at + 4;
            }
            self.more().await?;
        };
        let head = String::from_utf8(self.read.drain(..end).collect()).unwrap().to_lowercase();
        let status = head.split(' ').nth(1).unwrap().parse().unwrap();
        let length = head.lines().find_map(|line| line.strip_prefix("content-length: "));
        let length = length.map_or(0, |length| length.parse().unwrap());
        while self.read.len() < length {
            self.more().await?;
        }
        Some(Seen { status, head, body: self.read.drain(..length).collect() })
    }

    /// Reads this much of what comes, and drops it.
    pub(super) async fn take(&mut self, length: usize) {
        while self.read.len() < length {
            self.more().await.unwrap();
        }
        self.read.clear();
    }

    /// Sends a request and gives its response.
    pub(super) async fn ask(&mut self, request: impl AsRef<[u8]>) -> Option<Seen> {
        self.send(request.as_ref()).await;
        self.response().await
    }

    /// Waits for the other side to hang up; what it said before.
    pub(super) async fn end(&mut self) -> Vec<u8> {
        while self.more().await.is_some() {}
        std::mem::take(&mut self.read)
    }

    /// `None` at the end. A test that waits for what never comes fails here, rather than hanging.
    async fn more(&mut self) -> Option<()> {
        let read = self.stream.read_buf(&mut self.read);
        match clock::timeout(Duration::from_secs(30), read).await.expect("neither bytes nor an end") {
            Ok(1..) => Some(()),
            Ok(0) | Err(_) => None,
        }
    }
}

/// A plain GET.
pub(super) fn get(target: &str) -> String {
    format!("GET {target} HTTP/1.1\r\nhost: x\r\n\r\n")
}
