//! The shell of the WAN emulator: TAP devices at both ends of each link, one thread, one queue ordered by time.

use super::counters::Counters;
use super::model::{Arrival, Direction, Fate};
use super::tap;
use super::trace::{Playback, Trace, TraceError};
use super::{Impairment, ImpairmentFault, Settings};
use crate::clock;
use nix::sys::epoll::{Epoll, EpollCreateFlags, EpollEvent, EpollFlags, EpollTimeout};
use nix::sys::time::TimeSpec;
use nix::sys::timerfd::{ClockId, Expiration, TimerFd, TimerFlags, TimerSetTimeFlags};
use nix::unistd;
use serde::{Deserialize, Serialize};
use std::cmp::Reverse;
use std::collections::{BTreeMap, BinaryHeap};
use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;

/// Frames of one end read in a row before the others, and what is due, get their turn.
const FRAMES_A_TURN: usize = 64;
/// Longest frame that a TAP device can hand over: 64 KiB and an Ethernet header with two VLAN tags.
const MAX_FRAME: usize = 65_536 + 22;
/// Frames in flight in one direction, in bytes: 1 s at 500 Mbit/s. The rest is dropped and counted.
const MAX_IN_FLIGHT_BYTES: u64 = 64 << 20;
const TIMER: u64 = u64::MAX;

/// All emulated links of a lab. Clones are handles to the same emulator.
#[derive(Clone)]
pub(crate) struct Emulator {
    engine: Arc<Mutex<Engine>>,
}

/// One end-to-end direction of a link, as reported.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct DirectionStatus {
    pub settings: Settings,
    pub counters: Counters,
}

pub(crate) struct Links {
    engine: Engine,
}

#[derive(Default)]
struct Engine {
    names: BTreeMap<String, usize>,
    links: Vec<Link>,
    flights: BinaryHeap<Reverse<Flight>>,
    sequence: u64,
}

struct Link {
    /// [a, b]
    taps: [OwnedFd; 2],
    /// [a to b, b to a]
    lanes: [Lane; 2],
}

struct Lane {
    model: Direction,
    /// As the description file says, for `reset`.
    base: Settings,
    settings: Settings,
    counters: Counters,
}

/// Ordered by time, then by sequence: frames of one time leave in the order in which they came.
#[derive(PartialEq, Eq, PartialOrd, Ord)]
struct Flight {
    at_us: u64,
    sequence: u64,
    link: usize,
    lane: usize,
    frame: Box<[u8]>,
}

impl Links {
    pub(crate) fn new() -> Self {
        Self { engine: Engine::default() }
    }

    /// Adds a link between two TAP devices, with the faults of its description.
    pub(crate) fn add(
        &mut self,
        name: &str,
        seed: u64,
        taps: [OwnedFd; 2],
        impair: &[Impairment],
    ) -> Result<(), ImpairmentFault> {
        let index = self.engine.links.len();
        // The directions must not share their luck.
        let lanes = [0, 1].map(|lane| Lane {
            model: Direction::new(seed.wrapping_mul(2).wrapping_add(lane)),
            base: Settings::default(),
            settings: Settings::default(),
            counters: Counters::default(),
        });
        self.engine.links.push(Link { taps, lanes });
        self.engine.names.insert(name.to_owned(), index);
        for change in impair {
            self.engine.links[index].change(change)?;
        }
        for lane in &mut self.engine.links[index].lanes {
            lane.base = lane.settings.clone();
        }
        Ok(())
    }

    /// Starts the thread.
    pub(crate) fn start(self) -> io::Result<Emulator> {
        let epoll = Epoll::new(EpollCreateFlags::EPOLL_CLOEXEC)?;
        let timer = TimerFd::new(
            ClockId::CLOCK_MONOTONIC,
            TimerFlags::TFD_CLOEXEC | TimerFlags::TFD_NONBLOCK,
        )?;
        epoll.add(timer.as_fd(), EpollEvent::new(EpollFlags::EPOLLIN, TIMER))?;
        for (index, link) in self.engine.links.iter().enumerate() {
            for (end, tap) in link.taps.iter().enumerate() {
                let data = (index * 2 + end) as u64;
                epoll.add(tap, EpollEvent::new(EpollFlags::EPOLLIN, data))?;
            }
        }
        let engine = Arc::new(Mutex::new(self.engine));
        let shared = Arc::clone(&engine);
        std::thread::Builder::new().name("wan".to_owned()).spawn(move || {
            clock::use_precise_timers();
            clock::run_first();
            if let Err(error) = run(&epoll, &timer, &shared) {
                eprintln!("the WAN emulator stopped: {error}");
                std::process::exit(1);
            }
        })?;
        Ok(Emulator { engine })
    }
}

