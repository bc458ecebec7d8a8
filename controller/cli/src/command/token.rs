//! `token`.

use hawser_proto::operator::v1::{
    CreateTokenRequest, ListTokensRequest, RevokeTokenRequest, TokenKind,
};

use crate::args::CreateToken;
use crate::client::{Client, Session};
use crate::error::CliError;
use crate::output::Output;
use crate::show::{self, json};
use crate::time::now_unix_ms;

pub async fn create(session: &Session, new: CreateToken, output: &Output) -> Result<(), CliError> {
    let kind = if new.edge.is_some() { TokenKind::Enrolment } else { TokenKind::Api };
    let seconds = new.valid_for.map_or(0, |valid_for| valid_for.as_secs().max(1));
    let request = CreateTokenRequest {
        kind: kind.into(),
        edge: new.edge.clone().unwrap_or_default(),
        valid_for_s: u32::try_from(seconds).unwrap_or(u32::MAX),
        role: new.role.map(|role| role.name().to_owned()).unwrap_or_default(),
        comment: new.comment,
    };
    let call = |mut client: Client| async move { client.create_token(request).await };
    let created = session.change(call).await?;
    let edge = new.edge.as_deref();
    if !output.is_json() {
        // Beside the answer: `hawser token create ... > FILE` holds the token and nothing else.
        output.note(&show::token_created(&created, edge));
    }
    output.answer(|style| style.strong(&created.token), || json::token_created(&created, edge))
}

pub async fn list(session: &Session, output: &Output) -> Result<(), CliError> {
    let call = |mut client: Client| async move { client.list_tokens(ListTokensRequest {}).await };
    let tokens = session.read(call).await?.tokens;
    let now = now_unix_ms();
    output.answer(|style| show::tokens(style, &tokens, now), || json::tokens(&tokens, now))
}

pub async fn revoke(session: &Session, id: String, output: &Output) -> Result<(), CliError> {
    let request = RevokeTokenRequest { id: id.clone() };
    let call = |mut client: Client| async move { client.revoke_token(request).await };
    session.change(call).await?;
    output.answer(|_| format!("Token {id} is revoked."), || json::token_revoked(&id))
}
