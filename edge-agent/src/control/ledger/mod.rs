//! The last known good, in two copies: `generations/a` and `generations/b` (ARCHITECTURE, “At an
//! edge”). Both hold the same; a crash while one is written leaves the other whole.

pub(super) mod checked;
mod record;
#[cfg(test)]
mod tests;

use std::fs;
use std::path::{Path, PathBuf};

use hawser_edge_core::generation::GenerationState;

use super::files::{self, FileError};
use checked::{Checked, Damage};

const COPIES: [&str; 2] = ["a", "b"];

/// The two copies. One writer: the state directory is locked.
#[derive(Debug)]
pub struct Ledger {
    dir: PathBuf,
    /// Of the newest copy written.
    sequence: u64,
}

/// Something about the copies that people should know; none of it stops the agent.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum LedgerReport {
    #[error("{path} was damaged ({damage}); it was written anew from the other copy")]
    CopyRepaired { path: PathBuf, damage: Damage },
    #[error("{path} was older than the other copy, or missing; it was written anew")]
    CopyBehind { path: PathBuf },
    #[error("both copies in {dir} are damaged; they were moved aside and all is forgotten")]
    BothLost { dir: PathBuf },
}

impl LedgerReport {
    /// A stable code, upper case.
    pub fn code(&self) -> &'static str {
        match self {
            LedgerReport::CopyRepaired { .. } => "LEDGER_COPY_REPAIRED",
            LedgerReport::CopyBehind { .. } => "LEDGER_COPY_BEHIND",
            LedgerReport::BothLost { .. } => "LEDGER_LOST",
        }
    }
}

enum Copy {
    Missing,
    Damaged(Damage),
    Good { sequence: u64, content: Vec<u8>, state: Box<GenerationState> },
}

impl Ledger {
    /// Reads the newest good copy and mends the other. A missing ledger is an empty one.
    ///
    /// # Errors
    /// The directory or a copy can't be written.
    pub fn open(
        state_dir: &Path,
    ) -> Result<(Ledger, GenerationState, Vec<LedgerReport>), FileError> {
        let dir = state_dir.join("generations");
        files::private_dir(&dir)?;
        let copies = COPIES.map(|name| read_copy(&dir.join(name)));
        let newest = copies.iter().filter_map(Copy::sequence).max();
        let good = copies.iter().find(|c| newest.is_some() && c.sequence() == newest);
        let ledger = Ledger { dir, sequence: newest.unwrap_or(0) };
        if let Some(Copy::Good { sequence, content, state }) = good {
            let whole = Checked { sequence: *sequence, content: content.clone() };
            let reports = ledger.mend(&copies, &whole)?;
            return Ok((ledger, (**state).clone(), reports));
        }
        let reports = ledger.set_aside(&copies)?;
        Ok((ledger, GenerationState::default(), reports))
    }

    /// What the newest good copy has, for those who only look: nothing is locked, mended or made. `None`: there is none.
    pub fn peek(state_dir: &Path) -> Option<GenerationState> {
        let dir = state_dir.join("generations");
        let good = COPIES.iter().filter_map(|name| match read_copy(&dir.join(name)) {
            Copy::Good { sequence, state, .. } => Some((sequence, state)),
            Copy::Missing | Copy::Damaged(_) => None,
        });
        good.max_by_key(|(sequence, _)| *sequence).map(|(_, state)| *state)
    }

    /// Makes the state durable in both copies.
    ///
    /// # Errors
    /// A copy can't be written. The first one may hold the new state by then, which is legal:
    /// nothing that follows from it was done yet.
    pub fn persist(&mut self, state: &GenerationState) -> Result<(), FileError> {
        self.sequence += 1;
        let checked = Checked { sequence: self.sequence, content: record::encode(state) };
        for name in COPIES {
            checked::write(&self.dir.join(name), &checked)?;
        }
        Ok(())
    }

    fn mend(&self, copies: &[Copy; 2], whole: &Checked) -> Result<Vec<LedgerReport>, FileError> {
        let mut reports = Vec::new();
        for (name, copy) in COPIES.iter().zip(copies) {
            let path = self.dir.join(name);
            match copy {
                Copy::Good { content, sequence, .. }
                    if *sequence == whole.sequence && *content == whole.content =>
                {
                    continue;
                }
                Copy::Damaged(damage) => {
                    reports
                        .push(LedgerReport::CopyRepaired { path: path.clone(), damage: *damage });
                }
                Copy::Good { .. } | Copy::Missing => {
                    reports.push(LedgerReport::CopyBehind { path: path.clone() });
                }
            }
            checked::write(&path, whole)?;
        }
        Ok(reports)
    }

    fn set_aside(&self, copies: &[Copy; 2]) -> Result<Vec<LedgerReport>, FileError> {
        let mut lost = false;
        for (name, copy) in COPIES.iter().zip(copies) {
            if let Copy::Damaged(_) = copy {
                let path = self.dir.join(name);
                let damaged = self.dir.join(format!("{name}.damaged"));
                fs::rename(&path, &damaged).map_err(files::at("move aside", &path))?;
                lost = true;
            }
        }
        let report = LedgerReport::BothLost { dir: self.dir.clone() };
        Ok(if lost { vec![report] } else { Vec::new() })
    }
}

impl Copy {
    fn sequence(&self) -> Option<u64> {
        match self {
            Copy::Good { sequence, .. } => Some(*sequence),
            _ => None,
        }
    }
}

fn read_copy(path: &Path) -> Copy {
    match checked::read(path) {
        Ok(None) => Copy::Missing,
        Err(damage) => Copy::Damaged(damage),
        Ok(Some(Checked { sequence, content })) => match record::decode(&content) {
            Ok(state) => Copy::Good { sequence, content, state: Box::new(state) },
            Err(damage) => Copy::Damaged(damage),
        },
    }
}
