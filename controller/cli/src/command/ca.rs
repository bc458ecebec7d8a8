//! `ca status`, `ca rotate`, `ca retire`.

use std::path::Path;
use std::time::Duration;

use hawser_proto::operator::v1::{
    GetAuthorityRequest, RetireAuthorityRequest, RotateAuthorityRequest,
};

use super::document::read_at_most;
use crate::args::CaCommand;
use crate::client::{Client, Session};
use crate::error::{CliError, Exit};
use crate::output::Output;
use crate::show;

/// Longest certificate that is sent, in bytes.
const MAX_CERTIFICATE_BYTES: usize = 64 * 1024;

pub fn read_certificate(file: &Path) -> Result<Vec<u8>, CliError> {
    let read = read_at_most(file, MAX_CERTIFICATE_BYTES as u64 + 1)?;
    if read.is_empty() || read.len() > MAX_CERTIFICATE_BYTES || std::str::from_utf8(&read).is_err()
    {
        let message = format!("{} is no PEM certificate", file.display());
        let mend = "take the file that `hawser-controller sign-ca` made";
        return Err(CliError::new(Exit::Usage, "CERTIFICATE_UNREADABLE", message, mend));
    }
    Ok(read)
}

pub async fn ca(
    session: &Session,
    command: CaCommand,
    certificate: Vec<u8>,
    output: &Output,
) -> Result<(), CliError> {
    match command {
        CaCommand::Status => {
            let call = |mut client: Client| async move {
                client.get_authority(GetAuthorityRequest {}).await
            };
            let status = session.read(call).await?;
            output.answer(|style| show::authority(style, &status), || show::authority_json(&status))
        }
        CaCommand::Rotate { renew_within, comment, .. } => {
            let asks = certificate.is_empty();
            let seconds = renew_within.map_or(0, |within: Duration| within.as_secs().max(1));
            let request = RotateAuthorityRequest {
                certificate_pem: String::from_utf8(certificate).unwrap_or_default(),
                renew_within_s: u32::try_from(seconds).unwrap_or(u32::MAX),
                comment,
            };
            let call = |mut client: Client| async move { client.rotate_authority(request).await };
            let status = session.change(call).await?;
            if asks && !output.is_json() {
                // Beside the answer: `hawser ca rotate > FILE` holds the request and nothing else.
                output.note(show::REQUEST_NOTE);
            }
            let text = |style: &show::Style| match asks {
                true => status.request_pem.clone(),
                false => show::authority(style, &status),
            };
            output.answer(text, || show::authority_json(&status))
        }
        CaCommand::Retire { force, comment } => {
            let request = RetireAuthorityRequest { force, comment };
            let call = |mut client: Client| async move { client.retire_authority(request).await };
            let status = session.change(call).await?;
            output.answer(|style| show::authority(style, &status), || show::authority_json(&status))
        }
    }
}
