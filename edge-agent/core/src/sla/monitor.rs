//! One path's samples in, its health out.

use std::time::Duration;

use super::burst::Burst;
use super::evidence::{DelayEvidence, LossEvidence};
use super::liveness::{Liveness, Usual};
use super::traffic::{Step, Traffic};
use super::trouble::Trouble;
use super::{Crossed, Crossings, Limit, PathHealth, Reach, SlaClass, SlaState};
use crate::id::PathId;
use crate::policy;
use crate::probe::{Outcome, Sample, Way};
use crate::quality::{Figures, LinkQuality, QualityWindow};
use crate::stamp::DigestEntry;
use crate::time::Micros;

/// Judges one path for all SLA classes.
#[derive(Debug)]
pub struct PathMonitor {
    path: PathId,
    window: QualityWindow,
    /// By answers alone, and with the peer's word on what reached it.
    round_trip: Liveness,
    forward: Liveness,
    classes: Vec<ClassEvidence>,
    newest_sequence: u64,
    now: Micros,
    /// Loss and age that the peer told, and when it did.
    peer: Option<(DigestEntry, Micros)>,
    /// The peer says that its uplink of this path is dead.
    dead: bool,
    /// What this end hears of the peer.
    heard: Option<(DigestEntry, Micros)>,
    /// Of our packets as the peer counts them, and of the peer's as we do.
    peer_traffic: Traffic,
    heard_traffic: Traffic,
    trouble: Trouble,
}

#[derive(Debug)]
struct ClassEvidence {
    class: SlaClass,
    rtt: Option<DelayEvidence>,
    jitter_tx: Option<DelayEvidence>,
    jitter_rx: Option<DelayEvidence>,
    tx: Option<LossEvidence>,
    rx: Option<LossEvidence>,
    burst_tx: Burst,
    burst_rx: Burst,
}

impl PathMonitor {
    /// `classes`: those whose verdict will be asked for.
    pub fn new(path: PathId, classes: Vec<SlaClass>, now: Micros) -> Self {
        PathMonitor {
            path,
            window: QualityWindow::default(),
            round_trip: Liveness::new(now),
            forward: Liveness::new(now),
            classes: classes.into_iter().map(ClassEvidence::new).collect(),
            newest_sequence: 0,
            now,
            peer: None,
            dead: false,
            peer_traffic: Traffic::default(),
            heard_traffic: Traffic::default(),
            heard: None,
            trouble: Trouble::default(),
        }
    }

    /// What was measured and told is worth nothing any more: the classes and the profile's settings stay.
    pub fn forget(&mut self, now: Micros) {
        let classes = std::mem::take(&mut self.classes).into_iter().map(|e| e.class).collect();
        let down_after = self.round_trip.min_run();
        *self = PathMonitor::new(self.path, classes, now);
        self.set_down_after(down_after);
    }

    /// The path that it judges.
    pub fn path(&self) -> PathId {
        self.path
    }

    /// Replaces the classes. One whose limits stay keeps its evidence.
    pub fn set_classes(&mut self, classes: Vec<SlaClass>) {
        let mut old = std::mem::take(&mut self.classes);
        self.classes = classes
            .into_iter()
            .map(|class| match old.iter().position(|e| e.class == class) {
                Some(index) => old.swap_remove(index),
                None => ClassEvidence::new(class),
            })
            .collect();
    }

    /// The present interval of probes, which says how long silence is normal.
    pub fn set_interval(&mut self, interval: Duration, now: Micros) {
        self.round_trip.set_interval(interval, now);
        self.forward.set_interval(interval, now);
    }

    /// A probe's fate.
    pub fn handle_sample(&mut self, sample: &Sample) {
        self.now = self.now.max(sample.known);
        let before = self.reach();
        self.newest_sequence = self.newest_sequence.max(sample.sequence);
        // Before the sample: the run that is judged is no part of what is usual.
        let usual = Usual { loss: self.usual_loss(), rtt: self.window.usual_rtt() };
        if matches!(sample.outcome, Outcome::Lost { .. }) {
            self.trouble.lost(sample.sent, sample.known);
        }
        self.window.handle(sample);
        self.round_trip.handle(sample, usual);
        self.forward.handle(sample, usual);
        match (before, self.reach()) {
            // What was lost while down is no evidence of loss: the verdict said worse already.
            (Reach::Down, Reach::Up) => self.classes.iter_mut().for_each(ClassEvidence::restart),
            (Reach::Up, Reach::Up) | (Reach::Connecting, _) => {
                let figures = self.window.figures();
                for class in &mut self.classes {
                    class.handle(sample, &figures);
                }
            }
            _ => {}
        }
    }

    /// What the peer receives on this path, told on any path of the tunnel.
    pub fn handle_peer_digest(&mut self, entry: &DigestEntry, now: Micros) {
        self.dead = entry.dead;
        if let Some(step) = self.peer_traffic.step(entry) {
            self.weigh_traffic(Way::Forward, step, now);
        }
        if entry.age_ms == u32::MAX {
            return;
        }
        self.peer = Some((*entry, now));
        let behind = (self.newest_sequence as u32).wrapping_sub(entry.newest_sequence) as i32;
        let sequence = self.newest_sequence.saturating_add_signed(-i64::from(behind));
        // Bounded: a peer can't vouch for probes that are far from being sent.
        if behind > -(policy::OUTSTANDING_MAX as i32)
            && sequence + policy::REORDER_MAX > self.newest_sequence
        {
            let at = now - Duration::from_millis(entry.age_ms.into());
            self.forward.heard(sequence, at);
        }
    }

