//! Opening.

use std::fmt;
use std::ops::Range;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};

use super::packet::{NEXT_HEADER_IPV4, NEXT_HEADER_IPV6, NEXT_HEADER_NONE};
use super::{SaError, SaUsage, check_spi};
use crate::drops::{DropCounters, DropReason};
use crate::layout::Layout;
use crate::replay::ReplayWindow;
use crate::suite::{KeyMaterial, Suite};
use crate::transform::{Aead, Header, Transform};
use crate::wire::{NEXT_HEADER_GRE, TRAILER_LEN};

/// What an SA carries (RFC 4303 section 3.1). Anything else is dropped.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Mode {
    /// GRE in transport mode.
    Gre,
    /// IP packets: tunnel mode. Padding behind the packet (RFC 4303 section 2.7) is cut off.
    Tunnel,
    /// Any protocol in transport mode. What follows the payload's own end is the payload's owner's to find.
    Transport,
}

/// Opens packets under one key; shared by any number of threads.
pub struct InboundSa<T: Transform = Aead> {
    spi: u32,
    esn: bool,
    mode: Mode,
    transform: T,
    window: Mutex<ReplayWindow>,
    drops: DropCounters,
    packets: AtomicU64,
    bytes: AtomicU64,
}

/// An authenticated, decrypted packet.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Opened {
    /// Where the payload of ESP (GRE header and inner packet, or an inner packet) stands in the datagram.
    pub payload: Range<usize>,
    /// The payload's protocol.
    pub next_header: u8,
    /// The sequence number, with its inferred high half.
    pub seq: u64,
    /// No packet with a higher number was opened before: only such a one may move an endpoint.
    pub newest: bool,
}

/// A datagram, and what came of it.
#[derive(Debug)]
pub struct Received<'b> {
    pub datagram: &'b mut [u8],
    /// `None` until it went through a batch.
    pub outcome: Option<Result<Opened, DropReason>>,
}

impl<'b> Received<'b> {
    pub fn new(datagram: &'b mut [u8]) -> Self {
        Received { datagram, outcome: None }
    }
}

impl InboundSa {
    /// An SA of one of [`Suite::AEADS`] that carries GRE. `window_packets` is the size of the anti-replay window, 64
    /// to 4096.
    pub fn new(
        spi: u32,
        material: &KeyMaterial,
        esn: bool,
        window_packets: u32,
    ) -> Result<Self, SaError> {
        InboundSa::carrying(Mode::Gre, spi, material, esn, window_packets)
    }
}

impl<T: Transform> InboundSa<T> {
    /// An SA of any suite of the transform, in any mode. Without a window (0) and ESN, nothing is a replay.
    pub fn carrying(
        mode: Mode,
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
            mode,
            transform: T::new(material).ok_or(SaError::OtherTransform(material.suite()))?,
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
        self.transform.suite()
    }

    pub fn esn(&self) -> bool {
        self.esn
    }

    /// The sizes on the wire.
    pub fn layout(&self) -> Layout {
        T::LAYOUT
    }

    pub fn mode(&self) -> Mode {
        self.mode
    }

    /// Authenticates and decrypts one datagram in place. The window is locked for the check and
    /// for the commit, not for the cipher: threads may open different packets at once. After an
    /// error the datagram's content is unspecified, and the error is counted.
    pub fn open(&self, datagram: &mut [u8]) -> Result<Opened, DropReason> {
        let opened = self.open_one(datagram).inspect_err(|reason| self.drops.count(*reason))?;
        self.packets.fetch_add(1, Ordering::Relaxed);
        self.bytes.fetch_add(text_len(T::LAYOUT, datagram), Ordering::Relaxed);
        Ok(opened)
    }

    /// Locks the window once, for a batch of datagrams that one thread opens. While it lives, every
    /// other use of the window waits: in the same thread, use nothing else of this SA but counters.
    pub fn batch(&self) -> InboundBatch<'_, T> {
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

    #[inline]
    fn open_one(&self, datagram: &mut [u8]) -> Result<Opened, DropReason> {
        let low = self.check_header(datagram)?;
        let seq = self.lock().check(low)?;
        self.decrypt(seq, datagram)?;
        let newest = self.lock().commit(seq)?;
        self.opened(datagram, seq, newest)
    }

    #[inline]
    fn check_header(&self, datagram: &[u8]) -> Result<u32, DropReason> {
        if datagram.len() < const { T::LAYOUT.min_datagram_len() } {
            return Err(DropReason::TooShort);
        }
        if read_u32(datagram, 0) != self.spi {
            return Err(DropReason::WrongSpi);
        }
        if !text_len(T::LAYOUT, datagram).is_multiple_of(T::LAYOUT.alignment as u64) {
            return Err(DropReason::Misaligned);
        }
        Ok(read_u32(datagram, 4))
    }

