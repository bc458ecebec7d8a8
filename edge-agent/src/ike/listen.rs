//! What charon says unasked: that something changed, and lines of its log.

use std::path::PathBuf;
use std::time::Duration;

use tokio::sync::mpsc;
use tokio::time::sleep;

use super::{ClientError, ViciClient};

/// Lines that wait; what is beyond is lost, the next look at charon tells the state all the same.
const HEARD: usize = 256;
const AGAIN_AFTER: Duration = Duration::from_secs(1);
const EVENTS: [&str; 5] = ["ike-updown", "child-updown", "ike-rekey", "child-rekey", "log"];

#[derive(Debug)]
pub(super) enum Heard {
    Changed,
    Line { connection: String, line: String },
}

/// Listens to whoever is at the socket until the receiver is gone.
pub(super) fn start(socket: PathBuf) -> mpsc::Receiver<Heard> {
    let (heard, inbox) = mpsc::channel(HEARD);
    tokio::spawn(async move {
        while !heard.is_closed() {
            let _ = listen(&socket, &heard).await;
            sleep(AGAIN_AFTER).await;
        }
    });
    inbox
}

async fn listen(socket: &std::path::Path, heard: &mpsc::Sender<Heard>) -> Result<(), ClientError> {
    let mut client = ViciClient::open(socket).await?;
    for event in EVENTS {
        client.subscribe(event).await?;
    }
    let _ = heard.try_send(Heard::Changed);
    loop {
        let (event, message) = tokio::select! {
            told = client.next_event() => told?,
            () = heard.closed() => return Ok(()),
        };
        let said = if event == "log" {
            let text = |name| message.text(name).unwrap_or_default().to_owned();
            Heard::Line { connection: text("ikesa-name"), line: text("msg") }
        } else {
            Heard::Changed
        };
        let _ = heard.try_send(said);
    }
}
