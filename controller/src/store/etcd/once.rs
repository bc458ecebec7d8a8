//! Writing each transaction exactly once, though answers get lost.
//!
//! A transaction that writes goes through a slot: a key whose value it replaces by a mark of its own, in the same
//! transaction, if that key still is what it was. So an attempt may be repeated: only one can come through, in whatever
//! order they arrive, and the mark tells that one did, and which branch was taken. What it read is read again from
//! before its revision.
//!
//! ```text
//! if   lead is ours and slot is KNOWN
//! then if the caller's compares   then the caller's `then`,      slot := MARK 1
//!                                 else the caller's `otherwise`, slot := MARK 0
//! else get lead, get slot
//! ```

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tonic::Status;

use super::lead::Lead;
use super::link::Link;
use super::wire::{self, RangeRequest, TxnRequest, response_op};
use super::words::{self, Keys};
use crate::store::{Entry, Op, StoreError, Txn, TxnOutcome};

/// Transactions at a time; more wait. etcd groups what comes together, as many as these are enough to fill its groups.
const SLOTS: usize = 32;

const CAME_THROUGH: &str = "a write that was reported as failed has come through";

/// Whether this process may go on writing.
#[derive(Debug, Default)]
pub struct Health {
    failed: AtomicBool,
}

impl Health {
    pub fn fail(&self, why: &'static str) {
        if !self.failed.swap(true, Ordering::AcqRel) {
            tracing::error!(why, "the controller takes no more writes and must be started again");
        }
    }

    pub fn has_failed(&self) -> bool {
        self.failed.load(Ordering::Acquire)
    }
}

/// The one writer of a store.
#[derive(Debug)]
pub struct Writer {
    link: Arc<Link>,
    keys: Keys,
    lead: Lead,
    health: Arc<Health>,
    serial: AtomicU64,
    free: Mutex<Vec<Slot>>,
    permits: Arc<Semaphore>,
}

/// One that is taken is nobody else's.
#[derive(Debug)]
struct Slot {
    number: usize,
    /// As last seen; none: there is no such key.
    known: Option<Vec<u8>>,
}

/// How an attempt ended that was answered.
enum Answered {
    Done(TxnOutcome),
    /// The slot was not what was known of it, now it is.
    Again,
}

impl Writer {
    pub fn new(link: Arc<Link>, keys: Keys, lead: Lead, health: Arc<Health>) -> Self {
        let free = (0..SLOTS).map(|number| Slot { number, known: None }).collect();
        Self {
            link,
            keys,
            lead,
            health,
            serial: AtomicU64::new(0),
            free: Mutex::new(free),
            permits: Arc::new(Semaphore::new(SLOTS)),
        }
    }

    /// Goes on to its end even if the caller goes away.
    pub async fn txn(self: &Arc<Self>, txn: Txn) -> Result<TxnOutcome, StoreError> {
        let writer = Arc::clone(self);
        let done = tokio::spawn(async move { writer.run(&txn).await }).await;
        done.unwrap_or(Err(StoreError::Panicked { doing: "writing" }))
    }

    async fn run(self: &Arc<Self>, txn: &Txn) -> Result<TxnOutcome, StoreError> {
        if self.health.has_failed() {
            return Err(StoreError::Failed);
        }
        let mut patience = self.link.patience();
        let Some((permit, mut slot)) = self.slot(&patience).await else {
            let reason = "every slot waits for etcd".to_owned();
            return Err(StoreError::Unavailable { doing: "writing", reason });
        };
        let mark = format!("{} {}", self.lead.holder, self.serial.fetch_add(1, Ordering::Relaxed));
        let ended = loop {
            match self.attempt(txn, &mut slot, &mark).await {
                Ok(Ok(Answered::Done(outcome))) => break Ok(outcome),
                Ok(Ok(Answered::Again)) => {}
                Ok(Err(error)) => break Err(error),
                Err(status) => match patience.after("writing", status).await {
                    Ok(()) => {}
                    Err(error @ StoreError::Unavailable { .. }) => {
                        tokio::spawn(Arc::clone(self).settle(slot, mark, permit));
                        return Err(error);
                    }
                    Err(error) => break Err(error),
                },
            }
        };
        self.put_back(slot);
        drop(permit);
        ended
    }

    /// None: none got free in time.
    async fn slot(&self, patience: &super::link::Patience) -> Option<(OwnedSemaphorePermit, Slot)> {
        let permits = Arc::clone(&self.permits);
        let permit = tokio::time::timeout_at(patience.until(), permits.acquire_owned()).await;
        let permit = permit.ok()?.ok()?;
        let slot = self.free.lock().unwrap_or_else(PoisonError::into_inner).pop()?;
        Some((permit, slot))
    }

    fn put_back(&self, slot: Slot) {
        self.free.lock().unwrap_or_else(PoisonError::into_inner).push(slot);
    }

