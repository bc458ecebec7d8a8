//! Pre-shared keys and manual keys, `<state>/secrets/NAME` (0600 in a directory 0700). They are put there at the edge itself
//! and go to charon, or to who protects packets, only: the intent names them, no message has them.

use std::fs;
use std::path::{Path, PathBuf};

use hawser_edge_core::ike::Blocked;
use zeroize::Zeroizing;

use crate::control::files::{FileError, at, private_dir, read_bounded, write_synced};

/// Of the state directory.
const FOLDER: &str = "secrets";
/// charon takes longer ones; nobody has them.
pub const MAX_SECRET_BYTES: u64 = 1024;
/// Shorter ones are guessed from one recorded handshake.
pub const MIN_SECRET_BYTES: usize = 16;

/// Why a secret can't be kept.
#[derive(Debug, thiserror::Error)]
pub enum SecretError {
    #[error("“{0}” is no name of a secret")]
    Name(String),
    #[error("a secret has {MIN_SECRET_BYTES} to {MAX_SECRET_BYTES} octets, this has {0}")]
    Length(usize),
    #[error(transparent)]
    File(#[from] FileError),
}

impl SecretError {
    /// Stable, upper case.
    #[must_use]
    pub fn code(&self) -> &'static str {
        match self {
            SecretError::Name(_) => "SECRET_NAME",
            SecretError::Length(_) => "SECRET_LENGTH",
            SecretError::File(_) => "SECRET_FILE",
        }
    }

    /// What to do about it.
    #[must_use]
    pub fn mend(&self) -> &'static str {
        match self {
            SecretError::Name(_) => {
                "use 1 to 63 of a-z, 0-9 and -, as `psk` in the fleet's document has it"
            }
            SecretError::Length(_) => "make one: openssl rand -base64 32",
            SecretError::File(_) => "check the state directory's owner and free space",
        }
    }
}

/// Keeps a secret, in place of one of the same name.
///
/// # Errors
/// Its name or length is not allowed, or it can't be written.
pub fn keep(state_dir: &Path, name: &str, secret: &[u8]) -> Result<(), SecretError> {
    let path = path(state_dir, name)?;
    if secret.len() < MIN_SECRET_BYTES || secret.len() as u64 > MAX_SECRET_BYTES {
        return Err(SecretError::Length(secret.len()));
    }
    private_dir(state_dir)?;
    private_dir(&state_dir.join(FOLDER))?;
    Ok(write_synced(&path, secret)?)
}

/// Forgets a secret. False: there was none.
///
/// # Errors
/// It can't be removed.
pub fn forget(state_dir: &Path, name: &str) -> Result<bool, SecretError> {
    let path = path(state_dir, name)?;
    match fs::remove_file(&path) {
        Ok(()) => Ok(true),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(false),
        Err(error) => Err(at("remove", &path)(error).into()),
    }
}

/// Names only, sorted.
///
/// # Errors
/// The directory can't be read.
pub fn names(state_dir: &Path) -> Result<Vec<String>, SecretError> {
    let folder = state_dir.join(FOLDER);
    let entries = match fs::read_dir(&folder) {
        Ok(entries) => entries,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(Vec::new()),
        Err(error) => return Err(at("list", &folder)(error).into()),
    };
    let names = entries.filter_map(|entry| entry.ok()?.file_name().into_string().ok());
    let mut names: Vec<String> = names.filter(|name| is_name(name)).collect();
    names.sort();
    Ok(names)
}

/// The secret, or why there is none to use.
pub(crate) fn read(state_dir: &Path, name: &str) -> Result<Zeroizing<Vec<u8>>, Blocked> {
    let blocked = |code, message| Blocked {
        code,
        message,
        mend: format!("at this edge: hawser-edge secret set {name}"),
    };
    let path =
        path(state_dir, name).map_err(|e| blocked("IKE_SECRET_UNREADABLE", e.to_string()))?;
    match read_bounded(&path, MAX_SECRET_BYTES) {
        Ok(Some(secret)) => {
            let secret = Zeroizing::new(secret);
            // Whoever put the file there by other means than ours may have ended its line.
            Ok(Zeroizing::new(secret.strip_suffix(b"\n").unwrap_or(&secret).to_vec()))
        }
        Ok(None) => {
            Err(blocked("IKE_SECRET_MISSING", format!("this edge has no secret named {name}")))
        }
        Err(error) => Err(blocked("IKE_SECRET_UNREADABLE", error.to_string())),
    }
}

fn path(state_dir: &Path, name: &str) -> Result<PathBuf, SecretError> {
    if is_name(name) {
        Ok(state_dir.join(FOLDER).join(name))
    } else {
        Err(SecretError::Name(name.chars().take(64).collect()))
    }
}

/// A DNS label, as in the intent: never a path.
fn is_name(name: &str) -> bool {
    let fits = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-';
    (1..=63).contains(&name.len()) && name.bytes().all(fits)
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    #[test]
    fn a_secret_is_kept_for_its_owner_only_and_never_outside_of_its_folder() {
        let state = tempfile::tempdir().expect("a folder");
        let secret = b"0123456789abcdef";
        assert_eq!(read(state.path(), "dc").expect_err("none").code, "IKE_SECRET_MISSING");
        keep(state.path(), "dc", secret).expect("kept");
        assert_eq!(read(state.path(), "dc").expect("there").as_slice(), secret);
        let mode = |path: &Path| fs::metadata(path).expect("there").permissions().mode() & 0o777;
        let folder = state.path().join(FOLDER);
        assert_eq!((mode(&folder), mode(&folder.join("dc"))), (0o700, 0o600));
        fs::write(folder.join("dc"), b"by other means..\n").expect("written");
        assert_eq!(read(state.path(), "dc").expect("there").as_slice(), b"by other means..");
        assert_eq!(names(state.path()).expect("a list"), ["dc"]);
        assert!(forget(state.path(), "dc").expect("removed"));
        assert!(!forget(state.path(), "dc").expect("nothing to remove"));
        for name in ["", "../x", "a/b", "A", "a b"] {
            assert_eq!(keep(state.path(), name, secret).expect_err(name).code(), "SECRET_NAME");
        }
        let short = keep(state.path(), "dc", b"short").expect_err("short");
        assert_eq!(short.code(), "SECRET_LENGTH");
        assert!(!short.to_string().contains("short"));
    }
}
