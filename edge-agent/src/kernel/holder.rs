//! The holder: a tiny process that keeps the uplinks' sockets open while no agent runs. ESP in UDP is taken by the kernel
//! only while its socket is open, so this is what makes an agent's death mean nothing to traffic.
//!
//! One message is one datagram of a local socket in the state directory (mode 0700): a verb, a blank, a name; descriptors
//! travel beside it (SCM_RIGHTS). It reads nothing from the sockets that it holds.

use std::collections::BTreeMap;
use std::fs::{DirBuilder, File};
use std::io::{self, IoSlice, IoSliceMut};
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd, RawFd};
use std::os::unix::fs::DirBuilderExt;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use nix::cmsg_space;
use nix::fcntl::{Flock, FlockArg};
use nix::sys::socket::{
    AddressFamily, Backlog, ControlMessage, ControlMessageOwned, MsgFlags, SockFlag, SockType,
    UnixAddr, accept4, bind, connect, listen, recvmsg, sendmsg, setsockopt, socket, sockopt,
};
use nix::sys::time::TimeVal;

/// Uplinks × families that one edge may have, with room.
const MAX_HELD: usize = 256;
const MESSAGE_BYTES: usize = 256;
const START_LIMIT: Duration = Duration::from_secs(5);
const POLL: Duration = Duration::from_millis(10);
/// Neither end waits longer for the other.
const PATIENCE_S: i64 = 2;

/// Gives a descriptor to the holder, and starts one if there is none.
///
/// # Errors
/// It can't be started, or does not answer.
pub fn put(state_dir: &Path, name: &str, fd: &OwnedFd) -> io::Result<()> {
    let talk = connect_to(state_dir).or_else(|_| start(state_dir))?;
    send(&talk, &format!("put {name}"), Some(fd.as_raw_fd()))?;
    match receive(&talk)? {
        (answer, _) if answer == "ok" => Ok(()),
        (answer, _) => Err(io::Error::other(answer)),
    }
}

/// A copy of what it holds under that name.
///
/// # Errors
/// There is no holder, or it does not answer.
pub fn get(state_dir: &Path, name: &str) -> io::Result<Option<OwnedFd>> {
    let talk = connect_to(state_dir)?;
    send(&talk, &format!("get {name}"), None)?;
    receive(&talk).map(|(_, fd)| fd)
}

/// Ends it, and with it the sockets that nobody else holds. False: there was none.
///
/// # Errors
/// It does not answer.
pub fn end(state_dir: &Path) -> io::Result<bool> {
    let Ok(talk) = connect_to(state_dir) else { return Ok(false) };
    send(&talk, "end", None)?;
    receive(&talk).map(|_| true)
}

/// `hawser-edge hold`: holds until it is told to end.
///
/// # Errors
/// Another one holds already, or the socket can't be made.
pub fn run(state_dir: &Path) -> io::Result<()> {
    DirBuilder::new().recursive(true).mode(0o700).create(state_dir)?;
    let lock = File::create(state_dir.join("holder.lock"))?;
    let _lock = Flock::lock(lock, FlockArg::LockExclusiveNonblock)
        .map_err(|(_, errno)| io::Error::from(errno))?;
    let path = socket_path(state_dir);
    match std::fs::remove_file(&path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
        _ => {}
    }
    let listener = seqpacket()?;
    bind(listener.as_raw_fd(), &UnixAddr::new(&path)?)?;
    listen(&listener, Backlog::new(8)?)?;
    let mut held = BTreeMap::new();
    loop {
        let Ok(talk) = accept4(listener.as_raw_fd(), SockFlag::SOCK_CLOEXEC) else { continue };
        // SAFETY: accept4 made this descriptor, and nobody else owns it.
        let talk = unsafe { OwnedFd::from_raw_fd(talk) };
        // One that hangs or hangs up harms nobody but itself.
        if matches!(limit(&talk).and_then(|()| serve(&talk, &mut held)), Ok(true)) {
            let _ = std::fs::remove_file(&path);
            return Ok(());
        }
    }
}

/// True: it shall end.
fn serve(talk: &OwnedFd, held: &mut BTreeMap<String, OwnedFd>) -> io::Result<bool> {
    let (message, fd) = receive(talk)?;
    match (message.split_once(' '), fd) {
        (Some(("put", name)), Some(fd)) => {
            if held.len() >= MAX_HELD && !held.contains_key(name) {
                send(talk, "too many are held", None)?;
            } else {
                held.insert(name.to_owned(), fd);
                send(talk, "ok", None)?;
            }
        }
        (Some(("get", name)), _) => match held.get(name) {
            Some(fd) => send(talk, "ok", Some(fd.as_raw_fd()))?,
            None => send(talk, "none", None)?,
        },
        (None, _) if message == "end" => {
            send(talk, "ok", None)?;
            return Ok(true);
        }
        _ => send(talk, "not understood", None)?,
    }
    Ok(false)
}

