//! FLUSHALL and FLUSHDB: every group is cleared, on every member. There is one database, so the two are one.
//!
//! Answered when it is done, with ASYNC too: only then can be said whether every member has done it.

use std::sync::Arc;

use carrotcache::BoxFuture;

use crate::resp::front::Front;
use crate::resp::refused;
use crate::resp::reply::Reply;
use crate::resp::request::Request;

/// `FLUSHALL [ASYNC | SYNC]`, `FLUSHDB [ASYNC | SYNC]`
pub fn flush(front: Arc<Front>, request: Request) -> BoxFuture<'static, Reply> {
    Box::pin(async move {
        let words = request.words();
        let is_known =
            |word: &[u8]| word.eq_ignore_ascii_case(b"async") || word.eq_ignore_ascii_case(b"sync");
        if words.len() > 2 || !words.from(1).all(is_known) {
            return refused::syntax();
        }
        let mut reply = Reply::OK;
        // All of them, whichever fails; what is told is the first that did.
        for group in front.keyspace.groups() {
            let cleared = group.clear().await.map_err(|error| refused::of_write(&error));
            if let (Err(refusal), false) = (cleared, reply.is_error()) {
                reply = refusal;
            }
        }
        reply
    })
}
