//! Checking and taking off.

use std::fmt;
use std::ops::Range;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};

use super::covered::{Covered, Head};
use super::outbound::{write_checksum, write_lengths};
use super::{AhError, AhKey, FIXED_LEN, Parts, ah_len};
use crate::ip::{be16, be32};
use crate::replay::ReplayWindow;
use crate::sa::{NEXT_HEADER_IPV4, NEXT_HEADER_IPV6, SaError, SaUsage, check_spi};
use crate::suite::Integrity;
use crate::transform::{Header, Mac};

/// What an SA carries.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum AhMode {
    /// The packet itself: AH is taken out of it.
    Transport,
    /// An inner packet: the outer headers are taken off with AH.
    Tunnel,
}

/// Checks packets under one key; shared by any number of threads.
pub struct InboundAh {
    spi: u32,
    esn: bool,
    mode: AhMode,
    mac: Box<dyn Mac>,
    window: Mutex<ReplayWindow>,
    drops: AhDropCounters,
    packets: AtomicU64,
    bytes: AtomicU64,
}

/// An authenticated packet.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AhOpened {
    /// Where the packet without AH stands.
    pub packet: Range<usize>,
    /// The sequence number, with its inferred high half.
    pub seq: u64,
    /// No packet with a higher number was accepted before.
    pub newest: bool,
}

impl InboundAh {
    /// `window_packets` is the size of the anti-replay window, 64 to 4096; 0: none, where there is no ESN.
    pub fn new(
        spi: u32,
        key: &AhKey,
        esn: bool,
        window_packets: u32,
        mode: AhMode,
    ) -> Result<Self, SaError> {
        check_spi(spi)?;
        let window = ReplayWindow::new(window_packets, esn);
        Ok(InboundAh {
            spi,
            esn,
            mode,
            mac: key.mac(),
            window: Mutex::new(window.ok_or(SaError::WindowSize(window_packets))?),
            drops: AhDropCounters::default(),
            packets: AtomicU64::new(0),
            bytes: AtomicU64::new(0),
        })
    }

    pub fn spi(&self) -> u32 {
        self.spi
    }

    pub fn integrity(&self) -> Integrity {
        self.mac.integrity()
    }

    /// What was dropped, by reason.
    pub fn drops(&self) -> &AhDropCounters {
        &self.drops
    }

    /// Packets accepted, and the octets that their ICVs covered.
    pub fn usage(&self) -> SaUsage {
        SaUsage {
            packets: self.packets.load(Ordering::Relaxed),
            bytes: self.bytes.load(Ordering::Relaxed),
        }
    }

    /// Highest sequence number accepted; 0 before the first.
    pub fn highest_seq(&self) -> u64 {
        self.lock().highest()
    }

    /// Checks the IP packet at the start of `packet` and takes AH off in place. After an error, which is counted,
    /// the content is as it was.
    pub fn open(&self, packet: &mut [u8]) -> Result<AhOpened, AhError> {
        let opened = self.open_one(packet).inspect_err(|error| self.drops.count(*error))?;
        self.packets.fetch_add(1, Ordering::Relaxed);
        Ok(opened)
    }

