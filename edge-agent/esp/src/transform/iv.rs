//! Initialisation vectors.

use std::fmt;

use aes::Aes128;
use aes::cipher::{Block, BlockCipherEncrypt, KeyInit};
use hmac::{Hmac, Mac};
use sha2::Sha256;
use zeroize::{Zeroize, Zeroizing};

use crate::sa::Packet;
use crate::suite::{AEAD_IV_LEN, KeyMaterial};
use crate::wire::ESP_HEADER_LEN;

/// Fresh random octets of the caller, for the IVs of one outbound SA. Wiped on drop.
pub struct IvSeed([u8; IvSeed::LEN]);

impl IvSeed {
    pub const LEN: usize = 32;

    pub fn new(random: [u8; IvSeed::LEN]) -> Self {
        IvSeed(random)
    }
}

impl Drop for IvSeed {
    fn drop(&mut self) {
        self.0.zeroize();
    }
}

impl fmt::Debug for IvSeed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("IvSeed(..)")
    }
}

/// Writes the IVs of outbound packets.
pub trait IvSource: Send + Sync + 'static {
    fn new(material: &KeyMaterial, seed: &IvSeed) -> Self;

    /// Writes the IV of each framed packet behind its header.
    fn write(&self, packets: &mut [Packet<'_>]);
}

/// The sequence number: an AEAD asks for IVs that don't repeat, no more (RFC 4106 section 3.1, RFC 7634 section 2).
#[derive(Debug)]
pub struct Counter;

impl IvSource for Counter {
    fn new(_: &KeyMaterial, _: &IvSeed) -> Self {
        Counter
    }

    #[inline]
    fn write(&self, packets: &mut [Packet<'_>]) {
        for packet in packets {
            let iv = packet.seq().to_be_bytes();
            packet.datagram_mut()[ESP_HEADER_LEN..][..AEAD_IV_LEN].copy_from_slice(&iv);
        }
    }
}

/// Nothing: NULL encryption.
#[derive(Debug)]
pub struct NoIv;

impl IvSource for NoIv {
    fn new(_: &KeyMaterial, _: &IvSeed) -> Self {
        NoIv
    }

    fn write(&self, _: &mut [Packet<'_>]) {}
}

/// IVs of `LEN` octets that nobody can predict, as CBC must have them (RFC 3602 section 3), without a system call a
/// packet: the sequence number, encrypted with AES-128 under a key that serves nothing else. Whoever can predict one
/// tells AES from a random permutation. The key comes from fresh random octets and the SA's own keys: an SA
/// that is started again under the same manual key has other IVs, and bad random octets leave a secret key still.
pub struct Unpredictable<const LEN: usize>(Aes128);

/// Blocks that are encrypted at once.
const AT_ONCE: usize = 16;

impl<const LEN: usize> IvSource for Unpredictable<LEN> {
    fn new(material: &KeyMaterial, seed: &IvSeed) -> Self {
        let mut mac =
            <Hmac<Sha256> as KeyInit>::new_from_slice(&seed.0).expect("HMAC takes any key");
        mac.update(b"hawser-esp-cbc-iv-1");
        mac.update(material.bytes());
        let mut key = Zeroizing::new([0; 16]);
        key.copy_from_slice(&mac.finalize().into_bytes()[..16]);
        Unpredictable(Aes128::new((&*key).into()))
    }

    fn write(&self, packets: &mut [Packet<'_>]) {
        for group in packets.chunks_mut(AT_ONCE) {
            let mut blocks = [Block::<Aes128>::default(); AT_ONCE];
            for (block, packet) in blocks.iter_mut().zip(&mut *group) {
                block[..8].copy_from_slice(&packet.seq().to_be_bytes());
            }
            self.0.encrypt_blocks(&mut blocks[..group.len()]);
            for (block, packet) in blocks.iter().zip(group) {
                let iv = &mut packet.datagram_mut()[ESP_HEADER_LEN..][..LEN];
                iv.copy_from_slice(&block[..LEN]);
            }
        }
    }
}
