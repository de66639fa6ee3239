//! Origins: where a node reads the values that it does not hold.
//!
//! Each kind is a file; which kinds there are is known here and nowhere else. Settings are read from the command line
//! or the configuration, and become an origin before the node listens. What it reads from need not be there yet: loads
//! fail until it is. An origin is only read, and is never asked twice for one load.

mod alarm;
pub mod directory;
pub mod error;
pub mod http;
mod reader;
pub mod slow;
pub mod sqlite;
pub mod table;
pub mod url;

use std::path::PathBuf;
use std::time::Duration;

use carrotcache::{ByteSize, Charge, Key, Loaded};

use crate::origin::directory::Directory;
use crate::origin::error::{OpenError, OriginError};
use crate::origin::http::{Bounds, Http, HttpSettings};
use crate::origin::sqlite::{Sqlite, SqliteSettings};
use crate::origin::table::{Entries, Table};

/// How much later an origin gives up than a group does, lest one race the other for which error it is.
const LATER: Duration = Duration::from_secs(1);

/// What an origin is made of. Nothing is opened by having one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum OriginSettings {
    /// No origin: the group holds what is set, and nothing else.
    Nothing,
    /// The entries of a fixed table.
    Table(Entries),
    /// One query of one SQLite file.
    Sqlite {
        /// The database.
        file: PathBuf,
        /// One statement that reads, with one parameter: the key.
        query: String,
    },
    /// An API over HTTP or HTTPS.
    Http(HttpSettings),
    /// The files of a directory.
    Directory {
        /// The directory.
        path: PathBuf,
    },
}

/// What a group allows its origin.
#[derive(Clone, Copy, Debug)]
pub struct Allowance {
    /// A load ends by then, whatever the origin does.
    pub load_deadline: Duration,
    /// Loads at once.
    pub max_loads: usize,
    /// The largest value that will be taken: no origin reads more than this, and a little.
    pub value_max: ByteSize,
    /// How long the group serves a value; `None`: without end. An origin can only shorten it.
    pub ttl: Option<Duration>,
}

/// An origin that can be asked.
#[derive(Debug)]
pub enum Origin {
    /// None: no key has a value here.
    Nothing,
    /// A fixed table.
    Table(Table),
    /// One query of one SQLite file.
    Sqlite(Sqlite),
    /// An API over HTTP or HTTPS.
    Http(Http),
    /// The files of a directory.
    Directory(Directory),
}

impl Origin {
    /// Makes an origin of its settings. Blocks while a database is looked at and its query is checked: call it before
    /// the node serves anyone.
    ///
    /// # Errors
    /// What no waiting can mend, see [`OpenError`]. Nothing is left running.
    pub fn open(settings: OriginSettings, allowed: Allowance) -> Result<Self, OpenError> {
        Ok(match settings {
            OriginSettings::Nothing => Self::Nothing,
            OriginSettings::Table(entries) => Self::Table(Table::new(entries)),
            OriginSettings::Sqlite { file, query } => {
                let mut settings =
                    SqliteSettings::new(file, query, allowed.load_deadline.saturating_add(LATER));
                // No load that a group lets through is refused here.
                settings.queue = settings.queue.max(allowed.max_loads);
                Self::Sqlite(Sqlite::open(&settings)?)
            }
            OriginSettings::Http(settings) => {
                let deadline = allowed.load_deadline.saturating_add(LATER);
                let bounds = Bounds { deadline, value_max: allowed.value_max, ttl: allowed.ttl };
                Self::Http(Http::open(settings, bounds)?)
            }
            OriginSettings::Directory { path } => Self::Directory(Directory::new(path, allowed.value_max)),
        })
    }

    /// The value of `key`, or `None` where the origin has none; charged as it is read, before it is taken in.
    ///
    /// Dropping the future abandons the answer; what is under way ends at its deadline at the latest.
    ///
    /// # Errors
    /// See [`OriginError`]. A table never fails: what it has is in memory already.
    pub async fn load_charged(&self, key: Key, charge: &Charge) -> Result<Option<Loaded>, OriginError> {
        match self {
            Self::Nothing => Ok(None),
            Self::Table(table) => Ok(table.load(&key).map(Loaded::new)),
            Self::Sqlite(sqlite) => Ok(sqlite.load_charged(key, charge).await?.map(Loaded::new)),
            Self::Http(http) => http.load_charged(&key, charge).await,
            Self::Directory(directory) => Ok(directory.load_charged(&key, charge).await?.map(Loaded::new)),
        }
    }

    /// Whether it answers now. Asks for no value, and is not counted as a load. May take as long as a load.
    ///
    /// # Errors
    /// What keeps it from answering. A table always answers.
    pub async fn probe(&self) -> Result<(), OriginError> {
        match self {
            Self::Nothing | Self::Table(_) => Ok(()),
            Self::Sqlite(sqlite) => sqlite.probe().await,
            Self::Http(http) => http.probe().await,
            Self::Directory(directory) => directory.probe().await,
        }
    }

    /// How often it was asked, whatever it answered.
    pub fn loads(&self) -> u64 {
        match self {
            Self::Nothing => 0,
            Self::Table(table) => table.loads(),
            Self::Sqlite(sqlite) => sqlite.loads(),
            Self::Http(http) => http.loads(),
            Self::Directory(directory) => directory.loads(),
        }
    }
}
