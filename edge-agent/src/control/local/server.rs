//! The agent's end of the local socket.

use std::fs;
use std::io;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::net::{UnixListener, UnixStream};
use tokio::sync::{Semaphore, mpsc, oneshot};
use tokio::task::JoinHandle;
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;

use super::{LocalError, LocalQuery, QueryKind, Response, SOCKET};
use crate::control::files::{FileError, at};

/// Askers served at once; others wait in the kernel's queue.
const MAX_ASKERS: usize = 8;
/// Longest question in bytes.
const MAX_QUESTION_BYTES: u64 = 4096;
/// An asker's time to ask, and to take the answer.
const ASKER_TIMEOUT: Duration = Duration::from_secs(2);
/// The engine's time to answer.
const ENGINE_TIMEOUT: Duration = Duration::from_secs(3);

/// Answers on `<state>/agent.sock` until `stop`. Only the socket's owner (and root) may ask. The
/// caller holds the state directory's lock, so a socket that is there is a dead agent's.
///
/// # Errors
/// The socket can't be made.
pub fn serve(
    state_dir: &Path,
    queries: mpsc::Sender<LocalQuery>,
    stop: CancellationToken,
) -> Result<JoinHandle<()>, FileError> {
    let path = state_dir.join(SOCKET);
    match fs::remove_file(&path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => {
            return Err(at("remove", &path)(error));
        }
        _ => {}
    }
    let listener = UnixListener::bind(&path).map_err(at("listen on", &path))?;
    fs::set_permissions(&path, fs::Permissions::from_mode(0o600)).map_err(at("protect", &path))?;
    Ok(tokio::spawn(async move {
        tokio::select! {
            () = stop.cancelled() => {}
            () = accept_all(&listener, &queries) => {}
        }
        let _ = fs::remove_file(&path);
    }))
}

async fn accept_all(listener: &UnixListener, queries: &mpsc::Sender<LocalQuery>) {
    let slots = Arc::new(Semaphore::new(MAX_ASKERS));
    loop {
        let Ok(slot) = slots.clone().acquire_owned().await else { return };
        match listener.accept().await {
            Ok((stream, _)) => {
                let queries = queries.clone();
                tokio::spawn(async move {
                    let _ = answer(stream, &queries).await;
                    drop(slot);
                });
            }
            // Out of descriptors, say: it passes, and must not become a busy loop.
            Err(_) => tokio::time::sleep(Duration::from_millis(200)).await,
        }
    }
}

async fn answer(mut stream: UnixStream, queries: &mpsc::Sender<LocalQuery>) -> io::Result<()> {
    let (read, mut write) = stream.split();
    let mut line = Vec::new();
    let mut read = BufReader::new(read.take(MAX_QUESTION_BYTES));
    let asked = timeout(ASKER_TIMEOUT, read.read_until(b'\n', &mut line)).await;
    let response = match asked {
        Ok(Ok(_)) => respond(&line, queries).await,
        _ => return Ok(()),
    };
    let mut text = serde_json::to_vec(&response)?;
    text.push(b'\n');
    timeout(ASKER_TIMEOUT, write.write_all(&text)).await.map_err(io::Error::from)?
}

async fn respond(line: &[u8], queries: &mpsc::Sender<LocalQuery>) -> Response {
    let kind: QueryKind = match serde_json::from_slice(line) {
        Ok(kind) => kind,
        Err(error) => {
            return Response::Error(LocalError {
                code: "BAD_QUESTION".to_owned(),
                message: error.to_string(),
                mend: "compare the versions of the agent and of the command".to_owned(),
            });
        }
    };
    let (reply, answer) = oneshot::channel();
    if queries.try_send(LocalQuery { kind, reply }).is_err() {
        return Response::Error(busy());
    }
    match timeout(ENGINE_TIMEOUT, answer).await {
        Ok(Ok(answer)) => Response::Ok(answer),
        _ => Response::Error(busy()),
    }
}

fn busy() -> LocalError {
    LocalError {
        code: "AGENT_BUSY".to_owned(),
        message: "the agent has no time to answer".to_owned(),
        mend: "ask again; if it recurs, read the agent's log".to_owned(),
    }
}
