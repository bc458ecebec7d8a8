//! What an agent loaded into which charon, as digests, so that the next agent need not negotiate again.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::Path;

use serde::{Deserialize, Serialize};

use crate::control::files::{FileError, read_bounded, write_synced};

const FILE: &str = "loaded.json";
const MAX_BYTES: u64 = 64 << 10;

/// One process, told from a later one of the same number by when it began.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Process {
    pid: i32,
    started_ticks: u64,
}

impl Process {
    /// `None`: it is gone.
    pub fn of(pid: i32) -> Option<Process> {
        let stat = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
        // After the name, which may hold anything: the state is field 3, the start field 22 (proc(5)).
        let (_, fields) = stat.rsplit_once(')')?;
        let started_ticks = fields.split_whitespace().nth(19)?.parse().ok()?;
        Some(Process { pid, started_ticks })
    }
}

#[derive(Serialize, Deserialize)]
struct Ledger {
    charon: Process,
    /// By whole names.
    digests: BTreeMap<String, String>,
    /// Names of private keys, as charon gives them: no more than the public keys tell.
    #[serde(default)]
    keys: BTreeSet<String>,
}

/// Digests and keys that an earlier agent loaded into this charon. Nothing, if it can't be told.
pub(super) fn read(folder: &Path, charon: Process) -> (BTreeMap<String, String>, BTreeSet<String>) {
    let read = read_bounded(&folder.join(FILE), MAX_BYTES).ok().flatten();
    let ledger = read.and_then(|octets| serde_json::from_slice::<Ledger>(&octets).ok());
    let ledger = ledger.filter(|ledger| ledger.charon == charon);
    ledger.map(|ledger| (ledger.digests, ledger.keys)).unwrap_or_default()
}

pub(super) fn write(
    folder: &Path,
    charon: Process,
    digests: BTreeMap<String, String>,
    keys: BTreeSet<String>,
) -> Result<(), FileError> {
    let text = serde_json::to_vec(&Ledger { charon, digests, keys }).unwrap_or_default();
    write_synced(&folder.join(FILE), &text)
}
