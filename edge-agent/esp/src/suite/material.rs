//! Keys of one direction of one SA.

use std::fmt;

use zeroize::Zeroizing;

use super::{Encryption, Suite};

/// Key material of the wrong length.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error(
    "{suite} takes {expected_bytes} octets of key material (encryption key, then salt or integrity key), not {got_bytes}"
)]
pub struct KeyLengthError {
    pub suite: Suite,
    pub expected_bytes: usize,
    pub got_bytes: usize,
}

/// Why key material was refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum KeyError {
    #[error(transparent)]
    Length(#[from] KeyLengthError),
    /// RFC 2405 section 2.1 for DES; RFC 2451 section 2.3 for 3DES, where two equal keys of the three undo each
    /// other.
    #[error("{suite}: a weak DES key, or two equal ones of a 3DES key; draw another")]
    Weak { suite: Suite },
}

/// Keys of one direction of one SA. Wiped on drop; `Debug` shows the suite only.
pub struct KeyMaterial {
    suite: Suite,
    bytes: Zeroizing<Vec<u8>>,
}

impl KeyMaterial {
    /// Copies `bytes`: the encryption key, then the salt or the integrity key. The caller wipes its own copy.
    pub fn new(suite: Suite, bytes: &[u8]) -> Result<Self, KeyError> {
        let expected_bytes = suite.key_material_len();
        if bytes.len() != expected_bytes {
            let error = KeyLengthError { suite, expected_bytes, got_bytes: bytes.len() };
            return Err(KeyError::Length(error));
        }
        if is_weak(suite.encryption(), &bytes[..suite.key_len()]) {
            return Err(KeyError::Weak { suite });
        }
        Ok(KeyMaterial { suite, bytes: Zeroizing::new(bytes.to_vec()) })
    }

    pub fn suite(&self) -> Suite {
        self.suite
    }

    /// All of it.
    pub(crate) fn bytes(&self) -> &[u8] {
        &self.bytes
    }

    /// The encryption key.
    pub(crate) fn key(&self) -> &[u8] {
        &self.bytes[..self.suite.key_len()]
    }

    /// Salt or integrity key.
    pub(crate) fn rest(&self) -> &[u8] {
        &self.bytes[self.suite.key_len()..]
    }
}

impl fmt::Debug for KeyMaterial {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "KeyMaterial({})", self.suite)
    }
}

/// DES ignores the lowest bit of each octet, so a weak key is weak with any parity; the list has odd parity.
fn is_weak(encryption: Encryption, key: &[u8]) -> bool {
    if !matches!(encryption, Encryption::DesCbc | Encryption::TripleDesCbc) {
        return false;
    }
    let odd = |octet: &u8| (octet & 0xfe) | u8::from((octet & 0xfe).count_ones().is_multiple_of(2));
    let key = Zeroizing::new(key.iter().map(odd).collect::<Vec<u8>>());
    des::weak_key_test(&key).is_err()
}
