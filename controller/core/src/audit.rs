//! The audit log's chain: each entry carries the hash of the one before, so that whoever keeps a hash can tell whether
//! anything before it was altered, left out or put in.

use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};

const MAX_TEXT_BYTES: usize = 512;

/// What is known of an entry before it has its place in the chain.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Record {
    /// Who: `token:<id>`, `edge:<name>`, `address:<ip>` or `controller`.
    pub actor: String,
    /// Stable code, upper case.
    pub action: String,
    /// What it was done to.
    pub subject: String,
    pub detail: String,
}

impl Record {
    /// Texts are cut where they are too long.
    pub fn new(
        actor: impl Into<String>,
        action: &str,
        subject: impl Into<String>,
        detail: impl Into<String>,
    ) -> Self {
        Self {
            actor: bounded(actor.into()),
            action: action.to_owned(),
            subject: bounded(subject.into()),
            detail: bounded(detail.into()),
        }
    }
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Entry {
    pub sequence: u64,
    pub unix_ms: u64,
    #[serde(flatten)]
    pub record: Record,
    /// Refusals that were not written since the entry before.
    pub suppressed: u64,
    pub previous: String,
    /// Hex SHA-256 of the entry's JSON, with this field empty.
    pub hash: String,
}

impl Entry {
    /// The entry that follows one with this sequence number and hash; 0 and empty: the first.
    pub fn following(
        (sequence, hash): (u64, &str),
        record: Record,
        suppressed: u64,
        unix_ms: u64,
    ) -> Self {
        let mut entry = Self {
            sequence: sequence + 1,
            unix_ms,
            record,
            suppressed,
            previous: hash.to_owned(),
            hash: String::new(),
        };
        entry.hash = entry.computed_hash();
        entry
    }

    pub fn computed_hash(&self) -> String {
        let mut unhashed = self.clone();
        unhashed.hash.clear();
        // A struct of texts and numbers always has a JSON form.
        let text = serde_json::to_vec(&unhashed).unwrap_or_default();
        Sha256::digest(&text).iter().map(|byte| format!("{byte:02x}")).collect()
    }
}

/// Follows the chain entry by entry, from the oldest that is kept.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Verifier {
    last: Option<(u64, String)>,
    pub checked: u64,
}

/// Where the chain breaks.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Broken {
    #[error("entry {0} is not what was written")]
    Altered(u64),
    #[error("entry {found} does not follow entry {after}")]
    Unchained { after: u64, found: u64 },
}

impl Verifier {
    /// # Errors
    /// If the entry was altered, or is not the one that follows.
    pub fn take(&mut self, entry: &Entry) -> Result<(), Broken> {
        if let Some((sequence, hash)) = &self.last
            && (entry.sequence != sequence + 1 || entry.previous != *hash)
        {
            return Err(Broken::Unchained { after: *sequence, found: entry.sequence });
        }
        if entry.computed_hash() != entry.hash {
            return Err(Broken::Altered(entry.sequence));
        }
        self.last = Some((entry.sequence, entry.hash.clone()));
        self.checked += 1;
        Ok(())
    }

    /// The last entry taken.
    pub fn last(&self) -> Option<(u64, &str)> {
        self.last.as_ref().map(|(sequence, hash)| (*sequence, hash.as_str()))
    }
}

fn bounded(mut text: String) -> String {
    if text.len() > MAX_TEXT_BYTES {
        let end = text.floor_char_boundary(MAX_TEXT_BYTES);
        text.truncate(end);
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    fn chain(length: u64) -> Vec<Entry> {
        let mut entries: Vec<Entry> = Vec::new();
        for n in 0..length {
            let before = entries.last().map_or((0, ""), |e| (e.sequence, e.hash.as_str()));
            let record = Record::new("token:a", "TEST", format!("subject {n}"), "detail");
            entries.push(Entry::following(before, record, 0, 1_000 + n));
        }
        entries
    }

    fn verify(entries: &[Entry]) -> Result<u64, Broken> {
        let mut verifier = Verifier::default();
        entries.iter().try_for_each(|entry| verifier.take(entry))?;
        Ok(verifier.checked)
    }

    #[test]
    fn a_whole_chain_is_whole_and_may_begin_anywhere() {
        assert_eq!(verify(&chain(5)), Ok(5));
        assert_eq!(verify(&chain(5)[2..]), Ok(3));
    }

    #[test]
    fn an_altered_a_missing_and_a_forged_entry_are_found() {
        let mut altered = chain(5);
        altered[2].record.detail = "something else".into();
        assert_eq!(verify(&altered), Err(Broken::Altered(3)));
        altered[2].hash = altered[2].computed_hash();
        assert_eq!(verify(&altered), Err(Broken::Unchained { after: 3, found: 4 }));
        let mut missing = chain(5);
        missing.remove(1);
        assert_eq!(verify(&missing), Err(Broken::Unchained { after: 1, found: 3 }));
        let mut swapped = chain(5);
        swapped.swap(1, 2);
        assert!(verify(&swapped).is_err());
    }

    #[test]
    fn long_texts_are_cut_at_a_character() {
        let record = Record::new("a", "B", "é".repeat(400), "");
        assert_eq!(record.subject.len(), MAX_TEXT_BYTES);
    }
}
