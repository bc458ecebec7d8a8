//! AES-GCM and ChaCha20-Poly1305, by ring.

use std::fmt;

use ring::aead::{self, LessSafeKey, Nonce, UnboundKey};
use zeroize::Zeroize;

use super::{Counter, Header, Transform};
use crate::layout::Layout;
use crate::sa::Packet;
use crate::suite::{AEAD_IV_LEN, KeyMaterial, SALT_LEN, Suite};
use crate::wire::{ESP_HEADER_LEN, ICV_LEN, PAYLOAD_OFFSET};

/// A keyed AEAD. ring keeps the expanded key in its own memory, which it does not wipe.
pub struct Aead {
    suite: Suite,
    key: LessSafeKey,
    salt: [u8; SALT_LEN],
}

impl Transform for Aead {
    const LAYOUT: Layout = Suite::Aes128Gcm.layout();

    type Ivs = Counter;

    fn new(material: &KeyMaterial) -> Option<Self> {
        let algorithm = match material.suite() {
            Suite::Aes128Gcm => &aead::AES_128_GCM,
            Suite::Aes256Gcm => &aead::AES_256_GCM,
            Suite::ChaCha20Poly1305 => &aead::CHACHA20_POLY1305,
            _ => return None,
        };
        let key = UnboundKey::new(algorithm, material.key()).ok()?;
        let salt = material.rest().try_into().ok()?;
        Some(Aead { suite: material.suite(), key: LessSafeKey::new(key), salt })
    }

    fn suite(&self) -> Suite {
        self.suite
    }

    #[inline]
    fn protect(&self, esn: bool, packets: &mut [Packet<'_>]) -> bool {
        packets.iter_mut().all(|packet| {
            let header = packet.header(esn);
            let (head, rest) = packet.datagram_mut().split_at_mut(PAYLOAD_OFFSET);
            let (text, icv) = rest.split_at_mut(rest.len() - ICV_LEN);
            let aad = aead::Aad::from(header.associated_data());
            match self.key.seal_in_place_separate_tag(self.nonce(head), aad, text) {
                Ok(tag) => icv.copy_from_slice(tag.as_ref()),
                Err(_) => return false,
            }
            true
        })
    }

    #[inline]
    fn open(&self, header: &Header, datagram: &mut [u8]) -> bool {
        let (head, text) = datagram.split_at_mut(PAYLOAD_OFFSET);
        let aad = aead::Aad::from(header.associated_data());
        self.key.open_in_place(self.nonce(head), aad, text).is_ok()
    }
}

impl Aead {
    /// Salt, then explicit IV: RFC 4106 section 4, RFC 7634 section 2.
    #[inline]
    fn nonce(&self, head: &[u8]) -> Nonce {
        let mut nonce = [0; SALT_LEN + AEAD_IV_LEN];
        nonce[..SALT_LEN].copy_from_slice(&self.salt);
        nonce[SALT_LEN..].copy_from_slice(&head[ESP_HEADER_LEN..]);
        Nonce::assume_unique_for_key(nonce)
    }
}

impl Drop for Aead {
    fn drop(&mut self) {
        self.salt.zeroize();
    }
}

impl fmt::Debug for Aead {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Aead({})", self.suite)
    }
}
