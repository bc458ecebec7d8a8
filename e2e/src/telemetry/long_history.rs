//! A controller that has lost its own history shows what Prometheus kept.

use crate::fleet::wait::{self, Look};
use crate::fleet::{Fleet, FleetError};
use serde::Deserialize;
use std::fs;
use std::time::{Duration, Instant};

/// The narrowest step of such history: one that Prometheus knows of must have ended.
const STEP: Duration = Duration::from_secs(60);
const SOON: Duration = Duration::from_secs(60);
const ANSWER_LIMIT: Duration = Duration::from_secs(20);

/// Asks as an operator's script would; the token stays in its file.
const ASK: &str = "import json,ssl,sys,time,urllib.request as u
c=json.load(open(sys.argv[1]))
since=int((time.time()-1800)*1000)
r=u.Request('%s/v1/paths/%s/history?since_unix_ms=%s' % (c['controller'],sys.argv[2],since),headers={'Authorization':'Bearer '+c['token']})
print(u.urlopen(r,context=ssl.create_default_context(cadata=c['ca_pem']),timeout=15).read().decode())";

#[derive(Deserialize)]
struct History {
    ends: Vec<End>,
    long_store: String,
}

#[derive(Deserialize)]
struct End {
    points: Vec<Point>,
}

#[derive(Deserialize)]
struct Point {
    span_ms: u64,
    rtt_us: Option<u32>,
}

/// How many points with a delay come from Prometheus, which has scraped since `begun`.
pub fn points(fleet: &mut Fleet, path: u32, begun: Instant) -> Result<u64, FleetError> {
    std::thread::sleep((STEP + Duration::from_secs(5)).saturating_sub(begun.elapsed()));
    fleet.kill_controller();
    let context = fleet.context()?;
    let own = context.with_file_name("trends");
    if own.exists() {
        fs::remove_dir_all(&own).map_err(FleetError::file("removed", &own))?;
    }
    fleet.restart_controller()?;
    let context = context.display().to_string();
    let argv = ["python3", "-c", ASK, &context, &path.to_string()];
    let mut last = String::new();
    wait::until("history from Prometheus", SOON, || {
        let output = fleet.lab().exec_within("controller", &argv, ANSWER_LIMIT)?;
        let Ok(history) = serde_json::from_str::<History>(&output.stdout_text()) else {
            return Ok(Look::Not(output.stderr_text()));
        };
        last = history.long_store;
        let points = history.ends.iter().flat_map(|end| &end.points);
        let old =
            points.filter(|p| u128::from(p.span_ms) >= STEP.as_millis() && p.rtt_us.is_some());
        Ok(match old.count() as u64 {
            0 => Look::Not(format!("no point, the long store {last}")),
            count => Look::Done(count),
        })
    })
}