    /// What this end receives on this path: [`ProbeSession::heard`](crate::probe::ProbeSession::heard).
    pub fn handle_heard(&mut self, entry: &DigestEntry, now: Micros) {
        if let Some(step) = self.heard_traffic.step(entry) {
            self.weigh_traffic(Way::Back, step, now);
        }
        self.heard = Some((*entry, now));
    }

    /// Time passes: windows forget, silence is judged.
    pub fn handle_time(&mut self, now: Micros) {
        self.now = self.now.max(now);
        self.window.advance(now);
        self.round_trip.handle_time(now);
        self.forward.handle_time(now);
    }

    /// When silence may say something; for [`handle_time`](Self::handle_time).
    pub fn next_deadline(&self) -> Option<Micros> {
        self.round_trip.deadline().into_iter().chain(self.forward.deadline()).min()
    }

    /// Whether the path carries anything towards the peer.
    pub fn reach(&self) -> Reach {
        self.forward.reach()
    }

    /// For one class. `symmetric`: both ways must do. An unknown name has no limits.
    pub fn health(&self, class: &str, symmetric: bool) -> PathHealth {
        let liveness = if symmetric { &self.round_trip } else { &self.forward };
        let evidence = self.classes.iter().find(|e| e.class.name == class);
        let crossed = evidence.map(|e| e.crossed(symmetric)).unwrap_or_default();
        let dead = self.dead && self.peer_word_is_fresh();
        let state = match liveness.reach() {
            _ if dead => SlaState::Down,
            Reach::Up if crossed.is_empty() => SlaState::Meets,
            Reach::Up => SlaState::Violates,
            Reach::Down if liveness.answering() => SlaState::Recovering,
            Reach::Down | Reach::Connecting => SlaState::Down,
        };
        PathHealth {
            state,
            connecting: liveness.reach() == Reach::Connecting,
            crossed,
            figures: self.window.figures(),
        }
    }

    /// It is known to work, before the first answer: by what another selection knew of it.
    pub fn assume_up(&mut self) {
        self.round_trip.assume_up();
        self.forward.assume_up();
    }

    /// Losses in a row below which the path is never down; 0: the default.
    pub fn set_down_after(&mut self, probes: u32) {
        self.round_trip.set_min_run(probes);
        self.forward.set_min_run(probes);
    }

    /// Real traffic's losses as evidence beside the probes'.
    fn weigh_traffic(&mut self, way: Way, step: Step, now: Micros) {
        if step.lost > 0.0 {
            self.trouble.lost(now, now);
        }
        if self.reach() != Reach::Up {
            return;
        }
        for class in &mut self.classes {
            let evidence = match way {
                Way::Forward => &mut class.tx,
                Way::Back => &mut class.rx,
            };
            if let Some(evidence) = evidence {
                evidence.arrived(step.arrived, now);
                evidence.lost(step.lost, now);
            }
        }
    }

    /// When what ails the path now began: the first loss after it had been well for a while, or the first value above a
    /// class's limit. `None`: nothing is known to be wrong.
    pub fn trouble_since(&self) -> Option<Micros> {
        let delays = self.classes.iter().flat_map(ClassEvidence::above_since);
        self.trouble.since(self.now).into_iter().chain(delays).min()
    }

    fn peer_word_is_fresh(&self) -> bool {
        self.peer.is_some_and(|(_, at)| self.now.since(at) < policy::DIGEST_FRESH)
    }

    /// For people. Where answers tell nothing of a way, what the ends hear of each other's probes does.
    pub fn quality(&self, now: Micros) -> LinkQuality {
        let mut quality = self.window.snapshot();
        let fresh = |told: &Option<(DigestEntry, Micros)>| {
            told.filter(|(e, at)| now.since(*at) < policy::DIGEST_FRESH && e.received > 0)
                .map(|(e, _)| e.loss_ppm)
        };
        if self.round_trip.run() > 0 {
            let figures = &mut quality.figures;
            figures.loss_tx_ppm = fresh(&self.peer).unwrap_or(figures.loss_tx_ppm);
            figures.loss_rx_ppm = fresh(&self.heard).unwrap_or(figures.loss_rx_ppm);
        }
        quality
    }

    /// Round-trip loss before the present run: the worse of the two windows.
    fn usual_loss(&self) -> f64 {
        let run = self.round_trip.run();
        let [long, short] =
            self.window.counts().map(|(probes, lost)| (probes.max(run) - run, lost.max(run) - run));
        let share = |(probes, lost): (u32, u32)| f64::from(lost) / f64::from(probes.max(1));
        // One loss among twenty probes is no rate.
        if short.1 < 2 { share(long) } else { share(long).max(share(short)) }
    }
}

