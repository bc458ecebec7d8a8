//! The E-model (ITU-T G.107), simplified for G.711 with loss concealment.

/// Mean opinion score in thousandths, from one-way delay, jitter and loss.
///
/// R = 93.2 − Id − Ie,eff with Id of Cole and Rosenbluth (2001), who fitted G.107's curves, and Ie,eff = 30·ln(1 + 15·loss).
/// A jitter buffer adds twice the jitter, the codec 10 ms.
pub fn mos_milli(one_way_us: u32, jitter_us: u32, loss_ppm: u32) -> u32 {
    let delay_ms = f64::from(one_way_us) / 1e3 + 2.0 * f64::from(jitter_us) / 1e3 + 10.0;
    let loss = f64::from(loss_ppm.min(1_000_000)) / 1e6;
    let id = 0.024 * delay_ms + 0.11 * (delay_ms - 177.3).max(0.0);
    let ie = 30.0 * (15.0 * loss).ln_1p();
    let r = (93.2 - id - ie).clamp(0.0, 100.0);
    let mos = 1.0 + 0.035 * r + 7e-6 * r * (r - 60.0) * (100.0 - r);
    (mos.clamp(1.0, 4.5) * 1e3).round() as u32
}
