//! Clients of the Redis front, on the connections of a listener.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use carrotcache::net::listen::{Accepted, Listener, Parted, Serving};
use tokio::io::AsyncWriteExt;
use tokio::net::TcpStream;

use crate::resp::connection::serve;
use crate::resp::end::End;
use crate::resp::front::Front;

/// How long a client that was refused is heard out.
const HEARD_OUT: Duration = Duration::from_secs(1);

/// Answers clients until the returned handle is stopped or dropped.
pub fn open(listener: Listener, front: Arc<Front>) -> Serving {
    let address = listener.address();
    // Where it is known to all of them, none has to ask the system.
    let local = (!address.ip().is_unspecified()).then_some(address);
    listener.attended_by(move |accepted| attend(accepted, local, front.clone()))
}

async fn attend(accepted: Accepted, local: Option<SocketAddr>, front: Arc<Front>) -> Parted {
    let Accepted { mut stream, address, mut stop, .. } = accepted;
    let Ok(local) = local.map_or_else(|| stream.local_addr(), Ok) else { return Parted::Ended };
    let seat = front.clients.enter(address, local);
    match serve(&mut stream, &front, seat, stop.told()).await {
        End::Overdue => return Parted::Overdue,
        End::Refused => hear_out(stream).await,
        End::Gone | End::Stopped => {}
    }
    Parted::Ended
}

/// Lets a client that still sends learn why it was refused: closed with bytes unread, the system would take the reply
/// back.
async fn hear_out(mut stream: TcpStream) {
    let _ = tokio::time::timeout(HEARD_OUT, async {
        stream.shutdown().await?;
        tokio::io::copy(&mut stream, &mut tokio::io::sink()).await
    })
    .await;
}
