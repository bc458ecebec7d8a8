//! `hawser-lab`, for use by hand.

mod conntrack;
mod forward;
mod kernel;
mod show;
mod tool;
pub(crate) mod wait;

use crate::lab::{Lab, LabError, Process, Sink, Task, Topology, folder};
use crate::supervisor;
use crate::wan::Impairment;
use clap::{Args, Parser, Subcommand};
use std::error::Error;
use std::os::unix::process::ExitStatusExt;
use std::path::{Path, PathBuf};
use std::process::{ExitCode, ExitStatus};
use std::sync::Arc;
use std::time::Duration;

const EXIT_CODES: &str = "\
Exit codes: 0 done; 1 the lab or the kernel failed; 2 bad usage; 3 faulty topology or impairment; 4 no such lab, node
or link; 5 not root; 124 `exec` ran into its --timeout. Else `exec` ends with the code of its command, 128 + N for
signal N.";

#[derive(Parser)]
#[command(name = "hawser-lab", version, about = "A network in a box: namespaces, and links with faults", after_help = EXIT_CODES)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Bring a lab up, and hold it until Ctrl-C
    Up(Up),
    /// Change an emulated link: `impair hq-isp-a loss_pct=5 dir=a-b`, or `impair hq-isp-a reset`
    #[command(after_help = KEYS)]
    Impair(Impair),
    /// Run a command at a node
    Exec(Exec),
    /// Take a lab down
    Down(Which),
    /// Show a lab, or list all
    Status(StatusArgs),
    /// Instruments to run at a node: packet watcher, stream sender and receiver
    #[command(subcommand)]
    Tool(tool::Tool),
    /// Scenarios, or a shell, inside a full Linux kernel that is an ordinary process
    #[command(subcommand)]
    Kernel(kernel::Kernel),
    #[command(hide = true)]
    Supervise(Supervise),
}

const KEYS: &str = "\
Keys: dir (a-b, b-a, both), delay_ms, jitter_ms, jitter (uniform, normal), jitter_reorders, loss_pct,
burst_loss_pct, burst_len, reorder_pct, reorder_hold_ms, duplicate_pct, corrupt_pct, rate_kbit (0: none), queue_ms,
queue_bytes (0: none), blackhole, carrier_down, trace (a file, or none), trace_column, trace_end (loop, hold).
What is not named stays. Times are one-way.";

#[derive(Args)]
struct Which {
    /// The lab; needed only when several run
    #[arg(long)]
    name: Option<String>,
}

#[derive(Args)]
struct Up {
    /// A description file, or one that is built in: demo, dual, hubs, nat, pair
    topology: PathBuf,
    /// Default: the topology's name
    #[arg(long)]
    name: Option<String>,
    /// Return when it is up, and leave it running
    #[arg(long)]
    detach: bool,
    /// Print the state as JSON
    #[arg(long)]
    json: bool,
}

#[derive(Args)]
struct Impair {
    link: String,
    /// KEY=VALUE words, or the word `reset`
    #[arg(required = true, value_name = "KEY=VALUE")]
    words: Vec<String>,
    #[command(flatten)]
    which: Which,
}

#[derive(Args)]
struct Exec {
    node: String,
    #[arg(required = true, last = true)]
    command: Vec<String>,
    /// Kill the command after so many seconds
    #[arg(long, value_name = "SECONDS")]
    timeout: Option<u64>,
    #[command(flatten)]
    which: Which,
}

#[derive(Args)]
struct StatusArgs {
    #[command(flatten)]
    which: Which,
    #[arg(long)]
    json: bool,
}

#[derive(Args)]
struct Supervise {
    #[arg(long)]
    name: String,
    #[arg(long)]
    folder: PathBuf,
    #[arg(long)]
    detach: bool,
}

/// Runs the program; its arguments are the process's.
#[must_use]
pub fn main() -> ExitCode {
    let done = match Cli::parse().command {
        Command::Up(args) => up(&args),
        Command::Impair(args) => impair(&args),
        Command::Exec(args) => exec(&args),
        Command::Down(args) => attach(args.name).and_then(Lab::down).map(|()| ExitCode::SUCCESS),
        Command::Status(args) => status(args),
        Command::Tool(tool) => Ok(tool::run(tool)),
        Command::Kernel(command) => Ok(kernel::run(command)),
        Command::Supervise(args) => {
            let Supervise { name, folder, detach } = args;
            Ok(supervisor::run(&supervisor::Options { name, folder, detach }))
        }
    };
    done.unwrap_or_else(|error| {
        report(&error);
        ExitCode::from(exit_code(&error))
    })
}

