//! `validate`, `apply`, `fleet show`.

use std::io::Read;
use std::path::Path;

use hawser_controller_core::{Fleet, MAX_DOCUMENT_BYTES, parse, validate as core_validate};
use hawser_proto::agent::v1::Fault;
use hawser_proto::operator::v1::{ApplyRequest, GetFleetRequest, ValidateRequest};

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

pub async fn apply(
    session: &Session,
    document: Vec<u8>,
    comment: String,
    expected_revision: u64,
    output: &Output,
) -> Result<(), CliError> {
    let request = ApplyRequest { document, comment, expected_revision };
    let response = session.change(|mut client| async move { client.apply(request).await }).await?;
    if !response.faults.is_empty() {
        return Err(CliError::faulty(response.faults));
    }
    output.answer(|style| show::applied(style, &response), || json::applied(&response))
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
        return Err(CliError::faulty(check(&document)));
    }
    Ok(document)
}

/// At most one octet more than a document may have.
fn read(file: &Path) -> Result<Vec<u8>, CliError> {
    let limit = MAX_DOCUMENT_BYTES as u64 + 1;
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
