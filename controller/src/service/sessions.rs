//! Sessions of people who signed in to the console: a random number in a cookie stands for a token's ID. In memory only,
//! by the number's hash; a controller that restarts asks people to sign in again.

use std::collections::BTreeMap;
use std::sync::Mutex;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use tokio_util::sync::CancellationToken;

use super::tokens::Principal;
use super::{Controller, ServiceError};
use crate::clock::now_unix_ms;
use crate::secret;

/// A session ends after so long, whatever is done in it.
const LONGEST_MS: u64 = 12 * 3_600_000;
/// It ends earlier if nothing was asked for so long.
const IDLE_MS: u64 = 3_600_000;
/// The oldest one makes room.
const MAX_SESSIONS: usize = 1_000;
const MAX_OF_ONE_TOKEN: usize = 16;

#[derive(Debug)]
struct Session {
    token_id: String,
    used_unix_ms: u64,
    ends_unix_ms: u64,
    ended: CancellationToken,
}

impl Session {
    fn alive(&self, now: u64) -> bool {
        now < self.ends_unix_ms && now < self.used_unix_ms + IDLE_MS
    }
}

/// All sessions, by the hash of what their cookie holds.
#[derive(Debug, Default)]
pub struct Sessions(Mutex<BTreeMap<String, Session>>);

/// A new session; its text is told this once.
pub struct OpenedSession {
    pub text: String,
    pub ends_unix_ms: u64,
}

impl std::fmt::Debug for OpenedSession {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("OpenedSession").finish_non_exhaustive()
    }
}

/// Until when what was begun in a session may go on.
#[derive(Debug, Clone)]
pub struct SessionEnd {
    ended: CancellationToken,
    pub ends_unix_ms: u64,
}

impl SessionEnd {
    /// Returns when the session has ended.
    pub async fn come(&self) {
        let left =
            std::time::Duration::from_millis(self.ends_unix_ms.saturating_sub(now_unix_ms()));
        tokio::select! {
            () = self.ended.cancelled() => {}
            () = tokio::time::sleep(left) => {}
        }
    }
}

impl Sessions {
    /// `token_ends_unix_ms` 0: the token never ends.
    fn open(&self, token_id: &str, token_ends_unix_ms: u64, now: u64) -> OpenedSession {
        let mut all = self.lock();
        all.retain(|_, session| session.alive(now) || end(session));
        let of_token = all.values().filter(|session| session.token_id == token_id).count();
        if of_token >= MAX_OF_ONE_TOKEN {
            end_oldest(&mut all, |session| session.token_id == token_id);
        } else if all.len() >= MAX_SESSIONS {
            end_oldest(&mut all, |_| true);
        }
        let text = URL_SAFE_NO_PAD.encode(secret::random::<32>());
        let ends_unix_ms = match token_ends_unix_ms {
            0 => now + LONGEST_MS,
            ends => ends.min(now + LONGEST_MS),
        };
        let session = Session {
            token_id: token_id.to_owned(),
            used_unix_ms: now,
            ends_unix_ms,
            ended: CancellationToken::new(),
        };
        all.insert(secret::sha256_hex(text.as_bytes()), session);
        OpenedSession { text, ends_unix_ms }
    }

    /// The token that a session stands for; this is a use of it.
    fn token_of(&self, text: &str, now: u64) -> Option<String> {
        let mut all = self.lock();
        let session = all.get_mut(&secret::sha256_hex(text.as_bytes()))?;
        if !session.alive(now) {
            return None;
        }
        session.used_unix_ms = now;
        Some(session.token_id.clone())
    }

    fn end_of(&self, text: &str) -> Option<SessionEnd> {
        let all = self.lock();
        let session = all.get(&secret::sha256_hex(text.as_bytes()))?;
        Some(SessionEnd { ended: session.ended.clone(), ends_unix_ms: session.ends_unix_ms })
    }