impl Emulator {
    /// Applies a change, or nothing of it; `None` when there is no such link.
    pub(crate) fn change(
        &self,
        link: &str,
        change: &Impairment,
    ) -> Option<Result<(), ImpairmentFault>> {
        Some(self.lock().link(link)?.change(change))
    }

    /// Back to what the description file says; `None` when there is no such link.
    pub(crate) fn reset(&self, link: &str) -> Option<Result<(), ImpairmentFault>> {
        let mut engine = self.lock();
        let link = engine.link(link)?;
        let base = [link.lanes[0].base.clone(), link.lanes[1].base.clone()];
        Some(link.put(base))
    }

    /// Both directions of every link.
    pub(crate) fn status(&self) -> BTreeMap<String, [DirectionStatus; 2]> {
        let engine = self.lock();
        let status = |lane: &Lane| DirectionStatus {
            settings: lane.settings.clone(),
            counters: lane.counters.clone(),
        };
        let both = |index: usize| engine.links[index].lanes.each_ref().map(status);
        engine.names.iter().map(|(name, &index)| (name.clone(), both(index))).collect()
    }

    fn lock(&self) -> MutexGuard<'_, Engine> {
        self.engine.lock().expect("no thread panics while it holds the emulator")
    }
}

fn run(epoll: &Epoll, timer: &TimerFd, shared: &Mutex<Engine>) -> io::Result<()> {
    let mut events = [EpollEvent::empty(); 32];
    let mut scratch = vec![0; MAX_FRAME];
    let mut armed_us = None;
    loop {
        let ready = match epoll.wait(&mut events, EpollTimeout::NONE) {
            Err(nix::Error::EINTR) => continue,
            other => other?,
        };
        let mut engine = shared.lock().expect("no thread panics while it holds the emulator");
        for event in &events[..ready] {
            if event.data() == TIMER {
                // Its only content is that it fired; with O_NONBLOCK a spurious wake-up costs nothing.
                let _ = unistd::read(timer.as_fd(), &mut [0; 8]);
                armed_us = None;
            } else {
                let end = event.data() as usize;
                engine.read_frames(end / 2, end % 2, &mut scratch);
            }
        }
        engine.deliver_due();
        let next_us = engine.flights.peek().map(|Reverse(flight)| flight.at_us);
        drop(engine);
        if next_us.is_some() && next_us != armed_us {
            arm(timer, next_us.unwrap_or_default())?;
            armed_us = next_us;
        }
    }
}

fn arm(timer: &TimerFd, at_us: u64) -> io::Result<()> {
    // At zero the timer would be off.
    let at = TimeSpec::from_duration(Duration::from_micros(at_us.max(1)));
    timer.set(Expiration::OneShot(at), TimerSetTimeFlags::TFD_TIMER_ABSTIME)?;
    Ok(())
}

impl Engine {
    fn link(&mut self, name: &str) -> Option<&mut Link> {
        let index = *self.names.get(name)?;
        Some(&mut self.links[index])
    }

    /// Reads what the kernel has sent at one end, up to a turn's worth.
    fn read_frames(&mut self, link: usize, end: usize, scratch: &mut [u8]) {
        for _ in 0..FRAMES_A_TURN {
            // An error other than "nothing there" (the device is down) also ends the turn.
            let Ok(len) = unistd::read(&self.links[link].taps[end], scratch) else { return };
            self.admit(link, end, &scratch[..len]);
        }
    }

    fn admit(&mut self, link: usize, lane: usize, frame: &[u8]) {
        let now_us = clock::mono_us();
        let Lane { model, counters, .. } = &mut self.links[link].lanes[lane];
        counters.frames_in += 1;
        counters.bytes_in += frame.len() as u64;
        match model.admit(now_us, frame.len()) {
            Fate::Drop(reason) => counters.drops.add(reason),
            Fate::Deliver(arrival) => self.launch(link, lane, arrival, frame),
            Fate::Duplicate(first, second) => {
                counters.duplicated += 1;
                self.launch(link, lane, first, frame);
                self.launch(link, lane, second, frame);
            }
        }
    }

