//! Programs at a node.

use super::error::LabError;
use super::handle::unexpected;
use super::wire::{self, Receiver, Reply, Request, SpawnRequest};
use std::collections::BTreeMap;
use std::fs::{File, OpenOptions};
use std::io::{self, Read, Write};
use std::os::fd::{AsFd, AsRawFd, OwnedFd};
use std::os::unix::net::UnixStream;
use std::os::unix::process::ExitStatusExt;
use std::path::PathBuf;
use std::process::ExitStatus;
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

/// Output beyond this is read and thrown away.
const MAX_OUTPUT: usize = 64 << 20;

/// Where an output of a program goes.
#[derive(Clone, Debug, Default)]
pub enum Sink {
    #[default]
    Null,
    /// The same place as this process's own.
    Inherit,
    /// Appended to a file.
    File(PathBuf),
    /// Readable through [`Process::take_stdout`].
    Pipe,
    /// What the caller has opened.
    Open(Arc<OwnedFd>),
}

/// A program to run at a node. It gets this process's environment and working folder.
#[derive(Clone, Debug)]
pub struct Task {
    argv: Vec<String>,
    env: BTreeMap<String, String>,
    cwd: Option<PathBuf>,
    input: Sink,
    stdout: Sink,
    stderr: Sink,
}

impl Task {
    /// A program by path, or by name in `PATH`.
    #[must_use]
    pub fn new(program: impl AsRef<std::ffi::OsStr>) -> Self {
        Self {
            argv: vec![program.as_ref().to_string_lossy().into_owned()],
            env: BTreeMap::new(),
            cwd: None,
            input: Sink::Null,
            stdout: Sink::Null,
            stderr: Sink::Null,
        }
    }

    #[must_use]
    pub fn arg(mut self, arg: impl AsRef<std::ffi::OsStr>) -> Self {
        self.argv.push(arg.as_ref().to_string_lossy().into_owned());
        self
    }

    #[must_use]
    pub fn args<S: AsRef<std::ffi::OsStr>>(self, args: impl IntoIterator<Item = S>) -> Self {
        args.into_iter().fold(self, Self::arg)
    }

    #[must_use]
    pub fn env(mut self, key: &str, value: &str) -> Self {
        self.env.insert(key.to_owned(), value.to_owned());
        self
    }

    #[must_use]
    pub fn cwd(mut self, folder: impl Into<PathBuf>) -> Self {
        self.cwd = Some(folder.into());
        self
    }

    /// Both outputs to one file.
    #[must_use]
    pub fn log(self, file: impl Into<PathBuf>) -> Self {
        let file = file.into();
        self.stdout(Sink::File(file.clone())).stderr(Sink::File(file))
    }

    #[must_use]
    pub fn stdout(mut self, sink: Sink) -> Self {
        self.stdout = sink;
        self
    }

    #[must_use]
    pub fn stderr(mut self, sink: Sink) -> Self {
        self.stderr = sink;
        self
    }

    /// Where input comes from: anything but an output's file.
    #[must_use]
    pub fn stdin(mut self, source: Sink) -> Self {
        self.input = source;
        self
    }

    fn environment(&self) -> Vec<(String, String)> {
        // What is not UTF-8 can't be passed on, and nothing here needs it.
        let inherited = std::env::vars_os()
            .filter_map(|(k, v)| Some((k.into_string().ok()?, v.into_string().ok()?)));
        let mut all: BTreeMap<String, String> = inherited.collect();
        all.extend(self.env.clone());
        all.into_iter().collect()
    }
}

/// What a command printed, and how it ended.
#[derive(Clone, Debug)]
pub struct Output {
    pub status: ExitStatus,
    pub stdout: Vec<u8>,
    pub stderr: Vec<u8>,
}

impl Output {
    #[must_use]
    pub fn stdout_text(&self) -> String {
        String::from_utf8_lossy(&self.stdout).into_owned()
    }

    #[must_use]
    pub fn stderr_text(&self) -> String {
        String::from_utf8_lossy(&self.stderr).into_owned()
    }
}

