//! Paths, each counted once, with what both ends measure.

use std::collections::BTreeSet;

use hawser_proto::agent::v1::{PathSample, PathState};
use hawser_proto::config::v1::AddressFamily;
use hawser_proto::operator::v1::{IkeTunnel, Path, PathEnd};

use super::ike::ike_tunnels;
use super::style::{Shade, Style};

pub fn paths(style: &Style, paths: &[Path], tunnels: &[IkeTunnel]) -> String {
    if paths.is_empty() && !tunnels.is_empty() {
        return ike_tunnels(style, tunnels).trim_start().to_owned();
    }
    if paths.is_empty() {
        return "There is no path: no topology joins these sites.".to_owned();
    }
    let header =
        ["PATH", "FROM", "TO", "IP", "STATE", "RTT", "JITTER", "LOSS →", "LOSS ←", "CARRIES"];
    let mut table = style.table(&header);
    for path in paths {
        let (state, shade) = state(path.state());
        let measured = Measured::of(path);
        table.add_row([
            style.cell(&path.id.to_string(), Shade::Plain),
            style.cell(&end(path.a.as_ref()), Shade::Plain),
            style.cell(&end(path.b.as_ref()), Shade::Plain),
            style.cell(family(path), Shade::Plain),
            style.cell(state, shade),
            style.cell(&milliseconds(measured.rtt_us), Shade::Plain),
            style.cell(&milliseconds(measured.jitter_us), Shade::Plain),
            style.cell(&percent(measured.loss_ab_ppm), loss_shade(measured.loss_ab_ppm)),
            style.cell(&percent(measured.loss_ba_ppm), loss_shade(measured.loss_ba_ppm)),
            style.cell(&carries(path), Shade::Plain),
        ]);
    }
    let up = paths.iter().filter(|path| path.state() == PathState::Up).count();
    let foot = style.faint(&format!("{up} of {} up", paths.len()));
    format!("{}\n\n{foot}{}", style.finish(&table), ike_tunnels(style, tunnels))
}

/// A path's figures, from whichever end has them.
pub(super) struct Measured {
    pub rtt_us: Option<u32>,
    pub jitter_us: Option<u32>,
    pub loss_ab_ppm: Option<u32>,
    pub loss_ba_ppm: Option<u32>,
}

impl Measured {
    pub fn of(path: &Path) -> Self {
        let a = sample(path.a.as_ref());
        let b = sample(path.b.as_ref());
        let some = a.or(b);
        Self {
            rtt_us: some.map(|sample| sample.rtt_us),
            jitter_us: some.map(|sample| sample.jitter_us),
            loss_ab_ppm: a.map(|s| s.loss_tx_ppm).or(b.map(|s| s.loss_rx_ppm)),
            loss_ba_ppm: a.map(|s| s.loss_rx_ppm).or(b.map(|s| s.loss_tx_ppm)),
        }
    }
}

fn sample(end: Option<&PathEnd>) -> Option<&PathSample> {
    end?.sample.as_ref().filter(|sample| sample.state() != PathState::Connecting)
}

pub(super) fn state(state: PathState) -> (&'static str, Shade) {
    match state {
        PathState::Up => ("up", Shade::Good),
        PathState::Down => ("down", Shade::Bad),
        PathState::Connecting => ("connecting", Shade::Middling),
        PathState::Unspecified => ("unknown", Shade::Faint),
    }
}

pub(super) fn family(path: &Path) -> &'static str {
    match path.family() {
        AddressFamily::Ipv4 => "4",
        AddressFamily::Ipv6 => "6",
        AddressFamily::Unspecified => "-",
    }
}

fn end(end: Option<&PathEnd>) -> String {
    end.map_or_else(|| "-".to_owned(), |end| format!("{} {}", end.edge, end.uplink))
}

/// Classes with the directions in which the path carries them.
fn carries(path: &Path) -> String {
    let of = |end: Option<&PathEnd>| -> BTreeSet<String> {
        let sample = end.and_then(|end| end.sample.as_ref());
        sample.map(|sample| sample.selected_for.iter().cloned().collect()).unwrap_or_default()
    };
    let (from_a, from_b) = (of(path.a.as_ref()), of(path.b.as_ref()));
    let arrow = |class: &String| match (from_a.contains(class), from_b.contains(class)) {
        (true, true) => "↔",
        (true, false) => "→",
        _ => "←",
    };
    let all = from_a.union(&from_b).map(|class| format!("{class} {}", arrow(class)));
    all.collect::<Vec<_>>().join(", ")
}

pub(super) fn milliseconds(us: Option<u32>) -> String {
    us.map_or_else(|| "-".to_owned(), |us| format!("{:.1} ms", f64::from(us) / 1_000.0))
}

pub(super) fn percent(ppm: Option<u32>) -> String {
    match ppm {
        None => "-".to_owned(),
        Some(0) => "0 %".to_owned(),
        Some(ppm) => format!("{:.1} %", (f64::from(ppm) / 10_000.0).max(0.1)),
    }
}

pub(super) fn loss_shade(ppm: Option<u32>) -> Shade {
    match ppm {
        Some(ppm) if ppm >= 10_000 => Shade::Bad,
        Some(ppm) if ppm > 0 => Shade::Middling,
        _ => Shade::Plain,
    }
}
