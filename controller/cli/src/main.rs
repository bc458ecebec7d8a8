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

use std::process::ExitCode;

use clap::Parser as _;

fn main() -> ExitCode {
    let args = args::Args::parse();
    let output = output::Output::new(args.json);
    match command::run(args, &output) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            output.error(&error);
            ExitCode::from(error.exit.code())
        }
    }
}
