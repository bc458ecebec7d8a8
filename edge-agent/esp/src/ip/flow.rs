//! What classification looks at.

use std::net::IpAddr;

use super::{Fragment, IpError, Packet, be16, proto};

/// The 5-tuple of a packet, and its DSCP.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct FlowKey {
    pub src: IpAddr,
    pub dst: IpAddr,
    /// Of the transport header.
    pub proto: u8,
    /// 0 where the protocol has no ports, and in later fragments.
    pub src_port: u16,
    /// As `src_port`.
    pub dst_port: u16,
    /// 0 to 63.
    pub dscp: u8,
    /// A later fragment shares addresses and protocol with its flow, not the ports.
    pub fragment: Fragment,
}

impl FlowKey {
    /// Parses the packet at the start of `bytes`.
    pub fn parse(bytes: &[u8]) -> Result<FlowKey, IpError> {
        FlowKey::of(&Packet::parse(bytes)?)
    }

    /// Fails if the packet ends before the ports that its protocol has.
    pub fn of(packet: &Packet<'_>) -> Result<FlowKey, IpError> {
        let has_ports = matches!(
            packet.proto(),
            proto::TCP | proto::UDP | proto::UDP_LITE | proto::SCTP | proto::DCCP
        );
        let (src_port, dst_port) = if has_ports && packet.fragment() != Fragment::Later {
            let ports = packet.transport().get(..4).ok_or(IpError::Truncated)?;
            (be16(ports, 0), be16(ports, 2))
        } else {
            (0, 0)
        };
        Ok(FlowKey {
            src: packet.src(),
            dst: packet.dst(),
            proto: packet.proto(),
            src_port,
            dst_port,
            dscp: packet.dscp(),
            fragment: packet.fragment(),
        })
    }

    /// A hash that pins a flow: the same on every run, and the same for every packet of a 5-tuple,
    /// whatever its DSCP. Fragments of a datagram hash by addresses and protocol only, all alike.
    /// It resists no one who chooses addresses and ports.
    pub fn pin_hash(&self) -> u64 {
        let mut hash = Mix(u64::from(self.proto));
        hash.address(self.src);
        hash.address(self.dst);
        if self.fragment == Fragment::Whole {
            hash.word(u64::from(self.src_port) << 16 | u64::from(self.dst_port));
        }
        hash.0
    }
}

/// Multiply and fold (as in wyhash): enough to spread flows over threads or paths.
struct Mix(u64);

impl Mix {
    fn address(&mut self, address: IpAddr) {
        match address {
            IpAddr::V4(v4) => self.word(u64::from(v4.to_bits())),
            IpAddr::V6(v6) => {
                self.word(v6.to_bits() as u64);
                self.word((v6.to_bits() >> 64) as u64);
            }
        }
    }

    fn word(&mut self, word: u64) {
        let product =
            u128::from(self.0 ^ 0x9e37_79b9_7f4a_7c15) * u128::from(word ^ 0xd6e8_feb8_6659_fd93);
        self.0 = (product as u64) ^ (product >> 64) as u64;
    }
}
