//! `hawser-controller init`, `fleet`, `run`, `backup`, `restore`, `check`, `sign-ca`.

mod fleet;

use std::error::Error;
use std::io::IsTerminal as _;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::Duration;

use clap::{Parser, Subcommand, ValueEnum};
use hawser_telemetry::{LogSink, PastFlags, TelemetryFlags};
use tokio::signal::unix::{SignalKind, signal};
use tracing_subscriber::layer::SubscriberExt as _;
use tracing_subscriber::util::SubscriberInitExt as _;
use tracing_subscriber::{EnvFilter, Layer as _};

use self::fleet::FleetCommand;
use crate::backup::{self, Restored};
use crate::files::{self, Access};
use crate::init::{self, Made, Setup};
use crate::pki::{self, Advertised, EDGE_LIFETIME};
use crate::server::{self, Options};
use crate::service::AdviceMode;
use crate::store::{StoreChoice, StoreFlags};

/// Longest file that sign-ca reads, in bytes.
const MAX_SIGNED_BYTES: u64 = 64 * 1024;

/// Exit status: 0 done, 1 failed, 2 wrong use.
#[derive(Debug, Parser)]
#[command(name = "hawser-controller", version, about = "Holds what a fleet's operator wants")]
struct Arguments {
    #[command(subcommand)]
    command: Command,
    /// How log lines look on standard error; RUST_LOG says which.
    #[arg(long, global = true, value_enum, default_value = "text")]
    log_format: LogFormat,
}

#[derive(Debug, Clone, Copy, ValueEnum)]
enum LogFormat {
    Text,
    Json,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Make a new controller in an empty folder: the fleet's CA, its store, the first admin token.
    Init {
        /// Folder that will hold everything; made if it is missing.
        #[arg(long, value_name = "DIR")]
        data: PathBuf,
        /// The fleet's name: a DNS label.
        #[arg(long, value_name = "NAME")]
        fleet: String,
        /// Where agents and operators reach this controller, in order of preference.
        #[arg(long, value_name = "HOST:PORT", required = true, num_args = 1..)]
        advertise: Vec<Advertised>,
        #[command(flatten)]
        store: Box<StoreFlags>,
    },
    /// Fleets beside the first, in the same process, with nothing shared between them.
    #[command(subcommand)]
    Fleet(FleetCommand),
    /// Write all that makes the controller into one file; it may run meanwhile. Keep it as you keep keys.
    Backup {
        /// The folder that init made.
        #[arg(long, value_name = "DIR")]
        data: PathBuf,
        /// Replaced if it is there.
        #[arg(long, value_name = "FILE")]
        to: PathBuf,
        #[command(flatten)]
        store: Box<StoreFlags>,
    },
    /// Make a controller of a backup, in an empty folder; with --store etcd its store is filled there, if it has none.
    Restore {
        #[arg(long, value_name = "FILE")]
        from: PathBuf,
        #[arg(long, value_name = "DIR")]
        data: PathBuf,
        /// Only the folder, of a controller that is to stand by: the store is in etcd already.
        #[arg(long)]
        standby: bool,
        #[command(flatten)]
        store: Box<StoreFlags>,
    },
    /// Read the whole store and say whether it is whole; of a controller that runs, its newest export.
    Check {
        #[arg(long, value_name = "DIR")]
        data: PathBuf,
        #[command(flatten)]
        store: Box<StoreFlags>,
    },
    /// Sign a fleet's next CA with its root key. Run it where that key is, which need not be where the controller is.
    SignCa {
        /// The root's certificate: pki/root.pem of the controller's folder.
        #[arg(long, value_name = "FILE")]
        root: PathBuf,
        /// What init has left as root-offline.key.
        #[arg(long, value_name = "FILE")]
        root_key: PathBuf,
        /// What `hawser ca rotate` gave.
        #[arg(long, value_name = "FILE")]
        request: PathBuf,
        /// For `hawser ca rotate --certificate`; replaced if it is there.
        #[arg(long, value_name = "FILE")]
        to: PathBuf,
    },
    /// Serve a controller that init made.
    Run {
        /// The folder that init made.
        #[arg(long, value_name = "DIR")]
        data: PathBuf,
        /// Address and port for agents and operators; port 0: any free one.
        #[arg(long, value_name = "ADDR:PORT", default_value = "[::]:4511")]
        listen: SocketAddr,
        /// Write the port that is listened on to this file, once it is.
        #[arg(long, value_name = "FILE")]
        port_file: Option<PathBuf>,
        /// How often agents tell what they measure.
        #[arg(
            long, value_name = "MS", default_value_t = 1_000,
            value_parser = clap::value_parser!(u64).range(100..=60_000)
        )]
        telemetry_interval_ms: u64,
        /// What the slow loop may do: it recognises troubles across sites, and advises agents to avoid what suffers.
        #[arg(long, value_enum, default_value = "on")]
        advice: AdviceMode,
        /// How long the certificates that edges get are good, in seconds; agents renew them at half of it.
        #[arg(
            long, value_name = "S", default_value_t = EDGE_LIFETIME.as_secs(),
            value_parser = clap::value_parser!(u64).range(30..=34_128_000)
        )]
        edge_certificate_s: u64,
        #[command(flatten)]
        store: Box<StoreFlags>,
        #[command(flatten)]
        metrics: Box<TelemetryFlags>,
        #[command(flatten)]
        past: Box<PastFlags>,
    },
}

