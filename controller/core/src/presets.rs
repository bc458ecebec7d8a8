//! SLA classes that need no declaration.
//!
//! Delays are round trips, because that is what probes measure without two clocks that agree: twice what the
//! recommendations allow one way. What terminals add is taken off first where a recommendation counts from mouth to ear.
//! Jitter is the mean deviation of RFC 3550 section 6.4.1, not the spread between extremes of ITU-T Y.1541; with it goes a
//! spread of three to four times its value.

use crate::intent::{SlaClass, SlaName};

/// What such a class says; every other field is left to the defaults.
struct Preset {
    name: &'static str,
    max_rtt_ms: Option<u32>,
    max_jitter_ms: Option<u32>,
    max_loss_ppm: u32,
    sensitivity: Sensitivity,
}

/// 0: the default.
struct Sensitivity {
    loss_confidence_ppm: u32,
    loss_mended_ms: u32,
    delay_damage_ms: u32,
    delay_mended_ms: u32,
}

const USUAL: Sensitivity = Sensitivity {
    loss_confidence_ppm: 0,
    loss_mended_ms: 0,
    delay_damage_ms: 0,
    delay_mended_ms: 0,
};

const PRESETS: [Preset; 4] = [
    // Telephony (RFC 4594 section 4.1). ITU-T G.114: 150 ms from mouth to ear disturb nobody; framing, look-ahead and
    // playout buffer take 50 of them, which leaves the 100 ms of Y.1541 class 0 to the network, 200 there and back. A
    // playout buffer of 60 to 100 ms covers a jitter of 30 ms. At 1 % loss G.711 with concealment loses four points of R
    // (G.113 appendix I), which nobody hears; G.1010 bears 3 %.
    Preset {
        name: "voice",
        max_rtt_ms: Some(200),
        max_jitter_ms: Some(30),
        max_loss_ppm: 10_000,
        sensitivity: USUAL,
    },
    // Conferences (RFC 4594 sections 4.3 and 4.4). G.1010 prefers the 150 ms one way of telephony, and codecs of pictures
    // are part of no budget: 300 there and back. Pictures are buffered to the sound, and come in bursts: 50 ms, the bound
    // of Y.1541 classes 0 and 1. A picture has ten packets and more, so that 0.5 % loss mars one of twenty.
    Preset {
        name: "video",
        max_rtt_ms: Some(300),
        max_jitter_ms: Some(50),
        max_loss_ppm: 5_000,
        sensitivity: USUAL,
    },
    // Terminals, remote desktops, transactions (RFC 4594 section 4.7). G.1010 asks for echo within 200 ms one way. TCP
    // repeats what is lost, but a key stroke that is lost alone waits 200 ms and more for it (RFC 6298): one in a hundred.
    // Jitter hurts only as delay.
    Preset {
        name: "interactive",
        max_rtt_ms: Some(400),
        max_jitter_ms: None,
        max_loss_ppm: 10_000,
        sensitivity: USUAL,
    },
    // Backups, replication, mail (RFC 4594 section 4.8). G.1010 lets them take 15 s: delay is no limit. Loss is one, as
    // TCP's rate falls with its root (RFC 3649 section 2): at 3 % and 50 ms about 1.6 Mbit/s a flow. Nobody watches, so
    // it moves late, on strong evidence, and comes back late.
    Preset {
        name: "bulk",
        max_rtt_ms: None,
        max_jitter_ms: None,
        max_loss_ppm: 30_000,
        sensitivity: Sensitivity { loss_confidence_ppm: 999_000, loss_mended_ms: 30_000, ..USUAL },
    },
];

/// All of them.
pub(crate) fn all() -> impl Iterator<Item = SlaClass> {
    PRESETS.iter().map(sla_class)
}

pub(crate) fn names() -> impl Iterator<Item = &'static str> + Clone {
    PRESETS.iter().map(|preset| preset.name)
}

pub(crate) fn named(name: &str) -> Option<SlaClass> {
    PRESETS.iter().find(|preset| preset.name == name).map(sla_class)
}

fn sla_class(preset: &Preset) -> SlaClass {
    let micros = |ms: u32| ms * 1_000;
    let set = |value: u32| (value > 0).then_some(value);
    let Sensitivity { loss_confidence_ppm, loss_mended_ms, delay_damage_ms, delay_mended_ms } =
        preset.sensitivity;
    SlaClass {
        name: SlaName::new(preset.name),
        max_rtt_us: preset.max_rtt_ms.map(micros),
        max_jitter_us: preset.max_jitter_ms.map(micros),
        max_loss_ppm: Some(preset.max_loss_ppm),
        loss_confidence_ppm: set(loss_confidence_ppm),
        loss_mended_ms: set(loss_mended_ms),
        delay_damage_ms: set(delay_damage_ms),
        delay_mended_ms: set(delay_mended_ms),
    }
}