/// A running program. Dropping it kills the program and its process group, unless it was started to be kept.
#[must_use = "dropping a process kills it"]
pub struct Process {
    command: String,
    pid: u32,
    connection: Mutex<Receiver>,
    /// A second handle to the connection, so that a signal need not wait for who waits for the end.
    signals: UnixStream,
    exited: Mutex<Option<ExitStatus>>,
    stdin: Option<File>,
    stdout: Option<File>,
    stderr: Option<File>,
}

impl Process {
    pub(super) fn start(
        stream: UnixStream,
        node: &str,
        task: &Task,
        keep: bool,
    ) -> Result<Self, LabError> {
        let failed = || LabError::io(format!("`{}` can't be started", task.argv[0]));
        let (child_in, stdin) = source(&task.input).map_err(failed())?;
        let (child_out, stdout) = sink(&task.stdout, io::stdout().as_fd()).map_err(failed())?;
        let (child_err, stderr) = sink(&task.stderr, io::stderr().as_fd()).map_err(failed())?;
        let cwd = match &task.cwd {
            Some(folder) => std::path::absolute(folder),
            None => std::env::current_dir(),
        };
        let request = Request::Spawn(SpawnRequest {
            node: node.to_owned(),
            argv: task.argv.clone(),
            env: task.environment(),
            cwd: cwd.map_err(failed())?,
            keep,
        });
        let fds = [child_in.as_raw_fd(), child_out.as_raw_fd(), child_err.as_raw_fd()];
        wire::send(&stream, &request, &fds).map_err(failed())?;
        let signals = stream.try_clone().map_err(failed())?;
        let mut connection = Receiver::new(stream);
        match connection.next().map_err(failed())? {
            Some(Reply::Spawned) => {}
            Some(other) => return Err(unexpected(other)),
            None => return Err(LabError::Supervisor { message: "it is gone".to_owned() }),
        }
        let pid = connection.take_fds().first().map_or(0, pid_of);
        Ok(Self {
            command: task.argv.join(" "),
            pid,
            connection: Mutex::new(connection),
            signals,
            exited: Mutex::new(None),
            stdin,
            stdout,
            stderr,
        })
    }

    /// The process ID as seen by the caller, outside of the lab.
    #[must_use]
    pub fn pid(&self) -> u32 {
        self.pid
    }

    pub fn take_stdin(&mut self) -> Option<File> {
        self.stdin.take()
    }

    pub fn take_stdout(&mut self) -> Option<File> {
        self.stdout.take()
    }

    pub fn take_stderr(&mut self) -> Option<File> {
        self.stderr.take()
    }

    /// SIGKILL to the program and its process group. Does not wait.
    pub fn kill(&self) {
        self.signal(libc::SIGKILL);
    }

    /// SIGTERM to the program and its process group. Does not wait.
    pub fn terminate(&self) {
        self.signal(libc::SIGTERM);
    }

    /// Any signal, by number. Does nothing when the program has ended.
    pub fn signal(&self, number: i32) {
        // Fails only when the lab is gone, and the program with it.
        let _ = wire::send(&self.signals, &Request::Signal(number), &[]);
    }

    /// Lets the program run on until it or the lab ends.
    pub fn keep(self) {
        // Fails only when the lab is gone, and the program with it.
        let _ = wire::send(&self.signals, &Request::Keep, &[]);
    }

    /// How the program ended, or `None` while it runs.
    pub fn try_wait(&self) -> Option<ExitStatus> {
        self.wait_within(Duration::from_millis(1))
    }

    /// Waits for the end. A lab that ends counts as SIGKILL for its programs.
    pub fn wait(&self) -> ExitStatus {
        loop {
            if let Some(status) = self.wait_within(Duration::from_secs(3_600)) {
                return status;
            }
        }
    }

