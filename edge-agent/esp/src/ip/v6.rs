//! The IPv6 header and its extension headers (RFC 8200 sections 3 and 4).

use std::net::Ipv6Addr;

use super::{Fragment, IpError, be16, be32, proto};

/// Extension headers walked before a packet is refused (RFC 8504 section 5.3 allows a limit).
pub const MAX_EXTENSIONS: usize = 8;

/// A checked IPv6 header.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Ipv6<'a>(&'a [u8; Ipv6::LEN]);

/// What the extension headers lead to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Upper {
    pub proto: u8,
    pub offset: usize,
    pub fragment: Fragment,
}

impl<'a> Ipv6<'a> {
    pub const LEN: usize = 40;

    /// Checks version and length against `bytes`, which may be longer than the packet.
    pub fn parse(bytes: &'a [u8]) -> Result<Self, IpError> {
        let header = Ipv6(bytes.first_chunk().ok_or(IpError::Truncated)?);
        if bytes[0] >> 4 != 6 {
            return Err(IpError::Version);
        }
        if header.total_len() > bytes.len() {
            return Err(IpError::Truncated);
        }
        Ok(header)
    }

    /// Header and payload. A jumbogram (RFC 2675) counts as an empty packet.
    pub fn total_len(&self) -> usize {
        Self::LEN + usize::from(be16(self.0, 4))
    }

    pub fn traffic_class(&self) -> u8 {
        (be16(self.0, 0) >> 4) as u8
    }

    /// 20 bits.
    pub fn flow_label(&self) -> u32 {
        be32(self.0, 0) & 0xf_ffff
    }

    pub fn next_header(&self) -> u8 {
        self.0[6]
    }

    pub fn hop_limit(&self) -> u8 {
        self.0[7]
    }

    pub fn src(&self) -> Ipv6Addr {
        let octets: [u8; 16] = self.0[8..24].try_into().expect("16 octets");
        Ipv6Addr::from(octets)
    }

    pub fn dst(&self) -> Ipv6Addr {
        let octets: [u8; 16] = self.0[24..40].try_into().expect("16 octets");
        Ipv6Addr::from(octets)
    }

    /// Walks the extension headers of `packet`, which this header starts.
    pub(super) fn walk(&self, packet: &[u8]) -> Result<Upper, IpError> {
        let mut upper =
            Upper { proto: self.next_header(), offset: Self::LEN, fragment: Fragment::Whole };
        for _ in 0..=MAX_EXTENSIONS {
            if !is_extension(upper.proto) {
                return Ok(upper);
            }
            let header = packet.get(upper.offset..).filter(|rest| rest.len() >= 8);
            let header = header.ok_or(IpError::Truncated)?;
            let len = match upper.proto {
                proto::FRAGMENT => 8,
                // RFC 4302 section 2.2: in 4-octet units, minus 2.
                proto::AH => (usize::from(header[1]) + 2) * 4,
                _ => (usize::from(header[1]) + 1) * 8,
            };
            if len > header.len() {
                return Err(IpError::Truncated);
            }
            if upper.proto == proto::FRAGMENT {
                upper.fragment = fragment_of(header);
            }
            upper.proto = header[0];
            upper.offset += len;
            if upper.fragment == Fragment::Later {
                return Ok(upper);
            }
        }
        Err(IpError::TooManyExtensions)
    }
}

/// RFC 8200 section 4.5.
fn fragment_of(header: &[u8]) -> Fragment {
    let field = be16(header, 2);
    match (field >> 3, field & 1) {
        (0, 0) => Fragment::Whole,
        (0, _) => Fragment::First,
        _ => Fragment::Later,
    }
}

fn is_extension(next_header: u8) -> bool {
    matches!(
        next_header,
        proto::HOP_BY_HOP
            | proto::ROUTING
            | proto::FRAGMENT
            | proto::AH
            | proto::DESTINATION
            | proto::MOBILITY
            | proto::HIP
            | proto::SHIM6
    )
}
