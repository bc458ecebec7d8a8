//! `events`.

use std::collections::BTreeSet;

use hawser_proto::operator::v1::{Event, ListEventsRequest, WatchRequest};
use tokio::time::sleep;

use crate::client::{Client, Pauses, Session, worth_another_try};
use crate::error::{CliError, Exit};
use crate::output::Output;
use crate::show::{self, json};
use crate::time::{Since, now_unix_ms};

pub async fn list(
    session: &Session,
    since: Option<Since>,
    limit: u32,
    output: &Output,
) -> Result<(), CliError> {
    let since_unix_ms = since.map_or(0, |since| since.unix_ms(now_unix_ms()));
    let request = ListEventsRequest { since_unix_ms, limit };
    let call = |mut client: Client| async move { client.list_events(request).await };
    let events = session.read(call).await?.events;
    output.answer(|style| show::events(style, &events), || json::events(&events))
}

/// Until Ctrl-C; over restarts of the controller, as far as it keeps what happened meanwhile.
pub async fn follow(
    session: &Session,
    since: Option<Since>,
    output: &Output,
) -> Result<(), CliError> {
    let mut shown = Shown::new(since.map_or(0, |since| since.unix_ms(now_unix_ms())));
    let (mut watching, mut pauses) = (false, Pauses::default());
    loop {
        let request = WatchRequest { since_unix_ms: shown.unix_ms };
        let call = |mut client: Client| async move { client.watch(request).await };
        let mut stream = match session.read(call).await {
            Ok(stream) => stream,
            Err(error) if watching && error.exit == Exit::Unreachable => {
                sleep(pauses.next()).await;
                continue;
            }
            Err(error) => return Err(error),
        };
        (watching, pauses) = (true, Pauses::default());
        let ended = loop {
            match stream.message().await {
                Ok(Some(event)) => {
                    if shown.is_new(&event) {
                        output.line(|style| show::event(style, &event), || json::event(&event))?;
                    }
                }
                Ok(None) => break None,
                Err(status) => break Some(status),
            }
        };
        if let Some(status) = &ended
            && !worth_another_try(status)
            && !connection_lost(status)
        {
            return Err(session.error(status));
        }
        output.note("the controller closed the stream; trying again");
        // What happens while nobody watches is asked for.
        shown.resume_at(now_unix_ms());
        sleep(pauses.next()).await;
    }
}

/// A connection that breaks in the middle of a stream comes as one of these.
fn connection_lost(status: &tonic::Status) -> bool {
    matches!(status.code(), tonic::Code::Unknown | tonic::Code::Internal | tonic::Code::Cancelled)
        && std::error::Error::source(status).is_some()
}

/// The newest time that was shown, and the events of that very time: a new stream begins with them again.
struct Shown {
    unix_ms: u64,
    sequences: BTreeSet<u64>,
}

impl Shown {
    fn new(unix_ms: u64) -> Self {
        Self { unix_ms, sequences: BTreeSet::new() }
    }

    fn resume_at(&mut self, now_unix_ms: u64) {
        if self.unix_ms == 0 {
            self.unix_ms = now_unix_ms;
        }
    }

    fn is_new(&mut self, event: &Event) -> bool {
        if event.unix_ms > self.unix_ms {
            self.unix_ms = event.unix_ms;
            self.sequences.clear();
        }
        event.unix_ms < self.unix_ms || self.sequences.insert(event.sequence)
    }
}

#[cfg(test)]
mod tests {
    use hawser_proto::operator::v1::Event;

    use super::Shown;

    #[test]
    fn a_new_stream_shows_nothing_twice_and_leaves_nothing_out() {
        let event = |unix_ms, sequence| Event { unix_ms, sequence, ..Event::default() };
        let mut shown = Shown::new(0);
        let table = [
            (event(10, 1), true),
            (event(20, 2), true),
            (event(20, 3), true),
            // The stream is opened again from 20 on.
            (event(20, 2), false),
            (event(20, 3), false),
            (event(20, 4), true),
            // An edge's clock is behind: late, but not shown before.
            (event(15, 5), true),
            (event(30, 6), true),
        ];
        for (event, expected) in table {
            assert_eq!(shown.is_new(&event), expected, "{event:?}");
        }
    }
}
