//! Requests and answers as bytes, for the protocols that are measured. Pure.
//!
//! Each file has one protocol: a request is appended to a buffer, an answer is read from its front. Only what a get needs:
//! an answer of another form is [`Garbled`]. Answers are bounded, whatever their lengths claim.

mod answer;
mod http;
mod line;
mod meta;
mod resp;

pub use self::answer::{Answer, Garbled, Read, VALUE_MAX};
pub use self::http::Http;
pub use self::meta::Meta;
pub use self::resp::Resp;

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
