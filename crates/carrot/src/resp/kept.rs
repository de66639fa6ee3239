//! A reply that stands in line, and the room that it takes there.
//!
//! Who pipelines reads has values come while the first is waited for, or while he takes none: as many as one client may
//! have under way, of as many clients as there are. Together they have their room; where that is full a value is let go, and
//! is asked for again in its turn. So nobody is refused for it, and nobody has to be trusted to take what he asked for.

use carrotcache::net::intake::Share;

use crate::resp::front::Front;
use crate::resp::reply::Reply;
use crate::resp::window::AT_ONCE;

/// From this length on a reply is long, in bytes: what is shorter is bounded by the connections there may be.
pub const LONG: usize = 64 << 10;

/// A reply, and its room.
#[derive(Debug)]
pub struct Kept {
    reply: Reply,
    /// Until it is written. What is so short that a whole line of it is not long needs none.
    _held: Option<Share>,
}

impl Kept {
    /// A reply that has to wait for its turn; itself again where there is no room for it.
    pub fn of(reply: Reply, front: &Front) -> Result<Self, Reply> {
        let length = reply.values_len();
        if length < LONG / AT_ONCE {
            return Ok(Self::in_turn(reply));
        }
        let mut held = front.standing.share();
        match held.grow(length as u64) {
            Ok(()) => Ok(Self { reply, _held: Some(held) }),
            Err(_) => Err(reply),
        }
    }

    /// One that is written at once.
    pub fn in_turn(reply: Reply) -> Self {
        Self { reply, _held: None }
    }

    /// What is to be written.
    pub fn reply(&self) -> &Reply {
        &self.reply
    }
}
