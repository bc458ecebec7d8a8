//! Traces: what belongs together across processes, and how long each part took.
//!
//! A context travels as a W3C `traceparent`. Spans are told when they end; where nobody collects them they cost nothing
//! but their contexts.

use std::fmt;
use std::sync::Arc;
use std::time::SystemTime;

use ring::rand::{SecureRandom as _, SystemRandom};

use crate::otlp::Queue;

/// A span's place in a trace (W3C Trace Context, section 3.2).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct TraceContext {
    pub(crate) trace: [u8; 16],
    pub(crate) span: [u8; 8],
}

impl TraceContext {
    /// The root of a new trace.
    pub fn root() -> Self {
        TraceContext { trace: random(), span: random() }
    }

    /// Another span of the same trace.
    pub fn child(&self) -> Self {
        TraceContext { trace: self.trace, span: random() }
    }

    /// From a `traceparent`; `None` if it is none. Versions after 00 may go on behind the flags.
    pub fn parse(text: &str) -> Option<Self> {
        let mut parts = text.trim().split('-');
        let (version, trace, span, flags) =
            (parts.next()?, parts.next()?, parts.next()?, parts.next()?);
        let version: [u8; 1] = from_hex(version)?;
        let _flags: [u8; 1] = from_hex(flags)?;
        let context = TraceContext { trace: from_hex(trace)?, span: from_hex(span)? };
        let known = version[0] != 0xff && (version[0] != 0 || parts.next().is_none());
        (known && context.trace != [0; 16] && context.span != [0; 8]).then_some(context)
    }

    /// 32 hexadecimal digits.
    pub fn trace_id(&self) -> String {
        hex(&self.trace)
    }
}

/// As a `traceparent`, sampled.
impl fmt::Display for TraceContext {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "00-{}-{}-01", hex(&self.trace), hex(&self.span))
    }
}

fn hex(octets: &[u8]) -> String {
    octets.iter().map(|octet| format!("{octet:02x}")).collect()
}

fn from_hex<const N: usize>(text: &str) -> Option<[u8; N]> {
    // Lower case only: section 3.2.2.
    let lower = |c: u8| c.is_ascii_digit() || (b'a'..=b'f').contains(&c);
    if text.len() != 2 * N || !text.bytes().all(lower) {
        return None;
    }
    let mut octets = [0; N];
    for (octet, digits) in octets.iter_mut().zip(text.as_bytes().chunks_exact(2)) {
        *octet = u8::from_str_radix(std::str::from_utf8(digits).ok()?, 16).ok()?;
    }
    Some(octets)
}

fn random<const N: usize>() -> [u8; N] {
    let mut octets = [0; N];
    // All zeros name nothing; and without random numbers TLS would not work either.
    while octets == [0; N] && SystemRandom::new().fill(&mut octets).is_ok() {}
    octets
}

/// A span that has ended.
#[derive(Debug, Clone, PartialEq)]
pub struct Span {
    pub context: TraceContext,
    pub parent: Option<TraceContext>,
    pub name: &'static str,
    pub start: SystemTime,
    pub end: SystemTime,
    pub attributes: Vec<(&'static str, String)>,
    /// Why it failed.
    pub error: Option<String>,
}

/// The attribute that every span has.
const FLEET: &str = "fleet";

/// Where spans of a fleet are told. By default nowhere.
#[derive(Debug, Clone, Default)]
pub struct Spans {
    queue: Option<Queue<Span>>,
    fleet: Arc<str>,
}

impl Spans {
    pub(crate) fn new(queue: Option<Queue<Span>>, fleet: &str) -> Self {
        Spans { queue, fleet: fleet.into() }
    }

    /// The same, of another fleet of this process.
    pub fn of_fleet(&self, fleet: &str) -> Self {
        Spans { queue: self.queue.clone(), fleet: fleet.into() }
    }

    /// Somebody collects them.
    pub fn are_collected(&self) -> bool {
        self.queue.is_some()
    }

    /// Starts one now; without a parent it is the root of a new trace.
    pub fn open(&self, name: &'static str, parent: Option<TraceContext>) -> OpenSpan {
        let context = parent.map_or_else(TraceContext::root, |parent| parent.child());
        let now = SystemTime::now();
        let (attributes, error) = (Vec::new(), None);
        let span = Span { context, parent, name, start: now, end: now, attributes, error };
        OpenSpan { span, spans: self.clone() }
    }

    /// Tells one that has ended.
    pub fn tell(&self, mut span: Span) {
        if let Some(queue) = &self.queue {
            span.attributes.push((FLEET, self.fleet.to_string()));
            queue.push(span);
        }
    }
}

/// A span that goes on. Dropped without an end it is not told.
#[derive(Debug)]
#[must_use]
pub struct OpenSpan {
    span: Span,
    spans: Spans,
}

impl OpenSpan {
    pub fn context(&self) -> TraceContext {
        self.span.context
    }

    /// Of what is collected: a name of its own, bounded in length by its maker.
    pub fn attribute(mut self, name: &'static str, value: impl Into<String>) -> Self {
        self.span.attributes.push((name, value.into()));
        self
    }

    /// It ends now, as the result says.
    pub fn end<E: fmt::Display>(mut self, result: Result<(), E>) {
        self.span.end = SystemTime::now();
        self.span.error = result.err().map(|error| error.to_string());
        self.spans.tell(self.span);
    }

    /// It ends now, well.
    pub fn done(self) {
        self.end(Ok::<(), &str>(()));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_traceparent_is_read_as_it_is_written() {
        let context = TraceContext::root().child();
        assert_eq!(TraceContext::parse(&context.to_string()), Some(context));
        let known = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";
        let context = TraceContext::parse(known).expect("the standard's example");
        assert_eq!(context.trace_id(), "4bf92f3577b34da6a3ce929d0e0e4736");
        assert_eq!(context.to_string(), known);
    }

    #[test]
    fn what_is_no_traceparent_is_refused() {
        for (text, why) in [
            ("", "empty"),
            ("00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7", "no flags"),
            ("00-4BF92F3577B34DA6A3CE929D0E0E4736-00f067aa0ba902b7-01", "upper case"),
            ("00-00000000000000000000000000000000-00f067aa0ba902b7-01", "trace of zeros"),
            ("00-4bf92f3577b34da6a3ce929d0e0e4736-0000000000000000-01", "span of zeros"),
            ("ff-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01", "version ff"),
            ("00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01-x", "more than 00 has"),
            ("00-4bf92f3577b34da6a3ce929d0e0e473-00f067aa0ba902b77-01", "wrong lengths"),
        ] {
            assert_eq!(TraceContext::parse(text), None, "{why}");
        }
        let later = "01-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01-more";
        assert!(TraceContext::parse(later).is_some(), "a later version may say more");
    }

    #[test]
    fn children_share_the_trace_and_nothing_else() {
        let spans = Spans::default();
        let parent = spans.open("parent", None);
        let child = spans.open("child", Some(parent.context()));
        assert_eq!(child.context().trace, parent.context().trace);
        assert_ne!(child.context().span, parent.context().span);
        assert_eq!(child.span.parent, Some(parent.context()));
        child.done();
    }
}
