//! Next-hop objects (`linux/nexthop.h`), which the netlink crate does not have: a route names one, and replacing it moves
//! all of its routes at once.

use rtnetlink::packet_core::{
    DecodeError, DefaultNla, Emitable, NetlinkDeserializable, NetlinkHeader, NetlinkSerializable,
    NlasIterator,
};

const RTM_NEWNEXTHOP: u16 = 104;
const RTM_DELNEXTHOP: u16 = 105;
const RTM_GETNEXTHOP: u16 = 106;
const HEADER_BYTES: usize = 8;
const NHA_ID: u16 = 1;
const NHA_GROUP: u16 = 2;
const NHA_BLACKHOLE: u16 = 4;
const NHA_OIF: u16 = 5;
const GROUP_ENTRY_BYTES: usize = 8;

/// What is asked.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verb {
    New,
    Delete,
    Get,
}

/// `struct nhmsg` and the attributes that we use.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NextHopMessage {
    pub verb: Verb,
    pub family: u8,
    pub protocol: u8,
    pub id: Option<u32>,
    pub output_interface: Option<u32>,
    pub blackhole: bool,
    /// IDs, and weights from 1.
    pub group: Vec<(u32, u16)>,
}

impl NextHopMessage {
    pub fn new(verb: Verb) -> Self {
        NextHopMessage {
            verb,
            family: 0,
            protocol: 0,
            id: None,
            output_interface: None,
            blackhole: false,
            group: Vec::new(),
        }
    }

    fn attributes(&self) -> Vec<DefaultNla> {
        let word = |kind, value: u32| DefaultNla::new(kind, value.to_ne_bytes().to_vec());
        let mut found = Vec::new();
        found.extend(self.id.map(|id| word(NHA_ID, id)));
        found.extend(self.output_interface.map(|index| word(NHA_OIF, index)));
        if self.blackhole {
            found.push(DefaultNla::new(NHA_BLACKHOLE, Vec::new()));
        }
        if !self.group.is_empty() {
            let mut octets = Vec::with_capacity(self.group.len() * GROUP_ENTRY_BYTES);
            for (id, weight) in &self.group {
                octets.extend_from_slice(&id.to_ne_bytes());
                octets.extend_from_slice(&[weight.saturating_sub(1).min(255) as u8, 0, 0, 0]);
            }
            found.push(DefaultNla::new(NHA_GROUP, octets));
        }
        found
    }
}

impl NetlinkSerializable for NextHopMessage {
    fn message_type(&self) -> u16 {
        match self.verb {
            Verb::New => RTM_NEWNEXTHOP,
            Verb::Delete => RTM_DELNEXTHOP,
            Verb::Get => RTM_GETNEXTHOP,
        }
    }

    fn buffer_len(&self) -> usize {
        HEADER_BYTES + self.attributes().as_slice().buffer_len()
    }

    fn serialize(&self, buffer: &mut [u8]) {
        buffer[..HEADER_BYTES].copy_from_slice(&[self.family, 0, self.protocol, 0, 0, 0, 0, 0]);
        self.attributes().as_slice().emit(&mut buffer[HEADER_BYTES..]);
    }
}

impl NetlinkDeserializable for NextHopMessage {
    type Error = DecodeError;

    fn deserialize(header: &NetlinkHeader, payload: &[u8]) -> Result<Self, DecodeError> {
        let verb = match header.message_type {
            RTM_NEWNEXTHOP => Verb::New,
            RTM_DELNEXTHOP => Verb::Delete,
            other => return Err(DecodeError::from(format!("message {other} is no next hop"))),
        };
        let (Some(head), Some(attributes)) =
            (payload.get(..HEADER_BYTES), payload.get(HEADER_BYTES..))
        else {
            return Err(DecodeError::from("a next hop is cut off"));
        };
        let mut message = NextHopMessage::new(verb);
        (message.family, message.protocol) = (head[0], head[2]);
        for attribute in NlasIterator::new(attributes) {
            let attribute = attribute?;
            let value = attribute.value();
            let word = || value.first_chunk().map(|octets| u32::from_ne_bytes(*octets));
            match attribute.kind() {
                NHA_ID => message.id = word(),
                NHA_OIF => message.output_interface = word(),
                NHA_BLACKHOLE => message.blackhole = true,
                NHA_GROUP => {
                    let entries = value.chunks_exact(GROUP_ENTRY_BYTES);
                    message.group = entries
                        .map(|entry| {
                            let id = u32::from_ne_bytes([entry[0], entry[1], entry[2], entry[3]]);
                            (id, u16::from(entry[4]) + 1)
                        })
                        .collect();
                }
                _ => {}
            }
        }
        Ok(message)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_group_survives_the_wire() {
        let mut message = NextHopMessage::new(Verb::New);
        (message.id, message.protocol) = (Some(7), 118);
        message.group = vec![(1, 1), (2, 256)];
        let mut octets = vec![0; message.buffer_len()];
        message.serialize(&mut octets);
        let mut header = NetlinkHeader::default();
        header.message_type = RTM_NEWNEXTHOP;
        assert_eq!(NextHopMessage::deserialize(&header, &octets).unwrap(), message);
        for cut in 0..HEADER_BYTES {
            assert!(NextHopMessage::deserialize(&header, &octets[..cut]).is_err());
        }
        header.message_type = RTM_GETNEXTHOP;
        assert!(NextHopMessage::deserialize(&header, &octets).is_err());
    }
}
