//! Standard output: whole and at once, and no fault of anybody's when its reader has seen enough.

use std::io::{self, Write};

use crate::ask::error::AskError;

/// Whether somebody still reads.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reader {
    /// As far as is known.
    There,
    /// It has closed its end: there is nobody left to write for.
    Gone,
}

/// Writes these bytes and nothing else.
///
/// # Errors
/// Whatever keeps them from being written, save a reader that is gone: `carrot get … | head -c 1` is done.
pub fn write(bytes: &[u8]) -> Result<Reader, AskError> {
    let mut out = io::stdout().lock();
    match out.write_all(bytes).and_then(|()| out.flush()) {
        Ok(()) => Ok(Reader::There),
        Err(error) if error.kind() == io::ErrorKind::BrokenPipe => Ok(Reader::Gone),
        Err(error) => Err(AskError::Output(error)),
    }
}

/// Writes a text that ends with a line end, its own or one that is added.
///
/// # Errors
/// As [`write()`].
pub fn write_line(text: &[u8]) -> Result<Reader, AskError> {
    let end: &[u8] = if text.ends_with(b"\n") { b"" } else { b"\n" };
    write(&[text, end].concat())
}
