//! `status`, `sites`, `paths`, `advice`.

use hawser_proto::operator::v1::{
    GetStatusRequest, IkeTunnel, ListAdviceRequest, ListPathsRequest, ListSitesRequest, Path, Site,
};

use crate::client::Session;
use crate::error::{CliError, Exit};
use crate::output::Output;
use crate::show::{self, json};
use crate::time::now_unix_ms;

const PAGE_SIZE: u32 = 500;
/// More than a fleet has: a controller that never ends its list would keep us forever.
const MAX_PAGES: usize = 4_000;

pub async fn status(session: &Session, output: &Output) -> Result<(), CliError> {
    let call = |mut client: crate::client::Client| async move {
        client.get_status(GetStatusRequest {}).await
    };
    let status = session.read(call).await?;
    output.answer(|style| show::status(style, &status), || json::status(&status))
}

pub async fn sites(session: &Session, output: &Output) -> Result<(), CliError> {
    let mut sites: Vec<Site> = Vec::new();
    let mut request = ListSitesRequest { page_size: PAGE_SIZE, page_token: String::new() };
    for _ in 0..MAX_PAGES {
        let asked = request.clone();
        let call = |mut client: crate::client::Client| {
            let asked = asked.clone();
            async move { client.list_sites(asked).await }
        };
        let page = session.read(call).await?;
        sites.extend(page.sites);
        if page.next_page_token.is_empty() {
            let now = now_unix_ms();
            return output.answer(|style| show::sites(style, &sites, now), || json::sites(&sites));
        }
        request.page_token = page.next_page_token;
    }
    Err(endless())
}

pub async fn paths(
    session: &Session,
    site: Option<String>,
    output: &Output,
) -> Result<(), CliError> {
    let (mut paths, mut tunnels): (Vec<Path>, Vec<IkeTunnel>) = Default::default();
    let site = site.unwrap_or_default();
    let mut request = ListPathsRequest { site, page_size: PAGE_SIZE, page_token: String::new() };
    for _ in 0..MAX_PAGES {
        let asked = request.clone();
        let call = |mut client: crate::client::Client| {
            let asked = asked.clone();
            async move { client.list_paths(asked).await }
        };
        let page = session.read(call).await?;
        paths.extend(page.paths);
        tunnels.extend(page.ike_tunnels);
        if page.next_page_token.is_empty() {
            return output.answer(
                |style| show::paths(style, &paths, &tunnels),
                || json::paths(&paths, &tunnels),
            );
        }
        request.page_token = page.next_page_token;
    }
    Err(endless())
}

pub async fn advice(session: &Session, output: &Output) -> Result<(), CliError> {
    let call = |mut client: crate::client::Client| async move {
        client.list_advice(ListAdviceRequest {}).await
    };
    let advice = session.read(call).await?;
    let now = now_unix_ms();
    output.answer(|style| show::advice(style, &advice, now), || json::advice(&advice))
}

fn endless() -> CliError {
    CliError::new(Exit::Failed, "LIST_ENDLESS", "the controller's list does not end", "")
}
