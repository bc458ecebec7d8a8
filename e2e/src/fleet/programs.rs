//! Where the programs under test are: beside this one.

use super::error::FleetError;
use std::path::PathBuf;

/// Paths of the real binaries.
#[derive(Clone, Debug)]
pub struct Programs {
    pub controller: PathBuf,
    pub edge: PathBuf,
    pub hawser: PathBuf,
    pub lab: PathBuf,
}

impl Programs {
    /// Looks beside this program, and one folder up: tests run in `deps/`.
    ///
    /// # Errors
    /// One of them is not built.
    pub fn find() -> Result<Self, FleetError> {
        Ok(Self {
            controller: find("hawser-controller")?,
            edge: find("hawser-edge")?,
            hawser: find("hawser")?,
            lab: find("hawser-lab")?,
        })
    }
}

fn find(name: &'static str) -> Result<PathBuf, FleetError> {
    let this = std::env::current_exe().map_err(FleetError::file("found", name))?;
    let folders = this.ancestors().skip(1).take(2);
    folders
        .map(|folder| folder.join(name))
        .find(|path| path.is_file())
        .ok_or(FleetError::ProgramMissing { name })
}
