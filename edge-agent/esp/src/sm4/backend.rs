//! What the traits of the cipher crate want of a cipher that takes many blocks at once.

use aes::cipher::consts::U16;
use aes::cipher::{
    Block, BlockCipherDecBackend, BlockCipherEncBackend, BlockSizeUser, InOut, InOutBuf, ParBlocks,
    ParBlocksSizeUser,
};

use super::planes::Word;
use super::{ROUNDS, Sm4, crypt};

pub(super) struct Encrypting<'a>(pub &'a [Word; ROUNDS]);
pub(super) struct Decrypting<'a>(pub &'a [Word; ROUNDS]);

macro_rules! backend {
    ($backend:ident: $trait:ident, $one:ident, $many:ident, $some:ident, |$keys:ident| $order:expr) => {
        impl BlockSizeUser for $backend<'_> {
            type BlockSize = U16;
        }

        impl ParBlocksSizeUser for $backend<'_> {
            type ParBlocksSize = U16;
        }

        impl $trait for $backend<'_> {
            fn $one(&self, mut block: InOut<'_, '_, Block<Sm4>>) {
                let mut all = ParBlocks::<Sm4>::default();
                all[0] = *block.get_in();
                let $keys = self.0.iter();
                crypt($order, &mut all);
                *block.get_out() = all[0];
            }

            fn $many(&self, mut blocks: InOut<'_, '_, ParBlocks<Sm4>>) {
                let mut all = *blocks.get_in();
                let $keys = self.0.iter();
                crypt($order, &mut all);
                *blocks.get_out() = all;
            }

            /// The other lanes run empty.
            fn $some(&self, mut blocks: InOutBuf<'_, '_, Block<Sm4>>) {
                let count = blocks.len();
                let mut all = ParBlocks::<Sm4>::default();
                all[..count].copy_from_slice(blocks.get_in());
                let $keys = self.0.iter();
                crypt($order, &mut all);
                blocks.get_out().copy_from_slice(&all[..count]);
            }
        }
    };
}

backend!(Encrypting: BlockCipherEncBackend, encrypt_block, encrypt_par_blocks, encrypt_tail_blocks, |keys| keys);
backend!(Decrypting: BlockCipherDecBackend, decrypt_block, decrypt_par_blocks, decrypt_tail_blocks, |keys| keys.rev());
