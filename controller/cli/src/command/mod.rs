//! One function a command: ask, then show.

mod document;
mod events;
mod look;
mod record;
pub mod replay;
mod token;
mod why;

use std::time::Duration;

use clap::CommandFactory as _;

use crate::args::{Args, Command, FleetCommand, TokenCommand};
use crate::client::Session;
use crate::context;
use crate::error::{CliError, Exit};
use crate::output::Output;

/// A document of 10,000 sites takes the controller a while.
const APPLY_TIMEOUT: Duration = Duration::from_secs(120);

/// Does what was typed.
pub fn run(args: Args, output: &Output) -> Result<(), CliError> {
    match args.command {
        Command::Completions { shell } => return completions(shell, output),
        Command::Validate { ref file, offline: true } => {
            return document::validate_offline(file, output);
        }
        Command::Replay(ref arguments) => return replay::replay(arguments, output),
        _ => {}
    }
    // Before the runtime takes over Ctrl-C: standard input may block.
    let document = match &args.command {
        Command::Validate { file, .. } | Command::Apply { file, .. } => {
            document::read_to_send(file)?
        }
        _ => Vec::new(),
    };
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    let runtime = runtime.map_err(|error| {
        CliError::new(Exit::Failed, "RUNTIME", format!("no runtime: {error}"), "")
    })?;
    runtime.block_on(async {
        let follows = matches!(args.command, Command::Events { follow: true, .. });
        tokio::select! {
            result = ask(args, document, output) => result,
            _ = tokio::signal::ctrl_c() => {
                if follows { Ok(()) } else { Err(CliError::interrupted()) }
            }
        }
    })
}

async fn ask(args: Args, document: Vec<u8>, output: &Output) -> Result<(), CliError> {
    let (context, warnings) = context::load(args.context)?;
    warnings.iter().for_each(|warning| output.note(&format!("warning: {warning}")));
    let timeout = match args.command {
        Command::Apply { .. } => args.timeout.max(APPLY_TIMEOUT),
        _ => args.timeout,
    };
    let session = Session::new(&context, timeout)?;
    match args.command {
        Command::Validate { .. } => document::validate(&session, document, output).await,
        Command::Apply { comment, expect, .. } => {
            document::apply(&session, document, comment, expect, output).await
        }
        Command::Status => look::status(&session, output).await,
        Command::Sites => look::sites(&session, output).await,
        Command::Paths { site } => look::paths(&session, site, output).await,
        Command::Why { site, class, peer, at, limit } => {
            let question = why::Question { site, class, peer, at, limit };
            why::why(&session, question, output).await
        }
        Command::Advice => look::advice(&session, output).await,
        Command::Record { site, since, until, tunnel, grid_ms, out } => {
            let wanted = record::Wanted { site, since, until, tunnel, grid_ms, out };
            record::record(&session, wanted, output).await
        }
        Command::Events { follow: true, since, .. } => {
            events::follow(&session, since, output).await
        }
        Command::Events { since, limit, .. } => events::list(&session, since, limit, output).await,
        Command::Token(TokenCommand::Create(new)) => token::create(&session, new, output).await,
        Command::Token(TokenCommand::List) => token::list(&session, output).await,
        Command::Token(TokenCommand::Revoke { id }) => token::revoke(&session, id, output).await,
        Command::Fleet(FleetCommand::Show { revision }) => {
            document::show(&session, revision, output).await
        }
        // Done before, without a controller.
        Command::Replay(arguments) => replay::replay(&arguments, output),
        Command::Completions { shell } => completions(shell, output),
    }
}

fn completions(shell: clap_complete::Shell, output: &Output) -> Result<(), CliError> {
    let mut script = Vec::new();
    clap_complete::generate(shell, &mut Args::command(), "hawser", &mut script);
    output.raw(&script)
}
