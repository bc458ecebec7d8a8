//! Answers as JSON. Names of fields never change their meaning; new ones may come.

mod changes;
mod documents;
mod events;
mod evidence;
mod people;
mod state;

use hawser_proto::agent::v1 as agent;
use hawser_proto::config::v1 as config;
use serde::Serialize;
use utoipa::ToSchema;

pub use changes::*;
pub use documents::*;
pub use events::*;
pub use evidence::{Decisions, Explanations};
pub use people::*;
pub use state::*;

use crate::service::Generation;

/// One thing wrong with a document, or a reason of an agent.
#[derive(Debug, Clone, Serialize, ToSchema)]
pub struct Fault {
    /// Stable, upper case.
    pub code: String,
    /// Where in the document.
    pub path: String,
    pub message: String,
    pub mend: String,
}

impl From<agent::Fault> for Fault {
    fn from(fault: agent::Fault) -> Self {
        let agent::Fault { code, path, message, mend } = fault;
        Self { code, path, message, mend }
    }
}

fn all<T, U: From<T>>(list: Vec<T>) -> Vec<U> {
    list.into_iter().map(U::from).collect()
}

/// `1.7`: epoch and number.
pub fn generation(id: Option<config::GenerationId>) -> Option<String> {
    id.filter(|id| id.number > 0).map(|id| Generation::from(&id).to_string())
}
