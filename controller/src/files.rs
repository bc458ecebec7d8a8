//! Files that must be whole and, where they hold a secret, nobody else's.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

/// A file that can't be used, and what was being done with it.
#[derive(Debug, thiserror::Error)]
#[error("{doing} {path}")]
pub struct FileError {
    pub doing: &'static str,
    pub path: PathBuf,
    #[source]
    pub source: io::Error,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Access {
    /// Mode 0600.
    Secret,
    /// Mode 0644.
    Public,
}

/// A folder that only its owner may enter; it may exist.
pub fn create_private_dir(path: &Path) -> Result<(), FileError> {
    fs::DirBuilder::new()
        .recursive(true)
        .mode(0o700)
        .create(path)
        .map_err(|e| failed("creating", path, e))
}

/// Replaces a file as a whole: new file, sync, rename, sync of the folder.
pub fn write_atomic(path: &Path, bytes: &[u8], access: Access) -> Result<(), FileError> {
    let mode = match access {
        Access::Secret => 0o600,
        Access::Public => 0o644,
    };
    let partial = path.with_extension("partial");
    let write = || -> io::Result<()> {
        if partial.exists() {
            fs::remove_file(&partial)?;
        }
        let mut file = OpenOptions::new().write(true).create_new(true).mode(mode).open(&partial)?;
        file.write_all(bytes)?;
        file.sync_all()?;
        fs::rename(&partial, path)?;
        match path.parent() {
            Some(parent) if !parent.as_os_str().is_empty() => File::open(parent)?.sync_all(),
            _ => Ok(()),
        }
    };
    write().map_err(|e| failed("writing", path, e))
}

/// A whole text file of at most `limit` bytes.
pub fn read_text(path: &Path, limit: u64) -> Result<String, FileError> {
    let read = || {
        let length = fs::metadata(path)?.len();
        if length > limit {
            return Err(io::Error::other(format!("{length} bytes is too much")));
        }
        fs::read_to_string(path)
    };
    read().map_err(|e| failed("reading", path, e))
}

fn failed(doing: &'static str, path: &Path, source: io::Error) -> FileError {
    FileError { doing, path: path.to_owned(), source }
}
