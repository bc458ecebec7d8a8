//! A packet: who speaks of what, and a message.

use zeroize::Zeroizing;

use super::message::Reader;
use super::{Section, ViciError};

/// Of the length before every packet.
pub const LENGTH_BYTES: usize = 4;
/// charon refuses longer ones, and sends none.
pub const MAX_PACKET_BYTES: usize = 512 * 1024;

/// One packet, of either direction.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Packet {
    Request { command: String, message: Section },
    Response(Section),
    UnknownCommand,
    Register { event: String },
    Unregister { event: String },
    EventConfirmed,
    UnknownEvent,
    Event { event: String, message: Section },
}

impl Packet {
    /// With its length before it. It may hold secrets.
    pub fn encode(&self) -> Result<Zeroizing<Vec<u8>>, ViciError> {
        // Room for all of it from the start: growing would leave copies of secrets behind.
        let mut out = Zeroizing::new(Vec::with_capacity(MAX_PACKET_BYTES.min(self.size_hint())));
        out.extend([0; LENGTH_BYTES]);
        let (kind, name, message) = self.parts();
        out.push(kind);
        if let Some(name) = name {
            out.push(u8::try_from(name.len()).map_err(|_| ViciError::NameTooLong)?);
            out.extend(name.as_bytes());
        }
        if let Some(message) = message {
            message.encode(&mut out)?;
        }
        let length = out.len() - LENGTH_BYTES;
        if length > MAX_PACKET_BYTES {
            return Err(ViciError::PacketTooLong);
        }
        let length = u32::try_from(length).map_err(|_| ViciError::PacketTooLong)?;
        out[..LENGTH_BYTES].copy_from_slice(&length.to_be_bytes());
        Ok(out)
    }

    /// From what follows the length.
    pub fn decode(body: &[u8]) -> Result<Packet, ViciError> {
        let mut reader = Reader(body);
        let kind = reader.u8()?;
        Ok(match kind {
            0 => Packet::Request { command: reader.name()?, message: Section::decode(reader.0)? },
            1 => Packet::Response(Section::decode(reader.0)?),
            2 => Packet::UnknownCommand,
            3 => Packet::Register { event: reader.name()? },
            4 => Packet::Unregister { event: reader.name()? },
            5 => Packet::EventConfirmed,
            6 => Packet::UnknownEvent,
            7 => Packet::Event { event: reader.name()?, message: Section::decode(reader.0)? },
            other => return Err(ViciError::UnknownType(other)),
        })
    }

    fn parts(&self) -> (u8, Option<&str>, Option<&Section>) {
        match self {
            Packet::Request { command, message } => (0, Some(command), Some(message)),
            Packet::Response(message) => (1, None, Some(message)),
            Packet::UnknownCommand => (2, None, None),
            Packet::Register { event } => (3, Some(event), None),
            Packet::Unregister { event } => (4, Some(event), None),
            Packet::EventConfirmed => (5, None, None),
            Packet::UnknownEvent => (6, None, None),
            Packet::Event { event, message } => (7, Some(event), Some(message)),
        }
    }

    fn size_hint(&self) -> usize {
        let (_, name, message) = self.parts();
        LENGTH_BYTES + 2 + name.map_or(0, str::len) + message.map_or(0, size)
    }
}

/// Octets that follow this length; an error if that is more than any packet has.
pub fn body_bytes(length: [u8; LENGTH_BYTES]) -> Result<usize, ViciError> {
    let length =
        usize::try_from(u32::from_be_bytes(length)).map_err(|_| ViciError::PacketTooLong)?;
    if length > MAX_PACKET_BYTES { Err(ViciError::PacketTooLong) } else { Ok(length) }
}

fn size(section: &Section) -> usize {
    use super::Value;
    let of = |(name, value): &(String, Value)| {
        3 + name.len()
            + match value {
                Value::Scalar(octets) => 2 + octets.len(),
                Value::List(items) => items.iter().map(|item| 3 + item.len()).sum(),
                Value::Section(inner) => size(inner),
            }
    };
    section.0.iter().map(of).sum()
}
