//! What the operator sees of the runs, and the report that grows with them.

use super::outcome::Outcome;
use super::plan::{Order, What};
use super::pool::News;
use super::report::Report;
use crate::report;
use crate::screen::Screen;
use std::time::{Duration, Instant};

/// An interrupted benchmark loses no more than this.
const SAVE_EACH: Duration = Duration::from_secs(15);

pub(super) struct Board<'a> {
    pub order: &'a Order,
    pub screen: &'a Screen,
    pub outcome: Outcome,
    /// Whether to write the report as it grows.
    pub saves: bool,
    saved: Instant,
}

impl<'a> Board<'a> {
    pub(super) fn new(order: &'a Order, screen: &'a Screen, saves: bool) -> Self {
        Self { order, screen, outcome: Outcome::default(), saves, saved: Instant::now() }
    }

    pub(super) fn hear(&mut self, news: News, host_stall_max_ms: f64) {
        let (what, done, good, text) = match &news {
            News::Done(what, run) => (*what, 1, run.value.is_some(), run.story.clone()),
            News::Repeated(what, run, why) => {
                (*what, 0, false, format!("{}  {why}: again", run.story))
            }
            News::Failed(what, why) => (*what, 0, false, format!("{}: {why}", what.name())),
        };
        let wanted = self.order.runs.get(&what).copied().unwrap_or(0);
        let step = self.screen.step(&format!("{} of {wanted}", self.outcome.of(what).len() + done));
        step.told(good, &text);
        self.outcome.hear(news);
        self.outcome.host_stall_max_ms = host_stall_max_ms;
        if self.saves && self.saved.elapsed() >= SAVE_EACH {
            // The last one counts, and says what is wrong with it.
            let _ = report::write("selection", &Report::of(&self.outcome, self.order));
            self.saved = Instant::now();
        }
    }

    /// None of these could be measured.
    pub(super) fn fail(&mut self, wanted: &[(What, usize)], why: &str) {
        self.screen.bad(why);
        for (what, _) in wanted {
            self.outcome.fail(*what, why.to_owned());
        }
    }
}
