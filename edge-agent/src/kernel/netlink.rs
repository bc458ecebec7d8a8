//! One netlink socket, used request by request. Synchronous on purpose: the data plane's calls are, their order is the
//! order of the effects, and each takes the kernel some ten microseconds.

use std::fmt;
use std::io;
use std::os::fd::{AsFd, AsRawFd};
use std::time::Duration;

use nix::sys::socket::{setsockopt, sockopt};
use nix::sys::time::TimeVal;
use rtnetlink::packet_core::{
    NLM_F_ACK, NLM_F_DUMP, NLM_F_REQUEST, NetlinkDeserializable, NetlinkHeader, NetlinkMessage,
    NetlinkPayload, NetlinkSerializable,
};
use rtnetlink::sys::{Socket, SocketAddr};
use zeroize::Zeroize;

/// The kernel answers at once, or something is badly wrong.
const PATIENCE: Duration = Duration::from_secs(5);
/// Messages are padded to this.
const ALIGNMENT: usize = 4;
const HEADER_BYTES: usize = 16;

/// What the kernel refused. Never the request itself: it may hold a key.
#[derive(Debug, thiserror::Error)]
#[error("netlink: {what}")]
pub struct Refusal {
    pub what: &'static str,
    #[source]
    pub source: io::Error,
}

impl Refusal {
    /// It has that error number.
    pub fn is(&self, errno: i32) -> bool {
        self.source.raw_os_error() == Some(errno)
    }
}

/// A connection to one of the kernel's netlink families.
pub struct Channel {
    socket: Socket,
    sequence: u32,
}

impl fmt::Debug for Channel {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Channel").field("sequence", &self.sequence).finish()
    }
}

impl Channel {
    /// In the network namespace of this thread.
    ///
    /// # Errors
    /// The kernel has no such family, or refuses a socket.
    pub fn open(protocol: isize) -> io::Result<Channel> {
        let mut socket = Socket::new(protocol)?;
        socket.bind_auto()?;
        socket.connect(&SocketAddr::new(0, 0))?;
        // SAFETY-free: nix wants a borrowed descriptor, which the socket lends.
        let patience = TimeVal::new(PATIENCE.as_secs() as i64, 0);
        setsockopt(&socket.as_fd(), sockopt::ReceiveTimeout, &patience)?;
        Ok(Channel { socket, sequence: 0 })
    }

    /// Changes something; `flags` beside REQUEST and ACK.
    ///
    /// # Errors
    /// What the kernel said.
    pub fn change<M: Message>(
        &mut self,
        what: &'static str,
        message: M,
        flags: u16,
    ) -> Result<(), Refusal> {
        self.exchange(message, NLM_F_ACK | flags).map(drop).map_err(refusal(what))
    }

    /// Asks for one thing.
    ///
    /// # Errors
    /// What the kernel said.
    pub fn get<M: Message>(&mut self, what: &'static str, message: M) -> Result<Vec<M>, Refusal> {
        self.exchange(message, NLM_F_ACK).map_err(refusal(what))
    }

    /// Asks for all there is.
    ///
    /// # Errors
    /// What the kernel said.
    pub fn dump<M: Message>(&mut self, what: &'static str, message: M) -> Result<Vec<M>, Refusal> {
        self.exchange(message, NLM_F_DUMP).map_err(refusal(what))
    }

    fn exchange<M: Message>(&mut self, message: M, flags: u16) -> io::Result<Vec<M>> {
        self.sequence = self.sequence.wrapping_add(1);
        let mut header = NetlinkHeader::default();
        header.flags = NLM_F_REQUEST | flags;
        header.sequence_number = self.sequence;
        let mut request = NetlinkMessage::new(header, NetlinkPayload::InnerMessage(message));
        request.finalize();
        let mut octets = vec![0; request.buffer_len()];
        request.serialize(&mut octets);
        let sent = self.socket.send(&octets, 0);
        octets.zeroize();
        sent?;
        self.answers()
    }

    fn answers<M: Message>(&self) -> io::Result<Vec<M>> {
        let mut found = Vec::new();
        loop {
            let (mut datagram, _) = self.socket.recv_from_full()?;
            let done = self.take(&datagram, &mut found);
            datagram.zeroize();
            if done? {
                return Ok(found);
            }
        }
    }

    /// True: the answer is complete.
    fn take<M: Message>(&self, datagram: &[u8], found: &mut Vec<M>) -> io::Result<bool> {
        let mut rest = datagram;
        while rest.len() >= HEADER_BYTES {
            let length = u32::from_ne_bytes([rest[0], rest[1], rest[2], rest[3]]) as usize;
            if length < HEADER_BYTES || length > rest.len() {
                return Err(io::Error::other("a message of the kernel is cut off"));
            }
            let padded = length.next_multiple_of(ALIGNMENT).min(rest.len());
            let (message, after) = rest.split_at(padded);
            rest = after;
            // What this library can't read is not ours: it writes all that we look for.
            let Ok(message) = NetlinkMessage::<M>::deserialize(&message[..length]) else {
                continue;
            };
            if message.header.sequence_number != self.sequence {
                continue;
            }
            match message.payload {
                NetlinkPayload::Error(error) => {
                    return match error.code {
                        None => Ok(true),
                        Some(_) => Err(error.to_io()),
                    };
                }
                NetlinkPayload::Done(_) => return Ok(true),
                NetlinkPayload::InnerMessage(message) => found.push(message),
                _ => {}
            }
        }
        Ok(false)
    }
}

fn refusal(what: &'static str) -> impl FnOnce(io::Error) -> Refusal {
    move |source| Refusal { what, source }
}

/// What travels on a channel.
pub trait Message: NetlinkSerializable + NetlinkDeserializable {}
impl<T: NetlinkSerializable + NetlinkDeserializable> Message for T {}

/// A subscription to what the kernel tells of itself.
pub fn subscribe(protocol: isize, groups: &[u32]) -> io::Result<Socket> {
    let mut socket = Socket::new(protocol)?;
    socket.bind_auto()?;
    for group in groups {
        socket.add_membership(*group)?;
    }
    socket.set_non_blocking(true)?;
    let _ = socket.as_raw_fd();
    Ok(socket)
}
