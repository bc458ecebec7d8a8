//! Files that are whole or not there: written aside, synced, renamed, their directory synced.

use std::fs::{self, DirBuilder, File, OpenOptions, TryLockError};
use std::io::{self, Read, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};

/// A file of the state directory that can't be used.
#[derive(Debug, thiserror::Error)]
#[error("can't {what} {path}")]
pub struct FileError {
    pub what: &'static str,
    pub path: PathBuf,
    #[source]
    pub source: io::Error,
}

/// Makes a directory that only its owner can enter, or takes others' rights from one that exists.
///
/// # Errors
/// It can't be made or changed.
pub fn private_dir(path: &Path) -> Result<(), FileError> {
    let made = DirBuilder::new().recursive(true).mode(0o700).create(path);
    made.map_err(at("create", path))?;
    fs::set_permissions(path, fs::Permissions::from_mode(0o700)).map_err(at("protect", path))
}

/// Takes the state directory for this process; held as long as the file is open. `None`: another
/// process has it.
///
/// # Errors
/// The lock file can't be made.
pub fn lock_dir(state_dir: &Path) -> Result<Option<File>, FileError> {
    let path = state_dir.join("lock");
    let opened =
        OpenOptions::new().write(true).create(true).truncate(false).mode(0o600).open(&path);
    let file = opened.map_err(at("open", &path))?;
    match file.try_lock() {
        Ok(()) => Ok(Some(file)),
        Err(TryLockError::WouldBlock) => Ok(None),
        Err(TryLockError::Error(error)) => Err(at("lock", &path)(error)),
    }
}

/// Replaces a file's content (0600). After a crash the old or the new one is there, never a part.
///
/// # Errors
/// The first step that failed; the old content is still there then.
pub fn write_synced(path: &Path, content: &[u8]) -> Result<(), FileError> {
    let aside = aside(path);
    write_aside(&aside, content).map_err(at("write", &aside))?;
    fs::rename(&aside, path).map_err(at("replace", path))?;
    let dir = path.parent().unwrap_or(Path::new("."));
    File::open(dir).and_then(|d| d.sync_all()).map_err(at("sync", dir))
}

/// The whole content; `None` if there is no such file.
///
/// # Errors
/// It can't be read, or is larger than `max_bytes`.
pub fn read_bounded(path: &Path, max_bytes: u64) -> Result<Option<Vec<u8>>, FileError> {
    let file = match File::open(path) {
        Ok(file) => file,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(at("open", path)(error)),
    };
    let mut content = Vec::new();
    file.take(max_bytes + 1).read_to_end(&mut content).map_err(at("read", path))?;
    if content.len() as u64 > max_bytes {
        return Err(at("read", path)(io::Error::from(io::ErrorKind::FileTooLarge)));
    }
    Ok(Some(content))
}

/// Where new content is written before it is renamed. One writer per file, so one name is enough.
pub(super) fn aside(path: &Path) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(".new");
    PathBuf::from(name)
}

fn write_aside(path: &Path, content: &[u8]) -> io::Result<()> {
    let mut file =
        OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(path)?;
    // The mode above counts only for a file that did not exist.
    file.set_permissions(fs::Permissions::from_mode(0o600))?;
    file.write_all(content)?;
    file.sync_all()
}

pub(crate) fn at(what: &'static str, path: &Path) -> impl FnOnce(io::Error) -> FileError {
    move |source| FileError { what, path: path.to_owned(), source }
}
