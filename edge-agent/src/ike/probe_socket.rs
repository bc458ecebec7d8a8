//! Sockets that ask gateways whether they live: raw ones for ICMP, UDP for STAMP, bound to the uplink that is asked about.

#[cfg(test)]
mod tests;

use std::io;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::Instant;

use hawser_edge_core::ike::links::Asked;
use socket2::{Domain, Protocol, Socket, Type};
use tokio::net::UdpSocket;
use tokio::sync::mpsc;
use tokio::task::AbortHandle;

/// Longer than any probe of ours with the headers before it.
const LONGEST_BYTES: usize = 512;

/// What came to a socket of ours.
#[derive(Debug)]
pub struct Echo {
    pub tunnel: Arc<str>,
    pub asked: Asked,
    pub packet: Vec<u8>,
    pub received: Instant,
}

/// Who is asked, from where.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ProbeSpec {
    /// `None`: as the routes say.
    pub interface: Option<String>,
    pub local: IpAddr,
    pub remote: IpAddr,
    /// Of a reflector; `None`: ICMP.
    pub port: Option<u16>,
}

/// Open until it is dropped.
#[derive(Debug)]
pub struct ProbeSocket {
    spec: ProbeSpec,
    /// Also a raw one: tokio has no type of its own for these, and sends and receives alike.
    socket: Arc<UdpSocket>,
    reader: AbortHandle,
}

impl ProbeSocket {
    /// What is read goes to `echoes`; what finds no room there is lost, and counts as a lost probe.
    ///
    /// # Errors
    /// The interface or the address is not there, or the agent lacks CAP_NET_RAW.
    pub fn open(
        spec: ProbeSpec,
        tunnel: Arc<str>,
        asked: Asked,
        echoes: mpsc::Sender<Echo>,
    ) -> io::Result<ProbeSocket> {
        let socket = Arc::new(UdpSocket::from_std(connected(&spec)?.into())?);
        let (reading, ipv4_header) = (socket.clone(), spec.port.is_none() && spec.remote.is_ipv4());
        let reader = tokio::spawn(async move {
            loop {
                let mut packet = vec![0; LONGEST_BYTES];
                let read = reading.recv(&mut packet).await;
                let received = Instant::now();
                // ICMP errors of earlier probes are told here too; what is lost, the prober counts.
                let Ok(length) = read else { continue };
                packet.truncate(length);
                let packet = if ipv4_header { without_header(packet) } else { packet };
                let _ = echoes.try_send(Echo { tunnel: tunnel.clone(), asked, packet, received });
            }
        });
        Ok(ProbeSocket { spec, socket, reader: reader.abort_handle() })
    }

    #[must_use]
    pub fn spec(&self) -> &ProbeSpec {
        &self.spec
    }

    /// # Errors
    /// It did not leave this host.
    pub fn send(&self, packet: &[u8]) -> io::Result<()> {
        self.socket.try_send(packet).map(drop)
    }
}

impl Drop for ProbeSocket {
    fn drop(&mut self) {
        self.reader.abort();
    }
}

fn connected(spec: &ProbeSpec) -> io::Result<Socket> {
    let domain = if spec.remote.is_ipv6() { Domain::IPV6 } else { Domain::IPV4 };
    let socket = match (spec.port, spec.remote) {
        (Some(_), _) => Socket::new(domain, Type::DGRAM, Some(Protocol::UDP))?,
        (None, IpAddr::V4(_)) => Socket::new(domain, Type::RAW, Some(Protocol::ICMPV4))?,
        (None, IpAddr::V6(_)) => Socket::new(domain, Type::RAW, Some(Protocol::ICMPV6))?,
    };
    socket.set_nonblocking(true)?;
    if let Some(interface) = &spec.interface {
        socket.bind_device(Some(interface.as_bytes()))?;
    }
    socket.bind(&SocketAddr::new(spec.local, 0).into())?;
    // From now on only what comes from there is handed up.
    socket.connect(&SocketAddr::new(spec.remote, spec.port.unwrap_or(0)).into())?;
    Ok(socket)
}

/// RFC 791 section 3.1: raw sockets of IPv4 show it, those of IPv6 do not (RFC 3542 section 3).
fn without_header(packet: Vec<u8>) -> Vec<u8> {
    let words = packet.first().map_or(0, |first| first & 0x0f);
    packet.get(usize::from(words) * 4..).unwrap_or_default().to_vec()
}
