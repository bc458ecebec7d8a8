//! The controller's process.

#![forbid(unsafe_code)]

/// Thousands of streams come and go: the system's allocator leaves holes after them, and takes longer.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> std::process::ExitCode {
    hawser_controller::command::main()
}
