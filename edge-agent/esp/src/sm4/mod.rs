//! The block cipher SM4 (GB/T 32907-2016, described in draft-ribose-cfrg-sm4-10), sixteen blocks at once.
//!
//! Bits of the same rank of many blocks stand in one register, so that the S-box is a circuit instead of a table: no
//! time depends on a key or on data, and sixteen blocks take little longer than a few do by table.
//!
//! A [`Word`] is a 32-bit word of each of the blocks: plane `k` holds bit `k` of every octet, so that to
//! rotate all the words by an octet is to rotate each plane.

mod backend;
mod planes;
mod sbox;

use aes::cipher::consts::U16;
use aes::cipher::{
    BlockCipherDecClosure, BlockCipherDecrypt, BlockCipherEncClosure, BlockCipherEncrypt,
    BlockSizeUser, Key, KeyInit, KeySizeUser, ParBlocks, ParBlocksSizeUser,
};
use zeroize::{Zeroize, ZeroizeOnDrop};

use backend::{Decrypting, Encrypting};
use planes::{Word, pack, splat, unpack};
use sbox::{INPUT, OUTPUT, circuit};

const ROUNDS: usize = 32;
/// GB/T 32907 section 7.3: the system parameter.
const FK: [u32; 4] = [0xa3b1_bac6, 0x56aa_3350, 0x677d_9197, 0xb270_22dc];

/// SM4 under one key. Wiped on drop.
#[derive(Clone)]
pub(crate) struct Sm4 {
    /// Round keys, with the constants of the S-box circuit in them. Decryption takes them from the end.
    keys: [Word; ROUNDS],
}

impl KeyInit for Sm4 {
    fn new(key: &Key<Self>) -> Self {
        let mut k = [0_u32; 4];
        for ((k, word), fk) in k.iter_mut().zip(key.chunks_exact(4)).zip(FK) {
            *k = u32::from_be_bytes([word[0], word[1], word[2], word[3]]) ^ fk;
        }
        let mut keys = [Word::default(); ROUNDS];
        for (round, planes) in (0..).zip(&mut keys) {
            let s = substituted(k[1] ^ k[2] ^ k[3] ^ constant(round));
            let new = k[0] ^ s ^ s.rotate_left(13) ^ s.rotate_left(23);
            k = [k[1], k[2], k[3], new];
            *planes = splat(new ^ folded(round));
        }
        k.zeroize();
        Sm4 { keys }
    }
}

/// CK (section 7.3): octets (4 `round` + j) · 7 modulo 256.
fn constant(round: u8) -> u32 {
    u32::from_be_bytes([0, 1, 2, 3].map(|j| (4 * round + j).wrapping_mul(7)))
}

/// The S-box on each octet of one word.
fn substituted(word: u32) -> u32 {
    let planes = splat(word ^ u32::from_ne_bytes([INPUT; 4]));
    let out = circuit(&planes);
    let mut word = 0;
    for octet in 0..4 {
        for (bit, plane) in out.iter().enumerate() {
            word |= ((plane >> (16 * octet) & 1) as u32) << (8 * octet + bit);
        }
    }
    word ^ u32::from_ne_bytes([OUTPUT; 4])
}

/// What a round's key takes in of the circuit's constants. Each round leaves out L of [`OUTPUT`] from its new word;
/// two rounds that are four apart make up for each other, so the last four words lack nothing. Read backwards the
/// pattern is the same, so decryption needs no keys of its own.
fn folded(round: u8) -> u32 {
    // L of four equal octets is the octets rotated by 2: the other rotations are by whole octets and cancel.
    let lacking = |word: u8| if word / 4 % 2 == 1 { OUTPUT.rotate_left(2) } else { 0 };
    let octet = INPUT ^ lacking(round + 1) ^ lacking(round + 2) ^ lacking(round + 3);
    u32::from_ne_bytes([octet; 4])
}

/// Encrypts, or decrypts if the keys come from the end.
fn crypt<'k>(mut keys: impl Iterator<Item = &'k Word>, blocks: &mut ParBlocks<Sm4>) {
    let mut x = pack(blocks);
    while let (Some(k0), Some(k1), Some(k2), Some(k3)) =
        (keys.next(), keys.next(), keys.next(), keys.next())
    {
        x[0] = round(x[0], &x[1], &x[2], &x[3], k0);
        x[1] = round(x[1], &x[2], &x[3], &x[0], k1);
        x[2] = round(x[2], &x[3], &x[0], &x[1], k2);
        x[3] = round(x[3], &x[0], &x[1], &x[2], k3);
    }
    let [x0, x1, x2, x3] = x;
    unpack([x3, x2, x1, x0], blocks);
}

/// x0 + L(S(x1 + x2 + x3 + key)), sections 6.1 and 6.2.
#[inline(always)]
fn round(mut x0: Word, x1: &Word, x2: &Word, x3: &Word, key: &Word) -> Word {
    let mut x = *key;
    for k in 0..8 {
        x[k] ^= x1[k] ^ x2[k] ^ x3[k];
    }
    let s = circuit(&x);
    // L(s) = s + (s<<<2) + (s<<<10) + (s<<<18) + (s<<<24), of which s + (s<<<24) = (s + (s<<<8))<<<24, and the rest is
    // (s + (s<<<8) + (s<<<16))<<<2. A rotation by octets moves bits within planes, one by 2 from plane to plane.
    for k in 0..8 {
        let pair = s[k] ^ s[k].rotate_left(16);
        x0[k] ^= pair.rotate_left(48);
        let triple = pair ^ s[k].rotate_left(32);
        x0[(k + 2) % 8] ^= if k < 6 { triple } else { triple.rotate_left(16) };
    }
    x0
}

impl KeySizeUser for Sm4 {
    type KeySize = U16;
}

impl BlockSizeUser for Sm4 {
    type BlockSize = U16;
}

impl ParBlocksSizeUser for Sm4 {
    type ParBlocksSize = U16;
}

impl BlockCipherEncrypt for Sm4 {
    fn encrypt_with_backend(&self, f: impl BlockCipherEncClosure<BlockSize = U16>) {
        f.call(&Encrypting(&self.keys));
    }
}

impl BlockCipherDecrypt for Sm4 {
    fn decrypt_with_backend(&self, f: impl BlockCipherDecClosure<BlockSize = U16>) {
        f.call(&Decrypting(&self.keys));
    }
}

impl Drop for Sm4 {
    fn drop(&mut self) {
        self.keys.zeroize();
    }
}

impl ZeroizeOnDrop for Sm4 {}

#[cfg(test)]
mod tests;
