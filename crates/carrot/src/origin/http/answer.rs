//! The body of a response: read whole or refused, and never further than it has to be.
//!
//! A value is whole only if its end is marked, by a length or by a last chunk. One that ends with its connection may
//! have been cut by a server that died, and would be served for as long as it is kept.

use std::time::Duration;

use bytes::{Bytes, BytesMut};
use carrotcache::{ByteSize, Charge};
use http::HeaderMap;
use http::header::{CONTENT_ENCODING, CONTENT_LENGTH, HeaderName, TRANSFER_ENCODING};
use http_body_util::BodyExt;
use hyper::body::{Body, Incoming};
use tokio::time::timeout;

use crate::origin::error::OriginError;

/// How much of a body that is no value is read, so that its connection can be kept.
const REST_MAX: usize = 16 * 1024;
/// How long that may take: a connection is not worth more.
const REST_TIME: Duration = Duration::from_millis(200);
/// The longest text of a server that an error repeats, in bytes.
const SAID_MAX: usize = 200;

/// A body that is being read.
pub struct Answer {
    body: Incoming,
    is_over: bool,
    /// What its value is charged to.
    charge: Charge,
}

impl Answer {
    /// A body of which nothing has been read.
    pub fn new(body: Incoming, charge: Charge) -> Self {
        Self { is_over: body.is_end_stream(), body, charge }
    }

    /// Whether it was read to its end, so that the connection can take another request.
    pub fn is_over(&self) -> bool {
        self.is_over
    }

    /// All of it, where it is a value that can be kept; charged piece by piece.
    ///
    /// # Errors
    /// When it is coded, over `limit`, without a marked end, or ends before that; or when there is no room for it.
    pub async fn value(&mut self, headers: &HeaderMap, limit: ByteSize) -> Result<Bytes, OriginError> {
        check_coding(headers)?;
        if !is_end_marked(headers) {
            return Err(OriginError::Endless);
        }
        let over = || OriginError::TooLarge { limit };
        let most = usize::try_from(limit.as_u64()).unwrap_or(usize::MAX);
        if self.body.size_hint().lower() > limit.as_u64() {
            return Err(over());
        }
        let mut taken = BytesMut::new();
        while let Some(piece) = self.next(taken.len()).await? {
            if piece.len() > most - taken.len() {
                return Err(over());
            }
            self.charge.grow(piece.len() as u64)?;
            if taken.is_empty() && self.body.is_end_stream() {
                // All in one piece, as small values come: no copy.
                self.is_over = true;
                return Ok(piece);
            }
            taken.extend_from_slice(&piece);
        }
        Ok(taken.freeze())
    }

    /// Its text, where that is short; reads on for a moment, so that the connection can be kept.
    pub async fn said(&mut self) -> String {
        let said = timeout(REST_TIME, self.short()).await.ok().flatten().unwrap_or_default();
        match std::str::from_utf8(&said) {
            Ok(text) if text.len() <= SAID_MAX => text.trim().escape_debug().to_string(),
            _ => String::new(),
        }
    }

    /// All of it, where that is not much.
    async fn short(&mut self) -> Option<BytesMut> {
        let mut taken = BytesMut::new();
        while let Some(piece) = self.next(taken.len()).await.ok()? {
            if piece.len() > REST_MAX - taken.len() {
                return None;
            }
            taken.extend_from_slice(&piece);
        }
        Some(taken)
    }

    /// The next piece, `taken` bytes having come before it; `None` at the end.
    async fn next(&mut self, taken: usize) -> Result<Option<Bytes>, OriginError> {
        while let Some(frame) = self.body.frame().await {
            let frame = frame.map_err(|source| OriginError::Cut { taken, source })?;
            // Anything else is a trailer.
            if let Ok(piece) = frame.into_data() {
                return Ok(Some(piece));
            }
        }
        self.is_over = true;
        Ok(None)
    }
}

/// Whether the bytes of the body are the value itself.
fn check_coding(headers: &HeaderMap) -> Result<(), OriginError> {
    for (name, plain) in [(CONTENT_ENCODING, "identity"), (TRANSFER_ENCODING, "chunked")] {
        let odd = codings(headers, &name).find(|coding| !coding.eq_ignore_ascii_case(plain));
        if let Some(coding) = odd {
            return Err(OriginError::Coded { header: name, coding: coding.chars().take(40).collect() });
        }
    }
    Ok(())
}

/// Whether the end of the body can be told from its being cut off, by the header that hyper reads it by: chunks only
/// if they are the last word on codings, of which an empty one behind a comma is one, and a length only without any.
fn is_end_marked(headers: &HeaderMap) -> bool {
    match headers.get_all(TRANSFER_ENCODING).iter().next_back() {
        Some(last) => {
            let coding = last.as_bytes().rsplit(|byte| *byte == b',').next().unwrap_or_default();
            coding.trim_ascii().eq_ignore_ascii_case(b"chunked")
        }
        None => headers.contains_key(CONTENT_LENGTH),
    }
}

fn codings<'a>(headers: &'a HeaderMap, name: &HeaderName) -> impl Iterator<Item = &'a str> + use<'a> {
    // What is no text is no coding that we know either.
    let lists = headers.get_all(name).into_iter().map(|value| value.to_str().unwrap_or("unreadable"));
    lists.flat_map(|list| list.split(',')).map(str::trim).filter(|coding| !coding.is_empty())
}
