//! What the dashboards and the rules ask.

use crate::fleet::FleetError;
use serde::Deserialize;
use serde_json::Value;
use std::fs;
use std::path::Path;

/// One panel's queries, with variables filled in.
#[derive(Debug, Clone, PartialEq)]
pub struct Panel {
    /// Dashboard and title.
    pub name: String,
    pub queries: Vec<String>,
}

/// What a rule looks at.
#[derive(Debug, Clone, PartialEq)]
pub struct Rule {
    pub name: String,
    /// Without the comparison of an alert: that must give nothing while all is well.
    pub query: String,
}

/// Every panel of every dashboard.
pub fn panels(deploy: &Path) -> Result<Vec<Panel>, FleetError> {
    let folder = deploy.join("grafana/dashboards");
    let entries = fs::read_dir(&folder).map_err(FleetError::file("read", &folder))?;
    let mut files: Vec<_> = entries.filter_map(|entry| Some(entry.ok()?.path())).collect();
    files.sort();
    let mut panels = Vec::new();
    for file in files.iter().filter(|file| file.extension().is_some_and(|e| e == "json")) {
        let text = fs::read_to_string(file).map_err(FleetError::file("read", file))?;
        let dashboard: Value = serde_json::from_str(&text)
            .map_err(|source| FleetError::Answer { command: file.display().to_string(), source })?;
        panels.extend(of_dashboard(&dashboard));
    }
    Ok(panels)
}

fn of_dashboard(dashboard: &Value) -> Vec<Panel> {
    let title = dashboard["title"].as_str().unwrap_or_default();
    let panels = dashboard["panels"].as_array().into_iter().flatten();
    panels
        .map(|panel| {
            let targets = panel["targets"].as_array().into_iter().flatten();
            let queries = targets.filter_map(|target| target["expr"].as_str()).map(filled);
            let name = format!("{title}, {}", panel["title"].as_str().unwrap_or_default());
            Panel { name, queries: queries.collect() }
        })
        .collect()
}

/// As Grafana fills it in, with the fleet and every site, path and class chosen.
fn filled(query: &str) -> String {
    let variables = [
        ("$__rate_interval", "20s"),
        ("$fleet", "acme"),
        ("$site", ".*"),
        ("$path", ".*"),
        ("$class", ".*"),
    ];
    variables.iter().fold(query.to_owned(), |query, (name, value)| query.replace(name, value))
}

/// Every rule.
pub fn rules(deploy: &Path) -> Result<Vec<Rule>, FleetError> {
    #[derive(Deserialize)]
    struct File {
        groups: Vec<Group>,
    }
    #[derive(Deserialize)]
    struct Group {
        rules: Vec<Written>,
    }
    #[derive(Deserialize)]
    struct Written {
        record: Option<String>,
        alert: Option<String>,
        expr: String,
    }
    let file = deploy.join("prometheus/hawser.rules.yml");
    let text = fs::read_to_string(&file).map_err(FleetError::file("read", &file))?;
    let parsed: File = serde_saphyr::from_str(&text).map_err(|error| FleetError::Command {
        command: file.display().to_string(),
        code: None,
        said: error.to_string(),
    })?;
    let rules = parsed.groups.into_iter().flat_map(|group| group.rules);
    Ok(rules
        .map(|rule| match (rule.record, rule.alert) {
            (Some(record), _) => Rule { query: record.clone(), name: record },
            (None, alert) => {
                Rule { name: alert.unwrap_or_default(), query: looked_at(&rule.expr).to_owned() }
            }
        })
        .collect())
}

/// An alert's expression before it is compared; of `absent(X)`, X.
fn looked_at(expr: &str) -> &str {
    let expr = expr.trim();
    if let Some(inner) = expr.strip_prefix("absent(").and_then(|e| e.strip_suffix(')')) {
        return inner;
    }
    let cut = [" == ", " > ", " < "].iter().filter_map(|sign| expr.rfind(sign)).max();
    let number = |at: usize| expr[at + 3..].trim().trim_start_matches('=').trim().parse::<f64>();
    match cut.filter(|at| number(*at).is_ok()) {
        Some(at) => &expr[..at],
        None => expr,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_alert_is_looked_at_without_its_comparison() {
        for (expr, looked) in [
            ("max by (a) (x{b=\"c\"}) == 0", "max by (a) (x{b=\"c\"})"),
            ("rate(x[5m]) > 0.5\n", "rate(x[5m])"),
            ("absent(x)", "x"),
            ("a > b", "a > b"),
        ] {
            assert_eq!(looked_at(expr), looked);
        }
    }

    #[test]
    fn every_panel_and_rule_of_ours_is_found_and_has_a_query() {
        let deploy = Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/../deploy"));
        let panels = panels(deploy).expect("dashboards");
        assert!(panels.len() > 40 && panels.iter().all(|panel| !panel.queries.is_empty()));
        let left = panels.iter().flat_map(|p| &p.queries).find(|query| query.contains('$'));
        assert_eq!(left, None, "a variable that is not filled in");
        assert!(rules(deploy).expect("rules").len() > 10);
    }
}
