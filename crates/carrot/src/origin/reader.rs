//! One connection to a SQLite file, and the one query it is asked.
//!
//! Belongs to one thread of the pool in `sqlite.rs`. The file is opened read-only by the first load that finds it; the
//! query is checked when the file is opened and stays prepared. Between two loads nothing is held: the statement is
//! reset, so that a writer can always checkpoint its WAL.
//!
//! The file may be replaced under us, by a rename over it. An open connection would go on reading the old one for
//! ever and never fail, so each load first asks the system which file has the name now. It never opens the file
//! but through SQLite: closing any other handle of it would drop the locks that this process holds on it.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Weak};
use std::time::{Duration, Instant};

use bytes::Bytes;
use carrotcache::{Charge, Key, MemoryFull};
use rusqlite::types::ValueRef;
use rusqlite::{Connection, ErrorCode, OpenFlags, Statement};

use crate::origin::alarm::Alarm;
use crate::origin::error::{OpenError, OriginError, SqliteFault};

/// Instructions of SQLite's machine between two looks at the alarm: well under a millisecond of work.
const OPS_BETWEEN_LOOKS: i32 = 1000;

/// What every reader of one origin asks.
#[derive(Debug)]
pub struct Question {
    /// The file as it was named, for messages.
    pub file: PathBuf,
    /// The one statement, with the key as its one parameter.
    pub query: String,
    /// How long a load may take, for messages.
    pub deadline: Duration,
}

/// A connection that answers loads.
pub struct Reader {
    question: Arc<Question>,
    alarm: Arc<Alarm>,
    /// `None` at first and after a failure: the next load opens the file anew.
    open: Option<OpenFile>,
}

struct OpenFile {
    connection: Connection,
    identity: Identity,
}

impl Reader {
    /// A reader of a file that need not be there yet.
    pub fn new(question: Arc<Question>, alarm: Arc<Alarm>) -> Self {
        Self { question, alarm, open: None }
    }

    /// Opens the file and checks the query, if that is still to be done, or another file has the name now. Blocks;
    /// ends when the alarm rings.
    ///
    /// # Errors
    /// When the file cannot be read, or the query is not one statement that reads, with one parameter.
    pub fn open(&mut self) -> Result<(), OpenError> {
        let identity = identity(&self.question.file)?;
        if self.open.as_ref().is_none_or(|open| open.identity != identity) {
            self.open = None;
            self.open = Some(OpenFile::new(&self.question, &self.alarm)?);
        }
        Ok(())
    }

    /// Whether a load could be asked now. Blocks as a load does.
    ///
    /// # Errors
    /// What a load would fail with.
    pub fn probe(&mut self, deadline: Instant, caller: Weak<()>) -> Result<(), OriginError> {
        self.alarm.set(deadline, caller);
        self.open().map_err(|refusal| self.not_opened(refusal))
    }

    /// The value of `key`: the first column of the first row. No row, or NULL, is not found.
    ///
    /// Text gives its UTF-8 bytes, a blob its bytes, a number its decimal text. Blocks until `deadline` at most, and
    /// not for longer than `caller` is alive.
    ///
    /// # Errors
    /// See [`OriginError`]. After a failure of the file the next load opens it anew.
    pub fn load(
        &mut self,
        key: &Key,
        charge: &Charge,
        deadline: Instant,
        caller: Weak<()>,
    ) -> Result<Option<Bytes>, OriginError> {
        self.probe(deadline, caller)?;
        let Some(open) = &self.open else { return Err(OriginError::Closing) };
        let asked = ask(&open.connection, &self.question.query, key, charge);
        Ok(asked.map_err(|fault| self.failed(fault))??)
    }

    fn failed(&mut self, fault: rusqlite::Error) -> OriginError {
        self.out_of_time(&fault).unwrap_or_else(|| {
            // Whatever broke the file or its schema, a new connection sees it as it is now.
            self.open = None;
            OriginError::Query(SqliteFault(fault))
        })
    }

    fn not_opened(&self, refusal: OpenError) -> OriginError {
        let fault = match &refusal {
            OpenError::Unreadable { fault, .. } | OpenError::Query(fault) => Some(&fault.0),
            _ => None,
        };
        fault.and_then(|fault| self.out_of_time(fault)).unwrap_or(OriginError::Open(refusal))
    }

    /// The error of a query that the alarm has ended; `None` for all others.
    fn out_of_time(&self, fault: &rusqlite::Error) -> Option<OriginError> {
        let waited = self.question.deadline;
        match fault.sqlite_error_code()? {
            ErrorCode::OperationInterrupted | ErrorCode::DatabaseBusy if self.alarm.is_closing() => {
                Some(OriginError::Closing)
            }
            ErrorCode::OperationInterrupted => Some(OriginError::Deadline { waited }),
            ErrorCode::DatabaseBusy => Some(OriginError::Locked { waited }),
            _ => None,
        }
    }
}

impl OpenFile {
    fn new(question: &Question, alarm: &Arc<Alarm>) -> Result<Self, OpenError> {
        // Before the file is opened: if it is replaced in between, the next load opens once more than it must.
        let identity = identity(&question.file)?;
        let connection = connect(&question.file, alarm).map_err(|fault| OpenError::Unreadable {
            file: question.file.clone(),
            fault: SqliteFault(fault),
        })?;
        check(&connection, &question.query)?;
        Ok(Self { connection, identity })
    }
}

