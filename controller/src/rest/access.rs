//! The check that every handler begins with.

use super::Api;
use super::extract::{Asker, Credential};
use super::problem::Problem;
use crate::service::{Operation, Principal, ServiceError, SessionEnd};

impl Api {
    pub async fn admit(&self, asker: &Asker, operation: Operation) -> Result<Principal, Problem> {
        let (controller, from) = (&self.controller, asker.from);
        let admitted = match &asker.credential {
            Credential::None => controller.admit(None, from, operation).await,
            Credential::Token(token) => controller.admit(Some(token), from, operation).await,
            Credential::Session(text) => controller.admit_session(text, from, operation).await,
        };
        Ok(admitted?)
    }

    /// When what is done in the asker's session must end; `None`: it is done with a token.
    pub fn session_end(&self, asker: &Asker) -> Option<SessionEnd> {
        match &asker.credential {
            Credential::Session(text) => self.controller.session_end(text),
            Credential::None | Credential::Token(_) => None,
        }
    }

    pub fn close_session(&self, asker: &Asker) {
        if let Credential::Session(text) = &asker.credential {
            self.controller.close_session(text);
        }
    }
}

/// Runs a change to its end even if the caller goes away.
pub async fn to_its_end<T: Send + 'static>(
    change: impl Future<Output = Result<T, ServiceError>> + Send + 'static,
) -> Result<T, Problem> {
    ended(change).await
}

/// The same for what may have problems of its own.
pub async fn ended<T: Send + 'static, E: Into<Problem> + Send + 'static>(
    change: impl Future<Output = Result<T, E>> + Send + 'static,
) -> Result<T, Problem> {
    match tokio::spawn(change).await {
        Ok(result) => result.map_err(Into::into),
        Err(error) => {
            tracing::error!(%error, "a change did not end");
            let detail = "the change did not end".to_owned();
            let status = axum::http::StatusCode::INTERNAL_SERVER_ERROR;
            Err(Problem::new(status, "INTERNAL", detail, "look at the controller's log"))
        }
    }
}
