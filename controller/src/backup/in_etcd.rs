//! Backups of a controller whose store is in etcd. They hold the same as those of a folder: one can be restored as the
//! other.

use std::path::Path;

use super::{BackupError, Scratch, read};
use crate::files::{self, Access as FileAccess};
use crate::init;
use crate::store::{
    Access, EtcdOptions, EtcdStore, Op, OpenReport, RESTORED_KEY, Store as _, StoreError, exports,
};

/// Beside whoever leads.
pub async fn reader(data: &Path, options: &EtcdOptions) -> Result<EtcdStore, BackupError> {
    let fleet = init::read_setup(data)?.fleet;
    let (store, report) = EtcdStore::open(options, &fleet, Access::Read).await?;
    if report == OpenReport::Created {
        return Err(BackupError::NoController(options.prefix.clone().into()));
    }
    Ok(store)
}

/// An export's name, what is in it, and the store's revision.
pub async fn export(
    data: &Path,
    options: &EtcdOptions,
) -> Result<(String, Vec<u8>, u64), BackupError> {
    let (revision, entries) = reader(data, options).await?.all().await?;
    let scratch = Scratch::new(data)?;
    let path = exports::write(&scratch.exports(), revision, &entries)?;
    let file = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
    Ok((file, read(&path)?, revision))
}

/// Fills an etcd that has no store of this fleet.
pub async fn fill(
    data: &Path,
    options: &EtcdOptions,
    fleet: &str,
    exports: &[(String, Vec<u8>)],
) -> Result<(), BackupError> {
    let scratch = Scratch::new(data)?;
    for (name, bytes) in exports {
        files::write_atomic(&scratch.0.join(name), bytes, FileAccess::Secret)?;
    }
    let newest = exports::newest(&scratch.exports())?;
    let (path, _) = newest.ok_or_else(|| BackupError::NoExport(data.to_owned()))?;
    let (revision, entries) = exports::read(&path)?;
    let (store, report) = EtcdStore::open(options, fleet, Access::LeadNow).await?;
    let filled = match report {
        OpenReport::Created => {
            let pairs = entries.into_iter().filter(|entry| entry.key != RESTORED_KEY);
            let pairs = pairs.map(|entry| (entry.key, entry.value)).collect();
            let reason = format!("filled from a backup of revision {revision}");
            store.fill(pairs, Op::put(RESTORED_KEY, reason)).await
        }
        _ => Err(StoreError::NotEmpty),
    };
    store.close().await;
    Ok(filled?)
}
