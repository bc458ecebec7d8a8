//! The command line of `hawser-edge`.
//!
//! Exit codes: 0 done; 1 failed, or the doctor found something broken; 2 wrong usage; 3 no agent answers, or this edge is
//! not enrolled; 4 the controller refused; 5 the doctor found nothing worse than warnings.

use std::io::{Read, Write};
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use clap::{Args, CommandFactory, Parser, Subcommand};
use hawser_edge_core::doctor::Level;
use hawser_edge_core::history::Tick;
use hawser_edge_core::keys::{Lanes, MAX_LANES};
use hawser_proto::token::EnrolmentToken;
use zeroize::Zeroizing;

use crate::control::local::{self, LocalAnswer, QueryKind};
use crate::control::{EnrolError, EnrolOptions, enrol};
use crate::doctor;
use crate::history::{self, Asked};
use crate::ike::secrets::{self, SecretError};

/// Failed.
pub const EXIT_FAILED: u8 = 1;
/// Wrong usage; clap's own.
pub const EXIT_USAGE: u8 = 2;
/// No agent answers, or this edge is not enrolled.
pub const EXIT_NO_AGENT: u8 = 3;
/// The controller refused.
pub const EXIT_REFUSED: u8 = 4;

/// The doctor found nothing worse than warnings.
pub const EXIT_WARNINGS: u8 = 5;

/// Where the token may be, other than in a file.
const TOKEN_VARIABLE: &str = "HAWSER_ENROL_TOKEN";

/// The edge agent of Hawser: one per edge.
#[derive(Debug, Parser)]
#[command(name = "hawser-edge", version, propagate_version = true)]
pub struct Cli {
    /// Identity, generations, facts and the local socket are kept here.
    #[arg(
        long,
        global = true,
        value_name = "DIR",
        env = "HAWSER_STATE_DIR",
        default_value = "/var/lib/hawser-edge"
    )]
    pub state_dir: PathBuf,
    #[command(subcommand)]
    pub command: Command,
}

#[derive(Debug, Subcommand)]
pub enum Command {
    /// Turn a one-time token into this edge's identity
    Enrol(EnrolArgs),
    /// Run the agent in the foreground
    Run(RunArgs),
    /// What this agent is doing
    Status(ShowArgs),
    /// Every path, as this end sees it
    Paths(ShowArgs),
    /// Which path carries what, and why
    Why(WhyArgs),
    /// What is wrong with this host, what it costs, and what mends it
    Doctor(DoctorArgs),
    /// Pre-shared keys for IKE tunnels and keys of manual tunnels, kept at this edge only
    #[command(subcommand)]
    Secret(SecretCommand),
    /// Keep the uplinks' sockets open while no agent runs; the kernel driver starts it
    #[command(hide = true)]
    Hold,
    /// Export the probe history: one CSV for each pair of uplinks of each tunnel
    Record(RecordArgs),
    /// Take out of the kernel everything that agents left there; the agent must not run
    Teardown,
    /// Print a completion script
    Completions { shell: clap_complete::Shell },
}

/// The token comes from a file, from standard input or from HAWSER_ENROL_TOKEN; never from the
/// command line, which every process can read.
#[derive(Debug, Args)]
pub struct EnrolArgs {
    /// File that holds the token; `-`: standard input
    #[arg(long, value_name = "FILE")]
    pub token_file: Option<PathBuf>,
    /// Try for so many seconds to reach a controller
    #[arg(long, value_name = "SECONDS", default_value_t = 120)]
    pub timeout: u64,
    /// Forget the identity and the generations that are there
    #[arg(long)]
    pub replace: bool,
}

#[derive(Debug, Clone, Args)]
pub struct RunArgs {
    /// Milliseconds between reports to the controller; 0: as the controller wishes
    #[arg(long, value_name = "MS", default_value_t = 0)]
    pub telemetry_interval_ms: u32,
    /// Log as JSON lines
    #[arg(long)]
    pub log_json: bool,
    #[command(flatten)]
    pub metrics: hawser_telemetry::TelemetryFlags,
    /// Who forwards packets
    #[arg(long, value_enum, env = "HAWSER_EDGE_DRIVER", default_value_t = Driver::Userspace)]
    pub driver: Driver,
    /// Cores for the flows of a path with the userspace driver, 1 to 8; auto: half of the CPUs
    #[arg(long, value_name = "COUNT|auto", default_value = "auto", value_parser = dataplane_lanes)]
    pub dataplane_lanes: Lanes,
    /// strongSwan's charon, started when the generation has IKE tunnels
    #[arg(long, value_name = "PROGRAM", default_value = "/usr/sbin/charon-systemd")]
    pub charon: PathBuf,
    /// VICI socket of a charon that others run: none is started then
    #[arg(long, value_name = "SOCKET")]
    pub charon_socket: Option<PathBuf>,
}

