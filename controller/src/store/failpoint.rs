//! Named places in the store's writer where a test may end the process, or that store alone. Nothing is installed in a controller.

use std::path::Path;
use std::sync::OnceLock;

type Hook = Box<dyn Fn(&str, &Path) + Send + Sync>;

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

/// Calls this at each place from now on, with the place and the folder of the store's exports; once per process. A panic ends the store.
pub fn install(hook: impl Fn(&str, &Path) + Send + Sync + 'static) {
    // A second one is a mistake of the test, and the first stands.
    let _ = HOOK.set(Box::new(hook));
}

pub(super) fn pass(place: &str, exports: &Path) {
    if let Some(hook) = HOOK.get() {
        hook(place, exports);
    }
}
