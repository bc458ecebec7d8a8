use std::process::ExitCode;

use hawser_edge::cli;

fn main() -> ExitCode {
    cli::main(|_state_dir, _args| {
        let error = std::io::Error::other("this build has no engine yet");
        cli::complain("NO_ENGINE", &error, "");
        cli::EXIT_FAILED.into()
    })
}
