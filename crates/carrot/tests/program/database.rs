//! A SQLite file of pages, and a connection to it: the other program that writes what a node reads.
//!
//! Each has a directory of its own. A lock that this process holds is how a test makes an origin slow: it lasts
//! exactly as long as the test wants.

use rusqlite::Connection;
use tempfile::TempDir;

pub(crate) const QUERY: &str = "select body from pages where id = ?1";

/// A database in a directory of its own.
pub(crate) struct Pages {
    pub(crate) directory: TempDir,
    writer: Connection,
}

impl Pages {
    /// One with these pages. The journal mode says how readers and the writer keep out of each other's way: in
    /// `delete` by locks, in `wal` not at all.
    pub(crate) fn new(journal_mode: &str, pages: &[(&str, &str)]) -> Self {
        let directory = tempfile::tempdir().unwrap();
        let writer = Connection::open(directory.path().join("app.db")).unwrap();
        writer.pragma_update(None, "journal_mode", journal_mode).unwrap();
        writer.execute_batch("create table pages(id text primary key, body text); begin").unwrap();
        for (id, body) in pages {
            writer.execute("insert into pages values (?1, ?2)", [id, body]).unwrap();
        }
        writer.execute_batch("commit").unwrap();
        Self { directory, writer }
    }

    /// Pages named `0`, `1` and so on, each with a body that tells it from the others.
    pub(crate) fn numbered(count: usize) -> Self {
        let pages: Vec<(String, String)> = (0..count).map(|n| (n.to_string(), body(n))).collect();
        let pages: Vec<(&str, &str)> = pages.iter().map(|(id, body)| (&**id, &**body)).collect();
        Self::new("delete", &pages)
    }

    pub(crate) fn write(&self, id: &str, body: &str) {
        let changed = self.writer.execute("update pages set body = ?2 where id = ?1", [id, body]).unwrap();
        assert_eq!(changed, 1, "{id}");
    }

    /// From now on nobody can read the file, in journal mode `delete`.
    pub(crate) fn lock(&self) {
        self.writer.execute_batch("begin exclusive").unwrap();
    }

    pub(crate) fn unlock(&self) {
        self.writer.execute_batch("commit").unwrap();
    }
}

/// The body of a numbered page.
pub(crate) fn body(number: usize) -> String {
    format!("body of {number}")
}

/// The flags of a node in front of such a database, in whose directory it runs.
pub(crate) const SERVE: [&str; 6] = ["--group", "pages", "--origin", "sqlite:app.db", "--query", QUERY];
