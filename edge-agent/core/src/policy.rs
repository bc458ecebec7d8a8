//! Every constant of measurement and selection, with its reason. What an operator may set comes with the generation;
//! these are the rest, and the defaults of what may be left out (0).

use std::time::Duration;

use crate::config::{Sensitivity, SlaLimits};

const fn ms(ms: u64) -> Duration {
    Duration::from_millis(ms)
}

// ---- Probes ----

/// Interval of probes on a path in use, if the profile gives none: three of them fit the 350 ms that a blackhole may last.
pub const USED_INTERVAL: Duration = ms(100);
/// Interval on a path that carries nothing: its verdict must be fresh within a few seconds, at a fifth of the cost.
pub const IDLE_INTERVAL: Duration = ms(500);
/// No interval is shorter: above 50 Hz a probe stream is a load of its own.
pub const MIN_INTERVAL: Duration = ms(20);
/// No interval is longer: NAT mappings of UDP may be forgotten after 30 s (RFC 4787 REQ-5 asks for 2 min, many do less).
pub const MAX_INTERVAL: Duration = ms(15_000);
/// A path in use is probed at least this often, whatever the budget: slower, and people tell of a fault first.
pub const USED_INTERVAL_MAX: Duration = ms(1_000);
/// The best standby, when the budget is short: still fresh enough to be taken unseen.
pub const STANDBY_INTERVAL_MAX: Duration = ms(5_000);
/// A burst that a probe budget allows, in seconds of its rate: suspicion at 50 Hz for a second, on most budgets.
pub const BUDGET_BURST_S: u64 = 4;

// ---- Paths that rest ----

/// What a `standby` uplink may take in `RESTING_PERIOD` while nothing needs it, probes and keepalives of both ends and both
/// ways, with all headers: a hundredth of a cheap mobile tariff.
pub const RESTING_BYTES: u64 = 50_000_000;
/// The longest month.
pub const RESTING_PERIOD: Duration = Duration::from_secs(31 * 86_400);
/// Of that, what is planned with: handshakes before any path is up, and challenges, are in no account.
pub const RESTING_USED_PERCENT: u64 = 90;
/// Of what exchanges may take, what their regular pace takes. The rest gathers for checks and short wakings.
pub const RESTING_STEADY_PERCENT: u64 = 70;
/// What may have gathered: six seconds of a path that is awake at 10 Hz, in a tunnel of four paths.
pub const RESTING_BURST_BYTES: u64 = 32_768;
/// A path that rests is probed at least this often: of a thousand that share an uplink's allowance.
pub const RESTING_INTERVAL_MAX: Duration = ms(86_400_000);
/// After a loss on a path that rests, and after the first answers that follow, the next probes come this fast: its pace
/// would take minutes to tell down from up.
pub const RESTING_CHECK_INTERVAL: Duration = ms(1_000);
/// As many after a loss: one more than a path needs to be down.
pub const RESTING_CHECKS_LOST: u32 = 5;
/// As many after an answer: one more than a path needs to be up again.
pub const RESTING_CHECKS_ANSWERED: u32 = 6;
/// A new path is probed as if idle for this long: its ends get their keys and endpoints one after the other.
pub const RESTING_AFTER: Duration = ms(10_000);
/// Losses in a row on a path in use that wake the standby which rests: one in 20 losses is followed by another by chance
/// where 5 % are lost.
pub const WAKE_RUN: u32 = 2;
/// It stays awake for this long after the last sign of trouble.
pub const WAKE_TIME: Duration = ms(2_000);
/// What the peer says of a path that it needs holds for this long: some probes may be lost.
pub const PEER_WANTS_TIME: Duration = ms(5_000);
/// NAT keepalives (RFC 3948 section 4): carriers forget mappings after 30 s.
pub const NAT_KEEPALIVE: Duration = ms(20_000);
/// A last resort is not touched for this long after the tunnel's beginning: other paths get their chance first.
pub const LAST_RESORT_PATIENCE: Duration = ms(10_000);
/// It is given up once another path was up for this long without a break, and it carries nothing.
pub const LAST_RESORT_HOLD: Duration = ms(30_000);

// ---- Suspicion ----

/// Interval on suspicion: 50 Hz tells noise from damage in a tenth of a second.
pub const SUSPICION_INTERVAL: Duration = MIN_INTERVAL;
/// Suspicion lasts this long after the last sign of trouble.
pub const SUSPICION_TIME: Duration = ms(600);
/// Probes that suspicion may add at once, and their refill: a path that always loses a little must not be probed at
/// 50 Hz for ever. 150 are three seconds at full speed.
pub const SUSPICION_BUCKET_PROBES: u32 = 150;
/// Refill of the suspicion bucket, in probes per second: half of the probes of a path in use.
pub const SUSPICION_REFILL_PER_S: u32 = 5;
/// A run of losses this long needs no faster probes: the path is down, and suspicion would only cost.
pub const SUSPICION_MAX_RUN: u32 = 16;

