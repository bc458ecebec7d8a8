//! SM4 in GCM (RFC 8998 section 3, NIST SP 800-38D), with IV and salt as RFC 4106 has them.

use std::fmt;

use aes::cipher::{Block, BlockCipherEncrypt, KeyInit};
use ghash::GHash;
use ghash::universal_hash::UniversalHash;
use subtle::ConstantTimeEq;
use zeroize::Zeroize;

use super::{Counter, Header, Transform};
use crate::layout::Layout;
use crate::sa::Packet;
use crate::sm4::Sm4;
use crate::suite::{KeyMaterial, SALT_LEN, Suite};
use crate::wire::{ESP_HEADER_LEN, ICV_LEN, PAYLOAD_OFFSET};

const BLOCK: usize = 16;
/// Blocks of key stream that are made at once.
const AT_ONCE: usize = 32;

/// A keyed SM4-GCM.
pub struct Sm4Gcm {
    cipher: Sm4,
    hash: GHash,
    salt: [u8; SALT_LEN],
}

impl Transform for Sm4Gcm {
    const LAYOUT: Layout = Suite::Sm4Gcm.layout();

    type Ivs = Counter;

    fn new(material: &KeyMaterial) -> Option<Self> {
        if material.suite() != Suite::Sm4Gcm {
            return None;
        }
        let cipher = <Sm4 as KeyInit>::new_from_slice(material.key()).ok()?;
        let mut hash_key = Block::<Sm4>::default();
        cipher.encrypt_block(&mut hash_key);
        let hash = GHash::new(&hash_key);
        hash_key.zeroize();
        Some(Sm4Gcm { cipher, hash, salt: material.rest().try_into().ok()? })
    }

    fn suite(&self) -> Suite {
        Suite::Sm4Gcm
    }

    fn protect(&self, esn: bool, packets: &mut [Packet<'_>]) -> bool {
        for packet in packets {
            let header = packet.header(esn);
            let (head, rest) = packet.datagram_mut().split_at_mut(PAYLOAD_OFFSET);
            let (text, icv) = rest.split_at_mut(rest.len() - ICV_LEN);
            let mut stream = KeyStream::new(self, &head[ESP_HEADER_LEN..], text.len());
            let mask = stream.next();
            stream.apply(text);
            icv.copy_from_slice(&self.tag(header.associated_data(), text, mask));
        }
        true
    }

    fn open(&self, header: &Header, datagram: &mut [u8]) -> bool {
        let (head, rest) = datagram.split_at_mut(PAYLOAD_OFFSET);
        let (text, icv) = rest.split_at_mut(rest.len() - ICV_LEN);
        let mut stream = KeyStream::new(self, &head[ESP_HEADER_LEN..], text.len());
        let mask = stream.next();
        if !bool::from(self.tag(header.associated_data(), text, mask).ct_eq(icv)) {
            return false;
        }
        stream.apply(text);
        true
    }
}

impl Sm4Gcm {
    fn tag(&self, aad: &[u8], text: &[u8], mask: Block<Sm4>) -> Block<Sm4> {
        let mut hash = self.hash.clone();
        hash.update_padded(aad);
        hash.update_padded(text);
        let mut lengths = Block::<Sm4>::default();
        lengths[..8].copy_from_slice(&(aad.len() as u64 * 8).to_be_bytes());
        lengths[8..].copy_from_slice(&(text.len() as u64 * 8).to_be_bytes());
        hash.update(&[lengths]);
        let mut tag = hash.finalize();
        tag.iter_mut().zip(&mask).for_each(|(octet, mask)| *octet ^= mask);
        tag
    }
}

impl Drop for Sm4Gcm {
    fn drop(&mut self) {
        self.salt.zeroize();
    }
}

impl fmt::Debug for Sm4Gcm {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Sm4Gcm")
    }
}

/// Encrypted counters, many at once: that of 1 masks the tag, those from 2 on encrypt the text.
struct KeyStream<'a> {
    cipher: &'a Sm4,
    /// Salt, IV, the next counter.
    counter: Block<Sm4>,
    /// Blocks that are still to be made.
    due: usize,
    blocks: [Block<Sm4>; AT_ONCE],
    taken: usize,
    made: usize,
}

impl<'a> KeyStream<'a> {
    fn new(keyed: &'a Sm4Gcm, iv: &[u8], text_len: usize) -> Self {
        let mut counter = Block::<Sm4>::default();
        counter[..SALT_LEN].copy_from_slice(&keyed.salt);
        counter[SALT_LEN..12].copy_from_slice(iv);
        KeyStream {
            cipher: &keyed.cipher,
            counter,
            due: 1 + text_len.div_ceil(BLOCK),
            blocks: [Block::<Sm4>::default(); AT_ONCE],
            taken: 0,
            made: 0,
        }
    }

    fn apply(&mut self, text: &mut [u8]) {
        let (blocks, rest) = text.as_chunks_mut::<BLOCK>();
        for block in blocks {
            let key = self.next();
            block.iter_mut().zip(&key).for_each(|(octet, key)| *octet ^= key);
        }
        if !rest.is_empty() {
            let key = self.next();
            rest.iter_mut().zip(&key).for_each(|(octet, key)| *octet ^= key);
        }
    }

    fn next(&mut self) -> Block<Sm4> {
        if self.taken == self.made {
            self.refill();
        }
        self.taken += 1;
        self.blocks[self.taken - 1]
    }

    fn refill(&mut self) {
        self.made = self.due.min(AT_ONCE);
        self.due -= self.made;
        self.taken = 0;
        for block in &mut self.blocks[..self.made] {
            let counter = u32::from_be_bytes([
                self.counter[12],
                self.counter[13],
                self.counter[14],
                self.counter[15],
            ]);
            self.counter[12..].copy_from_slice(&(counter + 1).to_be_bytes());
            *block = self.counter;
        }
        self.cipher.encrypt_blocks(&mut self.blocks[..self.made]);
    }
}

#[cfg(test)]
mod tests;
