//! Origins: where a node reads the values that it does not hold.
//!
//! Known here are a fixed table and a SQLite file, named by a URL on the command line. A node opens its origins
//! before it listens, and drops them last. An origin is only read; it is never asked twice for one load.

mod alarm;
pub mod error;
mod reader;
pub mod slow;
pub mod sqlite;
pub mod table;

use std::path::PathBuf;
use std::str::FromStr;
use std::time::Duration;

use bytes::Bytes;
use carrotcache::Key;

use crate::origin::error::{BadOriginUrl, OpenError, OriginError};
use crate::origin::sqlite::{Sqlite, SqliteSettings};
use crate::origin::table::{Entries, Table};

/// How much later an origin gives up than a group does.
const LATER: Duration = Duration::from_secs(1);

/// An origin that is open and can be asked.
#[derive(Debug)]
pub enum Origin {
    /// A fixed table.
    Table(Table),
    /// One query of one SQLite file.
    Sqlite(Sqlite),
}

impl Origin {
    /// The value of `key`, or `None` where the origin has none.
    ///
    /// Dropping the future abandons the answer; a query under way ends at its deadline at the latest.
    ///
    /// # Errors
    /// See [`OriginError`]. A table never fails.
    pub async fn load(&self, key: Key) -> Result<Option<Bytes>, OriginError> {
        match self {
            Self::Table(table) => Ok(table.load(&key)),
            Self::Sqlite(sqlite) => sqlite.load(key).await,
        }
    }

    /// How often it was asked, whatever it answered.
    pub fn loads(&self) -> u64 {
        match self {
            Self::Table(table) => table.loads(),
            Self::Sqlite(sqlite) => sqlite.loads(),
        }
    }
}

/// An origin as it is named, not opened: `sqlite:FILE` or `table:k=v,k2=v2`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum OriginUrl {
    /// The entries of a fixed table.
    Table(Entries),
    /// A SQLite file, as it was written.
    Sqlite(PathBuf),
}

impl FromStr for OriginUrl {
    type Err = BadOriginUrl;

    fn from_str(text: &str) -> Result<Self, BadOriginUrl> {
        let shown = |text: &str| text.chars().take(80).collect::<String>();
        let (kind, rest) = text.split_once(':').ok_or_else(|| BadOriginUrl::NoKind(shown(text)))?;
        match kind {
            "table" => Ok(Self::Table(table::parse(rest)?)),
            "sqlite" if rest.is_empty() => Err(BadOriginUrl::NoFile),
            "sqlite" => Ok(Self::Sqlite(PathBuf::from(rest))),
            unknown => Err(BadOriginUrl::UnknownKind(shown(unknown))),
        }
    }
}

impl OriginUrl {
    /// Opens the origin, for groups whose loads end within `load_deadline` and are `max_loads` at once. Their deadline also ends what they asked
    /// of the origin; its own comes a moment later, lest one race the other for which error it is.
    ///
    /// Blocks while a database is opened and its query is checked: call it before the node serves anyone.
    ///
    /// # Errors
    /// See [`OpenError`]. Nothing is left running.
    pub fn open(
        self,
        query: Option<String>,
        load_deadline: Duration,
        max_loads: usize,
    ) -> Result<Origin, OpenError> {
        match (self, query) {
            (Self::Table(entries), None) => Ok(Origin::Table(Table::new(entries))),
            (Self::Table(_), Some(_)) => Err(OpenError::UselessQuery),
            (Self::Sqlite(file), None) => Err(OpenError::NoQuery(file)),
            (Self::Sqlite(file), Some(query)) => {
                let mut settings = SqliteSettings::new(file, query, load_deadline.saturating_add(LATER));
                // No load that a group lets through is refused here.
                settings.queue = settings.queue.max(max_loads);
                Ok(Origin::Sqlite(Sqlite::open(&settings)?))
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const DEADLINE: Duration = Duration::from_secs(10);

    fn refusal(url: &str) -> String {
        url.parse::<OriginUrl>().unwrap_err().to_string()
    }

    #[test]
    fn urls_name_a_kind_that_is_known() {
        assert_eq!("sqlite:a:b.db".parse(), Ok(OriginUrl::Sqlite(PathBuf::from("a:b.db"))));
        assert!(matches!("table:a=b:c".parse(), Ok(OriginUrl::Table(_))));
        for (url, line) in [
            ("app.db", "origin \"app.db\" names no kind; known: sqlite:FILE, table:k=v,…"),
            ("", "origin \"\" names no kind; known: sqlite:FILE, table:k=v,…"),
            ("http://a/{key}", "origin kind http is not known; known: sqlite:FILE, table:k=v,…"),
            ("dir:public", "origin kind dir is not known; known: sqlite:FILE, table:k=v,…"),
            ("sqlite:", "origin sqlite: names no file, as in sqlite:app.db"),
        ] {
            assert_eq!(refusal(url), line);
        }
    }

    #[test]
    fn a_query_belongs_to_a_database_and_to_nothing_else() {
        let table: OriginUrl = "table:a=b".parse().unwrap();
        let line = table.open(Some("select 1".into()), DEADLINE, 256).unwrap_err().to_string();
        assert_eq!(line, "a query is for origins of kind sqlite alone");

        let sqlite: OriginUrl = "sqlite:app.db".parse().unwrap();
        let line = sqlite.open(None, DEADLINE, 256).unwrap_err().to_string();
        assert!(line.starts_with("origin sqlite:app.db needs a query"), "{line}");
    }

    #[tokio::test]
    async fn an_open_table_answers_and_counts() {
        let origin = "table:Tom=630".parse::<OriginUrl>().unwrap().open(None, DEADLINE, 256).unwrap();
        assert_eq!(origin.load(Key::from("Tom")).await.unwrap().as_deref(), Some(&b"630"[..]));
        assert_eq!(origin.load(Key::from("Tim")).await.unwrap(), None);
        assert_eq!(origin.loads(), 2);
    }
}
