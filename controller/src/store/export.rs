//! Checksummed copies of the whole store, of which the newest few are kept.
//!
//! A file is: magic, store revision (u64), number of entries (u64), then for each entry key length
//! (u32), value length (u32), key, value; then the SHA-256 of all before it. Integers are
//! big-endian. Values are as stored, so they keep their revision. The name carries the revision, so
//! that the newest sorts last.

use std::fs::{self, File, OpenOptions};
use std::io::{BufWriter, Read, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use ring::digest::{Context, SHA256};

use super::{Revision, StoreError, failpoint};

const MAGIC: &[u8; 8] = b"HAWSEXP1";
const DIGEST_BYTES: usize = 32;
/// How many exports are kept.
pub const KEPT: usize = 3;
/// A bigger file is no export: reading it whole would be unwise.
const MAX_BYTES: u64 = 1 << 32;

/// What one export holds: the raw pairs of the store.
#[derive(Debug)]
pub struct Export {
    pub revision: Revision,
    pub pairs: Vec<(Vec<u8>, Vec<u8>)>,
}

/// Writes an export and removes the oldest beyond [`KEPT`]. The file is durable when this returns.
pub fn write(
    dir: &Path,
    revision: Revision,
    pairs: &[(Vec<u8>, Vec<u8>)],
) -> Result<PathBuf, StoreError> {
    let path = dir.join(format!("export-{revision:020}.hwx"));
    let partial = dir.join("partial.tmp");
    failpoint::pass("export-begun", dir);
    write_file(&partial, revision, pairs).map_err(|e| file_error("writing", &partial, e))?;
    failpoint::pass("export-written", dir);
    fs::rename(&partial, &path).map_err(|e| file_error("naming", &path, e))?;
    failpoint::pass("export-named", dir);
    sync_dir(dir).map_err(|e| file_error("syncing", dir, e))?;
    let mut all = list(dir)?;
    while all.len() > KEPT {
        let oldest = all.remove(0);
        fs::remove_file(&oldest).map_err(|e| file_error("removing", &oldest, e))?;
    }
    Ok(path)
}

/// The newest export that is whole. Damaged ones are named in the log and passed over.
pub fn newest_good(dir: &Path) -> Result<Option<Export>, StoreError> {
    for path in list(dir)?.into_iter().rev() {
        match read(&path) {
            Ok(export) => return Ok(Some(export)),
            Err(error) => tracing::warn!(path = %path.display(), %error, "export passed over"),
        }
    }
    Ok(None)
}

/// Reads and checks one export.
pub fn read(path: &Path) -> Result<Export, StoreError> {
    let bad = |what| StoreError::BadExport { path: path.to_owned(), what };
    let mut file = File::open(path).map_err(|e| file_error("opening", path, e))?;
    let length = file.metadata().map_err(|e| file_error("reading", path, e))?.len();
    if length > MAX_BYTES {
        return Err(bad("too big"));
    }
    let mut bytes = Vec::with_capacity(length as usize);
    file.read_to_end(&mut bytes).map_err(|e| file_error("reading", path, e))?;
    let (body, digest) =
        bytes.split_last_chunk::<DIGEST_BYTES>().ok_or_else(|| bad("too short"))?;
    if ring::digest::digest(&SHA256, body).as_ref() != digest {
        return Err(bad("its checksum does not match"));
    }
    parse(body).ok_or_else(|| bad("its structure is wrong"))
}

fn write_file(
    path: &Path,
    revision: Revision,
    pairs: &[(Vec<u8>, Vec<u8>)],
) -> std::io::Result<()> {
    let file = OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(path)?;
    let mut out = BufWriter::with_capacity(1 << 16, file);
    let mut digest = Context::new(&SHA256);
    let mut put = |bytes: &[u8]| {
        digest.update(bytes);
        out.write_all(bytes)
    };
    put(MAGIC)?;
    put(&revision.to_be_bytes())?;
    put(&(pairs.len() as u64).to_be_bytes())?;
    for (key, value) in pairs {
        put(&(key.len() as u32).to_be_bytes())?;
        put(&(value.len() as u32).to_be_bytes())?;
        put(key)?;
        put(value)?;
    }
    out.write_all(digest.finish().as_ref())?;
    out.into_inner()?.sync_all()
}

fn parse(body: &[u8]) -> Option<Export> {
    let mut rest = body.strip_prefix(MAGIC)?;
    let revision = u64::from_be_bytes(take(&mut rest)?);
    let count = u64::from_be_bytes(take(&mut rest)?);
    let mut pairs = Vec::new();
    for _ in 0..count {
        let key_len = u32::from_be_bytes(take(&mut rest)?) as usize;
        let value_len = u32::from_be_bytes(take(&mut rest)?) as usize;
        let (key, after) = rest.split_at_checked(key_len)?;
        let (value, after) = after.split_at_checked(value_len)?;
        pairs.push((key.to_vec(), value.to_vec()));
        rest = after;
    }
    rest.is_empty().then_some(Export { revision, pairs })
}

fn take<const N: usize>(rest: &mut &[u8]) -> Option<[u8; N]> {
    let (head, tail) = rest.split_first_chunk::<N>()?;
    *rest = tail;
    Some(*head)
}

pub fn list(dir: &Path) -> Result<Vec<PathBuf>, StoreError> {
    let entries = fs::read_dir(dir).map_err(|e| file_error("listing", dir, e))?;
    let mut paths: Vec<PathBuf> = entries
        .filter_map(|entry| Some(entry.ok()?.path()))
        .filter(|path| path.extension().is_some_and(|ext| ext == "hwx"))
        .collect();
    paths.sort();
    Ok(paths)
}

pub fn sync_dir(dir: &Path) -> std::io::Result<()> {
    File::open(dir)?.sync_all()
}

pub fn file_error(doing: &'static str, path: &Path, source: std::io::Error) -> StoreError {
    StoreError::File { doing, path: path.to_owned(), source }
}
