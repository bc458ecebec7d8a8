//! Taking a fleet out of a controller. Nothing of it is deleted: its folder moves aside, and can be moved back.

use std::fs;
use std::path::{Path, PathBuf};

use crate::files::{self, FileError};
use crate::init::{self, InitError};
use crate::store;

/// Below the folder of fleets; no fleet's name begins with a dot.
const REMOVED_DIR: &str = ".removed";

#[derive(Debug, thiserror::Error)]
pub enum RemoveError {
    #[error(transparent)]
    Init(#[from] InitError),
    #[error(
        "{0:?} is the first fleet: its folder is the data folder itself, with the others in it"
    )]
    First(String),
    #[error("there is no fleet {0:?}; look at: hawser-controller fleet list")]
    Unknown(String),
    #[error("the fleet {0:?} is served now; stop the controller first")]
    Served(String),
    #[error(transparent)]
    File(#[from] FileError),
}

/// Moves the fleet's folder to `fleets/.removed/FLEET-DATE` and returns where that is. `date` is UTC, without `/`.
pub fn remove_fleet(data: &Path, fleet: &str, date: &str) -> Result<PathBuf, RemoveError> {
    let beside = init::fleets_beside(data)?;
    let Some((_, folder)) = beside.into_iter().find(|(name, _)| name == fleet) else {
        let first = init::read_setup(data)?.fleet == fleet;
        let fleet = fleet.to_owned();
        return Err(if first { RemoveError::First(fleet) } else { RemoveError::Unknown(fleet) });
    };
    // Held until it is moved: a controller that starts now leaves it out.
    let _held = store::hold(&folder).map_err(|_| RemoveError::Served(fleet.to_owned()))?;
    let removed = folder.with_file_name(REMOVED_DIR);
    files::create_private_dir(&removed)?;
    let to = removed.join(format!("{fleet}-{date}"));
    fs::rename(&folder, &to).map_err(failed("moving", &folder))?;
    for changed in [removed.as_path(), removed.parent().unwrap_or(data)] {
        let synced = fs::File::open(changed).and_then(|folder| folder.sync_all());
        synced.map_err(failed("syncing", changed))?;
    }
    Ok(to)
}

fn failed(doing: &'static str, path: &Path) -> impl FnOnce(std::io::Error) -> FileError {
    let path = path.to_owned();
    move |source| FileError { doing, path, source }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::init::Setup;
    use crate::store::StoreChoice;

    #[tokio::test]
    async fn a_fleet_that_is_removed_is_kept_aside_and_its_name_is_free() {
        let dir = tempfile::tempdir().expect("a folder");
        let data = dir.path().join("data");
        let advertised = vec!["127.0.0.1:4511".parse().expect("an address")];
        init::init(&data, &Setup { fleet: "acme".into(), advertised }).await.expect("made");
        let add = async || init::add_fleet(&data, "beta", Vec::new(), &StoreChoice::Sled).await;
        let made = add().await.expect("another");
        let context = fs::read(&made.admin_context).expect("its context");

        let refused = |fleet| remove_fleet(&data, fleet, "1").expect_err(fleet);
        assert!(matches!(refused("acme"), RemoveError::First(_)));
        for unknown in ["gamma", "", ".removed", "../data", "beta/"] {
            assert!(matches!(refused(unknown), RemoveError::Unknown(_)), "{unknown}");
        }
        let folder = data.join("fleets/beta");
        let held = store::hold(&folder).expect("as a controller does");
        assert!(matches!(refused("beta"), RemoveError::Served(_)));
        drop(held);

        let to = remove_fleet(&data, "beta", "1").expect("removed");
        assert_eq!(to, data.join("fleets/.removed/beta-1"));
        assert_eq!(fs::read(to.join("admin-context.json")).expect("it is kept"), context);
        assert_eq!(init::fleets_beside(&data).expect("listed"), []);
        assert!(matches!(refused("beta"), RemoveError::Unknown(_)));

        let again = add().await.expect("the name is free");
        assert_ne!(fs::read(&again.admin_context).expect("its context"), context);
        // One that was removed at the same second is not written over.
        assert!(matches!(refused("beta"), RemoveError::File(_)));
        assert!(folder.exists());
        remove_fleet(&data, "beta", "2").expect("removed");
        fs::rename(&to, &folder).expect("moved back");
        assert_eq!(init::fleets_beside(&data).expect("listed"), [("beta".to_owned(), folder)]);
    }
}
