//! Which link each tunnel had, so that the next agent finds the associations where they are.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::path::Path;

use crate::control::files::{FileError, private_dir, read_bounded, write_synced};

const FOLDER: &str = "ike";
const FILE: &str = "links.json";
const MAX_BYTES: u64 = 64 << 10;

/// Tunnels by name, with the uplink's name and the gateway's address.
pub type Held = BTreeMap<String, (String, IpAddr)>;

/// Nothing, if it can't be told.
#[must_use]
pub fn read(state_dir: &Path) -> Held {
    let read = read_bounded(&state_dir.join(FOLDER).join(FILE), MAX_BYTES).ok().flatten();
    read.and_then(|octets| serde_json::from_slice(&octets).ok()).unwrap_or_default()
}

/// # Errors
/// The file can't be written: the next agent negotiates anew, no more.
pub fn write(state_dir: &Path, held: &Held) -> Result<(), FileError> {
    let folder = state_dir.join(FOLDER);
    private_dir(&folder)?;
    write_synced(&folder.join(FILE), &serde_json::to_vec(held).unwrap_or_default())
}
