//! One connection that asks: writes some requests at once, reads until all are answered, and counts.
//!
//! A connection that breaks, or is late, is replaced; what it owed is counted as an error of that kind. It never asks
//! faster for being refused: after a fault it pauses.

use std::io;
use std::time::{Duration, Instant};

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::timeout;

use crate::keys::{Law, Names, Random};
use crate::protocol::{Answer, Protocol};
use crate::tally::Tally;

/// Between a fault and the next try.
const PAUSE: Duration = Duration::from_millis(100);
/// Read at once, at most.
const ROOM: usize = 64 << 10;

/// What a connection asks, and of whom.
#[derive(Clone, Debug)]
pub(crate) struct Asks {
    pub(crate) host: String,
    pub(crate) port: u16,
    pub(crate) protocol: Protocol,
    pub(crate) law: Law,
    pub(crate) names: Names,
    /// For connecting, and for the answers to what was written at once.
    pub(crate) timeout: Duration,
}

/// Why what was asked has no answer.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Fault {
    #[error("no connection")]
    Connect(#[source] io::Error),
    #[error("connection broken")]
    Broken,
    #[error("no answer in time")]
    Late,
    #[error("garbled: {0}")]
    Garbled(#[from] crate::protocol::Garbled),
    #[error("refused at once: {0}")]
    Greeting(String),
}

/// One who asks. Between requests it holds a connection or has none.
pub(crate) struct Connection {
    asks: Asks,
    random: Random,
    stream: Option<TcpStream>,
    out: Vec<u8>,
    input: Vec<u8>,
    key: Vec<u8>,
}

/// When each request of a batch is counted from, and whether.
pub(crate) struct Sent {
    pub(crate) at: Instant,
    pub(crate) counts: bool,
}

impl Connection {
    pub(crate) fn new(asks: Asks, seed: u64) -> Self {
        let random = Random::new(seed);
        Self { asks, random, stream: None, out: Vec::new(), input: Vec::new(), key: Vec::new() }
    }

    /// Connects and greets, if it has no connection.
    pub(crate) async fn connect(&mut self) -> Result<(), Fault> {
        if self.stream.is_some() {
            return Ok(());
        }
        let connecting = TcpStream::connect((self.asks.host.as_str(), self.asks.port));
        let connected = timeout(self.asks.timeout, connecting).await.map_err(|_| Fault::Late)?;
        let stream = connected.and_then(|stream| stream.set_nodelay(true).map(|()| stream));
        let mut stream = stream.map_err(Fault::Connect)?;
        self.input.clear();
        if let Some(greeting) = self.asks.protocol.greeting() {
            stream.write_all(&greeting).await.map_err(|_| Fault::Broken)?;
            let answer = async {
                loop {
                    if let Some((length, answer)) = self.asks.protocol.read(&self.input)? {
                        self.input.drain(..length);
                        return Ok::<_, Fault>(answer);
                    }
                    read_some(&mut stream, &mut self.input).await?;
                }
            };
            match timeout(self.asks.timeout, answer).await.map_err(|_| Fault::Late)?? {
                Answer::Refused(why) => return Err(Fault::Greeting(why)),
                Answer::Value(_) | Answer::Missing => {}
            }
        }
        self.stream = Some(stream);
        Ok(())
    }

    /// Asks for as many keys as there are in `sent`, at once, and counts what comes of it. `counts` is asked for each
    /// answer as it comes.
    pub(crate) async fn ask(&mut self, sent: &[Sent], tally: &mut Tally, counts: impl Fn(&Sent) -> bool) {
        let mut answered = 0;
        let waits = self.asks.timeout;
        let exchange = self.exchange(sent, &mut answered, tally, &counts);
        let fault = match timeout(waits, exchange).await {
            Ok(Ok(())) => return,
            Ok(Err(fault)) => fault,
            Err(_) => Fault::Late,
        };
        self.stream = None;
        for lost in &sent[answered..] {
            if counts(lost) {
                tally.error(&fault.to_string());
            }
        }
        tokio::time::sleep(PAUSE).await;
    }

    async fn exchange(
        &mut self,
        sent: &[Sent],
        answered: &mut usize,
        tally: &mut Tally,
        counts: impl Fn(&Sent) -> bool,
    ) -> Result<(), Fault> {
        self.connect().await?;
        self.out.clear();
        for _ in sent {
            self.asks.names.write(self.asks.law.sample(&mut self.random), &mut self.key);
            self.asks.protocol.ask(&self.key, &mut self.out);
        }
        let stream = self.stream.as_mut().expect("connect leaves a stream");
        stream.write_all(&self.out).await.map_err(|_| Fault::Broken)?;
        while *answered < sent.len() {
            read_some(stream, &mut self.input).await?;
            let now = Instant::now();
            let mut from = 0;
            while let Some((length, answer)) = self.asks.protocol.read(&self.input[from..])? {
                from += length;
                let Some(of) = sent.get(*answered) else { return Err(Fault::Broken) };
                *answered += 1;
                if counts(of) {
                    count(tally, answer, now.saturating_duration_since(of.at));
                }
            }
            self.input.drain(..from);
        }
        Ok(())
    }
}

fn count(tally: &mut Tally, answer: Answer, took: Duration) {
    match answer {
        Answer::Value(bytes) => tally.value(bytes, took),
        Answer::Missing => {
            tally.missing += 1;
            tally.latency.record(took);
        }
        Answer::Refused(kind) => tally.error(&kind),
    }
}

/// Reads what there is, at least a byte.
async fn read_some(stream: &mut TcpStream, input: &mut Vec<u8>) -> Result<(), Fault> {
    input.reserve(ROOM);
    match stream.read_buf(input).await {
        Ok(0) | Err(_) => Err(Fault::Broken),
        Ok(_) => Ok(()),
    }
}
