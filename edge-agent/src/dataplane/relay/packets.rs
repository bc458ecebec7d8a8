//! What becomes of one packet: protected on its way out, checked and unwrapped on its way in. No socket, no device.

use std::net::IpAddr;
use std::ops::Range;

use hawser_edge_core::manual::{GRE_BYTES, Keys, Mode, Protocol, Wanted};
use hawser_esp::ah::{AhKey, AhMode, InboundAh, OutboundAh};
use hawser_esp::gre::Protocol as Inner;
use hawser_esp::ip::{Decapsulated, decapsulate_ecn};
use hawser_esp::{IvSeed, KeyMaterial, Mode as EspMode, Opener, Packet, Sealer, opener, sealer};
use ipnet::IpNet;
use zeroize::Zeroizing;

/// In front of every packet: room for an IPv6 header, ESP or AH, an IV and GRE.
pub(super) const HEADROOM: usize = 128;
/// Behind it: padding, trailer, ICV.
pub(super) const TAILROOM: usize = 128;
const TTL: u8 = 64;
const GRE: u8 = 47;
/// A packet under no window is never too old (RFC 4303 section 3.4.3).
const NO_WINDOW: u32 = 0;

/// Why a packet was dropped, for the counters.
pub(super) type Dropped = &'static str;

/// The way out. Owned by one thread.
pub(super) struct Outbound {
    wanted: Wanted,
    local: IpAddr,
    key: Zeroizing<Vec<u8>>,
    sealing: Sealing,
    /// Of the next IPv4 header: never zero, which the kernel would replace, and AH covers it.
    identification: u16,
}

enum Sealing {
    Esp(Box<dyn Sealer>),
    Ah(Box<OutboundAh>),
}

/// The way in. Owned by one thread.
pub(super) struct Inbound {
    wanted: Wanted,
    local: IpAddr,
    opening: Opening,
}

enum Opening {
    Esp(Box<dyn Opener>),
    Ah(Box<InboundAh>),
}

impl Outbound {
    pub fn new(
        wanted: &Wanted,
        local: IpAddr,
        keys: &Keys,
        seed: [u8; 32],
    ) -> Result<Self, String> {
        let key = keys.outbound.clone();
        let sealing = Sealing::new(wanted, &key, seed)?;
        Ok(Outbound { wanted: wanted.clone(), local, key, sealing, identification: 0 })
    }

    /// Protects the packet at `inner` in `buffer`, which has room around it; gives where the whole IP packet stands.
    /// `fresh` is asked for randomness when the numbers are used up: they begin again, as they may under a manual key, with
    /// other IVs.
    pub fn protect(
        &mut self,
        buffer: &mut [u8],
        inner: Range<usize>,
        fresh: impl FnOnce() -> [u8; 32],
    ) -> Result<Range<usize>, Dropped> {
        let tunnel = &self.wanted.tunnel;
        let kind = Inner::of_packet(&buffer[inner.clone()]).ok_or("not_ip")?;
        let (source, destination) = ends(&buffer[inner.clone()]).ok_or("not_ip")?;
        if !within(&tunnel.local_prefixes, source) || !within(&tunnel.remote_prefixes, destination)
        {
            return Err("not_for_the_peer");
        }
        if self.sealing.last_seq() >= u64::from(u32::MAX) {
            self.sealing = Sealing::new(&self.wanted, &self.key, fresh()).map_err(|_| "no_seed")?;
        }
        let mut payload = inner;
        if self.wanted.tunnel.mode == Mode::Gre {
            payload.start -= GRE_BYTES as usize;
            buffer[payload.start..][..2].fill(0);
            buffer[payload.start + 2..][..2].copy_from_slice(&kind.ether_type().to_be_bytes());
        }
        self.identification = self.identification.checked_add(1).unwrap_or(1);
        match (&self.sealing, self.wanted.tunnel.mode) {
            (Sealing::Esp(sealer), mode) => {
                let esp = payload.start - sealer.layout().payload_offset();
                let mut packet = match mode {
                    Mode::Gre => Packet::gre(&mut buffer[esp..], payload.len()),
                    Mode::Tunnel => Packet::tunnelled(&mut buffer[esp..], payload.len(), kind),
                };
                sealer.seal(std::slice::from_mut(&mut packet)).map_err(|_| "not_sealed")?;
                let end = esp + packet.sealed_len();
                let outer = self.outer(Protocol::Esp.number(), end - esp);
                let start = esp - outer.len();
                buffer[start..esp].copy_from_slice(&outer);
                Ok(start..end)
            }
            (Sealing::Ah(ah), Mode::Tunnel) => {
                let outer = self.outer(Protocol::Ah.number(), 0);
                ah.protect_tunnelled(buffer, payload, &outer).map_err(|error| error.code())
            }
            (Sealing::Ah(ah), Mode::Gre) => {
                let outer = self.outer(GRE, payload.len());
                let start = payload.start - outer.len();
                buffer[start..payload.start].copy_from_slice(&outer);
                ah.protect(buffer, start..payload.end).map_err(|error| error.code())
            }
        }
    }

