//! Why the data plane refused.

use std::io;

use hawser_edge_core::id::{PathId, Spi, UplinkId};

/// A refusal, with a stable [`code`](DataPlaneError::code).
#[derive(Debug, thiserror::Error)]
pub enum DataPlaneError {
    /// The forwarding table or an uplink contradicts itself.
    #[error("{place}: {fault}")]
    Spec {
        /// The part of the spec.
        place: String,
        /// What is wrong, and the mend.
        fault: String,
    },
    /// A TUN device can't be made or set up.
    #[error("device {name}: {operation}")]
    Device {
        /// The device's name.
        name: String,
        /// What was tried.
        operation: &'static str,
        /// What the kernel said.
        source: io::Error,
    },
    /// The path is not in the table.
    #[error("path {0} is not in the forwarding table")]
    UnknownPath(PathId),
    /// The path has no outbound SA.
    #[error("path {0} has no outbound SA")]
    NoOutboundSa(PathId),
    /// The path's remote is not known.
    #[error("path {0} has no remote endpoint")]
    NoRemote(PathId),
    /// The uplink has no open socket of that family.
    #[error("uplink {0} has no open socket for the path's address family")]
    UplinkDown(UplinkId),
    /// The SPI is in use by another inbound SA.
    #[error("SPI {0} is in use: pick another")]
    SpiInUse(Spi),
    /// The key material does not fit the suite, or another limit of ESP.
    #[error("security association: {fault}")]
    Sa {
        /// What is wrong; never the key.
        fault: String,
    },
    /// The table of inbound SAs is full.
    #[error("{limit} inbound SAs are installed, no more are taken: remove drained ones")]
    TooManySas {
        /// How many fit.
        limit: usize,
    },
    /// The inner packet is too long for one datagram.
    #[error("inner packet of {length_bytes} bytes is above {limit_bytes}")]
    TooLong {
        /// The packet's length.
        length_bytes: usize,
        /// The most that is taken.
        limit_bytes: usize,
    },
    /// The path's sequence numbers are used up; it needs a new SA.
    #[error("path {0} has used up its sequence numbers: rekey it")]
    SequenceExhausted(PathId),
    /// The kernel refused to send.
    #[error("sending on path {path}")]
    Send {
        /// The path.
        path: PathId,
        /// What the kernel said.
        source: io::Error,
    },
}

impl DataPlaneError {
    /// A stable name for events and tests.
    pub fn code(&self) -> &'static str {
        match self {
            DataPlaneError::Spec { .. } => "spec",
            DataPlaneError::Device { .. } => "device",
            DataPlaneError::UnknownPath(_) => "unknown_path",
            DataPlaneError::NoOutboundSa(_) => "no_outbound_sa",
            DataPlaneError::NoRemote(_) => "no_remote",
            DataPlaneError::UplinkDown(_) => "uplink_down",
            DataPlaneError::SpiInUse(_) => "spi_in_use",
            DataPlaneError::Sa { .. } => "sa",
            DataPlaneError::TooManySas { .. } => "too_many_sas",
            DataPlaneError::TooLong { .. } => "too_long",
            DataPlaneError::SequenceExhausted(_) => "sequence_exhausted",
            DataPlaneError::Send { .. } => "send",
        }
    }
}
