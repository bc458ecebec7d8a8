//! Writes Grafana's dashboards into a folder: `dashboards deploy/grafana/dashboards`.

mod build;
mod query;
mod view;

use std::path::PathBuf;

fn main() -> std::io::Result<()> {
    let folder = PathBuf::from(std::env::args().nth(1).unwrap_or_else(|| ".".to_owned()));
    for (name, text) in view::all() {
        std::fs::write(folder.join(name), text)?;
    }
    Ok(())
}
