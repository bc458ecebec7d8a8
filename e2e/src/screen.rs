//! What the operator sees: steps as they happen, with spinners on a terminal, as plain lines elsewhere.

use console::{Style, Term};
use indicatif::{ProgressBar, ProgressStyle};
use std::time::{Duration, Instant};

const NAME_WIDTH: usize = 22;

pub(crate) struct Screen {
    terminal: bool,
    began: Instant,
}

/// A step under way. Dropping it without a word leaves no trace on a terminal.
pub(crate) struct Step<'a> {
    screen: &'a Screen,
    spinner: Option<ProgressBar>,
    name: String,
    began: Instant,
}

impl Screen {
    pub(crate) fn new() -> Self {
        let terminal = Term::stdout().is_term() && console::colors_enabled();
        Self { terminal, began: Instant::now() }
    }

    pub(crate) fn title(&self, text: &str) {
        println!("\n{}\n", self.styled(Style::new().bold(), text));
    }

    /// A new chapter, with the time since the start.
    pub(crate) fn chapter(&self, text: &str) {
        let at = self.began.elapsed().as_secs();
        let line = format!("{:02}:{:02}  {text}", at / 60, at % 60);
        println!("\n{}", self.styled(Style::new().bold().cyan(), &line));
    }

    /// Begins a step.
    pub(crate) fn step(&self, name: &str) -> Step<'_> {
        let spinner = self.terminal.then(|| {
            let spinner = ProgressBar::new_spinner();
            let style = ProgressStyle::with_template("  {spinner:.cyan} {prefix} {msg:.dim}");
            spinner.set_style(style.unwrap_or_else(|_| ProgressStyle::default_spinner()));
            spinner.set_prefix(format!("{name:NAME_WIDTH$}"));
            spinner.enable_steady_tick(Duration::from_millis(80));
            spinner
        });
        Step { screen: self, spinner, name: name.to_owned(), began: Instant::now() }
    }

    pub(crate) fn note(&self, text: &str) {
        println!("    {}", self.styled(Style::new().dim(), text));
    }

    pub(crate) fn bad(&self, text: &str) {
        println!("  {} {text}", self.styled(Style::new().red().bold(), "✗"));
    }

    /// Several lines, as another program printed them.
    pub(crate) fn block(&self, text: &str) {
        println!();
        text.trim_matches('\n').lines().for_each(|line| println!("    {line}"));
        println!();
    }

    pub(crate) fn good_or_bad(&self, good: bool) -> String {
        match good {
            true => self.styled(Style::new().green(), "✓"),
            false => self.styled(Style::new().red().bold(), "✗"),
        }
    }

    pub(crate) fn coloured_bar(&self, bar: &str, good: bool) -> String {
        let style = Style::new();
        self.styled(if good { style.green() } else { style.yellow() }, bar)
    }

    fn styled(&self, style: Style, text: &str) -> String {
        match self.terminal {
            true => style.apply_to(text).to_string(),
            false => text.to_owned(),
        }
    }
}

impl Step<'_> {
    /// What happens right now. Only shown on a terminal: it is gone when the step is.
    pub(crate) fn now(&self, text: impl Into<String>) {
        if let Some(spinner) = &self.spinner {
            spinner.set_message(text.into());
        }
    }

    /// It went well; `text` says what came of it.
    pub(crate) fn done(self, text: &str) {
        let took = self.began.elapsed().as_secs_f64();
        self.line(true, &format!("{text}  ({took:.1} s)"));
    }

    /// As [`Step::done`], without its time.
    pub(crate) fn told(self, good: bool, text: &str) {
        self.line(good, text);
    }

    fn line(mut self, good: bool, text: &str) {
        if let Some(spinner) = self.spinner.take() {
            spinner.finish_and_clear();
        }
        let mark = self.screen.good_or_bad(good);
        println!("  {mark} {:NAME_WIDTH$} {text}", self.name);
    }
}

impl Drop for Step<'_> {
    fn drop(&mut self) {
        if let Some(spinner) = self.spinner.take() {
            spinner.finish_and_clear();
        }
    }
}
