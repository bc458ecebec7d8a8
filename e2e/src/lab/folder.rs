//! The state folder of a lab: a control socket, and the supervisor's log, whose lock says that the lab lives.

use super::error::LabError;
use std::fs::{self, DirBuilder, File, OpenOptions};
use std::io;
use std::os::unix::fs::{DirBuilderExt, MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

const LOG: &str = "supervisor.log";
const SOCKET: &str = "control.sock";
const MAX_NAME: usize = 48;

/// Where all labs of this user keep their state: `$HAWSER_LAB_DIR`, else `/tmp/hawser-lab-UID`.
#[must_use]
pub fn base() -> PathBuf {
    match std::env::var_os("HAWSER_LAB_DIR") {
        Some(dir) if !dir.is_empty() => PathBuf::from(dir),
        _ => PathBuf::from(format!("/tmp/hawser-lab-{}", nix::unistd::geteuid())),
    }
}

pub(crate) fn of(name: &str) -> PathBuf {
    base().join(name)
}

pub(crate) fn socket(folder: &Path) -> PathBuf {
    folder.join(SOCKET)
}

pub(crate) fn log(folder: &Path) -> PathBuf {
    folder.join(LOG)
}

/// Claims a lab's name: makes its folder, and returns the locked log. The lock holds as long as any copy of the
/// descriptor is open, so it ends with the supervisor however that ends.
pub(crate) fn claim(name: &str) -> Result<(PathBuf, File), LabError> {
    check_name(name)?;
    let base = base();
    make_private(&base)?;
    let folder = base.join(name);
    // A supervisor that ends removes its folder: then the lock was won on a file that is gone, and the next try counts.
    for _ in 0..10 {
        make_private(&folder)?;
        if let Some(file) = lock(&folder, name)? {
            match fs::remove_file(socket(&folder)) {
                Err(error) if error.kind() != io::ErrorKind::NotFound => {
                    return Err(LabError::io("the stale control socket can't be removed")(error));
                }
                _ => return Ok((folder, file)),
            }
        }
    }
    Err(LabError::NameTaken { name: name.to_owned() })
}

/// Names of the labs that run.
///
/// # Errors
/// The base folder exists, but can't be read.
pub fn running() -> Result<Vec<String>, LabError> {
    let entries = match fs::read_dir(base()) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        other => other.map_err(LabError::io("the labs' folder can't be read"))?,
    };
    let mut names: Vec<String> = entries
        .filter_map(Result::ok)
        .filter(|entry| is_alive(&entry.path()))
        .filter_map(|entry| entry.file_name().into_string().ok())
        .collect();
    names.sort();
    Ok(names)
}

pub(crate) fn is_alive(folder: &Path) -> bool {
    let Ok(file) = File::open(log(folder)) else { return false };
    file.try_lock_shared().is_err()
}

fn check_name(name: &str) -> Result<(), LabError> {
    let fine = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || "-_.".contains(c);
    let starts = name.starts_with(|c: char| c.is_ascii_lowercase() || c.is_ascii_digit());
    if starts && name.len() <= MAX_NAME && name.chars().all(fine) {
        return Ok(());
    }
    Err(LabError::BadName { name: name.to_owned() })
}

fn make_private(folder: &Path) -> Result<(), LabError> {
    let context = || format!("{} can't be made", folder.display());
    match DirBuilder::new().mode(0o700).create(folder) {
        Err(error) if error.kind() != io::ErrorKind::AlreadyExists => {
            return Err(LabError::io(context())(error));
        }
        _ => {}
    }
    // /tmp is everyone's: what stands there already must be ours alone.
    let found = fs::symlink_metadata(folder).map_err(LabError::io(context()))?;
    if !found.is_dir()
        || found.uid() != nix::unistd::geteuid().as_raw()
        || found.mode() & 0o077 != 0
    {
        let kind = io::ErrorKind::PermissionDenied;
        let source = io::Error::new(kind, "it must be a folder of this user with mode 0700");
        return Err(LabError::io(format!("{} can't be used", folder.display()))(source));
    }
    Ok(())
}

fn lock(folder: &Path, name: &str) -> Result<Option<File>, LabError> {
    let path = log(folder);
    let opened = OpenOptions::new()
        .create(true)
        .read(true)
        .append(true)
        .mode(0o600)
        .custom_flags(libc::O_NOFOLLOW)
        .open(&path);
    let file = match opened {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        other => other.map_err(LabError::io("the supervisor's log can't be opened"))?,
    };
    if file.try_lock().is_err() {
        return Err(LabError::NameTaken { name: name.to_owned() });
    }
    let ours = file.metadata().map_err(LabError::io("the supervisor's log can't be read"))?;
    if !fs::metadata(&path).is_ok_and(|there| there.ino() == ours.ino()) {
        return Ok(None);
    }
    file.set_len(0).map_err(LabError::io("the supervisor's log can't be emptied"))?;
    Ok(Some(file))
}
