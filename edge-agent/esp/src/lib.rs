//! The packet engine of the userspace data plane: GRE in ESP transport mode, and what an edge
//! does to the packets inside.
//!
//! Pure: no socket, file, clock, thread or runtime, and no allocation per packet. Wire format of
//! one datagram (RFC 4303, RFC 4106, RFC 7634, RFC 2890):
//!
//! ```text
//! [SPI 4][seq 4][IV 8][GRE 8 or 12][inner packet][padding 1,2,3..][pad length 1][next header 47][ICV 16]
//! ```
//!
//! | module | what |
//! |---|---|
//! | [`suite`] | the algorithms, and key material that is wiped on drop |
//! | [`sa`] | [`OutboundSa`] seals, [`InboundSa`] opens, both in place and shared by reference |
//! | [`replay`] | the anti-replay window with ESN inference |
//! | [`wire`] | sizes: overhead, inner MTU, MSS |
//! | [`gre`] | the GRE header with key |
//! | [`ip`] | IPv4, IPv6, TCP, UDP headers, flow keys, MSS clamp |
//! | [`checksum`] | the internet checksum |
//! | [`offload`] | `virtio_net_hdr`; splitting TSO and USO super-packets |
//! | [`copies`] | which of two copies of a packet came first |
//! | [`coalesce`] | merging received packets into super-packets |
//!
//! What comes from a network is parsed by total functions: any bytes give a value or a reason.
#![forbid(unsafe_code)]

pub mod ah;
pub mod checksum;
pub mod coalesce;
pub mod copies;
pub mod drops;
pub mod gre;
pub mod ip;
pub mod layout;
pub mod offload;
pub mod replay;
pub mod sa;
mod sm4;
pub mod suite;
#[cfg(test)]
mod testing;
pub mod transform;
pub mod wire;

pub use drops::{DropCounters, DropReason};
pub use layout::{Carrier, Layout};
pub use sa::{
    BatchError, Expiry, InboundBatch, InboundSa, Lifetime, Limits, Mode, Opened, Opener,
    OutboundSa, Packet, Received, SaError, SaUsage, SealError, Sealer, SeqBlock, SeqExhausted,
    SequenceEvidence, opener, sealer,
};
pub use suite::{Encryption, Integrity, KeyError, KeyMaterial, Suite};
pub use transform::IvSeed;
