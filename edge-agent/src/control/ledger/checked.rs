//! A file whose damage shows: a header, the content, a SHA-256 over both.
//!
//! ```text
//! "HAWSER01" | sequence u64 | length u64 | content | SHA-256 of all before     (big-endian)
//! ```

use std::path::Path;

use ring::digest::{SHA256, digest};

use super::super::files::{self, FileError};

const MAGIC: &[u8; 8] = b"HAWSER01";
const HEADER_BYTES: usize = 24;
const DIGEST_BYTES: usize = 32;
/// Largest checked file: three generations of 16 MiB each, and room.
const MAX_FILE_BYTES: u64 = 56 * 1024 * 1024;

/// What a checked file holds.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Checked {
    /// Rises with every write.
    pub sequence: u64,
    pub content: Vec<u8>,
}

/// Why a file's content is not what was written.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Damage {
    #[error("it is cut off")]
    CutOff,
    #[error("it is no file of this program")]
    Magic,
    #[error("its length is wrong")]
    Length,
    #[error("its checksum is wrong")]
    Checksum,
    #[error("its content can't be decoded")]
    Content,
    #[error("its content contradicts itself")]
    Contradiction,
    #[error("the disk can't read it")]
    Io,
}

/// Replaces the file's content, durably.
///
/// # Errors
/// The first step that failed; the old content is still there then.
pub fn write(path: &Path, checked: &Checked) -> Result<(), FileError> {
    files::write_synced(path, &encode(checked))
}

/// `Ok(None)`: there is no such file.
///
/// # Errors
/// What is wrong with it.
pub fn read(path: &Path) -> Result<Option<Checked>, Damage> {
    match files::read_bounded(path, MAX_FILE_BYTES) {
        Ok(None) => Ok(None),
        Ok(Some(bytes)) => decode(&bytes).map(Some),
        Err(_) => Err(Damage::Io),
    }
}

fn encode(checked: &Checked) -> Vec<u8> {
    let mut out = Vec::with_capacity(HEADER_BYTES + checked.content.len() + DIGEST_BYTES);
    out.extend_from_slice(MAGIC);
    out.extend_from_slice(&checked.sequence.to_be_bytes());
    out.extend_from_slice(&(checked.content.len() as u64).to_be_bytes());
    out.extend_from_slice(&checked.content);
    let sum = digest(&SHA256, &out);
    out.extend_from_slice(sum.as_ref());
    out
}

fn decode(bytes: &[u8]) -> Result<Checked, Damage> {
    let magic = bytes.get(..8).ok_or(Damage::CutOff)?;
    if magic != MAGIC {
        return Err(Damage::Magic);
    }
    let sequence = u64_at(bytes, 8).ok_or(Damage::CutOff)?;
    let length = u64_at(bytes, 16).ok_or(Damage::CutOff)?;
    let rest = bytes.len().checked_sub(HEADER_BYTES + DIGEST_BYTES).ok_or(Damage::CutOff)? as u64;
    if rest != length {
        return Err(if rest < length { Damage::CutOff } else { Damage::Length });
    }
    let (signed, sum) = bytes.split_at(bytes.len() - DIGEST_BYTES);
    if digest(&SHA256, signed).as_ref() != sum {
        return Err(Damage::Checksum);
    }
    Ok(Checked { sequence, content: signed[HEADER_BYTES..].to_vec() })
}

fn u64_at(bytes: &[u8], at: usize) -> Option<u64> {
    bytes.get(at..at + 8)?.try_into().ok().map(u64::from_be_bytes)
}
