//! What the tests of this module share: a fleet's CA, and a controller on the wire whose sessions
//! the test itself holds.

mod pki;
mod server;

use std::time::Duration;

use hawser_proto::config::v1 as config;
use tokio::sync::mpsc;
use tokio::time::timeout;

use super::ControlEvent;

pub use pki::Ca;
pub use server::{Peer, PeerSession, Pipe};

/// Longer than anything that is expected to happen takes, on a busy machine.
pub const SOON: Duration = Duration::from_secs(20);

/// The next event for the engine.
pub async fn next(events: &mut mpsc::Receiver<ControlEvent>) -> ControlEvent {
    timeout(SOON, events.recv()).await.expect("an event in time").expect("the link runs")
}

/// The next event that is not about the session.
pub async fn next_order(events: &mut mpsc::Receiver<ControlEvent>) -> ControlEvent {
    loop {
        match next(events).await {
            ControlEvent::Connected(_) | ControlEvent::Disconnected => {}
            event => return event,
        }
    }
}

/// Waits until it is so.
pub async fn until(what: &str, mut is_so: impl FnMut() -> bool) {
    let waiting = async {
        while !is_so() {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    assert!(timeout(SOON, waiting).await.is_ok(), "not in time: {what}");
}

/// A sound configuration of edge b1-1 of fleet acme.
pub fn edge_config() -> config::EdgeConfig {
    config::EdgeConfig {
        fleet: "acme".to_owned(),
        site: "b1".to_owned(),
        edge: "b1-1".to_owned(),
        edge_id: 2,
        segments: vec![config::Segment { id: 1, name: "main".to_owned() }],
        traffic_classes: vec![config::TrafficClass {
            id: 1,
            name: "default".to_owned(),
            ..Default::default()
        }],
        fabric_port: 4510,
        ..Default::default()
    }
}
