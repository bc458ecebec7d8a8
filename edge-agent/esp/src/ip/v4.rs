//! The IPv4 header (RFC 791 section 3.1).

use std::net::Ipv4Addr;

use super::{Fragment, IpError, be16};

/// A checked IPv4 header.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Ipv4<'a>(&'a [u8]);

impl<'a> Ipv4<'a> {
    pub const MIN_LEN: usize = 20;

    /// Checks version and lengths against `bytes`, which may be longer than the packet.
    pub fn parse(bytes: &'a [u8]) -> Result<Self, IpError> {
        if bytes.len() < Self::MIN_LEN {
            return Err(IpError::Truncated);
        }
        if bytes[0] >> 4 != 4 {
            return Err(IpError::Version);
        }
        let header_len = usize::from(bytes[0] & 0xf) * 4;
        let total_len = usize::from(be16(bytes, 2));
        if header_len < Self::MIN_LEN || total_len < header_len {
            return Err(IpError::BadLength);
        }
        if total_len > bytes.len() {
            return Err(IpError::Truncated);
        }
        Ok(Ipv4(&bytes[..header_len]))
    }

    /// With options.
    pub fn header_len(&self) -> usize {
        self.0.len()
    }

    pub fn total_len(&self) -> usize {
        usize::from(be16(self.0, 2))
    }

    pub fn tos(&self) -> u8 {
        self.0[1]
    }

    pub fn id(&self) -> u16 {
        be16(self.0, 4)
    }

    pub fn dont_fragment(&self) -> bool {
        self.0[6] & 0x40 != 0
    }

    pub fn fragment(&self) -> Fragment {
        let more = self.0[6] & 0x20 != 0;
        match (be16(self.0, 6) & 0x1fff, more) {
            (0, false) => Fragment::Whole,
            (0, true) => Fragment::First,
            _ => Fragment::Later,
        }
    }

    pub fn ttl(&self) -> u8 {
        self.0[8]
    }

    pub fn protocol(&self) -> u8 {
        self.0[9]
    }

    pub fn src(&self) -> Ipv4Addr {
        Ipv4Addr::new(self.0[12], self.0[13], self.0[14], self.0[15])
    }

    pub fn dst(&self) -> Ipv4Addr {
        Ipv4Addr::new(self.0[16], self.0[17], self.0[18], self.0[19])
    }
}
