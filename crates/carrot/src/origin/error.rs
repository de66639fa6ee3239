//! Why an origin is refused at start, and why a load from one failed.
//!
//! A start is refused only over what no waiting can mend; whatever else keeps an origin from being opened is an error
//! of its loads, until one succeeds. Every message is one line that names what to change: most are read once, in the
//! log or where a node did not start. SQLite's own words come without its numbers and without the query it was given.

use std::fmt;
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::path::PathBuf;
use std::time::Duration;

use carrotcache::{ByteSize, MemoryFull};
use http::StatusCode;
use http::header::HeaderName;
use http::uri::InvalidUri;
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

/// Why a text is no URL of an HTTP origin. The text itself is not repeated: it may hold a password.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum BadHttpUrl {
    /// Over this many bytes.
    #[error("it is longer than {0} bytes")]
    Long(usize),
    /// Another scheme, or none.
    #[error("it has to begin with http:// or https://")]
    Scheme,
    /// Nothing between the slashes and the path.
    #[error("a host is missing behind the //")]
    NoHost,
    /// What is there is no name and no address.
    #[error("the host has to be a name, an address, or an address of IPv6 in brackets")]
    Host,
    /// A port that nothing listens on.
    #[error("the port has to be 1 to 65535")]
    Port,
    /// A user, and perhaps a password, before the host.
    #[error("no user and password there; send a header, as in authorization")]
    UserInfo,
    /// A fragment, which no client sends.
    #[error("a # and what follows is not sent; a # itself is %23")]
    Fragment,
    /// Not one place for the key.
    #[error("it has to hold {{key}} once, where the key belongs; it is there {0} times")]
    Keys(usize),
    /// The key would choose the server.
    #[error("{{key}} belongs into the path or the query, not into the host")]
    KeyInHost,
    /// A character that URLs do not have.
    #[error("{0:?} has to be percent-encoded")]
    Character(char),
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
    /// No URL that can be asked for a key.
    #[error("is no URL of an origin: {0}")]
    Url(BadHttpUrl),
    /// A header whose name cannot be sent.
    #[error("header {0:?} of the origin is no name that HTTP has")]
    HeaderName(String),
    /// A header whose value cannot be sent. The value is not repeated: it may be a token.
    #[error("header {0:?} of the origin has a value that HTTP cannot send, such as a line end")]
    HeaderValue(String),
    /// A header that says how a message is framed, or whom it is for.
    #[error("header {0:?} of the origin is not for settings: the request itself makes it")]
    HeaderOfOurs(String),
    /// Certificates for a server that shows none.
    #[error("a file of certificates is for https origins alone")]
    UselessCa,
    /// The host of an `https` URL is no name that a certificate can be for.
    #[error("is no URL of an origin: no certificate can be for this host")]
    UncertainName,
    /// The file of certificates holds none, or some that cannot be read.
    #[error("no certificates can be read from {}: {why}", file.display())]
    Certificates {
        /// The file that was named.
        file: PathBuf,
        /// What is wrong.
        why: String,
    },
    /// Neither the system nor a file says whom to trust.
    #[error(
        "this system trusts no certificates: install its ca-certificates, or name a file of them for the origin"
    )]
    NoRoots,
    /// rustls cannot work with what it was given.
    #[error("TLS cannot be set up")]
    Tls(#[source] rustls::Error),
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
            | Self::Thread(_)
            | Self::Url(_)
            | Self::HeaderName(_)
            | Self::HeaderValue(_)
            | Self::HeaderOfOurs(_)
            | Self::UselessCa
            | Self::UncertainName
            | Self::Certificates { .. }
            | Self::NoRoots
            | Self::Tls(_) => true,
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
    /// No answer in time. What was under way was ended.
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
    /// The node's memory has no room for the value. The rest of it was not read.
    #[error("there is no room for the value")]
    Memory(#[from] MemoryFull),
    /// The origin is closing.
    #[error("the origin is closing")]
    Closing,
    /// The URL with this key in it is none. Nothing was sent.
    #[error("the key does not fit into the origin's URL")]
    Target(#[source] InvalidUri),
    /// The host's name could not be looked up.
    #[error("cannot find the address of {host}")]
    Resolve {
        /// The host.
        host: String,
        /// What the resolver said.
        source: io::Error,
    },
    /// The host's name has no address.
    #[error("{host} has no address")]
    NoAddress {
        /// The host.
        host: String,
    },
    /// The host's address is one that no origin should have. Nothing was sent there.
    #[error("{host} is at {address}, {what}, which is asked only where the origin's allow names it")]
    Address {
        /// The host.
        host: String,
        /// Its address.
        address: IpAddr,
        /// What is wrong with that.
        what: &'static str,
    },
    /// The server took no connection.
    #[error("cannot connect to {to}")]
    Connect {
        /// The address that was tried last.
        to: SocketAddr,
        /// What the system said.
        source: io::Error,
    },
    /// The server's certificate is not trusted, or TLS failed otherwise.
    #[error("the TLS handshake with {site} failed{}", hint(source))]
    Handshake {
        /// The server.
        site: String,
        /// What rustls said.
        source: io::Error,
    },
    /// No connection in time; the name, TCP and TLS together.
    #[error("no connection to {site} within {waited:?}, the connect timeout")]
    ConnectTimeout {
        /// The server.
        site: String,
        /// The time that was allowed.
        waited: Duration,
    },
    /// No head of a response in time. The connection was closed.
    #[error("the origin began no answer within {waited:?}, the first-byte timeout")]
    FirstByteTimeout {
        /// The time that was allowed.
        waited: Duration,
    },
    /// No whole answer in time. The connection was closed.
    #[error("the origin gave no whole answer within {waited:?}, all the time that a load has")]
    Overdue {
        /// The time that was allowed.
        waited: Duration,
    },
    /// What came is no response, or not all of its head, or nothing at all.
    #[error("the exchange with the origin broke")]
    Broken(#[source] hyper::Error),
    /// The body ended, or broke, before its marked end.
    #[error("the origin's answer was cut off after {taken} bytes")]
    Cut {
        /// The bytes that had come.
        taken: usize,
        /// How it broke.
        source: hyper::Error,
    },
    /// The body has no marked end, so that a cut one could not be told from a whole one.
    #[error("the origin's answer has neither a Content-Length nor chunks, and may have been cut off")]
    Endless,
    /// The body is larger than a value may be. The rest was not read.
    #[error("the origin's answer is over {limit}, the limit for values")]
    TooLarge {
        /// The limit.
        limit: ByteSize,
    },
    /// The body is compressed, or coded otherwise, though we asked for it plain.
    #[error("the origin's answer is coded ({header}: {coding}) and was asked for as it is")]
    Coded {
        /// The header that says so.
        header: HeaderName,
        /// The coding.
        coding: String,
    },
    /// The server answered, and not with a value.
    #[error("the origin answered {status}{}", quoted(said))]
    Status {
        /// The code.
        status: StatusCode,
        /// What else it said, where that is a short text; escaped.
        said: String,
    },
    /// A redirect to another server. It was not asked.
    #[error("the origin redirects to another server, which is not asked: {to}")]
    Elsewhere {
        /// Which server. Its path and query may hold a token, and clients read this.
        to: String,
    },
    /// A redirect to nowhere. What it said instead is not repeated, as above.
    #[error("the origin redirects, and its Location is missing or no URL")]
    Location,
    /// One redirect after another.
    #[error("the origin redirected more than {limit} times")]
    Circles {
        /// The redirects that are followed.
        limit: usize,
    },
}

impl From<BadHttpUrl> for OpenError {
    fn from(bad: BadHttpUrl) -> Self {
        Self::Url(bad)
    }
}

/// What to do about a certificate that nobody vouches for; rustls' own words behind it say that it is so.
fn hint(failure: &io::Error) -> &'static str {
    let failure = failure.get_ref().and_then(|inner| inner.downcast_ref::<rustls::Error>());
    match failure {
        Some(rustls::Error::InvalidCertificate(rustls::CertificateError::UnknownIssuer)) => {
            "; to trust its certificate, name that of the issuer in the origin's ca"
        }
        _ => "",
    }
}

fn quoted(said: &str) -> String {
    if said.is_empty() { String::new() } else { format!(": \"{said}\"") }
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
