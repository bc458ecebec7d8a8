//! Answers about the probe history.

use std::path::Path;

use hawser_edge_core::history::Tick;
use hawser_proto::agent::v1 as wire;

use crate::history::{PieceError, read_piece};

/// Octets of one answer, whatever is asked for.
const MAX_BYTES: usize = 256 << 10;

/// Reads files: not for a task of the runtime.
pub(super) fn answer(folder: &Path, request: &wire::HistoryRequest) -> wire::HistoryChunk {
    let since = Tick::from_unix_ms(request.since_unix_ms);
    let until = match request.until_unix_ms {
        0 => Tick(u64::MAX),
        ms => Tick::from_unix_ms(ms),
    };
    let most = (request.max_bytes as usize).clamp(1, MAX_BYTES);
    match read_piece(folder, since, until, &request.cursor, most) {
        Ok(piece) => wire::HistoryChunk {
            id: request.id,
            blocks: piece.blocks,
            cursor: piece.cursor,
            fault: None,
        },
        Err(error) => refuse(request.id, &error),
    }
}

/// Another question is being answered.
pub(super) fn busy(id: u64) -> wire::HistoryChunk {
    let message = "another question about the history is being answered".to_owned();
    fault(id, "HISTORY_BUSY", message, "ask again in a moment")
}

fn refuse(id: u64, error: &PieceError) -> wire::HistoryChunk {
    let (code, mend) = match error {
        PieceError::Nothing => ("HISTORY_EMPTY", "wait until the agent has run for a minute"),
        PieceError::Cursor => ("HISTORY_CURSOR", "begin anew"),
        PieceError::File(_) => {
            ("HISTORY_UNREADABLE", "look at the edge's disk and state directory")
        }
    };
    fault(id, code, error.to_string(), mend)
}

fn fault(id: u64, code: &str, message: String, mend: &str) -> wire::HistoryChunk {
    let fault = wire::Fault { code: code.into(), path: String::new(), message, mend: mend.into() };
    wire::HistoryChunk { id, fault: Some(fault), ..Default::default() }
}
