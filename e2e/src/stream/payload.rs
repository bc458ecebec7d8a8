//! What a packet of the stream carries: the marker, then sequence number and time of sending, then filler.

/// Sequence number and time, u64 big-endian each.
pub(super) const STAMP_BYTES: usize = 16;

/// Writes a stamp behind the marker.
pub(super) fn stamp(payload: &mut [u8], marker_bytes: usize, seq: u64, sent_ns: u64) {
    payload[marker_bytes..marker_bytes + 8].copy_from_slice(&seq.to_be_bytes());
    payload[marker_bytes + 8..marker_bytes + STAMP_BYTES].copy_from_slice(&sent_ns.to_be_bytes());
}

/// (sequence number, time of sending) of a payload that starts with the marker.
pub(super) fn read(payload: &[u8], marker: &[u8]) -> Option<(u64, u64)> {
    let (seq, rest) = payload.strip_prefix(marker)?.split_first_chunk::<8>()?;
    let (sent_ns, _) = rest.split_first_chunk::<8>()?;
    Some((u64::from_be_bytes(*seq), u64::from_be_bytes(*sent_ns)))
}
