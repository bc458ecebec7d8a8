//! Two branches that reach each other by one of two hubs: the hub in use dies, or loses its leg to the branch that
//! traffic is for, and the stream must find the other.

use super::board::Board;
use super::gaps::{HEAL_LIMIT, UNTOUCHED_MS};
use super::plan::What;
use super::pool::{News, Pool};
use super::run::Run;
use super::steady::{self, MET_FOR};
use super::stop::Stop;
use crate::clock;
use crate::fleet::{Fleet, FleetError, FleetSpec, Flow, Guards};
use crate::wan::Impairment;
use crate::watchdog::Watchdog;
use rand::{Rng, SeedableRng};
use rand_chacha::ChaCha8Rng;
use std::sync::mpsc::channel;
use std::time::Duration;

const UP_LIMIT: Duration = Duration::from_secs(90);
const STEADY_LIMIT: Duration = Duration::from_secs(120);
/// With their LANs.
const BRANCHES: [(&str, &str); 2] = [("b1", "10.11.0.0/24"), ("b2", "10.12.0.0/24")];
const UPLINKS: [&str; 2] = ["isp-a", "isp-b"];
const PROBE_INTERVAL_US: u64 = 100_000;
/// Longer than the benchmark takes between two faults.
const HOLD: (&str, &str) = ("failback_hold_s: 10", "failback_hold_s: 300");

#[derive(Clone, Copy, Debug)]
struct Variant {
    name: &'static str,
    /// It dies; else it loses one leg.
    dies: bool,
    headless: bool,
}

const VARIANTS: [Variant; 4] = [
    Variant { name: "hub_dead", dies: true, headless: false },
    Variant { name: "leg_lost", dies: false, headless: false },
    Variant { name: "hub_dead_headless", dies: true, headless: true },
    Variant { name: "leg_lost_headless", dies: false, headless: true },
];

/// Measures it, if it is wanted.
pub(super) fn measure(board: &mut Board<'_>, watchdog: &Watchdog, stop: &Stop) {
    let wanted = board.order.of(&[What::Hub]);
    let Some(&(_, runs)) = wanted.first() else { return };
    if stop.is_set() {
        return;
    }
    board.screen.chapter("A hub dies, or loses a leg");
    if let Err(error) = in_lab(board, watchdog, stop, runs) {
        board.fail(&wanted, &error.line());
    }
}

fn in_lab(
    board: &mut Board<'_>,
    watchdog: &Watchdog,
    stop: &Stop,
    runs: usize,
) -> Result<(), FleetError> {
    let step = board.screen.step("fleet");
    step.now("two hubs, two branches, and their agents");
    let mut spec = FleetSpec::hubs()?;
    spec.document = spec.document.replace(HOLD.0, HOLD.1);
    let fleet = Fleet::up(spec)?;
    fleet.wait_edges_up(UP_LIMIT)?;
    step.done("two hubs, two branches, every path is up");
    let guards = Guards::start(&fleet, "b2-host")?;
    let rng = ChaCha8Rng::seed_from_u64(board.order.seed);
    let mut hubs = Hubs { fleet, watchdog, stop, rng, controller: true };
    let pool = Pool::new(&[(What::Hub, runs)], stop);
    let (told, heard) = channel::<News>();
    std::thread::scope(|scope| {
        scope.spawn(|| {
            let told = told;
            pool.work(&told, |ticket| {
                hubs.run(VARIANTS[ticket.number * VARIANTS.len() / runs], ticket.number)
            });
        });
        for news in heard {
            board.hear(news, watchdog.host_stall_max_ms());
        }
    });
    board.outcome.add_clear(guards.look()?);
    Ok(())
}

struct Hubs<'a> {
    fleet: Fleet,
    watchdog: &'a Watchdog,
    stop: &'a Stop,
    rng: ChaCha8Rng,
    /// Whether it runs.
    controller: bool,
}

