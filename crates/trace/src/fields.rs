//! The fields of a line.
//!
//! Not by the csv crate: it takes a quote that is never closed as one field to the end of the file, and text behind a
//! closing one as part of the field, both in silence; a log with such a line would be half of what it says. Here a
//! record is a line, and what cannot be read is an error with its column. Pure.

use std::borrow::Cow;
use std::ops::Range;

use crate::error::Fault;

/// What stands between the columns of a line.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Separator {
    /// Nothing: the line is the key.
    None,
    Comma,
    Tab,
    /// One space or several; no quotes.
    Spaces,
}

impl Separator {
    /// The one that a first line shows.
    pub(crate) fn shown_by(line: &[u8]) -> Self {
        let has = |byte: u8| line.contains(&byte);
        match () {
            () if has(b'\t') => Self::Tab,
            () if has(b',') => Self::Comma,
            () if line.trim_ascii().contains(&b' ') => Self::Spaces,
            () => Self::None,
        }
    }
}

/// A field: where it stands in its line, its quotes left out.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Field {
    range: Range<usize>,
    /// Whether there are doubled quotes in it.
    doubled: bool,
}

impl Field {
    /// The byte of the line at which it begins.
    pub(crate) fn start(&self) -> usize {
        self.range.start
    }

    pub(crate) fn bytes<'l>(&self, line: &'l [u8]) -> Cow<'l, [u8]> {
        let raw = &line[self.range.clone()];
        if !self.doubled {
            return Cow::Borrowed(raw);
        }
        let mut bytes = Vec::with_capacity(raw.len());
        let mut rest = raw.iter();
        while let Some(&byte) = rest.next() {
            bytes.push(byte);
            if byte == b'"' {
                // The second of the two.
                rest.next();
            }
        }
        Cow::Owned(bytes)
    }
}

/// Puts the fields of the line into `fields`, at least one. A fault comes with the byte at which it shows.
pub(crate) fn split(line: &[u8], by: Separator, fields: &mut Vec<Field>) -> Result<(), (usize, Fault)> {
    fields.clear();
    match by {
        Separator::None => fields.push(Field { range: 0..line.len(), doubled: false }),
        Separator::Spaces => split_at_spaces(line, fields),
        Separator::Comma => split_at(line, b',', fields)?,
        Separator::Tab => split_at(line, b'\t', fields)?,
    }
    Ok(())
}

fn split_at_spaces(line: &[u8], fields: &mut Vec<Field>) {
    let mut at = 0;
    for word in line.split(|&byte| byte == b' ') {
        if !word.is_empty() {
            fields.push(Field { range: at..at + word.len(), doubled: false });
        }
        at += word.len() + 1;
    }
    if fields.is_empty() {
        fields.push(Field { range: 0..0, doubled: false });
    }
}

fn split_at(line: &[u8], separator: u8, fields: &mut Vec<Field>) -> Result<(), (usize, Fault)> {
    let mut at = 0;
    loop {
        let end = if line.get(at) == Some(&b'"') {
            let field = quoted(line, at)?;
            let end = field.range.end + 1;
            fields.push(field);
            end
        } else {
            let end = line[at..].iter().position(|&byte| byte == separator).map_or(line.len(), |n| at + n);
            fields.push(Field { range: at..end, doubled: false });
            end
        };
        match line.get(end) {
            None => return Ok(()),
            Some(&byte) if byte == separator => at = end + 1,
            Some(_) => return Err((end, Fault::AfterQuote)),
        }
    }
}

/// The field whose quote opens at this byte.
fn quoted(line: &[u8], opens: usize) -> Result<Field, (usize, Fault)> {
    let (mut at, mut doubled) = (opens + 1, false);
    loop {
        let Some(n) = line[at..].iter().position(|&byte| byte == b'"') else {
            return Err((opens, Fault::OpenQuote));
        };
        at += n;
        if line.get(at + 1) != Some(&b'"') {
            return Ok(Field { range: opens + 1..at, doubled });
        }
        (at, doubled) = (at + 2, true);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn fields(line: &str, by: Separator) -> Vec<String> {
        let mut fields = Vec::new();
        split(line.as_bytes(), by, &mut fields).unwrap();
        let text = |field: &Field| String::from_utf8(field.bytes(line.as_bytes()).into_owned()).unwrap();
        fields.iter().map(text).collect()
    }

    #[test]
    fn a_line_is_split_at_its_separators_and_quotes_are_taken_off() {
        assert_eq!(fields("a,1,", Separator::Comma), ["a", "1", ""]);
        assert_eq!(fields("\"a,\"\"b\"\"\",1", Separator::Comma), ["a,\"b\"", "1"]);
        assert_eq!(fields("\"\",\"\"\"\"", Separator::Comma), ["", "\""]);
        assert_eq!(fields("a \"b\"\t2", Separator::Tab), ["a \"b\"", "2"]);
        assert_eq!(fields("  a   1 ", Separator::Spaces), ["a", "1"]);
        assert_eq!(fields("a b,c", Separator::None), ["a b,c"]);
        assert_eq!(fields("", Separator::Comma), [""]);
        assert_eq!(fields(" ", Separator::Spaces), [""]);
    }

    #[test]
    fn quotes_that_do_not_fit_are_faults_with_their_place() {
        let fault = |line: &str| split(line.as_bytes(), Separator::Comma, &mut Vec::new()).unwrap_err();
        assert!(matches!(fault("a,\"b"), (2, Fault::OpenQuote)));
        assert!(matches!(fault("a,\"b\"\""), (2, Fault::OpenQuote)));
        assert!(matches!(fault("\"a\"b,1"), (3, Fault::AfterQuote)));
    }

    #[test]
    fn the_first_line_shows_what_separates() {
        for (line, by) in [
            ("/a b,c\t1", Separator::Tab),
            ("/a b,1", Separator::Comma),
            ("/a 1", Separator::Spaces),
            (" /a ", Separator::None),
        ] {
            assert_eq!(Separator::shown_by(line.as_bytes()), by, "{line}");
        }
    }
}
