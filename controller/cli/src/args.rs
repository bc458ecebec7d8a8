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
  HAWSER_FLEET    the fleet, like --fleet
  HAWSER_TOKEN    an API token, instead of the context file's
  NO_COLOR        no colours";

/// A DNS label, so that it is a file's name and part of a server's.
fn parse_fleet(text: &str) -> Result<String, String> {
    let good = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-';
    let label = (1..=63).contains(&text.len()) && text.bytes().all(good);
    if label && !text.starts_with('-') && !text.ends_with('-') {
        return Ok(text.to_owned());
    }
    Err("a fleet's name has 1 to 63 of a-z, 0-9 and -, not - at either end".to_owned())
}

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

    /// The fleet that is meant: its own context file, if none is given, is ~/.config/hawser/fleets/NAME.json; one of another fleet is refused
    #[arg(
        long,
        global = true,
        env = "HAWSER_FLEET",
        value_name = "NAME",
        value_parser = parse_fleet,
        hide_env_values = true
    )]
    pub fleet: Option<String>,

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
    /// Commit a fleet's document, or a plan, as a new revision and push what it changes
    Apply {
        /// YAML or JSON, or what `plan --out` wrote; - for standard input
        file: PathBuf,
        /// Why, for those who look later
        #[arg(long, default_value = "")]
        comment: String,
        /// Refuse if the fleet is at another revision
        #[arg(long, value_name = "REVISION", default_value_t = 0, hide_default_value = true)]
        expect: u64,
        #[command(flatten)]
        staging: Staging,
        /// Show the edges change over, until all have confirmed or --wait-within is over
        #[arg(long)]
        wait: bool,
        /// How long to show it
        #[arg(long, value_name = "TIME", default_value = "10m", value_parser = parse_duration)]
        wait_within: Duration,
    },
    /// What applying a document would do; exit code 0: nothing, 2: changes, 1: an error
    Plan {
        /// YAML or JSON; - for standard input
        #[arg(required_unless_present = "revision")]
        file: Option<PathBuf>,
        /// The document of this revision instead
        #[arg(long, conflicts_with = "file")]
        revision: Option<u64>,
        /// Write the plan, for `apply`: it is refused if the fleet has moved on by then
        #[arg(long, value_name = "FILE", requires = "file")]
        out: Option<PathBuf>,
    },
    /// Revisions that are kept, newest first
    History {
        /// The newest so many
        #[arg(long, default_value_t = 20, value_parser = clap::value_parser!(u32).range(1..=1000))]
        limit: u32,
    },
    /// Print the document of a revision as it was applied
    Show { revision: u64 },
    /// What one revision has that another has not
    Diff {
        from: u64,
        /// The newest, if it is left out
        #[arg(default_value_t = 0, hide_default_value = true)]
        to: u64,
    },
    /// Apply the document of an older revision as a new one
    Rollback {
        revision: u64,
        #[arg(long, default_value = "")]
        comment: String,
        /// Refuse if the fleet is at another revision
        #[arg(long, value_name = "REVISION", default_value_t = 0, hide_default_value = true)]
        expect: u64,
        #[command(flatten)]
        staging: Staging,
    },
    /// Give a document the one layout; comments stay
    Fmt {
        /// YAML or JSON; - for standard input, and the result on standard output
        file: PathBuf,
        /// Only say whether it has that layout (exit code 3: it has not)
        #[arg(long)]
        check: bool,
    },
    /// Print the JSON Schema of documents
    Schema,
    /// The staged rollout that runs, or the one that ran last
    Rollout {
        #[command(subcommand)]
        command: Option<RolloutCommand>,
    },
    /// Lead traffic away from a site, an edge or EDGE/UPLINK; without a name, show what is drained
    Drain {
        target: Option<String>,
        #[arg(long, default_value = "")]
        comment: String,
    },
    /// Let traffic come back
    Undrain { target: String },
    /// The audit log
    #[command(subcommand)]
    Audit(AuditCommand),
    /// The fleet in a few figures
    Status,
    /// Sites and their edges
    Sites,
    /// Boxes: swap one, or shut one out
    #[command(subcommand)]
    Site(SiteCommand),
    /// The fleet's CA: replace it without losing a tunnel
    #[command(subcommand)]
    Ca(CaCommand),
    /// Paths, with what both ends measure
    Paths {
        /// Only those of this site
        site: Option<String>,
    },
    /// The fleet, its sites and paths, live in the terminal
    Top {
        /// How often to ask
        #[arg(long, value_name = "TIME", default_value = "2s", value_parser = parse_duration)]
        every: Duration,
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

/// Canaries first, then growing waves.
#[derive(Debug, Clone, ClapArgs)]
pub struct Staging {
    /// Canaries first, then growing waves; halted and taken back if something goes wrong
    #[arg(long)]
    pub staged: bool,
    /// Sites that go first; by default the controller chooses one
    #[arg(long, value_name = "SITE", num_args = 1.., requires = "staged")]
    pub canary: Vec<String>,
    /// How long a wave must be in order before the next one
    #[arg(long, value_name = "TIME", value_parser = parse_duration, requires = "staged")]
    pub soak: Option<Duration>,
    /// Take it back unless `hawser rollout confirm` comes in that time after the last wave
    #[arg(long, value_name = "TIME", value_parser = parse_duration, requires = "staged")]
    pub confirm_within: Option<Duration>,
}

#[derive(Debug, Subcommand)]
pub enum RolloutCommand {
    /// Be content with it: nothing is taken back any more
    Confirm,
    /// Take it back, everywhere
    Abort {
        /// Why, for those who look later
        #[arg(long, default_value = "")]
        reason: String,
    },
}

#[derive(Debug, Subcommand)]
pub enum SiteCommand {
    /// A swapped box: end the identity of the old one, and get a one-time token for each new one
    Replace {
        /// The site, or one of its edges
        target: String,
        /// How long the token is good, e.g. 24h
        #[arg(long, value_parser = parse_duration)]
        valid_for: Option<Duration>,
        #[arg(long, default_value = "")]
        comment: String,
    },
    /// End every certificate of a site, or of an edge: its stream, peer connections and keys go with it
    Revoke {
        target: String,
        #[arg(long, default_value = "")]
        comment: String,
    },
}

#[derive(Debug, Subcommand)]
pub enum CaCommand {
    /// The CA that signs, and how far its replacement is
    Status,
    /// Replace it: without a certificate, get a request for the root's key; with the one that was made of it, let the new CA sign
    Rotate {
        /// What `hawser-controller sign-ca` made of the request
        #[arg(long, value_name = "FILE")]
        certificate: Option<PathBuf>,
        /// In which agents renew, not all at once; by default 5m
        #[arg(long, value_name = "TIME", value_parser = parse_duration, requires = "certificate")]
        renew_within: Option<Duration>,
        #[arg(long, default_value = "")]
        comment: String,
    },
    /// End the trust in the CA before; refused while edges may still use it
    Retire {
        /// Leave those edges behind: they must be enrolled again
        #[arg(long)]
        force: bool,
        #[arg(long, default_value = "")]
        comment: String,
    },
}

#[derive(Debug, Subcommand)]
pub enum AuditCommand {
    /// The newest entries
    List {
        #[arg(long, default_value_t = 50, value_parser = clap::value_parser!(u32).range(1..=1000))]
        limit: u32,
    },
    /// Read the whole log and check that nothing in it was altered, left out or put in
    Verify {
        /// What an earlier `verify` printed: it must still be in the log
        #[arg(long, value_name = "SEQUENCE:HASH")]
        known: Option<String>,
    },
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
