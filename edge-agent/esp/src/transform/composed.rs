//! Encryption, then an HMAC over header, IV and ciphertext (RFC 4303 section 3.3.2.1).

use std::fmt;

use super::mac::SuiteMac;
use super::{Header, IvSource, Transform};
use crate::layout::Layout;
use crate::sa::Packet;
use crate::suite::{Encryption, KeyMaterial, Suite};
use crate::wire::ESP_HEADER_LEN;

/// Packets that are encrypted together before they are authenticated: enough to fill a cipher's lanes, few enough
/// to stay in the cache between the two.
const GROUP: usize = 64;

/// Encryption without integrity.
pub trait Cipher: Send + Sync + Sized + 'static {
    const ENCRYPTION: Encryption;

    type Ivs: IvSource;

    /// `None` if the key's length is not the cipher's.
    fn new(key: &[u8]) -> Option<Self>;

    /// Encrypts the texts of framed packets, whose IVs are written and whose ICVs have `icv_len` octets.
    fn encrypt(&self, icv_len: usize, packets: &mut [Packet<'_>]);

    /// Decrypts a text whose length is a multiple of the block.
    fn decrypt(&self, iv: &[u8], text: &mut [u8]);
}

/// A cipher and a MAC.
pub struct Composed<C, M> {
    suite: Suite,
    cipher: C,
    mac: M,
}

impl<C: Cipher, M: SuiteMac> Transform for Composed<C, M> {
    const LAYOUT: Layout = Layout {
        iv_len: C::ENCRYPTION.iv_len(),
        icv_len: M::INTEGRITY.icv_len(),
        alignment: C::ENCRYPTION.alignment(),
    };

    type Ivs = C::Ivs;

    fn new(material: &KeyMaterial) -> Option<Self> {
        let suite = material.suite();
        if suite.encryption() != C::ENCRYPTION || suite.integrity() != Some(M::INTEGRITY) {
            return None;
        }
        Some(Composed { suite, cipher: C::new(material.key())?, mac: M::new(material.rest())? })
    }

    fn suite(&self) -> Suite {
        self.suite
    }

    fn protect(&self, esn: bool, packets: &mut [Packet<'_>]) -> bool {
        for group in packets.chunks_mut(GROUP) {
            self.cipher.encrypt(Self::LAYOUT.icv_len, group);
            for packet in group {
                let header = packet.header(esn);
                let datagram = packet.datagram_mut();
                let (covered, icv) = datagram.split_at_mut(datagram.len() - Self::LAYOUT.icv_len);
                self.mac.write_icv(&[covered, header.implicit_tail()], icv);
            }
        }
        true
    }

    fn open(&self, header: &Header, datagram: &mut [u8]) -> bool {
        let (covered, icv) = datagram.split_at_mut(datagram.len() - Self::LAYOUT.icv_len);
        if !self.mac.verify(&[covered, header.implicit_tail()], icv) {
            return false;
        }
        let (head, text) = covered.split_at_mut(Self::LAYOUT.payload_offset());
        self.cipher.decrypt(&head[ESP_HEADER_LEN..], text);
        true
    }
}

impl<C, M> fmt::Debug for Composed<C, M> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Composed({})", self.suite)
    }
}
