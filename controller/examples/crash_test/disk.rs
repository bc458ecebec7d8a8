//! A disk that fills up: a small tmpfs in a mount namespace of its own.

use std::path::Path;
use std::process::{Command, ExitCode, Stdio};
use std::sync::Arc;
use std::time::Duration;

use crate::client::connect;
use crate::round::{self, Shared, Tally};
use crate::worker::{Death, Worker};

/// Writers fill it in a few seconds.
const SMALL: &str = "size=10m";
const BIG: &str = "size=512m";
const FILLS_WITHIN: Duration = Duration::from_secs(60);

/// Runs [`fill`] where its mounts are nobody else's.
pub fn round(tally: &mut Tally) -> Result<(), String> {
    let dir = tempfile::tempdir().map_err(|error| error.to_string())?;
    let output = Command::new("unshare")
        .args(["--mount", "--propagation", "private"])
        .arg(std::env::current_exe().map_err(|error| error.to_string())?)
        .arg("disk")
        .arg(dir.path())
        .stderr(Stdio::inherit())
        .output()
        .map_err(|error| error.to_string())?;
    let text = String::from_utf8_lossy(&output.stdout);
    let figures: Vec<u64> = text.split_whitespace().filter_map(|word| word.parse().ok()).collect();
    let [acknowledged, errors, lost] = figures[..] else {
        return Err(format!("no figures but {text:?}"));
    };
    tally.disk_rounds += 1;
    tally.disk_acknowledged += acknowledged;
    tally.disk_errors += errors;
    tally.disk_lost += lost;
    Ok(())
}

fn mount(dir: &Path, options: &str) -> bool {
    let status =
        Command::new("mount").args(["-t", "tmpfs", "-o", options, "tmpfs"]).arg(dir).status();
    status.is_ok_and(|status| status.success())
}

/// `disk DIR`: prints what was acknowledged, how many writers were told of an error, and what is lost.
pub async fn fill(arguments: &[String]) -> ExitCode {
    let dir = Path::new(&arguments[0]);
    if !mount(dir, SMALL) {
        eprintln!("the small disk can't be mounted: is this root?");
        return ExitCode::FAILURE;
    }
    let data = dir.join("data");
    let access = round::initialise(&data).await;
    let Some(worker) = Worker::start(&data, Death::Never) else { return ExitCode::FAILURE };
    let told = Shared::default();
    // What else is on the disk leaves little room.
    let _ = std::fs::write(dir.join("ballast"), vec![0; 4 << 20]);
    let mut writers = Vec::new();
    for writer in 0..u64::from(round::WRITERS) {
        let (access, told) = (access.clone(), Arc::clone(&told));
        writers.push(tokio::spawn(round::write(access, worker.port, writer * 10_000, told)));
    }
    let mut errors = 0;
    for writer in writers {
        // A writer ends when it is told of an error.
        match tokio::time::timeout(FILLS_WITHIN, writer).await {
            Ok(Ok(())) => errors += 1,
            _ => eprintln!("the disk was not full in time"),
        }
    }
    worker.kill();
    let told = std::mem::take(&mut *told.lock().expect("nobody panicked"));
    let acknowledged = (told.revisions.len() + told.tokens.len()) as u64;
    // More room, and another start.
    let remount = format!("remount,{BIG}");
    if !mount(dir, &remount) {
        eprintln!("the disk can't be made bigger");
        return ExitCode::FAILURE;
    }
    let Some(worker) = Worker::start(&data, Death::Never) else {
        eprintln!("it does not start again");
        return ExitCode::FAILURE;
    };
    let mut client = connect(&access, worker.port).await.expect("it answers");
    let lost = round::lost(&mut client, &told).await;
    println!("{acknowledged} {errors} {lost}");
    ExitCode::SUCCESS
}
