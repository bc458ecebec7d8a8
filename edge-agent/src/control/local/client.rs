//! The command's end of the local socket. Blocking: a command does nothing else.

use std::io::{self, Read, Write};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::time::Duration;

use super::{LocalAnswer, LocalError, QueryKind, Response, SOCKET};

/// Longest wait for each part of the answer; more than the agent gives itself.
const TIMEOUT: Duration = Duration::from_secs(8);
/// Largest answer in bytes: some thousand paths and decisions.
const MAX_ANSWER_BYTES: u64 = 32 * 1024 * 1024;

/// Why there is no answer.
#[derive(Debug, thiserror::Error)]
pub enum AskError {
    #[error("no agent answers on {path}")]
    NoAgent {
        path: PathBuf,
        #[source]
        source: io::Error,
    },
    #[error("the agent's answer can't be read")]
    BadAnswer(#[source] serde_json::Error),
    #[error("{}", .0.message)]
    Agent(LocalError),
}

impl AskError {
    /// A stable code, upper case.
    pub fn code(&self) -> &str {
        match self {
            AskError::NoAgent { .. } => "AGENT_NOT_RUNNING",
            AskError::BadAnswer(_) => "BAD_ANSWER",
            AskError::Agent(error) => &error.code,
        }
    }

    /// What to do about it.
    pub fn mend(&self) -> &str {
        match self {
            AskError::NoAgent { .. } => {
                "start it with `hawser-edge run`; is --state-dir right, and may you read it?"
            }
            AskError::BadAnswer(_) => "compare the versions of the agent and of this command",
            AskError::Agent(error) => &error.mend,
        }
    }
}

/// Asks the agent that runs on `state_dir`.
///
/// # Errors
/// No agent, or its own error.
pub fn ask(state_dir: &Path, kind: &QueryKind) -> Result<LocalAnswer, AskError> {
    let path = state_dir.join(SOCKET);
    let mut question = serde_json::to_vec(kind).map_err(AskError::BadAnswer)?;
    question.push(b'\n');
    let answer = exchange(&path, &question).map_err(|source| AskError::NoAgent { path, source })?;
    match serde_json::from_slice(&answer).map_err(AskError::BadAnswer)? {
        Response::Ok(answer) => Ok(answer),
        Response::Error(error) => Err(AskError::Agent(error)),
    }
}

fn exchange(path: &Path, question: &[u8]) -> io::Result<Vec<u8>> {
    let mut stream = UnixStream::connect(path)?;
    stream.set_read_timeout(Some(TIMEOUT))?;
    stream.set_write_timeout(Some(TIMEOUT))?;
    stream.write_all(question)?;
    let mut answer = Vec::new();
    stream.take(MAX_ANSWER_BYTES).read_to_end(&mut answer)?;
    if answer.is_empty() {
        return Err(io::ErrorKind::UnexpectedEof.into());
    }
    Ok(answer)
}