/// A probe's timeout is SRTT + 4·RTTVAR (RFC 6298), not below this: schedulers of small devices stall for tens of ms.
pub const MIN_TIMEOUT: Duration = ms(60);
/// The timeout is at least this much above SRTT: on a still path RTTVAR falls to nothing.
pub const MIN_TIMEOUT_MARGIN: Duration = ms(20);
/// A reply after a second is of no use to a decision; also the timeout before the first RTT.
pub const MAX_TIMEOUT: Duration = ms(1_000);
/// A reply corrects its loss if it comes within this time of the probe; later it is only counted.
pub const LATE_MEMORY: Duration = ms(3_000);
/// Probes remembered: `LATE_MEMORY` at 50 Hz, and some.
pub const OUTSTANDING_MAX: usize = 256;
/// Samples that wait for the caller.
pub const SAMPLE_QUEUE_MAX: usize = 512;

/// A timer that fires this much too late means that this host stood still: replies may wait unread.
pub const HOST_STALL: Duration = ms(30);
/// After a stall nothing is counted lost for this long, so that what waits can be read first.
pub const HOST_STALL_GRACE: Duration = ms(20);

/// Replies of a reflector, per path: twice the fastest sender of ours.
pub const REFLECT_PER_S: u32 = 100;
/// Replies that a reflector may give at once, after a silence.
pub const REFLECT_BURST: u32 = 100;
/// A sequence number this far behind the newest is another session's, not reordered.
pub const REORDER_MAX: u64 = 1_024;
/// Window of what is heard of the peer's probes: at 10 Hz, 100 probes tell 1 % loss.
pub const HEARD_WINDOW: Duration = ms(10_000);
/// Requests remembered in that window: 50 Hz for 10 s.
pub const HEARD_MAX: usize = 512;
/// A peer's digest older than this says nothing of now.
pub const DIGEST_FRESH: Duration = ms(3_000);

/// The limits of a class that names none: above 200 ms a conversation is felt to lag (ITU-T G.114 plans for 150 ms one way
/// at most), above 5 %
/// loss even what repairs it (TCP, FEC) no longer does. Bursts are judged besides.
pub const BUILT_IN_LIMITS: SlaLimits = SlaLimits {
    max_rtt_us: 200_000,
    max_jitter_us: 0,
    max_loss_ppm: 50_000,
    sensitivity: Sensitivity {
        loss_confidence_ppm: 0,
        loss_mended_ms: 0,
        delay_damage_ms: 0,
        delay_mended_ms: 0,
    },
};

/// Packets that one digest's counters may have moved by: more is a counter that started again.
pub const TRAFFIC_STEP_MAX: u32 = 1 << 24;
/// Packets of one digest that count as independent witnesses of loss.
pub const TRAFFIC_WITNESSES: u32 = 20;

// ---- Link quality ----

/// The short window: what people feel now; 20 probes on a path in use.
pub const SHORT_WINDOW: Duration = ms(2_000);
/// The long window: 300 probes at 10 Hz, what a proof of loss below 1 % at 95 % takes.
pub const LONG_WINDOW: Duration = ms(30_000);
/// Samples kept in the long window; with fast probes it holds less time.
pub const LONG_WINDOW_SAMPLES: usize = 1_024;

// ---- Verdicts ----

/// A path is not down before this many probes in a row are lost: where 0.1 % is lost each way, chance makes a row of three
/// every few months, and suspicion asks for the fourth within 20 ms.
pub const DOWN_MIN_RUN: u32 = 4;
/// At this many it is down whatever its history.
pub const DOWN_MAX_RUN: u32 = 8;
/// A path that has been silent for this long, over two probes at least, is down whatever its history: real losses come in
/// bursts, and half of those that last so long go on (on recorded cellular links, in docs/decisions/).
pub const DOWN_RUN_TIME: Duration = ms(400);
/// Or for this much of its usual round-trip time, if that is longer: a pause is long or short beside what is usual, and of two
/// overdue answers on a slow path little is known yet.
pub const DOWN_RUN_RTT_PERCENT: u32 = 350;
/// Probes in a row whose loss makes it silent; one more where they come so seldom that two may be lost by chance.
pub const DOWN_SILENT_RUN: u32 = 2;
/// Between the two: as many as random loss at the path's usual rate gives with less than this chance (natural logarithm
/// of 1 in ten million): at 10 Hz once in eleven days.
pub const DOWN_LOG_CHANCE: f64 = -16.1;
/// Usual loss is never believed to be below this: a second of quiet proves nothing.
pub const DOWN_LOSS_FLOOR: f64 = 0.01;
/// Nothing answered for this long is down, however slow the probes.
pub const DOWN_SILENCE_MIN: Duration = ms(1_500);
/// Or for so many intervals of the path's present cadence.
pub const DOWN_SILENCE_INTERVALS: u32 = 3;
/// Answers in a row that bring a path up again: recovery takes more proof than damage.
pub const UP_ANSWERS: u32 = 5;
/// And they span at least this time: five answers at 50 Hz are one lucky moment.
pub const UP_TIME: Duration = ms(1_000);

