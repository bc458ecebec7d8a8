//! The controller's process.

#![deny(unsafe_code)]

/// Thousands of streams come and go: the system's allocator leaves holes after them, and takes longer.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// `mi_option_purge_delay`, which the binding has no name for.
const PURGE_DELAY: i32 = 15;
/// Longer than between two scrapes. A large fleet's scrape needs 10 MiB for a moment; memory that went back to the system
/// meanwhile comes back as huge pages to be zeroed, which was half of what a scrape cost.
const PURGE_DELAY_MS: std::ffi::c_long = 60_000;

fn main() -> std::process::ExitCode {
    keep_memory();
    hawser_controller::command::main()
}

#[allow(unsafe_code)]
fn keep_memory() {
    // SAFETY: it stores a number in an option of the allocator that is in use; nothing else runs yet.
    unsafe { libmimalloc_sys::mi_option_set(PURGE_DELAY, PURGE_DELAY_MS) };
}

#[cfg(test)]
mod tests {
    /// Another version may number them otherwise.
    #[test]
    #[allow(unsafe_code)]
    fn the_option_is_the_one_that_is_meant() {
        // SAFETY: as above; this test is alone in its binary.
        let get = || unsafe { libmimalloc_sys::mi_option_get(super::PURGE_DELAY) };
        assert_eq!(get(), 1_000, "its default");
        super::keep_memory();
        assert_eq!(get(), super::PURGE_DELAY_MS);
    }
}
