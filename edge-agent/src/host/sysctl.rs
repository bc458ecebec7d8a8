//! Sysctls, as files below /proc/sys. A dot separates; a slash stands for a dot inside a name (sysctl(8)).

use std::collections::BTreeMap;
use std::fs;
use std::path::PathBuf;

use super::HostError;

fn file(name: &str) -> PathBuf {
    let swap = |c| match c {
        '.' => '/',
        '/' => '.',
        other => other,
    };
    PathBuf::from("/proc/sys").join(name.chars().map(swap).collect::<String>())
}

/// The values of those that exist.
pub(super) fn read(names: &[String]) -> BTreeMap<String, String> {
    let value = |name: &String| fs::read_to_string(file(name)).ok().map(|v| v.trim().to_owned());
    names.iter().filter_map(|name| Some((name.clone(), value(name)?))).collect()
}

/// Whether this process may set it.
pub(super) fn is_writable(name: &str) -> bool {
    fs::OpenOptions::new().write(true).open(file(name)).is_ok()
}

pub(super) fn write(name: &str, value: &str) -> Result<(), HostError> {
    fs::write(file(name), value)
        .map_err(|source| HostError::Sysctl { name: name.to_owned(), source })
}
