//! Loads the nftables guard, and notices when somebody else removed or changed it.

use std::process::{Output, Stdio};
use std::time::Duration;

use hawser_edge_core::reconcile::GUARD_TABLE;
use tokio::io::AsyncWriteExt;
use tokio::process::Command;

use super::HostError;
use crate::kernel::ruleset_generation;

/// A generation is refused for good when this runs out, and a busy machine may take many seconds only to start a process.
const NFT_TIMEOUT: Duration = Duration::from_secs(30);

/// The script loaded last.
#[derive(Default)]
pub(super) struct Guard {
    last: Option<Loaded>,
}

struct Loaded {
    script: String,
    /// How nft listed the table then.
    listing: Vec<u8>,
    /// Of the ruleset when it was known last that the table is as it was; `None`: the kernel did not say.
    generation: Option<u32>,
}

impl Guard {
    /// The script that was loaded, if the kernel still holds what it made. Only a ruleset that changed is listed: it takes
    /// a process.
    pub(super) async fn loaded(&mut self) -> Option<String> {
        let last = self.last.as_mut()?;
        let generation = ruleset_generation().ok();
        if generation.is_none() || generation != last.generation {
            let same = list().await.ok()? == last.listing;
            last.generation = generation.filter(|_| same);
            if !same {
                return None;
            }
        }
        Some(last.script.clone())
    }

    pub(super) async fn load(&mut self, script: &str) -> Result<(), HostError> {
        let output = nft(&["-f", "-"], script).await?;
        if !output.status.success() {
            return Err(HostError::NftRefused(first_line(&output.stderr)));
        }
        // Before the listing: what changes in between has a number of its own.
        let generation = ruleset_generation().ok();
        self.last = Some(Loaded { script: script.to_owned(), listing: list().await?, generation });
        Ok(())
    }
}

/// Whether nft is here, and the kernel lets it list.
pub(super) async fn usable() -> Result<(), HostError> {
    let output = nft(&["list", "tables"], "").await?;
    if output.status.success() {
        Ok(())
    } else {
        Err(HostError::NftRefused(first_line(&output.stderr)))
    }
}

/// Takes it out; one that is not there is no error.
pub(super) async fn remove() -> Result<(), HostError> {
    let script = format!("table inet {GUARD_TABLE} {{}}\ndelete table inet {GUARD_TABLE}\n");
    let output = nft(&["-f", "-"], &script).await?;
    if output.status.success() {
        Ok(())
    } else {
        Err(HostError::NftRefused(first_line(&output.stderr)))
    }
}

/// Without counters (`-s`), so that two listings differ only if the rules do.
async fn list() -> Result<Vec<u8>, HostError> {
    let output = nft(&["-s", "list", "table", "inet", GUARD_TABLE], "").await?;
    if output.status.success() {
        Ok(output.stdout)
    } else {
        Err(HostError::NftRefused(first_line(&output.stderr)))
    }
}

async fn nft(arguments: &[&str], input: &str) -> Result<Output, HostError> {
    let mut child = Command::new("nft")
        .args(arguments)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .kill_on_drop(true)
        .spawn()
        .map_err(HostError::NftMissing)?;
    if let Some(mut stdin) = child.stdin.take() {
        // A pipe that nft closed early: its exit status says more.
        let _ = stdin.write_all(input.as_bytes()).await;
    }
    let finished = tokio::time::timeout(NFT_TIMEOUT, child.wait_with_output()).await;
    finished
        .map_err(|_| HostError::NftTimeout(NFT_TIMEOUT.as_secs()))?
        .map_err(HostError::NftMissing)
}

fn first_line(stderr: &[u8]) -> String {
    String::from_utf8_lossy(stderr).lines().next().unwrap_or("no reason given").to_owned()
}