/// As many lanes as the flag says.
///
/// # Errors
/// For people: it is neither a number that can be nor `auto`.
pub fn dataplane_lanes(text: &str) -> Result<Lanes, String> {
    if text == "auto" {
        let cpus = std::thread::available_parallelism().map_or(1, usize::from);
        return Ok(Lanes::clamped(cpus / 2));
    }
    let count = text.parse().ok().filter(|count| Lanes::clamped(*count).count() == *count);
    count.map(Lanes::clamped).ok_or_else(|| format!("say 1 to {MAX_LANES}, or auto"))
}

/// The drivers of the data plane; both speak the same on the wire.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub enum Driver {
    /// This process: TUN devices, runs on any kernel
    Userspace,
    /// The kernel: XFRM and GRE; traffic goes on while no agent runs
    Kernel,
    /// The kernel where it can, else this process
    Auto,
}

#[derive(Debug, Subcommand)]
pub enum SecretCommand {
    /// Keep the key that standard input has, under the name that the fleet's document gives it
    Set { name: String },
    /// Forget a key
    Remove { name: String },
    /// The names of the keys that are here
    List,
}

#[derive(Debug, Args)]
pub struct ShowArgs {
    /// JSON for programs
    #[arg(long)]
    pub json: bool,
}

/// Works with an agent that runs and without one. Exit code 0: nothing worse than notes; 5: warnings; 1: something is broken.
#[derive(Debug, Args)]
pub struct DoctorArgs {
    /// JSON for programs
    #[arg(long)]
    pub json: bool,
    /// The driver that the agent is to use
    #[arg(long, value_enum, env = "HAWSER_EDGE_DRIVER", default_value_t = Driver::Userspace)]
    pub driver: Driver,
    /// strongSwan's charon, as the agent is told
    #[arg(long, value_name = "PROGRAM", default_value = "/usr/sbin/charon-systemd")]
    pub charon: PathBuf,
    /// VICI socket of a charon that others run
    #[arg(long, value_name = "SOCKET")]
    pub charon_socket: Option<PathBuf>,
}

#[derive(Debug, Args)]
pub struct WhyArgs {
    /// Only this peer edge or site
    pub peer: Option<String>,
    /// Only this traffic class
    #[arg(long, value_name = "CLASS")]
    pub class: Option<String>,
    /// Most decisions to show
    #[arg(long, value_name = "COUNT", default_value_t = 10)]
    pub limit: u32,
    /// JSON for programs
    #[arg(long)]
    pub json: bool,
}

#[derive(Debug, Args)]
pub struct RecordArgs {
    /// How far back, e.g. 90s, 10m, 24h, 7d
    #[arg(long, value_name = "TIME", default_value = "24h", value_parser = parse_ago)]
    pub since: Duration,
    /// Up to how long ago
    #[arg(long, value_name = "TIME", value_parser = parse_ago)]
    pub until: Option<Duration>,
    /// Only tunnels to this edge or site
    #[arg(long, value_name = "PEER")]
    pub tunnel: Option<String>,
    /// Time between rows
    #[arg(long, value_name = "MS", default_value_t = 200, value_parser = clap::value_parser!(u32).range(20..=60_000))]
    pub grid_ms: u32,
    /// Folder for the files; made if it is missing
    #[arg(long, value_name = "DIR")]
    pub out: PathBuf,
}

/// A number and one of s, m, h, d.
fn parse_ago(text: &str) -> Result<Duration, String> {
    let wrong = || format!("{text:?} is no time; write e.g. 90s, 10m, 24h, 7d");
    let unit = text.chars().last().ok_or_else(wrong)?;
    let seconds: u64 = match unit {
        's' => 1,
        'm' => 60,
        'h' => 3_600,
        'd' => 86_400,
        _ => return Err(wrong()),
    };
    let number: u64 = text[..text.len() - 1].parse().map_err(|_| wrong())?;
    number.checked_mul(seconds).map(Duration::from_secs).ok_or_else(wrong)
}