/// Runs the command line of this process.
pub fn main() -> ExitCode {
    let arguments = Arguments::parse();
    let logs = start_logging(arguments.log_format);
    let runtime = match tokio::runtime::Runtime::new() {
        Ok(runtime) => runtime,
        Err(error) => return fail(&error),
    };
    let done = runtime.block_on(run(arguments.command, &logs));
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => fail(error.as_ref()),
    }
}

async fn run(command: Command, logs: &LogSink) -> Result<(), Box<dyn Error>> {
    match command {
        Command::Init { data, fleet, advertise, store } => {
            make(&data, fleet, advertise, &store.choice()).await
        }
        Command::Fleet(command) => command.run().await,
        Command::Backup { data, to, store } => {
            let revision = backup::backup(&data, &store.choice(), &to).await?;
            println!("{} holds the controller at store revision {revision}.", to.display());
            Ok(())
        }
        Command::Restore { from, data, standby, store } => {
            let choice = store.choice();
            let store = if standby { Restored::There } else { Restored::Filled(&choice) };
            backup::restore(&from, &data, store).await?;
            println!("Then: hawser-controller run --data {}", data.display());
            Ok(())
        }
        Command::Check { data, store } => check(&data, &store.choice()).await,
        Command::SignCa { root, root_key, request, to } => {
            let read = |path: &Path| files::read_text(path, MAX_SIGNED_BYTES);
            let signed = pki::sign_next(&read(&root)?, &read(&root_key)?, &read(&request)?)?;
            files::write_atomic(&to, signed.as_bytes(), Access::Public)?;
            println!("Then: hawser ca rotate --certificate {}", to.display());
            Ok(())
        }
        Command::Run {
            data,
            listen,
            port_file,
            telemetry_interval_ms,
            advice,
            edge_certificate_s,
            store,
            metrics,
            past,
        } => {
            let options = Options {
                data,
                store: store.choice(),
                listen,
                telemetry_interval: Duration::from_millis(telemetry_interval_ms),
                advice,
                edge_lifetime: Duration::from_secs(edge_certificate_s),
            };
            serve(options, &metrics, &past, logs, port_file.as_deref()).await
        }
    }
}

async fn check(data: &Path, choice: &StoreChoice) -> Result<(), Box<dyn Error>> {
    let checked = backup::check(data, choice).await?;
    let what = if checked.opened { "store" } else { "newest export (a controller runs)" };
    println!("{what}: {} revisions, {} audit entries", checked.revisions, checked.audit_entries);
    for fault in &checked.faults {
        println!("  {fault}");
    }
    match checked.faults.len() {
        0 => Ok(()),
        count => Err(format!("it is not whole: {count} faults").into()),
    }
}

async fn make(
    data: &Path,
    fleet: String,
    advertised: Vec<Advertised>,
    choice: &StoreChoice,
) -> Result<(), Box<dyn Error>> {
    let setup = Setup { fleet, advertised };
    let made = init::init_in(data, &setup, choice).await?;
    tell_made(&setup.fleet, &made);
    println!("Then: hawser-controller run --data {}", data.display());
    Ok(())
}

fn tell_made(fleet: &str, made: &Made) {
    println!("The fleet {fleet} is made.");
    println!("  admin's access   {}", made.admin_context.display());
    println!("  root key         {}", made.root_key.display());
    println!("Move the root key off this machine now: it is needed only to renew the fleet's CA.");
}

async fn serve(
    options: Options,
    metrics: &TelemetryFlags,
    past: &PastFlags,
    logs: &LogSink,
    port_file: Option<&Path>,
) -> Result<(), Box<dyn Error>> {
    let mut terminate = signal(SignalKind::terminate())?;
    let mut interrupt = signal(SignalKind::interrupt())?;
    let running = tokio::select! {
        running = server::start(options) => running?,
        // One that stands by is told to stop, too.
        _ = terminate.recv() => return Ok(()),
        _ = interrupt.recv() => return Ok(()),
    };
    running.tell(metrics, logs).await?;
    running.reach_back(past)?;
    let address = running.address();
    for (fleet, opened) in running.fleets() {
        tracing::info!(%address, fleet, ?opened, "serving");
    }
    if let Some(path) = port_file {
        files::write_atomic(path, address.port().to_string().as_bytes(), Access::Public)?;
    }
    tokio::select! {
        _ = terminate.recv() => {}
        _ = interrupt.recv() => {}
        () = running.failed() => {}
    }
    tracing::info!("stopping");
    running.stop().await?;
    Ok(())
}

fn start_logging(format: LogFormat) -> LogSink {
    let filter = EnvFilter::try_from_default_env().unwrap_or_else(|_| EnvFilter::new("info"));
    let lines = tracing_subscriber::fmt::layer()
        .with_ansi(std::io::stderr().is_terminal())
        .with_writer(std::io::stderr);
    let lines = match format {
        LogFormat::Text => lines.boxed(),
        LogFormat::Json => lines.json().boxed(),
    };
    let sink = LogSink::default();
    tracing_subscriber::registry().with(filter).with(lines).with(sink.layer()).init();
    sink
}

/// The error and its causes, one line.
fn fail(error: &dyn Error) -> ExitCode {
    let mut line = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        line.push_str(": ");
        line.push_str(&error.to_string());
        cause = error.source();
    }
    eprintln!("hawser-controller: {line}");
    ExitCode::FAILURE
}
