//! A server of the tests: on loopback, raw, and with a memory of what it was asked.

use std::future::Future;
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::atomic::{AtomicUsize, Ordering::SeqCst};
use std::sync::{Arc, Mutex};

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpListener;
use tokio_rustls::TlsAcceptor;

use crate::origin::http::stream::Bytestream;

/// A server that follows a script on each connection.
pub(super) struct Server {
    pub(super) address: SocketAddr,
    memory: Arc<Memory>,
}

#[derive(Default)]
struct Memory {
    accepted: AtomicUsize,
    asked: Mutex<Vec<String>>,
}

/// One connection, as the script sees it.
pub(super) struct Talk {
    stream: Box<dyn Bytestream>,
    /// Connections are counted from 0.
    pub(super) number: usize,
    memory: Arc<Memory>,
}

impl Server {
    /// One that does on each connection what `script` says.
    pub(super) async fn following<F, Fut>(script: F) -> Self
    where
        F: Fn(Talk) -> Fut + Send + 'static,
        Fut: Future<Output = ()> + Send + 'static,
    {
        Self::begin(None, script).await
    }

    /// The same over TLS.
    pub(super) async fn secure<F, Fut>(tls: TlsAcceptor, script: F) -> Self
    where
        F: Fn(Talk) -> Fut + Send + 'static,
        Fut: Future<Output = ()> + Send + 'static,
    {
        Self::begin(Some(tls), script).await
    }

    /// One that answers every request with what `answer` makes of its target.
    pub(super) async fn answering<A>(answer: impl Fn(&str) -> A + Clone + Send + Sync + 'static) -> Self
    where
        A: AsRef<[u8]> + Send + 'static,
    {
        Self::following(move |talk| answer_all(talk, answer.clone())).await
    }

    async fn begin<F, Fut>(tls: Option<TlsAcceptor>, script: F) -> Self
    where
        F: Fn(Talk) -> Fut + Send + 'static,
        Fut: Future<Output = ()> + Send + 'static,
    {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
        let (address, memory) = (listener.local_addr().unwrap(), Arc::<Memory>::default());
        let remembered = memory.clone();
        tokio::spawn(async move {
            loop {
                let (stream, _) = listener.accept().await.unwrap();
                let number = remembered.accepted.fetch_add(1, SeqCst);
                let stream: Box<dyn Bytestream> = match &tls {
                    None => Box::new(stream),
                    Some(tls) => match tls.accept(stream).await {
                        Ok(stream) => Box::new(stream),
                        Err(_) => continue,
                    },
                };
                tokio::spawn(script(Talk { stream, number, memory: remembered.clone() }));
            }
        });
        Self { address, memory }
    }

    /// Connections so far.
    pub(super) fn accepted(&self) -> usize {
        self.memory.accepted.load(SeqCst)
    }

    /// The heads of all requests so far.
    pub(super) fn asked(&self) -> Vec<String> {
        self.memory.asked.lock().unwrap().clone()
    }

    /// The targets of all requests so far.
    pub(super) fn targets(&self) -> Vec<String> {
        self.asked().iter().map(|head| target(head).to_owned()).collect()
    }
}

/// Answers each request of a connection.
pub(super) async fn answer_all<A: AsRef<[u8]>>(mut talk: Talk, answer: impl Fn(&str) -> A) {
    while let Some(head) = talk.request().await {
        talk.say(answer(target(&head))).await;
    }
}

fn target(head: &str) -> &str {
    head.split(' ').nth(1).unwrap()
}

/// A response with a body and this head, which may have more lines.
pub(super) fn response(head: &str, body: &str) -> String {
    format!("HTTP/1.1 {head}\r\nContent-Length: {}\r\n\r\n{body}", body.len())
}

impl Talk {
    /// The head of the next request; `None` when the other side has closed.
    pub(super) async fn request(&mut self) -> Option<String> {
        let mut head = Vec::new();
        while !head.ends_with(b"\r\n\r\n") {
            head.push(self.stream.read_u8().await.ok()?);
        }
        let head = String::from_utf8(head).unwrap();
        self.memory.asked.lock().unwrap().push(head.clone());
        Some(head)
    }

    /// Sends; whether the other side still takes it.
    pub(super) async fn say(&mut self, bytes: impl AsRef<[u8]>) -> bool {
        self.stream.write_all(bytes.as_ref()).await.is_ok() && self.stream.flush().await.is_ok()
    }

    /// Waits until the other side has closed.
    pub(super) async fn closed(&mut self) {
        let mut rest = Vec::new();
        // A reset is an end as well.
        let _ = self.stream.read_to_end(&mut rest).await;
        assert!(rest.is_empty(), "{}", String::from_utf8_lossy(&rest));
    }
}
