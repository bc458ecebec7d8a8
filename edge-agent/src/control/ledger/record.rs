//! The generation state as it lies on disk. Fields are only ever added.

use std::sync::Arc;

use hawser_edge_core::generation::{
    Attempt, BootId, Digest, Generation, GenerationId, GenerationState, Provisional, RefusedKind,
    Seen,
};
use hawser_edge_core::time::Micros;
use prost::Message;

use super::checked::Damage;

#[derive(Clone, PartialEq, Message)]
struct Record {
    #[prost(message, optional, tag = "1")]
    highest_seen: Option<SeenRecord>,
    #[prost(message, optional, tag = "2")]
    applied: Option<GenerationRecord>,
    /// Not set when it is the applied one.
    #[prost(message, optional, tag = "3")]
    confirmed: Option<GenerationRecord>,
    #[prost(bool, tag = "4")]
    confirmed_is_applied: bool,
    #[prost(message, repeated, tag = "5")]
    refused: Vec<RefusedRecord>,
    #[prost(message, optional, tag = "6")]
    provisional: Option<ProvisionalRecord>,
    #[prost(message, optional, tag = "7")]
    attempt: Option<AttemptRecord>,
    /// Not set when it is the confirmed one.
    #[prost(message, optional, tag = "8")]
    former: Option<GenerationRecord>,
    #[prost(bool, tag = "9")]
    former_is_confirmed: bool,
}

#[derive(Clone, PartialEq, Message)]
struct SeenRecord {
    #[prost(uint64, tag = "1")]
    epoch: u64,
    #[prost(uint64, tag = "2")]
    number: u64,
    #[prost(bytes = "vec", tag = "3")]
    digest: Vec<u8>,
}

#[derive(Clone, PartialEq, Message)]
struct GenerationRecord {
    #[prost(uint64, tag = "1")]
    epoch: u64,
    #[prost(uint64, tag = "2")]
    number: u64,
    #[prost(bytes = "vec", tag = "3")]
    bytes: Vec<u8>,
}

#[derive(Clone, PartialEq, Message)]
struct RefusedRecord {
    #[prost(uint64, tag = "1")]
    epoch: u64,
    #[prost(uint64, tag = "2")]
    number: u64,
    #[prost(bool, tag = "3")]
    unconfirmed: bool,
}

#[derive(Clone, PartialEq, Message)]
struct ProvisionalRecord {
    #[prost(bytes = "vec", tag = "1")]
    boot: Vec<u8>,
    #[prost(uint64, tag = "2")]
    applied_at_us: u64,
}

#[derive(Clone, PartialEq, Message)]
struct AttemptRecord {
    #[prost(uint64, tag = "1")]
    epoch: u64,
    #[prost(uint64, tag = "2")]
    number: u64,
    #[prost(uint32, tag = "3")]
    count: u32,
}

pub fn encode(state: &GenerationState) -> Vec<u8> {
    let same = state.confirmed.is_some() && state.confirmed_id() == state.applied_id();
    let confirmed = state.confirmed.as_ref().filter(|_| !same);
    let former_is_confirmed = state.former.is_some() && state.former_id() == state.confirmed_id();
    let former = state.former.as_ref().filter(|_| !former_is_confirmed);
    Record {
        highest_seen: state.highest_seen.map(|seen| SeenRecord {
            epoch: seen.id.epoch,
            number: seen.id.number,
            digest: seen.digest.0.to_vec(),
        }),
        applied: state.applied.as_deref().map(GenerationRecord::of),
        confirmed: confirmed.map(|g| GenerationRecord::of(g)),
        confirmed_is_applied: same,
        refused: state
            .refused
            .iter()
            .map(|(id, kind)| RefusedRecord {
                epoch: id.epoch,
                number: id.number,
                unconfirmed: kind == RefusedKind::Unconfirmed,
            })
            .collect(),
        provisional: state
            .provisional
            .map(|p| ProvisionalRecord { boot: p.boot.0.to_vec(), applied_at_us: p.applied_at.0 }),
        attempt: state.attempt.map(|a| AttemptRecord {
            epoch: a.id.epoch,
            number: a.id.number,
            count: a.count,
        }),
        former: former.map(|g| GenerationRecord::of(g)),
        former_is_confirmed,
    }
    .encode_to_vec()
}

/// # Errors
/// It can't be decoded, or no sequence of events leads to it.
pub fn decode(bytes: &[u8]) -> Result<GenerationState, Damage> {
    let record = Record::decode(bytes).map_err(|_| Damage::Content)?;
    let applied = record.applied.map(|g| Arc::new(g.into_generation()));
    let confirmed = if record.confirmed_is_applied {
        applied.clone()
    } else {
        record.confirmed.map(|g| Arc::new(g.into_generation()))
    };
    let former = if record.former_is_confirmed {
        confirmed.clone()
    } else {
        record.former.map(|g| Arc::new(g.into_generation()))
    };
    let mut state = GenerationState {
        former,
        highest_seen: record.highest_seen.map(SeenRecord::into_seen).transpose()?,
        applied,
        confirmed,
        provisional: record.provisional.map(ProvisionalRecord::into_provisional).transpose()?,
        attempt: record.attempt.map(|a| Attempt {
            id: GenerationId { epoch: a.epoch, number: a.number },
            count: a.count,
        }),
        ..GenerationState::default()
    };
    for refused in record.refused {
        let kind =
            if refused.unconfirmed { RefusedKind::Unconfirmed } else { RefusedKind::Rejected };
        let id = GenerationId { epoch: refused.epoch, number: refused.number };
        state.refused.insert(id, kind);
    }
    state.check().map_err(|_| Damage::Contradiction)?;
    Ok(state)
}

impl GenerationRecord {
    fn of(generation: &Generation) -> Self {
        let id = generation.id();
        let bytes = generation.bytes().to_vec();
        GenerationRecord { epoch: id.epoch, number: id.number, bytes }
    }

    fn into_generation(self) -> Generation {
        Generation::new(GenerationId { epoch: self.epoch, number: self.number }, self.bytes)
    }
}

impl SeenRecord {
    fn into_seen(self) -> Result<Seen, Damage> {
        let digest = self.digest.try_into().map_err(|_| Damage::Content)?;
        let id = GenerationId { epoch: self.epoch, number: self.number };
        Ok(Seen { id, digest: Digest(digest) })
    }
}

impl ProvisionalRecord {
    fn into_provisional(self) -> Result<Provisional, Damage> {
        let boot = self.boot.try_into().map_err(|_| Damage::Content)?;
        Ok(Provisional { boot: BootId(boot), applied_at: Micros(self.applied_at_us) })
    }
}
