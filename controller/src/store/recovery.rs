//! Opening a database that may have been killed, cut off or overwritten.
//!
//! sled may refuse to open, panic while it opens or reads, or open an older state without a word.
//! Each of them ends in the same place: the damaged folder is put aside and a new one is filled
//! from the newest good export.

use std::fs;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};
use std::time::Duration;

use super::export::{self, Export, file_error};
use super::sled::{REVISION_KEY, decode_revision, encode};
use super::{RESTORED_KEY, Revision, StoreError};

const LOCK_TRIES: u32 = 50;
const LOCK_WAIT: Duration = Duration::from_millis(20);

/// How a store came up.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum OpenReport {
    /// There was none.
    Created,
    Opened,
    /// It was damaged; what was written after this revision is gone.
    Restored {
        revision: Revision,
        reason: String,
    },
}

/// Opens the database in `dir`, restoring it from `exports` if it is damaged. Blocks.
pub fn open(dir: &Path, exports: &Path) -> Result<(sled::Db, OpenReport), StoreError> {
    let existed = dir.exists();
    let newest = export::newest_good(exports)?;
    let exported = newest.as_ref().map_or(0, |export| export.revision);
    let reason = match open_checked(dir, existed) {
        Ok((db, revision)) if revision >= exported => {
            let report = if existed { OpenReport::Opened } else { OpenReport::Created };
            return Ok((db, report));
        }
        Ok((db, revision)) => {
            drop(db);
            format!("it is at revision {revision}, but was exported at {exported}")
        }
        Err(Damage::Corrupt(reason)) => reason,
        Err(Damage::Other(error)) => return Err(error),
    };
    let export = newest.ok_or_else(|| StoreError::Lost { path: dir.to_owned() })?;
    tracing::error!(path = %dir.display(), reason, "database damaged, restoring");
    put_aside(dir)?;
    let revision = export.revision;
    let db = refill(dir, &export, &reason)?;
    Ok((db, OpenReport::Restored { revision, reason }))
}

enum Damage {
    Corrupt(String),
    Other(StoreError),
}

/// Opens and reads everything once, so that damage shows now and not in the middle of a request. A
/// new database gets its revision at once: one without is what sled makes of a file that it can't
/// read.
fn open_checked(dir: &Path, existed: bool) -> Result<(sled::Db, Revision), Damage> {
    let attempt = catch_unwind(AssertUnwindSafe(|| {
        let db = open_plain(dir)?;
        if !existed {
            db.insert(REVISION_KEY, &0_u64.to_be_bytes())?;
            db.flush()?;
        }
        for pair in db.iter() {
            pair?;
        }
        let revision = db.get(REVISION_KEY)?;
        Ok((db, revision))
    }));
    match attempt {
        Ok(Ok((db, revision))) => match revision.as_deref().and_then(decode_revision) {
            Some(revision) => Ok((db, revision)),
            None => Err(Damage::Corrupt("it has lost its revision".into())),
        },
        Ok(Err(sled::Error::Io(source))) if !is_damage(&source) => {
            Err(Damage::Other(file_error("opening", dir, source)))
        }
        Ok(Err(error)) => Err(Damage::Corrupt(error.to_string())),
        Err(_) => Err(Damage::Corrupt("it panicked while it was opened".into())),
    }
}

/// A full disk or a missing permission is no damage: restoring would make it worse.
fn is_damage(error: &std::io::Error) -> bool {
    use std::io::ErrorKind::{InvalidData, InvalidInput, UnexpectedEof};
    matches!(error.kind(), InvalidData | InvalidInput | UnexpectedEof)
}

/// sled's own timer is off: every acknowledged write is flushed by the writer. A handle that was
/// just dropped may hold sled's lock for a moment longer; nobody else can, since ours is held.
fn open_plain(dir: &Path) -> sled::Result<sled::Db> {
    let config = sled::Config::new().path(dir).flush_every_ms(None).cache_capacity(64 << 20);
    for _ in 0..LOCK_TRIES {
        match config.open() {
            Err(sled::Error::Io(error)) if error.to_string().contains("lock") => {
                std::thread::sleep(LOCK_WAIT);
            }
            other => return other,
        }
    }
    config.open()
}

/// Keeps one damaged folder for whoever wants to look at it.
fn put_aside(dir: &Path) -> Result<(), StoreError> {
    let mut aside = dir.as_os_str().to_owned();
    aside.push(".damaged");
    let aside = PathBuf::from(aside);
    if aside.exists() {
        fs::remove_dir_all(&aside).map_err(|e| file_error("removing", &aside, e))?;
    }
    if dir.exists() {
        fs::rename(dir, &aside).map_err(|e| file_error("putting aside", dir, e))?;
    }
    Ok(())
}

/// Fills a new folder beside the final one, then names it: a crash leaves either none or a whole
/// one.
fn refill(dir: &Path, export: &Export, reason: &str) -> Result<sled::Db, StoreError> {
    let database = |doing| move |source| StoreError::Database { doing, source };
    let mut partial = dir.as_os_str().to_owned();
    partial.push(".partial");
    let partial = PathBuf::from(partial);
    if partial.exists() {
        fs::remove_dir_all(&partial).map_err(|e| file_error("removing", &partial, e))?;
    }
    let db = open_plain(&partial).map_err(database("being restored"))?;
    for (key, value) in &export.pairs {
        db.insert(key, value.as_slice()).map_err(database("being restored"))?;
    }
    let told = encode(export.revision, reason.as_bytes());
    db.insert(RESTORED_KEY, told).map_err(database("being restored"))?;
    db.flush().map_err(database("being restored"))?;
    drop(db);
    fs::rename(&partial, dir).map_err(|e| file_error("naming", dir, e))?;
    if let Some(parent) = dir.parent() {
        export::sync_dir(parent).map_err(|e| file_error("syncing", parent, e))?;
    }
    open_plain(dir).map_err(database("being opened"))
}