impl ClassEvidence {
    fn new(class: SlaClass) -> Self {
        let limits = class.limits;
        let with = &limits.sensitivity;
        let delay = |limit: u32| (limit > 0).then(|| DelayEvidence::new(limit, with));
        let loss =
            || (limits.max_loss_ppm > 0).then(|| LossEvidence::new(limits.max_loss_ppm, with));
        ClassEvidence {
            rtt: delay(limits.max_rtt_us),
            jitter_tx: delay(limits.max_jitter_us),
            jitter_rx: delay(limits.max_jitter_us),
            tx: loss(),
            rx: loss(),
            burst_tx: Burst::default(),
            burst_rx: Burst::default(),
            class,
        }
    }

    fn restart(&mut self) {
        *self = ClassEvidence::new(self.class.clone());
    }

    fn handle(&mut self, sample: &Sample, figures: &Figures) {
        let rtt_us = figures.rtt_us;
        let now = sample.known;
        // Above the limit, yet the path's delay is not: a spike, as useless to the class as a loss. A delay that stays
        // is judged as a delay.
        let max_us = self.class.limits.max_rtt_us;
        let is_late = |rtt: Duration| max_us > 0 && rtt.as_micros() > u128::from(max_us);
        let spike = |rtt: Duration| is_late(rtt) && rtt_us <= max_us;
        for (evidence, burst, way, settled) in [
            (&mut self.tx, &mut self.burst_tx, Way::Forward, sample.settled.forward),
            (&mut self.rx, &mut self.burst_rx, Way::Back, sample.settled.back),
        ] {
            let Some(evidence) = evidence else { continue };
            evidence.lost(settled.into(), now);
            let bad = match sample.outcome {
                Outcome::Rtt { rtt } => {
                    evidence.arrived(1.0, now);
                    burst.handle(sample.sequence, spike(rtt), now);
                    None
                }
                Outcome::Lost { way: Some(lost) } if lost == way => Some(true),
                // Lost on the way back: it had arrived forward. The reverse says nothing of the way back.
                Outcome::Lost { way: Some(Way::Back) } => Some(false),
                Outcome::Lost { .. } => None,
                // It came too late to be of use: the loss stands.
                Outcome::Late { rtt, was: Some(_) } if is_late(rtt) => None,
                Outcome::Late { was: Some(lost), .. } if lost == way => {
                    evidence.undo_loss(now);
                    burst.handle(sample.sequence, false, now);
                    evidence.burst_is_over();
                    None
                }
                Outcome::Late { rtt, was: None } => Some(is_late(rtt)),
                Outcome::Late { .. } => None,
            };
            match bad {
                Some(true) => evidence.lost(1.0, now),
                Some(false) => evidence.arrived(1.0, now),
                None => continue,
            }
            burst.handle(sample.sequence, bad == Some(true), now);
            // While it lasts: what has just been answered, however late, is over.
            if matches!(sample.outcome, Outcome::Lost { .. }) && burst.is_damage() {
                evidence.damage_at_once();
            }
        }
        if let Outcome::Rtt { rtt } | Outcome::Late { rtt, .. } = sample.outcome {
            let sample_us = rtt.as_micros().min(u128::from(u32::MAX)) as u32;
            self.rtt.iter_mut().for_each(|e| e.handle(rtt_us, sample_us, now));
            let (tx, rx) = (figures.jitter_tx_us, figures.jitter_rx_us);
            self.jitter_tx.iter_mut().for_each(|e| e.handle(tx, tx, now));
            self.jitter_rx.iter_mut().for_each(|e| e.handle(rx, rx, now));
        }
    }

    fn above_since(&self) -> impl Iterator<Item = Micros> + '_ {
        let delays = [&self.rtt, &self.jitter_tx, &self.jitter_rx];
        delays.into_iter().flatten().filter_map(DelayEvidence::above_since)
    }

    fn crossed(&self, symmetric: bool) -> Crossings {
        let limits = &self.class.limits;
        let mut crossed = Crossings::default();
        let mut add = |limit, value, allowed, confidence_ppm| {
            crossed.insert(Crossed { limit, value, allowed, confidence_ppm });
        };
        if let Some(e) = self.rtt.as_ref().filter(|e| e.violated()) {
            add(Limit::Rtt, e.value_us(), limits.max_rtt_us, 0);
        }
        if let Some(e) = self.jitter_tx.as_ref().filter(|e| e.violated()) {
            add(Limit::JitterTx, e.value_us(), limits.max_jitter_us, 0);
        }
        if let Some(e) = self.jitter_rx.as_ref().filter(|e| e.violated() && symmetric) {
            add(Limit::JitterRx, e.value_us(), limits.max_jitter_us, 0);
        }
        if let Some(e) = self.tx.as_ref().filter(|e| e.violated()) {
            add(Limit::LossTx, e.value_ppm(), limits.max_loss_ppm, e.confidence_ppm());
        }
        if let Some(e) = self.rx.as_ref().filter(|e| e.violated() && symmetric) {
            add(Limit::LossRx, e.value_ppm(), limits.max_loss_ppm, e.confidence_ppm());
        }
        crossed
    }
}
