//! Whether each controller is reached, and how far this clock is off its.

use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use futures::future::join_all;
use hawser_edge_core::config::EdgeState;
use hawser_edge_core::doctor::{Controller, http_date_unix_s};
use tonic::body::Body;
use tonic::codegen::http::{Request, header};
use tonic::transport::Channel;
use tower::{Service, ServiceExt};

use crate::control::dial::{Tls, dial, enrolled_tls};
use crate::control::{Calendar, DialError, Identity, ended_on_disk};

/// More are not tried.
const MAX_CONTROLLERS: usize = 8;
/// By more uplinks one controller is not tried.
const MAX_UPLINKS: usize = 4;
const ANSWERS_WITHIN: Duration = Duration::from_secs(3);

/// Each controller, and this clock less the first one's that told its own.
pub(super) async fn try_all(
    state_dir: &Path,
    identity: &Identity,
    edge: Option<&EdgeState>,
) -> (Vec<Controller>, Option<i64>) {
    let ended = ended_on_disk(state_dir, identity);
    let tls = match enrolled_tls(identity, Arc::new(Calendar::open(state_dir)), ended) {
        Ok(tls) => tls,
        Err(error) => {
            let failure = Some(("CONTROLLER_NOT_TRUSTED".to_owned(), error.to_string()));
            return (vec![Controller { address: String::new(), failure }], None);
        }
    };
    let newer = edge.map(|edge| edge.controllers.as_slice()).filter(|list| !list.is_empty());
    let addresses = newer.unwrap_or(identity.controllers()).iter().take(MAX_CONTROLLERS);
    let uplinks = edge.iter().flat_map(|edge| edge.uplinks.values()).take(MAX_UPLINKS);
    let uplinks: Vec<&str> = uplinks.map(|uplink| uplink.interface.as_str()).collect();
    let tried = join_all(addresses.map(|address| try_one(address, &uplinks, &tls))).await;
    let offset_s = tried.iter().find_map(|(_, offset_s)| *offset_s);
    (tried.into_iter().map(|(controller, _)| controller).collect(), offset_s)
}

/// As the host would route it, then by each uplink, as the agent does.
async fn try_one(address: &str, uplinks: &[&str], tls: &Tls) -> (Controller, Option<i64>) {
    let controller = |failure| Controller { address: address.to_owned(), failure };
    let mut failure = None;
    for interface in std::iter::once(None).chain(uplinks.iter().copied().map(Some)) {
        match dial(address, interface, tls).await {
            Ok(channel) => {
                return match clock_offset_s(channel).await {
                    Ok(offset_s) => (controller(None), offset_s),
                    // TLS 1.3 tells a client only now that its certificate was refused.
                    Err(error) => (controller(Some(("CONTROLLER_NO_HTTP2".into(), error))), None),
                };
            }
            Err(error) => failure = failure.or(Some(told(&error))),
        }
    }
    (controller(failure), None)
}

fn told(error: &DialError) -> (String, String) {
    let source = std::error::Error::source(error).map(|source| format!(": {source}"));
    (error.code().to_owned(), format!("{error}{}", source.unwrap_or_default()))
}

/// Any answer tells the time, also the one that there is no such method.
async fn clock_offset_s(mut channel: Channel) -> Result<Option<i64>, String> {
    let request = Request::post("http://controller.hawser/hawser.doctor.Doctor/Time")
        .header(header::CONTENT_TYPE, "application/grpc")
        .body(Body::empty())
        .map_err(|error| error.to_string())?;
    let exchange = async { channel.ready().await?.call(request).await };
    let response = tokio::time::timeout(ANSWERS_WITHIN, exchange).await;
    let response = response.map_err(|_| "no answer in 3 s".to_owned())?;
    let response = response.map_err(|error| error.to_string())?;
    let date = response.headers().get(header::DATE).and_then(|date| date.to_str().ok());
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_secs() as i64;
    Ok(date.and_then(http_date_unix_s).map(|theirs| now - theirs))
}
