//! One screen of `top`.

use hawser_proto::agent::v1::{Decision, PathSample, PathState};
use hawser_proto::operator::v1::{Path, PathEnd, Site};

use super::{Top, View};
use crate::show::{Style, clean, sentence};
use crate::time::utc;

/// A path whose newest round trip is the chart's highest fills this character.
const BARS: [char; 8] = ['▁', '▂', '▃', '▄', '▅', '▆', '▇', '█'];
/// Lines for what moved last, below a list.
const MOVES: usize = 6;

/// A line, before it is cut to the screen's width: text, and how it is painted.
struct Line {
    text: String,
    shade: Shade,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Shade {
    Plain,
    Strong,
    Faint,
    Bad,
    Warn,
    Selected,
}

fn line(shade: Shade, text: impl Into<String>) -> Line {
    Line { text: text.into(), shade }
}

impl Top {
    /// Lines of one screen, none of them wider than it.
    pub fn frame(&mut self, style: &Style, width: usize, height: usize) -> Vec<String> {
        let mut lines = self.head();
        let foot = self.foot();
        let room = height.saturating_sub(lines.len() + 1);
        match self.view.clone() {
            View::Fleet => lines.extend(self.fleet_view(room)),
            View::Site(site) => lines.extend(self.site_view(&site, room)),
            View::Path(id) => lines.extend(self.path_view(id, width)),
        }
        lines.truncate(height.saturating_sub(1));
        while lines.len() + 1 < height {
            lines.push(line(Shade::Plain, ""));
        }
        lines.push(foot);
        lines.truncate(height);
        lines.iter().map(|line| paint(style, line, width)).collect()
    }

    fn head(&self) -> Vec<Line> {
        let s = &self.fleet.status;
        let whole = s.paths_up == s.paths && s.edges_connected == s.edges;
        let figures = format!(
            "{}  revision {}  edges {}/{}  paths {}/{}",
            clean(&s.fleet),
            s.revision,
            s.edges_connected,
            s.edges,
            s.paths_up,
            s.paths
        );
        let clock = utc(self.fleet.unix_ms);
        let clock = clock.get(11..19).unwrap_or_default();
        let shade = if whole { Shade::Strong } else { Shade::Bad };
        let mut lines = vec![line(shade, format!("hawser  {figures}  {clock} UTC"))];
        if let Some(trouble) = &self.trouble {
            lines.push(line(Shade::Bad, format!("This is old: {}", clean(trouble))));
        }
        lines.push(line(Shade::Plain, ""));
        lines
    }

    fn foot(&self) -> Line {
        let keys = match self.view {
            View::Fleet => "↑↓ choose   Enter look into it   q end",
            View::Site(_) => "↑↓ choose   Enter look into it   Esc back   q end",
            View::Path(_) => "Esc back   q end",
        };
        line(Shade::Faint, keys)
    }

    fn fleet_view(&mut self, room: usize) -> Vec<Line> {
        let mut lines = vec![line(
            Shade::Faint,
            row(&["", "SITE", "ROLE", "EDGES", "PATHS UP", "CARRIED BY"], &SITE),
        )];
        let rows: Vec<Line> = self.fleet.sites.iter().map(|site| self.site_row(site)).collect();
        lines.extend(self.list(rows, room.saturating_sub(MOVES + 3)));
        lines.extend(moves(self.fleet.decisions.iter()));
        lines
    }

    fn site_row(&self, site: &Site) -> Line {
        let sum = |of: fn(&hawser_proto::operator::v1::EdgeStatus) -> u32| {
            site.edges.iter().map(of).sum::<u32>()
        };
        let (up, all) = (sum(|e| e.paths_up), sum(|e| e.paths));
        let connected = site.edges.iter().filter(|edge| edge.connected).count();
        let used: Vec<String> = self
            .paths_of(&site.name)
            .into_iter()
            .filter_map(|path| used_from(path, &site.name))
            .collect();
        let (mark, shade) = match (up, connected) {
            (0, _) if all > 0 => ("✕", Shade::Bad),
            (up, _) if up < all => ("▲", Shade::Warn),
            (_, n) if n < site.edges.len() => ("▲", Shade::Warn),
            _ => ("●", Shade::Plain),
        };
        let cells = [
            mark,
            &clean(&site.name),
            &clean(&site.role),
            &format!("{connected}/{}", site.edges.len()),
            &format!("{up}/{all}"),
            &used.join(", "),
        ];
        line(shade, row(&cells, &SITE))
    }

