//! Errors as problem details (RFC 9457).

use axum::http::{HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use hawser_proto::agent::v1 as agent;
use serde::Serialize;
use utoipa::ToSchema;

use super::model::Fault;
use crate::service::{Kind, ServiceError};

/// What is sent.
#[derive(Debug, Clone, Serialize, ToSchema)]
pub struct ProblemBody {
    /// `urn:hawser:problem:` and the code.
    #[serde(rename = "type")]
    pub kind: String,
    pub title: String,
    pub status: u16,
    pub detail: String,
    /// Stable, upper case.
    pub code: String,
    /// What to do about it.
    pub mend: String,
    /// Of a document.
    #[serde(skip_serializing_if = "Vec::is_empty", default)]
    pub faults: Vec<Fault>,
}

#[derive(Debug)]
pub struct Problem {
    status: StatusCode,
    code: String,
    detail: String,
    mend: String,
    faults: Vec<Fault>,
}

impl Problem {
    pub fn new(status: StatusCode, code: &str, detail: String, mend: &str) -> Self {
        let (code, mend) = (code.to_owned(), mend.to_owned());
        Self { status, code, detail, mend, faults: Vec::new() }
    }

    /// The document has faults; nothing was done with it.
    pub fn faulty(faults: Vec<agent::Fault>) -> Self {
        let detail = match faults.len() {
            1 => "the document has 1 fault".to_owned(),
            count => format!("the document has {count} faults"),
        };
        let faults = faults.into_iter().map(Fault::from).collect();
        let status = StatusCode::UNPROCESSABLE_ENTITY;
        Self { faults, ..Self::new(status, "DOCUMENT_FAULTY", detail, "mend its faults") }
    }

    /// A request that did not come through our listener.
    pub fn no_peer() -> Self {
        let detail = "the listener tells no peer".to_owned();
        Self::new(StatusCode::INTERNAL_SERVER_ERROR, "PEER_UNKNOWN", detail, "")
    }

    /// A part of the request that can't be read.
    pub fn unreadable(status: StatusCode, detail: String) -> Self {
        let code = match status {
            StatusCode::PAYLOAD_TOO_LARGE => "BODY_TOO_LARGE",
            StatusCode::UNSUPPORTED_MEDIA_TYPE => "CONTENT_TYPE_UNSUPPORTED",
            _ => "REQUEST_INVALID",
        };
        Self::new(status, code, detail, "look at /openapi.json")
    }
}

impl From<ServiceError> for Problem {
    fn from(error: ServiceError) -> Self {
        let status = match error.kind() {
            Kind::Invalid => StatusCode::BAD_REQUEST,
            Kind::Unauthenticated => StatusCode::UNAUTHORIZED,
            Kind::Forbidden => StatusCode::FORBIDDEN,
            Kind::NotFound => StatusCode::NOT_FOUND,
            Kind::Conflict => StatusCode::CONFLICT,
            Kind::Limited => StatusCode::TOO_MANY_REQUESTS,
            Kind::Unavailable => {
                crate::grpc::log_internal(&error);
                StatusCode::SERVICE_UNAVAILABLE
            }
            Kind::Internal => {
                crate::grpc::log_internal(&error);
                StatusCode::INTERNAL_SERVER_ERROR
            }
        };
        let status = match error {
            // What If-Match asked for does not hold (RFC 9110 section 13.1.1).
            ServiceError::RevisionConflict { .. } => StatusCode::PRECONDITION_FAILED,
            ServiceError::KeyReused => StatusCode::UNPROCESSABLE_ENTITY,
            _ => status,
        };
        Self::new(status, error.code(), error.to_string(), error.mend())
    }
}

impl IntoResponse for Problem {
    fn into_response(self) -> Response {
        let body = ProblemBody {
            kind: format!("urn:hawser:problem:{}", self.code),
            title: self.status.canonical_reason().unwrap_or("Error").to_owned(),
            status: self.status.as_u16(),
            detail: self.detail,
            code: self.code,
            mend: self.mend,
            faults: self.faults,
        };
        let mut response = (self.status, axum::Json(body)).into_response();
        let headers = response.headers_mut();
        let kind = HeaderValue::from_static("application/problem+json");
        headers.insert(header::CONTENT_TYPE, kind);
        match self.status {
            StatusCode::UNAUTHORIZED => {
                headers.insert(header::WWW_AUTHENTICATE, HeaderValue::from_static("Bearer"));
            }
            StatusCode::TOO_MANY_REQUESTS => {
                headers.insert(header::RETRY_AFTER, HeaderValue::from_static("1"));
            }
            _ => {}
        }
        response
    }
}
