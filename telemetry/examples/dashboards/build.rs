//! Grafana's JSON, as far as these dashboards need it (schema version 39: Grafana 10 and later).

use serde_json::{Value, json};

/// A panel of a dashboard; its place comes from its order.
pub struct Panel {
    title: String,
    about: String,
    kind: &'static str,
    unit: &'static str,
    width: u32,
    height: u32,
    targets: Vec<(String, String)>,
    mappings: Value,
    link: Option<(&'static str, &'static str)>,
}

fn panel(kind: &'static str, title: &str, unit: &'static str, width: u32, height: u32) -> Panel {
    Panel {
        title: title.to_owned(),
        about: String::new(),
        kind,
        unit,
        width,
        height,
        targets: Vec::new(),
        mappings: json!([]),
        link: None,
    }
}

/// Lines over time, half the width.
pub fn lines(title: &str, unit: &'static str) -> Panel {
    panel("timeseries", title, unit, 12, 8)
}

/// One number.
pub fn number(title: &str, unit: &'static str) -> Panel {
    panel("stat", title, unit, 4, 4)
}

/// States over time.
pub fn states(title: &str) -> Panel {
    panel("state-timeline", title, "none", 12, 8)
}

/// The newest values, worst first.
pub fn table(title: &str, unit: &'static str) -> Panel {
    panel("table", title, unit, 12, 8)
}

impl Panel {
    pub fn query(mut self, expr: impl Into<String>, legend: &str) -> Self {
        self.targets.push((expr.into(), legend.to_owned()));
        self
    }

    pub fn about(mut self, text: &str) -> Self {
        self.about = text.to_owned();
        self
    }

    /// Names for values, with their colours.
    pub fn names(mut self, names: &[(&str, &str, &str)]) -> Self {
        let options: serde_json::Map<String, Value> = names
            .iter()
            .enumerate()
            .map(|(index, (value, text, colour))| {
                let option = json!({ "text": text, "color": colour, "index": index });
                ((*value).to_owned(), option)
            })
            .collect();
        self.mappings = json!([{ "type": "value", "options": options }]);
        self
    }

    pub fn link(mut self, title: &'static str, url: &'static str) -> Self {
        self.link = Some((title, url));
        self
    }

    fn json(&self, id: usize, x: u32, y: u32) -> Value {
        let instant = matches!(self.kind, "table");
        let targets: Vec<Value> = self
            .targets
            .iter()
            .zip('A'..)
            .map(|((expr, legend), letter)| {
                json!({
                    "refId": letter.to_string(), "datasource": datasource(), "expr": expr,
                    "legendFormat": legend, "instant": instant, "range": !instant,
                    "format": if instant { "table" } else { "time_series" },
                })
            })
            .collect();
        let links: Vec<Value> =
            self.link.iter().map(|(title, url)| json!({ "title": title, "url": url })).collect();
        json!({
            "id": id, "type": self.kind, "title": self.title, "description": self.about,
            "datasource": datasource(), "targets": targets,
            "gridPos": { "x": x, "y": y, "w": self.width, "h": self.height },
            "fieldConfig": {
                "defaults": { "unit": self.unit, "mappings": self.mappings, "links": links },
                "overrides": [],
            },
        })
    }
}

/// A choice at the top of a dashboard.
pub struct Variable {
    pub name: &'static str,
    pub query: String,
    pub many: bool,
}

pub struct Dashboard {
    pub uid: &'static str,
    pub title: &'static str,
    pub variables: Vec<Variable>,
    /// Marks decisions that this selects.
    pub decisions: String,
    pub revisions: String,
    pub panels: Vec<Panel>,
}

impl Dashboard {
    pub fn text(&self) -> String {
        let mut templating = vec![json!({
            "name": "datasource", "type": "datasource", "query": "prometheus", "label": "Prometheus",
        })];
        templating.extend(self.variables.iter().map(variable));
        let dashboard = json!({
            "uid": self.uid, "title": self.title, "tags": ["hawser"], "schemaVersion": 39,
            "editable": true, "refresh": "10s", "time": { "from": "now-1h", "to": "now" },
            "graphTooltip": 1, "timezone": "browser",
            "links": [{
                "type": "dashboards", "tags": ["hawser"], "title": "Hawser", "asDropdown": true,
                "includeVars": true, "keepTime": true,
            }],
            "templating": { "list": templating },
            "annotations": { "list": [
                annotation("Decisions", &self.decisions, "orange", "{{site}}: {{class}} to {{peer_site}}", "{{cause}}"),
                annotation("Revisions", &self.revisions, "blue", "New revision of the fleet", ""),
            ]},
            "panels": self.placed(),
        });
        let mut text = serde_json::to_string_pretty(&dashboard).expect("JSON");
        text.push('\n');
        text
    }

    /// From left to right, in rows 24 wide.
    fn placed(&self) -> Vec<Value> {
        let (mut x, mut y, mut row) = (0, 0, 0);
        let mut placed = Vec::new();
        for (index, panel) in self.panels.iter().enumerate() {
            if x + panel.width > 24 {
                (x, y, row) = (0, y + row, 0);
            }
            placed.push(panel.json(index + 1, x, y));
            x += panel.width;
            row = row.max(panel.height);
        }
        placed
    }
}

fn datasource() -> Value {
    json!({ "type": "prometheus", "uid": "${datasource}" })
}

fn variable(variable: &Variable) -> Value {
    json!({
        "name": variable.name, "label": variable.name, "type": "query",
        "datasource": datasource(), "query": { "query": variable.query, "refId": variable.name },
        "definition": variable.query, "refresh": 2, "sort": 3, "includeAll": variable.many,
        "multi": variable.many, "allValue": if variable.many { json!(".*") } else { Value::Null },
    })
}

fn annotation(name: &str, expr: &str, colour: &str, title: &str, tags: &str) -> Value {
    json!({
        "name": name, "enable": true, "iconColor": colour, "datasource": datasource(),
        "expr": expr, "step": "30s", "titleFormat": title, "textFormat": tags, "tagKeys": "cause",
    })
}