    /// Waits for the end at most so long; `None` when it still runs then.
    pub fn wait_within(&self, limit: Duration) -> Option<ExitStatus> {
        let deadline = Instant::now() + limit;
        let mut connection = self.connection.lock().ok()?;
        let mut exited = self.exited.lock().ok()?;
        while exited.is_none() {
            let left = deadline.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return None;
            }
            connection.stream().set_read_timeout(Some(left)).ok()?;
            *exited = match connection.next() {
                Ok(Some(Reply::Exited(status))) => Some(ExitStatus::from_raw(status)),
                Ok(Some(_)) => None,
                Ok(None) => Some(ExitStatus::from_raw(libc::SIGKILL)),
                Err(error) if is_timeout(&error) => None,
                Err(_) => Some(ExitStatus::from_raw(libc::SIGKILL)),
            };
        }
        *exited
    }

    /// Waits for the end at most so long, and collects the piped outputs.
    ///
    /// # Errors
    /// The program took too long; it has been killed.
    pub fn output(mut self, limit: Duration) -> Result<Output, LabError> {
        drop(self.stdin.take());
        let stdout = collect(self.stdout.take());
        let stderr = collect(self.stderr.take());
        let status = self.wait_within(limit);
        if status.is_none() {
            self.kill();
            self.wait_within(Duration::from_secs(5));
            return Err(LabError::Timeout { command: self.command.clone(), limit });
        }
        // The pipes end too: the program's group goes with it.
        let text = |reader: JoinHandle<Vec<u8>>| reader.join().unwrap_or_default();
        let (stdout, stderr) = (text(stdout), text(stderr));
        Ok(Output { status: status.unwrap_or_default(), stdout, stderr })
    }
}

/// On a thread each, or a full pipe would stop the program.
fn collect(pipe: Option<File>) -> JoinHandle<Vec<u8>> {
    std::thread::spawn(move || {
        let mut kept = Vec::new();
        let Some(mut pipe) = pipe else { return kept };
        let mut chunk = vec![0; 64 << 10];
        while let Ok(len @ 1..) = pipe.read(&mut chunk) {
            let room = MAX_OUTPUT - kept.len();
            kept.extend_from_slice(&chunk[..len.min(room)]);
        }
        kept
    })
}

fn is_timeout(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::WouldBlock | io::ErrorKind::TimedOut)
}

fn source(from: &Sink) -> io::Result<(OwnedFd, Option<File>)> {
    match from {
        Sink::Null => Ok((File::open("/dev/null")?.into(), None)),
        Sink::Inherit => Ok((io::stdin().as_fd().try_clone_to_owned()?, None)),
        Sink::File(path) => Ok((File::open(path)?.into(), None)),
        Sink::Open(fd) => Ok((fd.try_clone()?, None)),
        Sink::Pipe => {
            let (reader, writer) = io::pipe()?;
            Ok((reader.into(), Some(OwnedFd::from(writer).into())))
        }
    }
}

fn sink(to: &Sink, own: std::os::fd::BorrowedFd<'_>) -> io::Result<(OwnedFd, Option<File>)> {
    match to {
        Sink::Null => Ok((OpenOptions::new().write(true).open("/dev/null")?.into(), None)),
        Sink::Inherit => Ok((own.try_clone_to_owned()?, None)),
        Sink::Open(fd) => Ok((fd.try_clone()?, None)),
        Sink::File(path) => {
            let mut file = OpenOptions::new().create(true).append(true).open(path)?;
            file.flush()?;
            Ok((file.into(), None))
        }
        Sink::Pipe => {
            let (reader, writer) = io::pipe()?;
            Ok((writer.into(), Some(OwnedFd::from(reader).into())))
        }
    }
}

/// The process of a pidfd, numbered as this process's /proc numbers it; 0 when it has ended already.
fn pid_of(fd: &OwnedFd) -> u32 {
    let info = std::fs::read_to_string(format!("/proc/self/fdinfo/{}", fd.as_raw_fd()));
    let info = info.unwrap_or_default();
    let line = info.lines().find_map(|line| line.strip_prefix("Pid:"));
    line.and_then(|pid| pid.trim().parse().ok()).unwrap_or(0)
}
