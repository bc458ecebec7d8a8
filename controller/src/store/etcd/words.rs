//! Our transactions in etcd's words, and its answers in ours.

use std::collections::BTreeMap;

use super::wire::compare::{CompareResult, CompareTarget, TargetUnion};
use super::wire::{
    self, DeleteRangeRequest, KeyValue, PutRequest, RangeRequest, RequestOp, ResponseOp,
    request_op, response_op,
};
use crate::store::{Compare, Entry, Op, StoreError};

/// A key that etcd has never seen at this revision.
const NEVER: i64 = -1;

/// Keys of one store, which may share an etcd with others.
#[derive(Debug, Clone)]
pub struct Keys {
    prefix: String,
}

impl Keys {
    pub fn new(prefix: &str, fleet: &str) -> Self {
        Self { prefix: format!("{}/{fleet}/", prefix.trim_end_matches('/')) }
    }

    /// Who writes.
    pub fn lead(&self) -> Vec<u8> {
        format!("{}lead", self.prefix).into_bytes()
    }

    /// Which transaction was the last that went through this slot.
    pub fn slot(&self, number: usize) -> Vec<u8> {
        format!("{}once/{number:02}", self.prefix).into_bytes()
    }

    pub fn data(&self, key: &str) -> Vec<u8> {
        format!("{}data/{key}", self.prefix).into_bytes()
    }

    /// None: it is not of the data.
    pub fn name(&self, key: &[u8]) -> Option<String> {
        let key = key.strip_prefix(self.prefix.as_bytes())?.strip_prefix(b"data/")?;
        String::from_utf8(key.to_vec()).ok()
    }

    pub fn entry(&self, kv: KeyValue) -> Result<Entry, StoreError> {
        let garbled =
            || StoreError::Garbled { what: String::from_utf8_lossy(&kv.key).into_owned() };
        let key = self.name(&kv.key).ok_or_else(garbled)?;
        Ok(Entry { key, revision: revision(kv.mod_revision), value: kv.value })
    }

    pub fn compare(&self, compare: &Compare) -> wire::Compare {
        match compare {
            Compare::Absent { key } => created(self.data(key), 0),
            Compare::Revision { key, revision } => {
                // etcd takes 0 for what is not there.
                let revision = i64::try_from(*revision).ok().filter(|r| *r > 0).unwrap_or(NEVER);
                let union = TargetUnion::ModRevision(revision);
                equal(self.data(key), CompareTarget::Mod, union)
            }
            Compare::Value { key, value } => value_is(self.data(key), value.clone()),
        }
    }

    /// Reads first, for they are of what was before; then the last write of each key, since etcd refuses two.
    pub fn ops(&self, ops: &[Op]) -> Vec<RequestOp> {
        let mut list = Vec::new();
        let mut writes = BTreeMap::new();
        for op in ops {
            match op {
                Op::Get { key } => list.push(get(self.data(key))),
                Op::Put { key, value } => drop(writes.insert(key, Some(value))),
                Op::Delete { key } => drop(writes.insert(key, None)),
            }
        }
        list.extend(writes.into_iter().map(|(key, value)| match value {
            Some(value) => put(self.data(key), value.clone(), 0),
            None => delete(self.data(key)),
        }));
        list
    }

    pub fn gets(&self, answers: Vec<ResponseOp>) -> Result<Vec<Option<Entry>>, StoreError> {
        let found = answers.into_iter().filter_map(|answer| match answer.response {
            Some(response_op::Response::ResponseRange(range)) => Some(range.kvs),
            _ => None,
        });
        found.map(|kvs| kvs.into_iter().next().map(|kv| self.entry(kv)).transpose()).collect()
    }
}

pub fn writes(ops: &[Op]) -> bool {
    ops.iter().any(|op| !matches!(op, Op::Get { .. }))
}

/// 0: it is absent.
pub fn created(key: Vec<u8>, revision: i64) -> wire::Compare {
    equal(key, CompareTarget::Create, TargetUnion::CreateRevision(revision))
}

pub fn value_is(key: Vec<u8>, value: Vec<u8>) -> wire::Compare {
    equal(key, CompareTarget::Value, TargetUnion::Value(value))
}

fn equal(key: Vec<u8>, target: CompareTarget, union: TargetUnion) -> wire::Compare {
    let result = CompareResult::Equal.into();
    wire::Compare { result, target: target.into(), key, target_union: Some(union) }
}

pub fn get(key: Vec<u8>) -> RequestOp {
    op(request_op::Request::RequestRange(RangeRequest { key, ..Default::default() }))
}

pub fn put(key: Vec<u8>, value: Vec<u8>, lease: i64) -> RequestOp {
    op(request_op::Request::RequestPut(PutRequest { key, value, lease }))
}

fn delete(key: Vec<u8>) -> RequestOp {
    op(request_op::Request::RequestDeleteRange(DeleteRangeRequest { key, range_end: Vec::new() }))
}

pub fn nested(txn: wire::TxnRequest) -> RequestOp {
    op(request_op::Request::RequestTxn(txn))
}

fn op(request: request_op::Request) -> RequestOp {
    RequestOp { request: Some(request) }
}

/// The first key that a read inside a transaction found.
pub fn found(answer: Option<ResponseOp>) -> Option<KeyValue> {
    match answer?.response? {
        response_op::Response::ResponseRange(range) => range.kvs.into_iter().next(),
        _ => None,
    }
}

/// The first key after all that start with this.
pub fn end_of(prefix: &[u8]) -> Vec<u8> {
    let mut end = prefix.to_vec();
    while let Some(last) = end.pop() {
        if last < u8::MAX {
            end.push(last + 1);
            return end;
        }
    }
    // To the very end.
    vec![0]
}

pub fn revision(etcd: i64) -> u64 {
    u64::try_from(etcd).unwrap_or(0)
}
