//! Packets of a LAN that are longer than their tunnel takes: fragmented before they are sealed, or sent back as an ICMP
//! error to who sent them.

use std::io::IoSlice;
use std::time::{Duration, Instant};

use hawser_esp::ip::{Fragments, MAX_ERROR_BYTES, too_big};
use hawser_esp::offload::{SuperPacket, VnetHdr};

use super::counters::DropReason;
use super::shared::Shared;
use super::sys::tun::Tun;

/// Errors of one device (RFC 1812 section 4.3.2.8, RFC 4443 section 2.4 (f)): so many at once, and one more in this time.
const ERRORS_AT_ONCE: u32 = 64;
const ERROR_EVERY: Duration = Duration::from_millis(5);

/// One device's.
pub(super) struct TooLong {
    /// The segments of a read, one behind the other, with their checksums complete.
    segments: Vec<u8>,
    allowance: Allowance,
}

impl TooLong {
    pub(super) fn new() -> Self {
        TooLong { segments: Vec::new(), allowance: Allowance::new(Instant::now()) }
    }

    /// The fragments of everything that was read; `None` if it must not be fragmented: its sender has been told, if it
    /// may be, and all of it is counted as dropped.
    pub(super) fn cut(
        &mut self,
        shared: &Shared,
        (tun, queue): (&Tun, usize),
        packet: &SuperPacket<'_>,
        mtu_bytes: usize,
    ) -> Option<Pieces<'_>> {
        let count = packet.segments();
        let total = (0..count).map(|index| packet.len_of(index)).sum();
        self.segments.resize(total, 0);
        let mut at = 0;
        for index in 0..count {
            match packet.write(index, &mut self.segments[at..]) {
                Some(length) => at += length,
                None => {
                    shared.drops.add(DropReason::BadPacket, count as u64);
                    return None;
                }
            }
        }
        let first = &self.segments[..packet.len_of(0)];
        if Fragments::new(first, mtu_bytes).is_none() {
            shared.drops.add(DropReason::TooBig, count as u64);
            let told = self.allowance.take(Instant::now()) && tell(tun, queue, first, mtu_bytes);
            let reason = if told { DropReason::TooBigTold } else { DropReason::TooBigUntold };
            shared.drops.add(reason, 1);
            return None;
        }
        shared.drops.add(DropReason::Fragmented, count as u64);
        Some(Pieces::new(&self.segments, packet, mtu_bytes))
    }
}

/// One error for all segments of a super-packet: they have one sender.
fn tell(tun: &Tun, queue: usize, packet: &[u8], mtu_bytes: usize) -> bool {
    let mut error = [0; MAX_ERROR_BYTES];
    let Some(length) = too_big(packet, mtu_bytes, &mut error) else { return false };
    let header = VnetHdr::DONE.encode();
    tun.write(queue, &[IoSlice::new(&header), IoSlice::new(&error[..length])]).is_ok()
}

/// The fragments of one or more packets, in order.
pub(super) struct Pieces<'a>(Vec<(Fragments<'a>, usize)>);

impl<'a> Pieces<'a> {
    fn new(segments: &'a [u8], packet: &SuperPacket<'_>, mtu_bytes: usize) -> Self {
        let mut rest = segments;
        let mut pieces = Vec::new();
        for index in 0..packet.segments() {
            let (segment, after) = rest.split_at(packet.len_of(index));
            rest = after;
            if let Some(fragments) = Fragments::new(segment, mtu_bytes) {
                let count = fragments.count();
                pieces.extend((0..count).map(|place| (fragments.clone(), place)));
            }
        }
        Pieces(pieces)
    }

    pub(super) fn count(&self) -> usize {
        self.0.len()
    }

    pub(super) fn len_of(&self, index: usize) -> usize {
        self.0.get(index).map_or(0, |(fragments, place)| fragments.len_of(*place))
    }

    pub(super) fn write(&self, index: usize, out: &mut [u8]) -> Option<()> {
        let (fragments, place) = self.0.get(index)?;
        fragments.write(*place, out).map(drop)
    }
}

/// A token bucket.
#[derive(Debug)]
struct Allowance {
    left: u32,
    since: Instant,
}

impl Allowance {
    fn new(now: Instant) -> Self {
        Allowance { left: ERRORS_AT_ONCE, since: now }
    }

    fn take(&mut self, now: Instant) -> bool {
        let earned = now.saturating_duration_since(self.since).as_nanos() / ERROR_EVERY.as_nanos();
        let earned = u32::try_from(earned).unwrap_or(u32::MAX);
        if earned > 0 {
            self.left = self.left.saturating_add(earned).min(ERRORS_AT_ONCE);
            self.since = now;
        }
        let has = self.left > 0;
        self.left -= u32::from(has);
        has
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn errors_come_in_a_burst_and_then_at_their_pace() {
        let begin = Instant::now();
        let mut allowance = Allowance::new(begin);
        let count =
            |allowance: &mut Allowance, at| (0..1_000).filter(|_| allowance.take(at)).count();
        assert_eq!(count(&mut allowance, begin), 64);
        assert_eq!(count(&mut allowance, begin + ERROR_EVERY * 3), 3);
        assert_eq!(count(&mut allowance, begin + Duration::from_secs(100)), 64);
    }
}