/// Opens the file read-only, and reads its header.
fn connect(file: &Path, alarm: &Arc<Alarm>) -> rusqlite::Result<Connection> {
    // Absolute, because SQLite takes `:memory:` and whatever begins with `file:` for something else than a name.
    let path = std::path::absolute(file).unwrap_or_else(|_| file.to_owned());
    let flags = OpenFlags::SQLITE_OPEN_READ_ONLY | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let mut connection = Connection::open_with_flags(path, flags)?;
    let computing = Arc::clone(alarm);
    connection.progress_handler(OPS_BETWEEN_LOOKS, Some(move || computing.rings()))?;
    let waiting = Arc::clone(alarm);
    connection.busy_handler(Some(move |tries| waiting.wait_for_lock(tries)))?;
    connection.pragma_update(None, "query_only", true)?;
    // SQLite opens lazily: only the first read finds out that a file is no database.
    connection.query_row("pragma schema_version", [], |_| Ok(()))?;
    Ok(connection)
}

/// Prepares the query for the loads to come, and refuses it if it is not of the right shape.
fn check(connection: &Connection, query: &str) -> Result<(), OpenError> {
    let statement = connection.prepare_cached(query).map_err(|fault| match fault {
        rusqlite::Error::MultipleStatement => OpenError::ManyStatements,
        other => OpenError::Query(SqliteFault(other)),
    })?;
    check_shape(&statement)
}

fn check_shape(statement: &Statement<'_>) -> Result<(), OpenError> {
    if !statement.readonly() {
        return Err(OpenError::Writes);
    }
    // Also BEGIN and ATTACH, which SQLite counts as reading.
    if statement.column_count() == 0 {
        return Err(OpenError::NoColumn);
    }
    match statement.parameter_count() {
        1 => Ok(()),
        found => Err(OpenError::Parameters(found)),
    }
}

fn ask(
    connection: &Connection,
    query: &str,
    key: &Key,
    charge: &Charge,
) -> rusqlite::Result<Result<Option<Bytes>, MemoryFull>> {
    let mut statement = connection.prepare_cached(query)?;
    match key.to_str() {
        Ok(text) => statement.raw_bind_parameter(1, text)?,
        Err(_) => statement.raw_bind_parameter(1, key.as_bytes())?,
    }
    // Dropping the rows resets the statement, which ends its read transaction.
    let mut rows = statement.raw_query();
    let Some(row) = rows.next()? else { return Ok(Ok(None)) };
    Ok(bytes_of(row.get_ref(0)?, charge))
}

fn bytes_of(value: ValueRef<'_>, charge: &Charge) -> Result<Option<Bytes>, MemoryFull> {
    Ok(match value {
        ValueRef::Null => None,
        ValueRef::Integer(number) => Some(Bytes::from(number.to_string())),
        // The shortest text that reads back as the same number, with a point or an exponent: 1.0, not 1.
        ValueRef::Real(number) => Some(Bytes::from(format!("{number:?}"))),
        ValueRef::Text(bytes) | ValueRef::Blob(bytes) => {
            charge.grow(bytes.len() as u64)?;
            Some(Bytes::copy_from_slice(bytes))
        }
    })
}

/// Which file has a name: two names of one file are equal, two files in turn under one name are not.
#[cfg(unix)]
type Identity = (u64, u64);
/// When the file of a name was made; these systems keep an open file from being replaced.
#[cfg(not(unix))]
type Identity = Option<std::time::SystemTime>;

fn identity(file: &Path) -> Result<Identity, OpenError> {
    let metadata = std::fs::metadata(file).map_err(|source| match source.kind() {
        io::ErrorKind::NotFound => OpenError::Missing(file.to_owned()),
        _ => OpenError::Stat { file: file.to_owned(), source },
    })?;
    // A pipe would hang whoever opens it.
    if metadata.is_file() { Ok(identity_of(&metadata)) } else { Err(OpenError::NotAFile(file.to_owned())) }
}

#[cfg(unix)]
fn identity_of(metadata: &std::fs::Metadata) -> Identity {
    use std::os::unix::fs::MetadataExt;
    (metadata.dev(), metadata.ino())
}

#[cfg(not(unix))]
fn identity_of(metadata: &std::fs::Metadata) -> Identity {
    metadata.created().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_connection_cannot_write_whatever_it_is_given() {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("app.db");
        Connection::open(&file).unwrap().execute_batch("create table pages(id, body)").unwrap();
        let alarm = Arc::new(Alarm::new(Arc::default(), Instant::now() + Duration::from_secs(3600)));
        let connection = connect(&file, &alarm).unwrap();
        assert!(connection.is_readonly("main").unwrap(), "the file itself is opened for reading alone");
        for sql in ["insert into pages values (1, 2)", "drop table pages", "create table other(id)"] {
            let failure = connection.execute(sql, []).unwrap_err();
            assert_eq!(failure.sqlite_error_code(), Some(ErrorCode::ReadOnly), "{failure}");
        }
        // The query that `check` refuses is one that the connection would refuse as well.
        assert!(matches!(check(&connection, "delete from pages where id = ?1"), Err(OpenError::Writes)));
    }
}
