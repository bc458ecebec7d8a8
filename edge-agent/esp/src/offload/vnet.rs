//! `struct virtio_net_hdr` (VIRTIO 1.2 section 5.1.6), as a TUN device with `IFF_VNET_HDR` has it.

/// Octets of the header without `num_buffers`.
pub const VNET_LEN: usize = 10;

const NEEDS_CSUM: u8 = 1;
const GSO_NONE: u8 = 0;
const GSO_TCPV4: u8 = 1;
const GSO_TCPV6: u8 = 4;
const GSO_UDP_L4: u8 = 5;
/// May be added to a TCP type: the packet has CWR set.
const GSO_ECN: u8 = 0x80;

/// The header before each packet. In the host's byte order, as Linux has it unless `TUNSETVNETLE`
/// or `TUNSETVNETBE` was asked for.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct VnetHdr {
    pub flags: u8,
    pub gso_type: u8,
    /// Octets before the payload; a hint only.
    pub hdr_len: u16,
    /// Payload octets of each segment.
    pub gso_size: u16,
    /// Where the checksum starts to cover the packet.
    pub csum_start: u16,
    /// Where it stands, from `csum_start` on.
    pub csum_offset: u16,
}

/// How a packet is to be segmented.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Gso {
    None,
    TcpV4,
    TcpV6,
    /// UDP datagrams of equal length, of either IP version.
    UdpL4,
}

impl VnetHdr {
    /// A packet of which nothing is left to do.
    pub const DONE: VnetHdr =
        VnetHdr { flags: 0, gso_type: 0, hdr_len: 0, gso_size: 0, csum_start: 0, csum_offset: 0 };

    /// Takes the header off what was read from the device. `None` if it is shorter.
    pub fn parse(bytes: &[u8]) -> Option<(VnetHdr, &[u8])> {
        let (head, packet) = bytes.split_first_chunk::<VNET_LEN>()?;
        let word = |at: usize| u16::from_ne_bytes([head[at], head[at + 1]]);
        let header = VnetHdr {
            flags: head[0],
            gso_type: head[1],
            hdr_len: word(2),
            gso_size: word(4),
            csum_start: word(6),
            csum_offset: word(8),
        };
        Some((header, packet))
    }

    pub fn encode(&self) -> [u8; VNET_LEN] {
        let mut head = [self.flags, self.gso_type, 0, 0, 0, 0, 0, 0, 0, 0];
        head[2..4].copy_from_slice(&self.hdr_len.to_ne_bytes());
        head[4..6].copy_from_slice(&self.gso_size.to_ne_bytes());
        head[6..8].copy_from_slice(&self.csum_start.to_ne_bytes());
        head[8..].copy_from_slice(&self.csum_offset.to_ne_bytes());
        head
    }

    /// A super-packet whose checksum field holds the pseudo-header's sum.
    pub(crate) fn super_packet(gso: Gso, hdr_len: u16, gso_size: u16, csum_start: u16) -> VnetHdr {
        let (gso_type, csum_offset) = match gso {
            Gso::None => return VnetHdr::DONE,
            Gso::TcpV4 => (GSO_TCPV4, 16),
            Gso::TcpV6 => (GSO_TCPV6, 16),
            Gso::UdpL4 => (GSO_UDP_L4, 6),
        };
        VnetHdr { flags: NEEDS_CSUM, gso_type, hdr_len, gso_size, csum_start, csum_offset }
    }

    /// The checksum field holds the pseudo-header's sum, and nothing else is summed yet.
    pub fn needs_csum(&self) -> bool {
        self.flags & NEEDS_CSUM != 0
    }

    /// `None` for a type that was not asked of the device (UFO among them).
    pub fn gso(&self) -> Option<Gso> {
        match self.gso_type & !GSO_ECN {
            GSO_NONE => Some(Gso::None),
            GSO_TCPV4 => Some(Gso::TcpV4),
            GSO_TCPV6 => Some(Gso::TcpV6),
            GSO_UDP_L4 => Some(Gso::UdpL4),
            _ => None,
        }
    }
}
