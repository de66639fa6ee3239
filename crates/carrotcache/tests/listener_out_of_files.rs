//! A listener in a process that has run out of file descriptors. Alone in its file, since it starves all it shares a
//! process with.
#![cfg(feature = "http")]
#![allow(clippy::unwrap_used, reason = "in a test a panic is the report")]

use std::fs::File;
use std::time::Duration;

use bytes::Bytes;
use carrotcache::Limits;
use carrotcache::net::listen::{ListenLimits, Listener};
use http_body_util::Full;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpSocket;

#[tokio::test]
async fn a_listener_without_file_descriptors_pauses_and_goes_on_when_there_are_some_again() {
    let listener =
        Listener::bind("127.0.0.1:0".parse().unwrap(), ListenLimits::from(&Limits::default())).await.unwrap();
    let serving =
        listener.serve(|_| async { http::Response::new(Full::new(Bytes::from_static(b"still here"))) });
    let client = TcpSocket::new_v4().unwrap();

    let files: Vec<File> = std::iter::from_fn(|| File::open("/dev/null").ok()).collect();
    // The system completes the connection; accepting it is what takes a descriptor.
    let mut client = client.connect(serving.address()).await.unwrap();
    client.write_all(b"GET / HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n").await.unwrap();
    while serving.stats().faults < 2 {
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
    assert_eq!(serving.stats().accepted, 0);

    drop(files);
    let mut response = String::new();
    client.read_to_string(&mut response).await.unwrap();
    assert!(response.starts_with("HTTP/1.1 200") && response.ends_with("still here"), "{response}");
}
