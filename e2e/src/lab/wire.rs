//! Between the lab's clients and its supervisor: JSON lines over a Unix socket, descriptors beside them.

use super::error::Refusal;
use crate::wan::{DirectionStatus, Impairment};
use nix::sys::socket::{ControlMessage, ControlMessageOwned, MsgFlags, recvmsg, sendmsg};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::io::{self, IoSlice, IoSliceMut, Write};
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd, RawFd};
use std::os::unix::net::UnixStream;
use std::path::PathBuf;

/// A request carries an environment, so it may be long; a reply's longest is a status.
const MAX_LINE: usize = 4 << 20;
/// stdin, stdout, stderr.
const MAX_FDS: usize = 3;

#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Request {
    Status,
    Down,
    Impair {
        link: String,
        change: Impairment,
    },
    Reset {
        link: String,
    },
    /// Comes with three descriptors.
    Spawn(SpawnRequest),
    /// On the connection of a spawned process: a signal number for it and its group.
    Signal(i32),
    /// The lab outlives who brought it up; on the connection of a spawned process, the process outlives the connection.
    Keep,
}

#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct SpawnRequest {
    pub node: String,
    pub argv: Vec<String>,
    pub env: Vec<(String, String)>,
    pub cwd: PathBuf,
    /// Whether the process outlives this connection.
    pub keep: bool,
}

#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Reply {
    Done,
    Status(Box<Status>),
    /// Comes with a descriptor of the process.
    Spawned,
    /// The status as wait(2) returns it.
    Exited(i32),
    Refused {
        code: Refusal,
        message: String,
    },
}

/// What a lab consists of, and how it is doing.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Status {
    pub name: String,
    pub topology: String,
    /// The supervisor's process ID, as seen by who started the lab.
    pub pid: u32,
    pub nodes: BTreeMap<String, NodeStatus>,
    /// Emulated links: [a to b, b to a].
    pub links: BTreeMap<String, [DirectionStatus; 2]>,
    /// Ends of all links, as `node:interface`.
    pub ends: BTreeMap<String, [String; 2]>,
}

#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct NodeStatus {
    pub kind: super::topology::NodeKind,
    /// By interface.
    pub addresses: BTreeMap<String, Vec<ipnet::IpNet>>,
    /// Inode of the network namespace, as in /proc/PID/ns/net.
    pub netns: u64,
    pub processes: Vec<ProcessStatus>,
}

#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct ProcessStatus {
    /// Inside the lab.
    pub pid: i32,
    pub argv: Vec<String>,
}

/// Sends one message, and descriptors beside its first byte.
pub(crate) fn send<T: Serialize>(
    stream: &UnixStream,
    message: &T,
    fds: &[RawFd],
) -> io::Result<()> {
    let mut line = serde_json::to_vec(message)?;
    line.push(b'\n');
    let mut sent = 0;
    if !fds.is_empty() {
        let rights = [ControlMessage::ScmRights(fds)];
        let flags = MsgFlags::MSG_NOSIGNAL;
        sent = sendmsg::<()>(stream.as_raw_fd(), &[IoSlice::new(&line)], &rights, flags, None)?;
    }
    (&*stream).write_all(&line[sent..])
}

/// Receives messages, one at a time. Descriptors that come with one replace those of the one before.
pub(crate) struct Receiver {
    stream: UnixStream,
    pending: Vec<u8>,
    fds: Vec<OwnedFd>,
}

impl Receiver {
    pub(crate) fn new(stream: UnixStream) -> Self {
        Self { stream, pending: Vec::new(), fds: Vec::new() }
    }

    pub(crate) fn stream(&self) -> &UnixStream {
        &self.stream
    }

    pub(crate) fn take_fds(&mut self) -> Vec<OwnedFd> {
        std::mem::take(&mut self.fds)
    }

    /// The next message, or `None` when the other end is gone.
    ///
    /// # Errors
    /// `InvalidData` for what is no message; the socket's own errors, its time-out among them.
    pub(crate) fn next<T: DeserializeOwned>(&mut self) -> io::Result<Option<T>> {
        loop {
            if let Some(end) = self.pending.iter().position(|&octet| octet == b'\n') {
                let line: Vec<u8> = self.pending.drain(..=end).collect();
                return Ok(Some(serde_json::from_slice(&line)?));
            }
            if self.pending.len() > MAX_LINE {
                return Err(io::Error::new(io::ErrorKind::InvalidData, "the message is too long"));
            }
            if self.fill()? == 0 {
                return Ok(None);
            }
        }
    }

    fn fill(&mut self) -> io::Result<usize> {
        let mut buffer = [0; 16 << 10];
        let mut space = nix::cmsg_space!([RawFd; MAX_FDS]);
        let mut parts = [IoSliceMut::new(&mut buffer)];
        let flags = MsgFlags::MSG_CMSG_CLOEXEC;
        let got = match recvmsg::<()>(self.stream.as_raw_fd(), &mut parts, Some(&mut space), flags)
        {
            Err(nix::Error::EINTR) => return self.fill(),
            // The other end died with something of ours unread: as gone as an orderly close.
            Err(nix::Error::ECONNRESET) => return Ok(0),
            other => other?,
        };
        let len = got.bytes;
        for message in got.cmsgs()? {
            if let ControlMessageOwned::ScmRights(fds) = message {
                // SAFETY: the kernel has just made these descriptors for us; nothing else owns them.
                self.fds = fds.iter().map(|&fd| unsafe { OwnedFd::from_raw_fd(fd) }).collect();
            }
        }
        self.pending.extend_from_slice(&buffer[..len]);
        Ok(len)
    }
}