    fn launch(&mut self, link: usize, lane: usize, arrival: Arrival, frame: &[u8]) {
        let counters = &mut self.links[link].lanes[lane].counters;
        if counters.in_flight_bytes + frame.len() as u64 > MAX_IN_FLIGHT_BYTES {
            counters.drops.overflow += 1;
            return;
        }
        let mut frame: Box<[u8]> = frame.into();
        if let Some(bit) = arrival.flip_bit {
            frame[bit as usize / 8] ^= 0x80 >> (bit % 8);
            counters.corrupted += 1;
        }
        counters.in_flight += 1;
        counters.in_flight_bytes += frame.len() as u64;
        self.sequence += 1;
        let sequence = self.sequence;
        self.flights.push(Reverse(Flight { at_us: arrival.at_us, sequence, link, lane, frame }));
    }

    fn deliver_due(&mut self) {
        let mut now_us = clock::mono_us();
        while let Some(Reverse(next)) = self.flights.peek() {
            if next.at_us > now_us {
                now_us = clock::mono_us();
                if next.at_us > now_us {
                    return;
                }
            }
            let Some(Reverse(flight)) = self.flights.pop() else { return };
            self.links[flight.link].deliver(&flight, now_us);
        }
    }
}

impl Link {
    fn deliver(&mut self, flight: &Flight, now_us: u64) {
        let counters = &mut self.lanes[flight.lane].counters;
        let len = flight.frame.len() as u64;
        counters.in_flight -= 1;
        counters.in_flight_bytes -= len;
        let late_us = now_us.saturating_sub(flight.at_us);
        counters.late_max_us = counters.late_max_us.max(late_us);
        counters.late_over_300_us += u64::from(late_us > 300);
        match unistd::write(&self.taps[1 - flight.lane], &flight.frame) {
            Ok(_) => {
                counters.frames_out += 1;
                counters.bytes_out += len;
            }
            Err(_) => counters.drops.refused += 1,
        }
    }

    fn change(&mut self, change: &Impairment) -> Result<(), ImpairmentFault> {
        let mut next = [self.lanes[0].settings.clone(), self.lanes[1].settings.clone()];
        for &lane in change.dir.indices() {
            next[lane] = next[lane].with(change)?;
        }
        self.put(next)
    }

    /// Puts checked settings in effect in both directions, or in neither.
    fn put(&mut self, next: [Settings; 2]) -> Result<(), ImpairmentFault> {
        let start_us = clock::mono_us();
        let playbacks =
            [self.playback(0, &next[0], start_us)?, self.playback(1, &next[1], start_us)?];
        let dead = next[0].carrier_down || next[1].carrier_down;
        for (lane, (settings, playback)) in next.into_iter().zip(playbacks).enumerate() {
            if settings.carrier_down != self.lanes[lane].settings.carrier_down {
                // It can only fail for a descriptor that is no TAP, and this one was made by us.
                let _ = tap::set_carrier(self.taps[lane].as_fd(), !settings.carrier_down);
            }
            // One end without carrier silences both directions.
            let effective = Settings { carrier_down: dead, ..settings.clone() };
            self.lanes[lane].settings = settings;
            self.lanes[lane].model.set(effective, playback);
        }
        Ok(())
    }

    /// The playback for new settings: the one that runs, when the trace stays the same.
    fn playback(
        &self,
        lane: usize,
        next: &Settings,
        start_us: u64,
    ) -> Result<Option<Playback>, ImpairmentFault> {
        let Some(path) = &next.trace else { return Ok(None) };
        let old = &self.lanes[lane].settings;
        let same = (&old.trace, &old.trace_column, old.trace_end)
            == (&next.trace, &next.trace_column, next.trace_end);
        if let Some(running) = self.lanes[lane].model.playback()
            && same
        {
            return Ok(Some(running.clone()));
        }
        let text = std::fs::read_to_string(path).map_err(TraceError::from)?;
        let trace = Arc::new(Trace::parse(&text, &next.trace_column)?);
        Ok(Some(Playback { trace, start_us, end: next.trace_end }))
    }
}
