//! One function a command: ask, then show.

mod audit;
mod ca;
mod document;
mod events;
mod look;
mod maintenance;
mod plan;
mod record;
pub mod replay;
mod revisions;
mod site;
mod token;
mod top;
mod why;

use std::time::Duration;

use clap::CommandFactory as _;

use crate::args::{
    Args, AuditCommand, CaCommand, Command, FleetCommand, RolloutCommand, TokenCommand,
};
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
        Command::Fmt { ref file, check } => return document::fmt(file, check, output),
        Command::Schema => return document::schema(output),
        _ => {}
    }
    // Before the runtime takes over Ctrl-C: standard input may block.
    let document = match &args.command {
        Command::Validate { file, .. } => document::read_to_send(file)?,
        Command::Apply { file, .. } => plan::read_document_or_plan(file)?,
        Command::Plan { file: Some(file), .. } => document::read_to_send(file)?,
        Command::Ca(CaCommand::Rotate { certificate: Some(file), .. }) => {
            ca::read_certificate(file)?
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
    let (context, warnings) = context::load(args.context, args.fleet)?;
    warnings.iter().for_each(|warning| output.note(&format!("warning: {warning}")));
    let timeout = match args.command {
        Command::Apply { .. } | Command::Plan { .. } | Command::Rollback { .. } => {
            args.timeout.max(APPLY_TIMEOUT)
        }
        _ => args.timeout,
    };
    let session = Session::new(&context, timeout)?;
    match args.command {
        Command::Validate { .. } => document::validate(&session, document, output).await,
        Command::Apply { comment, expect, staging, wait, wait_within, .. } => {
            let asked = document::Asked { document, comment, expect, staging };
            let revision = document::apply(&session, asked, output).await?;
            match revision.filter(|_| wait) {
                Some(revision) => {
                    maintenance::follow(&session, revision, wait_within, output).await
                }
                None => Ok(()),
            }
        }
        Command::Plan { revision, out, .. } => {
            plan::plan(&session, document, revision, out.as_deref(), output).await
        }
        Command::History { limit } => revisions::history(&session, limit, output).await,
        Command::Show { revision } => document::show(&session, revision, output).await,
        Command::Diff { from, to } => revisions::diff(&session, from, to, output).await,
        Command::Rollback { revision, comment, expect, staging } => {
            let policy = document::policy(&staging);
            revisions::rollback(&session, revision, comment, expect, policy, output).await
        }
        Command::Rollout { command: None } => maintenance::rollout(&session, output).await,
        Command::Rollout { command: Some(RolloutCommand::Confirm) } => {
            maintenance::confirm(&session, output).await
        }
        Command::Rollout { command: Some(RolloutCommand::Abort { reason }) } => {
            maintenance::abort(&session, reason, output).await
        }
        Command::Drain { target: None, .. } => maintenance::drains(&session, output).await,
        Command::Drain { target: Some(target), comment } => {
            maintenance::drain(&session, target, true, comment, output).await
        }
        Command::Undrain { target } => {
            maintenance::drain(&session, target, false, String::new(), output).await
        }
        Command::Audit(AuditCommand::List { limit }) => audit::list(&session, limit, output).await,
        Command::Audit(AuditCommand::Verify { known }) => {
            audit::verify(&session, known, output).await
        }
        Command::Status => look::status(&session, output).await,
        Command::Sites => look::sites(&session, output).await,
        Command::Site(command) => site::site(&session, command, output).await,
        Command::Ca(command) => ca::ca(&session, command, document, output).await,
        Command::Paths { site } => look::paths(&session, site, output).await,
        Command::Top { every } => top::top(&session, every, output).await,
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
        Command::Fmt { file, check } => document::fmt(&file, check, output),
        Command::Schema => document::schema(output),
        Command::Completions { shell } => completions(shell, output),
    }
}

fn completions(shell: clap_complete::Shell, output: &Output) -> Result<(), CliError> {
    let mut script = Vec::new();
    clap_complete::generate(shell, &mut Args::command(), "hawser", &mut script);
    output.raw(&script)
}
