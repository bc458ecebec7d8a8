//! [`Lab`]: the client's end of a lab.

use super::error::LabError;
use super::folder;
use super::process::{Output, Process, Sink, Task};
use super::start::{self, Supervisor};
use super::topology::Topology;
use super::wire::{self, Receiver, Reply, Request, Status};
use crate::wan::Impairment;
use std::io;
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::sync::Mutex;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

/// How long [`Lab::exec`] lets a command run.
const EXEC_LIMIT: Duration = Duration::from_secs(60);
/// A supervisor answers at once; this only ends the wait for one that is stuck.
const REPLY_LIMIT: Duration = Duration::from_secs(60);

/// A running lab. Dropping the handle that brought it up takes it down.
pub struct Lab {
    name: String,
    folder: PathBuf,
    pid: u32,
    /// `None` for a lab that someone else brought up, or that was detached.
    supervisor: Mutex<Option<Supervisor>>,
}

impl Lab {
    /// Brings a lab up under a name of its own: any number may run side by side.
    ///
    /// # Errors
    /// Not root; a faulty topology; whatever the kernel refused.
    pub fn up(topology: &Topology) -> Result<Self, LabError> {
        static NEXT: AtomicU32 = AtomicU32::new(1);
        let number = NEXT.fetch_add(1, Ordering::Relaxed);
        let name = format!("{}-{}-{number}", topology.name, std::process::id());
        Self::up_named(topology, &name)
    }

    /// Brings a lab up under a given name.
    ///
    /// # Errors
    /// As [`Lab::up`]; and the name is taken.
    pub fn up_named(topology: &Topology, name: &str) -> Result<Self, LabError> {
        Self::start(topology, name, false)
    }

    /// Brings a lab up that stays when this process ends, until someone takes it down.
    ///
    /// # Errors
    /// As [`Lab::up_named`].
    pub fn up_detached(topology: &Topology, name: &str) -> Result<Self, LabError> {
        Self::start(topology, name, true)
    }

    fn start(topology: &Topology, name: &str, detach: bool) -> Result<Self, LabError> {
        topology.check()?;
        let (folder, supervisor) = start::start(topology, name, detach)?;
        let pid = supervisor.lab_pid();
        let supervisor = Mutex::new((!detach).then_some(supervisor));
        Ok(Self { name: name.to_owned(), folder, pid, supervisor })
    }

    /// A handle to a lab that runs already. Dropping it leaves the lab alone.
    ///
    /// # Errors
    /// No such lab.
    pub fn attach(name: &str) -> Result<Self, LabError> {
        let folder = folder::of(name);
        if !folder::is_alive(&folder) {
            return Err(LabError::NotRunning { name: name.to_owned() });
        }
        let mut lab = Self { name: name.to_owned(), folder, pid: 0, supervisor: Mutex::new(None) };
        lab.pid = lab.status()?.pid;
        Ok(lab)
    }

    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The supervisor, which is process 1 inside. Killing it removes the lab.
    #[must_use]
    pub fn pid(&self) -> u32 {
        self.pid
    }

    /// The state folder: the control socket and `supervisor.log`.
    #[must_use]
    pub fn folder(&self) -> &Path {
        &self.folder
    }

    /// Nodes, links with what is in effect on them, counters, processes.
    ///
    /// # Errors
    /// The lab is gone.
    pub fn status(&self) -> Result<Status, LabError> {
        match self.ask(&Request::Status)? {
            Reply::Status(status) => Ok(*status),
            other => Err(unexpected(other)),
        }
    }

    /// Changes an emulated link; what the change does not name stays.
    ///
    /// # Errors
    /// No such link, or a value out of range: then nothing has changed.
    pub fn impair(&self, link: &str, change: &Impairment) -> Result<(), LabError> {
        let mut change = change.clone();
        if let Some(trace) = &mut change.trace
            && trace.as_os_str() != "none"
        {
            *trace = std::path::absolute(&trace).map_err(LabError::io("the trace's path"))?;
        }
        self.command(&Request::Impair { link: link.to_owned(), change })
    }

    /// Sets an emulated link back to what its description says.
    ///
    /// # Errors
    /// No such link.
    pub fn reset(&self, link: &str) -> Result<(), LabError> {
        self.command(&Request::Reset { link: link.to_owned() })
    }

