//! A listener that answers whatever it is asked with one reply, which need not be a node's, and keeps what it was asked.

use std::io::{BufRead, BufReader, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::{Arc, Mutex};

use crate::awaiting::LONG;

/// Its thread ends with the test's process.
pub(crate) struct Scripted {
    pub(crate) address: SocketAddr,
    heads: Arc<Mutex<Vec<String>>>,
}

impl Scripted {
    pub(crate) fn saying(reply: impl Into<Vec<u8>>) -> Self {
        let (listener, reply) = (TcpListener::bind("127.0.0.1:0").unwrap(), reply.into());
        let (address, heads) = (listener.local_addr().unwrap(), Arc::<Mutex<Vec<String>>>::default());
        let kept = heads.clone();
        std::thread::spawn(move || {
            for stream in listener.incoming() {
                // Whoever asked may be gone.
                let _ = answer(stream.unwrap(), &reply, &kept);
            }
        });
        Self { address, heads }
    }

    /// A reply with a body and its length.
    pub(crate) fn with_body(status: &str, headers: &str, body: &[u8]) -> Self {
        let length = body.len();
        let head =
            format!("HTTP/1.1 {status}\r\n{headers}Content-Length: {length}\r\nConnection: close\r\n\r\n");
        Self::saying([head.as_bytes(), body].concat())
    }

    /// The heads of all requests, each with its lines.
    pub(crate) fn heads(&self) -> Vec<String> {
        self.heads.lock().unwrap().clone()
    }
}

/// Reads one head, answers it, and closes.
fn answer(stream: TcpStream, reply: &[u8], heads: &Mutex<Vec<String>>) -> std::io::Result<()> {
    stream.set_read_timeout(Some(LONG))?;
    let mut stream = BufReader::new(stream);
    let mut head = String::new();
    while stream.read_line(&mut head)? > 2 {}
    heads.lock().unwrap().push(head);
    stream.get_mut().write_all(reply)
}
