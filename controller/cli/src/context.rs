//! Where the controller is, what its certificate must descend from, and who asks.

use std::fmt;
use std::io::Read as _;
use std::path::{Path, PathBuf};

use serde::Deserialize;

use crate::error::{CliError, Exit};

const MAX_BYTES: u64 = 64 * 1024;

/// What the controller wrote at its first start. `Debug` shows no token.
#[derive(Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Context {
    /// `https://host:port`.
    pub controller: String,
    /// The one of several fleets that is asked for; none: the controller's first.
    #[serde(default)]
    pub fleet: Option<String>,
    pub ca_pem: String,
    #[serde(default)]
    pub token: String,
}

impl fmt::Debug for Context {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Context").field("controller", &self.controller).finish_non_exhaustive()
    }
}

/// Reads the context file; `HAWSER_TOKEN` replaces its token, and `fleet` says which the controller must be of. Warnings are for people.
pub fn load(
    given: Option<PathBuf>,
    fleet: Option<String>,
) -> Result<(Context, Vec<String>), CliError> {
    let path = match given {
        Some(path) => path,
        None => {
            let folder = own_folder().ok_or_else(|| no_context("there is no home folder"))?;
            let of_fleet = fleet.as_ref().map(|fleet| of_fleet(&folder, fleet));
            // The only fleet's may be named, too.
            of_fleet.filter(|path| path.exists()).unwrap_or_else(|| folder.join("context.json"))
        }
    };
    let mut warnings = Vec::new();
    if let Some(mode) = open_to_others(&path) {
        warnings.push(format!(
            "{} can be read by others (mode {mode:o}): chmod 600 {}",
            path.display(),
            path.display()
        ));
    }
    let mut context = parse(&read(&path)?, &path)?.of(fleet, &path)?;
    if let Ok(token) = std::env::var("HAWSER_TOKEN")
        && !token.trim().is_empty()
    {
        context.token = token.trim().to_owned();
    }
    if context.token.is_empty() {
        let message = format!("{} has no token", path.display());
        return Err(CliError::new(
            Exit::Usage,
            "TOKEN_MISSING",
            message,
            "put an API token into HAWSER_TOKEN or the context file",
        ));
    }
    Ok((context, warnings))
}

impl Context {
    /// The same, for that fleet alone: its name is asked for, and only its CA's certificate is believed.
    fn of(mut self, fleet: Option<String>, path: &Path) -> Result<Self, CliError> {
        let Some(fleet) = fleet else { return Ok(self) };
        if let Some(own) = self.fleet.as_deref().filter(|own| *own != fleet) {
            let message = format!("{} is of the fleet {own}, not {fleet}", path.display());
            let mend = format!("give the context file of {fleet}: --context FILE");
            return Err(CliError::new(Exit::Usage, "CONTEXT_FLEET", message, &mend));
        }
        self.fleet = Some(fleet);
        Ok(self)
    }
}

fn of_fleet(folder: &Path, fleet: &str) -> PathBuf {
    folder.join("fleets").join(format!("{fleet}.json"))
}

fn own_folder() -> Option<PathBuf> {
    let folder = std::env::var_os("XDG_CONFIG_HOME").filter(|value| !value.is_empty());
    let folder = folder.map(PathBuf::from).or_else(|| {
        let home = std::env::var_os("HOME").filter(|value| !value.is_empty())?;
        Some(PathBuf::from(home).join(".config"))
    })?;
    Some(folder.join("hawser"))
}

fn no_context(why: impl fmt::Display) -> CliError {
    CliError::new(
        Exit::Usage,
        "CONTEXT_MISSING",
        format!("there is no context file: {why}"),
        "give the one that the controller wrote at its first start: --context FILE",
    )
}

fn read(path: &Path) -> Result<String, CliError> {
    let file = std::fs::File::open(path)
        .map_err(|error| no_context(format_args!("{}: {error}", path.display())))?;
    let mut text = String::new();
    match file.take(MAX_BYTES + 1).read_to_string(&mut text) {
        Ok(_) if text.len() as u64 <= MAX_BYTES => Ok(text),
        Ok(_) => Err(not_one(path, &format!("it is longer than {MAX_BYTES} octets"))),
        Err(error) => Err(not_one(path, &error.to_string())),
    }
}

fn parse(text: &str, path: &Path) -> Result<Context, CliError> {
    // serde's message may quote a value of the file, which may be the token: only its place is told.
    let context: Context = serde_json::from_str(text).map_err(|error| {
        not_one(path, &format!("line {}, column {}", error.line(), error.column()))
    })?;
    if !context.controller.starts_with("https://") {
        return Err(not_one(path, "`controller` must begin with https://"));
    }
    if !context.ca_pem.contains("BEGIN CERTIFICATE") {
        return Err(not_one(path, "`ca_pem` holds no certificate"));
    }
    Ok(context)
}

fn not_one(path: &Path, why: &str) -> CliError {
    CliError::new(
        Exit::Usage,
        "CONTEXT_INVALID",
        format!("{} is no context file: {why}", path.display()),
        "it is JSON with `controller`, `ca_pem` and `token`",
    )
}

#[cfg(unix)]
fn open_to_others(path: &Path) -> Option<u32> {
    use std::os::unix::fs::PermissionsExt as _;
    let mode = std::fs::metadata(path).ok()?.permissions().mode() & 0o777;
    (mode & 0o077 != 0).then_some(mode)
}

#[cfg(not(unix))]
fn open_to_others(_: &Path) -> Option<u32> {
    None
}

#[cfg(test)]
mod tests;
