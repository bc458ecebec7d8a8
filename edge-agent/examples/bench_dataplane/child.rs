//! Processes that end with this one.

use std::ffi::OsStr;
use std::io::Write;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use crate::Fault;
use crate::net::Net;

/// A running process; killed when dropped, or when this process dies.
#[derive(Debug)]
pub struct Process(Child);

impl Process {
    /// Starts a command line in a namespace. Its output is lost.
    pub fn start(net: &Net, line: &[&str], environment: &[(&str, &str)]) -> Result<Process, Fault> {
        let mut command = within(net, line);
        command.envs(environment.iter().copied());
        command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
        // The signal comes when the thread that starts it ends: the main one.
        Ok(Process(command.spawn()?))
    }

    pub fn has_ended(&mut self) -> bool {
        !matches!(self.0.try_wait(), Ok(None))
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

fn within(net: &Net, line: &[&str]) -> Command {
    let mut command = Command::new("nsenter");
    command.arg(format!("--net={}", net.path())).args(["setpriv", "--pdeathsig", "KILL"]);
    command.args(line);
    command
}

/// Runs a command line in a namespace to its end, with `input` as its standard input; gives what it printed.
pub fn output(
    net: &Net,
    line: &[&str],
    environment: &[(&str, &str)],
    input: &str,
) -> Result<String, Fault> {
    let mut command = within(net, line);
    command.envs(environment.iter().copied());
    command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = command.spawn()?;
    child.stdin.take().ok_or("no standard input")?.write_all(input.as_bytes())?;
    let output = child.wait_with_output()?;
    if !output.status.success() {
        let said = String::from_utf8_lossy(&output.stderr);
        return Err(format!("{}: {}", line.join(" "), said.trim()).into());
    }
    Ok(String::from_utf8_lossy(&output.stdout).trim().to_owned())
}

/// Tries until it works; the last fault after `patience`.
pub fn until<T>(
    patience: Duration,
    mut attempt: impl FnMut() -> Result<T, Fault>,
) -> Result<T, Fault> {
    let deadline = Instant::now() + patience;
    loop {
        match attempt() {
            Err(fault) if Instant::now() >= deadline => return Err(fault),
            Err(_) => std::thread::sleep(Duration::from_millis(20)),
            done => return done,
        }
    }
}

/// Where a program stands on the path, or beside the system's own.
pub fn find(program: &str) -> Option<PathBuf> {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let home = std::env::var_os("HOME").map(|home| PathBuf::from(home).join(".cargo/bin"));
    let system = ["/usr/sbin", "/sbin"].map(PathBuf::from);
    std::env::split_paths(&path)
        .chain(system)
        .chain(home)
        .map(|folder| folder.join(OsStr::new(program)))
        .find(|file| file.is_file())
}
