//! Sixteen blocks into bit planes and back.

use aes::cipher::ParBlocks;

use super::Sm4;

/// A 32-bit word of each of sixteen blocks, as eight planes.
pub(super) type Word = [u64; 8];

/// The same word in all blocks.
pub(super) fn splat(word: u32) -> Word {
    let mut planes = Word::default();
    for (rank, octet) in word.to_le_bytes().into_iter().enumerate() {
        for (bit, plane) in planes.iter_mut().enumerate() {
            if octet >> bit & 1 == 1 {
                *plane |= 0xffff << (16 * rank);
            }
        }
    }
    planes
}

/// The four words of sixteen blocks.
#[inline(always)]
pub(super) fn pack(blocks: &ParBlocks<Sm4>) -> [Word; 4] {
    let mut words = [Word::default(); 4];
    for (pair, blocks) in blocks.as_chunks::<2>().0.iter().enumerate() {
        for (index, planes) in words.iter_mut().enumerate() {
            planes[pair] =
                spread(word_of(&blocks[0].0, index)) | spread(word_of(&blocks[1].0, index)) << 8;
        }
    }
    for planes in &mut words {
        transpose(planes);
    }
    words
}

/// The reverse of [`pack`].
#[inline(always)]
pub(super) fn unpack(words: [Word; 4], blocks: &mut ParBlocks<Sm4>) {
    for (index, mut planes) in words.into_iter().enumerate() {
        transpose(&mut planes);
        for (blocks, plane) in blocks.as_chunks_mut::<2>().0.iter_mut().zip(planes) {
            let at = 4 * index..4 * index + 4;
            blocks[0][at.clone()].copy_from_slice(&gather(plane).to_be_bytes());
            blocks[1][at].copy_from_slice(&gather(plane >> 8).to_be_bytes());
        }
    }
}

#[inline(always)]
fn word_of(block: &[u8; 16], index: usize) -> u32 {
    let at = 4 * index;
    u32::from_be_bytes([block[at], block[at + 1], block[at + 2], block[at + 3]])
}

/// Octets to every second octet.
#[inline(always)]
fn spread(word: u32) -> u64 {
    let word = u64::from(word);
    let word = (word | word << 16) & 0x0000_ffff_0000_ffff;
    (word | word << 8) & 0x00ff_00ff_00ff_00ff
}

/// Every second octet to octets.
#[inline(always)]
fn gather(word: u64) -> u32 {
    let word = word & 0x00ff_00ff_00ff_00ff;
    let word = (word | word >> 8) & 0x0000_ffff_0000_ffff;
    (word | word >> 16) as u32
}

/// Swaps register and bit: bit `b` of each octet of register `r` with bit `r` of that of register `b`. Its own reverse.
#[inline(always)]
fn transpose(planes: &mut Word) {
    for low in [0, 2, 4, 6] {
        swap(planes, low, low + 1, 1, 0x5555_5555_5555_5555);
    }
    for low in [0, 1, 4, 5] {
        swap(planes, low, low + 2, 2, 0x3333_3333_3333_3333);
    }
    for low in [0, 1, 2, 3] {
        swap(planes, low, low + 4, 4, 0x0f0f_0f0f_0f0f_0f0f);
    }
}

/// Swaps the bits of `low` that are `shift` ranks above those of `mask` with those of `high` under the mask.
#[inline(always)]
fn swap(planes: &mut Word, low: usize, high: usize, shift: u32, mask: u64) {
    let moved = (planes[low] >> shift ^ planes[high]) & mask;
    planes[high] ^= moved;
    planes[low] ^= moved << shift;
}
