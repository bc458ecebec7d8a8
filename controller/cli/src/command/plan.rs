//! `plan`, and the files that it writes for `apply`.

use std::path::Path;

use hawser_controller_core::MAX_DOCUMENT_BYTES;
use hawser_proto::operator::v1::{PlanRequest, PlanResponse};
use serde::{Deserialize, Serialize};

use super::document;
use crate::client::{Client, Session};
use crate::error::{CliError, Exit};
use crate::output::Output;
use crate::show::{self, json};

const FORMAT: u32 = 1;

/// A reviewed plan: the document, and what it was compared with.
#[derive(Debug, Serialize, Deserialize)]
pub struct PlanFile {
    hawser_plan: u32,
    /// 0: nothing was applied yet.
    pub base_revision: u64,
    document_sha256: String,
    pub document: String,
}

pub async fn plan(
    session: &Session,
    document: Vec<u8>,
    revision: Option<u64>,
    out: Option<&Path>,
    output: &Output,
) -> Result<(), CliError> {
    let request =
        PlanRequest { document: document.clone(), revision: revision.unwrap_or_default() };
    // Once: a big fleet takes a while, and whoever waits wants to know soon if nobody is there.
    let call = |mut client: Client| async move { client.plan(request).await };
    let response: PlanResponse = session.change(call).await?;
    if !response.faults.is_empty() {
        let mut error = CliError::faulty(response.faults);
        error.message = error.message.replace("; nothing was applied", "");
        return Err(error);
    }
    output.answer(|style| show::plan(style, &response), || json::plan(&response))?;
    if let Some(out) = out {
        let file = PlanFile {
            hawser_plan: FORMAT,
            base_revision: response.base_revision,
            document_sha256: response.document_sha256.clone(),
            document: String::from_utf8_lossy(&document).into_owned(),
        };
        let text = serde_json::to_vec_pretty(&file).unwrap_or_default();
        write(out, &text)?;
        output.note(&format!("apply exactly this: hawser apply {}", out.display()));
    }
    if response.unchanged {
        return Ok(());
    }
    Err(CliError::new(Exit::Changes, "CHANGES", "there are changes", ""))
}

/// The plan that the bytes are; none: they are a document.
pub fn of(bytes: &[u8]) -> Result<Option<PlanFile>, CliError> {
    let begins = bytes.trim_ascii_start().starts_with(b"{");
    let Some(plan) = begins.then(|| serde_json::from_slice::<PlanFile>(bytes).ok()).flatten()
    else {
        return Ok(None);
    };
    if plan.hawser_plan != FORMAT {
        let message = format!("the plan has format {}, not {FORMAT}", plan.hawser_plan);
        return Err(CliError::new(Exit::Usage, "PLAN_FORMAT", message, "plan again"));
    }
    Ok(Some(plan))
}

/// A plan is a document with a little around it.
pub fn read_document_or_plan(file: &Path) -> Result<Vec<u8>, CliError> {
    let bytes = document::read_at_most(file, 8 * MAX_DOCUMENT_BYTES as u64)?;
    if of(&bytes)?.is_none() && bytes.len() > MAX_DOCUMENT_BYTES {
        return Err(document::too_large(&bytes));
    }
    Ok(bytes)
}

/// Replaces a file as a whole.
pub fn write(path: &Path, bytes: &[u8]) -> Result<(), CliError> {
    let mut partial = path.as_os_str().to_owned();
    partial.push(".partial");
    let written = std::fs::write(&partial, bytes).and_then(|()| std::fs::rename(&partial, path));
    written.map_err(|error| {
        let message = format!("{} can't be written: {error}", path.display());
        CliError::new(Exit::Failed, "FILE_NOT_WRITTEN", message, "choose another place")
    })
}
