//! Lines and numbers, as all three protocols have them.

use super::answer::{Garbled, HEAD_MAX, VALUE_MAX};

/// The line at the front, without its end, and where the next begins; `None`: its end has not come.
pub(super) fn line(bytes: &[u8]) -> Result<Option<(&[u8], usize)>, Garbled> {
    let head = &bytes[..bytes.len().min(HEAD_MAX)];
    match head.windows(2).position(|two| two == b"\r\n") {
        Some(end) => Ok(Some((&bytes[..end], end + 2))),
        None if bytes.len() >= HEAD_MAX => Err(Garbled("a line of an answer has no end")),
        None => Ok(None),
    }
}

/// The length of a value.
pub(super) fn length(digits: &[u8]) -> Result<usize, Garbled> {
    let text = std::str::from_utf8(digits).ok().filter(|text| text.bytes().all(|b| b.is_ascii_digit()));
    let length = text.and_then(|text| text.parse().ok()).ok_or(Garbled("a value has no length"))?;
    if length > VALUE_MAX { Err(Garbled("a value is over 1 GiB")) } else { Ok(length) }
}

/// Why it was refused: the first word, or what there is of a short line without one.
pub(super) fn first_word(line: &[u8]) -> String {
    let text = String::from_utf8_lossy(line);
    let word = text.split_whitespace().next().unwrap_or("refused");
    word.chars().filter(|c| !c.is_control()).take(40).collect()
}
