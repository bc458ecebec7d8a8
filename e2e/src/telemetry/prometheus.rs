//! A real Prometheus at the controller's node, and what it answers.

use crate::fleet::{Fleet, FleetError};
use crate::lab::{Process, Task};
use serde_json::Value;
use std::fs;
use std::path::Path;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

const NODE: &str = "controller";
pub const URL: &str = "http://127.0.0.1:9090";
const ANSWER_LIMIT: Duration = Duration::from_secs(20);
/// Where agents are scraped: their uplinks' addresses, which the controller's node reaches.
const TARGETS: &str = "'198.51.100.2:9464', '198.51.100.18:9464', '198.51.100.34:9464'";

pub struct Prometheus<'a> {
    fleet: &'a Fleet,
    server: Server,
}

/// The process; it ends with this.
pub struct Server(Process);

impl<'a> Prometheus<'a> {
    /// Starts it with the rules of `deploy`, evaluated every second.
    pub fn start(fleet: &'a Fleet, deploy: &Path) -> Result<Self, FleetError> {
        let folder = fleet.folder().join("prometheus");
        fs::create_dir_all(&folder).map_err(FleetError::file("made", &folder))?;
        let rules = deploy.join("prometheus/hawser.rules.yml");
        let copy = folder.join("hawser.rules.yml");
        fs::copy(&rules, &copy).map_err(FleetError::file("copied", &rules))?;
        let config = folder.join("prometheus.yml");
        let text = format!(
            "global: {{scrape_interval: 2s, evaluation_interval: 1s}}\n\
             rule_files: [hawser.rules.yml]\n\
             scrape_configs:\n\
             - job_name: hawser-controller\n  static_configs: [{{targets: ['127.0.0.1:9465']}}]\n\
             - job_name: hawser-edge\n  static_configs: [{{targets: [{TARGETS}]}}]\n"
        );
        fs::write(&config, text).map_err(FleetError::file("written", &config))?;
        let task = Task::new("prometheus")
            .arg(format!("--config.file={}", config.display()))
            .arg(format!("--storage.tsdb.path={}", folder.join("data").display()))
            .arg("--web.listen-address=127.0.0.1:9090")
            .log(folder.join("prometheus.log"));
        let process = fleet.lab().spawn(NODE, &task)?;
        Ok(Self { fleet, server: Server(process) })
    }

    /// It goes on, and the fleet may change.
    pub fn into_server(self) -> Server {
        self.server
    }

    /// How many series the query gives now.
    pub fn count(&self, query: &str) -> Result<usize, FleetError> {
        let argv = ["promtool", "query", "instant", "-o", "json", URL, query];
        Ok(self.ask(&argv)?.as_array().map_or(0, Vec::len))
    }

    /// The first value now.
    pub fn value(&self, query: &str) -> Result<Option<f64>, FleetError> {
        let argv = ["promtool", "query", "instant", "-o", "json", URL, query];
        let answer = self.ask(&argv)?;
        let value = answer.pointer("/0/value/1").and_then(Value::as_str);
        Ok(value.and_then(|text| text.parse().ok()))
    }

    /// When the query first gave something since then, in milliseconds of Unix time; looked at every second.
    pub fn first(&self, query: &str, since_ms: u64) -> Result<Option<u64>, FleetError> {
        let start = format!("--start={}", since_ms / 1_000);
        let end = format!("--end={}", unix_ms() / 1_000);
        let argv =
            ["promtool", "query", "range", "-o", "json", "--step=1s", &start, &end, URL, query];
        let answer = self.ask(&argv)?;
        let series = answer.as_array().into_iter().flatten();
        let points = series.filter_map(|s| s.get("values")?.as_array()).flatten();
        let times = points.filter_map(|point| point.get(0)?.as_f64());
        Ok(times.map(|s| (s * 1e3) as u64).filter(|ms| *ms >= since_ms).min())
    }

    /// Names of rules that Prometheus can't evaluate, each with why; and how many rules it has.
    pub fn rules(&self) -> Result<(usize, Vec<String>), FleetError> {
        let fetch = format!(
            "import urllib.request; print(urllib.request.urlopen('{URL}/api/v1/rules').read().decode())"
        );
        let answer = self.ask(&["python3", "-c", &fetch])?;
        let groups = answer.pointer("/data/groups").and_then(Value::as_array);
        let rules: Vec<&Value> = groups
            .into_iter()
            .flatten()
            .filter_map(|group| group.get("rules")?.as_array())
            .flatten()
            .collect();
        let text = |rule: &Value, key: &str| rule[key].as_str().unwrap_or_default().to_owned();
        let bad = rules.iter().filter(|rule| rule["health"] != "ok");
        let bad = bad.map(|r| {
            format!("{}: {} {}", text(r, "name"), text(r, "health"), text(r, "lastError"))
        });
        Ok((rules.len(), bad.collect()))
    }

    fn ask(&self, argv: &[&str]) -> Result<Value, FleetError> {
        let output = self.fleet.lab().exec_within(NODE, argv, ANSWER_LIMIT)?;
        let command = argv.join(" ");
        if !output.status.success() {
            let said = output.stderr_text();
            return Err(FleetError::Command { command, code: output.status.code(), said });
        }
        serde_json::from_str(&output.stdout_text())
            .map_err(|source| FleetError::Answer { command, source })
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.0.kill();
        self.0.wait_within(Duration::from_secs(5));
    }
}

pub fn unix_ms() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_millis() as u64
}
