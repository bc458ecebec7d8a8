//! STAMP: RFC 8762 in unauthenticated mode with the TLVs of RFC 8972, and its way through segment 0 of a path.
//!
//! ESP authenticates the packets, so STAMP's own authenticated mode is not needed. All integers are big-endian.

mod inner;
mod packet;
#[cfg(test)]
mod tests;
mod timestamp;
mod tlv;

pub use inner::{
    HEADERS_BYTES, Kind, ProbePacket, SENDER_PORT, STAMP_PORT, address, decapsulate, encapsulate,
};
pub use packet::{BASE_BYTES, Reflected, ReflectorPacket, SenderPacket, reflect, request_bytes};
pub use timestamp::{ErrorEstimate, Timestamp, TimestampFormat};
pub use tlv::{DigestEntry, MAX_DIGEST_ENTRIES, MAX_TLVS, Tlv, TlvKind, Tlvs, flag, tlv_type};

/// Why a packet is not a probe. None is ever answered.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, thiserror::Error)]
pub enum Error {
    /// Shorter than its header, or than it says.
    #[error("{layer} is {length_bytes} bytes, at least {needed_bytes} are needed")]
    Short { layer: &'static str, length_bytes: usize, needed_bytes: usize },
    /// Not IPv6 without extension headers, carrying UDP.
    #[error("not UDP directly in IPv6")]
    NotUdp,
    /// A link-local packet that crossed a router.
    #[error("hop limit {0}, 255 is needed")]
    HopLimit(u8),
    /// Not `fe80::<edge ID>`.
    #[error("an address is not that of an edge")]
    Address,
    /// RFC 8200 section 8.1.
    #[error("wrong checksum")]
    Checksum,
    /// Neither a request to the reflector nor its reply.
    #[error("ports {source_port} to {destination_port} are not those of probes")]
    Ports { source_port: u16, destination_port: u16 },
}

impl Error {
    /// Stable, for counters.
    pub fn code(&self) -> &'static str {
        match self {
            Error::Short { .. } => "probe_short",
            Error::NotUdp => "probe_not_udp",
            Error::HopLimit(_) => "probe_hop_limit",
            Error::Address => "probe_address",
            Error::Checksum => "probe_checksum",
            Error::Ports { .. } => "probe_ports",
        }
    }
}

/// Reads big-endian fields at known offsets of a packet whose length was checked.
fn array<const N: usize>(octets: &[u8], at: usize) -> [u8; N] {
    let mut out = [0; N];
    out.copy_from_slice(&octets[at..at + N]);
    out
}

fn u16_at(octets: &[u8], at: usize) -> u16 {
    u16::from_be_bytes(array(octets, at))
}

fn u32_at(octets: &[u8], at: usize) -> u32 {
    u32::from_be_bytes(array(octets, at))
}

fn u64_at(octets: &[u8], at: usize) -> u64 {
    u64::from_be_bytes(array(octets, at))
}