    /// The outer header, its marks those of nobody: RFC 6040's compatibility mode.
    fn outer(&self, protocol: u8, payload_bytes: usize) -> Vec<u8> {
        match (self.local, self.wanted.tunnel.peer_address) {
            (IpAddr::V4(local), IpAddr::V4(peer)) => {
                let mut header = vec![0; 20];
                header[0] = 0x45;
                header[2..4].copy_from_slice(&((payload_bytes + 20) as u16).to_be_bytes());
                header[4..6].copy_from_slice(&self.identification.to_be_bytes());
                (header[8], header[9]) = (TTL, protocol);
                header[12..16].copy_from_slice(&local.octets());
                header[16..20].copy_from_slice(&peer.octets());
                let sum = hawser_esp::checksum::checksum(&header);
                header[10..12].copy_from_slice(&sum.to_be_bytes());
                header
            }
            (local, peer) => ipv6_header(local, peer, protocol, payload_bytes),
        }
    }
}

impl Sealing {
    fn new(wanted: &Wanted, key: &[u8], seed: [u8; 32]) -> Result<Self, String> {
        let (tunnel, spi) = (&wanted.tunnel, wanted.tunnel.outbound.spi);
        let text = |error: &dyn std::error::Error| error.to_string();
        match tunnel.protocol {
            Protocol::Esp => {
                let material = KeyMaterial::new(tunnel.suite(), key).map_err(|e| text(&e))?;
                let seed = IvSeed::new(seed);
                Ok(Sealing::Esp(sealer(spi, &material, false, &seed).map_err(|e| text(&e))?))
            }
            Protocol::Ah => {
                let key = AhKey::new(tunnel.integrity(), key).map_err(|e| text(&e))?;
                let ah = OutboundAh::new(spi, &key, false).map_err(|e| text(&e))?;
                Ok(Sealing::Ah(Box::new(ah)))
            }
        }
    }

    fn last_seq(&self) -> u64 {
        match self {
            Sealing::Esp(sealer) => sealer.last_seq(),
            Sealing::Ah(ah) => ah.last_seq(),
        }
    }
}

impl Inbound {
    pub fn new(wanted: &Wanted, local: IpAddr, keys: &Keys) -> Result<Self, String> {
        let (tunnel, spi) = (&wanted.tunnel, wanted.tunnel.inbound.spi);
        let text = |error: &dyn std::error::Error| error.to_string();
        let opening = match tunnel.protocol {
            Protocol::Esp => {
                let key = KeyMaterial::new(tunnel.suite(), &keys.inbound).map_err(|e| text(&e))?;
                let mode = if tunnel.mode == Mode::Gre { EspMode::Gre } else { EspMode::Tunnel };
                Opening::Esp(opener(mode, spi, &key, false, NO_WINDOW).map_err(|e| text(&e))?)
            }
            Protocol::Ah => {
                let key = AhKey::new(tunnel.integrity(), &keys.inbound).map_err(|e| text(&e))?;
                let mode =
                    if tunnel.mode == Mode::Gre { AhMode::Transport } else { AhMode::Tunnel };
                let ah = InboundAh::new(spi, &key, false, NO_WINDOW, mode).map_err(|e| text(&e))?;
                Opening::Ah(Box::new(ah))
            }
        };
        Ok(Inbound { wanted: wanted.clone(), local, opening })
    }

    /// Octets that a received packet must have before it: a raw socket of IPv6 shows no header.
    pub fn header_bytes(&self) -> usize {
        if self.local.is_ipv6() { 40 } else { 0 }
    }

