//! The origin that is a directory: each key names a file below it, as in `css/site.css`.
//!
//! Keys come from strangers, so what a key may name is narrow: a regular file, by names that do not begin with a dot,
//! with no symbolic link on the way. Whatever else it names, or tries to, is not found, and nothing tells whether it
//! is there. Two fences stand one behind the other: the spelling of the key is checked here, and the way is walked
//! with cap-std, name by name from the handle of the root, so that a name is never looked up outside of it.
//!
//! The root may come later and may be replaced, also by a link that is moved, so it is opened for each load: to ask
//! whether it is still the same would cost as much. Reading blocks, hence it runs on the runtime's threads for that,
//! a few at a time. A file that is replaced by a rename is read whole, old or new; one that is written in place is
//! read as it stands. Nothing is ever written.

use std::ffi::OsStr;
use std::io::{self, Read};
use std::os::unix::ffi::OsStrExt;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use bytes::Bytes;
use cap_fs_ext::{DirExt, FollowSymlinks, OpenOptionsFollowExt, OpenOptionsSyncExt};
use cap_std::ambient_authority;
use cap_std::fs::{Dir, File, OpenOptions};
use carrotcache::{ByteSize, Charge, Key};
use rustix::io::Errno;
use tokio::sync::Semaphore;

use crate::origin::error::{OpenError, OriginError};

/// Reads at once. The runtime has 512 threads for what blocks, for all groups and for looking up names: where a file
/// system hangs, these many are held and no more. What waits for its turn ends with its load's deadline.
const READS: usize = 16;

/// A directory that can be asked.
#[derive(Debug)]
pub struct Directory {
    root: Arc<Root>,
    reads: Arc<Semaphore>,
    loads: AtomicU64,
}

impl Directory {
    /// The files of the directory at `path`, which need not be there yet, up to `value_max` each.
    pub fn new(path: PathBuf, value_max: ByteSize) -> Self {
        let root = Arc::new(Root { path, limit: value_max.as_u64() });
        Self { root, reads: Arc::new(Semaphore::new(READS)), loads: AtomicU64::new(0) }
    }

    /// The content of the file that `key` names; `None` where it names none that may be read. Charged by its length before
    /// it is read.
    ///
    /// Dropping the future abandons the answer; a read under way ends by itself.
    ///
    /// # Errors
    /// When the root cannot be opened, or the file is too large or cannot be read.
    pub async fn load_charged(&self, key: &Key, charge: &Charge) -> Result<Option<Bytes>, OriginError> {
        self.loads.fetch_add(1, Ordering::Relaxed);
        let (key, charge) = (key.clone(), charge.clone());
        self.on_a_thread(move |root| root.read_charged(key.as_bytes(), &charge)).await
    }

    /// The same, charged to nobody.
    #[cfg(test)]
    pub async fn load(&self, key: &Key) -> Result<Option<Bytes>, OriginError> {
        self.load_charged(key, &Charge::default()).await
    }

    /// Whether the root can be opened.
    ///
    /// # Errors
    /// Why not.
    pub async fn probe(&self) -> Result<(), OriginError> {
        self.on_a_thread(|root| Ok(root.open().map(drop)?)).await
    }

    /// How often it was asked.
    pub fn loads(&self) -> u64 {
        self.loads.load(Ordering::Relaxed)
    }

    async fn on_a_thread<T: Send + 'static>(
        &self,
        read: impl FnOnce(&Root) -> Result<T, OriginError> + Send + 'static,
    ) -> Result<T, OriginError> {
        let turn = Arc::clone(&self.reads).acquire_owned().await;
        let root = Arc::clone(&self.root);
        let reading = tokio::task::spawn_blocking(move || {
            // Given back by the thread, not by its caller, who may be gone before the file system answers.
            let _turn = turn;
            read(&root)
        });
        // Not begun because the runtime stops.
        reading.await.unwrap_or(Err(OriginError::Closing))
    }
}

/// What a read needs to know.
#[derive(Debug)]
struct Root {
    /// As it was named. Links on the way to it are the operator's own, and are followed.
    path: PathBuf,
    /// The largest file that is read.
    limit: u64,
}

