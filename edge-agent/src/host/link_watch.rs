//! Asks the drivers of a few interfaces for their carrier, often.
//!
//! The kernel tells of carriers by itself, but of one that is lost at most once a second: a link event anywhere in the host
//! puts the next one off (`linkwatch_schedule_work` of Linux). `ETHTOOL_GLINK` knows at once.

use std::io;
use std::os::fd::AsRawFd;
use std::sync::{Mutex, PoisonError, Weak};
use std::thread;
use std::time::Duration;

use socket2::{Domain, Socket, Type};
use tokio::sync::watch;

use super::{Carriers, HostError};

/// A few microseconds of work for each interface; far below what a move may take.
const LOOK_EVERY: Duration = Duration::from_millis(20);

/// `linux/sockios.h`.
const SIOCETHTOOL: libc::Ioctl = 0x8946;
/// `linux/ethtool.h`: "get link status".
const ETHTOOL_GLINK: u32 = 0x0000_000a;

/// The interfaces to be looked at.
pub(super) type Interfaces = Mutex<Vec<String>>;

/// Looks for as long as somebody holds `interfaces`, in the network namespace of this thread.
pub(super) fn start(
    interfaces: Weak<Interfaces>,
    heard: watch::Sender<Carriers>,
) -> Result<(), HostError> {
    let socket = Socket::new(Domain::IPV4, Type::DGRAM, None)
        .or_else(|_| Socket::new(Domain::IPV6, Type::DGRAM, None))
        .map_err(HostError::Open)?;
    let look = move || {
        while let Some(interfaces) = interfaces.upgrade() {
            let names = interfaces.lock().unwrap_or_else(PoisonError::into_inner).clone();
            drop(interfaces);
            for name in &names {
                if let Some(up) = has_link(&socket, name) {
                    heard.send_if_modified(|carriers| note(carriers, name, up));
                }
            }
            thread::sleep(LOOK_EVERY);
        }
    };
    thread::Builder::new().name("link-watch".into()).spawn(look).map_err(HostError::Open)?;
    Ok(())
}

/// What the kernel said may be older, or newer by less than a look: the next one mends it.
fn note(carriers: &mut Carriers, name: &str, up: bool) -> bool {
    carriers.get(name) != Some(&up) && carriers.insert(name.to_owned(), up) != Some(up)
}

/// Up and with carrier; `None`: its driver can't say, or it is not there.
fn has_link(socket: &Socket, name: &str) -> Option<bool> {
    /// `struct ethtool_value`.
    #[repr(C)]
    struct EthtoolValue {
        command: u32,
        data: u32,
    }
    if name.len() >= libc::IFNAMSIZ {
        return None;
    }
    let mut value = EthtoolValue { command: ETHTOOL_GLINK, data: 0 };
    // SAFETY: ifreq is plain octets, for which zero is a valid value.
    let mut request: libc::ifreq = unsafe { std::mem::zeroed() };
    for (to, from) in request.ifr_name.iter_mut().zip(name.bytes()) {
        *to = from as libc::c_char;
    }
    request.ifr_ifru.ifru_data = (&raw mut value).cast();
    // SAFETY: SIOCETHTOOL takes a pointer to an ifreq whose data points to the command's own structure; both are live
    // locals, and the kernel keeps neither.
    let result = unsafe { libc::ioctl(socket.as_raw_fd(), SIOCETHTOOL, &raw mut request) };
    match result {
        0 => Some(value.data != 0),
        _ => {
            tracing::trace!(interface = name, "no link state: {}", io::Error::last_os_error());
            None
        }
    }
}
