//! gRPC: translation only. What is decided is decided in [`crate::service`]. REST is served on the same port.

mod agent_link;
mod enrolment;
mod operator;
mod peer;
mod status;

use std::sync::Arc;
use std::time::Duration;

use axum::middleware::from_fn_with_state;
use hawser_proto::agent::v1::agent_link_server::AgentLinkServer;
use hawser_proto::agent::v1::enrolment_server::EnrolmentServer;
use hawser_proto::operator::v1::operator_server::OperatorServer;
use tonic::service::Routes;
use tonic::transport::Server;
use tonic::transport::server::Router;

pub use self::operator::{bearer_of, export_after, policy};
pub use self::peer::{Connection, PeerInfo};
pub use self::status::log_internal;
use crate::rest;
use crate::service::Controller;

/// A document of 4 MiB, and what its message adds.
const MAX_OPERATOR_BYTES: usize = (4 << 20) + (64 << 10);
const MAX_AGENT_BYTES: usize = 1 << 20;
const MAX_ENROLMENT_BYTES: usize = 64 << 10;
const MAX_STREAMS_PER_CONNECTION: u32 = 64;
const MAX_HEADER_BYTES: u32 = 16 << 10;
const KEEPALIVE_EVERY: Duration = Duration::from_secs(10);
const KEEPALIVE_WITHIN: Duration = Duration::from_secs(10);
/// Until the answer begins; streams go on.
const ANSWER_WITHIN: Duration = Duration::from_secs(60);

/// All services of one fleet; `rest` is all that is not gRPC, `beside` what does not depend on this fleet.
pub fn router(
    controller: &Arc<Controller>,
    rest: axum::Router,
    beside: Option<axum::Router>,
) -> Router {
    let agents = AgentLinkServer::new(agent_link::Service::new(controller))
        .max_decoding_message_size(MAX_AGENT_BYTES);
    let enrolment = EnrolmentServer::new(enrolment::Service::new(controller))
        .max_decoding_message_size(MAX_ENROLMENT_BYTES);
    let operators = OperatorServer::new(operator::Service::new(controller))
        .max_decoding_message_size(MAX_OPERATOR_BYTES);
    let reflection = tonic_reflection::server::Builder::configure()
        .register_encoded_file_descriptor_set(hawser_proto::DESCRIPTORS)
        .build_v1()
        .expect("the descriptors are those of this build");
    let own = Routes::from(rest)
        .add_service(agents)
        .add_service(enrolment)
        .add_service(operators)
        .add_service(reflection)
        .into_axum_router()
        .layer(from_fn_with_state(Arc::clone(controller), rest::while_served));
    Server::builder()
        .timeout(ANSWER_WITHIN)
        .max_concurrent_streams(MAX_STREAMS_PER_CONNECTION)
        .http2_max_header_list_size(MAX_HEADER_BYTES)
        .http2_keepalive_interval(Some(KEEPALIVE_EVERY))
        .http2_keepalive_timeout(Some(KEEPALIVE_WITHIN))
        // Browsers and curl come by HTTP/1.1 too.
        .accept_http1(true)
        .add_routes(Routes::from(beside.into_iter().fold(own, axum::Router::merge)))
}