impl Root {
    fn open(&self) -> Result<Dir, OpenError> {
        Dir::open_ambient_dir(&self.path, ambient_authority()).map_err(|source| match source.kind() {
            io::ErrorKind::NotFound => OpenError::MissingDirectory(self.path.clone()),
            io::ErrorKind::NotADirectory => OpenError::NotADirectory(self.path.clone()),
            _ => OpenError::Directory { path: self.path.clone(), source },
        })
    }

    fn read_charged(&self, key: &[u8], charge: &Charge) -> Result<Option<Bytes>, OriginError> {
        // First, so that no key is "not found" in a directory that is not there.
        let root = self.open()?;
        let Some(names) = names(key) else { return Ok(None) };
        match find(root, &names) {
            Ok(Some((file, length))) => {
                // As long as it is now; one that grows meanwhile is charged whole when the group has it.
                charge.grow(length.min(self.limit))?;
                content(file, length, self.limit).map(Some)
            }
            Ok(None) => Ok(None),
            Err(failure) if names_nothing(&failure) => Ok(None),
            Err(failure) => Err(OriginError::File(failure)),
        }
    }
}

#[cfg(test)]
impl Root {
    fn read(&self, key: &[u8]) -> Result<Option<Bytes>, OriginError> {
        self.read_charged(key, &Charge::default())
    }
}

/// The names on the way to the file, its own last; `None` where a key cannot name a file.
fn names(key: &[u8]) -> Option<Vec<&OsStr>> {
    key.split(|byte| *byte == b'/').map(|name| is_name(name).then(|| OsStr::from_bytes(name))).collect()
}

/// One name. Those that begin with a dot are `.`, `..` and what is hidden: configurations, keys, histories. A
/// backslash divides names on other systems: a key must not mean another file there than here.
fn is_name(name: &[u8]) -> bool {
    !name.is_empty() && name[0] != b'.' && !name.iter().any(|byte| matches!(byte, 0 | b'\\'))
}

/// Walks to the file and opens it. Gives its length as it was then; `None` if it is not a regular file.
fn find(root: Dir, names: &[&OsStr]) -> io::Result<Option<(File, u64)>> {
    let Some((file, directories)) = names.split_last() else { return Ok(None) };
    let directory = directories.iter().try_fold(root, |above, name| above.open_dir_nofollow(name))?;
    // What counts is the handle; but to open a device is to do something with it, so the name is looked at first.
    if directory.symlink_metadata(file)?.is_file() { open_file(&directory, file) } else { Ok(None) }
}

/// Opens what has that name now: no link, and `None` if it is not a regular file. Never waits for a pipe's other end.
fn open_file(directory: &Dir, name: &OsStr) -> io::Result<Option<(File, u64)>> {
    let mut options = OpenOptions::new();
    options.read(true).follow(FollowSymlinks::No).nonblock(true);
    let file = directory.open_with(name, &options)?;
    let metadata = file.metadata()?;
    Ok(metadata.is_file().then(|| (file, metadata.len())))
}

/// Whether a failure says that the names lead to no file of ours. All others, as a lack of permission, may pass.
fn names_nothing(failure: &io::Error) -> bool {
    match Errno::from_io_error(failure) {
        // In turn: nothing by that name, a file or a link on the way, a link at its end, a name longer than any can
        // be, a name that the file system cannot have, a socket.
        Some(errno) => [
            Errno::NOENT,
            Errno::NOTDIR,
            Errno::LOOP,
            Errno::NAMETOOLONG,
            Errno::INVAL,
            Errno::ILSEQ,
            Errno::NXIO,
        ]
        .contains(&errno),
        None => false,
    }
}

/// All of a file of that length. Reads one byte past the limit at most, however the file grows meanwhile.
fn content(file: impl Read, length: u64, limit: u64) -> Result<Bytes, OriginError> {
    if length > limit {
        return Err(OriginError::LargeFile { length, limit });
    }
    let mut bytes = Vec::with_capacity(usize::try_from(length).unwrap_or_default());
    file.take(limit.saturating_add(1)).read_to_end(&mut bytes).map_err(OriginError::File)?;
    match bytes.len() as u64 {
        length if length > limit => Err(OriginError::LargeFile { length, limit }),
        _ => Ok(bytes.into()),
    }
}

#[cfg(test)]
mod tests;
