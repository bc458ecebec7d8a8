//! The controller's process.

#![forbid(unsafe_code)]

fn main() -> std::process::ExitCode {
    hawser_controller::command::main()
}
