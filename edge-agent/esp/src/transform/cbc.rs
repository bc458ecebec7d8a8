//! CBC over any block cipher, and NULL.
//!
//! Each block of a chain waits for the one before, so a packet alone leaves most of a CPU's cipher units idle.
//! Encryption therefore steps through many packets side by side; decryption has all of a packet's blocks at once.

use std::marker::PhantomData;

use aes::cipher::array::{Array, ArraySize};
use aes::cipher::typenum::Unsigned;
use aes::cipher::{
    BlockCipherDecBackend, BlockCipherDecClosure, BlockCipherDecrypt, BlockCipherEncBackend,
    BlockCipherEncClosure, BlockCipherEncrypt, BlockSizeUser, KeyInit, ParBlocks,
};

use super::composed::Cipher;
use super::iv::{NoIv, Unpredictable};
use crate::sa::Packet;
use crate::suite::Encryption;
use crate::wire::ESP_HEADER_LEN;

macro_rules! cbc {
    ($($name:ident = $cipher:ty, $encryption:expr, $iv_len:literal;)*) => {$(
        /// See [`Encryption`].
        pub struct $name($cipher);

        impl Cipher for $name {
            const ENCRYPTION: Encryption = $encryption;

            type Ivs = Unpredictable<$iv_len>;

            fn new(key: &[u8]) -> Option<Self> {
                <$cipher as KeyInit>::new_from_slice(key).ok().map($name)
            }

            fn encrypt(&self, icv_len: usize, packets: &mut [Packet<'_>]) {
                let chains = Chains { packets, icv_len, block: PhantomData };
                self.0.encrypt_with_backend(chains);
            }

            fn decrypt(&self, iv: &[u8], text: &mut [u8]) {
                let (blocks, _) = Array::slice_as_chunks_mut(text);
                let iv = Array::try_from(iv).expect("the layout has the cipher's IV");
                self.0.decrypt_with_backend(Chain { iv, blocks });
            }
        }
    )*};
}

cbc! {
    Aes128Cbc = aes::Aes128, Encryption::Aes128Cbc, 16;
    Aes256Cbc = aes::Aes256, Encryption::Aes256Cbc, 16;
    Sm4Cbc = crate::sm4::Sm4, Encryption::Sm4Cbc, 16;
    TripleDesCbc = des::TdesEde3, Encryption::TripleDesCbc, 8;
    DesCbc = des::Des, Encryption::DesCbc, 8;
}

/// RFC 2410: the text stays as it is.
#[derive(Debug)]
pub struct Null;

impl Cipher for Null {
    const ENCRYPTION: Encryption = Encryption::Null;

    type Ivs = NoIv;

    fn new(key: &[u8]) -> Option<Self> {
        key.is_empty().then_some(Null)
    }

    fn encrypt(&self, _: usize, _: &mut [Packet<'_>]) {}

    fn decrypt(&self, _: &[u8], _: &mut [u8]) {}
}

/// Packets to encrypt, one chain each.
struct Chains<'a, 'b, N> {
    packets: &'a mut [Packet<'b>],
    icv_len: usize,
    block: PhantomData<N>,
}

impl<N: ArraySize> BlockSizeUser for Chains<'_, '_, N> {
    type BlockSize = N;
}

impl<N: ArraySize> BlockCipherEncClosure for Chains<'_, '_, N> {
    #[inline(always)]
    fn call<B: BlockCipherEncBackend<BlockSize = N>>(self, backend: &B) {
        for group in self.packets.chunks_mut(B::ParBlocksSize::USIZE) {
            encrypt_side_by_side(backend, self.icv_len, group);
        }
    }
}

/// Steps through at most as many packets as the backend has lanes.
#[inline(always)]
fn encrypt_side_by_side<B: BlockCipherEncBackend>(
    backend: &B,
    icv_len: usize,
    group: &mut [Packet<'_>],
) {
    let block_len = B::BlockSize::USIZE;
    let mut chain = ParBlocks::<B>::default();
    let (mut shared, mut longest) = (usize::MAX, 0);
    for (lane, packet) in chain.iter_mut().zip(&mut *group) {
        let datagram = packet.datagram_mut();
        lane.copy_from_slice(&datagram[ESP_HEADER_LEN..][..block_len]);
        let blocks = (datagram.len() - icv_len - ESP_HEADER_LEN) / block_len - 1;
        (shared, longest) = (shared.min(blocks), longest.max(blocks));
    }
    // A backend of many lanes takes all of its time for few of them, too; its single blocks don't.
    let count = group.len();
    let all_lanes = count * 2 > B::ParBlocksSize::USIZE;
    let encrypt = |chain: &mut ParBlocks<B>| match all_lanes {
        true => backend.encrypt_par_blocks_inplace(chain),
        false => backend.encrypt_tail_blocks_inplace(&mut chain[..count]),
    };
    for step in 1..=shared {
        let at = ESP_HEADER_LEN + step * block_len;
        for (lane, packet) in chain.iter_mut().zip(&mut *group) {
            xor(lane, block_at(packet.datagram_mut(), at));
        }
        encrypt(&mut chain);
        for (lane, packet) in chain.iter().zip(&mut *group) {
            block_at(packet.datagram_mut(), at).clone_from(lane);
        }
    }
    // The shortest has ended; the lanes of those that have run on unread.
    for step in shared.saturating_add(1)..=longest {
        let at = ESP_HEADER_LEN + step * block_len;
        let lasts =
            |packet: &mut Packet<'_>| at + block_len + icv_len <= packet.datagram_mut().len();
        for (lane, packet) in chain.iter_mut().zip(&mut *group) {
            if lasts(packet) {
                xor(lane, block_at(packet.datagram_mut(), at));
            }
        }
        encrypt(&mut chain);
        for (lane, packet) in chain.iter().zip(&mut *group) {
            if lasts(packet) {
                block_at(packet.datagram_mut(), at).clone_from(lane);
            }
        }
    }
}

#[inline(always)]
fn block_at<N: ArraySize>(datagram: &mut [u8], at: usize) -> &mut Array<u8, N> {
    (&mut datagram[at..at + N::USIZE]).try_into().expect("a slice of a block's length")
}

#[inline(always)]
fn xor<N: ArraySize>(block: &mut Array<u8, N>, with: &Array<u8, N>) {
    block.iter_mut().zip(with).for_each(|(octet, with)| *octet ^= with);
}

/// One packet to decrypt.
struct Chain<'a, N: ArraySize> {
    iv: Array<u8, N>,
    blocks: &'a mut [Array<u8, N>],
}

impl<N: ArraySize> BlockSizeUser for Chain<'_, N> {
    type BlockSize = N;
}

impl<N: ArraySize> BlockCipherDecClosure for Chain<'_, N> {
    #[inline(always)]
    fn call<B: BlockCipherDecBackend<BlockSize = N>>(mut self, backend: &B) {
        for group in self.blocks.chunks_mut(B::ParBlocksSize::USIZE) {
            let mut clear = ParBlocks::<B>::default();
            let count = group.len();
            clear[..count].clone_from_slice(group);
            if count == B::ParBlocksSize::USIZE {
                backend.decrypt_par_blocks_inplace(&mut clear);
            } else {
                backend.decrypt_tail_blocks_inplace(&mut clear[..count]);
            }
            for (clear, block) in clear.iter_mut().zip(group) {
                xor(clear, &self.iv);
                self.iv = std::mem::replace(block, clear.clone());
            }
        }
    }
}

#[cfg(test)]
mod tests;
