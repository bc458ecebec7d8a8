//! `rollout`, `drain`, `undrain`, and waiting for edges to change over.

use std::collections::BTreeMap;
use std::time::Duration;

use hawser_proto::operator::v1::{
    AbortRolloutRequest, ConfirmRolloutRequest, GetRolloutRequest, ListDrainsRequest,
    ListSitesRequest, Rollout, SetDrainRequest, Site,
};
use tokio::time::{Instant, sleep};

use crate::client::{Client, Session};
use crate::error::{CliError, Exit};
use crate::output::Output;
use crate::show::{self, json};

const LOOK_EVERY: Duration = Duration::from_secs(1);

pub async fn rollout(session: &Session, output: &Output) -> Result<(), CliError> {
    let rollout = get(session).await?;
    output.answer(|style| show::rollout(style, &rollout), || json::rollout(&rollout))
}

async fn get(session: &Session) -> Result<Rollout, CliError> {
    let call = |mut client: Client| async move { client.get_rollout(GetRolloutRequest {}).await };
    session.read(call).await
}

pub async fn confirm(session: &Session, output: &Output) -> Result<(), CliError> {
    let call =
        |mut client: Client| async move { client.confirm_rollout(ConfirmRolloutRequest {}).await };
    let rollout = session.change(call).await?;
    output.answer(|style| show::rollout(style, &rollout), || json::rollout(&rollout))
}

pub async fn abort(session: &Session, reason: String, output: &Output) -> Result<(), CliError> {
    let request = AbortRolloutRequest { reason };
    let call = |mut client: Client| async move { client.abort_rollout(request).await };
    let rollout = session.change(call).await?;
    output.answer(|style| show::rollout(style, &rollout), || json::rollout(&rollout))
}

pub async fn drains(session: &Session, output: &Output) -> Result<(), CliError> {
    let call = |mut client: Client| async move { client.list_drains(ListDrainsRequest {}).await };
    let drains = session.read(call).await?.drains;
    output.answer(|style| show::drains(style, &drains), || json::drains(&drains))
}

pub async fn drain(
    session: &Session,
    target: String,
    drained: bool,
    comment: String,
    output: &Output,
) -> Result<(), CliError> {
    let request = SetDrainRequest { target: target.clone(), drained, comment };
    let call = |mut client: Client| async move { client.set_drain(request).await };
    let response = session.change(call).await?;
    output.answer(
        |style| show::drain(style, &target, drained, &response),
        || json::drain(&target, drained, &response),
    )
}

/// Shows each edge once when what it makes of its generation changes, until nobody has to do anything more.
pub async fn follow(
    session: &Session,
    revision: u64,
    within: Duration,
    output: &Output,
) -> Result<(), CliError> {
    let end = Instant::now() + within;
    let mut shown: BTreeMap<String, String> = BTreeMap::new();
    loop {
        let sites = all_sites(session).await?;
        let rollout = get(session).await?;
        let staged = rollout.revision == revision;
        let mut waiting = 0;
        for edge in sites.iter().flat_map(|site| &site.edges) {
            let word = show::convergence(edge);
            waiting += usize::from(edge.connected && matches!(word, "pending" | "applied"));
            if shown.get(&edge.name).is_none_or(|before| before != word) {
                output.line(
                    |_| format!("{}: {word}", show::clean(&edge.name)),
                    || serde_json::json!({"edge": edge.name, "generation": word}),
                )?;
                shown.insert(edge.name.clone(), word.to_owned());
            }
        }
        match rollout.phase.as_str() {
            "rolled-back" if staged => {
                let message = format!("revision {revision} was taken back: {}", rollout.reason);
                let mend = "look at `hawser rollout` and `hawser sites`";
                return Err(CliError::new(Exit::Refused, "ROLLED_BACK", message, mend));
            }
            phase if waiting == 0 && (!staged || phase == "done") => return Ok(()),
            _ => {}
        }
        if Instant::now() >= end {
            let message = format!("{waiting} edges have not confirmed their generation yet");
            let mend = "look at `hawser sites`, or wait longer";
            return Err(CliError::new(Exit::Failed, "NOT_CONVERGED", message, mend));
        }
        sleep(LOOK_EVERY).await;
    }
}

async fn all_sites(session: &Session) -> Result<Vec<Site>, CliError> {
    let mut sites = Vec::new();
    let mut page_token = String::new();
    loop {
        let request = ListSitesRequest { page_size: 1_000, page_token };
        let call = |mut client: Client| {
            let request = request.clone();
            async move { client.list_sites(request).await }
        };
        let page = session.read(call).await?;
        sites.extend(page.sites);
        if page.next_page_token.is_empty() {
            return Ok(sites);
        }
        page_token = page.next_page_token;
    }
}
