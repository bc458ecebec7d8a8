use std::process::ExitCode;

fn main() -> ExitCode {
    hawser_edge::cli::main(hawser_edge::engine::start)
}
