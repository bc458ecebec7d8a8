//! A decision and its evidence.

use std::fmt;

use hawser_proto::agent::v1 as wire;

use crate::id::{ClassId, PathId, TunnelId};
use crate::quality::Figures;
use crate::sla::{Crossings, SlaState};
use crate::time::Micros;

/// Why something moved.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Cause {
    /// Nothing was selected before.
    Start,
    /// The path is down, not available, or its uplink lost carrier.
    PathDown,
    /// The path crosses a limit.
    SlaViolated,
    /// A more preferred path has proven good again.
    FailBack,
    /// A path that is better, by preference, advice or measurement.
    BetterPath,
    /// The configuration changed.
    Config,
    /// No path is left that may carry the class.
    NoneLeft,
    /// The path stays; those that carry beside it changed (modes `balance` and `duplicate`).
    Members,
}

impl Cause {
    /// Stable.
    pub fn code(self) -> &'static str {
        match self {
            Cause::Start => "START",
            Cause::PathDown => "PATH_DOWN",
            Cause::SlaViolated => "SLA_VIOLATED",
            Cause::FailBack => "FAIL_BACK",
            Cause::BetterPath => "BETTER_PATH",
            Cause::Config => "CONFIG",
            Cause::NoneLeft => "NONE_LEFT",
            Cause::Members => "MEMBERS",
        }
    }

    /// Something was wrong with the path that was left.
    pub fn for_damage(self) -> bool {
        matches!(self, Cause::PathDown | Cause::SlaViolated | Cause::NoneLeft)
    }

    /// Nothing was wrong with the path that was left.
    pub fn voluntary(self) -> bool {
        matches!(self, Cause::FailBack | Cause::BetterPath)
    }
}

/// What was known of one candidate.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CandidateEvidence {
    pub path: PathId,
    pub name: String,
    pub chosen: bool,
    pub state: SlaState,
    /// It never answered.
    pub connecting: bool,
    /// Plain words; empty when chosen.
    pub refused_because: String,
    pub figures: Figures,
    pub crossed: Crossings,
}

/// One class of one tunnel moved.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Decision {
    pub at: Micros,
    pub tunnel: TunnelId,
    pub class: ClassId,
    pub class_name: String,
    pub from: Option<PathId>,
    pub to: Option<PathId>,
    pub cause: Cause,
    /// One sentence.
    pub summary: String,
    pub candidates: Vec<CandidateEvidence>,
}

/// What only the shell knows.
#[derive(Debug, Clone, Copy)]
pub struct DecisionContext<'a> {
    /// Rises by one with each decision since the agent's start.
    pub sequence: u64,
    pub unix_ms: u64,
    pub edge: &'a str,
    pub peer_edge: &'a str,
    pub boot_id: &'a str,
}

impl Decision {
    /// As it goes to the controller.
    pub fn to_proto(&self, context: &DecisionContext<'_>) -> wire::Decision {
        wire::Decision {
            sequence: context.sequence,
            unix_ms: context.unix_ms,
            edge: context.edge.to_owned(),
            peer_edge: context.peer_edge.to_owned(),
            tunnel_id: self.tunnel.0,
            traffic_class: self.class_name.clone(),
            from_path_id: self.from.map_or(0, |p| p.0),
            to_path_id: self.to.map_or(0, |p| p.0),
            cause: self.cause.code().to_owned(),
            summary: self.summary.clone(),
            candidates: self.candidates.iter().map(CandidateEvidence::to_proto).collect(),
            boot_id: context.boot_id.to_owned(),
            ..Default::default()
        }
    }
}

impl CandidateEvidence {
    /// As it goes to the controller.
    pub fn to_proto(&self) -> wire::Candidate {
        let state = match self.state {
            _ if self.connecting => wire::PathState::Connecting,
            SlaState::Meets | SlaState::Violates => wire::PathState::Up,
            SlaState::Recovering | SlaState::Down => wire::PathState::Down,
        };
        wire::Candidate {
            path_id: self.path.0,
            name: self.name.clone(),
            state: state.into(),
            chosen: self.chosen,
            refused_because: self.refused_because.clone(),
            rtt_us: self.figures.rtt_us,
            jitter_us: self.figures.jitter_us,
            loss_tx_ppm: self.figures.loss_tx_ppm,
            loss_rx_ppm: self.figures.loss_rx_ppm,
            limits_crossed: self.crossed.iter().map(|c| c.to_string()).collect(),
            confidence_ppm: self.crossed.iter().map(|c| c.confidence_ppm).max().unwrap_or(0),
            ..Default::default()
        }
    }
}

/// One line for each decision and candidate, the same for the same evidence.
impl fmt::Display for Decision {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let path = |p: Option<PathId>| p.map_or("-".to_owned(), |p| p.to_string());
        writeln!(
            f,
            "{} tunnel {} class {} {} -> {} {}: {}",
            self.at.0,
            self.tunnel,
            self.class,
            path(self.from),
            path(self.to),
            self.cause.code(),
            self.summary
        )?;
        for c in &self.candidates {
            let g = &c.figures;
            write!(f, "  {} {}", c.path, c.state)?;
            write!(f, " rtt {} us jitter {} us", g.rtt_us, g.jitter_us)?;
            write!(f, " loss {}/{} ppm", g.loss_tx_ppm, g.loss_rx_ppm)?;
            c.crossed.iter().try_for_each(|crossed| write!(f, " [{crossed}]"))?;
            writeln!(f, " {}", if c.chosen { "chosen" } else { &c.refused_because })?;
        }
        Ok(())
    }
}