    fn site_view(&mut self, site: &str, room: usize) -> Vec<Line> {
        let header = ["", "PATH", "STATE", "RTT", "JITTER", "LOSS →", "LOSS ←", "CARRIES"];
        let mut lines =
            vec![line(Shade::Strong, clean(site)), line(Shade::Faint, row(&header, &PATH))];
        let rows = self.paths_of(site).into_iter().map(|path| path_row(path, site)).collect();
        lines.extend(self.list(rows, room.saturating_sub(MOVES + 4)));
        let here = |d: &&Decision| self.site_of(&d.edge) == site;
        lines.extend(moves(self.fleet.decisions.iter().filter(here)));
        lines
    }

    fn path_view(&self, id: u32, width: usize) -> Vec<Line> {
        let Some(path) = self.fleet.paths.iter().find(|path| path.id == id) else {
            return vec![line(Shade::Bad, format!("path {id} is gone"))];
        };
        let (mark, word, shade) = state(path);
        let mut lines = vec![
            line(
                Shade::Strong,
                format!("{} — {}", end_name(path.a.as_ref()), end_name(path.b.as_ref())),
            ),
            line(shade, format!("{mark} {word}")),
            line(Shade::Plain, ""),
            line(
                Shade::Faint,
                row(&["SEEN BY", "RTT", "P95", "JITTER", "LOSS OUT", "LOSS IN", "MOS"], &END),
            ),
        ];
        lines.extend([path.a.as_ref(), path.b.as_ref()].into_iter().flatten().map(end_row));
        let trend = self.trends.get(&id);
        let known: Vec<Option<u32>> = trend.into_iter().flatten().copied().collect();
        let most = known.iter().flatten().max().copied().unwrap_or(0);
        lines.push(line(Shade::Plain, ""));
        lines.push(line(
            Shade::Faint,
            format!("Round trip, highest {}; ✕ is down", milliseconds(Some(most))),
        ));
        lines.push(line(shade, chart(&known, most, width)));
        lines.push(line(Shade::Plain, ""));
        let here = |d: &&Decision| d.from_path_id == id || d.to_path_id == id;
        lines.extend(moves(self.fleet.decisions.iter().filter(here)));
        lines
    }

    fn site_of(&self, edge: &str) -> &str {
        let of = |site: &&Site| site.edges.iter().any(|e| e.name == edge);
        self.fleet.sites.iter().find(of).map_or("", |site| &site.name)
    }

    /// What fits, with the selected one in it.
    fn list(&mut self, mut rows: Vec<Line>, room: usize) -> Vec<Line> {
        let room = room.max(1);
        self.rows_shown = room;
        if let Some(selected) = rows.get_mut(self.selected) {
            selected.shade = Shade::Selected;
        }
        let first = (self.selected + 1).saturating_sub(room);
        rows.into_iter().skip(first).take(room).collect()
    }
}

const SITE: [usize; 6] = [1, 18, 7, 6, 9, 0];
const PATH: [usize; 8] = [1, 34, 11, 9, 8, 8, 8, 0];
const END: [usize; 7] = [24, 9, 9, 8, 9, 9, 0];

/// Cells in columns of that width; the last takes what is left.
fn row(cells: &[&str], widths: &[usize]) -> String {
    let padded = cells.iter().zip(widths).map(|(cell, width)| {
        let blank = width.saturating_sub(cell.chars().count());
        let kept: String =
            if *width > 0 { cell.chars().take(*width).collect() } else { (*cell).to_owned() };
        format!("{kept}{}", " ".repeat(blank))
    });
    padded.collect::<Vec<_>>().join("  ").trim_end().to_owned()
}

fn path_row(path: &Path, site: &str) -> Line {
    let a_here = path.a.as_ref().is_some_and(|end| end.site == site);
    let (own, peer) = if a_here { (&path.a, &path.b) } else { (&path.b, &path.a) };
    let uplink = own.as_ref().map(|end| clean(&end.uplink)).unwrap_or_default();
    let name = format!("{uplink} → {}", end_name(peer.as_ref()));
    let (mark, word, shade) = state(path);
    let sample = own.as_ref().and_then(sample);
    let cells = [
        mark,
        &name,
        word,
        &milliseconds(sample.map(|s| s.rtt_us)),
        &milliseconds(sample.map(|s| s.jitter_us)),
        &percent(sample.map(|s| s.loss_tx_ppm)),
        &percent(sample.map(|s| s.loss_rx_ppm)),
        &own.as_ref().map(classes).unwrap_or_default(),
    ];
    line(shade, row(&cells, &PATH))
}

fn end_row(end: &PathEnd) -> Line {
    let sample = sample(end);
    let mos = sample.map(|s| s.mos_milli).filter(|mos| *mos > 0);
    let cells = [
        &format!("{} {}", clean(&end.edge), clean(&end.uplink)),
        &milliseconds(sample.map(|s| s.rtt_us)),
        &milliseconds(sample.map(|s| s.rtt_p95_us)),
        &milliseconds(sample.map(|s| s.jitter_us)),
        &percent(sample.map(|s| s.loss_tx_ppm)),
        &percent(sample.map(|s| s.loss_rx_ppm)),
        &mos.map_or_else(|| "-".to_owned(), |mos| format!("{:.2}", f64::from(mos) / 1_000.0)),
    ];
    line(Shade::Plain, row(&cells.map(String::as_str), &END))
}

fn moves<'a>(decisions: impl Iterator<Item = &'a Decision>) -> Vec<Line> {
    let mut lines = vec![line(Shade::Plain, ""), line(Shade::Faint, "LAST MOVES")];
    lines.extend(decisions.take(MOVES).map(|d| {
        let at = utc(d.unix_ms);
        let at = at.get(11..19).unwrap_or_default();
        line(
            Shade::Plain,
            format!("{at}  {} {}  {}", clean(&d.edge), clean(&d.traffic_class), sentence(d)),
        )
    }));
    lines
}

