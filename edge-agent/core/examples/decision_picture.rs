//! Draws one decision of the real state machines over modelled links: `decision_picture > docs/images/decision.svg`.

#[path = "../tests/sim/mod.rs"]
mod sim;

use hawser_edge_core::config::SlaLimits;
use hawser_edge_core::time::Micros;
use sim::{PathSpec, World, ms};

/// Milliseconds drawn, before and after the fault.
const BEFORE_MS: i64 = 120;
const AFTER_MS: i64 = 380;
const LEFT: i64 = 90;
const SCALE: f64 = 1.5;

#[derive(Default)]
struct Seen {
    /// When each probe of the first path left, and when losses were known; in ms after the fault.
    sent: Vec<i64>,
    overdue: Vec<i64>,
    moved: Option<(i64, String)>,
}

fn main() {
    let paths = [(20, 0), (35, 1)].map(|(rtt_ms, preference)| PathSpec { rtt_ms, preference });
    let limits = SlaLimits { max_loss_ppm: 10_000, ..SlaLimits::default() };
    let mut world = World::new(&paths, limits, ms(10_000), 11);
    world.run_for(ms(20_000));
    let fault = world.now;
    let mut seen = Seen::default();
    let mut before = world.ends[0].sessions[0].counters();
    let decided = world.ends[0].decisions.len();
    for step in -BEFORE_MS..AFTER_MS {
        if step == 0 {
            world.fault(0, true);
        }
        let at = Micros(fault.0 + ((step + BEFORE_MS) * 1_000) as u64);
        world.run_until(at, |_| false);
        let now = world.ends[0].sessions[0].counters();
        (before.sent..now.sent).for_each(|_| seen.sent.push(step));
        (before.lost..now.lost).for_each(|_| seen.overdue.push(step));
        before = now;
        if let Some(decision) = world.ends[0].decisions.get(decided) {
            seen.moved.get_or_insert((step, decision.summary.clone()));
        }
    }
    print!("{}", draw(&seen));
}

fn x(ms: i64) -> f64 {
    LEFT as f64 + (ms + BEFORE_MS) as f64 * SCALE
}

fn draw(seen: &Seen) -> String {
    let (moved, summary) = seen.moved.clone().expect("it moves");
    let first = seen.overdue.first().copied().expect("a probe is overdue");
    let bar = |from: i64, to: i64, y: i64, colour: &str, text: &str| {
        format!(
            "<rect x=\"{:.0}\" y=\"{y}\" width=\"{:.0}\" height=\"18\" fill=\"{colour}\"/><text x=\"{:.0}\" y=\"{}\" fill=\"#fff\">{text}</text>\n",
            x(from),
            (to - from) as f64 * SCALE,
            x(from) + 4.0,
            y + 14
        )
    };
    let mut out = format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {:.0} 230\" font-family=\"sans-serif\" font-size=\"13\">\n\
         <rect width=\"100%\" height=\"100%\" fill=\"#fff\"/>\n\
         <text x=\"20\" y=\"24\" font-weight=\"bold\">isp-a (20 ms) goes dark at 0; isp-b (35 ms) is warm. Milliseconds.</text>\n",
        x(AFTER_MS) + 20.0
    );
    for (y, name) in [(66, "probes"), (100, "known"), (136, "verdict"), (172, "traffic")] {
        out += &format!("<text x=\"20\" y=\"{y}\">{name}</text>\n");
    }
    for &at in &seen.sent {
        let colour = if at < 0 { "#2a7" } else { "#c33" };
        out += &format!("<circle cx=\"{:.0}\" cy=\"61\" r=\"5\" fill=\"{colour}\"/>\n", x(at));
    }
    for &at in &seen.overdue {
        out += &format!(
            "<path d=\"M{:.0} 91l8 8m0 -8l-8 8\" stroke=\"#c33\" stroke-width=\"2\"/>\n",
            x(at) - 4.0
        );
    }
    out += &bar(-BEFORE_MS, first, 122, "#2a7", "meets its SLA");
    out += &bar(first, moved, 122, "#c80", "suspicion");
    out += &bar(moved, AFTER_MS, 122, "#c33", "down: four in a row are overdue");
    out += &bar(-BEFORE_MS, 0, 158, "#27c", "isp-a");
    out += &bar(moved, AFTER_MS, 158, "#72c", "isp-b");
    for (at, colour) in [(0, "#c33"), (moved, "#333")] {
        out += &format!(
            "<line x1=\"{0:.0}\" y1=\"40\" x2=\"{0:.0}\" y2=\"190\" stroke=\"{colour}\" stroke-dasharray=\"4 3\"/><text x=\"{0:.0}\" y=\"206\" text-anchor=\"middle\">{at}</text>\n",
            x(at)
        );
    }
    out += &format!("<text x=\"20\" y=\"224\" fill=\"#444\">{summary}</text>\n</svg>\n");
    out
}