    fn close(&self, text: &str) {
        if let Some(session) = self.lock().remove(&secret::sha256_hex(text.as_bytes())) {
            session.ended.cancel();
        }
    }

    /// A token that was revoked ends what it began.
    pub(super) fn close_of_token(&self, token_id: &str) {
        self.lock().retain(|_, session| session.token_id != token_id || end(session));
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, BTreeMap<String, Session>> {
        self.0.lock().unwrap_or_else(|e| e.into_inner())
    }
}

/// For `retain`: it is told, and goes.
fn end(session: &mut Session) -> bool {
    session.ended.cancel();
    false
}

fn end_oldest(all: &mut BTreeMap<String, Session>, which: impl Fn(&Session) -> bool) {
    let of_it = all.iter().filter(|(_, session)| which(session));
    let oldest = of_it.min_by_key(|(_, session)| session.used_unix_ms).map(|(key, _)| key.clone());
    if let Some(session) = oldest.and_then(|key| all.remove(&key)) {
        session.ended.cancel();
    }
}

impl Controller {
    /// Opens a session for the bearer of a token who was admitted.
    pub async fn open_session(&self, by: &Principal) -> Result<OpenedSession, ServiceError> {
        let token_ends = self.token_ends(&by.token_id).await?;
        Ok(self.sessions.open(&by.token_id, token_ends, now_unix_ms()))
    }

    pub fn close_session(&self, text: &str) {
        self.sessions.close(text);
    }

    /// `None`: there is no such session any more.
    pub fn session_end(&self, text: &str) -> Option<SessionEnd> {
        self.sessions.end_of(text)
    }

    pub(super) fn token_of_session(&self, text: &str) -> Option<String> {
        self.sessions.token_of(text, now_unix_ms())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const START: u64 = 1_000_000_000;

    #[test]
    fn a_session_stands_for_its_token_until_it_is_idle_or_old() {
        let sessions = Sessions::default();
        let idle = sessions.open("a", 0, START).text;
        let busy = sessions.open("b", 0, START).text;
        assert_eq!(sessions.token_of(&idle, START + IDLE_MS - 1).as_deref(), Some("a"));
        for minutes in (0..LONGEST_MS / 60_000).step_by(30) {
            let known = sessions.token_of(&busy, START + minutes * 60_000);
            assert_eq!(known.as_deref(), Some("b"), "{minutes} min");
        }
        assert_eq!(sessions.token_of(&busy, START + LONGEST_MS), None, "too old");
        assert_eq!(sessions.token_of(&idle, START + 3 * IDLE_MS), None, "too idle");
        assert_eq!(sessions.token_of("guess", START), None);
    }

    #[test]
    fn a_session_ends_with_its_token() {
        let sessions = Sessions::default();
        let opened = sessions.open("a", START + 5, START);
        assert_eq!(opened.ends_unix_ms, START + 5);
        assert_eq!(sessions.token_of(&opened.text, START + 5), None);
        let (of_a, of_b) = (sessions.open("a", 0, START).text, sessions.open("b", 0, START).text);
        let end = sessions.end_of(&of_a).unwrap();
        sessions.close_of_token("a");
        assert!(end.ended.is_cancelled());
        assert_eq!(sessions.token_of(&of_a, START), None);
        assert_eq!(sessions.token_of(&of_b, START).as_deref(), Some("b"));
    }

    #[test]
    fn there_are_never_too_many_and_the_one_that_was_idle_longest_goes() {
        let sessions = Sessions::default();
        let first = sessions.open("a", 0, START).text;
        for n in 1..=MAX_OF_ONE_TOKEN as u64 {
            sessions.open("a", 0, START + n);
        }
        assert_eq!(sessions.token_of(&first, START + 20), None);
        assert_eq!(sessions.lock().len(), MAX_OF_ONE_TOKEN);
        for n in 0..2 * MAX_SESSIONS {
            sessions.open(&format!("t{n}"), 0, START + 100);
        }
        assert_eq!(sessions.lock().len(), MAX_SESSIONS);
    }
}