/// Parses the command line and does what it says; `run` is the engine's.
pub fn main(run: impl FnOnce(&Path, RunArgs) -> ExitCode) -> ExitCode {
    let cli = Cli::parse();
    match cli.command {
        Command::Run(args) => run(&cli.state_dir, args),
        Command::Enrol(args) => enrol_command(&cli.state_dir, &args),
        Command::Status(args) => show(&cli.state_dir, &QueryKind::Status, args.json),
        Command::Paths(args) => show(&cli.state_dir, &QueryKind::Paths, args.json),
        Command::Why(args) => {
            let kind =
                QueryKind::Why { peer: args.peer, traffic_class: args.class, limit: args.limit };
            show(&cli.state_dir, &kind, args.json)
        }
        Command::Doctor(args) => doctor_command(&cli.state_dir, args),
        Command::Secret(command) => secret_command(&cli.state_dir, command),
        Command::Record(args) => record_command(&cli.state_dir, args),
        Command::Hold => match crate::kernel::holder::run(&cli.state_dir) {
            Ok(()) => ExitCode::SUCCESS,
            Err(error) => {
                complain("HOLDER", &error, "");
                EXIT_FAILED.into()
            }
        },
        Command::Teardown => teardown_command(&cli.state_dir),
        Command::Completions { shell } => {
            let mut script = Vec::new();
            clap_complete::generate(shell, &mut Cli::command(), "hawser-edge", &mut script);
            print(&script)
        }
    }
}

fn doctor_command(state_dir: &Path, args: DoctorArgs) -> ExitCode {
    let json = args.json;
    let asked =
        doctor::Asked { driver: args.driver, charon: args.charon, socket: args.charon_socket };
    let findings = match doctor::examine(state_dir, &asked) {
        Ok(findings) => findings,
        Err(error) => {
            complain("NO_RUNTIME", &error, "");
            return EXIT_FAILED.into();
        }
    };
    let text = if json { doctor::to_json(&findings) } else { doctor::render(&findings) };
    match (print(text.as_bytes()), findings.first().map(|worst| worst.level)) {
        (_, Some(Level::Broken)) => EXIT_FAILED.into(),
        (printed, Some(Level::Warning)) if printed == ExitCode::SUCCESS => EXIT_WARNINGS.into(),
        (printed, _) => printed,
    }
}

fn teardown_command(state_dir: &Path) -> ExitCode {
    match crate::teardown::teardown(state_dir) {
        Ok(removed) => {
            let holder = if removed.holder { ", and the holder of the sockets ended" } else { "" };
            println!(
                "removed: {} of the kernel driver, {} routes and rules, our nftables tables{holder}",
                removed.driver, removed.host
            );
            println!("nothing keeps LAN packets for the overlay off the uplinks any more");
            ExitCode::SUCCESS
        }
        Err(error) => {
            complain(error.code(), &error, error.mend());
            EXIT_FAILED.into()
        }
    }
}

/// Prints an error as people and scripts read it: code, message, mend.
pub fn complain(code: &str, message: &dyn std::error::Error, mend: &str) {
    let mut text = format!("error: {message}");
    let mut source = message.source();
    while let Some(cause) = source {
        text.push_str(&format!(": {cause}"));
        source = cause.source();
    }
    eprintln!("{text} [{code}]");
    if !mend.is_empty() {
        eprintln!("  mend: {mend}");
    }
}

fn enrol_command(state_dir: &Path, args: &EnrolArgs) -> ExitCode {
    let token = match read_token(args.token_file.as_deref()) {
        Ok(token) => token,
        Err(code) => return code,
    };
    let options =
        EnrolOptions { patience: Duration::from_secs(args.timeout), replace: args.replace };
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    let runtime = match runtime {
        Ok(runtime) => runtime,
        Err(error) => {
            complain("NO_RUNTIME", &error, "");
            return EXIT_FAILED.into();
        }
    };
    match runtime.block_on(enrol(state_dir, &token, &options)) {
        Ok(identity) => {
            println!("enrolled as edge {} of fleet {}", identity.edge(), identity.fleet());
            ExitCode::SUCCESS
        }
        Err(error) => {
            complain(error.code(), &error, error.mend());
            match error {
                EnrolError::Refused(_) => EXIT_REFUSED.into(),
                _ => EXIT_FAILED.into(),
            }
        }
    }
}

fn read_token(file: Option<&Path>) -> Result<EnrolmentToken, ExitCode> {
    let mut text = Zeroizing::new(String::new());
    let limit = hawser_proto::token::MAX_TEXT_BYTES as u64 + 2;
    let read = match file {
        Some(path) if path == Path::new("-") => {
            std::io::stdin().take(limit).read_to_string(&mut text)
        }
        Some(path) => {
            std::fs::File::open(path).and_then(|f| f.take(limit).read_to_string(&mut text))
        }
        None => match std::env::var(TOKEN_VARIABLE) {
            Ok(variable) => {
                *text = variable;
                Ok(text.len())
            }
            Err(_) => {
                let error = std::io::Error::other("no token was given");
                complain(
                    "TOKEN_MISSING",
                    &error,
                    "give --token-file FILE, --token-file - or HAWSER_ENROL_TOKEN",
                );
                return Err(EXIT_USAGE.into());
            }
        },
    };
    if let Err(error) = read {
        complain("TOKEN_UNREADABLE", &error, "check --token-file");
        return Err(EXIT_FAILED.into());
    }
    text.trim().parse().map_err(|error: hawser_proto::token::TokenTextError| {
        complain(error.code(), &error, "copy the whole line that `hawser token create` printed");
        ExitCode::from(EXIT_FAILED)
    })
}

