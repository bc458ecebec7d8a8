//! Capture files: pcap with nanosecond times (draft-ietf-opsawg-pcap §4), link type Ethernet.

use std::fs::File;
use std::io::{self, BufWriter, Write};
use std::path::Path;

const MAX_BYTES: u64 = 256 << 20;
const SNAP_LEN: u32 = 256 << 10;

pub(super) struct Pcap {
    file: BufWriter<File>,
    written: u64,
}

impl Pcap {
    pub(super) fn create(path: &Path) -> io::Result<Self> {
        let mut file = BufWriter::new(File::create(path)?);
        for word in [0xa1b2_3c4d_u32, 0x0004_0002, 0, 0, SNAP_LEN, 1] {
            file.write_all(&word.to_le_bytes())?;
        }
        Ok(Self { file, written: 24 })
    }

    /// False when the frame was left out because the file is full.
    pub(super) fn write(&mut self, at_real_ns: u64, frame: &[u8]) -> io::Result<bool> {
        let len = frame.len() as u32;
        self.written += 16 + u64::from(len);
        if self.written > MAX_BYTES {
            return Ok(false);
        }
        let (seconds, ns) = (at_real_ns / 1_000_000_000, at_real_ns % 1_000_000_000);
        for word in [seconds as u32, ns as u32, len, len] {
            self.file.write_all(&word.to_le_bytes())?;
        }
        self.file.write_all(frame)?;
        Ok(true)
    }

    pub(super) fn flush(&mut self) -> io::Result<()> {
        self.file.flush()
    }
}
