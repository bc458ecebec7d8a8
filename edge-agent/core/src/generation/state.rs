//! What is remembered about generations, and which memories are possible.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;

use hawser_proto::agent::v1 as agent;
use hawser_proto::config::v1 as config;

use crate::time::Micros;

/// How many refused generations are remembered; of more, the oldest is forgotten. A forgotten one
/// is older than `highest_seen`, so it still can't come back.
pub const MAX_REFUSED: usize = 64;

/// A generation's name. The epoch rises when a controller is restored from a backup.
#[derive(
    Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, serde::Serialize, serde::Deserialize,
)]
pub struct GenerationId {
    pub epoch: u64,
    pub number: u64,
}

impl GenerationId {
    /// The form that travels.
    pub fn to_proto(self) -> config::GenerationId {
        config::GenerationId { epoch: self.epoch, number: self.number }
    }

    /// `None` for 0.0, which is how some writers say “none”.
    pub fn from_proto(id: &config::GenerationId) -> Option<Self> {
        let id = GenerationId { epoch: id.epoch, number: id.number };
        (id != GenerationId { epoch: 0, number: 0 }).then_some(id)
    }
}

/// `<epoch>.<number>`.
impl fmt::Display for GenerationId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}", self.epoch, self.number)
    }
}

/// SHA-256 of a generation's bytes.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct Digest(pub [u8; 32]);

impl Digest {
    pub fn of(bytes: &[u8]) -> Self {
        let digest = ring::digest::digest(&ring::digest::SHA256, bytes);
        let mut out = [0; 32];
        out.copy_from_slice(digest.as_ref());
        Digest(out)
    }
}

impl fmt::Debug for Digest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().take(4).try_for_each(|b| write!(f, "{b:02x}"))
    }
}

/// One generation, its bytes as received: a serialised `hawser.config.v1.EdgeConfig`.
#[derive(Clone, PartialEq, Eq)]
pub struct Generation {
    id: GenerationId,
    digest: Digest,
    bytes: Vec<u8>,
}

impl Generation {
    pub fn new(id: GenerationId, bytes: Vec<u8>) -> Self {
        Generation { id, digest: Digest::of(&bytes), bytes }
    }

    pub fn id(&self) -> GenerationId {
        self.id
    }

    pub fn digest(&self) -> Digest {
        self.digest
    }

    pub fn bytes(&self) -> &[u8] {
        &self.bytes
    }

    /// What is remembered of it for good.
    pub fn seen(&self) -> Seen {
        Seen { id: self.id, digest: self.digest }
    }
}

impl fmt::Debug for Generation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} ({:?}, {} bytes)", self.id, self.digest, self.bytes.len())
    }
}

/// A name and what it stood for: the same name may never stand for something else.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Seen {
    pub id: GenerationId,
    pub digest: Digest,
}

/// Why a generation was given up.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RefusedKind {
    /// It can't be done here.
    Rejected,
    /// It was applied, and no exchange with the controller confirmed it.
    Unconfirmed,
}

impl RefusedKind {
    pub fn to_proto(self) -> agent::NackKind {
        match self {
            RefusedKind::Rejected => agent::NackKind::Rejected,
            RefusedKind::Unconfirmed => agent::NackKind::Unconfirmed,
        }
    }
}

/// The newest [`MAX_REFUSED`] refused generations.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Refused(BTreeMap<GenerationId, RefusedKind>);

impl Refused {
    pub fn insert(&mut self, id: GenerationId, kind: RefusedKind) {
        self.0.insert(id, kind);
        while self.0.len() > MAX_REFUSED {
            self.0.pop_first();
        }
    }

    pub fn get(&self, id: GenerationId) -> Option<RefusedKind> {
        self.0.get(&id).copied()
    }

    pub fn iter(&self) -> impl Iterator<Item = (GenerationId, RefusedKind)> {
        self.0.iter().map(|(id, kind)| (*id, *kind))
    }

    pub fn len(&self) -> usize {
        self.0.len()
    }

    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

/// One boot of the kernel: a monotonic clock means something only within it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct BootId(pub [u8; 16]);

/// The applied generation waits for its confirmation.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Provisional {
    pub boot: BootId,
    /// By the clock of `boot`.
    pub applied_at: Micros,
}

