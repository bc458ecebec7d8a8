//! As much of a QUIC long header as tells one handshake from another (RFC 9000 section 17.2).

/// QUIC version 1; no other is offered or taken.
pub(super) const QUIC_V1: u32 = 1;

/// The connection IDs of a long header.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct LongHeader<'a> {
    /// A packet of type Initial.
    pub(super) initial: bool,
    /// Destination connection ID, at most 20 octets.
    pub(super) destination: &'a [u8],
    /// Source connection ID, at most 20 octets.
    pub(super) source: &'a [u8],
}

/// RFC 9000 section 17.2: at most 20 octets in version 1.
const MAX_ID_BYTES: usize = 20;

impl<'a> LongHeader<'a> {
    /// `None`: a short header, another version, or too short.
    pub(super) fn parse(datagram: &'a [u8]) -> Option<Self> {
        let (&first, rest) = datagram.split_first()?;
        let (version, rest) = rest.split_first_chunk::<4>()?;
        if !is_long(first) || u32::from_be_bytes(*version) != QUIC_V1 {
            return None;
        }
        let (destination, rest) = connection_id(rest)?;
        let (source, _) = connection_id(rest)?;
        Some(LongHeader { initial: first & 0x30 == 0, destination, source })
    }
}

/// Does a datagram begin with a long header of any version? Only handshakes do.
pub(super) fn is_handshake(datagram: &[u8]) -> bool {
    datagram.first().copied().is_some_and(is_long)
}

fn is_long(first: u8) -> bool {
    first & 0x80 != 0
}

fn connection_id(octets: &[u8]) -> Option<(&[u8], &[u8])> {
    let (&length, rest) = octets.split_first()?;
    let length = usize::from(length);
    if length > MAX_ID_BYTES { None } else { rest.split_at_checked(length) }
}
