//! The number that nftables gives its whole ruleset: another one with each transaction, whoever made it. So one message tells
//! that nothing changed, and no process must be started to find out.

use std::io;

use rtnetlink::packet_core::{
    DecodeError, DefaultNla, Emitable, NetlinkDeserializable, NetlinkHeader, NetlinkSerializable,
    NlasIterator,
};
use rtnetlink::sys::protocols::NETLINK_NETFILTER;

use super::netlink::Channel;

/// `NFNLGRP_NFTABLES` of `linux/netfilter/nfnetlink.h`: every transaction is told there.
pub const GROUP: u32 = 7;
/// `NFNL_SUBSYS_NFTABLES` and `NFT_MSG_NEWGEN`, `NFT_MSG_GETGEN` of `linux/netfilter/nf_tables.h`.
const NEW_GENERATION: u16 = 10 << 8 | 15;
const GET_GENERATION: u16 = 10 << 8 | 16;
const NFTA_GEN_ID: u16 = 1;
/// `struct nfgenmsg`.
const HEADER_BYTES: usize = 4;

/// The ruleset's generation in the network namespace of this thread.
///
/// # Errors
/// What the kernel said.
pub fn generation() -> io::Result<u32> {
    let mut channel = Channel::open(NETLINK_NETFILTER)?;
    let found = channel
        .get("ask for the ruleset's generation", Generation(None))
        .map_err(|error| error.source)?;
    let number = found.into_iter().find_map(|Generation(number)| number);
    number.ok_or_else(|| io::Error::other("the kernel did not tell the ruleset's generation"))
}

/// Asked for without a number, told with one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Generation(Option<u32>);

impl Generation {
    fn attributes(self) -> Vec<DefaultNla> {
        // Netfilter's numbers are in network order.
        let number = self.0.map(|id| DefaultNla::new(NFTA_GEN_ID, id.to_be_bytes().to_vec()));
        number.into_iter().collect()
    }
}

impl NetlinkSerializable for Generation {
    fn message_type(&self) -> u16 {
        if self.0.is_some() { NEW_GENERATION } else { GET_GENERATION }
    }

    fn buffer_len(&self) -> usize {
        HEADER_BYTES + self.attributes().as_slice().buffer_len()
    }

    fn serialize(&self, buffer: &mut [u8]) {
        buffer[..HEADER_BYTES].fill(0);
        self.attributes().as_slice().emit(&mut buffer[HEADER_BYTES..]);
    }
}

impl NetlinkDeserializable for Generation {
    type Error = DecodeError;

    fn deserialize(header: &NetlinkHeader, payload: &[u8]) -> Result<Self, DecodeError> {
        if header.message_type != NEW_GENERATION {
            let other = header.message_type;
            return Err(DecodeError::from(format!("message {other} is no generation")));
        }
        let Some(attributes) = payload.get(HEADER_BYTES..) else {
            return Err(DecodeError::from("a generation is cut off"));
        };
        for attribute in NlasIterator::new(attributes) {
            let attribute = attribute?;
            if attribute.kind() == NFTA_GEN_ID
                && let Some(octets) = attribute.value().first_chunk()
            {
                return Ok(Generation(Some(u32::from_be_bytes(*octets))));
            }
        }
        Ok(Generation(None))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_generation_survives_the_wire_and_nothing_else_is_one() {
        let told = Generation(Some(0x0102_0304));
        let mut octets = vec![0; told.buffer_len()];
        told.serialize(&mut octets);
        let mut header = NetlinkHeader::default();
        header.message_type = NEW_GENERATION;
        assert_eq!(Generation::deserialize(&header, &octets).unwrap(), told);
        assert!(Generation::deserialize(&header, &octets[..2]).is_err());
        header.message_type = GET_GENERATION;
        assert!(Generation::deserialize(&header, &octets).is_err());
    }
}
