//! `top`: the fleet, a site, a path, live in a terminal. Pure: what came in and which key was pressed go in, a screen of
//! text comes out.

mod frame;
#[cfg(test)]
mod tests;

use std::collections::{BTreeMap, VecDeque};

use hawser_proto::agent::v1::Decision;
use hawser_proto::operator::v1::{GetStatusResponse, Path, Site};

/// Samples of each path that are remembered for its small chart.
const REMEMBERED: usize = 120;

/// What the controller told at one moment.
#[derive(Debug, Clone, Default)]
pub struct Fleet {
    pub status: GetStatusResponse,
    pub sites: Vec<Site>,
    pub paths: Vec<Path>,
    /// Newest first.
    pub decisions: Vec<Decision>,
    pub unix_ms: u64,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Key {
    Up,
    Down,
    PageUp,
    PageDown,
    Enter,
    Back,
    Quit,
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum View {
    Fleet,
    Site(String),
    Path(u32),
}

/// Where somebody is, and how they came there.
#[derive(Debug)]
pub struct Top {
    fleet: Fleet,
    /// Why what is shown is old.
    trouble: Option<String>,
    view: View,
    selected: usize,
    /// Views above this one, each with what was selected in it.
    above: Vec<(View, usize)>,
    /// Round trips by path, oldest first; `None`: it was not up.
    trends: BTreeMap<u32, VecDeque<Option<u32>>>,
    rows_shown: usize,
}

impl Default for Top {
    fn default() -> Self {
        Self {
            fleet: Fleet::default(),
            trouble: None,
            view: View::Fleet,
            selected: 0,
            above: Vec::new(),
            trends: BTreeMap::new(),
            rows_shown: 10,
        }
    }
}

impl Top {
    pub fn take(&mut self, fleet: Fleet) {
        self.trends.retain(|id, _| fleet.paths.iter().any(|path| path.id == *id));
        for path in &fleet.paths {
            let trend = self.trends.entry(path.id).or_default();
            trend.push_back(frame::rtt_us(path));
            if trend.len() > REMEMBERED {
                trend.pop_front();
            }
        }
        self.fleet = fleet;
        self.trouble = None;
        self.clamp();
    }

    /// The controller did not answer: what it told before stays.
    pub fn trouble(&mut self, what: String) {
        self.trouble = Some(what);
    }

    /// False: it is to end.
    pub fn press(&mut self, key: Key) -> bool {
        match key {
            Key::Quit => return false,
            Key::Up => self.selected = self.selected.saturating_sub(1),
            Key::Down => self.selected += 1,
            Key::PageUp => self.selected = self.selected.saturating_sub(self.rows_shown),
            Key::PageDown => self.selected += self.rows_shown,
            Key::Enter => self.enter(),
            Key::Back => match self.above.pop() {
                Some((view, selected)) => (self.view, self.selected) = (view, selected),
                None => return false,
            },
        }
        self.clamp();
        true
    }

    fn enter(&mut self) {
        let below = match &self.view {
            View::Fleet => self.fleet.sites.get(self.selected).map(|s| View::Site(s.name.clone())),
            View::Site(site) => {
                self.paths_of(site).get(self.selected).map(|path| View::Path(path.id))
            }
            View::Path(_) => None,
        };
        if let Some(below) = below {
            let here = std::mem::replace(&mut self.view, below);
            self.above.push((here, self.selected));
            self.selected = 0;
        }
    }

    fn clamp(&mut self) {
        let rows = match &self.view {
            View::Fleet => self.fleet.sites.len(),
            View::Site(site) => self.paths_of(site).len(),
            View::Path(_) => 0,
        };
        self.selected = self.selected.min(rows.saturating_sub(1));
    }

    fn paths_of(&self, site: &str) -> Vec<&Path> {
        let here = |path: &&Path| {
            [&path.a, &path.b].iter().any(|e| e.as_ref().is_some_and(|e| e.site == site))
        };
        self.fleet.paths.iter().filter(here).collect()
    }
}
