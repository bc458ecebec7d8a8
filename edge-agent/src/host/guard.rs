//! Loads the nftables guard, and notices when somebody else removed or changed it.

use std::process::{Output, Stdio};
use std::time::Duration;

use hawser_edge_core::reconcile::GUARD_TABLE;
use tokio::io::AsyncWriteExt;
use tokio::process::Command;

use super::HostError;

const NFT_TIMEOUT: Duration = Duration::from_secs(5);

/// The script loaded last, and how nft lists the table since.
#[derive(Default)]
pub(super) struct Guard {
    last: Option<(String, Vec<u8>)>,
}

impl Guard {
    /// The script that was loaded, if the kernel still holds what it made.
    pub(super) async fn loaded(&self) -> Option<String> {
        let (script, listing) = self.last.as_ref()?;
        let now = list().await.ok()?;
        (now == *listing).then(|| script.clone())
    }

    pub(super) async fn load(&mut self, script: &str) -> Result<(), HostError> {
        let output = nft(&["-f", "-"], script).await?;
        if !output.status.success() {
            return Err(HostError::NftRefused(first_line(&output.stderr)));
        }
        self.last = Some((script.to_owned(), list().await?));
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
