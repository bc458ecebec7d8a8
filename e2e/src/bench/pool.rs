//! Runs shared out among workers: each takes the next that nobody has begun, and repeats it until it counts.

use super::plan::What;
use super::run::Run;
use super::stop::Stop;
use crate::fleet::FleetError;
use std::collections::{BTreeMap, VecDeque};
use std::sync::Mutex;
use std::sync::mpsc::Sender;

/// A worker that fails so often in a row does not go on.
const FAILURES: u32 = 3;

/// One run to be made.
#[derive(Clone, Copy, Debug)]
pub(super) struct Ticket {
    pub what: What,
    /// From 0, for what takes turns.
    pub number: usize,
}

/// What a worker tells.
#[derive(Debug)]
pub(super) enum News {
    /// It counts.
    Done(What, Run),
    /// It is made again, for this reason.
    Repeated(What, Run, String),
    /// There is no run: why.
    Failed(What, String),
}

pub(super) struct Pool<'a> {
    waiting: Mutex<Waiting>,
    stop: &'a Stop,
}

struct Waiting {
    tickets: VecDeque<Ticket>,
    /// One run in five may be repeated.
    repeats_left: BTreeMap<What, usize>,
}

impl<'a> Pool<'a> {
    /// So many runs of each, in this order.
    pub(super) fn new(wanted: &[(What, usize)], stop: &'a Stop) -> Self {
        let tickets = wanted
            .iter()
            .flat_map(|&(what, runs)| (0..runs).map(move |number| Ticket { what, number }));
        let repeats_left = wanted.iter().map(|&(what, runs)| (what, runs / 5)).collect();
        let waiting = Waiting { tickets: tickets.collect(), repeats_left };
        Self { waiting: Mutex::new(waiting), stop }
    }

    /// Makes runs until none is left, or `make` fails too often.
    pub(super) fn work(
        &self,
        told: &Sender<News>,
        mut make: impl FnMut(Ticket) -> Result<Run, FleetError>,
    ) {
        let mut failures = 0;
        while let Some(ticket) = self.take() {
            match make(ticket) {
                Err(_) if self.stop.is_set() => return,
                Ok(run) => {
                    failures = 0;
                    self.judge(ticket, run, told);
                }
                Err(error) => {
                    failures += 1;
                    self.give_back(ticket);
                    say(told, News::Failed(ticket.what, error.line()));
                    if failures == FAILURES {
                        return;
                    }
                }
            }
        }
    }

    /// Whether a run counts. A void one never does.
    fn judge(&self, ticket: Ticket, run: Run, told: &Sender<News>) {
        let again = run.spoiled().filter(|_| self.may_repeat(ticket.what));
        match again {
            Some(why) => {
                self.give_back(ticket);
                say(told, News::Repeated(ticket.what, run, why));
            }
            None if run.void => {
                say(told, News::Failed(ticket.what, format!("{}: it hit nothing", run.story)));
            }
            None => say(told, News::Done(ticket.what, run)),
        }
    }

    fn take(&self) -> Option<Ticket> {
        if self.stop.is_set() {
            return None;
        }
        self.waiting.lock().ok()?.tickets.pop_front()
    }

    fn give_back(&self, ticket: Ticket) {
        if let Ok(mut waiting) = self.waiting.lock() {
            waiting.tickets.push_front(ticket);
        }
    }

    fn may_repeat(&self, what: What) -> bool {
        let Ok(mut waiting) = self.waiting.lock() else { return false };
        let left = waiting.repeats_left.entry(what).or_default();
        let may = *left > 0;
        *left = left.saturating_sub(1);
        may
    }
}

fn say(told: &Sender<News>, news: News) {
    // The main thread listens as long as a worker lives.
    let _ = told.send(news);
}
