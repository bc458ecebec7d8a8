//! Where a fleet in a lab keeps its files: state of the agents and the controller, documents, logs.

use super::error::FleetError;
use std::fs;
use std::io::{Read, Seek, SeekFrom};
use std::path::{Path, PathBuf};
use tempfile::TempDir;

/// A folder that goes away with the fleet, or stays.
#[derive(Debug)]
pub(super) struct Folder {
    path: PathBuf,
    /// None: it stays.
    temporary: Option<TempDir>,
}

impl Folder {
    pub(super) fn temporary() -> Result<Self, FleetError> {
        let temporary = tempfile::Builder::new().prefix("hawser-fleet-").tempdir();
        let temporary = temporary.map_err(FleetError::file("made", std::env::temp_dir()))?;
        let path = temporary.path().to_owned();
        Self { path, temporary: Some(temporary) }.filled()
    }

    /// Lets it stay when this process ends.
    pub(super) fn keep(mut self) -> PathBuf {
        self.temporary.take().map_or(self.path, TempDir::keep)
    }

    fn filled(self) -> Result<Self, FleetError> {
        for name in ["logs", "edges"] {
            let path = self.path.join(name);
            fs::create_dir(&path).map_err(FleetError::file("made", path))?;
        }
        Ok(self)
    }

    pub(super) fn path(&self) -> &Path {
        &self.path
    }

    pub(super) fn log(&self, name: &str) -> PathBuf {
        self.path.join("logs").join(format!("{name}.log"))
    }

    pub(super) fn logs(&self) -> Vec<PathBuf> {
        let entries = fs::read_dir(self.path.join("logs")).into_iter().flatten();
        let mut paths: Vec<PathBuf> = entries.filter_map(Result::ok).map(|e| e.path()).collect();
        paths.sort();
        paths
    }
}

/// The last lines of a file, for a look at what went wrong.
pub(super) fn tail(path: &Path, lines: usize) -> String {
    const MOST_BYTES: u64 = 64 << 10;
    let read = || -> std::io::Result<String> {
        let mut file = fs::File::open(path)?;
        let len = file.metadata()?.len();
        file.seek(SeekFrom::Start(len.saturating_sub(MOST_BYTES)))?;
        let mut bytes = Vec::new();
        file.take(MOST_BYTES).read_to_end(&mut bytes)?;
        Ok(String::from_utf8_lossy(&bytes).into_owned())
    };
    let text = read().unwrap_or_else(|error| format!("({error})"));
    let all: Vec<&str> = text.lines().collect();
    all[all.len().saturating_sub(lines)..].join("\n")
}