fn show(state_dir: &Path, kind: &QueryKind, json: bool) -> ExitCode {
    match local::ask(state_dir, kind) {
        Ok(answer) if json => print(&to_json(&answer)),
        Ok(answer) => print(local::render(&answer).as_bytes()),
        Err(error) => {
            complain(error.code(), &error, error.mend());
            EXIT_NO_AGENT.into()
        }
    }
}

fn record_command(state_dir: &Path, args: RecordArgs) -> ExitCode {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    let before = |ago: Duration| Tick::from_unix_ms(now.saturating_sub(ago).as_millis() as u64);
    let asked = Asked {
        since: before(args.since),
        until: before(args.until.unwrap_or_default()),
        peer: args.tunnel,
        grid_ms: args.grid_ms,
        out: args.out,
    };
    match history::record(state_dir, &asked) {
        Ok(files) => {
            let lines: Vec<String> = files.iter().map(|f| format!("{}\n", f.display())).collect();
            print(lines.concat().as_bytes())
        }
        Err(error) => {
            complain(error.code(), &error, error.mend());
            EXIT_FAILED.into()
        }
    }
}

/// A key comes by standard input: command lines and variables are read by others.
fn secret_command(state_dir: &Path, command: SecretCommand) -> ExitCode {
    let done = match command {
        SecretCommand::Set { name } => set_secret(state_dir, &name),
        SecretCommand::Remove { name } => secrets::forget(state_dir, &name)
            .map(|was_there| if was_there { "removed\n" } else { "there was none\n" }.to_owned()),
        SecretCommand::List => secrets::names(state_dir)
            .map(|names| names.iter().map(|name| format!("{name}\n")).collect()),
    };
    match done {
        Ok(text) => print(text.as_bytes()),
        Err(error) => {
            complain(error.code(), &error, error.mend());
            EXIT_FAILED.into()
        }
    }
}

/// One line end at the end is not part of it.
fn set_secret(state_dir: &Path, name: &str) -> Result<String, SecretError> {
    let most = secrets::MAX_SECRET_BYTES + 2;
    // Room for all of it from the start: growing would leave copies behind.
    let mut text = Zeroizing::new(Vec::with_capacity(most as usize + 1));
    let read = std::io::stdin().take(most + 1).read_to_end(&mut text);
    read.map_err(|source| crate::control::FileError {
        what: "read",
        path: "standard input".into(),
        source,
    })?;
    let secret = text.strip_suffix(b"\n").unwrap_or(&text);
    let secret = secret.strip_suffix(b"\r").unwrap_or(secret);
    secrets::keep(state_dir, name, secret)?;
    Ok("kept\n".to_owned())
}

fn to_json(answer: &LocalAnswer) -> Vec<u8> {
    let text = match answer {
        LocalAnswer::Status(view) => serde_json::to_vec_pretty(view),
        LocalAnswer::Paths(view) => serde_json::to_vec_pretty(view),
        LocalAnswer::Why(view) => serde_json::to_vec_pretty(view),
    };
    let mut text = text.unwrap_or_default();
    text.push(b'\n');
    text
}

/// A reader that hangs up (`| head`) is no failure.
fn print(text: &[u8]) -> ExitCode {
    match std::io::stdout().write_all(text) {
        Err(error) if error.kind() != std::io::ErrorKind::BrokenPipe => EXIT_FAILED.into(),
        _ => ExitCode::SUCCESS,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lanes_are_a_number_that_can_be_or_half_of_the_cpus() {
        let count = |text| dataplane_lanes(text).map(Lanes::count);
        assert_eq!([count("1"), count("4"), count("8")], [Ok(1), Ok(4), Ok(8)]);
        for wrong in ["0", "9", "-1", "", "Auto", "2 "] {
            assert_eq!(count(wrong), Err("say 1 to 8, or auto".to_owned()), "{wrong:?}");
        }
        let auto = count("auto").expect("a number");
        let cpus = std::thread::available_parallelism().map_or(1, usize::from);
        assert_eq!(auto, (cpus / 2).clamp(1, 8));
    }
}
