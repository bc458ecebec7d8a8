//! Opening.

use std::fmt;
use std::ops::Range;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};

use super::{AuthenticatedHeader, SaError, SaUsage, check_spi};
use crate::drops::{DropCounters, DropReason};
use crate::replay::ReplayWindow;
use crate::suite::{Cipher, KeyMaterial, Suite};
use crate::wire::{
    ALIGNMENT, ESP_HEADER_LEN, ICV_LEN, MIN_DATAGRAM_LEN, NEXT_HEADER_GRE, PAYLOAD_OFFSET,
    TRAILER_LEN,
};

/// "No next header" marks a dummy packet (RFC 4303 section 2.6).
const NEXT_HEADER_NONE: u8 = 59;

/// Opens packets under one key; shared by any number of threads.
pub struct InboundSa {
    spi: u32,
    esn: bool,
    cipher: Cipher,
    window: Mutex<ReplayWindow>,
    drops: DropCounters,
    packets: AtomicU64,
    bytes: AtomicU64,
}

/// An authenticated, decrypted packet.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Opened {
    /// Where the payload of ESP (GRE header, inner packet) stands in the datagram.
    pub payload: Range<usize>,
    /// The sequence number, with its inferred high half.
    pub seq: u64,
    /// No packet with a higher number was opened before: only such a one may move an endpoint.
    pub newest: bool,
}

impl InboundSa {
    /// `window_packets` is the size of the anti-replay window, 64 to 4096.
    pub fn new(
        spi: u32,
        material: &KeyMaterial,
        esn: bool,
        window_packets: u32,
    ) -> Result<Self, SaError> {
        check_spi(spi)?;
        let window = ReplayWindow::new(window_packets, esn);
        Ok(InboundSa {
            spi,
            esn,
            cipher: Cipher::new(material),
            window: Mutex::new(window.ok_or(SaError::WindowSize(window_packets))?),
            drops: DropCounters::default(),
            packets: AtomicU64::new(0),
            bytes: AtomicU64::new(0),
        })
    }

    pub fn spi(&self) -> u32 {
        self.spi
    }

    pub fn suite(&self) -> Suite {
        self.cipher.suite()
    }

    pub fn esn(&self) -> bool {
        self.esn
    }

    /// Authenticates and decrypts one datagram in place. The window is locked for the check and
    /// for the commit, not for the cipher: threads may open different packets at once. After an
    /// error the datagram's content is unspecified, and the error is counted.
    pub fn open(&self, datagram: &mut [u8]) -> Result<Opened, DropReason> {
        let opened = self.open_one(datagram).inspect_err(|reason| self.drops.count(*reason))?;
        self.packets.fetch_add(1, Ordering::Relaxed);
        self.bytes.fetch_add(text_len(datagram), Ordering::Relaxed);
        Ok(opened)
    }

    /// Locks the window once, for a batch of datagrams that one thread opens. While it lives, every
    /// other use of the window waits: in the same thread, use nothing else of this SA but counters.
    pub fn batch(&self) -> InboundBatch<'_> {
        InboundBatch {
            sa: self,
            window: self.lock(),
            accepted: SaUsage::default(),
            told: SequenceEvidence::default(),
        }
    }

    /// What was dropped, by reason.
    pub fn drops(&self) -> &DropCounters {
        &self.drops
    }

    /// What was accepted, without batches that are still open.
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

    fn open_one(&self, datagram: &mut [u8]) -> Result<Opened, DropReason> {
        let low = self.check_header(datagram)?;
        let seq = self.lock().check(low)?;
        self.decrypt(seq, datagram)?;
        let newest = self.lock().commit(seq)?;
        Ok(Opened { payload: gre_payload(datagram)?, seq, newest })
    }

    fn check_header(&self, datagram: &[u8]) -> Result<u32, DropReason> {
        if datagram.len() < MIN_DATAGRAM_LEN {
            return Err(DropReason::TooShort);
        }
        if read_u32(datagram, 0) != self.spi {
            return Err(DropReason::WrongSpi);
        }
        if !(datagram.len() - PAYLOAD_OFFSET - ICV_LEN).is_multiple_of(ALIGNMENT) {
            return Err(DropReason::Misaligned);
        }
        Ok(read_u32(datagram, 4))
    }

    /// The IV is the sender's: ours is the sequence number, a kernel's is not.
    fn decrypt(&self, seq: u64, datagram: &mut [u8]) -> Result<(), DropReason> {
        let (head, text) = datagram.split_at_mut(PAYLOAD_OFFSET);
        let mut iv = [0; 8];
        iv.copy_from_slice(&head[ESP_HEADER_LEN..]);
        let aad = AuthenticatedHeader::new(self.spi, seq, self.esn);
        if self.cipher.open(iv, aad.as_slice(), text) { Ok(()) } else { Err(DropReason::BadIcv) }
    }

    fn lock(&self) -> MutexGuard<'_, ReplayWindow> {
        // Nothing in the window's methods panics half way.
        self.window.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl fmt::Debug for InboundSa {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("InboundSa")
            .field("spi", &self.spi)
            .field("suite", &self.suite())
            .field("esn", &self.esn)
            .field("drops", &self.drops)
            .finish_non_exhaustive()
    }
}

