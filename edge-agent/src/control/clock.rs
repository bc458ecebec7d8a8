//! The clocks: one that counts since the kernel's boot, one of the calendar that never goes back.

use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use hawser_edge_core::generation::BootId;
use hawser_edge_core::time::Micros;
use nix::time::{ClockId, clock_gettime};
use rustls_pki_types::UnixTime;

use super::files::{self, FileError};

/// Time since the kernel's boot, suspension included: it means the same after a restart of the
/// agent, so a deadline can outlive it.
pub fn since_boot() -> Micros {
    // CLOCK_BOOTTIME can't fail on any kernel this runs on (Linux 2.6.39); 0 is the safe answer.
    let now = clock_gettime(ClockId::CLOCK_BOOTTIME).map(Duration::from).unwrap_or_default();
    Micros(u64::try_from(now.as_micros()).unwrap_or(u64::MAX))
}

/// Which boot of the kernel this is. Unknown (no /proc) is all zeros.
pub fn boot_id() -> BootId {
    let text = std::fs::read_to_string("/proc/sys/kernel/random/boot_id").unwrap_or_default();
    BootId(parse_boot_id(&text).unwrap_or_default())
}

fn parse_boot_id(text: &str) -> Option<[u8; 16]> {
    let digits: Vec<u8> = text
        .trim()
        .bytes()
        .filter(|b| *b != b'-')
        .map(|b| char::from(b).to_digit(16).map(|d| d as u8))
        .collect::<Option<_>>()?;
    let bytes: Vec<u8> = digits.chunks_exact(2).map(|pair| pair[0] << 4 | pair[1]).collect();
    bytes.try_into().ok()
}

/// The calendar, as far as it can be trusted: an edge without a real-time clock starts in 1970, so
/// time is never before the last one stored in `<state>/boot-time` (DESIGN section 8).
#[derive(Debug)]
pub struct Calendar {
    path: PathBuf,
    floor_unix_ms: AtomicU64,
}

impl Calendar {
    /// A file that can't be read is no floor.
    pub fn open(state_dir: &Path) -> Self {
        let path = state_dir.join("boot-time");
        let text = files::read_bounded(&path, 64).ok().flatten().unwrap_or_default();
        let floor = std::str::from_utf8(&text).ok().and_then(|t| t.trim().parse().ok());
        Calendar { path, floor_unix_ms: AtomicU64::new(floor.unwrap_or(0)) }
    }

    /// Milliseconds since 1970.
    pub fn unix_ms(&self) -> u64 {
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        let now = u64::try_from(now.as_millis()).unwrap_or(u64::MAX);
        now.max(self.floor_unix_ms.load(Ordering::Relaxed))
    }

    /// Stores the present time as the new floor.
    ///
    /// # Errors
    /// The file can't be written.
    pub fn store(&self) -> Result<(), FileError> {
        let now = self.unix_ms();
        self.floor_unix_ms.fetch_max(now, Ordering::Relaxed);
        files::write_synced(&self.path, format!("{now}\n").as_bytes())
    }
}

impl rustls::time_provider::TimeProvider for Calendar {
    fn current_time(&self) -> Option<UnixTime> {
        Some(UnixTime::since_unix_epoch(Duration::from_millis(self.unix_ms())))
    }
}
