//! The supervisor of a lab: process 1 of its own PID namespace, with mount and network namespaces of its own.
//!
//! `hawser-lab supervise` forks once: the outer process waits and cleans up, the inner one is the supervisor. All
//! programs of the lab are the inner one's children. So the kernel ends them with it, whatever ends it, and the
//! namespaces and devices that only they hold go as well.

mod build;
mod control;
mod netns;
mod procs;

use crate::lab::start::{Ready, start_limit};
use crate::lab::topology::Topology;
use nix::sched::{CloneFlags, unshare};
use nix::sys::signal::{SigSet, Signal};
use nix::sys::wait::{WaitStatus, waitpid};
use nix::unistd::{ForkResult, fork};
use procs::Procs;
use std::fs::OpenOptions;
use std::io::{self, Read, Write};
use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

pub(crate) struct Options {
    pub name: String,
    pub folder: PathBuf,
    pub detach: bool,
}

/// The topology comes as one JSON line on standard input, which then stays open as long as the lab shall live.
pub(crate) fn run(options: &Options) -> ExitCode {
    match divide(options) {
        Ok(code) => code,
        Err(message) => {
            say(&Ready::Failed { message });
            ExitCode::FAILURE
        }
    }
}

/// Forks into the one that waits and the one that supervises.
fn divide(options: &Options) -> Result<ExitCode, String> {
    let topology: Topology = serde_json::from_str(&first_line().map_err(text)?).map_err(text)?;
    if options.detach {
        nix::unistd::setsid().ok();
    }
    let spaces = CloneFlags::CLONE_NEWPID | CloneFlags::CLONE_NEWNS | CloneFlags::CLONE_NEWNET;
    unshare(spaces).map_err(|error| format!("namespaces can't be made: {error}"))?;
    // SAFETY: this process has one thread, so the child is no torn copy and may do anything.
    match unsafe { fork() }.map_err(text)? {
        ForkResult::Child => Ok(supervise(options, topology)),
        ForkResult::Parent { child } => {
            let ended = waitpid(child, None);
            std::fs::remove_dir_all(&options.folder).ok();
            let clean = matches!(ended, Ok(WaitStatus::Exited(_, 0)));
            Ok(if clean { ExitCode::SUCCESS } else { ExitCode::FAILURE })
        }
    }
}

fn supervise(options: &Options, topology: Topology) -> ExitCode {
    die_with_parent();
    // Process 1 gets SIGALRM only with a handler; the limit is therefore a thread's.
    let ready = Arc::new(AtomicBool::new(false));
    match set_up(options, topology, &ready) {
        Ok((pid, procs)) => {
            ready.store(true, Ordering::Release);
            say(&Ready::Up { pid });
            silence_stdout();
            procs.reap_until_told();
            ExitCode::SUCCESS
        }
        Err(message) => {
            say(&Ready::Failed { message });
            ExitCode::FAILURE
        }
    }
}

fn set_up(
    options: &Options,
    topology: Topology,
    ready: &Arc<AtomicBool>,
) -> Result<(u32, Arc<Procs>), String> {
    // The old /proc still stands, so this is our ID as our parent's namespace knows it.
    let own = std::fs::read_link("/proc/self").map_err(text)?;
    let pid: u32 = own.to_string_lossy().parse().map_err(text)?;
    // The reaper takes these one at a time; blocked before any thread starts, they stay blocked in all.
    signals().thread_block().map_err(text)?;
    limit_start(Arc::clone(ready));
    netns::private_mounts().map_err(|error| format!("mounts can't be made private: {error}"))?;
    let built = build::build(&topology)?;
    let procs = Arc::new(Procs::default());
    let kept = Arc::new(AtomicBool::new(options.detach));
    let control = control::Control {
        name: options.name.clone(),
        pid,
        topology,
        nodes: built.nodes,
        emulator: built.links.start().map_err(|error| format!("the WAN emulator: {error}"))?,
        procs: Arc::clone(&procs),
        kept: Arc::clone(&kept),
    };
    control::listen(&options.folder, control)
        .map_err(|error| format!("the control socket: {error}"))?;
    std::thread::spawn(move || end_with_lifeline(&kept));
    Ok((pid, procs))
}

/// What the reaper waits for.
fn signals() -> SigSet {
    [Signal::SIGCHLD, Signal::SIGTERM, Signal::SIGINT, Signal::SIGHUP].into_iter().collect()
}

/// Standard input ends when whoever brought the lab up closes it or dies.
fn end_with_lifeline(kept: &AtomicBool) {
    let mut rest = [0; 64];
    while matches!(io::stdin().read(&mut rest), Ok(1..)) {}
    if !kept.load(Ordering::Acquire) {
        std::process::exit(0);
    }
}

fn limit_start(ready: Arc<AtomicBool>) {
    std::thread::spawn(move || {
        std::thread::sleep(start_limit());
        if !ready.load(Ordering::Acquire) {
            let message = format!("it was not ready within {:?}", start_limit());
            say(&Ready::Failed { message });
            std::process::exit(1);
        }
    });
}

fn die_with_parent() {
    // SAFETY: takes integers only. The signal is the one thing that ends process 1 from outside for sure.
    unsafe { libc::prctl(libc::PR_SET_PDEATHSIG, libc::SIGKILL as libc::c_ulong) };
}

fn say(ready: &Ready) {
    let mut stdout = io::stdout().lock();
    // Nobody listens any more when the starter has died; its lifeline then ends this process.
    let _ = serde_json::to_writer(&mut stdout, ready);
    let _ = stdout.write_all(b"\n");
    let _ = stdout.flush();
}

/// Lets go of the starter's pipe.
fn silence_stdout() {
    if let Ok(null) = OpenOptions::new().write(true).open("/dev/null") {
        nix::unistd::dup2_stdout(&null).ok();
    }
}

/// Octet by octet, so that nothing behind the line is swallowed.
fn first_line() -> io::Result<String> {
    let mut line = Vec::new();
    for octet in io::stdin().lock().bytes() {
        match octet? {
            b'\n' => return String::from_utf8(line).map_err(io::Error::other),
            octet => line.push(octet),
        }
    }
    Err(io::Error::from(io::ErrorKind::UnexpectedEof))
}

fn text(error: impl std::fmt::Display) -> String {
    error.to_string()
}