    fn open_one(&self, packet: &mut [u8]) -> Result<AhOpened, AhError> {
        let head = Head::of_protected(packet)?;
        let packet = &mut packet[..head.total_len];
        let ah_len = ah_len(self.integrity(), head.ipv6);
        let ah = packet.get(head.len..head.len + ah_len).ok_or(AhError::BadLength)?;
        if usize::from(ah[1]) + 2 != ah_len / 4 {
            return Err(AhError::BadLength);
        }
        if be32(ah, 4) != self.spi {
            return Err(AhError::WrongSpi);
        }
        let next_header = ah[0];
        let seq = self.lock().check(be32(ah, 8)).map_err(AhError::Sequence)?;
        if !self.is_authentic(&head, packet, ah_len, seq)? {
            return Err(AhError::BadIcv);
        }
        let newest = self.lock().commit(seq).map_err(AhError::Sequence)?;
        let inner = head.len + ah_len;
        let opened = match self.mode {
            AhMode::Tunnel => inner..inner + inner_len(next_header, &packet[inner..])?,
            AhMode::Transport => ah_len..head.total_len,
        };
        self.bytes.fetch_add(packet.len() as u64, Ordering::Relaxed);
        if self.mode == AhMode::Transport {
            packet.copy_within(..head.len, ah_len);
            let plain = &mut packet[ah_len..];
            plain[head.next_header_at] = next_header;
            write_lengths(plain, head.ipv6)?;
            if !head.ipv6 {
                write_checksum(&mut plain[..head.len]);
            }
        }
        Ok(AhOpened { packet: opened, seq, newest })
    }

    fn is_authentic(
        &self,
        head: &Head,
        packet: &[u8],
        ah_len: usize,
        seq: u64,
    ) -> Result<bool, AhError> {
        let covered = Covered::new(head, packet)?;
        let (ah, payload) = packet[head.len..].split_at(ah_len);
        let icv_len = self.integrity().icv_len();
        let header = Header::new(self.spi, seq, self.esn);
        let parts = Parts { head: covered.as_slice(), ah, payload };
        Ok(parts.with(&header, icv_len, |parts| {
            self.mac.verify(parts, &ah[FIXED_LEN..FIXED_LEN + icv_len])
        }))
    }

    fn lock(&self) -> MutexGuard<'_, ReplayWindow> {
        // Nothing in the window's methods panics half way.
        self.window.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Octets of the inner packet, which is of the version that the next header says and no longer than what is there.
fn inner_len(next_header: u8, inner: &[u8]) -> Result<usize, AhError> {
    let stated = match (next_header, inner.first().map(|octet| octet >> 4)) {
        (NEXT_HEADER_IPV4, Some(4)) if inner.len() >= 20 => usize::from(be16(inner, 2)),
        (NEXT_HEADER_IPV6, Some(6)) if inner.len() >= 40 => usize::from(be16(inner, 4)) + 40,
        _ => return Err(AhError::BadNextHeader),
    };
    if stated <= inner.len() { Ok(stated) } else { Err(AhError::BadNextHeader) }
}

impl fmt::Debug for InboundAh {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("InboundAh")
            .field("spi", &self.spi)
            .field("integrity", &self.integrity())
            .field("esn", &self.esn)
            .field("mode", &self.mode)
            .field("drops", &self.drops)
            .finish_non_exhaustive()
    }
}

/// One counter a code of [`AhError`], counted through a shared reference.
#[derive(Default)]
pub struct AhDropCounters([AtomicU64; CODES.len()]);

/// Every code that an inbound SA gives.
const CODES: [&str; 16] = [
    "ip_version",
    "ip_truncated",
    "ip_bad_length",
    "ip_too_many_extensions",
    "ah_fragment",
    "ah_bad_option",
    "ah_routing_header",
    "ah_head_too_long",
    "ah_missing",
    "ah_bad_length",
    "wrong_spi",
    "zero_sequence",
    "replayed",
    "too_old",
    "bad_icv",
    "bad_next_header",
];

impl AhDropCounters {
    fn count(&self, error: AhError) {
        if let Some(at) = CODES.iter().position(|code| *code == error.code()) {
            self.0[at].fetch_add(1, Ordering::Relaxed);
        }
    }

    /// Every code with its count, zeros too.
    pub fn iter(&self) -> impl Iterator<Item = (&'static str, u64)> + '_ {
        CODES.into_iter().zip(self.0.iter().map(|count| count.load(Ordering::Relaxed)))
    }

    pub fn total(&self) -> u64 {
        self.iter().map(|(_, count)| count).sum()
    }
}

impl fmt::Debug for AhDropCounters {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_map().entries(self.iter().filter(|(_, count)| *count > 0)).finish()
    }
}
