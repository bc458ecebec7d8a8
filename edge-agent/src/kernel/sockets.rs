//! The uplinks' sockets: the kernel takes ESP out of them, the agent gets the rest.

use std::io;
use std::os::fd::{AsRawFd, OwnedFd};
use std::path::PathBuf;

use super::holder;
use crate::dataplane::{Family, OpenSockets, open_socket};

/// `UDP_ENCAP` and `UDP_ENCAP_ESPINUDP` of `linux/udp.h`.
const UDP_ENCAP: libc::c_int = 100;
const UDP_ENCAP_ESPINUDP: libc::c_int = 2;
const UDP_GRO: libc::c_int = 104;

/// Opens sockets for the kernel's ESP, and takes those over that a former agent left with the holder.
#[derive(Debug)]
pub struct EncapSockets {
    /// `None`: sockets end with this process.
    pub state_dir: Option<PathBuf>,
}

impl OpenSockets for EncapSockets {
    fn open(&self, interface: &str, family: Family, port: u16) -> io::Result<OwnedFd> {
        let name = format!("{interface}/{family:?}/{port}");
        if let Some(held) = self.held(&name).filter(|held| is_bound_to(held, interface)) {
            return Ok(held);
        }
        let fd = open_socket(interface, family, port)?;
        // Coalesced datagrams would hide ESP from the kernel.
        set(&fd, UDP_GRO, 0)?;
        set(&fd, UDP_ENCAP, UDP_ENCAP_ESPINUDP)?;
        if let Some(state_dir) = &self.state_dir
            && let Err(error) = holder::put(state_dir, &name, &fd)
        {
            tracing::warn!(
                "the holder does not keep {name}: traffic stops if this agent dies: {error}"
            );
        }
        Ok(fd)
    }
}

impl EncapSockets {
    fn held(&self, name: &str) -> Option<OwnedFd> {
        let state_dir = self.state_dir.as_ref()?;
        match holder::get(state_dir, name) {
            Ok(found) => found,
            Err(error) => {
                tracing::debug!("the holder has no {name}: {error}");
                None
            }
        }
    }
}

/// A socket whose interface went away stays deaf, whatever gets its name later.
fn is_bound_to(fd: &OwnedFd, interface: &str) -> bool {
    let device = socket2::SockRef::from(fd).device();
    matches!(device, Ok(Some(name)) if name == interface.as_bytes())
}

fn set(fd: &OwnedFd, option: libc::c_int, value: libc::c_int) -> io::Result<()> {
    // SAFETY: the value lives through the call, and its length is told.
    let result = unsafe {
        libc::setsockopt(
            fd.as_raw_fd(),
            libc::SOL_UDP,
            option,
            (&raw const value).cast(),
            size_of::<libc::c_int>() as libc::socklen_t,
        )
    };
    if result < 0 { Err(io::Error::last_os_error()) } else { Ok(()) }
}