/// What the sequence numbers of authenticated packets that the window took tell of the way here. Numbers count from the
/// SA's first packet on; none counts twice. What is dropped later (padding, next header) had arrived all the same.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct SequenceEvidence {
    /// Packets that must have been sent.
    pub expected: u64,
    /// Packets that came.
    pub received: u64,
}

/// An [`InboundSa`] with its window locked. Its counts reach the SA when it is dropped.
#[derive(Debug)]
pub struct InboundBatch<'sa> {
    sa: &'sa InboundSa,
    window: MutexGuard<'sa, ReplayWindow>,
    accepted: SaUsage,
    told: SequenceEvidence,
}

impl InboundBatch<'_> {
    /// As [`InboundSa::open`].
    pub fn open(&mut self, datagram: &mut [u8]) -> Result<Opened, DropReason> {
        let opened = self.open_one(datagram).inspect_err(|reason| self.sa.drops.count(*reason))?;
        self.accepted.packets += 1;
        self.accepted.bytes += text_len(datagram);
        Ok(opened)
    }

    fn open_one(&mut self, datagram: &mut [u8]) -> Result<Opened, DropReason> {
        let low = self.sa.check_header(datagram)?;
        let seq = self.window.check(low)?;
        self.sa.decrypt(seq, datagram)?;
        let before = self.window.highest();
        let newest = self.window.commit(seq)?;
        self.count(before, seq);
        Ok(Opened { payload: gre_payload(datagram)?, seq, newest })
    }

    /// `before` was the highest number.
    fn count(&mut self, before: u64, seq: u64) {
        // Lost before the first packet: keys or endpoints may not have been at both ends yet.
        let news = if before == 0 { 1 } else { seq.saturating_sub(before) };
        self.told.expected += news;
        self.told.received += u64::from(seq >= self.window.first());
    }

    /// What this batch adds to the SA's evidence.
    pub fn evidence(&self) -> SequenceEvidence {
        self.told
    }
}

impl Drop for InboundBatch<'_> {
    fn drop(&mut self) {
        self.sa.packets.fetch_add(self.accepted.packets, Ordering::Relaxed);
        self.sa.bytes.fetch_add(self.accepted.bytes, Ordering::Relaxed);
    }
}

fn gre_payload(datagram: &[u8]) -> Result<Range<usize>, DropReason> {
    match strip_trailer(datagram)? {
        (payload, NEXT_HEADER_GRE) => Ok(payload),
        (_, NEXT_HEADER_NONE) => Err(DropReason::Dummy),
        _ => Err(DropReason::BadNextHeader),
    }
}

/// Payload and next header of a decrypted datagram whose length was checked.
pub(super) fn strip_trailer(datagram: &[u8]) -> Result<(Range<usize>, u8), DropReason> {
    let trailer = datagram.len() - ICV_LEN - TRAILER_LEN;
    let (pad_len, next_header) = (usize::from(datagram[trailer]), datagram[trailer + 1]);
    let end = trailer
        .checked_sub(pad_len)
        .filter(|end| *end >= PAYLOAD_OFFSET)
        .ok_or(DropReason::BadPadding)?;
    // RFC 4303 section 3.4.4.1 wants the padding inspected before it is removed.
    if !datagram[end..trailer].iter().zip(1..=u8::MAX).all(|(octet, value)| *octet == value) {
        return Err(DropReason::BadPadding);
    }
    Ok((PAYLOAD_OFFSET..end, next_header))
}

fn text_len(datagram: &[u8]) -> u64 {
    (datagram.len() - PAYLOAD_OFFSET - ICV_LEN) as u64
}

fn read_u32(bytes: &[u8], at: usize) -> u32 {
    u32::from_be_bytes([bytes[at], bytes[at + 1], bytes[at + 2], bytes[at + 3]])
}
