//! What was hoped for, and what came of it.

use serde::{Deserialize, Serialize};
use serde_json::Value;
use std::collections::BTreeMap;

/// Goals by name.
pub type Goals = BTreeMap<String, Goal>;

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Goal {
    /// In words, e.g. `<= 700`.
    pub goal: String,
    /// Null: it could not be measured.
    pub value: Value,
    pub met: bool,
}

impl Goal {
    /// Met by a number up to the limit; a missing one does not meet it.
    #[must_use]
    pub fn at_most(limit: f64, value: Option<f64>) -> Self {
        Self {
            goal: format!("<= {limit}"),
            value: value.into(),
            met: value.is_some_and(|value| value <= limit),
        }
    }

    /// Met by a number from the limit on; a missing one does not meet it.
    #[must_use]
    pub fn at_least(limit: u64, value: impl Into<Option<u64>>) -> Self {
        let value = value.into();
        Self {
            goal: format!(">= {limit}"),
            value: value.into(),
            met: value.is_some_and(|value| value >= limit),
        }
    }

    #[must_use]
    pub fn exactly(goal: impl Into<Value>, value: impl Into<Value>) -> Self {
        let (goal, value) = (goal.into(), value.into());
        let met = goal == value;
        Self { goal: format!("= {goal}"), value, met }
    }
}
