//! From the thread that receives on a socket to those that open: one for each lane.
//!
//! One thread receives all of a socket, for the kernel may coalesce datagrams of several SAs into one run, and hands what it
//! got on to the threads of their lanes, in order. Each lane has two buffers: one that is filled, and one that its thread
//! works on. They change places whenever the thread has nothing left, so that nothing is allocated, and a lane that is
//! behind finds all that has come meanwhile in one go.

use std::net::SocketAddr;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Instant;

use super::counters::DropReason;
use super::path::InboundEntry;
use super::shared::Shared;

/// Of one buffer: a few milliseconds of the fastest traffic. Memory is taken as far as it is filled once.
const LANE_BYTES: usize = 2 << 20;
/// Of one buffer, where datagrams are small and not coalesced.
const LANE_RUNS: usize = 4_096;

/// Datagrams of one source and one SA in a row.
#[derive(Debug)]
pub(super) struct Run {
    pub(super) entry: Arc<InboundEntry>,
    pub(super) from: SocketAddr,
    /// Of the outer headers.
    pub(super) tos: u8,
    /// By the thread that received them.
    pub(super) received: Instant,
    pub(super) stride_bytes: usize,
}

#[derive(Debug)]
pub(super) struct Buffer {
    octets: Box<[u8]>,
    used: usize,
    /// Each with its length in octets.
    runs: Vec<(Run, usize)>,
}

impl Buffer {
    pub(super) fn new() -> Self {
        let octets = vec![0; LANE_BYTES].into_boxed_slice();
        Buffer { octets, used: 0, runs: Vec::with_capacity(LANE_RUNS) }
    }

    /// False: there is no room.
    fn put(&mut self, run: Run, datagrams: &[u8]) -> bool {
        let place = self.octets.get_mut(self.used..self.used + datagrams.len());
        let (Some(place), true) = (place, self.runs.len() < LANE_RUNS) else { return false };
        place.copy_from_slice(datagrams);
        self.used += datagrams.len();
        self.runs.push((run, datagrams.len()));
        true
    }

    /// What is in it, in order; it is empty then.
    pub(super) fn drain(&mut self) -> impl Iterator<Item = (Run, &mut [u8])> {
        let mut rest = &mut self.octets[..self.used];
        self.used = 0;
        self.runs.drain(..).map(move |(run, length)| {
            let (datagrams, after) = std::mem::take(&mut rest).split_at_mut(length);
            rest = after;
            (run, datagrams)
        })
    }
}

#[derive(Debug)]
struct Filling {
    buffer: Buffer,
    /// The lane's thread sleeps.
    waits: bool,
    closed: bool,
}

#[derive(Debug)]
struct Lane {
    filling: Mutex<Filling>,
    more: Condvar,
}

impl Lane {
    fn lock(&self) -> MutexGuard<'_, Filling> {
        // Nothing in here panics half way.
        self.filling.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The lanes of one socket.
#[derive(Debug)]
pub(super) struct Handoff {
    lanes: Vec<Lane>,
}

impl Handoff {
    /// For so many threads, at least one.
    pub(super) fn new(lanes: usize) -> Self {
        let lane = |_| {
            let filling = Filling { buffer: Buffer::new(), waits: false, closed: false };
            Lane { filling: Mutex::new(filling), more: Condvar::new() }
        };
        Handoff { lanes: (0..lanes.max(1)).map(lane).collect() }
    }

    /// All lanes, to be filled with what one call received.
    pub(super) fn begin(&self) -> Filler<'_> {
        Filler { handoff: self, held: std::array::from_fn(|_| None) }
    }

    /// Changes `done` for what has come on a lane; waits for it. False: nothing comes any more.
    pub(super) fn take(&self, lane: usize, done: &mut Buffer) -> bool {
        let lane = &self.lanes[lane];
        let mut filling = lane.lock();
        while filling.buffer.runs.is_empty() && !filling.closed {
            filling.waits = true;
            filling = lane.more.wait(filling).unwrap_or_else(PoisonError::into_inner);
        }
        if filling.closed {
            return false;
        }
        std::mem::swap(&mut filling.buffer, done);
        true
    }

    /// The threads of the lanes end.
    pub(super) fn close(&self) {
        for lane in &self.lanes {
            lane.lock().closed = true;
            lane.more.notify_all();
        }
    }
}

const MOST: usize = hawser_edge_core::keys::MAX_LANES as usize;

/// Locks each lane that gets something once, and wakes its thread when it is done.
pub(super) struct Filler<'a> {
    handoff: &'a Handoff,
    held: [Option<MutexGuard<'a, Filling>>; MOST],
}

impl Filler<'_> {
    /// Hands datagrams on, behind all that were before on their lane; or drops and counts them.
    ///
    /// The lane of a path's SA is always the same thread, so that what comes under new keys does not overtake what came
    /// under the old ones. Paths begin at different threads: peers of one lane each share them all.
    pub(super) fn put(&mut self, shared: &Shared, run: Run, datagrams: &[u8]) {
        let lanes = &self.handoff.lanes;
        let place = run.entry.path.id.0 as usize + usize::from(run.entry.lane);
        let index = place % lanes.len();
        let count = datagrams.len().div_ceil(run.stride_bytes.max(1)) as u64;
        let Some(held) = self.held.get_mut(index) else { return };
        let filling = held.get_or_insert_with(|| lanes[index].lock());
        if !filling.buffer.put(run, datagrams) {
            shared.drops.add(DropReason::LaneFull, count);
        }
    }
}

impl Drop for Filler<'_> {
    fn drop(&mut self) {
        for (lane, held) in self.handoff.lanes.iter().zip(&mut self.held) {
            let waits = held.take().is_some_and(|mut filling| std::mem::take(&mut filling.waits));
            if waits {
                lane.more.notify_one();
            }
        }
    }
}

#[cfg(test)]
mod tests;
