//! `history`, `diff`, `rollback`.

use hawser_proto::operator::v1::{
    DiffRequest, GetFleetRequest, GetFleetResponse, ListRevisionsRequest, RollbackRequest,
    RolloutPolicy,
};

use crate::client::{Client, Session};
use crate::error::CliError;
use crate::output::Output;
use crate::show::{self, json};

pub async fn history(session: &Session, limit: u32, output: &Output) -> Result<(), CliError> {
    let call = |mut client: Client| async move {
        let request = ListRevisionsRequest { page_size: limit, ..Default::default() };
        client.list_revisions(request).await
    };
    let revisions = session.read(call).await?.revisions;
    output.answer(|style| show::history(style, &revisions), || json::history(&revisions))
}

/// The texts, and what the edges would see of it.
pub async fn diff(session: &Session, from: u64, to: u64, output: &Output) -> Result<(), CliError> {
    let (old, new) = (document(session, from).await?, document(session, to).await?);
    let request = DiffRequest { from, to: new.revision };
    let call = |mut client: Client| async move { client.diff(request).await };
    let plan = session.read(call).await?;
    output.answer(|style| show::diff(style, &old, &new, &plan), || json::diff(&old, &new, &plan))
}

async fn document(session: &Session, revision: u64) -> Result<GetFleetResponse, CliError> {
    let call =
        |mut client: Client| async move { client.get_fleet(GetFleetRequest { revision }).await };
    session.read(call).await
}

pub async fn rollback(
    session: &Session,
    revision: u64,
    comment: String,
    expected_revision: u64,
    rollout: Option<RolloutPolicy>,
    output: &Output,
) -> Result<(), CliError> {
    let request = RollbackRequest { revision, comment, expected_revision, rollout };
    let call = |mut client: Client| async move { client.rollback(request).await };
    let response = session.change(call).await?;
    if !response.faults.is_empty() {
        return Err(CliError::faulty(response.faults));
    }
    output.answer(|style| show::applied(style, &response), || json::applied(&response))
}
