//! What can be typed.

use std::path::PathBuf;
use std::time::Duration;

use clap::{ArgGroup, Args as ClapArgs, Parser, Subcommand, ValueEnum};
use clap_complete::Shell;

use crate::time::{At, Since, parse_at, parse_duration, parse_since};

const EXIT_CODES: &str = "\
Exit codes:
  0    done
  1    failed: the controller or this program could not do it
  2    usage: arguments, context file
  3    refused: the document has faults, or the controller says no; nothing has changed
  4    the controller can't be reached, or is not the one of the context file
  5    not authorised: the token is missing, expired, revoked, or may not do this
  130  interrupted

Environment:
  HAWSER_CONTEXT  the context file, like --context
  HAWSER_TOKEN    an API token, instead of the context file's
  NO_COLOR        no colours";

/// Operates a Hawser fleet through its controller.
#[derive(Debug, Parser)]
#[command(name = "hawser", version, after_help = EXIT_CODES, max_term_width = 100)]
pub struct Args {
    /// Context file: where the controller is, its CA, a token [default: ~/.config/hawser/context.json]
    #[arg(
        long,
        global = true,
        env = "HAWSER_CONTEXT",
        value_name = "FILE",
        hide_env_values = true
    )]
    pub context: Option<PathBuf>,

    /// One JSON object instead of tables (one a line for `events --follow`)
    #[arg(long, global = true)]
    pub json: bool,

    /// How long to wait for an answer, e.g. 10s
    #[arg(long, global = true, default_value = "10s", value_parser = parse_duration)]
    pub timeout: Duration,

    #[command(subcommand)]
    pub command: Command,
}

#[derive(Debug, Subcommand)]
pub enum Command {
    /// Check a fleet's document; changes nothing
    Validate {
        /// YAML or JSON; - for standard input
        file: PathBuf,
        /// Without asking the controller
        #[arg(long)]
        offline: bool,
    },
    /// Commit a fleet's document as a new revision and push what it changes
    Apply {
        /// YAML or JSON; - for standard input
        file: PathBuf,
        /// Why, for those who look later
        #[arg(long, default_value = "")]
        comment: String,
        /// Refuse if the fleet is at another revision
        #[arg(long, value_name = "REVISION", default_value_t = 0, hide_default_value = true)]
        expect: u64,
    },
    /// The fleet in a few figures
    Status,
    /// Sites and their edges
    Sites,
    /// Paths, with what both ends measure
    Paths {
        /// Only those of this site
        site: Option<String>,
    },
    /// Why traffic of a site takes the paths it takes, and why nothing moves
    Why {
        site: String,
        /// Only this traffic class
        #[arg(long)]
        class: Option<String>,
        /// Only towards this edge or site
        #[arg(long)]
        peer: Option<String>,
        /// At this moment, in UTC: -15m, 14:05, 14:05:30, or 2026-01-31T12:00:00Z
        #[arg(long, value_parser = parse_at, allow_hyphen_values = true)]
        at: Option<At>,
        /// The newest so many decisions; with --at, so many classes and tunnels
        #[arg(long, default_value_t = 3, value_parser = clap::value_parser!(u32).range(1..=1000))]
        limit: u32,
    },
    /// Troubles that the controller sees across sites, and what it advises because of them
    Advice,
    /// Export a site's probe history: one CSV for each pair of uplinks of each tunnel
    Record {
        site: String,
        /// From when: 10m, 24h, or 2026-01-31T12:00:00Z
        #[arg(long, value_parser = parse_since, default_value = "24h")]
        since: Since,
        /// Until when
        #[arg(long, value_parser = parse_since)]
        until: Option<Since>,
        /// Only tunnels to this edge or site
        #[arg(long, value_name = "PEER")]
        tunnel: Option<String>,
        /// Time between rows
        #[arg(long, value_name = "MS", default_value_t = 200, value_parser = clap::value_parser!(u32).range(20..=60_000))]
        grid_ms: u32,
        /// Folder for the files; made if it is missing
        #[arg(long, value_name = "DIR")]
        out: PathBuf,
    },
    /// What a policy would have done over recorded probes; needs no controller
    Replay(ReplayArgs),
    /// What happened
    Events {
        /// Go on showing events as they happen, until Ctrl-C
        #[arg(long, short)]
        follow: bool,
        /// From when: 10m, 24h, or 2026-01-31T12:00:00Z
        #[arg(long, value_parser = parse_since)]
        since: Option<Since>,
        /// The newest so many (without --follow)
        #[arg(long, default_value_t = 100, value_parser = clap::value_parser!(u32).range(1..=10_000))]
        limit: u32,
    },
    /// Tokens: for edges to enrol, for people and programs to operate
    #[command(subcommand)]
    Token(TokenCommand),
    /// The fleet's document
    #[command(subcommand)]
    Fleet(FleetCommand),
    /// Print a completion script
    Completions { shell: Shell },
}

#[derive(Debug, ClapArgs)]
pub struct ReplayArgs {
    /// A folder of recordings (*.csv), or one: `hawser record` makes them
    #[arg(long, value_name = "DIR")]
    pub traces: PathBuf,
    /// Take the policy from this fleet's document; without it, the built-in one
    #[arg(long, value_name = "FILE")]
    pub fleet: Option<PathBuf>,
    /// The traffic class whose policy it is
    #[arg(long, default_value = "default")]
    pub class: String,
    /// Compare with the same class of this document
    #[arg(long, value_name = "FILE")]
    pub against: Option<PathBuf>,
    /// Instead of the class's own
    #[arg(long)]
    pub mode: Option<Mode>,
    /// A packet that takes longer than this is hurt, as is one that is lost
    #[arg(long, value_name = "MS", default_value_t = 300, value_parser = clap::value_parser!(u32).range(1..=60_000))]
    pub bad_above_ms: u32,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Mode {
    Best,
    Balance,
    Duplicate,
}

#[derive(Debug, Subcommand)]
pub enum TokenCommand {
    /// Create a token; it is shown once
    Create(CreateToken),
    /// All tokens, without their secrets
    List,
    /// Make a token useless
    Revoke {
        /// As `token list` shows it
        id: String,
    },
}

#[derive(Debug, ClapArgs)]
#[command(group = ArgGroup::new("for").required(true).args(["edge", "role"]))]
pub struct CreateToken {
    /// An enrolment token for this edge
    #[arg(long)]
    pub edge: Option<String>,
    /// An API token with this role
    #[arg(long)]
    pub role: Option<Role>,
    /// E.g. 24h; by default as long as the controller gives
    #[arg(long, value_parser = parse_duration)]
    pub valid_for: Option<Duration>,
    /// What it is for
    #[arg(long, default_value = "")]
    pub comment: String,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Role {
    Viewer,
    Operator,
    Admin,
}

impl Role {
    pub fn name(self) -> &'static str {
        match self {
            Role::Viewer => "viewer",
            Role::Operator => "operator",
            Role::Admin => "admin",
        }
    }
}

#[derive(Debug, Subcommand)]
pub enum FleetCommand {
    /// Print the document as it was applied
    Show {
        /// An older one
        #[arg(long, default_value_t = 0, hide_default_value = true)]
        revision: u64,
    },
}

#[cfg(test)]
mod tests;
