//! The demonstration's database: part of the program, written out while it runs.
//!
//! It goes to a new directory under the system's directory for temporary files, which only this user may enter, so
//! that another program can change a row and the change be seen. It goes away with its owner, at a clean exit.

use std::io;
use std::path::{Path, PathBuf};

use tempfile::TempDir;

/// A database that is on disk for as long as this value lives.
#[derive(Debug)]
pub struct DemoData {
    dir: TempDir,
    file: PathBuf,
}

impl DemoData {
    /// Writes `bytes` as `name` into a directory of its own. Blocks.
    ///
    /// # Errors
    /// When there is no room, or no directory for temporary files.
    pub fn write(name: &str, bytes: &[u8]) -> io::Result<Self> {
        let dir = tempfile::Builder::new().prefix("carrot-demo-").tempdir()?;
        let file = dir.path().join(name);
        std::fs::write(&file, bytes)?;
        Ok(Self { dir, file })
    }

    /// The database. Close it before the data is removed.
    pub fn file(&self) -> &Path {
        &self.file
    }

    /// Removes the directory and all that is in it, a writer's `-wal` included. Dropping does the same, silently.
    ///
    /// # Errors
    /// When something in it cannot be removed.
    pub fn remove(self) -> io::Result<()> {
        self.dir.close()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_demonstration_has_a_file_of_its_own_and_leaves_nothing_behind() {
        let first = DemoData::write("chars.db", b"one").unwrap();
        let second = DemoData::write("chars.db", b"two").unwrap();
        assert_eq!(std::fs::read(first.file()).unwrap(), b"one");
        assert_eq!(std::fs::read(second.file()).unwrap(), b"two");

        let dirs = [first.file().parent().unwrap().to_owned(), second.file().parent().unwrap().to_owned()];
        std::fs::write(dirs[0].join("chars.db-wal"), b"").unwrap();
        first.remove().unwrap();
        drop(second);
        assert!(dirs.iter().all(|dir| !dir.exists()));
    }
}
