//! The origin that is a directory: each key names a file in it.

use std::path::PathBuf;

use bytes::Bytes;
use carrotcache::Key;

use crate::origin::Allowance;
use crate::origin::error::{OpenError, OriginError};

/// A directory that can be asked.
#[derive(Debug)]
pub struct Directory {}

impl Directory {
    /// Makes it ready to be asked.
    ///
    /// # Errors
    /// See [`OpenError`].
    pub fn open(_path: PathBuf, _allowed: Allowance) -> Result<Self, OpenError> {
        Ok(Self {})
    }

    /// The content of the file that `key` names.
    ///
    /// # Errors
    /// See [`OriginError`].
    pub async fn load(&self, _key: &Key) -> Result<Option<Bytes>, OriginError> {
        Err(OriginError::Closing)
    }

    /// How often it was asked.
    pub fn loads(&self) -> u64 {
        0
    }
}
