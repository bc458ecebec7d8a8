//! The VICI protocol: packets and messages between a client and strongSwan's charon.
//!
//! Source: strongSwan's `src/libcharon/plugins/vici/README.md` (5.9.8). On the wire a packet is its length (32 bits, network
//! order, of what follows), a packet type, for named types a name (8-bit length), and a message: a run of elements.
//! Everything that comes from the socket is bounded; scalars are erased when they are dropped, and never printed.

mod message;
mod packet;
#[cfg(test)]
mod tests;

pub use message::{Section, Value};
pub use packet::{LENGTH_BYTES, MAX_PACKET_BYTES, Packet, body_bytes};

/// What can't be said in VICI, or was not VICI.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum ViciError {
    #[error("a name is longer than 255 octets")]
    NameTooLong,
    #[error("a value is longer than 65535 octets")]
    ValueTooLong,
    #[error("a packet is longer than {MAX_PACKET_BYTES} octets")]
    PacketTooLong,
    #[error("sections are nested deeper than {} levels", message::MAX_DEPTH)]
    TooDeep,
    #[error("a packet ends too early")]
    Truncated,
    #[error("a name is not UTF-8")]
    NameNotText,
    #[error("an element or packet of unknown type {0}")]
    UnknownType(u8),
    #[error("an element of type {0} where it may not stand")]
    Misplaced(u8),
}
