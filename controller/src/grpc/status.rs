//! Errors as gRPC status: `CODE: message; mend`.

use std::error::Error as _;

use tonic::{Code, Request, Status};

use super::PeerInfo;
use crate::service::{Kind, ServiceError};

pub fn status(error: &ServiceError) -> Status {
    if matches!(error.kind(), Kind::Internal | Kind::Unavailable) {
        log_internal(error);
    }
    let code = match error.kind() {
        Kind::Invalid => Code::InvalidArgument,
        Kind::Unauthenticated => Code::Unauthenticated,
        Kind::Forbidden => Code::PermissionDenied,
        Kind::NotFound => Code::NotFound,
        Kind::Conflict => Code::Aborted,
        Kind::Limited => Code::ResourceExhausted,
        Kind::Unavailable => Code::Unavailable,
        Kind::Internal => Code::Internal,
    };
    Status::new(code, format!("{}: {error}; {}", error.code(), error.mend()))
}

/// Callers are not told the cause.
pub fn log_internal(error: &ServiceError) {
    let cause = error.source().map(ToString::to_string);
    tracing::error!(%error, cause, "request failed");
}

/// # Errors
/// Never with this crate's own listener.
pub fn peer<T>(request: &Request<T>) -> Result<PeerInfo, Status> {
    request
        .extensions()
        .get::<PeerInfo>()
        .cloned()
        .ok_or_else(|| Status::internal("PEER_UNKNOWN: the listener tells no peer"))
}

/// Runs a change to its end even if the caller goes away: what is committed is then also shown.
pub async fn to_its_end<T: Send + 'static>(
    change: impl Future<Output = Result<T, ServiceError>> + Send + 'static,
) -> Result<T, Status> {
    match tokio::spawn(change).await {
        Ok(result) => result.map_err(|error| status(&error)),
        Err(error) => {
            tracing::error!(%error, "a change did not end");
            Err(Status::internal("INTERNAL: the change did not end; look at the controller's log"))
        }
    }
}
