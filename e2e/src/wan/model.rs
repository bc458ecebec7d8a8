//! One direction of a link, pure: when does this frame arrive, if it does?
//!
//! A frame passes, in this order: carrier, blackhole, trace, random loss, burst loss, the bottleneck's queue, delay and
//! jitter, reordering, duplication, corruption. Given the same seed, settings, times and lengths, all fates are the same.

use super::burst::Bursts;
use super::trace::Playback;
use super::{JitterShape, Settings};
use rand::{Rng, SeedableRng};
use rand_chacha::ChaCha8Rng;

/// Octets of an Ethernet header: corruption spares them, so that the frame still reaches the peer.
const ETHERNET_HEADER: u32 = 14;

/// What becomes of a frame.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fate {
    Deliver(Arrival),
    /// The frame and its copy.
    Duplicate(Arrival, Arrival),
    Drop(Reason),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Arrival {
    pub at_us: u64,
    /// The bit of the frame to flip, counted from its first octet's most significant one.
    pub flip_bit: Option<u32>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Reason {
    CarrierDown,
    Blackhole,
    Trace,
    Random,
    Burst,
    QueueFull,
}

#[derive(Debug)]
pub struct Direction {
    settings: Settings,
    playback: Option<Playback>,
    bursts: Option<Bursts>,
    rng: ChaCha8Rng,
    /// When the bottleneck has sent all that waits in it. In ns: a frame takes 12 µs at 1 Gbit/s.
    busy_until_ns: u64,
    /// The latest arrival promised, which order-keeping frames may not undercut.
    last_at_us: u64,
}

impl Direction {
    #[must_use]
    pub fn new(seed: u64) -> Self {
        Self {
            settings: Settings::default(),
            playback: None,
            bursts: None,
            rng: ChaCha8Rng::seed_from_u64(seed),
            busy_until_ns: 0,
            last_at_us: 0,
        }
    }

    #[must_use]
    pub fn settings(&self) -> &Settings {
        &self.settings
    }

    #[must_use]
    pub fn playback(&self) -> Option<&Playback> {
        self.playback.as_ref()
    }

    /// Puts checked settings in effect. Frames already admitted keep their fate; new ones may overtake them.
    pub fn set(&mut self, settings: Settings, playback: Option<Playback>) {
        let burst_changed = settings.burst_loss_pct != self.settings.burst_loss_pct
            || settings.burst_len != self.settings.burst_len;
        if burst_changed {
            self.bursts = (settings.burst_loss_pct > 0.0)
                .then(|| Bursts::new(settings.burst_loss_pct / 100.0, settings.burst_len));
        }
        if settings.rate_kbit != self.settings.rate_kbit {
            self.busy_until_ns = 0;
        }
        self.last_at_us = 0;
        self.settings = settings;
        self.playback = playback;
    }

    /// Decides over a frame of `frame_len` octets that enters at `now_us`. Times must not go back.
    pub fn admit(&mut self, now_us: u64, frame_len: usize) -> Fate {
        match self.survive(now_us, frame_len) {
            Err(reason) => Fate::Drop(reason),
            Ok((sent_us, delay_us)) => self.travel(sent_us, delay_us, frame_len),
        }
    }

    /// The faults that drop. Survivors get the time they leave the bottleneck, and the fixed delay from there.
    fn survive(&mut self, now_us: u64, frame_len: usize) -> Result<(u64, u64), Reason> {
        if self.settings.carrier_down {
            return Err(Reason::CarrierDown);
        }
        if self.settings.blackhole {
            return Err(Reason::Blackhole);
        }
        let delay_us = match &self.playback {
            Some(playback) => playback.delay_us(now_us).ok_or(Reason::Trace)?,
            None => us(self.settings.delay_ms),
        };
        if self.chance(self.settings.loss_pct) {
            return Err(Reason::Random);
        }
        if let Some(bursts) = &mut self.bursts
            && bursts.lose(&mut self.rng)
        {
            return Err(Reason::Burst);
        }
        Ok((self.queue(now_us, frame_len)?, delay_us))
    }

    /// The bottleneck: drop-tail, one frame at a time.
    fn queue(&mut self, now_us: u64, frame_len: usize) -> Result<u64, Reason> {
        let rate_kbit = self.settings.rate_kbit;
        if rate_kbit == 0 {
            return Ok(now_us);
        }
        let now_ns = now_us * 1_000;
        let wait_ns = self.busy_until_ns.saturating_sub(now_ns);
        // kbit/s × ns = 10⁻⁶ bit
        let waiting_bytes = u128::from(wait_ns) * u128::from(rate_kbit) / 8_000_000;
        let bytes_bound = self.settings.queue_bytes;
        let over_bytes =
            bytes_bound > 0 && waiting_bytes + frame_len as u128 > u128::from(bytes_bound);
        if over_bytes || wait_ns > us(self.settings.queue_ms) * 1_000 {
            return Err(Reason::QueueFull);
        }
        self.busy_until_ns = now_ns + wait_ns + frame_len as u64 * 8_000_000 / rate_kbit;
        Ok(self.busy_until_ns.div_ceil(1_000))
    }

    /// The faults that delay, copy or damage.
    fn travel(&mut self, sent_us: u64, delay_us: u64, frame_len: usize) -> Fate {
        let mut at_us = self.jittered(sent_us + delay_us, sent_us);
        if self.chance(self.settings.reorder_pct) {
            // Held back without moving `last_at_us`: those behind it overtake.
            at_us += us(self.settings.reorder_hold_ms);
        } else {
            if !self.settings.jitter_reorders {
                at_us = at_us.max(self.last_at_us);
            }
            self.last_at_us = self.last_at_us.max(at_us);
        }
        let twice = self.chance(self.settings.duplicate_pct);
        let first = Arrival { at_us, flip_bit: self.flip(frame_len) };
        if twice {
            return Fate::Duplicate(first, Arrival { at_us, flip_bit: self.flip(frame_len) });
        }
        Fate::Deliver(first)
    }

    fn jittered(&mut self, at_us: u64, earliest_us: u64) -> u64 {
        let spread_us = self.settings.jitter_ms * 1_000.0;
        if spread_us == 0.0 {
            return at_us;
        }
        let unit = match self.settings.jitter {
            JitterShape::Uniform => self.rng.random_range(-1.0..=1.0),
            JitterShape::Normal => self.normal().clamp(-4.0, 4.0),
        };
        at_us.saturating_add_signed((unit * spread_us) as i64).max(earliest_us)
    }

    /// Box and Muller: two even draws make a normal one.
    fn normal(&mut self) -> f64 {
        let radius = (-2.0 * (1.0 - self.rng.random::<f64>()).ln()).sqrt();
        radius * (std::f64::consts::TAU * self.rng.random::<f64>()).cos()
    }

    fn flip(&mut self, frame_len: usize) -> Option<u32> {
        let bits = (ETHERNET_HEADER * 8)..(frame_len as u32 * 8);
        (self.chance(self.settings.corrupt_pct) && !bits.is_empty())
            .then(|| self.rng.random_range(bits))
    }

    fn chance(&mut self, pct: f64) -> bool {
        pct > 0.0 && self.rng.random_bool((pct / 100.0).min(1.0))
    }
}

fn us(ms: f64) -> u64 {
    (ms * 1_000.0).round() as u64
}
