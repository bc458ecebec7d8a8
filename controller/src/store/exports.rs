//! The exports, for backups.

use std::path::{Path, PathBuf};

use super::{Revision, StoreError, export};

/// The newest export that is whole, and the store's revision in it.
pub fn newest(dir: &Path) -> Result<Option<(PathBuf, Revision)>, StoreError> {
    for path in export::list(dir)?.into_iter().rev() {
        if let Ok(export) = export::read(&path) {
            return Ok(Some((path, export.revision)));
        }
    }
    Ok(None)
}
