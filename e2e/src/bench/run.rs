//! What one run came to.

/// A machine that stood still for longer spoils a run.
pub(super) const STALL_LIMIT_MS: f64 = 50.0;

#[derive(Clone, Debug, Default)]
pub(super) struct Run {
    /// In the figure's unit; none: it never healed.
    pub value: Option<f64>,
    pub stall_ms: f64,
    /// The fault hit nothing: there is no value.
    pub void: bool,
    /// One line.
    pub story: String,
    /// Of one-way faults: the other direction used the same link, and moved.
    pub other_shared: bool,
    pub other_moved: bool,
    /// Of flapping links: moves that no fault forced.
    pub voluntary: usize,
    /// Of hubs.
    pub variant: &'static str,
}

impl Run {
    pub(super) fn new(value: Option<f64>, stall_ms: f64) -> Self {
        Self { value, stall_ms, ..Self::default() }
    }

    /// Why it should be repeated, if it should.
    pub(super) fn spoiled(&self) -> Option<String> {
        if self.void {
            return Some("the traffic had moved before".to_owned());
        }
        let stall_ms = self.stall_ms;
        (stall_ms > STALL_LIMIT_MS)
            .then(|| format!("this machine stood still for {stall_ms:.0} ms"))
    }
}