/// Shape, word, shade: a state is told by more than its colour.
fn state(path: &Path) -> (&'static str, &'static str, Shade) {
    match path.state() {
        PathState::Down => ("✕", "down", Shade::Bad),
        PathState::Up if violates(path) => ("▲", "misses SLA", Shade::Warn),
        PathState::Up => ("●", "up", Shade::Plain),
        PathState::Connecting | PathState::Unspecified => ("○", "connecting", Shade::Faint),
    }
}

fn violates(path: &Path) -> bool {
    let samples = [&path.a, &path.b].into_iter().flatten().filter_map(|end| end.sample.as_ref());
    samples.flat_map(|sample| &sample.verdicts).any(|verdict| !verdict.meets)
}

fn sample(end: &PathEnd) -> Option<&PathSample> {
    end.sample.as_ref().filter(|sample| sample.state() == PathState::Up)
}

pub(super) fn rtt_us(path: &Path) -> Option<u32> {
    let up = path.state() == PathState::Up;
    let samples = [&path.a, &path.b].into_iter().flatten().filter_map(sample);
    samples.map(|sample| sample.rtt_us).find(|rtt| up && *rtt > 0)
}

fn classes(end: &PathEnd) -> String {
    let sample = end.sample.as_ref();
    sample.map(|sample| clean(&sample.selected_for.join(", "))).unwrap_or_default()
}

fn used_from(path: &Path, site: &str) -> Option<String> {
    let ends = [(&path.a, &path.b), (&path.b, &path.a)];
    let (own, peer) =
        ends.into_iter().find(|(own, _)| own.as_ref().is_some_and(|e| e.site == site))?;
    let own =
        own.as_ref().filter(|end| path.state() == PathState::Up && !classes(end).is_empty())?;
    Some(format!("{} → {}", clean(&own.uplink), end_name(peer.as_ref())))
}

fn end_name(end: Option<&PathEnd>) -> String {
    end.map_or_else(|| "?".to_owned(), |end| format!("{} {}", clean(&end.site), clean(&end.uplink)))
}

/// The newest at the right.
fn chart(known: &[Option<u32>], most: u32, width: usize) -> String {
    let shown = known.len().min(width);
    let bar = |value: &Option<u32>| match value {
        None => '✕',
        Some(value) => {
            let level = u64::from(*value) * (BARS.len() as u64 - 1) / u64::from(most.max(1));
            BARS[usize::try_from(level).unwrap_or(0).min(BARS.len() - 1)]
        }
    };
    known[known.len() - shown..].iter().map(bar).collect()
}

fn milliseconds(us: Option<u32>) -> String {
    us.map_or_else(|| "-".to_owned(), |us| format!("{:.1} ms", f64::from(us) / 1_000.0))
}

fn percent(ppm: Option<u32>) -> String {
    match ppm {
        None => "-".to_owned(),
        Some(0) => "0 %".to_owned(),
        Some(ppm) => format!("{:.1} %", (f64::from(ppm) / 10_000.0).max(0.1)),
    }
}

fn paint(style: &Style, line: &Line, width: usize) -> String {
    let mut text: String = line.text.chars().take(width).collect();
    if line.shade == Shade::Selected {
        // The whole line.
        let blank = width.saturating_sub(text.chars().count());
        text.push_str(&" ".repeat(blank));
        return style.reversed(&text);
    }
    match line.shade {
        Shade::Strong => style.strong(&text),
        Shade::Faint => style.faint(&text),
        Shade::Bad => style.bad(&text),
        Shade::Warn => style.middling(&text),
        Shade::Plain | Shade::Selected => text,
    }
}
