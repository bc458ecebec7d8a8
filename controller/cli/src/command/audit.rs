//! `audit`: the log, and whether it is whole. The chain is checked here, not by the controller that may have altered it.

use hawser_controller_core::audit::{Entry, Record, Verifier};
use hawser_proto::operator::v1::{AuditEntry, ListAuditRequest, ListAuditResponse};

use crate::client::{Client, Session};
use crate::error::{CliError, Exit};
use crate::output::Output;
use crate::show::{self, json};

const PAGE: u32 = 1_000;

pub async fn list(session: &Session, limit: u32, output: &Output) -> Result<(), CliError> {
    let request = ListAuditRequest { page_size: limit, newest: true, ..Default::default() };
    let entries = page(session, request).await?.entries;
    output.answer(|style| show::audit(style, &entries), || json::audit(&entries))
}

pub async fn verify(
    session: &Session,
    known: Option<String>,
    output: &Output,
) -> Result<(), CliError> {
    let known = known.map(|text| parse_known(&text)).transpose()?;
    let mut verifier = Verifier::default();
    let (mut after, mut first, mut found) = (0, 0, known.is_none());
    loop {
        let request = ListAuditRequest { after_sequence: after, page_size: PAGE, newest: false };
        let entries = page(session, request).await?.entries;
        let Some(last) = entries.last().map(|entry| entry.sequence) else { break };
        for entry in entries.into_iter().map(entry) {
            if first == 0 {
                first = entry.sequence;
            }
            verifier.take(&entry).map_err(|broken| broken_log(&broken.to_string()))?;
            found |= known == Some((entry.sequence, entry.hash));
        }
        after = last;
    }
    let (sequence, hash) = verifier.last().unwrap_or_default();
    if let Some((known, _)) = known.filter(|_| !found) {
        let why = match known {
            _ if known < first => format!("entry {known} is older than the oldest that is kept"),
            _ => format!("entry {known} is not there as it was"),
        };
        return Err(broken_log(&why));
    }
    let checked = verifier.checked;
    output.answer(
        |style| show::audit_whole(style, checked, first, sequence, hash),
        || json::audit_whole(checked, first, sequence, hash),
    )
}

fn broken_log(why: &str) -> CliError {
    let mend = "keep a copy of the controller's store, and find out who had access to it";
    CliError::new(Exit::Refused, "AUDIT_BROKEN", format!("the audit log is not whole: {why}"), mend)
}

async fn page(session: &Session, request: ListAuditRequest) -> Result<ListAuditResponse, CliError> {
    let call = |mut client: Client| async move { client.list_audit(request).await };
    session.read(call).await
}

fn parse_known(text: &str) -> Result<(u64, String), CliError> {
    let parts = text.split_once(':');
    let parsed = parts.and_then(|(n, hash)| Some((n.parse().ok()?, hash.to_owned())));
    parsed.ok_or_else(|| {
        let mend = "write it as `hawser audit verify` printed it: SEQUENCE:HASH";
        CliError::new(Exit::Usage, "KNOWN_INVALID", format!("{text} is no place in the log"), mend)
    })
}

fn entry(told: AuditEntry) -> Entry {
    Entry {
        sequence: told.sequence,
        unix_ms: told.unix_ms,
        record: Record {
            actor: told.actor,
            action: told.action,
            subject: told.subject,
            detail: told.detail,
        },
        suppressed: told.suppressed,
        previous: told.previous,
        hash: told.hash,
    }
}
