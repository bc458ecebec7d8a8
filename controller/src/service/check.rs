//! Whether a store holds a whole fleet.

use std::collections::BTreeSet;

use super::manifest;
use super::state::FleetState;
use crate::store::blob;
use crate::store::{Store, StoreError};

/// The number of revisions, and everything that is not as it must be, in words.
pub async fn check_store(store: &dyn Store) -> Result<(usize, Vec<String>), StoreError> {
    let mut faults = Vec::new();
    let revisions = manifest::all_revisions(store).await?;
    for record in &revisions {
        if let Err(error) = blob::read(store, &record.document).await {
            faults.push(format!("the document of revision {}: {error}", record.revision));
        }
    }
    // Reads the manifest and what every edge is given.
    let state = match FleetState::load(store).await {
        Ok(state) => state,
        Err(error) => {
            faults.push(format!("the fleet's state: {error}"));
            return Ok((revisions.len(), faults));
        }
    };
    let known: BTreeSet<u64> = revisions.iter().map(|record| record.revision).collect();
    if state.revision != 0 && !known.contains(&state.revision) {
        faults.push(format!("revision {} is in force and not there", state.revision));
    }
    for blob in state.named_blobs() {
        if let Err(error) = blob::read(store, &blob).await {
            faults.push(format!("what an edge is given: {error}"));
        }
    }
    Ok((revisions.len(), faults))
}
