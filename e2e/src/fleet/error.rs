//! Why a fleet does not do what it was asked.

use crate::lab::{LabError, TopologyError};
use std::path::PathBuf;
use std::time::Duration;

#[derive(Debug, thiserror::Error)]
pub enum FleetError {
    #[error(transparent)]
    Lab(#[from] LabError),
    #[error(transparent)]
    Topology(#[from] TopologyError),
    #[error("the program {name} is not beside this one; build it: cargo build --workspace --bins")]
    ProgramMissing { name: &'static str },
    #[error("{} can't be {doing}", .path.display())]
    File { doing: &'static str, path: PathBuf, source: std::io::Error },
    /// `code` is the exit status; none: a signal ended it.
    #[error("`{command}` failed ({}): {said}", exit(.code))]
    Command { command: String, code: Option<i32>, said: String },
    #[error("the answer of `{command}` can't be read")]
    Answer { command: String, source: serde_json::Error },
    #[error("the fleet has no {kind} `{name}`")]
    Unknown { kind: &'static str, name: String },
    #[error("{what}: not within {limit:?}; the last look: {last}")]
    NotInTime { what: String, limit: Duration, last: String },
    #[error("{what} is not running")]
    NotRunning { what: String },
}

fn exit(code: &Option<i32>) -> String {
    code.map_or_else(|| "ended by a signal".to_owned(), |code| format!("exit status {code}"))
}

impl FleetError {
    pub(crate) fn file(
        doing: &'static str,
        path: impl Into<PathBuf>,
    ) -> impl FnOnce(std::io::Error) -> Self {
        let path = path.into();
        move |source| Self::File { doing, path, source }
    }

    /// The error and its causes, in one line.
    #[must_use]
    pub fn line(&self) -> String {
        let mut line = self.to_string();
        let mut cause = std::error::Error::source(self);
        while let Some(error) = cause {
            line = format!("{line}: {error}");
            cause = error.source();
        }
        line
    }
}
