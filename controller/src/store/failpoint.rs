//! Named places in the store's writer where a test may end the process. Nothing is installed in a controller.

use std::sync::OnceLock;

type Hook = Box<dyn Fn(&str) + Send + Sync>;

static HOOK: OnceLock<Hook> = OnceLock::new();

/// Every place, in the order in which a write passes them.
pub const ALL: [&str; 7] = [
    "write-begun",
    "write-applied",
    "write-flushed",
    "write-synced",
    "export-begun",
    "export-written",
    "export-named",
];

/// Calls this at each place from now on; once per process.
pub fn install(hook: impl Fn(&str) + Send + Sync + 'static) {
    // A second one is a mistake of the test, and the first stands.
    let _ = HOOK.set(Box::new(hook));
}

pub(super) fn pass(place: &str) {
    if let Some(hook) = HOOK.get() {
        hook(place);
    }
}
