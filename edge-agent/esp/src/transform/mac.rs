//! HMAC (RFC 2104), cut as the suites have it.

use hmac::digest::{FixedOutput, KeyInit, Update};
use hmac::{EagerHash, Hmac};
use subtle::ConstantTimeEq;

use crate::suite::Integrity;

/// The longest output of a hash.
const LONGEST: usize = 64;

/// An integrity algorithm under one key. The hash's state after the key's block is kept, so a packet costs two
/// compressions less.
pub trait Mac: Send + Sync + 'static {
    fn integrity(&self) -> Integrity;

    /// Writes the ICV over the concatenation of `parts`; `icv` is as long as the algorithm sends.
    fn write_icv(&self, parts: &[&[u8]], icv: &mut [u8]);

    /// Whether `icv` is that of `parts`, in time that does not depend on where they differ.
    fn verify(&self, parts: &[&[u8]], icv: &[u8]) -> bool;
}

/// A [`Mac`] that a suite is made of.
pub trait SuiteMac: Mac + Sized {
    const INTEGRITY: Integrity;

    /// `None` if the key's length is not the algorithm's.
    fn new(key: &[u8]) -> Option<Self>;
}

macro_rules! macs {
    ($($name:ident = $hash:ty, $integrity:expr;)*) => {$(
        /// See [`Integrity`].
        pub struct $name(Hmac<$hash>);

        impl SuiteMac for $name {
            const INTEGRITY: Integrity = $integrity;

            fn new(key: &[u8]) -> Option<Self> {
                keyed(key, Self::INTEGRITY).map($name)
            }
        }

        impl Mac for $name {
            fn integrity(&self) -> Integrity {
                Self::INTEGRITY
            }

            fn write_icv(&self, parts: &[&[u8]], icv: &mut [u8]) {
                let tag = tag_of(&self.0, parts);
                icv.copy_from_slice(&tag[..Self::INTEGRITY.icv_len()]);
            }

            fn verify(&self, parts: &[&[u8]], icv: &[u8]) -> bool {
                tag_of(&self.0, parts)[..Self::INTEGRITY.icv_len()].ct_eq(icv).into()
            }
        }

        impl std::fmt::Debug for $name {
            fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.write_str(stringify!($name))
            }
        }
    )*

        /// Any of them, for who asks rarely.
        pub(crate) fn mac_of(integrity: Integrity, key: &[u8]) -> Option<Box<dyn Mac>> {
            $(if integrity == $integrity {
                return Some(Box::new(<$name as SuiteMac>::new(key)?));
            })*
            None
        }
    };
}

macs! {
    HmacSha256 = sha2::Sha256, Integrity::HmacSha256;
    HmacSha512 = sha2::Sha512, Integrity::HmacSha512;
    HmacSm3Half = sm3::Sm3, Integrity::HmacSm3Half;
    HmacSm3Full = sm3::Sm3, Integrity::HmacSm3Full;
    HmacSha1 = sha1::Sha1, Integrity::HmacSha1;
    HmacMd5 = md5::Md5, Integrity::HmacMd5;
}

fn keyed<D: EagerHash>(key: &[u8], integrity: Integrity) -> Option<Hmac<D>>
where
    Hmac<D>: KeyInit,
{
    (key.len() == integrity.key_len()).then(|| Hmac::<D>::new_from_slice(key).ok()).flatten()
}

/// The whole output, from the left.
fn tag_of<H: Clone + Update + FixedOutput>(keyed: &H, parts: &[&[u8]]) -> [u8; LONGEST] {
    let mut mac = keyed.clone();
    parts.iter().for_each(|part| mac.update(part));
    let output = mac.finalize_fixed();
    let mut tag = [0; LONGEST];
    tag[..output.len()].copy_from_slice(&output);
    tag
}

#[cfg(test)]
mod tests;
