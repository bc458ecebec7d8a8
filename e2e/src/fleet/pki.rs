//! A certification authority as an administrator makes it: with `openssl`, and not with our code.

use super::error::FleetError;
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::Command;

const DAYS: &str = "2";
/// What strongSwan's base package can sign with.
const NEW_KEY: [&str; 3] = ["-newkey", "rsa:2048", "-nodes"];

/// A folder with `ca.pem`, and a `NAME.pem` and `NAME.key` for each that was issued.
pub struct Pki {
    folder: PathBuf,
}

impl Pki {
    /// # Errors
    /// `openssl` is missing, or fails.
    pub fn new(folder: PathBuf) -> Result<Self, FleetError> {
        fs::create_dir_all(&folder).map_err(FleetError::file("made", &folder))?;
        let pki = Self { folder };
        let (key, pem) = (pki.file("ca.key"), pki.file("ca.pem"));
        let request = ["req", "-x509", "-subj", "/CN=A CA of a lab", "-days", DAYS];
        pki.openssl(&[&request, &NEW_KEY[..], &["-keyout", &key, "-out", &pem]].concat())?;
        Ok(pki)
    }

    /// A certificate for the DNS name `holder`, with a new key. A second one of the same name replaces the first.
    ///
    /// # Errors
    /// `openssl` fails.
    pub fn issue(&self, name: &str, holder: &str) -> Result<(), FleetError> {
        let file = |ending: &str| self.file(&format!("{name}.{ending}"));
        let (key, request, pem, names) = (file("key"), file("csr"), file("pem"), file("cnf"));
        fs::write(&names, format!("subjectAltName=DNS:{holder}\n"))
            .map_err(FleetError::file("written", &names))?;
        let subject = format!("/CN={holder}");
        let wanted = ["req", "-subj", &subject, "-keyout", &key, "-out", &request];
        self.openssl(&[&wanted, &NEW_KEY[..]].concat())?;
        let (ca, ca_key) = (self.file("ca.pem"), self.file("ca.key"));
        let signed = ["x509", "-req", "-in", &request, "-out", &pem, "-days", DAYS];
        let by = ["-CA", &ca, "-CAkey", &ca_key, "-CAcreateserial", "-extfile", &names];
        self.openssl(&[&signed[..], &by].concat())
    }

    #[must_use]
    pub fn read(&self, file: &str) -> String {
        fs::read_to_string(self.folder.join(file)).unwrap_or_default()
    }

    /// Copies a file, for its owner only.
    ///
    /// # Errors
    /// It can't be copied.
    pub fn give(&self, file: &str, to: &Path) -> Result<(), FleetError> {
        if let Some(folder) = to.parent() {
            fs::create_dir_all(folder).map_err(FleetError::file("made", folder))?;
        }
        // Aside and renamed: whoever reads it finds a whole one.
        let aside = to.with_extension("new");
        fs::copy(self.folder.join(file), &aside).map_err(FleetError::file("copied", to))?;
        let mode = fs::Permissions::from_mode(0o600);
        fs::set_permissions(&aside, mode).map_err(FleetError::file("protected", to))?;
        fs::rename(&aside, to).map_err(FleetError::file("renamed", to))
    }

    fn file(&self, name: &str) -> String {
        self.folder.join(name).to_string_lossy().into_owned()
    }

    fn openssl(&self, arguments: &[&str]) -> Result<(), FleetError> {
        let command = || format!("openssl {}", arguments.join(" "));
        let output = Command::new("openssl").args(arguments).output();
        let output = output.map_err(FleetError::file("started", "openssl"))?;
        if output.status.success() {
            return Ok(());
        }
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        Err(FleetError::Command { command: command(), code: output.status.code(), said })
    }
}
