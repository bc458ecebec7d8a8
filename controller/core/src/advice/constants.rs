//! Every constant of the slow loop, with its reason.

/// How often the shell should let the loop look: several looks fit into [`CONFIRM_MS`].
pub const EVALUATE_EVERY_MS: u64 = 5_000;

// ---- What is a sign of trouble ----

/// A report older than this says nothing of now: three reports at the slowest usual interval of 10 s, less a little.
pub const FRESH_MS: u64 = 25_000;
/// A path counts only once it was good for this long: what never worked is no news.
pub const PROVEN_MS: u64 = 60_000;
/// A path that was bad lately is bad still: brownouts come and go faster than reports.
pub const RECENT_MS: u64 = 30_000;
/// After so long a fault is how things are, and no more a sign.
pub const FORGOTTEN_MS: u64 = 24 * 3_600_000;

// ---- When signs are a trouble ----

/// Chance of so many signs without a cause, below which there is one. Looks that are independent of each other come some
/// thirty times an hour and subject: one false alarm in 30,000 hours.
pub const ALARM_CHANCE: f64 = 1e-6;
/// Sites, fewer are no pattern.
pub const MIN_SITES: u32 = 3;
/// And this share of those that could see it: below that, advising everybody costs more than it helps.
pub const MIN_SHARE: f64 = 0.15;
/// It must last this long.
pub const CONFIRM_MS: u64 = 15_000;
/// No background is believed to be below this: a quiet day proves little.
pub const BACKGROUND_FLOOR: f64 = 0.005;
/// The background is learned over this time.
pub const BACKGROUND_TIME_MS: f64 = 24.0 * 3_600_000.0;
/// Share of an uplink's peers, from which on the uplink itself is at fault and not what lies between: its failure
/// hits everybody, a provider's hardly ever does.
pub const SHARED_UPLINK_SHARE: f64 = 0.95;
/// Peers, from which on an uplink is one that many share.
pub const SHARED_UPLINK_PEERS: u32 = 5;
/// Another shared uplink of the same provider that suffers this much says that it is the provider.
pub const SHARED_UPLINK_DOUBT: f64 = 0.5;

// ---- When a trouble is over ----

/// Below this share, or above this chance, it may be over: well below what began it, so that it does not flap.
pub const CALM_SHARE: f64 = MIN_SHARE / 2.0;
/// See [`CALM_SHARE`].
pub const CALM_CHANCE: f64 = 1e-2;
/// And must stay so for this long.
pub const CALM_MS: u64 = 120_000;

// ---- Who is advised, and when ----

/// Advice ends by itself after this time.
pub const TTL_MS: u64 = 300_000;
/// It is sent again when it is this old: two refreshes may be lost.
pub const REFRESH_MS: u64 = TTL_MS / 3;
/// Edges that do not suffer are led away this share at a time, and led back so too: all of them at once might break what
/// they are led to.
pub const WAVE_SHARE: f64 = 0.10;
/// Time between waves: the alternative must have shown what it can bear, verdicts of loss take half a minute.
pub const WAVE_EVERY_MS: u64 = 60_000;
/// The alternative suffers this much more than at the beginning: no further wave.
pub const HOLD_RISE: f64 = 0.05;
/// And this much more: the last wave is led back, and no other comes for [`STEP_BACK_MS`].
pub const STEP_BACK_RISE: f64 = 0.10;
/// See [`STEP_BACK_RISE`].
pub const STEP_BACK_MS: u64 = 600_000;
/// New, changed and withdrawn advice a minute, at once and in the long run; for a large fleet, a tenth of its edges.
pub const CHANGES_PER_MINUTE: u64 = 120;
/// Paths and edges that one advice may name: agents take no more.
pub const MAX_NAMED: usize = 1_024;
/// Troubles at once; more than a fleet has hubs and providers that could be told apart.
pub const MAX_TROUBLES: usize = 64;
