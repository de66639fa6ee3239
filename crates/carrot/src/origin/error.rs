//! Why an origin is refused at start, and why a load from one failed.
//!
//! A start is refused only over what no waiting can mend; whatever else keeps an origin from being opened is an error
//! of its loads, until one succeeds. Every message is one line that names what to change: most are read once, in the
//! log or where a node did not start. SQLite's own words come without its numbers and without the query it was given.

use std::fmt;
use std::io;
use std::path::PathBuf;
use std::time::Duration;

use rusqlite::ffi;

/// Why a text is no origin URL.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum BadOriginUrl {
    /// There is no `kind:` in front.
    #[error(
        "origin {0:?} names no kind; known: sqlite:FILE, http://…/{{key}}, https://…/{{key}}, dir:PATH, table:k=v,…"
    )]
    NoKind(String),
    /// The kind is none that this program has.
    #[error(
        "origin kind {0} is not known; known: sqlite:FILE, http://…/{{key}}, https://…/{{key}}, dir:PATH, table:k=v,…"
    )]
    UnknownKind(String),
    /// `sqlite:` without a file behind it.
    #[error("origin sqlite: names no file, as in sqlite:app.db")]
    NoFile,
    /// `dir:` without a directory behind it.
    #[error("origin dir: names no directory, as in dir:public")]
    NoDirectory,
    /// One entry of a table is not `key=value`, or its key is empty.
    #[error("table entry {0:?} is not key=value")]
    Entry(String),
    /// A `%` that is not followed by two hexadecimal digits.
    #[error("table entry {0:?} has a % without two hexadecimal digits behind it; % itself is %25")]
    Escape(String),
    /// One key of a table is given twice.
    #[error("table has two values for the key {0}")]
    Duplicate(String),
}