    /// Starts a program at a node. It is killed when the [`Process`] is dropped, and when the lab ends.
    ///
    /// # Errors
    /// No such node, no such program, a log file that can't be opened.
    pub fn spawn(&self, node: &str, task: &Task) -> Result<Process, LabError> {
        Process::start(self.connect()?, node, task, false)
    }

    /// Starts a program that runs until it or the lab ends.
    ///
    /// # Errors
    /// As [`Lab::spawn`].
    pub fn spawn_kept(&self, node: &str, task: &Task) -> Result<Process, LabError> {
        Process::start(self.connect()?, node, task, true)
    }

    /// Runs a command at a node to its end, for at most 15 s, and returns its output.
    ///
    /// # Errors
    /// As [`Lab::spawn`]; the command took too long.
    pub fn exec(&self, node: &str, argv: &[&str]) -> Result<Output, LabError> {
        self.exec_within(node, argv, EXEC_LIMIT)
    }

    /// [`Lab::exec`] with another limit.
    ///
    /// # Errors
    /// As [`Lab::exec`].
    pub fn exec_within(
        &self,
        node: &str,
        argv: &[&str],
        limit: Duration,
    ) -> Result<Output, LabError> {
        let (program, arguments) = argv.split_first().unwrap_or((&"", &[]));
        let task = Task::new(program).args(arguments).stdout(Sink::Pipe).stderr(Sink::Pipe);
        self.spawn(node, &task)?.output(limit)
    }

    /// Takes the lab down and waits until it is gone.
    ///
    /// # Errors
    /// The supervisor is stuck; then it has been killed.
    pub fn down(self) -> Result<(), LabError> {
        let owned = self.take_supervisor();
        match owned {
            Some(supervisor) => supervisor.stop(),
            None => {
                self.command(&Request::Down)?;
                start::wait_gone(&self.folder)
            }
        }
    }

    /// Leaves the lab running when this process ends, until someone takes it down; returns its name.
    ///
    /// # Errors
    /// The lab is gone.
    pub fn keep(self) -> Result<String, LabError> {
        self.command(&Request::Keep)?;
        if let Some(supervisor) = self.take_supervisor() {
            supervisor.release();
        }
        Ok(self.name.clone())
    }

    fn take_supervisor(&self) -> Option<Supervisor> {
        self.supervisor.lock().ok()?.take()
    }

    fn command(&self, request: &Request) -> Result<(), LabError> {
        match self.ask(request)? {
            Reply::Done => Ok(()),
            other => Err(unexpected(other)),
        }
    }

    fn ask(&self, request: &Request) -> Result<Reply, LabError> {
        let stream = self.connect()?;
        wire::send(&stream, request, &[]).map_err(LabError::io("the lab can't be asked"))?;
        let reply = Receiver::new(stream).next();
        match reply.map_err(LabError::io("the lab does not answer"))? {
            None => Err(LabError::NotRunning { name: self.name.clone() }),
            Some(Reply::Refused { code, message }) => Err(LabError::Refused { code, message }),
            Some(reply) => Ok(reply),
        }
    }

    fn connect(&self) -> Result<UnixStream, LabError> {
        let gone = |error: &io::Error| {
            matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::ConnectionRefused)
        };
        let stream = match UnixStream::connect(folder::socket(&self.folder)) {
            Err(error) if gone(&error) => {
                return Err(LabError::NotRunning { name: self.name.clone() });
            }
            other => other.map_err(LabError::io("the lab can't be reached"))?,
        };
        stream
            .set_read_timeout(Some(REPLY_LIMIT))
            .map_err(LabError::io("the connection can't be set up"))?;
        Ok(stream)
    }
}

impl Drop for Lab {
    fn drop(&mut self) {
        if let Some(supervisor) = self.take_supervisor() {
            // It is dead either way; there is nobody to tell.
            let _ = supervisor.stop();
        }
    }
}

pub(super) fn unexpected(reply: Reply) -> LabError {
    match reply {
        Reply::Refused { code, message } => LabError::Refused { code, message },
        other => LabError::Supervisor { message: format!("it answered {other:?}") },
    }
}