    /// What stands in `received` begins with [`Self::header_bytes`] octets that are written here; gives where the packet for
    /// a LAN stands.
    pub fn open(&self, received: &mut [u8]) -> Result<Range<usize>, Dropped> {
        let tunnel = &self.wanted.tunnel;
        let missing = self.header_bytes();
        if missing > 0 {
            let payload = received.len().checked_sub(missing).ok_or("too_short")?;
            let protocol = tunnel.protocol.number();
            let header = ipv6_header(tunnel.peer_address, self.local, protocol, payload);
            received[..missing].copy_from_slice(&header);
        }
        let first = *received.first().ok_or("too_short")?;
        let (header, marks) = match first >> 4 {
            4 => (usize::from(first & 0x0f) * 4, received.get(1).copied().unwrap_or(0)),
            // Its marks were not shown.
            _ => (40, 0),
        };
        let mut inner = match &self.opening {
            Opening::Esp(opener) => {
                let datagram = received.get_mut(header..).ok_or("too_short")?;
                let payload = opener.open(datagram).map_err(|reason| reason.code())?.payload;
                header + payload.start..header + payload.end
            }
            Opening::Ah(ah) => {
                let opened = ah.open(received).map_err(|error| error.code())?.packet;
                match tunnel.mode {
                    Mode::Tunnel => opened,
                    Mode::Gre => behind_header(received, opened)?,
                }
            }
        };
        if tunnel.mode == Mode::Gre {
            inner = behind_gre(received, inner)?;
        }
        let packet = &mut received[inner.clone()];
        let (source, destination) = ends(packet).ok_or("not_ip")?;
        if !within(&tunnel.remote_prefixes, source) || !within(&tunnel.local_prefixes, destination)
        {
            return Err("not_of_the_peer");
        }
        match decapsulate_ecn(packet, marks) {
            Decapsulated::Dropped => Err("congestion"),
            Decapsulated::Marked | Decapsulated::Unchanged => Ok(inner),
        }
    }
}

/// Behind the IP header of a packet that carries GRE.
fn behind_header(packet: &[u8], whole: Range<usize>) -> Result<Range<usize>, Dropped> {
    let octets = &packet[whole.clone()];
    let (length, protocol) = match octets.first().ok_or("too_short")? >> 4 {
        4 => (usize::from(octets[0] & 0x0f) * 4, octets.get(9)),
        _ => (40, octets.get(6)),
    };
    if protocol != Some(&GRE) || length > octets.len() {
        return Err("not_gre");
    }
    Ok(whole.start + length..whole.end)
}

/// RFC 2784 without a checksum, as we send it; nothing of RFC 2890.
fn behind_gre(packet: &[u8], gre: Range<usize>) -> Result<Range<usize>, Dropped> {
    let header = packet[gre.clone()].first_chunk::<4>().ok_or("gre_too_short")?;
    let inner = gre.start + GRE_BYTES as usize..gre.end;
    let kind = Inner::of_packet(&packet[inner.clone()]).ok_or("not_ip")?;
    if header[..2] != [0, 0] {
        return Err("gre_flags");
    }
    if header[2..] != kind.ether_type().to_be_bytes() {
        return Err("gre_protocol");
    }
    Ok(inner)
}

fn ipv6_header(source: IpAddr, destination: IpAddr, protocol: u8, payload: usize) -> Vec<u8> {
    let octets = |address| match address {
        IpAddr::V4(v4) => v4.to_ipv6_mapped().octets(),
        IpAddr::V6(v6) => v6.octets(),
    };
    let mut header = vec![0; 40];
    header[0] = 0x60;
    header[4..6].copy_from_slice(&(payload as u16).to_be_bytes());
    (header[6], header[7]) = (protocol, TTL);
    header[8..24].copy_from_slice(&octets(source));
    header[24..40].copy_from_slice(&octets(destination));
    header
}

/// Source and destination of a whole IP packet.
fn ends(packet: &[u8]) -> Option<(IpAddr, IpAddr)> {
    let v4 = |at: usize| packet[at..].first_chunk::<4>().map(|o| IpAddr::from(*o));
    let v6 = |at: usize| packet[at..].first_chunk::<16>().map(|o| IpAddr::from(*o));
    match packet.first()? >> 4 {
        4 if packet.len() >= 20 => Some((v4(12)?, v4(16)?)),
        6 if packet.len() >= 40 => Some((v6(8)?, v6(24)?)),
        _ => None,
    }
}

fn within(prefixes: &[IpNet], address: IpAddr) -> bool {
    prefixes.iter().any(|prefix| prefix.contains(&address))
}
