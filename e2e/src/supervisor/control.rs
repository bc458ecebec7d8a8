//! The control socket: one thread a client, one request a connection; a spawned program keeps its own.

use super::netns::Netns;
use super::procs::Procs;
use crate::lab::topology::Topology;
use crate::lab::wire::{self, NodeStatus, Receiver, Reply, Request, SpawnRequest, Status};
use crate::lab::{Refusal, folder};
use crate::wan::ImpairmentFault;
use crate::wan::emulator::Emulator;
use std::collections::BTreeMap;
use std::error::Error;
use std::fs::{self, Permissions};
use std::io;
use std::os::unix::fs::PermissionsExt;
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Duration;

/// Connections at a time: one a running program, and a few more.
const MAX_CONNECTIONS: usize = 600;
/// A client that does not read its reply is given up.
const WRITE_LIMIT: Duration = Duration::from_secs(2);

pub(super) struct Control {
    pub name: String,
    pub pid: u32,
    pub topology: Topology,
    pub nodes: BTreeMap<String, Netns>,
    pub emulator: Emulator,
    pub procs: Arc<Procs>,
    /// Whether the lab outlives its lifeline.
    pub kept: Arc<AtomicBool>,
}

/// Binds the socket and serves it on threads.
pub(super) fn listen(state: &Path, control: Control) -> io::Result<()> {
    let path = folder::socket(state);
    let listener = UnixListener::bind(&path)?;
    fs::set_permissions(&path, Permissions::from_mode(0o600))?;
    let control = Arc::new(control);
    std::thread::Builder::new().name("control".to_owned()).spawn(move || {
        let open = Arc::new(AtomicUsize::new(0));
        for stream in listener.incoming().filter_map(Result::ok) {
            accept(&control, &open, stream);
        }
    })?;
    Ok(())
}

fn accept(control: &Arc<Control>, open: &Arc<AtomicUsize>, stream: UnixStream) {
    stream.set_write_timeout(Some(WRITE_LIMIT)).ok();
    if open.fetch_add(1, Ordering::Relaxed) >= MAX_CONNECTIONS {
        open.fetch_sub(1, Ordering::Relaxed);
        refuse(&stream, Refusal::TooMany, format!("{MAX_CONNECTIONS} connections are open"));
        return;
    }
    let (control, counter) = (Arc::clone(control), Arc::clone(open));
    let thread = std::thread::Builder::new().stack_size(256 << 10).spawn(move || {
        control.serve(stream);
        counter.fetch_sub(1, Ordering::Relaxed);
    });
    if thread.is_err() {
        open.fetch_sub(1, Ordering::Relaxed);
    }
}

impl Control {
    fn serve(&self, stream: UnixStream) {
        let mut receiver = Receiver::new(stream);
        let request = match receiver.next() {
            Ok(Some(request)) => request,
            Ok(None) => return,
            Err(error) => return refuse(receiver.stream(), Refusal::BadRequest, error.to_string()),
        };
        let reply = match request {
            Request::Status => Reply::Status(Box::new(self.status())),
            Request::Impair { link, change } => answer(&link, self.emulator.change(&link, &change)),
            Request::Reset { link } => answer(&link, self.emulator.reset(&link)),
            Request::Spawn(spawn) => return self.spawn(receiver, spawn),
            Request::Down => {
                let _ = wire::send(receiver.stream(), &Reply::Done, &[]);
                std::process::exit(0);
            }
            Request::Keep => {
                self.kept.store(true, Ordering::Release);
                Reply::Done
            }
            Request::Signal(_) => refusal(Refusal::BadRequest, "no program was started here"),
        };
        // A client that is gone need not know.
        let _ = wire::send(receiver.stream(), &reply, &[]);
    }

    /// Starts a program, and passes signals to it until its client goes.
    fn spawn(&self, mut receiver: Receiver, request: SpawnRequest) {
        let stream = receiver.stream();
        let Some(netns) = self.nodes.get(&request.node) else {
            let known: Vec<&str> = self.nodes.keys().map(String::as_str).collect();
            let message = format!("no node `{}`; there are: {}", request.node, known.join(", "));
            return refuse(stream, Refusal::NoSuchNode, message);
        };
        let mut keep = request.keep;
        let program = request.argv.first().cloned().unwrap_or_default();
        let Ok(client) = stream.try_clone() else { return };
        let Ok(stdio) = receiver.take_fds().try_into() else {
            let message = "a program needs three descriptors".to_owned();
            return refuse(receiver.stream(), Refusal::BadRequest, message);
        };
        let pid = match self.procs.spawn(netns, request, stdio, client) {
            Ok(pid) => pid,
            Err(error) => {
                let message = format!("`{program}` can't be started: {error}");
                return refuse(receiver.stream(), Refusal::CannotStart, message);
            }
        };
        loop {
            match receiver.next() {
                Ok(Some(Request::Signal(number))) => self.procs.signal(pid, number),
                Ok(Some(Request::Keep)) => {
                    keep = true;
                    self.procs.keep(pid);
                }
                _ => break,
            }
        }
        if !keep {
            self.procs.signal(pid, libc::SIGKILL);
        }
    }

    fn status(&self) -> Status {
        let nodes = self.nodes.iter().map(|(name, netns)| {
            let ends = self.topology.ends_of(name).map(|(_, end)| end);
            let addresses = ends.map(|end| (end.interface.clone(), end.addresses.clone()));
            let status = NodeStatus {
                kind: self.topology.nodes[name].kind,
                addresses: addresses.collect(),
                netns: netns.inode,
                processes: self.procs.at(name),
            };
            (name.clone(), status)
        });
        let ends = self.topology.links.iter().map(|(name, link)| {
            let end = |end: &crate::lab::End| format!("{}:{}", end.node, end.interface);
            (name.clone(), [end(&link.a), end(&link.b)])
        });
        Status {
            name: self.name.clone(),
            topology: self.topology.name.clone(),
            pid: self.pid,
            nodes: nodes.collect(),
            links: self.emulator.status(),
            ends: ends.collect(),
        }
    }
}

fn answer(link: &str, result: Option<Result<(), ImpairmentFault>>) -> Reply {
    match result {
        None => refusal(
            Refusal::NoSuchLink,
            &format!("no emulated link `{link}`; `hawser-lab status` lists them"),
        ),
        Some(Ok(())) => Reply::Done,
        Some(Err(fault)) => {
            let mut message = fault.to_string();
            let mut cause = fault.source();
            while let Some(error) = cause {
                message = format!("{message}: {error}");
                cause = error.source();
            }
            refusal(Refusal::BadImpairment, &message)
        }
    }
}

fn refusal(code: Refusal, message: &str) -> Reply {
    Reply::Refused { code, message: message.to_owned() }
}

fn refuse(stream: &UnixStream, code: Refusal, message: String) {
    // A client that is gone need not know.
    let _ = wire::send(stream, &Reply::Refused { code, message }, &[]);
}