/// An application that began and whose end is not known yet.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Attempt {
    pub id: GenerationId,
    /// How often it began, this time included.
    pub count: u32,
}

/// Everything that is persisted about generations.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct GenerationState {
    pub highest_seen: Option<Seen>,
    pub applied: Option<Arc<Generation>>,
    pub confirmed: Option<Arc<Generation>>,
    pub refused: Refused,
    /// Set exactly while `applied` is not `confirmed`.
    pub provisional: Option<Provisional>,
    pub attempt: Option<Attempt>,
    /// Was in force before `applied`, until all peers are known to key by what came after: what a peer is a generation behind
    /// with is still taken by an agent that is started again.
    pub former: Option<Arc<Generation>>,
}

/// A memory that no sequence of events can leave: it was not written by this program, or by a bug.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum IllegalState {
    #[error("the {0} generation is newer than the newest seen")]
    NewerThanSeen(&'static str),
    #[error("a generation is confirmed but none is applied")]
    ConfirmedNotApplied,
    #[error("the confirmed generation is newer than the applied one")]
    ConfirmedNewerThanApplied,
    #[error("an unconfirmed generation is not marked provisional, or the other way round")]
    Provisional,
    #[error("a generation is both refused and applied")]
    RefusedAndApplied,
    #[error("one name stands for two contents")]
    TwoContents,
    #[error("the generation before is the applied one")]
    Former,
}

impl GenerationState {
    pub fn applied_id(&self) -> Option<GenerationId> {
        self.applied.as_ref().map(|g| g.id)
    }

    pub fn confirmed_id(&self) -> Option<GenerationId> {
        self.confirmed.as_ref().map(|g| g.id)
    }

    pub fn former_id(&self) -> Option<GenerationId> {
        self.former.as_ref().map(|g| g.id)
    }

    /// `old` has just been replaced by `applied`. One that peers may still key by is not forgotten for another one that they have
    /// never seen; but one that is in force again is no former one.
    pub(super) fn remember_former(&mut self, old: Option<Arc<Generation>>) {
        if self.former.is_none() || self.former_id() == self.applied_id() {
            self.former = old;
        }
        if self.applied.is_none() || self.former_id() == self.applied_id() {
            self.former = None;
        }
    }

    /// Checks what must hold of every state that was ever persisted.
    ///
    /// # Errors
    /// The first rule that is broken.
    pub fn check(&self) -> Result<(), IllegalState> {
        let seen = self.highest_seen;
        for (name, generation) in [("applied", &self.applied), ("confirmed", &self.confirmed)] {
            let Some(generation) = generation else { continue };
            match seen {
                Some(seen) if seen.id == generation.id && seen.digest != generation.digest => {
                    return Err(IllegalState::TwoContents);
                }
                Some(seen) if seen.id >= generation.id => {}
                _ => return Err(IllegalState::NewerThanSeen(name)),
            }
            if self.refused.get(generation.id).is_some() {
                return Err(IllegalState::RefusedAndApplied);
            }
        }
        match (&self.applied, &self.confirmed) {
            (None, Some(_)) => return Err(IllegalState::ConfirmedNotApplied),
            (Some(a), Some(c)) if c.id > a.id => {
                return Err(IllegalState::ConfirmedNewerThanApplied);
            }
            (Some(a), Some(c)) if c.id == a.id && c.digest != a.digest => {
                return Err(IllegalState::TwoContents);
            }
            _ => {}
        }
        if self.former.is_some() && self.former_id() == self.applied_id() {
            return Err(IllegalState::Former);
        }
        if self.provisional.is_some() != (self.applied_id() != self.confirmed_id()) {
            return Err(IllegalState::Provisional);
        }
        Ok(())
    }

    /// What Hello says.
    pub fn to_proto(&self) -> agent::GenerationState {
        agent::GenerationState {
            highest_seen: self.highest_seen.map(|s| s.id.to_proto()),
            applied: self.applied_id().map(GenerationId::to_proto),
            confirmed: self.confirmed_id().map(GenerationId::to_proto),
            refused: self
                .refused
                .iter()
                .map(|(id, kind)| agent::RefusedGeneration {
                    id: Some(id.to_proto()),
                    kind: kind.to_proto().into(),
                })
                .collect(),
        }
    }
}
