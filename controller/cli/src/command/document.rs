//! `validate`, `apply`, `show`, `fmt`, `schema`.

use std::io::Read;
use std::path::Path;
use std::time::Duration;

use hawser_controller_core::format::{Unformatted, format};
use hawser_controller_core::{
    Fleet, MAX_DOCUMENT_BYTES, json_schema, parse, validate as core_validate,
};
use hawser_proto::agent::v1::Fault;
use hawser_proto::operator::v1::{ApplyRequest, GetFleetRequest, RolloutPolicy, ValidateRequest};

use super::plan;
use crate::args::Staging;
use crate::client::Session;
use crate::error::{CliError, Exit};
use crate::output::Output;
use crate::show::{self, json};

pub fn validate_offline(file: &Path, output: &Output) -> Result<(), CliError> {
    conclude(check(&read(file)?), output)
}

pub async fn validate(
    session: &Session,
    document: Vec<u8>,
    output: &Output,
) -> Result<(), CliError> {
    let request = ValidateRequest { document };
    let call = |mut client: crate::client::Client| {
        let request = request.clone();
        async move { client.validate(request).await }
    };
    conclude(session.read(call).await?.faults, output)
}

/// What is to be applied, and how.
pub struct Asked {
    pub document: Vec<u8>,
    pub comment: String,
    pub expect: u64,
    pub staging: Staging,
}

/// Returns the revision, if it is a new one.
pub async fn apply(
    session: &Session,
    asked: Asked,
    output: &Output,
) -> Result<Option<u64>, CliError> {
    let mut request = ApplyRequest {
        rollout: policy(&asked.staging),
        document: asked.document,
        comment: asked.comment,
        expected_revision: asked.expect,
        expect_none: false,
    };
    if let Some(plan) = plan::of(&request.document)? {
        request.expect_none = plan.base_revision == 0;
        request.expected_revision = plan.base_revision;
        request.document = plan.document.into_bytes();
    }
    let response = session.change(|mut client| async move { client.apply(request).await }).await?;
    if !response.faults.is_empty() {
        return Err(CliError::faulty(response.faults));
    }
    output.answer(|style| show::applied(style, &response), || json::applied(&response))?;
    Ok((!response.unchanged).then_some(response.revision))
}

/// None: not in stages.
pub fn policy(staging: &Staging) -> Option<RolloutPolicy> {
    let seconds = |time: Option<Duration>| {
        time.map_or(0, |time| u32::try_from(time.as_secs().max(1)).unwrap_or(u32::MAX))
    };
    staging.staged.then(|| RolloutPolicy {
        canary_sites: staging.canary.clone(),
        soak_s: seconds(staging.soak),
        confirm_within_s: seconds(staging.confirm_within),
        ..RolloutPolicy::default()
    })
}

/// In place; of standard input on standard output.
pub fn fmt(file: &Path, check: bool, output: &Output) -> Result<(), CliError> {
    let document = read(file)?;
    let formatted = format(&document).map_err(|error| match error {
        Unformatted::Unreadable(fault) => CliError::faulty(vec![fault.into()]),
        Unformatted::Unusual => {
            let mend = "write it more plainly; nothing was changed";
            CliError::new(Exit::Refused, "LAYOUT_UNUSUAL", error.to_string(), mend)
        }
    })?;
    let same = formatted.as_bytes() == document;
    if check {
        if same {
            return Ok(());
        }
        let message = format!("{} has another layout", file.display());
        return Err(CliError::new(Exit::Refused, "NOT_FORMATTED", message, "run `hawser fmt`"));
    }
    if file == Path::new("-") {
        return output.raw(formatted.as_bytes());
    }
    if same {
        return Ok(());
    }
    plan::write(file, formatted.as_bytes())?;
    output.note(&format!("{} has the one layout now", file.display()));
    Ok(())
}

pub fn schema(output: &Output) -> Result<(), CliError> {
    output.raw(format!("{:#}\n", json_schema()).as_bytes())
}

pub async fn show(session: &Session, revision: u64, output: &Output) -> Result<(), CliError> {
    let request = GetFleetRequest { revision };
    let response =
        session.read(|mut client| async move { client.get_fleet(request).await }).await?;
    output.answer(|style| show::fleet(style, &response), || json::fleet(&response))
}

fn conclude(faults: Vec<Fault>, output: &Output) -> Result<(), CliError> {
    if !faults.is_empty() {
        let mut error = CliError::faulty(faults);
        error.message = error.message.replace("; nothing was applied", "");
        return Err(error);
    }
    output.answer(|style| style.good("The document is valid."), json::valid)
}

fn check(document: &[u8]) -> Vec<Fault> {
    core_validate(document).into_iter().map(Fault::from).collect()
}

/// The meaning of a document, without a controller.
pub fn parse_fleet(file: &Path) -> Result<Fleet, CliError> {
    parse(&read(file)?).map_err(|faults| {
        let mut error = CliError::faulty(faults.into_iter().map(Fault::from).collect());
        error.message = error.message.replace("; nothing was applied", "");
        error
    })
}

/// What can't be read at all is told here: the controller would not take it.
pub fn read_to_send(file: &Path) -> Result<Vec<u8>, CliError> {
    let document = read(file)?;
    if document.len() > MAX_DOCUMENT_BYTES {
        return Err(too_large(&document));
    }
    Ok(document)
}

pub fn too_large(document: &[u8]) -> CliError {
    CliError::faulty(check(document))
}

/// At most one octet more than a document may have.
fn read(file: &Path) -> Result<Vec<u8>, CliError> {
    read_at_most(file, MAX_DOCUMENT_BYTES as u64 + 1)
}

pub fn read_at_most(file: &Path, limit: u64) -> Result<Vec<u8>, CliError> {
    let mut document = Vec::new();
    let result = if file == Path::new("-") {
        std::io::stdin().lock().take(limit).read_to_end(&mut document)
    } else {
        std::fs::File::open(file).and_then(|file| file.take(limit).read_to_end(&mut document))
    };
    result.map_err(|error| {
        let message = format!("{} can't be read: {error}", file.display());
        CliError::new(Exit::Usage, "FILE_UNREADABLE", message, "name a YAML or JSON file, or -")
    })?;
    Ok(document)
}
