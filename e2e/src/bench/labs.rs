//! The lab in which branches are broken, each by a worker of its own.

use super::board::Board;
use super::branch::{Branch, Way};
use super::plan::{Order, What};
use super::pool::{News, Pool, Ticket};
use super::run::Run;
use super::star::{self, Manner};
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

/// Each with agents of its own, so that no figure is calmer for what another did before.
pub(super) const STARS: [(&str, Manner, &[What]); 4] = [
    (
        "Uplinks go dark, lose carrier, lose packets",
        STEADY,
        &[What::Blackhole, What::CarrierLoss, What::OneWay, What::BrownoutBusy, What::BrownoutIdle],
    ),
    ("Uplinks jitter", JITTER, &[What::Jitter]),
    ("Uplinks come back, and flap", RETURNING, &[What::FailBack, What::Flapping]),
    ("Every packet twice", DUPLICATE, &[What::Duplicate]),
];

/// Measures those of `figures` that are wanted.
pub(super) fn measure(
    board: &mut Board<'_>,
    watchdog: &Watchdog,
    stop: &Stop,
    (title, manner, figures): (&str, Manner, &[What]),
) {
    let wanted = board.order.of(figures);
    if wanted.is_empty() || stop.is_set() {
        return;
    }
    board.screen.chapter(title);
    if let Err(error) = in_lab(board, watchdog, stop, manner, &wanted) {
        board.fail(&wanted, &error.line());
    }
}

fn in_lab(
    board: &mut Board<'_>,
    watchdog: &Watchdog,
    stop: &Stop,
    manner: Manner,
    wanted: &[(What, usize)],
) -> Result<(), FleetError> {
    let order = board.order;
    let step = board.screen.step("fleet");
    step.now("a hub, its branches, and their agents");
    let fleet = Fleet::up(star::star(order.branches, manner, order.seed)?)?;
    fleet.wait_edges_up(UP_LIMIT)?;
    step.done(&format!("{} branches, every path is up", order.branches));
    let guards = Guards::start(&fleet, "hq-host")?;
    let pool = Pool::new(wanted, stop);
    let (told, heard) = channel::<News>();
    std::thread::scope(|scope| {
        for number in 0..order.branches {
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
    board.outcome.add_clear(guards.look()?);
    Ok(())
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
