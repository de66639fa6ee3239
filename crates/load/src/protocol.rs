//! Requests and answers as bytes, for the protocols that are measured. Pure.
//!
//! Each file has one protocol: a request is appended to a buffer, an answer is read from its front. Only what a get needs:
//! an answer of another form is [`Garbled`]. Answers are bounded, whatever their lengths claim.

mod http;
mod line;
mod meta;
mod resp;

pub use self::http::Http;
pub use self::meta::Meta;
pub use self::resp::Resp;

/// The longest value that is taken in: 1 GiB.
pub const VALUE_MAX: usize = 1 << 30;
/// The longest line, or head, of an answer.
const HEAD_MAX: usize = 64 << 10;

/// What is spoken.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Protocol {
    /// Redis's.
    Resp(Resp),
    /// memcached's meta commands: its classic ones are answered one write each.
    Meta(Meta),
    /// HTTP/1.1 on kept connections.
    Http(Http),
}

/// What one request came to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Answer {
    /// A value of so many bytes.
    Value(usize),
    /// There is no such key.
    Missing,
    /// It was refused: the first word of why.
    Refused(String),
}

/// Bytes that are no answer in this protocol; the connection is of no more use.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct Garbled(pub &'static str);

/// What stands at the front of a buffer: how many bytes, and what they say; `None`: not whole yet.
pub type Read = Result<Option<(usize, Answer)>, Garbled>;

impl Protocol {
    /// What is sent before the first request, if anything; it is answered by one answer that is no refusal.
    pub fn greeting(&self) -> Option<Vec<u8>> {
        match self {
            Self::Resp(resp) => resp.greeting(),
            Self::Meta(_) | Self::Http(_) => None,
        }
    }

    /// Appends the request for this key.
    pub fn ask(&self, key: &[u8], out: &mut Vec<u8>) {
        match self {
            Self::Resp(resp) => resp.ask(key, out),
            Self::Meta(meta) => meta.ask(key, out),
            Self::Http(http) => http.ask(key, out),
        }
    }

    /// The answer at the front.
    ///
    /// # Errors
    /// [`Garbled`] if no bytes that may follow make it one.
    pub fn read(&self, bytes: &[u8]) -> Read {
        match self {
            Self::Resp(_) => Resp::read(bytes),
            Self::Meta(_) => Meta::read(bytes),
            Self::Http(_) => Http::read(bytes),
        }
    }
}