    /// The IV is the sender's: ours may be the sequence number, a kernel's is not.
    #[inline]
    fn decrypt(&self, seq: u64, datagram: &mut [u8]) -> Result<(), DropReason> {
        let header = Header::new(self.spi, seq, self.esn);
        if self.transform.open(&header, datagram) { Ok(()) } else { Err(DropReason::BadIcv) }
    }

    /// What the decrypted datagram carries, if this SA may carry it.
    #[inline]
    fn opened(&self, datagram: &[u8], seq: u64, newest: bool) -> Result<Opened, DropReason> {
        let (mut payload, next_header) = strip_trailer(T::LAYOUT, datagram)?;
        match (self.mode, next_header) {
            (_, NEXT_HEADER_NONE) => return Err(DropReason::Dummy),
            (Mode::Gre, NEXT_HEADER_GRE) | (Mode::Transport, _) => {}
            (Mode::Tunnel, NEXT_HEADER_IPV4 | NEXT_HEADER_IPV6) => {
                payload.end = payload.start + inner_len(next_header, &datagram[payload.clone()])?;
            }
            _ => return Err(DropReason::BadNextHeader),
        }
        Ok(Opened { payload, next_header, seq, newest })
    }

    fn lock(&self) -> MutexGuard<'_, ReplayWindow> {
        // Nothing in the window's methods panics half way.
        self.window.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl<T: Transform> fmt::Debug for InboundSa<T> {
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
pub struct InboundBatch<'sa, T: Transform = Aead> {
    sa: &'sa InboundSa<T>,
    window: MutexGuard<'sa, ReplayWindow>,
    accepted: SaUsage,
    told: SequenceEvidence,
}

impl<T: Transform> InboundBatch<'_, T> {
    /// As [`InboundSa::open`].
    pub fn open(&mut self, datagram: &mut [u8]) -> Result<Opened, DropReason> {
        let opened = self.open_one(datagram).inspect_err(|reason| self.sa.drops.count(*reason))?;
        self.accepted.packets += 1;
        self.accepted.bytes += text_len(T::LAYOUT, datagram);
        Ok(opened)
    }

    fn open_one(&mut self, datagram: &mut [u8]) -> Result<Opened, DropReason> {
        let low = self.sa.check_header(datagram)?;
        let seq = self.window.check(low)?;
        self.sa.decrypt(seq, datagram)?;
        let before = self.window.highest();
        let newest = self.window.commit(seq)?;
        self.count(before, seq);
        self.sa.opened(datagram, seq, newest)
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

impl<T: Transform> Drop for InboundBatch<'_, T> {
    fn drop(&mut self) {
        self.sa.packets.fetch_add(self.accepted.packets, Ordering::Relaxed);
        self.sa.bytes.fetch_add(self.accepted.bytes, Ordering::Relaxed);
    }
}

/// Payload and next header of a decrypted datagram whose length was checked.
#[inline]
pub(super) fn strip_trailer(
    layout: Layout,
    datagram: &[u8],
) -> Result<(Range<usize>, u8), DropReason> {
    let start = layout.payload_offset();
    let trailer = datagram.len() - layout.icv_len - TRAILER_LEN;
    let (pad_len, next_header) = (usize::from(datagram[trailer]), datagram[trailer + 1]);
    let end =
        trailer.checked_sub(pad_len).filter(|end| *end >= start).ok_or(DropReason::BadPadding)?;
    // RFC 4303 section 3.4.4.1 wants the padding inspected before it is removed.
    if !datagram[end..trailer].iter().zip(1..=u8::MAX).all(|(octet, value)| *octet == value) {
        return Err(DropReason::BadPadding);
    }
    Ok((start..end, next_header))
}

/// Octets of an inner IP packet, whose version must be that of the next header. A packet that states more than there
/// is stays as it is: its reader refuses it.
fn inner_len(next_header: u8, payload: &[u8]) -> Result<usize, DropReason> {
    let be16 = |at: usize| {
        Some(usize::from(u16::from_be_bytes([*payload.get(at)?, *payload.get(at + 1)?])))
    };
    let stated = match (next_header, payload.first().map(|octet| octet >> 4)) {
        (NEXT_HEADER_IPV4, Some(4)) => be16(2),
        (NEXT_HEADER_IPV6, Some(6)) => be16(4).map(|len| len + 40),
        _ => return Err(DropReason::BadNextHeader),
    };
    Ok(stated.unwrap_or(payload.len()).min(payload.len()))
}

#[inline]
fn text_len(layout: Layout, datagram: &[u8]) -> u64 {
    (datagram.len() - layout.payload_offset() - layout.icv_len) as u64
}

fn read_u32(bytes: &[u8], at: usize) -> u32 {
    u32::from_be_bytes([bytes[at], bytes[at + 1], bytes[at + 2], bytes[at + 3]])
}
