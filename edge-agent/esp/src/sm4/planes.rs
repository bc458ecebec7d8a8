//! Sixteen blocks into bit planes and back.

use aes::cipher::ParBlocks;

use super::Sm4;

/// A 32-bit word of each of sixteen blocks, as eight planes.
pub(super) type Word = [u64; 8];

/// The same word in all blocks.
pub(super) fn splat(word: u32) -> Word {
    let octets = word.to_le_bytes();
    std::array::from_fn(|bit| {
        let mut plane = 0;
        for (rank, octet) in octets.iter().enumerate() {
            if octet >> bit & 1 == 1 {
                plane |= 0xffff << (16 * rank);
            }
        }
        plane
    })
}

/// The four words of sixteen blocks, each word's octets from the highest to the lowest.
#[inline(always)]
pub(super) fn pack(blocks: &ParBlocks<Sm4>) -> [Word; 4] {
    let mut words = [Word::default(); 4];
    for (index, planes) in words.iter_mut().enumerate() {
        let word = |block: usize| {
            let octets = &blocks[block][4 * index..4 * index + 4];
            u32::from_be_bytes([octets[0], octets[1], octets[2], octets[3]])
        };
        for (pair, plane) in planes.iter_mut().enumerate() {
            *plane = spread(word(2 * pair)) | spread(word(2 * pair + 1)) << 8;
        }
        transpose(planes);
    }
    words
}

/// The reverse of [`pack`].
#[inline(always)]
pub(super) fn unpack(words: [Word; 4], blocks: &mut ParBlocks<Sm4>) {
    for (index, mut planes) in words.into_iter().enumerate() {
        transpose(&mut planes);
        for (pair, plane) in planes.iter().enumerate() {
            for (block, word) in [(2 * pair, *plane), (2 * pair + 1, plane >> 8)] {
                blocks[block][4 * index..4 * index + 4]
                    .copy_from_slice(&gather(word).to_be_bytes());
            }
        }
    }
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
    for (apart, mask) in
        [(1, 0x5555_5555_5555_5555), (2, 0x3333_3333_3333_3333), (4, 0x0f0f_0f0f_0f0f_0f0f_u64)]
    {
        for low in (0..8).filter(|register| register & apart == 0) {
            let high = low | apart;
            let moved = (planes[low] >> apart ^ planes[high]) & mask;
            planes[high] ^= moved;
            planes[low] ^= moved << apart;
        }
    }
}