/// In a session of its own: neither a terminal's signals nor those to the agent's process group are for it.
fn start(state_dir: &Path) -> io::Result<OwnedFd> {
    let program = std::env::current_exe()?;
    let mut command = Command::new(program);
    command.arg("--state-dir").arg(state_dir).arg("hold");
    command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
    // SAFETY: setsid is async-signal-safe.
    unsafe {
        command.pre_exec(|| {
            nix::unistd::setsid().map_err(io::Error::from)?;
            Ok(())
        });
    }
    let mut child = command.spawn()?;
    let deadline = Instant::now() + START_LIMIT;
    loop {
        match connect_to(state_dir) {
            Ok(talk) => {
                // It is waited for, so that it leaves no zombie while this agent lives.
                std::thread::Builder::new()
                    .name("holder-wait".into())
                    .spawn(move || child.wait())?;
                return Ok(talk);
            }
            Err(error) if Instant::now() > deadline => return Err(error),
            Err(_) => std::thread::sleep(POLL),
        }
    }
}

fn socket_path(state_dir: &Path) -> PathBuf {
    state_dir.join("holder.sock")
}

fn seqpacket() -> io::Result<OwnedFd> {
    let flags = SockFlag::SOCK_CLOEXEC;
    Ok(socket(AddressFamily::Unix, SockType::SeqPacket, flags, None)?)
}

fn connect_to(state_dir: &Path) -> io::Result<OwnedFd> {
    let talk = seqpacket()?;
    connect(talk.as_raw_fd(), &UnixAddr::new(&socket_path(state_dir))?)?;
    limit(&talk)?;
    Ok(talk)
}

fn limit(talk: &OwnedFd) -> io::Result<()> {
    let patience = TimeVal::new(PATIENCE_S, 0);
    setsockopt(talk, sockopt::ReceiveTimeout, &patience)?;
    setsockopt(talk, sockopt::SendTimeout, &patience)?;
    Ok(())
}

fn send(talk: &OwnedFd, message: &str, fd: Option<RawFd>) -> io::Result<()> {
    let fds: Vec<RawFd> = fd.into_iter().collect();
    let rights = [ControlMessage::ScmRights(&fds)];
    let control = if fds.is_empty() { &[][..] } else { &rights[..] };
    let pieces = [IoSlice::new(message.as_bytes())];
    sendmsg::<()>(talk.as_raw_fd(), &pieces, control, MsgFlags::MSG_NOSIGNAL, None)?;
    Ok(())
}

fn receive(talk: &OwnedFd) -> io::Result<(String, Option<OwnedFd>)> {
    let mut buffer = [0; MESSAGE_BYTES];
    let mut control = cmsg_space!([RawFd; 1]);
    let mut pieces = [IoSliceMut::new(&mut buffer)];
    let flags = MsgFlags::MSG_CMSG_CLOEXEC;
    let received = recvmsg::<()>(talk.as_raw_fd(), &mut pieces, Some(&mut control), flags)?;
    let length = received.bytes;
    let mut found = None;
    for message in received.cmsgs()? {
        if let ControlMessageOwned::ScmRights(fds) = message {
            for fd in fds {
                // SAFETY: the kernel made this descriptor for this process by this very call.
                found = Some(unsafe { OwnedFd::from_raw_fd(fd) });
            }
        }
    }
    if length == 0 {
        return Err(io::ErrorKind::UnexpectedEof.into());
    }
    Ok((String::from_utf8_lossy(&buffer[..length]).into_owned(), found))
}

#[cfg(test)]
mod tests {
    use std::net::UdpSocket;

    use super::*;

    #[test]
    fn what_is_put_comes_back_open_and_the_end_closes_it() {
        let folder = tempfile::tempdir().unwrap();
        let state_dir = folder.path().to_owned();
        let holder = std::thread::spawn(move || run(&state_dir));
        let ready = Instant::now() + START_LIMIT;
        while connect_to(folder.path()).is_err() {
            assert!(Instant::now() < ready);
            std::thread::sleep(POLL);
        }
        let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
        let address = socket.local_addr().unwrap();
        put(folder.path(), "wan0/V4/4510", &socket.into()).unwrap();
        assert!(get(folder.path(), "wan1/V4/4510").unwrap().is_none());
        // Nobody but the holder has it open, and what comes in meanwhile waits in it.
        UdpSocket::bind("127.0.0.1:0").unwrap().send_to(b"x", address).unwrap();
        let back = UdpSocket::from(get(folder.path(), "wan0/V4/4510").unwrap().unwrap());
        assert_eq!(back.recv(&mut [0; 8]).unwrap(), 1);
        assert!(run(folder.path()).is_err(), "a second holder gives way");
        assert!(end(folder.path()).unwrap());
        holder.join().unwrap().unwrap();
        assert!(!end(folder.path()).unwrap());
        drop(back);
        UdpSocket::bind(address).unwrap();
    }
}
