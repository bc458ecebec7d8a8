//! `site replace`, `site revoke`.

use hawser_proto::operator::v1::{ReplaceRequest, RevokeRequest};

use crate::args::SiteCommand;
use crate::client::{Client, Session};
use crate::error::CliError;
use crate::output::Output;
use crate::show;

pub async fn site(
    session: &Session,
    command: SiteCommand,
    output: &Output,
) -> Result<(), CliError> {
    match command {
        SiteCommand::Replace { target, valid_for, comment } => {
            let seconds = valid_for.map_or(0, |valid_for| valid_for.as_secs().max(1));
            let valid_for_s = u32::try_from(seconds).unwrap_or(u32::MAX);
            let request = ReplaceRequest { target: target.clone(), comment, valid_for_s };
            let call = |mut client: Client| async move { client.replace(request).await };
            let replaced = session.change(call).await?;
            if !output.is_json() {
                // Beside the answer: `hawser site replace ... > FILE` holds tokens and nothing else.
                output.note(&show::replaced(&replaced, &target));
            }
            let tokens = |style: &show::Style| {
                let text = |token: &hawser_proto::operator::v1::ReplacementToken| {
                    let token = token.token.as_ref().map_or("", |token| token.token.as_str());
                    style.strong(token)
                };
                replaced.tokens.iter().map(text).collect::<Vec<_>>().join("\n")
            };
            output.answer(tokens, || show::replaced_json(&replaced))
        }
        SiteCommand::Revoke { target, comment } => {
            let request = RevokeRequest { target: target.clone(), comment };
            let call = |mut client: Client| async move { client.revoke(request).await };
            let revoked = session.change(call).await?;
            output.answer(|_| show::revoked(&revoked, &target), || show::revoked_json(&revoked))
        }
    }
}
