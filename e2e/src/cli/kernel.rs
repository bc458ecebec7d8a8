//! `hawser-lab kernel`: the same scenarios, and a shell, inside a full kernel.

use crate::kernel::report::{self, choose, run_all};
use crate::kernel::{KernelLabError, run_inside, scenarios};
use clap::Subcommand;
use std::error::Error;
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

#[derive(Subcommand)]
pub(super) enum Kernel {
    /// Run scenarios, each in a kernel of its own; writes target/reports/kernel.json
    Run {
        /// Names; without any, all of them
        names: Vec<String>,
        /// Only those that are part of `make test`
        #[arg(long)]
        quick: bool,
    },
    /// List the scenarios
    List,
    /// A shell in a kernel
    Shell,
    /// Run a command in a kernel, and print what it said
    Exec {
        #[arg(required = true, last = true)]
        command: Vec<String>,
        #[arg(long, value_name = "SECONDS", default_value_t = 120)]
        timeout: u64,
    },
    #[command(hide = true)]
    Inside { name: String, result: PathBuf },
}

pub(super) fn run(command: Kernel) -> ExitCode {
    let done = match command {
        Kernel::Run { names, quick } => scenarios_of(&names, quick),
        Kernel::List => {
            for scenario in scenarios::ALL {
                let remark = if scenario.quick { "" } else { "  (long)" };
                println!("{}{remark}", scenario.name);
            }
            Ok(ExitCode::SUCCESS)
        }
        Kernel::Exec { command, timeout } => report::exec(command, Duration::from_secs(timeout))
            .map(|(said, code)| {
                print!("{said}");
                ExitCode::from(code)
            }),
        Kernel::Shell => report::shell().map(|()| ExitCode::SUCCESS),
        Kernel::Inside { name, result } => Ok(run_inside(&name, &result)),
    };
    done.unwrap_or_else(|error| {
        eprint!("hawser-lab: {error}");
        let mut cause = error.source();
        while let Some(error) = cause {
            eprint!(": {error}");
            cause = error.source();
        }
        eprintln!();
        ExitCode::FAILURE
    })
}

fn scenarios_of(names: &[String], quick: bool) -> Result<ExitCode, KernelLabError> {
    let chosen = choose(names, quick)?;
    let report = run_all(&chosen, |name, outcome| {
        let mark = if outcome.pass { "✓" } else { "✗" };
        println!("  {mark} {name:<32} {:>6.1} s", outcome.seconds);
        if !outcome.pass {
            println!("{:#}", outcome.details);
        }
    })?;
    let path = crate::report::write("kernel", &report)?;
    println!("{}", path.display());
    let passed = report.scenarios.values().all(|outcome| outcome.pass);
    Ok(if passed { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}