/// Why an origin is not open. Nothing is left running.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// A database without a query.
    #[error("origin sqlite:{} needs a query, as in --query 'select body from pages where id = ?1'", .0.display())]
    NoQuery(PathBuf),
    /// A query where nothing can be queried.
    #[error("a query is for origins of kind sqlite alone")]
    UselessQuery,
    /// There is no such file.
    #[error("no such file: {}", .0.display())]
    Missing(PathBuf),
    /// There is something else by that name.
    #[error("{} is not a file", .0.display())]
    NotAFile(PathBuf),
    /// The system does not let us look at the file.
    #[error("cannot look at {}", file.display())]
    Stat {
        /// The file that was named.
        file: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// The file is there, and SQLite cannot read it.
    #[error("cannot read {}: {fault}", file.display())]
    Unreadable {
        /// The file that was named.
        file: PathBuf,
        /// What SQLite said.
        fault: SqliteFault,
    },
    /// SQLite does not take the query.
    #[error("query refused: {0}")]
    Query(SqliteFault),
    /// More follows behind the first statement.
    #[error("query refused: it holds more than one statement")]
    ManyStatements,
    /// The statement would change the database.
    #[error("query refused: it writes, and an origin is only read")]
    Writes,
    /// The statement gives no rows to take a value from.
    #[error("query refused: it gives no column to take the value from")]
    NoColumn,
    /// The statement has not exactly one parameter.
    #[error("query refused: it has {0} parameters and needs exactly one, the key, as in … where id = ?1")]
    Parameters(usize),
    /// The system gave no thread.
    #[error("cannot start a thread for the origin")]
    Thread(#[source] io::Error),
    /// There is no such directory.
    #[error("no such directory: {}", .0.display())]
    MissingDirectory(PathBuf),
    /// There is something else by that name.
    #[error("{} is not a directory", .0.display())]
    NotADirectory(PathBuf),
    /// The system does not let us into the directory.
    #[error("cannot open {}", path.display())]
    Directory {
        /// The directory that was named.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
}

impl OpenError {
    /// Whether it will be so for ever, so that there is no sense in trying again: what was asked for is wrong, not
    /// what is there.
    pub fn is_final(&self) -> bool {
        match self {
            Self::NoQuery(_)
            | Self::UselessQuery
            | Self::ManyStatements
            | Self::Writes
            | Self::NoColumn
            | Self::Parameters(_)
            | Self::Thread(_) => true,
            // Its table may come later.
            Self::Query(fault) => fault.is_misspelt(),
            Self::Missing(_)
            | Self::NotAFile(_)
            | Self::Stat { .. }
            | Self::Unreadable { .. }
            | Self::MissingDirectory(_)
            | Self::NotADirectory(_)
            | Self::Directory { .. } => false,
        }
    }
}

/// Why a load gave neither a value nor "no such key". The origin was not changed.
#[derive(Debug, thiserror::Error)]
pub enum OriginError {
    /// The queue in front of the origin is full. It was not asked.
    #[error("busy: {waiting} loads wait for the origin")]
    Busy {
        /// The loads that may wait; all places are taken.
        waiting: usize,
    },
    /// No answer in time. The query was ended, and its thread is free again.
    #[error("the origin gave no answer within {waited:?}")]
    Deadline {
        /// The time that was allowed.
        waited: Duration,
    },
    /// Another program kept the database locked for all the time that was allowed.
    #[error("the database stayed locked by another program for {waited:?}")]
    Locked {
        /// The time that was allowed.
        waited: Duration,
    },
    /// SQLite failed. The next load opens the file anew.
    #[error("the query failed: {0}")]
    Query(SqliteFault),
    /// The origin cannot be opened as it is now. The next load tries again.
    #[error(transparent)]
    Open(#[from] OpenError),
    /// The file is there, and cannot be read.
    #[error("the file cannot be read")]
    File(#[source] io::Error),
    /// The file is larger than a value may be.
    #[error("the file of {length} bytes is over the limit of {limit}")]
    LargeFile {
        /// Its length; of a file that grew while it was read, as much as was seen.
        length: u64,
        /// The largest value that is taken.
        limit: u64,
    },
    /// The origin is closing.
    #[error("the origin is closing")]
    Closing,
}

/// What SQLite said, in one line for people.
///
/// Its own type, and without a source: `rusqlite` prints the whole query into the message, and hangs the result
/// code below it as a cause of its own, which in a chain of causes says the same thing twice.
pub struct SqliteFault(pub(super) rusqlite::Error);

impl SqliteFault {
    /// Whether the query is no SQL, whatever tables there are. SQLite has one number for this and for a table that
    /// is missing, so its words have to tell; they are those of the version that is compiled in.
    fn is_misspelt(&self) -> bool {
        // The one where SQLite says at which byte, the other where it does not.
        let (rusqlite::Error::SqlInputError { msg, .. } | rusqlite::Error::SqliteFailure(_, Some(msg))) =
            &self.0
        else {
            return false;
        };
        msg.ends_with(": syntax error") || msg.starts_with("unrecognized token") || msg == "incomplete input"
    }

    /// What to do, where SQLite's own words mislead.
    fn advice(&self) -> Option<&'static str> {
        match self.0.sqlite_extended_error_code()? {
            // Both were seen on databases in WAL mode in a directory we may not write: the first without a -wal
            // file, the second with one that no -shm file goes with.
            ffi::SQLITE_READONLY_DIRECTORY | ffi::SQLITE_CANTOPEN => Some(
                "it cannot be opened; in WAL mode it needs its -wal and -shm files, or a directory we may write",
            ),
            ffi::SQLITE_READONLY_ROLLBACK | ffi::SQLITE_READONLY_RECOVERY => {
                Some("a program died while it wrote; open it once with one that may write")
            }
            _ => None,
        }
    }
}

impl fmt::Display for SqliteFault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(advice) = self.advice() {
            return f.write_str(advice);
        }
        match &self.0 {
            rusqlite::Error::SqlInputError { msg, offset, .. } if *offset >= 0 => {
                write!(f, "{msg}, at byte {offset}")
            }
            rusqlite::Error::SqlInputError { msg, .. } => f.write_str(msg),
            other => write!(f, "{other}"),
        }
    }
}

impl fmt::Debug for SqliteFault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "SqliteFault({:?})", self.0)
    }
}
