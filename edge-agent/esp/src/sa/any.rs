//! SAs of any suite: the suite's type is chosen when the SA is made, and called once a batch.

use std::fmt;

use super::inbound::{InboundSa, Mode, Opened, Received, SequenceEvidence};
use super::outbound::{BatchError, OutboundSa};
use super::packet::Packet;
use super::{SaError, SaUsage};
use crate::drops::{DropCounters, DropReason};
use crate::layout::Layout;
use crate::suite::{KeyMaterial, Suite};
use crate::transform::{
    Aead, Aes128Cbc, Aes256Cbc, Composed, DesCbc, HmacMd5, HmacSha1, HmacSha256, HmacSha512,
    HmacSm3Full, HmacSm3Half, IvSeed, Null, Sm4Cbc, Sm4Gcm, Transform, TripleDesCbc,
};

/// Calls a function that is generic over the transform with that of the suite.
macro_rules! by_suite {
    ($suite:expr, $make:ident, $args:tt) => {
        match $suite {
            Suite::Aes128Gcm | Suite::Aes256Gcm | Suite::ChaCha20Poly1305 => $make::<Aead> $args,
            Suite::Sm4Gcm => $make::<Sm4Gcm> $args,
            Suite::Aes128CbcSha256 => $make::<Composed<Aes128Cbc, HmacSha256>> $args,
            Suite::Aes256CbcSha256 => $make::<Composed<Aes256Cbc, HmacSha256>> $args,
            Suite::Aes128CbcSha512 => $make::<Composed<Aes128Cbc, HmacSha512>> $args,
            Suite::Aes256CbcSha512 => $make::<Composed<Aes256Cbc, HmacSha512>> $args,
            Suite::Sm4CbcSm3Half => $make::<Composed<Sm4Cbc, HmacSm3Half>> $args,
            Suite::Sm4CbcSm3Full => $make::<Composed<Sm4Cbc, HmacSm3Full>> $args,
            Suite::NullSha256 => $make::<Composed<Null, HmacSha256>> $args,
            Suite::NullSha512 => $make::<Composed<Null, HmacSha512>> $args,
            Suite::Aes128CbcSha1 => $make::<Composed<Aes128Cbc, HmacSha1>> $args,
            Suite::Aes256CbcSha1 => $make::<Composed<Aes256Cbc, HmacSha1>> $args,
            Suite::NullSha1 => $make::<Composed<Null, HmacSha1>> $args,
            Suite::NullMd5 => $make::<Composed<Null, HmacMd5>> $args,
            Suite::TripleDesCbcSha1 => $make::<Composed<TripleDesCbc, HmacSha1>> $args,
            Suite::TripleDesCbcMd5 => $make::<Composed<TripleDesCbc, HmacMd5>> $args,
            Suite::DesCbcSha1 => $make::<Composed<DesCbc, HmacSha1>> $args,
            Suite::DesCbcMd5 => $make::<Composed<DesCbc, HmacMd5>> $args,
        }
    };
}

/// An outbound SA of any suite.
pub trait Sealer: fmt::Debug + Send + Sync {
    fn spi(&self) -> u32;
    fn suite(&self) -> Suite;
    fn esn(&self) -> bool;
    fn layout(&self) -> Layout;
    /// Highest sequence number given out; 0 before the first.
    fn last_seq(&self) -> u64;
    fn usage(&self) -> SaUsage;

    /// Seals packets in place under consecutive sequence numbers, all or none.
    fn seal(&self, packets: &mut [Packet<'_>]) -> Result<(), BatchError>;
}

/// An inbound SA of any suite.
pub trait Opener: fmt::Debug + Send + Sync {
    fn spi(&self) -> u32;
    fn suite(&self) -> Suite;
    fn esn(&self) -> bool;
    fn mode(&self) -> Mode;
    fn layout(&self) -> Layout;
    /// Highest sequence number accepted; 0 before the first.
    fn highest_seq(&self) -> u64;
    fn usage(&self) -> SaUsage;
    fn drops(&self) -> &DropCounters;

    /// Opens one datagram in place.
    fn open(&self, datagram: &mut [u8]) -> Result<Opened, DropReason>;

    /// Opens datagrams in place, with one lock of the window, and writes each outcome; gives what their sequence
    /// numbers told.
    fn open_batch(&self, datagrams: &mut [Received<'_>]) -> SequenceEvidence;
}

/// Makes an outbound SA. `seed` is fresh randomness for this SA alone.
pub fn sealer(
    spi: u32,
    material: &KeyMaterial,
    esn: bool,
    seed: &IvSeed,
) -> Result<Box<dyn Sealer>, SaError> {
    fn make<T: Transform>(
        spi: u32,
        material: &KeyMaterial,
        esn: bool,
        seed: &IvSeed,
    ) -> Result<Box<dyn Sealer>, SaError> {
        Ok(Box::new(OutboundSa::<T>::seeded(spi, material, esn, seed)?))
    }
    by_suite!(material.suite(), make, (spi, material, esn, seed))
}

/// Makes an inbound SA. `window_packets` is the size of the anti-replay window, 64 to 4096.
pub fn opener(
    mode: Mode,
    spi: u32,
    material: &KeyMaterial,
    esn: bool,
    window_packets: u32,
) -> Result<Box<dyn Opener>, SaError> {
    fn make<T: Transform>(
        mode: Mode,
        spi: u32,
        material: &KeyMaterial,
        esn: bool,
        window_packets: u32,
    ) -> Result<Box<dyn Opener>, SaError> {
        Ok(Box::new(InboundSa::<T>::carrying(mode, spi, material, esn, window_packets)?))
    }
    by_suite!(material.suite(), make, (mode, spi, material, esn, window_packets))
}

impl<T: Transform> Sealer for OutboundSa<T> {
    fn spi(&self) -> u32 {
        OutboundSa::spi(self)
    }

    fn suite(&self) -> Suite {
        OutboundSa::suite(self)
    }

    fn esn(&self) -> bool {
        OutboundSa::esn(self)
    }

    fn layout(&self) -> Layout {
        T::LAYOUT
    }

    fn last_seq(&self) -> u64 {
        OutboundSa::last_seq(self)
    }

    fn usage(&self) -> SaUsage {
        OutboundSa::usage(self)
    }

    fn seal(&self, packets: &mut [Packet<'_>]) -> Result<(), BatchError> {
        let count = u32::try_from(packets.len()).unwrap_or(u32::MAX);
        Ok(self.reserve(count)?.seal_batch(packets)?)
    }
}

impl<T: Transform> Opener for InboundSa<T> {
    fn spi(&self) -> u32 {
        InboundSa::spi(self)
    }

    fn suite(&self) -> Suite {
        InboundSa::suite(self)
    }

    fn esn(&self) -> bool {
        InboundSa::esn(self)
    }

    fn mode(&self) -> Mode {
        InboundSa::mode(self)
    }

    fn layout(&self) -> Layout {
        T::LAYOUT
    }

    fn highest_seq(&self) -> u64 {
        InboundSa::highest_seq(self)
    }

    fn usage(&self) -> SaUsage {
        InboundSa::usage(self)
    }

    fn drops(&self) -> &DropCounters {
        InboundSa::drops(self)
    }

    fn open(&self, datagram: &mut [u8]) -> Result<Opened, DropReason> {
        InboundSa::open(self, datagram)
    }

    fn open_batch(&self, datagrams: &mut [Received<'_>]) -> SequenceEvidence {
        let mut batch = self.batch();
        for received in datagrams {
            received.outcome = Some(batch.open(received.datagram));
        }
        batch.evidence()
    }
}
