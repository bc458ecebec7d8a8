//! Questions to an agent over its own socket, as `hawser-edge` asks them, without starting a program for each.

use super::error::FleetError;
use serde::Deserialize;
use serde::de::DeserializeOwned;
use serde_json::{Value, json};
use std::io::{Read, Write};
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::time::Duration;

const LIMIT: Duration = Duration::from_secs(5);
/// Longer answers are cut, and then refused.
const MAX_ANSWER_BYTES: u64 = 8 << 20;

/// One line, as the agent says it.
#[derive(Deserialize)]
#[serde(rename_all = "snake_case")]
enum Response<A> {
    Ok(Answer<A>),
    Error(Value),
}

#[derive(Deserialize)]
struct Answer<A> {
    view: A,
}

pub(super) fn paths() -> Value {
    json!({"query": "paths"})
}

pub(super) fn why(peer: &str, limit: u32) -> Value {
    json!({"query": "why", "peer": peer, "limit": limit})
}

/// Asks.
pub(super) fn ask<A: DeserializeOwned>(state: &Path, question: &Value) -> Result<A, FleetError> {
    let socket = state.join("agent.sock");
    let line = exchange(&socket, question).map_err(FleetError::file("asked", &socket))?;
    let command = || format!("{question} at {}", socket.display());
    let response = serde_json::from_slice(&line)
        .map_err(|source| FleetError::Answer { command: command(), source })?;
    match response {
        Response::Ok(Answer { view }) => Ok(view),
        Response::Error(error) => {
            Err(FleetError::Command { command: command(), code: None, said: error.to_string() })
        }
    }
}

fn exchange(socket: &Path, question: &Value) -> std::io::Result<Vec<u8>> {
    let mut stream = UnixStream::connect(socket)?;
    stream.set_read_timeout(Some(LIMIT))?;
    stream.set_write_timeout(Some(LIMIT))?;
    stream.write_all(format!("{question}\n").as_bytes())?;
    let mut answer = Vec::new();
    stream.take(MAX_ANSWER_BYTES).read_to_end(&mut answer)?;
    Ok(answer)
}
