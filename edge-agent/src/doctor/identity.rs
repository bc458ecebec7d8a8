//! The state directory, and who this edge is.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use hawser_edge_core::doctor::{Certificate, StateDir};

use crate::control::{Identity, IdentityError};

pub(super) fn state_dir(path: &Path) -> StateDir {
    let mode = |path: &Path| fs::metadata(path).map(|meta| meta.permissions().mode() & 0o777);
    let dir_mode = mode(path);
    StateDir {
        path: path.display().to_string(),
        exists: dir_mode.is_ok(),
        mode: dir_mode.unwrap_or_default(),
        key_mode: mode(&path.join("identity.key")).ok(),
        unreadable: fs::read_dir(path).err().map(|error| error.to_string()),
    }
}

pub(super) fn load(state_dir: &Path) -> Result<Identity, IdentityError> {
    Identity::load(state_dir)
}

pub(super) fn certificate(identity: Result<Identity, IdentityError>) -> Certificate {
    match identity {
        Ok(identity) => Certificate::Usable {
            not_before_unix_s: identity.not_before_unix_s(),
            half_life_unix_s: identity.half_life_unix_s(),
            not_after_unix_s: identity.not_after_unix_s(),
        },
        Err(IdentityError::NotEnrolled(_)) => Certificate::NotEnrolled,
        Err(error) => {
            Certificate::Unusable { message: error.to_string(), mend: error.mend().to_owned() }
        }
    }
}
