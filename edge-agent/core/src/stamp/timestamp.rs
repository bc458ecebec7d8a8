//! Timestamps of STAMP packets (RFC 8762 section 4.2.1), made from the caller's time.

use std::time::Duration;

/// Seconds from the NTP epoch (1900) to Unix's (1970), RFC 5905 section 6.
const NTP_OFFSET_S: u64 = 2_208_988_800;

/// How a timestamp's 64 bits are read; the Z bit of the error estimate says which (RFC 8186 section 2.1).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum TimestampFormat {
    /// Seconds since 1900, then 2^-32 s.
    Ntp,
    /// PTPv2 truncated: seconds since 1970, then nanoseconds.
    Ptp,
}

/// 64 bits as on the wire.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Timestamp(pub u64);

impl Timestamp {
    /// From the time since the Unix epoch. Seconds wrap at 2^32, as on the wire.
    pub fn from_unix(unix: Duration, format: TimestampFormat) -> Self {
        let nanos = u64::from(unix.subsec_nanos());
        let (seconds, fraction) = match format {
            TimestampFormat::Ntp => {
                (unix.as_secs().wrapping_add(NTP_OFFSET_S), (nanos << 32) / 1_000_000_000)
            }
            TimestampFormat::Ptp => (unix.as_secs(), nanos),
        };
        Timestamp((seconds & 0xffff_ffff) << 32 | fraction)
    }

    /// Time from `earlier` to this one, both of the same format and clock; `None` if it is not later, or half an era away.
    pub fn since(self, earlier: Timestamp, format: TimestampFormat) -> Option<Duration> {
        u64::try_from(self.nanos_since(earlier, format)).ok().map(Duration::from_nanos)
    }

    /// The same in microseconds, with its sign.
    pub fn micros_since(self, earlier: Timestamp, format: TimestampFormat) -> i64 {
        // Half an era in microseconds fits.
        (self.nanos_since(earlier, format) / 1_000) as i64
    }

    fn nanos_since(self, earlier: Timestamp, format: TimestampFormat) -> i128 {
        let nanos = |t: Timestamp| match format {
            TimestampFormat::Ntp => ((t.0 & 0xffff_ffff) * 1_000_000_000) >> 32,
            TimestampFormat::Ptp => (t.0 & 0xffff_ffff).min(999_999_999),
        };
        let seconds = ((self.0 >> 32) as u32).wrapping_sub((earlier.0 >> 32) as u32) as i32;
        i128::from(seconds) * 1_000_000_000 + i128::from(nanos(self)) - i128::from(nanos(earlier))
    }
}

/// How good the clock is (RFC 4656 section 4.1.2, Z bit of RFC 8186).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ErrorEstimate(pub u16);

impl ErrorEstimate {
    /// Of a clock about whose synchronisation nothing is claimed: S is 0, the error 2^-32 · 2^22 s, about 1 ms.
    pub fn unsynchronised(format: TimestampFormat) -> Self {
        let z = match format {
            TimestampFormat::Ntp => 0,
            TimestampFormat::Ptp => 1 << 14,
        };
        // The multiplier must not be zero (RFC 4656 section 4.1.2).
        ErrorEstimate(z | 22 << 8 | 1)
    }

    /// As the Z bit says.
    pub fn format(self) -> TimestampFormat {
        if self.0 & 1 << 14 == 0 { TimestampFormat::Ntp } else { TimestampFormat::Ptp }
    }
}
