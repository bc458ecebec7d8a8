//! What is told of traces: a generation's way into force, and a class's way from a bad probe to another path.

use std::time::SystemTime;

use hawser_edge_core::config::Fault;
use hawser_edge_core::generation::GenerationId;
use hawser_edge_core::select::Decision;
use hawser_edge_core::time::Micros;
use hawser_telemetry::{OpenSpan, Span, Spans, TraceContext};

use super::Engine;

/// Of one order: the whole of it, and the part that goes on.
pub(super) struct ApplySpans {
    whole: OpenSpan,
    part: OpenSpan,
}

impl ApplySpans {
    /// `trace`: the push that brought it.
    pub(super) fn open(spans: &Spans, trace: Option<TraceContext>, id: GenerationId) -> Self {
        let whole = spans.open("generation.apply", trace);
        let whole = whole.attribute("hawser.generation", id.to_string());
        let part = spans.open("generation.plan", Some(whole.context()));
        ApplySpans { whole, part }
    }

    /// The host was looked at, and guards what must not leak; now the rest.
    pub(super) fn planned(self, spans: &Spans) -> Self {
        self.part.done();
        let part = spans.open("generation.enact", Some(self.whole.context()));
        ApplySpans { part, ..self }
    }

    pub(super) fn applied(self) {
        self.part.done();
        self.whole.done();
    }

    pub(super) fn refused(self, faults: &[Fault]) {
        let codes: Vec<&str> = faults.iter().map(|fault| fault.code).collect();
        let why = codes.join(", ");
        self.part.end(Err(&why));
        self.whole.end(Err(&why));
    }
}

impl Engine {
    /// From the first bad probe of the path that was left, if that was the reason, until the table had the new choice.
    /// Returns the trace's ID; empty: nobody collects traces.
    pub(super) fn trace_reselection(
        &self,
        decision: &Decision,
        swapped: Micros,
        peer_edge: &str,
    ) -> String {
        if !self.spans.are_collected() {
            return String::new();
        }
        let root = TraceContext::root();
        let trouble = decision.from.filter(|_| decision.cause.for_damage());
        let trouble = trouble.and_then(|path| self.paths.get(&path)?.monitor.trouble_since());
        let begun = trouble.unwrap_or(decision.at).min(decision.at);
        let name = |path: Option<_>| path.map_or_else(String::new, |path| self.path_name(path));
        let whole = Span {
            context: root,
            parent: None,
            name: "path.reselect",
            start: self.wall(begun),
            end: self.wall(swapped),
            attributes: vec![
                ("hawser.peer.edge", peer_edge.to_owned()),
                ("hawser.class", decision.class_name.clone()),
                ("hawser.cause", decision.cause.code().to_owned()),
                ("hawser.path.from", name(decision.from)),
                ("hawser.path.to", name(decision.to)),
                ("hawser.summary", decision.summary.clone()),
            ],
            error: None,
        };
        let parts = [("path.detect", begun, decision.at), ("table.swap", decision.at, swapped)];
        for (name, start, end) in parts {
            self.spans.tell(Span {
                context: root.child(),
                parent: Some(root),
                name,
                start: self.wall(start),
                end: self.wall(end),
                attributes: Vec::new(),
                error: None,
            });
        }
        self.spans.tell(whole);
        root.trace_id()
    }

    fn wall(&self, at: Micros) -> SystemTime {
        SystemTime::UNIX_EPOCH + self.clock.unix_at_start() + at.since(Micros(0))
    }
}
