//! How much of what is written the system keeps before it is sent.
//!
//! By itself it takes some MiB, and what is written behind a large value waits for all of that. With a bound on it the
//! rest waits in the outbox, where what is small goes before.

use tokio::net::TcpStream;

/// Written and not sent, in bytes: two batches, so that there is always something to send.
const UNSENT: u32 = 128 << 10;

/// Has the system take no more than that of what is written to this connection. Where it has no such bound, it is as
/// before.
pub(super) fn bound(stream: &TcpStream) {
    #[cfg(any(target_os = "android", target_os = "linux"))]
    let _ = socket2::SockRef::from(stream).set_tcp_notsent_lowat(UNSENT);
    #[cfg(not(any(target_os = "android", target_os = "linux")))]
    let _ = (stream, UNSENT);
}
