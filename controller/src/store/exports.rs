//! The exports, for backups.

use std::path::{Path, PathBuf};

use super::sled::{REVISION_KEY, decode_entry, encode};
use super::{Entry, Revision, StoreError, export};

/// The newest export that is whole, and the store's revision in it.
pub fn newest(dir: &Path) -> Result<Option<(PathBuf, Revision)>, StoreError> {
    for path in export::list(dir)?.into_iter().rev() {
        if let Ok(export) = export::read(&path) {
            return Ok(Some((path, export.revision)));
        }
    }
    Ok(None)
}

/// Writes one from what another store holds.
pub fn write(dir: &Path, revision: Revision, entries: &[Entry]) -> Result<PathBuf, StoreError> {
    let mut pairs = vec![(REVISION_KEY.to_vec(), revision.to_be_bytes().to_vec())];
    let pair =
        |entry: &Entry| (entry.key.clone().into_bytes(), encode(entry.revision, &entry.value));
    pairs.extend(entries.iter().map(pair));
    export::write(dir, revision, &pairs)
}

/// What one holds, for another store.
pub fn read(path: &Path) -> Result<(Revision, Vec<Entry>), StoreError> {
    let export = export::read(path)?;
    let pairs = export.pairs.iter().filter(|(key, _)| key != REVISION_KEY);
    let entries = pairs.map(|(key, value)| decode_entry(key, value)).collect::<Result<_, _>>()?;
    Ok((export.revision, entries))
}
