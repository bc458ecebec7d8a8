//! `hawser`: the operator's command line. It asks the controller, and shows the answer to people or to programs.

#![forbid(unsafe_code)]

mod args;
mod client;
mod command;
mod context;
mod error;
mod output;
mod show;
mod time;
mod top;

use std::process::ExitCode;

use clap::Parser as _;

fn main() -> ExitCode {
    // Whoever asks for a plan reads terraform's exit codes: 2 is no error there.
    let asks_for_plan =
        std::env::args().skip(1).find(|arg| !arg.starts_with('-')).as_deref() == Some("plan");
    let args = match args::Args::try_parse() {
        Ok(args) => args,
        Err(error) if asks_for_plan && error.exit_code() != 0 => {
            // The message is all that there is to tell.
            let _ = error.print();
            return ExitCode::FAILURE;
        }
        Err(error) => error.exit(),
    };
    let output = output::Output::new(args.json);
    let plans = matches!(args.command, args::Command::Plan { .. });
    match command::run(args, &output) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) if error.exit == error::Exit::Changes => ExitCode::from(error.exit.code()),
        Err(error) => {
            output.error(&error);
            let code = if plans { error::Exit::Failed } else { error.exit };
            ExitCode::from(code.code())
        }
    }
}
