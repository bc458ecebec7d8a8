//! Which of its own addresses this host sends from.

use std::io;
use std::net::{IpAddr, SocketAddr};

use socket2::{Domain, Protocol, Socket, Type};

use crate::dataplane::Family;

/// The address that a socket of the interface sends to `remote` from, as the kernel chooses it; without a remote, or a
/// way there, the interface's first address of that family.
pub fn local_address(
    interface: &str,
    family: Family,
    remote: Option<SocketAddr>,
) -> Option<IpAddr> {
    let chosen = remote.and_then(|remote| chosen(interface, remote).ok());
    chosen.or_else(|| first(interface, family))
}

/// Connecting a UDP socket sends nothing, and makes the kernel choose.
fn chosen(interface: &str, remote: SocketAddr) -> io::Result<IpAddr> {
    let socket = Socket::new(Domain::for_address(remote), Type::DGRAM, Some(Protocol::UDP))?;
    socket.bind_device(Some(interface.as_bytes()))?;
    socket.connect(&remote.into())?;
    let local = socket.local_addr()?.as_socket();
    let local = local.map(|local| local.ip()).filter(|local| !local.is_unspecified());
    local.ok_or_else(|| io::ErrorKind::AddrNotAvailable.into())
}

fn first(interface: &str, family: Family) -> Option<IpAddr> {
    let all = nix::ifaddrs::getifaddrs().ok()?;
    let of_interface = all.filter(|address| address.interface_name == interface);
    let addresses = of_interface.filter_map(|address| {
        let address = address.address?;
        let v4 = address.as_sockaddr_in().map(|a| IpAddr::V4(a.ip()));
        let v6 = || address.as_sockaddr_in6().map(|a| IpAddr::V6(a.ip()));
        v4.or_else(v6)
    });
    let fits = |address: &IpAddr| match address {
        IpAddr::V4(v4) => family == Family::V4 && !v4.is_link_local(),
        IpAddr::V6(v6) => family == Family::V6 && !v6.is_unicast_link_local(),
    };
    addresses.into_iter().find(fits)
}