impl Hubs<'_> {
    fn run(&mut self, variant: Variant, number: usize) -> Result<Run, FleetError> {
        self.have_controller(!variant.headless)?;
        let ((from, _), (to, lan)) = match number % 2 {
            0 => (BRANCHES[0], BRANCHES[1]),
            _ => (BRANCHES[1], BRANCHES[0]),
        };
        let host = |site: &str| format!("{site}-host");
        // The receiver before may not be gone yet.
        let port = 9_500 + (number % 256) as u16;
        let flow = Flow::start(&self.fleet, &host(from), &host(to), port, false)?;
        self.steady()?;
        flow.wait_flowing(HEAL_LIMIT)?;
        let hub = self.last_hub(from, to, lan)?;
        let phase = self.rng.random_range(0..PROBE_INTERVAL_US);
        std::thread::sleep(Duration::from_micros(phase));
        let fault_ns = clock::mono_ns();
        self.break_hub(variant, &hub, to)?;
        let silence_ms = flow.silence_after(fault_ns, HEAL_LIMIT)?;
        let stall_ms = self.watchdog.worst_since_ms(fault_ns);
        self.mend_hub(variant, &hub)?;
        let mut run = Run::new(silence_ms, stall_ms);
        run.variant = variant.name;
        run.void = silence_ms.is_some_and(|ms| ms < UNTOUCHED_MS);
        run.story = match variant.dies {
            true => format!("{from} → {to}  {hub} dies"),
            false => format!("{from} → {to}  {hub} loses its leg to {to}"),
        };
        run.story += if variant.headless { ", no controller" } else { "" };
        run.story += &match silence_ms {
            Some(ms) => format!(": silent for {ms:.0} ms"),
            None => ": NOT HEALED within 10 s".to_owned(),
        };
        Ok(run)
    }

    /// The hub that hands the traffic to the branch: the other one, while the first still waits to use its own leg again.
    fn last_hub(&self, from: &str, to: &str, lan: &str) -> Result<String, FleetError> {
        let first = self.fleet.agent(&format!("{from}-1"))?.next_hop(lan)?;
        let next = match self.fleet.agent(&first)?.next_hop(lan) {
            // It has no choice: its only way is the branch itself.
            Err(FleetError::Unknown { .. }) => format!("{to}-1"),
            next => next?,
        };
        let last = if next == format!("{to}-1") { first } else { next };
        Ok(self.fleet.agent(&last)?.place().site.clone())
    }

    fn have_controller(&mut self, wanted: bool) -> Result<(), FleetError> {
        match (self.controller, wanted) {
            (true, false) => self.fleet.kill_controller(),
            (false, true) => self.fleet.restart_controller()?,
            _ => {}
        }
        self.controller = wanted;
        Ok(())
    }

    /// A dead hub says nothing, not even that a port is closed: its links go dark first.
    fn break_hub(&mut self, variant: Variant, hub: &str, to: &str) -> Result<(), FleetError> {
        let edge = |site: &str| format!("{site}-1");
        if !variant.dies {
            return self.fleet.cut_leg(&edge(hub), &edge(to));
        }
        for uplink in UPLINKS {
            self.fleet.lab().impair(&format!("{hub}-{uplink}"), &Impairment::blackhole(true))?;
        }
        self.fleet.kill_agent(&edge(hub))
    }

    fn mend_hub(&mut self, variant: Variant, hub: &str) -> Result<(), FleetError> {
        if !variant.dies {
            return self.fleet.mend_legs();
        }
        for uplink in UPLINKS {
            self.fleet.lab().reset(&format!("{hub}-{uplink}"))?;
        }
        self.fleet.start_agent(&format!("{hub}-1"))
    }

    /// Waits until every edge has seen all of its paths meet their SLA for long enough.
    fn steady(&self) -> Result<(), FleetError> {
        let look = || {
            let found: Result<Vec<_>, _> =
                self.fleet.agents().map(|agent| steady::faulty(agent, None)).collect();
            Ok(found?.concat().join(", "))
        };
        steady::until("every path meets its SLA for 5 s", STEADY_LIMIT, MET_FOR, self.stop, look)
    }
}
