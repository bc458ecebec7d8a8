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

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    #[test]
    fn the_next_agent_reads_what_the_last_one_wrote_and_damage_is_nothing_known() {
        let folder = tempfile::tempdir().unwrap();
        assert!(read(folder.path()).is_empty(), "there was no agent before");
        let gateway: IpAddr = "203.0.113.50".parse().unwrap();
        let held = Held::from([("dc".to_owned(), ("isp-b".to_owned(), gateway))]);
        write(folder.path(), &held).unwrap();
        assert_eq!(read(folder.path()), held);
        let file = folder.path().join(FOLDER).join(FILE);
        assert_eq!(std::fs::metadata(&file).unwrap().permissions().mode() & 0o077, 0);
        let whole = std::fs::read(&file).unwrap();
        for damaged in [&whole[..whole.len() / 2], b"{\"dc\": [\"isp-b\", \"nowhere\"]}", b""] {
            std::fs::write(&file, damaged).unwrap();
            assert!(read(folder.path()).is_empty(), "{damaged:?}");
        }
        std::fs::write(&file, vec![b' '; MAX_BYTES as usize + 1]).unwrap();
        assert!(read(folder.path()).is_empty(), "too much to be ours");
    }
}
