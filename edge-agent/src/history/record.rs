//! `hawser-edge record`: the history as traces. Reads the files; the agent may run meanwhile or not.

use std::fs::{self, File};
use std::io::{self, BufWriter, Write};
use std::path::{Path, PathBuf};

use hawser_edge_core::history::{Collector, Tick, Trace};

use super::files::{PieceError, read_piece};
use super::folder;

/// Octets read at once.
const PIECE_BYTES: usize = 4 << 20;

/// What is wanted.
#[derive(Debug, Clone)]
pub struct Asked {
    pub since: Tick,
    pub until: Tick,
    /// Only tunnels to this edge or site.
    pub peer: Option<String>,
    pub grid_ms: u32,
    pub out: PathBuf,
}

#[derive(Debug, thiserror::Error)]
pub enum RecordError {
    #[error("the history can't be read")]
    Read(#[from] PieceError),
    #[error("{path} can't be written")]
    Write {
        path: PathBuf,
        #[source]
        source: io::Error,
    },
    #[error("no pair of uplinks was probed side by side for ten seconds in that time")]
    Nothing,
}

impl RecordError {
    /// Stable, upper case.
    pub fn code(&self) -> &'static str {
        match self {
            RecordError::Read(PieceError::Nothing) => "HISTORY_EMPTY",
            RecordError::Read(_) => "HISTORY_UNREADABLE",
            RecordError::Write { .. } => "OUTPUT_UNWRITABLE",
            RecordError::Nothing => "NOTHING_RECORDED",
        }
    }

    /// What to do about it.
    pub fn mend(&self) -> &'static str {
        match self {
            RecordError::Read(PieceError::Nothing) => {
                "is --state-dir right, and has the agent run?"
            }
            RecordError::Read(_) => "check the folder's owner: only root may read it",
            RecordError::Write { .. } => "choose another --out",
            RecordError::Nothing => "ask for a longer time with --since, or for all tunnels",
        }
    }
}

/// Writes one file for each pair of uplinks; returns their paths.
///
/// # Errors
/// The history can't be read, holds nothing of it, or the files can't be written.
pub fn record(state_dir: &Path, asked: &Asked) -> Result<Vec<PathBuf>, RecordError> {
    let mut collector = Collector::new(asked.since, asked.until);
    let mut cursor = Vec::new();
    loop {
        let folder = folder(state_dir);
        let piece = read_piece(&folder, asked.since, asked.until, &cursor, PIECE_BYTES)?;
        collector.add(&piece.blocks);
        if piece.cursor.is_empty() || piece.cursor == cursor {
            break;
        }
        cursor = piece.cursor;
    }
    let traces = collector.traces(asked.peer.as_deref(), asked.grid_ms);
    if traces.is_empty() {
        return Err(RecordError::Nothing);
    }
    let made = fs::create_dir_all(&asked.out);
    made.map_err(|source| RecordError::Write { path: asked.out.clone(), source })?;
    traces.iter().map(|trace| write(&asked.out, trace)).collect()
}

fn write(out: &Path, trace: &Trace) -> Result<PathBuf, RecordError> {
    let path = out.join(&trace.file_name);
    let written = File::create(&path).and_then(|file| {
        let mut file = BufWriter::new(file);
        trace.lines().try_for_each(|line| file.write_all(line.as_bytes()))?;
        file.flush()
    });
    match written {
        Ok(()) => Ok(path),
        Err(source) => Err(RecordError::Write { path, source }),
    }
}
