//! Where answers go: standard output for what was asked, standard error for everything else.

use std::io::{IsTerminal as _, Write as _};

use serde_json::{Value, json};

use crate::error::{CliError, Exit};
use crate::show::{Style, faults};

#[derive(Debug)]
pub struct Output {
    json: bool,
    style: Style,
    errors: Style,
}

impl Output {
    pub fn new(json: bool) -> Self {
        let plain = std::env::var_os("NO_COLOR").is_some_and(|value| !value.is_empty())
            || std::env::var_os("TERM").is_some_and(|value| value == "dumb");
        let style = |terminal: bool| Style { colours: terminal && !plain, fit: terminal };
        let (out, err) = (std::io::stdout().is_terminal(), std::io::stderr().is_terminal());
        Self { json, style: style(out), errors: style(err) }
    }

    pub fn style(&self) -> &Style {
        &self.style
    }

    pub fn is_json(&self) -> bool {
        self.json
    }

    /// The answer: `people` for people, `programs` with --json.
    pub fn answer(
        &self,
        people: impl FnOnce(&Style) -> String,
        programs: impl FnOnce() -> Value,
    ) -> Result<(), CliError> {
        if self.json {
            self.raw(format!("{:#}\n", programs()).as_bytes())
        } else {
            let mut text = people(&self.style);
            if !text.ends_with('\n') {
                text.push('\n');
            }
            self.raw(text.as_bytes())
        }
    }

    /// One of many answers: a line of text, or a line of JSON.
    pub fn line(
        &self,
        people: impl FnOnce(&Style) -> String,
        programs: impl FnOnce() -> Value,
    ) -> Result<(), CliError> {
        let line = if self.json { programs().to_string() } else { people(&self.style) };
        self.raw(format!("{}\n", line.trim_end()).as_bytes())
    }

    /// As it is.
    pub fn raw(&self, bytes: &[u8]) -> Result<(), CliError> {
        let mut out = std::io::stdout().lock();
        out.write_all(bytes).and_then(|()| out.flush()).map_err(|error| {
            // `hawser sites | head -1`: whoever reads has enough.
            let broken = error.kind() == std::io::ErrorKind::BrokenPipe;
            let exit = if broken { Exit::Interrupted } else { Exit::Failed };
            CliError::new(exit, "OUTPUT", error.to_string(), "")
        })
    }

    /// Something that people should know beside the answer.
    pub fn note(&self, text: &str) {
        let _ = writeln!(std::io::stderr(), "{}", self.errors.faint(text));
    }

    pub fn error(&self, error: &CliError) {
        let text = if self.json { error_json(error).to_string() } else { self.error_text(error) };
        if error.exit != Exit::Interrupted {
            let _ = writeln!(std::io::stderr(), "{}", text.trim_end());
        }
    }

    fn error_text(&self, error: &CliError) -> String {
        let mut text = String::new();
        if !error.faults.is_empty() {
            text.push_str(&faults(&self.errors, &error.faults));
            text.push_str("\n\n");
        }
        text.push_str(&format!("{} {}", self.errors.bad("error:"), error.message));
        if error.faults.is_empty() {
            text.push_str(&format!(" [{}]", error.code));
        }
        if !error.mend.is_empty() {
            text.push_str(&format!("\n       {}", error.mend));
        }
        text
    }
}

fn error_json(error: &CliError) -> Value {
    json!({
        "error": {
            "code": error.code,
            "message": error.message,
            "mend": error.mend,
            "exit_code": error.exit.code(),
            "faults": error.faults.iter().map(crate::show::json::fault).collect::<Vec<_>>(),
        }
    })
}
