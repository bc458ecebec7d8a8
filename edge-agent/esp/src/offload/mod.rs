//! Segmentation and checksum offload at a TUN device: what the kernel left undone is finished while
//! the packet is copied to where it will be sealed.

mod super_packet;
mod vnet;

pub use super_packet::{MIN_GSO_SIZE, OffloadError, Strides, SuperPacket, complete_checksum};
pub use vnet::{Gso, VNET_LEN, VnetHdr};

#[cfg(test)]
mod tests;
