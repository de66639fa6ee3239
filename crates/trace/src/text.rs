//! Lines of text: a key each, and its size where there is a column for it.

use std::collections::HashMap;

use crate::error::{At, Fault, Place};
use crate::fields::{Field, Separator, split};
use crate::input::Input;
use crate::requests::{MAX_KEY_BYTES, Requests};

/// The longest line.
pub const MAX_LINE_BYTES: usize = 64 * 1024;

/// Lines that are read between two reports.
const BATCH: u64 = 8192;

/// What some editors put before the first line.
const BYTE_ORDER_MARK: &[u8] = b"\xef\xbb\xbf";

/// What a text has besides its requests.
#[derive(Debug)]
pub(crate) struct Told {
    /// Whether there is a column of sizes.
    pub(crate) sized: bool,
    /// How long each key is, by key.
    pub(crate) key_lens: Vec<u16>,
}

/// Reads all lines. Without `by`, the first line shows what separates the columns.
pub(crate) fn read(
    input: &mut Input<'_>,
    by: Option<Separator>,
    requests: &mut Requests,
) -> Result<Told, At> {
    let mut lines = Lines { input, line: Vec::new(), number: 0 };
    let mut keys = Keys::default();
    let mut fields = Vec::new();
    let mut sized = false;
    // Where a line is a key whatever is in it, the first one is too.
    let whole = by == Some(Separator::None);
    if lines.next()? {
        let by = by.unwrap_or_else(|| Separator::shown_by(&lines.line));
        lines.split(by, &mut fields)?;
        let (columns, named) =
            if whole { (Columns { key: 0, size: None, count: 1 }, false) } else { lines.columns(&fields)? };
        sized = columns.size.is_some();
        if !named {
            lines.add(&fields, &columns, &mut keys, requests)?;
        }
        while lines.next()? {
            lines.split(by, &mut fields)?;
            lines.add(&fields, &columns, &mut keys, requests)?;
        }
    }
    lines.input.report();
    Ok(Told { sized, key_lens: keys.lens })
}

/// Which column is which.
struct Columns {
    key: usize,
    size: Option<usize>,
    count: usize,
}

/// The different keys.
#[derive(Default)]
struct Keys {
    // std's hash has a random seed: a log may hold whatever strangers asked for.
    ids: HashMap<Box<[u8]>, u32>,
    lens: Vec<u16>,
    bytes: u64,
}

impl Keys {
    /// The id of the key; that of a new one is the next.
    fn id(&mut self, key: &[u8]) -> Result<u32, Fault> {
        if let Some(&id) = self.ids.get(key) {
            return Ok(id);
        }
        self.bytes += key.len() as u64;
        if self.bytes > MAX_KEY_BYTES {
            return Err(Fault::ManyKeys { limit: MAX_KEY_BYTES });
        }
        // There are no more keys than requests, and no key is longer than a line.
        let id = self.lens.len() as u32;
        self.lens.push(u16::try_from(key.len()).unwrap_or(u16::MAX));
        self.ids.insert(key.into(), id);
        Ok(id)
    }
}

/// The lines of a file, one at a time.
struct Lines<'i, 'p> {
    input: &'i mut Input<'p>,
    /// The current one, without its end.
    line: Vec<u8>,
    number: u64,
}

impl Lines<'_, '_> {
    /// Goes to the next line that is not empty. False: there is none.
    fn next(&mut self) -> Result<bool, At> {
        loop {
            self.line.clear();
            // One byte more than a line with its end has, so that a longer one shows.
            if self.input.line(&mut self.line, MAX_LINE_BYTES + 3)? == 0 {
                return Ok(false);
            }
            self.number += 1;
            if self.number.is_multiple_of(BATCH) {
                self.input.report();
            }
            self.line.pop_if(|byte| *byte == b'\n');
            self.line.pop_if(|byte| *byte == b'\r');
            if self.line.len() > MAX_LINE_BYTES {
                return Err(self.at(0, Fault::LongLine { limit: MAX_LINE_BYTES }));
            }
            if self.number == 1 && self.line.starts_with(BYTE_ORDER_MARK) {
                self.line.drain(..BYTE_ORDER_MARK.len());
            }
            if !self.line.trim_ascii().is_empty() {
                return Ok(true);
            }
        }
    }

    /// A fault at this byte of the current line.
    fn at(&self, byte: usize, fault: Fault) -> At {
        let column = String::from_utf8_lossy(&self.line[..byte]).chars().count() + 1;
        (Place::Line { line: self.number, column }, fault)
    }

    fn split(&self, by: Separator, fields: &mut Vec<Field>) -> Result<(), At> {
        split(&self.line, by, fields).map_err(|(byte, fault)| self.at(byte, fault))
    }

    /// The columns as the first line has them, and whether it only names them.
    fn columns(&self, fields: &[Field]) -> Result<(Columns, bool), At> {
        let count = fields.len();
        let name =
            |field: &Field| String::from_utf8_lossy(&field.bytes(&self.line)).trim().to_ascii_lowercase();
        let names: Vec<String> = fields.iter().map(name).collect();
        let find = |wanted: &'static str| {
            let mut found = (0..count).filter(|&at| names[at] == wanted);
            match (found.next(), found.next()) {
                (_, Some(second)) => Err(self.at(fields[second].start(), Fault::Twice(wanted))),
                (first, None) => Ok(first),
            }
        };
        let is_number = |name: &String| name.parse::<f64>().is_ok();
        if names.iter().any(|name| name == "key")
            && !names.iter().any(is_number)
            && let Some(key) = find("key")?
        {
            return Ok((Columns { key, size: find("size")?, count }, true));
        }
        match count {
            1 => Ok((Columns { key: 0, size: None, count }, false)),
            2 | 3 => Ok((Columns { key: 0, size: Some(1), count }, false)),
            columns => Err(self.at(0, Fault::Wide { columns })),
        }
    }

    /// Takes the current line as a request.
    fn add(
        &self,
        fields: &[Field],
        columns: &Columns,
        keys: &mut Keys,
        requests: &mut Requests,
    ) -> Result<(), At> {
        if fields.len() != columns.count {
            let fault = Fault::Columns { found: fields.len(), expected: columns.count };
            return Err(self.at(0, fault));
        }
        let key = &fields[columns.key];
        let bytes = key.bytes(&self.line);
        if bytes.is_empty() {
            return Err(self.at(key.start(), Fault::NoKey));
        }
        let (size, size_start) = match columns.size.map(|at| &fields[at]) {
            None => (1, key.start()),
            Some(field) => {
                let size = size(&field.bytes(&self.line));
                (size.map_err(|fault| self.at(field.start(), fault))?, field.start())
            }
        };
        let id = keys.id(&bytes).map_err(|fault| self.at(key.start(), fault))?;
        requests.add(id, size).map_err(|fault| self.at(size_start, fault))
    }
}

/// A number of bytes, in digits alone.
fn size(field: &[u8]) -> Result<u64, Fault> {
    let field = field.trim_ascii();
    let refused = || Fault::NotASize(String::from_utf8_lossy(field).into_owned());
    if field.is_empty() || !field.iter().all(u8::is_ascii_digit) {
        return Err(refused());
    }
    let digits = std::str::from_utf8(field).map_err(|_| refused())?;
    // All digits, so what does not fit is too large.
    Ok(digits.parse().unwrap_or(u64::MAX))
}
