//! Link quality: what a path's probes say of it, over windows that forget by time.

mod emodel;
#[cfg(test)]
mod tests;
mod window;

use crate::time::Micros;

pub use emodel::mos_milli;
pub use window::QualityWindow;

/// What decisions look at: cheap to read at every sample.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Figures {
    /// Smoothed round-trip time (RFC 6298's SRTT); 0 before the first answer.
    pub rtt_us: u32,
    /// RFC 3550 section 6.4.1, of round-trip times.
    pub jitter_us: u32,
    /// The same of the way to the peer and from it, where the reflector's timestamps tell; else of the round trip.
    pub jitter_tx_us: u32,
    pub jitter_rx_us: u32,
    /// Lost on the way to the peer, over the long window.
    pub loss_tx_ppm: u32,
    /// Lost on the way from the peer, over the long window.
    pub loss_rx_ppm: u32,
    /// Lost on either way, over the long window.
    pub loss_round_trip_ppm: u32,
    /// Probes in the long window.
    pub probes: u32,
}

/// A snapshot for people and telemetry.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct LinkQuality {
    pub figures: Figures,
    /// Over the short window; 0 without an answer in it.
    pub rtt_mean_us: u32,
    /// Over the long window, as are the quantiles (nearest rank).
    pub rtt_min_us: u32,
    pub rtt_p50_us: u32,
    pub rtt_p95_us: u32,
    pub rtt_p99_us: u32,
    /// Mean |IPDV| (RFC 3393) of neighbouring probes over the long window, of round-trip times.
    pub ipdv_mean_us: u32,
    /// Over the short window.
    pub loss_short_round_trip_ppm: u32,
    /// Probes in the short window.
    pub probes_short: u32,
    /// Mean opinion score by the E-model, in thousandths: 1000 to 4500.
    pub mos_milli: u32,
    /// When the last answer came.
    pub last_answer: Option<Micros>,
}
