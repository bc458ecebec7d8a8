//! The edge's own answers: `<state>/agent.sock`, JSON lines, one request and one response each.

mod client;
mod render;
mod server;
#[cfg(test)]
mod tests;
mod views;

use serde::{Deserialize, Serialize};
use tokio::sync::oneshot;

pub use client::{AskError, ask};
pub use render::render;
pub use server::serve;
pub use views::{
    AdviceView, CandidateView, ControllerView, DEPARTING, DecisionView, GenerationsView, IkeView,
    NextHopView, PathView, SelectionView, StatusView, TunnelView, UplinkView, WaitingView, WhyView,
};

/// Questions that wait for the engine; of more, the asker is told that the agent is busy.
pub const LOCAL_QUERIES: usize = 16;

/// The socket's name in the state directory.
pub const SOCKET: &str = "agent.sock";

/// A question to the engine. Dropping `reply` tells the asker that there is no answer.
#[derive(Debug)]
pub struct LocalQuery {
    pub kind: QueryKind,
    pub reply: oneshot::Sender<LocalAnswer>,
}

/// What is asked.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "query", rename_all = "snake_case", deny_unknown_fields)]
pub enum QueryKind {
    Status,
    Paths,
    Why {
        /// Only this peer edge or site.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        peer: Option<String>,
        #[serde(default, skip_serializing_if = "Option::is_none")]
        traffic_class: Option<String>,
        /// Most decisions to show.
        limit: u32,
    },
}

/// The engine's answer, of the kind that was asked.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(tag = "answer", content = "view", rename_all = "snake_case")]
pub enum LocalAnswer {
    Status(StatusView),
    Paths(Vec<PathView>),
    Why(WhyView),
}

/// One line on the socket.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[expect(clippy::large_enum_variant, reason = "one per question of a person; never kept")]
enum Response {
    Ok(LocalAnswer),
    Error(LocalError),
}

/// The agent's own refusal of a question.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct LocalError {
    /// Stable, upper case.
    pub code: String,
    pub message: String,
    pub mend: String,
}
