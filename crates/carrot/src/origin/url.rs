//! An origin as the command line names it: `sqlite:FILE`, `table:k=v,…`, `http(s)://…/{key}`, `dir:PATH`.
//!
//! Only the spelling is known here; what it means is in the file of its kind.

use std::path::PathBuf;
use std::str::FromStr;

use crate::origin::OriginSettings;
use crate::origin::error::{BadOriginUrl, OpenError};
use crate::origin::http::HttpSettings;
use crate::origin::table::{self, Entries};

/// An origin as it is named, not opened.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum OriginUrl {
    /// The entries of a fixed table.
    Table(Entries),
    /// A SQLite file, as it was written.
    Sqlite(PathBuf),
    /// An API over HTTP or HTTPS, as it was written.
    Http(String),
    /// A directory, as it was written.
    Directory(PathBuf),
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
            "http" | "https" => Ok(Self::Http(text.to_owned())),
            "dir" if rest.is_empty() => Err(BadOriginUrl::NoDirectory),
            "dir" => Ok(Self::Directory(PathBuf::from(rest))),
            unknown => Err(BadOriginUrl::UnknownKind(shown(unknown))),
        }
    }
}

impl OriginUrl {
    /// The settings that it stands for, with what a database is asked.
    ///
    /// # Errors
    /// A database without a query, a query without a database, a URL that is none.
    pub fn settings(self, query: Option<String>) -> Result<OriginSettings, OpenError> {
        match (self, query) {
            (Self::Sqlite(file), Some(query)) => Ok(OriginSettings::Sqlite { file, query }),
            (Self::Sqlite(file), None) => Err(OpenError::NoQuery(file)),
            (_, Some(_)) => Err(OpenError::UselessQuery),
            (Self::Table(entries), None) => Ok(OriginSettings::Table(entries)),
            (Self::Http(url), None) => Ok(OriginSettings::Http(HttpSettings::new(&url)?)),
            (Self::Directory(path), None) => Ok(OriginSettings::Directory { path }),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn refusal(url: &str) -> String {
        url.parse::<OriginUrl>().unwrap_err().to_string()
    }

    #[test]
    fn urls_name_a_kind_that_is_known() {
        assert_eq!("sqlite:a:b.db".parse(), Ok(OriginUrl::Sqlite(PathBuf::from("a:b.db"))));
        assert!(matches!("table:a=b:c".parse(), Ok(OriginUrl::Table(_))));
        assert_eq!("dir:a/b".parse(), Ok(OriginUrl::Directory(PathBuf::from("a/b"))));
        assert!(matches!("https://a/{key}".parse(), Ok(OriginUrl::Http(_))));
        let known = "known: sqlite:FILE, http://…/{key}, https://…/{key}, dir:PATH, table:k=v,…";
        for (url, line) in [
            ("app.db", format!("origin \"app.db\" names no kind; {known}")),
            ("", format!("origin \"\" names no kind; {known}")),
            ("ftp://a/{key}", format!("origin kind ftp is not known; {known}")),
            ("sqlite:", "origin sqlite: names no file, as in sqlite:app.db".to_owned()),
            ("dir:", "origin dir: names no directory, as in dir:public".to_owned()),
        ] {
            assert_eq!(refusal(url), line);
        }
    }

    #[test]
    fn a_query_belongs_to_a_database_and_to_nothing_else() {
        for url in ["table:a=b", "dir:public", "http://a/{key}"] {
            let url: OriginUrl = url.parse().unwrap();
            let line = url.settings(Some("select 1".into())).unwrap_err().to_string();
            assert_eq!(line, "a query is for origins of kind sqlite alone");
        }
        let sqlite: OriginUrl = "sqlite:app.db".parse().unwrap();
        let line = sqlite.settings(None).unwrap_err().to_string();
        assert!(line.starts_with("origin sqlite:app.db needs a query"), "{line}");
    }
}
