//! How packets are protected: one type a suite, behind one trait.
//!
//! Code that is generic over [`Transform`] is compiled once for each, so no packet asks which suite it is under;
//! [`sealer`](crate::sealer) and [`opener`](crate::opener) choose when an SA is made.
//!
//! | type | suites |
//! |---|---|
//! | [`Aead`] | AES-GCM, ChaCha20-Poly1305, by ring |
//! | [`Sm4Gcm`] | SM4-GCM |
//! | [`Composed`] | CBC or NULL, then an HMAC over the result (RFC 4303 section 3.3.2.1) |

mod aead;
mod cbc;
mod composed;
mod iv;
mod mac;
mod sm4_gcm;

use std::fmt;

pub use aead::Aead;
pub use cbc::{Aes128Cbc, Aes256Cbc, DesCbc, Null, Sm4Cbc, TripleDesCbc};
pub use composed::{Cipher, Composed};
pub use iv::{Counter, IvSeed, IvSource, NoIv, Unpredictable};
pub(crate) use mac::mac_of;
pub use mac::{HmacMd5, HmacSha1, HmacSha256, HmacSha512, HmacSm3Full, HmacSm3Half, Mac, SuiteMac};
pub use sm4_gcm::Sm4Gcm;

use crate::layout::Layout;
use crate::sa::Packet;
use crate::suite::{KeyMaterial, Suite};

/// One suite's way to protect packets, under one key.
pub trait Transform: fmt::Debug + Send + Sync + Sized + 'static {
    const LAYOUT: Layout;

    /// Where the IVs of outbound packets come from.
    type Ivs: IvSource;

    /// `None` if the material is for a suite of another transform.
    fn new(material: &KeyMaterial) -> Option<Self>;

    fn suite(&self) -> Suite;

    /// Encrypts framed packets, whose IVs are written, and writes their ICVs. False if one is longer than the
    /// cipher takes.
    fn protect(&self, esn: bool, packets: &mut [Packet<'_>]) -> bool;

    /// Authenticates, then decrypts in place; false if the datagram is forged. Its length was checked against the
    /// layout.
    fn open(&self, header: &Header, datagram: &mut [u8]) -> bool;
}

/// SPI and sequence number, as they are authenticated.
#[derive(Debug, Clone, Copy)]
pub struct Header {
    bytes: [u8; 12],
    esn: bool,
}

impl Header {
    #[inline]
    pub fn new(spi: u32, seq: u64, esn: bool) -> Self {
        let mut bytes = [0; 12];
        bytes[..4].copy_from_slice(&spi.to_be_bytes());
        if esn {
            bytes[4..].copy_from_slice(&seq.to_be_bytes());
        } else {
            bytes[4..8].copy_from_slice(&(seq as u32).to_be_bytes());
        }
        Header { bytes, esn }
    }

    /// The associated data of an AEAD: 8 octets, or 12 with the high half of the sequence number in the middle (RFC
    /// 4106 section 5, RFC 7634 section 2.1).
    #[inline]
    pub fn associated_data(&self) -> &[u8] {
        if self.esn { &self.bytes } else { &self.bytes[..8] }
    }

    /// What an integrity algorithm of its own takes after the packet: the high half of the sequence number, or
    /// nothing (RFC 4303 section 2.2.1).
    #[inline]
    pub fn implicit_tail(&self) -> &[u8] {
        if self.esn { &self.bytes[4..8] } else { &[] }
    }
}
