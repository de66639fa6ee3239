//! Why a file is no trace, and where in it that shows.

use std::fmt;
use std::io;
use std::path::PathBuf;

/// A file that could not be read as a whole. Nothing of it is given.
#[derive(Debug)]
pub struct TraceError {
    /// The file, as it was asked for.
    pub file: PathBuf,
    /// Where in it.
    pub place: Place,
    /// What is wrong there.
    pub fault: Fault,
}

/// A place in a file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Place {
    /// The file as a whole.
    File,
    /// This many bytes into the file.
    Byte(u64),
    /// This many bytes into what the file unpacks to.
    Unpacked(u64),
    /// In a text; both from 1, the column in characters.
    Line {
        /// The line.
        line: u64,
        /// The character in it.
        column: usize,
    },
}

/// What is wrong with a file.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Fault {
    /// It cannot be opened, or no longer be read.
    #[error("cannot be read")]
    Read(#[source] io::Error),
    /// Its compressed stream stops before its end.
    #[error("the zstd stream is cut off here")]
    CutOff,
    /// It is not what zstd writes, or wants a larger window than is allowed.
    #[error("is not a zstd stream, or a damaged one")]
    Damaged(#[source] io::Error),
    /// There are bytes behind the last whole record.
    #[error("the last record is cut off: {rest} of its 12 bytes are there")]
    Truncated {
        /// How many.
        rest: usize,
    },
    /// A new key that is not the next id: most likely the records have another width.
    #[error("key {key} is not the next new one, {next}: these are not records of 12 bytes with dense keys")]
    Sparse {
        /// The key of the record.
        key: u64,
        /// The largest that could stand there.
        next: u64,
    },
    /// A size of 0.
    #[error("a size of 0")]
    NoSize,
    /// A size that no cache would keep.
    #[error("a size of {0}: sizes are below 4 GiB")]
    HugeSize(u64),
    /// What stands for a size is none.
    #[error("{0:?} is not a size in bytes")]
    NotASize(String),
    /// The first line could be a key with separators in it, or a log that was not brought into columns.
    #[error(
        "{columns} columns without a line that names them: key, size and time are three at most (NAME.keys has one key a line, whatever is in it)"
    )]
    Wide {
        /// How many.
        columns: usize,
    },
    /// A line that has more columns than the first, or fewer.
    #[error("the first line has {expected} columns, this one {found}")]
    Columns {
        /// How many it has.
        found: usize,
        /// How many the first line has.
        expected: usize,
    },
    /// A name that two columns have.
    #[error("a second column is named {0}")]
    Twice(&'static str),
    /// A line whose key is empty.
    #[error("an empty key")]
    NoKey,
    /// A quote that is not closed on its line.
    #[error("the quote that opens here is not closed on its line")]
    OpenQuote,
    /// Something between a closing quote and the next separator.
    #[error("text after a closing quote")]
    AfterQuote,
    /// A line that is too long for a key.
    #[error("a line of more than {limit} bytes")]
    LongLine {
        /// The most that is read as one.
        limit: usize,
    },
    /// More requests than are taken into memory.
    #[error("more than {limit} requests")]
    ManyRequests {
        /// The most that are taken.
        limit: u64,
    },
    /// More bytes of keys than are taken into memory.
    #[error("the keys together are more than {limit} bytes")]
    ManyKeys {
        /// The most that are taken.
        limit: u64,
    },
    /// Not one request.
    #[error("holds no request")]
    Empty,
}

impl fmt::Display for TraceError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.file.display())?;
        match self.place {
            Place::File => {}
            Place::Byte(at) => write!(f, ": byte {at}")?,
            Place::Unpacked(at) => write!(f, ": byte {at} unpacked")?,
            Place::Line { line, column } => write!(f, ":{line}:{column}")?,
        }
        write!(f, ": {}", self.fault)
    }
}

impl std::error::Error for TraceError {
    // What the fault says is in our own line already; what made it is not.
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        self.fault.source()
    }
}

/// A fault with its place, before the file is known.
pub(crate) type At = (Place, Fault);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_error_names_file_place_and_fault_and_leaves_the_cause_to_its_source() {
        let said = |place, fault| TraceError { file: "a.trace".into(), place, fault }.to_string();
        assert_eq!(said(Place::Byte(24), Fault::NoSize), "a.trace: byte 24: a size of 0");
        assert_eq!(said(Place::Unpacked(24), Fault::NoSize), "a.trace: byte 24 unpacked: a size of 0");
        assert_eq!(said(Place::Line { line: 3, column: 5 }, Fault::NoKey), "a.trace:3:5: an empty key");
        let error =
            TraceError { file: "a".into(), place: Place::File, fault: Fault::Read(io::Error::other("gone")) };
        assert_eq!(error.to_string(), "a: cannot be read");
        assert_eq!(std::error::Error::source(&error).unwrap().to_string(), "gone");
    }
}