/// Loss is damage once the evidence for `LOSS_DAMAGED_FACTOR` times the limit, against the limit, reaches this log
/// likelihood ratio (Page's CUSUM): 1 in 245. Against a limit of 1 % that is five losses in 50 probes: 0.1 % random loss
/// does that once in years.
pub const LOSS_DAMAGE_EVIDENCE: f64 = 5.5;
/// The loss that the evidence is weighed for, as a multiple of the limit.
pub const LOSS_DAMAGED_FACTOR: f64 = 4.0;
/// Loss is mended once the evidence for half the limit, against the damaged rate, reaches this: about 200 clean probes
/// for a limit of 1 %.
pub const LOSS_MENDED_EVIDENCE: f64 = 7.0;
/// And never sooner than this after the last loss that counted as damage.
pub const LOSS_MENDED_TIME: Duration = ms(10_000);
/// No loss rate is weighed above this.
pub const LOSS_MAX_RATE: f64 = 0.9;

/// Losses of one way in the last seconds that are damage at once, the newest of them just now: at 0.1 % random loss three in
/// three seconds come ten times a month at 10 Hz, but suspicion's probes then make their share far less than this.
pub const BURST_LOSSES: u32 = 4;
/// And their share of the probes.
pub const BURST_PERCENT: u32 = 20;
/// So far back. Of recorded cellular uplinks that lost three probes in so long, four in five lose more.
pub const BURST_WINDOW: Duration = ms(4_000);
/// Probes remembered for it: 50 Hz and some.
pub const BURST_PROBES_MAX: usize = 192;

/// Delay or jitter above its limit for this long is damage: one late probe is not.
pub const DELAY_DAMAGE_TIME: Duration = ms(600);
/// And this many probes agree.
pub const DELAY_DAMAGE_SAMPLES: u32 = 5;
/// Delay or jitter below `DELAY_MENDED_PERCENT` of its limit for this long is mended.
pub const DELAY_MENDED_TIME: Duration = ms(10_000);
/// How far below the limit, so that a path at its limit does not flap.
pub const DELAY_MENDED_PERCENT: u64 = 90;

// ---- Selection ----

/// Fail-back waits for this long of proven good, if the class gives no time.
pub const FAILBACK_HOLD: Duration = ms(30_000);
/// The hold doubles with each flap, up to this factor's power of two (30 s becomes 32 min).
pub const FAILBACK_DOUBLINGS_MAX: u32 = 6;
/// And never above this.
pub const FAILBACK_HOLD_MAX: Duration = ms(3_600_000);
/// A fault within so many holds (30 s: 5 min) after the path was taken again is a flap.
pub const FLAP_HOLDS: u32 = 10;
/// One flap is forgiven for so many holds (30 s: 30 min) without one.
pub const FLAP_DECAY_HOLDS: u32 = 60;
/// No voluntary move sooner after a move, if the class gives no time.
pub const DWELL: Duration = ms(5_000);
/// A move for an SLA's sake waits no longer than this after a move, whatever the dwell.
pub const SLA_DWELL_MAX: Duration = ms(5_000);
/// A path that failed and has met the SLA for this long again is taken without a token for one that violates it: a flap of
/// two paths then takes the time that mending does, and traffic does not stay where it suffers.
pub const SLA_PROOF: Duration = ms(5_000);
/// Voluntary moves that may follow each other.
pub const MOVE_TOKENS: u32 = 4;
/// A token comes back each of these: six voluntary moves an hour in the long run.
pub const MOVE_TOKEN_REFILL: Duration = ms(600_000);
/// After the first selection, better paths that come up are taken at once: paths are keyed in no particular order.
pub const START_GRACE: Duration = ms(5_000);
/// Weight of a path that costs nothing, in a class that is balanced by cost.
pub const COST_WEIGHT: u32 = 1_000;
/// No weight by bandwidth is higher: a terabit.
pub const WEIGHT_MAX: u32 = 1_000_000;
/// A path of equal rank is better if its delay is below this share of the present one's.
pub const BETTER_RTT_PERCENT: u64 = 75;
/// And better by at least this: below it people and protocols feel nothing.
pub const BETTER_RTT_MIN: Duration = ms(5);
/// A better delay must last this long, or the fail-back hold if that is longer.
pub const BETTER_HOLD: Duration = ms(60_000);
/// Candidates of one selector; more are not taken (a tunnel has at most 64 paths).
pub const CANDIDATES_MAX: usize = 64;
/// Paths that advice may name.
pub const ADVICE_PATHS_MAX: usize = 1_024;
/// Advice lives no longer than this, whatever it says.
pub const ADVICE_MAX: Duration = ms(3_600_000);

// ---- Endpoints ----

/// A challenge must be answered within this time.
pub const CHALLENGE_TIME: Duration = ms(1_000);
/// The same challenge is repeated after this time if another packet comes: one lost probe must not cost the second.
pub const CHALLENGE_RETRY: Duration = ms(250);
/// Addresses that may be under challenge at once, per path.
pub const CHALLENGES_MAX: usize = 4;
/// Challenges per second and path, to any address: a flood of copies makes no flood of ours.
pub const CHALLENGES_PER_S: u32 = 8;
