//! Values put into a server by its own protocol, so that every get of a measurement hits: all keys, answers looked at.

use std::io::{Read as _, Write as _};
use std::net::TcpStream;
use std::time::Duration;

use anyhow::{Context as _, ensure};
use carrot_load::keys::Names;

use super::address;

/// Written at once.
const BATCH: u64 = 256;
const PATIENCE: Duration = Duration::from_secs(10);

/// The protocol in which values are put.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Spoken {
    Resp,
    Meta,
}

/// How many keys, and how large their values.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Values {
    pub(crate) keys: u64,
    pub(crate) size: usize,
}

impl Values {
    /// Puts them all.
    ///
    /// # Errors
    /// When one is not taken.
    pub(crate) fn put(self, port: u16, spoken: Spoken) -> anyhow::Result<()> {
        let mut stream = TcpStream::connect(address(port)).context("cannot fill it")?;
        stream.set_read_timeout(Some(PATIENCE))?;
        let value = vec![b'v'; self.size];
        let (mut out, mut name) = (Vec::new(), Vec::new());
        let mut next = 0;
        while next < self.keys {
            let batch = BATCH.min(self.keys - next);
            out.clear();
            for number in next..next + batch {
                Names::of_redis_benchmark().write(number, &mut name);
                spoken.set(&name, &value, &mut out);
            }
            stream.write_all(&out)?;
            let mut answers = vec![0; spoken.taken().len() * batch as usize];
            stream.read_exact(&mut answers).context("cannot fill it")?;
            let all = answers.chunks(spoken.taken().len()).all(|answer| answer == spoken.taken());
            ensure!(
                all,
                "a value was not taken: {}",
                answers.escape_ascii().to_string().chars().take(100).collect::<String>()
            );
            next += batch;
        }
        Ok(())
    }
}

impl Spoken {
    fn set(self, key: &[u8], value: &[u8], out: &mut Vec<u8>) {
        match self {
            Self::Resp => {
                out.extend_from_slice(format!("*3\r\n$3\r\nSET\r\n${}\r\n", key.len()).as_bytes());
                out.extend_from_slice(key);
                out.extend_from_slice(format!("\r\n${}\r\n", value.len()).as_bytes());
            }
            Self::Meta => {
                out.extend_from_slice(b"ms ");
                out.extend_from_slice(key);
                out.extend_from_slice(format!(" {}\r\n", value.len()).as_bytes());
            }
        }
        out.extend_from_slice(value);
        out.extend_from_slice(b"\r\n");
    }

    /// The answer of a value that is kept.
    fn taken(self) -> &'static [u8] {
        match self {
            Self::Resp => b"+OK\r\n",
            Self::Meta => b"HD\r\n",
        }
    }
}

#[cfg(test)]
mod tests {
    use std::net::TcpListener;

    use super::*;

    /// Answers what comes with these answers, whatever it is.
    fn server(answers: &'static [u8]) -> u16 {
        let listener = TcpListener::bind(("127.0.0.1", 0)).unwrap();
        let port = listener.local_addr().unwrap().port();
        std::thread::spawn(move || {
            let (mut stream, _) = listener.accept().unwrap();
            let _ = stream.read(&mut [0; 1 << 16]).and_then(|_| stream.write_all(answers));
        });
        port
    }

    #[test]
    fn a_value_that_is_not_taken_is_an_error() {
        let values = Values { keys: 2, size: 3 };
        values.put(server(b"+OK\r\n+OK\r\n"), Spoken::Resp).unwrap();
        values.put(server(b"HD\r\nHD\r\n"), Spoken::Meta).unwrap();
        assert!(values.put(server(b"HD\r\nNS\r\n"), Spoken::Meta).unwrap_err().to_string().contains("NS"));
        assert!(values.put(server(b"+OK\r\n"), Spoken::Resp).is_err(), "one answer is missing");
    }

    #[test]
    fn values_are_put_as_their_protocols_say() {
        let mut out = Vec::new();
        Spoken::Meta.set(b"k", b"vv", &mut out);
        Spoken::Resp.set(b"k", b"vv", &mut out);
        assert_eq!(out, b"ms k 2\r\nvv\r\n*3\r\n$3\r\nSET\r\n$1\r\nk\r\n$2\r\nvv\r\n");
    }
}
