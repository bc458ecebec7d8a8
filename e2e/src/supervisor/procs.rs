//! The lab's programs: started, told apart, reaped.

use super::netns::{self, Netns};
use crate::lab::ProcessStatus;
use crate::lab::wire::{self, Reply, SpawnRequest};
use nix::sys::signal::{SigSet, Signal};
use std::collections::BTreeMap;
use std::io;
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd};
use std::os::unix::net::UnixStream;
use std::os::unix::process::CommandExt;
use std::process::Command;
use std::sync::{Mutex, MutexGuard};

/// Programs at a time; what a small machine can carry.
pub(super) const MAX_PROCESSES: usize = 512;

#[derive(Default)]
pub(super) struct Procs {
    running: Mutex<BTreeMap<i32, Running>>,
}

struct Running {
    node: String,
    argv: Vec<String>,
    keep: bool,
    /// Who hears of the end.
    client: UnixStream,
}

impl Procs {
    /// Starts a program at a node in a process group of its own, tells the client, and returns the process ID.
    pub(super) fn spawn(
        &self,
        netns: &Netns,
        request: SpawnRequest,
        stdio: [OwnedFd; 3],
        client: UnixStream,
    ) -> io::Result<i32> {
        let [stdin, stdout, stderr] = stdio;
        let program = request.argv.first().filter(|program| !program.is_empty());
        let mut command = Command::new(program.ok_or(io::ErrorKind::InvalidInput)?);
        command.args(&request.argv[1..]).env_clear().envs(request.env).current_dir(request.cwd);
        command.stdin(stdin).stdout(stdout).stderr(stderr).process_group(0);
        let fd = netns.raw_fd();
        let prepare = move || {
            // The supervisor's signals are blocked, and a new program inherits that.
            SigSet::empty().thread_set_mask()?;
            netns::enter(fd)
        };
        // SAFETY: `prepare` makes system calls only.
        unsafe { command.pre_exec(prepare) };
        // The lock keeps the reaper off: a start that fails is waited for by `spawn` itself, and one that ends at once
        // must be known before it is reaped.
        let mut running = self.lock();
        if running.len() >= MAX_PROCESSES {
            return Err(io::Error::other(format!("{MAX_PROCESSES} programs run already")));
        }
        let pid = command.spawn()?.id() as i32;
        let handle = pidfd(pid)?;
        let told = wire::send(&client, &Reply::Spawned, &[handle.as_raw_fd()]);
        let entry = Running { node: request.node, argv: request.argv, keep: request.keep, client };
        running.insert(pid, entry);
        if told.is_err() && !request.keep {
            kill_group(pid, libc::SIGKILL);
        }
        Ok(pid)
    }

    /// Signals a program and its group, if it still runs.
    pub(super) fn signal(&self, pid: i32, number: i32) {
        if self.lock().contains_key(&pid) {
            kill_group(pid, number);
        }
    }

    /// The program is nobody's any more: it and its group run on by themselves.
    pub(super) fn keep(&self, pid: i32) {
        if let Some(entry) = self.lock().get_mut(&pid) {
            entry.keep = true;
        }
    }

    pub(super) fn at(&self, node: &str) -> Vec<ProcessStatus> {
        let running = self.lock();
        let here = running.iter().filter(|(_, entry)| entry.node == node);
        here.map(|(&pid, entry)| ProcessStatus { pid, argv: entry.argv.clone() }).collect()
    }

    /// Reaps every child, orphans of the lab too, until a signal says to end.
    pub(super) fn reap_until_told(&self) {
        loop {
            match super::signals().wait() {
                Ok(Signal::SIGCHLD) => self.reap(),
                Ok(_) => return,
                Err(error) => eprintln!("waiting for a signal: {error}"),
            }
        }
    }

    fn reap(&self) {
        let mut running = self.lock();
        // One signal may stand for many ends.
        while let Some((pid, status)) = next_ended() {
            let Some(entry) = running.remove(&pid) else { continue };
            if !entry.keep {
                // What the program left behind in its group goes with it.
                kill_group(pid, libc::SIGKILL);
            }
            // A client that is gone need not know.
            let _ = wire::send(&entry.client, &Reply::Exited(status), &[]);
        }
    }

    fn lock(&self) -> MutexGuard<'_, BTreeMap<i32, Running>> {
        self.running.lock().expect("no thread panics while it holds the process table")
    }
}

fn next_ended() -> Option<(i32, i32)> {
    let mut status = 0;
    // SAFETY: `status` outlives the call. nix's waitpid would take the raw status apart, and the client wants it whole.
    let pid = unsafe { libc::waitpid(-1, &raw mut status, libc::WNOHANG) };
    (pid > 0).then_some((pid, status))
}

fn kill_group(pid: i32, number: i32) {
    // SAFETY: takes integers only. The group may be gone already, which is as good.
    unsafe { libc::kill(-pid, number) };
}

fn pidfd(pid: i32) -> io::Result<OwnedFd> {
    // SAFETY: takes integers only.
    let fd = unsafe { libc::syscall(libc::SYS_pidfd_open, pid, 0) };
    if fd < 0 {
        return Err(io::Error::last_os_error());
    }
    // SAFETY: the kernel has just made this descriptor for us.
    Ok(unsafe { OwnedFd::from_raw_fd(fd as i32) })
}
