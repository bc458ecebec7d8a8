//! The link's own events and faults: codes, words, mends.

use std::fmt::Display;
use std::time::Duration;

use hawser_edge_core::config::Fault;
use hawser_edge_core::generation::GenerationId;
use hawser_proto::agent::v1::AgentEvent;

pub fn event(unix_ms: u64, code: &str, subject: &str, message: impl Display) -> AgentEvent {
    AgentEvent {
        unix_ms,
        code: code.to_owned(),
        subject: subject.to_owned(),
        message: message.to_string(),
    }
}

/// Faults in one line.
pub fn summary(faults: &[Fault]) -> String {
    let all: Vec<String> =
        faults.iter().map(|f| format!("{} at {}: {}", f.code, f.path, f.message)).collect();
    if all.is_empty() { "no exchange confirmed it in time".to_owned() } else { all.join("; ") }
}

fn fault(code: &'static str, message: String, mend: &str) -> Fault {
    Fault { code, path: "generation".to_owned(), message, mend: mend.to_owned() }
}

pub fn corrupt(id: GenerationId) -> Fault {
    fault(
        "GENERATION_CORRUPT",
        format!("generation {id} does not have the checksum that came with it"),
        "send it again; if it recurs, check the controller's store",
    )
}

pub fn unreadable(id: GenerationId) -> Fault {
    fault(
        "GENERATION_UNREADABLE",
        format!("generation {id} is no EdgeConfig"),
        "compare the controller's version with the agent's",
    )
}

pub fn other_edge(id: GenerationId, fleet: &str, edge: &str) -> Fault {
    fault(
        "GENERATION_OF_OTHER_EDGE",
        format!("generation {id} is for edge “{edge}” of fleet “{fleet}”"),
        "this is the controller's mistake: it must send each edge its own",
    )
}

pub fn abandoned() -> Fault {
    fault(
        "APPLY_ABANDONED",
        "the engine gave no answer".to_owned(),
        "read the agent's log for what stopped it",
    )
}

pub fn timed_out(after: Duration) -> Fault {
    fault(
        "APPLY_TIMEOUT",
        format!("the engine gave no answer in {} s", after.as_secs()),
        "read the agent's log for the step that hangs",
    )
}
