//! The check that every handler begins with.

use super::Api;
use super::extract::Asker;
use super::problem::Problem;
use crate::service::{Operation, Principal, ServiceError};

impl Api {
    pub async fn admit(&self, asker: &Asker, operation: Operation) -> Result<Principal, Problem> {
        let admitted = self.controller.admit(asker.token.as_deref(), asker.from, operation);
        Ok(admitted.await?)
    }
}

/// Runs a change to its end even if the caller goes away.
pub async fn to_its_end<T: Send + 'static>(
    change: impl Future<Output = Result<T, ServiceError>> + Send + 'static,
) -> Result<T, Problem> {
    match tokio::spawn(change).await {
        Ok(result) => Ok(result?),
        Err(error) => {
            tracing::error!(%error, "a change did not end");
            let detail = "the change did not end".to_owned();
            let status = axum::http::StatusCode::INTERNAL_SERVER_ERROR;
            Err(Problem::new(status, "INTERNAL", detail, "look at the controller's log"))
        }
    }
}
