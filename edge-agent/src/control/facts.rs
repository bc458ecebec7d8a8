//! Runtime facts from the controller: versioned, merged, on disk, never part of a generation.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use hawser_proto::agent::v1::Facts;
use prost::Message;

use super::files::FileError;
use super::ledger::checked::{self, Checked};

/// Peer uplinks kept; more than any fleet of one controller has.
pub const MAX_ENDPOINTS: usize = 65_536;

/// The merged facts and their file, `<state>/facts`.
#[derive(Debug)]
pub struct FactsStore {
    path: PathBuf,
    merged: Facts,
}

impl FactsStore {
    /// Damaged or missing facts are none: Hello says version 0 then, and the controller sends all.
    pub fn open(state_dir: &Path) -> Self {
        let path = state_dir.join("facts");
        let read = checked::read(&path).ok().flatten();
        let merged = read.and_then(|c| Facts::decode(c.content.as_slice()).ok());
        FactsStore { path, merged: merged.unwrap_or_default() }
    }

    /// 0: none yet.
    pub fn version(&self) -> u64 {
        self.merged.version
    }

    pub fn merged(&self) -> &Facts {
        &self.merged
    }

    /// Takes news in and stores the result. `false`: it was old news.
    ///
    /// # Errors
    /// The file can't be written; the facts count nevertheless, until the next start.
    pub fn take(&mut self, news: Facts) -> Result<bool, FileError> {
        if !news.full && news.version <= self.merged.version {
            return Ok(false);
        }
        self.merged = merge(&self.merged, news);
        let content = self.merged.encode_to_vec();
        checked::write(&self.path, &Checked { sequence: self.merged.version, content })?;
        Ok(true)
    }
}

/// All facts after `news`: full ones replace everything, others only the uplinks that they name.
/// The result is full, sorted and bounded.
pub fn merge(before: &Facts, news: Facts) -> Facts {
    let before = if news.full { &Facts::default() } else { before };
    let mut endpoints = BTreeMap::new();
    for endpoint in before.endpoints.iter().cloned().chain(news.endpoints) {
        endpoints.insert((endpoint.edge_id, endpoint.uplink_id), endpoint);
    }
    Facts {
        version: news.version,
        full: true,
        endpoints: endpoints
            .into_values()
            .filter(|e| !e.endpoints.is_empty())
            .take(MAX_ENDPOINTS)
            .collect(),
    }
}
