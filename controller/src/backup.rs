//! Backups: one file with all that makes a controller, to be kept like the fleet's keys, for they are in it.
//!
//! A file is: magic, number of entries (u32), for each entry name length (u16), data length (u64), name, data; then the
//! SHA-256 of all before it. Integers are big-endian.

mod in_etcd;

use std::fs;
use std::path::{Path, PathBuf};

use crate::audit;
use crate::files::{self, Access, FileError};
use crate::init::{self, InitError};
use crate::secret;
use crate::service::check_store;
use crate::store::{SledStore, Store, StoreChoice, StoreError, exports};

const MAGIC: &[u8; 8] = b"HAWSBAK1";
const DIGEST_BYTES: usize = 32;
const EXPORT: &str = "exports/";
/// Beside the store; the operator's access is not among them, whose token the store knows only by its hash.
const FOLDERS: [&str; 2] = ["", "pki"];
const LEFT_OUT: [&str; 5] = ["lock", "port", "told", "admin-context.json", "root-offline.key"];
const MAX_FILE_BYTES: u64 = 1 << 20;

#[derive(Debug, thiserror::Error)]
pub enum BackupError {
    #[error("{0} holds no controller")]
    NoController(PathBuf),
    #[error("{0} has no export yet: start the controller once, or stop it first")]
    NoExport(PathBuf),
    #[error("{0} is not empty; restore never overwrites")]
    NotEmpty(PathBuf),
    #[error("{0} is no whole backup")]
    Damaged(PathBuf),
    #[error("{path}: {source}")]
    Io {
        path: PathBuf,
        #[source]
        source: std::io::Error,
    },
    #[error(transparent)]
    File(#[from] FileError),
    #[error(transparent)]
    Store(#[from] StoreError),
    #[error(transparent)]
    Setup(#[from] InitError),
}

/// What was found.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Checked {
    /// Of the store; none: a running controller has it, and its newest export was looked at.
    pub opened: bool,
    pub revisions: usize,
    pub audit_entries: u64,
    /// Each in words; none: it is whole.
    pub faults: Vec<String>,
}

/// Writes a backup. Of a controller that runs with its store in its folder it has the newest export: at most a minute old,
/// and never before the last revision. Of one in etcd it has what is there now.
pub async fn backup(data: &Path, choice: &StoreChoice, to: &Path) -> Result<u64, BackupError> {
    if !data.join("controller.json").exists() {
        return Err(BackupError::NoController(data.to_owned()));
    }
    let (file, export, revision) = match choice {
        StoreChoice::Sled => newest_export(data).await?,
        StoreChoice::Etcd(options) => in_etcd::export(data, options).await?,
    };
    let mut entries = Vec::new();
    for folder in FOLDERS {
        for path in files_of(&data.join(folder))? {
            let name = path.strip_prefix(data).unwrap_or(&path).to_string_lossy().into_owned();
            if !LEFT_OUT.contains(&name.as_str()) {
                entries.push((name, read(&path)?));
            }
        }
    }
    entries.push((format!("{EXPORT}{file}"), export));
    files::write_atomic(to, &encode(&entries), Access::Secret)?;
    Ok(revision)
}

/// Its name, what is in it, the store's revision.
async fn newest_export(data: &Path) -> Result<(String, Vec<u8>, u64), BackupError> {
    match SledStore::open(data) {
        Ok((store, _)) => store.checkpoint().await?,
        Err(StoreError::Locked { .. }) => {}
        Err(error) => return Err(error.into()),
    }
    let export = exports::newest(&data.join("exports"))?;
    let (path, revision) = export.ok_or_else(|| BackupError::NoExport(data.to_owned()))?;
    let file = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
    Ok((file, read(&path)?, revision))
}

/// What a restored controller's store is made of.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Restored<'a> {
    /// In its folder or in an etcd that has none, with what the backup has.
    Filled(&'a StoreChoice),
    /// In etcd already: the controller is to stand by.
    There,
}

/// Makes a controller of a backup. At its first start it tells agents numbers that none of them can have seen.
pub async fn restore(from: &Path, data: &Path, store: Restored<'_>) -> Result<(), BackupError> {
    let entries = decode(&read(from)?).ok_or_else(|| BackupError::Damaged(from.to_owned()))?;
    files::create_private_dir(data)?;
    if !files_of(data)?.is_empty() || data.join("store").exists() {
        return Err(BackupError::NotEmpty(data.to_owned()));
    }
    for folder in ["pki", "exports"] {
        files::create_private_dir(&data.join(folder))?;
    }
    let (exports, entries): (Vec<_>, Vec<_>) =
        entries.into_iter().partition(|(name, _)| name.starts_with(EXPORT));
    // What says that it is a controller comes last.
    let (last, first): (Vec<_>, Vec<_>) =
        entries.into_iter().partition(|(name, _)| name == "controller.json");
    let write = |(name, bytes): &(String, Vec<u8>)| {
        files::write_atomic(&data.join(name), bytes, Access::Secret)
    };
    first.iter().try_for_each(write)?;
    match store {
        Restored::Filled(StoreChoice::Sled) => exports.iter().try_for_each(write)?,
        Restored::Filled(StoreChoice::Etcd(options)) => {
            let setup =
                last.first().map(|(_, bytes)| init::parse_setup(data, bytes)).transpose()?;
            let fleet = setup.ok_or_else(|| BackupError::Damaged(from.to_owned()))?.fleet;
            in_etcd::fill(data, options, &fleet, &exports).await?;
        }
        Restored::There => {}
    }
    Ok(last.iter().try_for_each(write)?)
}

/// Reads everything once: the store, every revision's document, what the edges are given, the audit log's chain.
pub async fn check(data: &Path, choice: &StoreChoice) -> Result<Checked, BackupError> {
    if !data.join("controller.json").exists() {
        return Err(BackupError::NoController(data.to_owned()));
    }
    if let StoreChoice::Etcd(options) = choice {
        return check_whole(&in_etcd::reader(data, options).await?, true).await;
    }
    match SledStore::open(data) {
        Ok((store, _)) => check_whole(&store, true).await,
        Err(StoreError::Locked { .. }) => {
            let scratch = Scratch::of(data)?;
            check_whole(&SledStore::open(&scratch.0)?.0, false).await
        }
        Err(error) => Err(error.into()),
    }
}

async fn check_whole(store: &dyn Store, opened: bool) -> Result<Checked, BackupError> {
    let (revisions, mut faults) = check_store(store).await?;
    let mut verifier = hawser_controller_core::audit::Verifier::default();
    let mut after = 0;
    loop {
        let entries = audit::read_after(store, after, 1_000).await?;
        let Some(last) = entries.last().map(|entry| entry.sequence) else { break };
        if let Some(broken) = entries.iter().find_map(|entry| verifier.take(entry).err()) {
            faults.push(format!("the audit log: {broken}"));
            break;
        }
        after = last;
    }
    Ok(Checked { opened, revisions, audit_entries: verifier.checked, faults })
}

/// A folder for a copy of an export. Removed when dropped.
struct Scratch(PathBuf);

impl Scratch {
    fn of(data: &Path) -> Result<Self, BackupError> {
        let newest = exports::newest(&data.join("exports"))?;
        let (path, _) = newest.ok_or_else(|| BackupError::NoExport(data.to_owned()))?;
        let scratch = Self::new(data)?;
        let copy = scratch.exports().join(path.file_name().unwrap_or_default());
        files::write_atomic(&copy, &read(&path)?, Access::Secret)?;
        Ok(scratch)
    }

    fn new(data: &Path) -> Result<Self, BackupError> {
        let scratch = Self(data.join(format!("check-{}", secret::random_hex::<8>())));
        files::create_private_dir(&scratch.exports())?;
        Ok(scratch)
    }

    fn exports(&self) -> PathBuf {
        self.0.join("exports")
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        // Whatever stays is a copy.
        let _ = fs::remove_dir_all(&self.0);
    }
}

fn read(path: &Path) -> Result<Vec<u8>, BackupError> {
    fs::read(path).map_err(|source| BackupError::Io { path: path.to_owned(), source })
}

/// Plain files of a folder, sorted.
fn files_of(dir: &Path) -> Result<Vec<PathBuf>, BackupError> {
    let failed = |source| BackupError::Io { path: dir.to_owned(), source };
    let mut found = Vec::new();
    for entry in fs::read_dir(dir).map_err(failed)? {
        let entry = entry.map_err(failed)?;
        let metadata = entry.metadata().map_err(failed)?;
        if metadata.is_file() && metadata.len() <= MAX_FILE_BYTES {
            found.push(entry.path());
        }
    }
    found.sort();
    Ok(found)
}

fn encode(entries: &[(String, Vec<u8>)]) -> Vec<u8> {
    let mut bytes = MAGIC.to_vec();
    bytes.extend((entries.len() as u32).to_be_bytes());
    for (name, data) in entries {
        bytes.extend((name.len() as u16).to_be_bytes());
        bytes.extend((data.len() as u64).to_be_bytes());
        bytes.extend(name.as_bytes());
        bytes.extend(data);
    }
    let digest = secret::sha256(&bytes);
    bytes.extend(digest);
    bytes
}

/// None: it is not what was written. Names lead nowhere but into the folder.
fn decode(bytes: &[u8]) -> Option<Vec<(String, Vec<u8>)>> {
    let (body, digest) = bytes.split_last_chunk::<DIGEST_BYTES>()?;
    if secret::sha256(body) != *digest {
        return None;
    }
    let mut rest = body.strip_prefix(MAGIC)?;
    let count = u32::from_be_bytes(take(&mut rest, 4)?.try_into().ok()?);
    let mut entries = Vec::new();
    for _ in 0..count {
        let name_length = u16::from_be_bytes(take(&mut rest, 2)?.try_into().ok()?);
        let length = u64::from_be_bytes(take(&mut rest, 8)?.try_into().ok()?);
        let name = String::from_utf8(take(&mut rest, usize::from(name_length))?.to_vec()).ok()?;
        let safe =
            !name.starts_with('/') && name.split('/').all(|part| part != ".." && !part.is_empty());
        if !safe || name.split('/').count() > 2 {
            return None;
        }
        entries.push((name, take(&mut rest, usize::try_from(length).ok()?)?.to_vec()));
    }
    rest.is_empty().then_some(entries)
}

fn take<'a>(rest: &mut &'a [u8], length: usize) -> Option<&'a [u8]> {
    let (head, tail) = rest.split_at_checked(length)?;
    *rest = tail;
    Some(head)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_encoded_is_decoded_and_a_changed_octet_is_found() {
        let entries = vec![("a".to_owned(), vec![1, 2]), ("pki/b".to_owned(), Vec::new())];
        let bytes = encode(&entries);
        assert_eq!(decode(&bytes), Some(entries));
        for at in 0..bytes.len() {
            let mut changed = bytes.clone();
            changed[at] ^= 1;
            assert_eq!(decode(&changed), None, "{at}");
        }
        assert_eq!(decode(&bytes[..bytes.len() - 1]), None);
    }

    #[test]
    fn no_name_leads_out_of_the_folder() {
        for name in ["../x", "/x", "a/../../x", "a/b/c", ""] {
            assert_eq!(decode(&encode(&[(name.to_owned(), Vec::new())])), None, "{name}");
        }
    }
}
