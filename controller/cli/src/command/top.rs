//! `top`: a terminal that is asked for keys, and a controller that is asked what is.

use std::io::{IsTerminal as _, Write as _};
use std::time::Duration;

use crossterm::event::{Event, KeyCode, KeyEventKind, KeyModifiers};
use crossterm::terminal::{
    EnterAlternateScreen, LeaveAlternateScreen, disable_raw_mode, enable_raw_mode, size,
};
use crossterm::{cursor, execute, queue};
use hawser_proto::operator::v1::{
    GetStatusRequest, ListDecisionsRequest, ListPathsRequest, ListSitesRequest,
};
use tokio::sync::mpsc;

use crate::client::{Client, Session};
use crate::error::{CliError, Exit};
use crate::output::Output;
use crate::time::now_unix_ms;
use crate::top::{Fleet, Key, Top};

const PAGE_SIZE: u32 = 1_000;
/// Sites and paths beyond so many pages are left out of a terminal.
const MAX_PAGES: usize = 20;
const DECISIONS: u32 = 50;
/// Keys that are not looked at yet; more are dropped.
const KEYS_WAITING: usize = 32;
/// A controller is not asked more often, whoever wants it.
const SOONEST: Duration = Duration::from_millis(500);
const KEY_LOOKED_FOR: Duration = Duration::from_millis(100);

/// Until `q`.
pub async fn top(session: &Session, every: Duration, output: &Output) -> Result<(), CliError> {
    if output.is_json() || !std::io::stdout().is_terminal() {
        let message = "top needs a terminal";
        return Err(CliError::new(
            Exit::Usage,
            "NO_TERMINAL",
            message,
            "use status, sites or paths",
        ));
    }
    let first = ask(session).await?;
    let screen = Screen::open()?;
    let mut state = Top::default();
    state.take(first);
    let mut keys = keys();
    let mut turns = tokio::time::interval(every.max(SOONEST));
    turns.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    turns.tick().await;
    loop {
        screen.show(&mut state, output)?;
        tokio::select! {
            key = keys.recv() => match key {
                Some(Some(key)) if !state.press(key) => return Ok(()),
                Some(_) => {}
                None => return Ok(()),
            },
            _ = turns.tick() => match ask(session).await {
                Ok(fleet) => state.take(fleet),
                Err(error) if error.exit == Exit::Unreachable => state.trouble(error.message),
                Err(error) => return Err(error),
            },
        }
    }
}

async fn ask(session: &Session) -> Result<Fleet, CliError> {
    let call = |mut client: Client| async move { client.get_status(GetStatusRequest {}).await };
    let mut fleet = Fleet { status: session.read(call).await?, ..Fleet::default() };
    let mut token = String::new();
    for _ in 0..MAX_PAGES {
        let asked = ListSitesRequest { page_size: PAGE_SIZE, page_token: token.clone() };
        let call = |mut client: Client| {
            let asked = asked.clone();
            async move { client.list_sites(asked).await }
        };
        let page = session.read(call).await?;
        fleet.sites.extend(page.sites);
        token = page.next_page_token;
        if token.is_empty() {
            break;
        }
    }
    token.clear();
    for _ in 0..MAX_PAGES {
        let asked = ListPathsRequest {
            page_size: PAGE_SIZE,
            page_token: token.clone(),
            ..Default::default()
        };
        let call = |mut client: Client| {
            let asked = asked.clone();
            async move { client.list_paths(asked).await }
        };
        let page = session.read(call).await?;
        fleet.paths.extend(page.paths);
        token = page.next_page_token;
        if token.is_empty() {
            break;
        }
    }
    let asked = ListDecisionsRequest { limit: DECISIONS, ..Default::default() };
    let call = |mut client: Client| {
        let asked = asked.clone();
        async move { client.list_decisions(asked).await }
    };
    fleet.decisions = session.read(call).await?.decisions;
    fleet.unix_ms = now_unix_ms();
    Ok(fleet)
}

/// Keys, and `None` for what only needs a new screen (it was resized). A thread of its own: reading a terminal blocks.
fn keys() -> mpsc::Receiver<Option<Key>> {
    let (found, keys) = mpsc::channel(KEYS_WAITING);
    std::thread::spawn(move || {
        while !found.is_closed() {
            match crossterm::event::poll(KEY_LOOKED_FOR) {
                Ok(false) => continue,
                Ok(true) => {}
                Err(_) => return,
            }
            let told = match crossterm::event::read() {
                Ok(Event::Key(key)) if key.kind != KeyEventKind::Release => {
                    let ctrl = key.modifiers.contains(KeyModifiers::CONTROL);
                    match key_of(key.code, ctrl) {
                        Some(key) => Some(key),
                        None => continue,
                    }
                }
                Ok(Event::Resize(..)) => None,
                Ok(_) => continue,
                Err(_) => return,
            };
            // Somebody who holds a key down is not answered later for it.
            let _ = found.try_send(told);
        }
    });
    keys
}

fn key_of(code: KeyCode, ctrl: bool) -> Option<Key> {
    Some(match code {
        KeyCode::Char('c') if ctrl => Key::Quit,
        KeyCode::Char('q') => Key::Quit,
        KeyCode::Up | KeyCode::Char('k') => Key::Up,
        KeyCode::Down | KeyCode::Char('j') => Key::Down,
        KeyCode::PageUp => Key::PageUp,
        KeyCode::PageDown | KeyCode::Char(' ') => Key::PageDown,
        KeyCode::Enter | KeyCode::Right | KeyCode::Char('l') => Key::Enter,
        KeyCode::Esc | KeyCode::Left | KeyCode::Backspace | KeyCode::Char('h') => Key::Back,
        _ => return None,
    })
}

/// The terminal, given back as it was whatever happens.
struct Screen;

impl Screen {
    fn open() -> Result<Self, CliError> {
        enable_raw_mode().map_err(failed)?;
        let screen = Self;
        execute!(std::io::stdout(), EnterAlternateScreen, cursor::Hide).map_err(failed)?;
        Ok(screen)
    }

    /// Line by line over what was there: a screen that is cleared first flickers.
    fn show(&self, state: &mut Top, output: &Output) -> Result<(), CliError> {
        let (width, height) = size().map_err(failed)?;
        let lines = state.frame(output.style(), usize::from(width), usize::from(height));
        let mut out = std::io::stdout().lock();
        for (row, line) in (0..).zip(&lines) {
            queue!(out, cursor::MoveTo(0, row)).map_err(failed)?;
            write!(out, "{line}\u{1b}[K").map_err(failed)?;
        }
        out.flush().map_err(failed)
    }
}

impl Drop for Screen {
    fn drop(&mut self) {
        let _ = execute!(std::io::stdout(), cursor::Show, LeaveAlternateScreen);
        let _ = disable_raw_mode();
    }
}

fn failed(error: std::io::Error) -> CliError {
    CliError::new(Exit::Failed, "TERMINAL", format!("the terminal failed: {error}"), "")
}
