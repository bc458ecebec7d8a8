//! Why a lab can't do what it was asked.

use super::topology::TopologyError;
use crate::wan::ImpairmentFault;
use serde::{Deserialize, Serialize};
use std::io;
use std::time::Duration;

#[derive(Debug, thiserror::Error)]
pub enum LabError {
    #[error("a lab needs root (namespaces, TAP devices, nftables); run this with sudo")]
    NotRoot,
    #[error(transparent)]
    Topology(#[from] TopologyError),
    #[error(transparent)]
    Impairment(#[from] ImpairmentFault),
    #[error("`{name}` is no name for a lab; use up to 48 of a to z, 0 to 9, - _ .")]
    BadName { name: String },
    #[error("the lab `{name}` runs already; take it down, or give this one another --name")]
    NameTaken { name: String },
    #[error("no lab `{name}` runs here")]
    NotRunning { name: String },
    #[error("{} labs run here; say which with --name", .names.len())]
    WhichOne { names: Vec<String> },
    #[error("the program hawser-lab is not beside this one; build it, or set HAWSER_LAB_BIN")]
    NoBinary,
    #[error("the supervisor failed: {message}")]
    Supervisor { message: String },
    /// The supervisor's own refusal of a request.
    #[error("{message}")]
    Refused { code: Refusal, message: String },
    #[error("the instrument `{command}` failed: {message}")]
    Instrument { command: String, message: String },
    #[error("`{command}` did not end within {limit:?}; it was killed")]
    Timeout { command: String, limit: Duration },
    #[error("{action}")]
    Io { action: String, source: io::Error },
}

/// Stable codes of what a supervisor refuses.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Refusal {
    BadRequest,
    NoSuchNode,
    NoSuchLink,
    BadImpairment,
    CannotStart,
    TooMany,
}

impl LabError {
    pub(crate) fn io(action: impl Into<String>) -> impl FnOnce(io::Error) -> Self {
        let action = action.into();
        move |source| Self::Io { action, source }
    }

    /// A stable code for programs.
    #[must_use]
    pub fn code(&self) -> &'static str {
        match self {
            Self::NotRoot => "not_root",
            Self::Topology(_) => "bad_topology",
            Self::Impairment(_) => "bad_impairment",
            Self::BadName { .. } => "bad_name",
            Self::NameTaken { .. } => "name_taken",
            Self::NotRunning { .. } => "not_running",
            Self::WhichOne { .. } => "which_one",
            Self::NoBinary => "no_binary",
            Self::Supervisor { .. } => "supervisor",
            Self::Refused { code, .. } => match code {
                Refusal::BadRequest => "bad_request",
                Refusal::NoSuchNode => "no_such_node",
                Refusal::NoSuchLink => "no_such_link",
                Refusal::BadImpairment => "bad_impairment",
                Refusal::CannotStart => "cannot_start",
                Refusal::TooMany => "too_many",
            },
            Self::Instrument { .. } => "instrument",
            Self::Timeout { .. } => "timeout",
            Self::Io { .. } => "io",
        }
    }
}
