//! Traces of changes: from the call that brings a document to each edge's answer.

use std::sync::{Mutex, OnceLock, PoisonError};

use hawser_telemetry::{OpenSpan, Spans, TraceContext};

/// Where spans go, and what pushes of the newest revision belong to.
#[derive(Debug, Default)]
pub(super) struct Traces {
    spans: OnceLock<Spans>,
    newest: Mutex<Option<(u64, TraceContext)>>,
}

impl Traces {
    /// The first call counts.
    pub(super) fn collect(&self, spans: Spans) {
        let _ = self.spans.set(spans);
    }

    pub(super) fn are_collected(&self) -> bool {
        self.spans.get().is_some_and(Spans::are_collected)
    }

    pub(super) fn open(&self, name: &'static str, parent: Option<TraceContext>) -> OpenSpan {
        self.spans.get().cloned().unwrap_or_default().open(name, parent)
    }

    /// From now on pushes of this revision are part of that trace. It is forgotten with the process.
    pub(super) fn began(&self, revision: u64, context: TraceContext) {
        *self.newest.lock().unwrap_or_else(PoisonError::into_inner) = Some((revision, context));
    }

    pub(super) fn of(&self, revision: u64) -> Option<TraceContext> {
        let newest = self.newest.lock().unwrap_or_else(PoisonError::into_inner);
        newest.filter(|(newest, _)| *newest == revision).map(|(_, context)| context)
    }
}
