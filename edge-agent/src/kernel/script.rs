//! Loads our nftables table, and notices when somebody else removed or changed it.

use std::io::Write;
use std::process::{Command, Output, Stdio};

use hawser_edge_core::kernel::SCRIPT_TABLE;

use super::netlink::Refusal;

/// The script loaded last, and how nft lists the table since.
#[derive(Debug, Default)]
pub struct Script {
    last: Option<(String, Vec<u8>)>,
}

impl Script {
    /// The script that was loaded last, and how nft listed the table then.
    pub fn last(&self) -> Option<(String, Vec<u8>)> {
        self.last.clone()
    }

    /// The kernel still holds what such a listing tells. It takes a process to know.
    pub fn still_lists(listing: &[u8]) -> bool {
        list().is_ok_and(|now| now.stdout == *listing)
    }

    /// # Errors
    /// What nft said.
    pub fn load(&mut self, script: &str) -> Result<(), Refusal> {
        self.load_other(script)?;
        let listing = list().map_err(refusal)?;
        self.last = Some((script.to_owned(), listing.stdout));
        Ok(())
    }

    /// Loads one that is not ours to watch.
    ///
    /// # Errors
    /// What nft said.
    pub fn load_other(&self, script: &str) -> Result<(), Refusal> {
        let output = nft(&["-f", "-"], script).map_err(refusal)?;
        if output.status.success() {
            return Ok(());
        }
        let said = String::from_utf8_lossy(&output.stderr);
        let said = said.lines().next().unwrap_or("no reason given").to_owned();
        Err(refusal(std::io::Error::other(said)))
    }
}

fn refusal(source: std::io::Error) -> Refusal {
    Refusal { what: "load the nftables table", source }
}

/// Without counters (`-s`), so that two listings differ only if the rules do.
fn list() -> std::io::Result<Output> {
    nft(&["-s", "list", "table", "inet", SCRIPT_TABLE], "")
}

fn nft(arguments: &[&str], input: &str) -> std::io::Result<Output> {
    let mut child = Command::new("nft")
        .args(arguments)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()?;
    if let Some(mut stdin) = child.stdin.take() {
        // A pipe that nft closed early: its exit status says more.
        let _ = stdin.write_all(input.as_bytes());
    }
    child.wait_with_output()
}
