//! The lab in which branches are broken, each by a worker of its own.

use super::board::Board;
use super::branch::{Branch, Way};
use super::plan::{Order, What};
use super::pool::{News, Pool, Ticket};
use super::run::Run;
use super::star::{self, MAX_BRANCHES, Manner};
use super::stop::Stop;
use super::{calm, gaps, moves};
use crate::fleet::{Fleet, FleetError, Guards};
use crate::watchdog::Watchdog;
use std::sync::mpsc::channel;
use std::time::Duration;

const UP_LIMIT: Duration = Duration::from_secs(90);

/// Fail-back waits longer than the benchmark takes between two faults of a branch, so that nothing but faults moves.
const LONG_HOLD_S: u32 = 300;
const STEADY: Manner =
    Manner { failback_hold_s: LONG_HOLD_S, max_jitter_ms: None, duplicate: false };
const JITTER: Manner = Manner { max_jitter_ms: Some(20), ..STEADY };
const RETURNING: Manner = Manner { failback_hold_s: 5, ..STEADY };
const DUPLICATE: Manner = Manner { duplicate: true, ..STEADY };

/// A lab of its own, so that no figure is calmer for what another did to its agents before.
pub(super) struct Star {
    title: &'static str,
    manner: Manner,
    /// Streams, and the search for their payload in clear. Without, twice the branches cost less.
    traffic: bool,
    figures: &'static [What],
}

pub(super) const STARS: [Star; 6] = [
    Star {
        title: "Uplinks go dark, lose carrier, lose packets",
        manner: STEADY,
        traffic: true,
        figures: &[What::Blackhole, What::CarrierLoss, What::OneWay, What::BrownoutBusy],
    },
    Star {
        title: "Uplinks without traffic lose packets",
        manner: STEADY,
        traffic: false,
        figures: &[What::BrownoutIdle],
    },
    Star { title: "Uplinks jitter", manner: JITTER, traffic: false, figures: &[What::Jitter] },
    Star {
        title: "Uplinks come back",
        manner: RETURNING,
        traffic: true,
        figures: &[What::FailBack],
    },
    Star { title: "Uplinks flap", manner: RETURNING, traffic: false, figures: &[What::Flapping] },
    Star {
        title: "Every packet travels twice",
        manner: DUPLICATE,
        traffic: true,
        figures: &[What::Duplicate],
    },
];

impl Star {
    /// Measures those of its figures that are wanted.
    pub(super) fn measure(&self, board: &mut Board<'_>, watchdog: &Watchdog, stop: &Stop) {
        let wanted = board.order.of(self.figures);
        if wanted.is_empty() || stop.is_set() {
            return;
        }
        board.screen.chapter(self.title);
        if let Err(error) = self.in_lab(board, watchdog, stop, &wanted) {
            board.fail(&wanted, &error.line());
        }
    }

    fn in_lab(
        &self,
        board: &mut Board<'_>,
        watchdog: &Watchdog,
        stop: &Stop,
        wanted: &[(What, usize)],
    ) -> Result<(), FleetError> {
        let order = board.order;
        let branches = if self.traffic { order.branches } else { order.branches * 2 };
        let branches = branches.min(MAX_BRANCHES);
        let step = board.screen.step("fleet");
        step.now("a hub, its branches, and their agents");
        let fleet = Fleet::up(star::star(branches, self.manner, order.seed)?)?;
        fleet.wait_edges_up(UP_LIMIT)?;
        step.done(&format!("{branches} branches, every path is up"));
        let guards = self.traffic.then(|| Guards::start(&fleet, "hq-host")).transpose()?;
        let pool = Pool::new(wanted, stop);
        let (told, heard) = channel::<News>();
        std::thread::scope(|scope| {
            for number in 0..branches {
                let (told, pool, fleet) = (told.clone(), &pool, &fleet);
                scope.spawn(move || {
                    let mut branch = Branch::new(fleet, watchdog, stop, number, order.seed);
                    pool.work(&told, |ticket| run(&mut branch, ticket, order));
                });
            }
            drop(told);
            for news in heard {
                board.hear(news, watchdog.host_stall_max_ms());
            }
        });
        if let Some(guards) = guards {
            board.outcome.add_clear(guards.look()?);
        }
        Ok(())
    }
}

fn run(branch: &mut Branch<'_>, ticket: Ticket, order: &Order) -> Result<Run, FleetError> {
    let way = Way::turn(ticket.number);
    match ticket.what {
        What::Blackhole => gaps::run(branch, gaps::Fault::Blackhole, way),
        What::CarrierLoss => gaps::run(branch, gaps::Fault::Carrier, way),
        What::OneWay => gaps::run(branch, gaps::Fault::OneWay, way),
        What::BrownoutBusy => moves::run(branch, moves::Fault::BrownoutBusy, way),
        What::BrownoutIdle => moves::run(branch, moves::Fault::BrownoutIdle, way),
        What::Jitter => moves::run(branch, moves::Fault::Jitter, way),
        What::FailBack => calm::fail_back(branch, way),
        What::Flapping => calm::flapping(branch, Duration::from_secs(order.flap_s)),
        What::Duplicate => calm::duplicate(branch, ticket.number, way),
        What::Hub | What::Simulation => {
            Err(FleetError::Unknown { kind: "run in a star", name: ticket.what.name().to_owned() })
        }
    }
}
