//! `record`: a site's probe history as traces.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io::{self, BufWriter, Write};
use std::path::{Path, PathBuf};
use std::time::Duration;

use hawser_edge_core::history::{Collector, Tick, Trace};
use hawser_proto::operator::v1::RecordRequest;
use serde_json::json;
use tokio::time::timeout;

use crate::client::{Client, Session};
use crate::error::{CliError, Exit};
use crate::output::Output;
use crate::time::{Since, now_unix_ms};

/// The controller gives an agent this long for each piece, and a little more.
const PIECE_WITHIN: Duration = Duration::from_secs(30);

/// What is wanted.
pub struct Wanted {
    pub site: String,
    pub since: Since,
    pub until: Option<Since>,
    pub tunnel: Option<String>,
    pub grid_ms: u32,
    pub out: PathBuf,
}

pub async fn record(session: &Session, wanted: Wanted, output: &Output) -> Result<(), CliError> {
    let now = now_unix_ms();
    let (since, until) = (wanted.since.unix_ms(now), wanted.until.map_or(now, |u| u.unix_ms(now)));
    let request =
        RecordRequest { site: wanted.site.clone(), since_unix_ms: since, until_unix_ms: until };
    let call = |mut client: Client| {
        let request = request.clone();
        async move { client.record(request).await }
    };
    let mut parts = session.read(call).await?;
    let (since, until) = (Tick::from_unix_ms(since), Tick::from_unix_ms(until));
    let mut edges: BTreeMap<String, Collector> = BTreeMap::new();
    loop {
        let part = match timeout(PIECE_WITHIN, parts.message()).await {
            Ok(Ok(Some(part))) => part,
            Ok(Ok(None)) => break,
            Ok(Err(status)) => return Err(session.error(&status)),
            Err(_) => return Err(too_slow()),
        };
        let collector = edges.entry(part.edge).or_insert_with(|| Collector::new(since, until));
        collector.add(&part.blocks);
    }
    let damaged: u64 = edges.values().map(|edge| edge.skipped_bytes).sum();
    let dropped: u64 = edges.values().map(|edge| edge.dropped).sum();
    if damaged + dropped > 0 {
        output.note(&format!(
            "warning: {damaged} octets of the history are damaged, {dropped} probes are left out"
        ));
    }
    let traces: Vec<Trace> = edges
        .into_values()
        .flat_map(|edge| edge.traces(wanted.tunnel.as_deref(), wanted.grid_ms))
        .collect();
    if traces.is_empty() {
        return Err(nothing(&wanted.site));
    }
    let files = write_all(&wanted.out, &traces)?;
    let rows = |trace: &Trace| trace.rows.len();
    output.answer(
        |_| {
            let lines = files.iter().zip(&traces);
            lines.map(|(file, trace)| format!("{file}  {} rows\n", rows(trace))).collect()
        },
        || {
            let files = files.iter().zip(&traces).map(|(file, trace)| {
                let begin = trace.begin.unix_ms();
                json!({"file": file, "rows": rows(trace), "begin_unix_ms": begin,
                       "uplinks": trace.columns, "grid_ms": trace.grid_ms})
            });
            json!({"site": wanted.site, "files": files.collect::<Vec<_>>()})
        },
    )
}

fn write_all(out: &Path, traces: &[Trace]) -> Result<Vec<String>, CliError> {
    fs::create_dir_all(out).map_err(|error| unwritable(out, &error))?;
    let mut files = Vec::new();
    for trace in traces {
        // A name of the edge's own making must not lead elsewhere.
        let name: String = trace.file_name.replace(['/', '\\'], "_");
        let path = out.join(name);
        write(&path, trace).map_err(|error| unwritable(&path, &error))?;
        files.push(path.display().to_string());
    }
    Ok(files)
}

fn write(path: &Path, trace: &Trace) -> io::Result<()> {
    let mut file = BufWriter::new(File::create(path)?);
    trace.lines().try_for_each(|line| file.write_all(line.as_bytes()))?;
    file.flush()
}

fn unwritable(path: &Path, error: &io::Error) -> CliError {
    let message = format!("{} can't be written: {error}", path.display());
    CliError::new(Exit::Failed, "OUTPUT_UNWRITABLE", message, "choose another --out")
}

fn nothing(site: &str) -> CliError {
    let message = format!(
        "no pair of uplinks of {site} was probed side by side for ten seconds in that time"
    );
    let mend = "ask for a longer time with --since, or for all tunnels";
    CliError::new(Exit::Refused, "NOTHING_RECORDED", message, mend)
}

fn too_slow() -> CliError {
    let message = format!("the controller sent nothing for {} s", PIECE_WITHIN.as_secs());
    CliError::new(Exit::Unreachable, "CONTROLLER_UNREACHABLE", message, "try again")
}
