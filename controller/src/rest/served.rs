//! A fleet whose store failed answers everything with that; the process and its other fleets go on.

use std::sync::Arc;

use axum::extract::{Request, State};
use axum::http::StatusCode;
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};

use super::is_grpc;
use super::problem::Problem;
use crate::service::Controller;

const CODE: &str = "FLEET_NOT_SERVED";
const MEND: &str = "look at the controller's log; a restart restores a store that failed";
/// It is about the process.
const HEALTH: &str = "/healthz";

/// Goes around all services of a fleet.
pub async fn while_served(
    State(controller): State<Arc<Controller>>,
    request: Request,
    next: Next,
) -> Response {
    if !controller.has_failed() || request.uri().path() == HEALTH {
        return next.run(request).await;
    }
    let fleet = controller.fleet_name();
    if is_grpc(request.headers()) {
        let status = tonic::Status::unavailable(format!("{CODE}: {}; {MEND}", detail(fleet)));
        return status.into_http::<axum::body::Body>().into_response();
    }
    not_served(fleet).into_response()
}

/// The same of one that could not be opened.
pub fn not_served(fleet: &str) -> Problem {
    Problem::new(StatusCode::SERVICE_UNAVAILABLE, CODE, detail(fleet), MEND)
}

fn detail(fleet: &str) -> String {
    format!("the fleet {fleet} is not served now")
}
