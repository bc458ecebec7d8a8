//! The files: appended to, never changed, the oldest removed.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use hawser_edge_core::history::{Blocks, Tick, is_within};

use crate::control::FileError;
use crate::control::files::{at, private_dir, read_bounded};

/// A new file is begun at this size: what is removed at once is a sixteenth of all.
const FILE_BYTES: u64 = 4 << 20;
/// No file is larger: a batch is small beside it.
const MAX_FILE_BYTES: u64 = 16 << 20;
const SUFFIX: &str = ".hist";

/// The writer's hold on the folder. One agent has it: the state directory is locked.
#[derive(Debug)]
pub(super) struct Store {
    folder: PathBuf,
    max_bytes: u64,
    open: Option<Open>,
    /// Begin each file, so that it can be read alone.
    names: Vec<u8>,
}

#[derive(Debug)]
struct Open {
    number: u64,
    file: File,
    bytes: u64,
}

impl Store {
    pub(super) fn new(folder: PathBuf, max_bytes: u64) -> Self {
        Store { folder, max_bytes, open: None, names: Vec::new() }
    }

    /// Appends blocks, then new names.
    ///
    /// # Errors
    /// The folder or the file can't be written. What was written before stays readable.
    pub(super) fn write(&mut self, octets: &[u8], names: Option<Vec<u8>>) -> Result<(), FileError> {
        let written = self.try_write(octets, names);
        if written.is_err() {
            // The file is opened anew: what went wrong may be over.
            self.open = None;
        }
        written
    }

    fn try_write(&mut self, octets: &[u8], names: Option<Vec<u8>>) -> Result<(), FileError> {
        self.append(octets)?;
        if let Some(names) = names
            && names != self.names
        {
            self.append(&names)?;
            self.names = names;
        }
        Ok(())
    }

    fn append(&mut self, octets: &[u8]) -> Result<(), FileError> {
        if octets.is_empty() {
            return Ok(());
        }
        let mut open = match self.open.take() {
            Some(open) => open,
            None => self.reopen()?,
        };
        if open.bytes > 0 && open.bytes + octets.len() as u64 > FILE_BYTES {
            open.file.sync_data().map_err(at("sync", &path_of(&self.folder, open.number)))?;
            open = begin(&self.folder, open.number + 1)?;
            write_all(&self.folder, &mut open, &self.names)?;
            self.prune(open.number)?;
        }
        write_all(&self.folder, &mut open, octets)?;
        self.open = Some(open);
        Ok(())
    }

    /// Goes on where the last agent stopped; a block that it could not finish is skipped by readers.
    fn reopen(&self) -> Result<Open, FileError> {
        private_dir(&self.folder)?;
        let last = numbers(&self.folder)?.last().copied().unwrap_or(1);
        let mut open = begin(&self.folder, last)?;
        write_all(&self.folder, &mut open, &self.names)?;
        Ok(open)
    }

    fn prune(&self, newest: u64) -> Result<(), FileError> {
        // The one that was just begun will grow to its full size.
        let mut total = FILE_BYTES;
        for number in numbers(&self.folder)?.into_iter().rev().filter(|number| *number != newest) {
            let path = path_of(&self.folder, number);
            total += fs::metadata(&path).map_err(at("look at", &path))?.len();
            if total > self.max_bytes {
                fs::remove_file(&path).map_err(at("remove", &path))?;
            }
        }
        Ok(())
    }
}

fn begin(folder: &Path, number: u64) -> Result<Open, FileError> {
    let path = path_of(folder, number);
    let opened = OpenOptions::new().append(true).create(true).mode(0o600).open(&path);
    let file = opened.map_err(at("open", &path))?;
    let bytes = file.metadata().map_err(at("look at", &path))?.len();
    Ok(Open { number, file, bytes })
}

fn write_all(folder: &Path, open: &mut Open, octets: &[u8]) -> Result<(), FileError> {
    open.file.write_all(octets).map_err(at("write", &path_of(folder, open.number)))?;
    open.bytes += octets.len() as u64;
    Ok(())
}

fn path_of(folder: &Path, number: u64) -> PathBuf {
    folder.join(format!("{number:010}{SUFFIX}"))
}

/// Ascending.
fn numbers(folder: &Path) -> Result<Vec<u64>, FileError> {
    let mut numbers = Vec::new();
    for entry in fs::read_dir(folder).map_err(at("read", folder))? {
        let name = entry.map_err(at("read", folder))?.file_name();
        let number = name.to_str().and_then(|name| name.strip_suffix(SUFFIX));
        numbers.extend(number.and_then(|number| number.parse::<u64>().ok()));
    }
    numbers.sort_unstable();
    Ok(numbers)
}

/// A part of the history, and where the next one begins.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Piece {
    pub blocks: Vec<u8>,
    /// Empty: that was all.
    pub cursor: Vec<u8>,
}

/// Why a part can't be read.
#[derive(Debug, thiserror::Error)]
pub enum PieceError {
    #[error("this agent has no probe history yet")]
    Nothing,
    #[error("the cursor is not one that was given")]
    Cursor,
    #[error(transparent)]
    File(#[from] FileError),
}

/// Whole blocks that tell of this time, from a cursor on (empty: the begin): at least one, and then up to `max_bytes`.
///
/// # Errors
/// There is no history, or it can't be read.
pub fn read_piece(
    folder: &Path,
    since: Tick,
    until: Tick,
    cursor: &[u8],
    max_bytes: usize,
) -> Result<Piece, PieceError> {
    let (number, offset) = place(cursor)?;
    let numbers = match numbers(folder) {
        Err(error) if error.source.kind() == io::ErrorKind::NotFound => {
            return Err(PieceError::Nothing);
        }
        numbers => numbers?,
    };
    let mut piece = Piece { blocks: Vec::new(), cursor: Vec::new() };
    for file in numbers.into_iter().filter(|file| *file >= number) {
        // It may have been removed since it was listed.
        let content = read_bounded(&path_of(folder, file), MAX_FILE_BYTES)?.unwrap_or_default();
        let from = if file == number { offset.min(content.len()) } else { 0 };
        let mut blocks = Blocks::new(&content[from..]);
        let mut length = 0;
        while let Some(block) = blocks.next_raw() {
            let end = from + length + blocks.skipped() as usize + block.len();
            length += block.len();
            if is_within(block, since, until) {
                piece.blocks.extend(block);
            }
            if piece.blocks.len() >= max_bytes {
                piece.cursor = [file.to_be_bytes(), (end as u64).to_be_bytes()].concat();
                return Ok(piece);
            }
        }
    }
    Ok(piece)
}

fn place(cursor: &[u8]) -> Result<(u64, usize), PieceError> {
    if cursor.is_empty() {
        return Ok((0, 0));
    }
    let (number, offset) = cursor.split_at_checked(8).ok_or(PieceError::Cursor)?;
    let read = |octets: &[u8]| octets.try_into().map(u64::from_be_bytes);
    let number = read(number).map_err(|_| PieceError::Cursor)?;
    let offset = read(offset).map_err(|_| PieceError::Cursor)?;
    Ok((number, usize::try_from(offset).map_err(|_| PieceError::Cursor)?))
}