fn up(args: &Up) -> Result<ExitCode, LabError> {
    let topology = load(&args.topology)?;
    let name = args.name.as_deref().unwrap_or(&topology.name);
    // Before the start, or a Ctrl-C in between would be lost.
    wait::block_signals();
    let lab = if args.detach {
        Lab::up_detached(&topology, name)?
    } else {
        Lab::up_named(&topology, name)?
    };
    show::status(&lab.status()?, args.json);
    if args.detach {
        return Ok(ExitCode::SUCCESS);
    }
    if !args.json {
        println!("\nCtrl-C takes it down.");
    }
    if wait::signal_or_end(lab.folder()) {
        lab.down()?;
        return Ok(ExitCode::SUCCESS);
    }
    Err(LabError::NotRunning { name: name.to_owned() })
}

/// A file wins over a built-in topology of the same name.
fn load(path: &Path) -> Result<Topology, LabError> {
    let built_in = path.to_str().filter(|name| !path.exists() && !name.contains(['/', '.']));
    Ok(match built_in {
        Some(name) => Topology::bundled(name)?,
        None => Topology::load(path)?,
    })
}

fn impair(args: &Impair) -> Result<ExitCode, LabError> {
    let lab = attach(args.which.name.clone())?;
    if args.words == ["reset"] {
        lab.reset(&args.link)?;
    } else {
        lab.impair(&args.link, &Impairment::from_words(&args.words)?)?;
    }
    Ok(ExitCode::SUCCESS)
}

fn exec(args: &Exec) -> Result<ExitCode, LabError> {
    let lab = attach(args.which.name.clone())?;
    let (program, arguments) = args.command.split_first().expect("clap requires a command");
    let task = Task::new(program).args(arguments);
    let task = task.stdin(Sink::Inherit).stdout(Sink::Inherit).stderr(Sink::Inherit);
    wait::block_signals();
    let process = Arc::new(lab.spawn(&args.node, &task)?);
    let target = Arc::clone(&process);
    // A Ctrl-C here is meant for the command, which may have something to say before it ends.
    std::thread::spawn(move || {
        loop {
            if wait::signal_within_ms(60_000) {
                target.terminate();
            }
        }
    });
    Ok(finish(&process, args.timeout))
}

fn finish(process: &Process, timeout_s: Option<u64>) -> ExitCode {
    let status = match timeout_s {
        None => Some(process.wait()),
        Some(seconds) => process.wait_within(Duration::from_secs(seconds)),
    };
    match status {
        Some(status) => ExitCode::from(code_of(status)),
        None => {
            process.kill();
            process.wait_within(Duration::from_secs(2));
            ExitCode::from(124)
        }
    }
}

fn status(args: StatusArgs) -> Result<ExitCode, LabError> {
    if args.which.name.is_none() {
        let names = folder::running()?;
        if names.len() != 1 {
            show::names(&names, args.json);
            return Ok(ExitCode::SUCCESS);
        }
    }
    show::status(&attach(args.which.name)?.status()?, args.json);
    Ok(ExitCode::SUCCESS)
}

fn attach(name: Option<String>) -> Result<Lab, LabError> {
    if let Some(name) = name {
        return Lab::attach(&name);
    }
    let mut names = folder::running()?;
    match names.len() {
        0 => Err(LabError::NotRunning { name: "any".to_owned() }),
        1 => Lab::attach(&names.remove(0)),
        _ => Err(LabError::WhichOne { names }),
    }
}

fn code_of(status: ExitStatus) -> u8 {
    let code = status.code().or(status.signal().map(|number| 128 + number));
    code.and_then(|code| u8::try_from(code).ok()).unwrap_or(1)
}

fn exit_code(error: &LabError) -> u8 {
    match error.code() {
        "bad_name" | "which_one" => 2,
        "bad_topology" | "bad_impairment" => 3,
        "not_running" | "no_such_node" | "no_such_link" => 4,
        "not_root" => 5,
        _ => 1,
    }
}

fn report(error: &LabError) {
    eprint!("hawser-lab: {error}");
    let mut cause = error.source();
    while let Some(error) = cause {
        eprint!(": {error}");
        cause = error.source();
    }
    eprintln!(" [{}]", error.code());
}