    /// Outer error: whether it came through is not known.
    async fn attempt(
        &self,
        txn: &Txn,
        slot: &mut Slot,
        mark: &str,
    ) -> Result<Result<Answered, StoreError>, Status> {
        let marks = [format!("{mark} 0"), format!("{mark} 1")].map(String::into_bytes);
        let branch = |ops: &[Op], mark: &[u8]| {
            let mut list = self.keys.ops(ops);
            if words::writes(ops) {
                list.push(words::put(self.keys.slot(slot.number), mark.to_vec(), 0));
            }
            list
        };
        let callers = TxnRequest {
            compare: txn.compare.iter().map(|compare| self.keys.compare(compare)).collect(),
            success: branch(&txn.then, &marks[1]),
            failure: branch(&txn.otherwise, &marks[0]),
        };
        let mut answer = self.fenced(slot, words::nested(callers)).await?;
        let revision = words::revision(answer.header.as_ref().map_or(0, |h| h.revision));
        if answer.succeeded {
            let inner = answer.responses.pop().and_then(|op| op.response);
            let Some(response_op::Response::ResponseTxn(inner)) = inner else {
                return Ok(Err(garbled("an answer")));
            };
            let ops = if inner.succeeded { &txn.then } else { &txn.otherwise };
            if words::writes(ops) {
                slot.known = Some(marks[usize::from(inner.succeeded)].clone());
            }
            let gets = self.keys.gets(inner.responses);
            let done = |gets| TxnOutcome { succeeded: inner.succeeded, revision, gets };
            return Ok(gets.map(|gets| Answered::Done(done(gets))));
        }
        let seen = match self.refused(answer) {
            Ok(seen) => seen,
            Err(error) => return Ok(Err(error)),
        };
        slot.known = seen.as_ref().map(|kv| kv.value.clone());
        let Some(kv) = seen else { return Ok(Ok(Answered::Again)) };
        let Some(branch) = marks.iter().position(|mark| *mark == kv.value) else {
            return Ok(Ok(Answered::Again));
        };
        let ops = if branch == 1 { &txn.then } else { &txn.otherwise };
        let gets = self.read_before(ops, kv.mod_revision).await;
        if gets.is_err() {
            self.health.fail(CAME_THROUGH);
        }
        let revision = words::revision(kv.mod_revision);
        let done = |gets| TxnOutcome { succeeded: branch == 1, revision, gets };
        Ok(gets.map(|gets| Answered::Done(done(gets))))
    }

    /// Happens only if this one leads and the slot is what is known of it.
    async fn fenced(&self, slot: &Slot, op: wire::RequestOp) -> Result<wire::TxnResponse, Status> {
        let key = self.keys.slot(slot.number);
        let unmoved = match &slot.known {
            None => words::created(key.clone(), 0),
            Some(value) => words::value_is(key.clone(), value.clone()),
        };
        let txn = TxnRequest {
            compare: vec![self.lead.held(), unmoved],
            success: vec![op],
            failure: vec![self.lead.look(), words::get(key)],
        };
        self.link.once(async { self.link.kv().txn(txn).await }).await
    }

    /// What is in the slot, if this one still leads.
    fn refused(&self, answer: wire::TxnResponse) -> Result<Option<wire::KeyValue>, StoreError> {
        let mut reads = answer.responses.into_iter();
        let (lead, slot) = (words::found(reads.next()), words::found(reads.next()));
        if self.lead.is_ours(lead.as_ref()) {
            return Ok(slot);
        }
        self.health.fail("another controller may lead");
        let by = lead.map_or_else(String::new, |kv| String::from_utf8_lossy(&kv.value).into());
        Err(StoreError::Led { by })
    }

    /// What a transaction read that came through at this revision.
    async fn read_before(
        &self,
        ops: &[Op],
        revision: i64,
    ) -> Result<Vec<Option<Entry>>, StoreError> {
        let mut found = Vec::new();
        for op in ops {
            let Op::Get { key } = op else { continue };
            let key = self.keys.data(key);
            let request = RangeRequest { key, revision: revision - 1, ..Default::default() };
            let ask = || async { self.link.kv().range(request.clone()).await };
            let answer = self.link.ask("reading what was before", ask).await?;
            let kv = answer.kvs.into_iter().next();
            found.push(kv.map(|kv| self.keys.entry(kv)).transpose()?);
        }
        Ok(found)
    }

    /// The caller was told that it failed. Until that is known for sure its slot is nobody's: then either it never comes
    /// through any more, or it did, and what this process holds is not what is stored.
    async fn settle(self: Arc<Self>, mut slot: Slot, mark: String, permit: OwnedSemaphorePermit) {
        let never = format!("{mark} -").into_bytes();
        while !self.health.has_failed() {
            let put = words::put(self.keys.slot(slot.number), never.clone(), 0);
            let seen = match self.fenced(&slot, put).await {
                Ok(answer) if answer.succeeded => Some(never.clone()),
                Ok(answer) => match self.refused(answer) {
                    Ok(kv) => kv.map(|kv| kv.value),
                    Err(_) => return,
                },
                Err(_) => {
                    tokio::time::sleep(super::link::jittered(super::link::LONGEST_WAIT)).await;
                    continue;
                }
            };
            slot.known = seen;
            let Some(value) = &slot.known else { continue };
            if *value == never {
                self.put_back(slot);
                drop(permit);
                return;
            }
            if value.starts_with(format!("{mark} ").as_bytes()) {
                self.health.fail(CAME_THROUGH);
                return;
            }
        }
    }
}

fn garbled(what: &str) -> StoreError {
    StoreError::Garbled { what: what.to_owned() }
}
