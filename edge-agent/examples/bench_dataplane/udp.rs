//! Datagrams through a contender: how many a second arrive, and how long each takes.

use std::io::{IoSlice, IoSliceMut};
use std::net::{SocketAddr, UdpSocket};
use std::os::fd::AsRawFd;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use nix::errno::Errno;
use nix::sys::socket::{
    MsgFlags, MultiHeaders, SockaddrStorage, recvmmsg, sendmmsg, setsockopt, sockopt,
};

use crate::Fault;
use crate::net::Net;
use crate::rig::Rig;

/// Lost datagrams of a rate that counts as carried.
const MAX_LOSS: f64 = 0.001;
/// The first rate that is tried, datagrams a second, and the last.
const FIRST_RATE: f64 = 20_000.0;
const LAST_RATE: f64 = 4_000_000.0;
/// A rate is halved so often between what was carried and what was not: to 5 percent.
const HALVINGS: u32 = 4;
/// A stall of the machine loses datagrams too: a rate has failed if it did so twice.
const TRIES: u32 = 2;

/// Datagrams per system call.
const BATCH: usize = 32;
/// What is still on its way when the sender stops.
const GRACE: Duration = Duration::from_millis(60);
const BUFFER_BYTES: usize = 32 << 20;

/// Two sockets, one at each LAN.
struct Sockets {
    from: UdpSocket,
    to: UdpSocket,
}

impl Sockets {
    fn open(rig: &Rig) -> Result<Sockets, Fault> {
        let [from, to] = rig.addresses;
        let open = |net: &Net, address| net.enter(|| UdpSocket::bind(SocketAddr::new(address, 0)));
        let sockets = Sockets { from: open(&rig.a, from)?, to: open(&rig.b, to)? };
        sockets.from.connect(sockets.to.local_addr()?)?;
        setsockopt(&sockets.to, sockopt::RcvBufForce, &BUFFER_BYTES)?;
        sockets.to.set_read_timeout(Some(Duration::from_millis(20)))?;
        Ok(sockets)
    }
}

/// The most datagrams a second that arrive with a loss of at most a thousandth. `about`: what it was the last time.
pub fn highest_rate(
    rig: &Rig,
    payload_bytes: usize,
    trial: Duration,
    about: Option<f64>,
) -> Result<f64, Fault> {
    let sockets = Sockets::open(rig)?;
    let carries = |rate: f64| -> Result<Option<f64>, Fault> {
        for _ in 0..TRIES {
            let outcome = offer(&sockets, payload_bytes, rate, trial)?;
            if outcome.loss <= MAX_LOSS {
                return Ok(Some(outcome.received_per_s));
            }
        }
        Ok(None)
    };
    let (mut carried, mut low, mut high) = (0.0, 0.0, None);
    let mut rate = about.map_or(FIRST_RATE, |about| (about / 2.0).max(FIRST_RATE / 8.0));
    while rate <= LAST_RATE && high.is_none() {
        match carries(rate)? {
            // The sender itself can't do more.
            Some(received) if received < rate * 0.9 => return Ok(received),
            Some(received) => (carried, low, rate) = (received, rate, rate * 2.0),
            None if low == 0.0 && rate > 100.0 => rate /= 4.0,
            None => high = Some(rate),
        }
    }
    let Some(mut high) = high else { return Ok(carried) };
    for _ in 0..HALVINGS {
        let middle = (low.max(1.0) * high).sqrt();
        match carries(middle)? {
            Some(received) => (carried, low) = (received.max(carried), middle),
            None => high = middle,
        }
    }
    Ok(carried)
}

struct Outcome {
    received_per_s: f64,
    loss: f64,
}

/// Tells the datagrams of one trial from those of the last.
static TRIAL: AtomicU32 = AtomicU32::new(0);

fn offer(
    sockets: &Sockets,
    payload_bytes: usize,
    rate: f64,
    trial: Duration,
) -> Result<Outcome, Fault> {
    let label = TRIAL.fetch_add(1, Ordering::Relaxed).to_be_bytes();
    let done = AtomicBool::new(false);
    thread::scope(|scope| {
        let sender = scope.spawn(|| {
            let sent = send(&sockets.from, payload_bytes, label, rate, trial);
            done.store(true, Ordering::Release);
            sent
        });
        let received = receive(&sockets.to, label, &done)?;
        let (sent, seconds) = sender.join().map_err(|_| "the sender panicked")??;
        Ok(Outcome {
            received_per_s: received as f64 / seconds,
            loss: 1.0 - received as f64 / sent.max(1) as f64,
        })
    })
}

/// Sends at an even pace; gives how many, and in how many seconds.
fn send(
    socket: &UdpSocket,
    payload_bytes: usize,
    label: [u8; 4],
    rate: f64,
    trial: Duration,
) -> Result<(u64, f64), Fault> {
    let mut payload = vec![0; payload_bytes];
    payload[..4].copy_from_slice(&label);
    let mut headers = MultiHeaders::<SockaddrStorage>::preallocate(BATCH, None);
    let slices = vec![[IoSlice::new(&payload)]; BATCH];
    let nowhere_else = [None; BATCH];
    let (begun, mut sent) = (Instant::now(), 0_u64);
    while begun.elapsed() < trial {
        let due = (begun.elapsed().as_secs_f64() * rate) as u64;
        let count = due.saturating_sub(sent).min(BATCH as u64) as usize;
        if count == 0 {
            thread::sleep(Duration::from_micros(50));
            continue;
        }
        let slices = &slices[..count];
        let flags = MsgFlags::empty();
        match sendmmsg(socket.as_raw_fd(), &mut headers, slices, nowhere_else, [], flags) {
            Ok(results) => sent += results.count() as u64,
            Err(Errno::ENOBUFS | Errno::EAGAIN) => thread::yield_now(),
            Err(errno) => return Err(errno.into()),
        }
    }
    Ok((sent, begun.elapsed().as_secs_f64()))
}

fn receive(socket: &UdpSocket, label: [u8; 4], done: &AtomicBool) -> Result<u64, Fault> {
    let mut headers = MultiHeaders::<SockaddrStorage>::preallocate(BATCH, None);
    // The rest of a datagram is cut off.
    let mut buffers = [[0_u8; 4]; BATCH];
    let (mut received, mut ended) = (0, None);
    loop {
        let outcome = {
            let mut slices: Vec<_> = buffers.iter_mut().map(|b| [IoSliceMut::new(b)]).collect();
            let flags = MsgFlags::MSG_WAITFORONE;
            let received =
                recvmmsg(socket.as_raw_fd(), &mut headers, slices.iter_mut(), flags, None);
            received.map(Iterator::count)
        };
        match outcome {
            Ok(count) => {
                received += buffers[..count].iter().filter(|b| **b == label).count() as u64;
            }
            Err(Errno::EAGAIN | Errno::EINTR) => {}
            Err(errno) => return Err(errno.into()),
        }
        if done.load(Ordering::Acquire)
            && *ended.get_or_insert_with(Instant::now) + GRACE < Instant::now()
        {
            return Ok(received);
        }
    }
}

/// The time from send to receive of single datagrams a millisecond apart, in microseconds, sorted.
pub fn delays_us(rig: &Rig, samples: usize) -> Result<Vec<f64>, Fault> {
    let sockets = Sockets::open(rig)?;
    let base = Instant::now();
    let now = || base.elapsed().as_nanos() as u64;
    thread::scope(|scope| {
        let sender = scope.spawn(|| -> std::io::Result<()> {
            for _ in 0..samples {
                thread::sleep(Duration::from_millis(1));
                let mut payload = [0; 64];
                payload[..8].copy_from_slice(&now().to_be_bytes());
                sockets.from.send(&payload)?;
            }
            Ok(())
        });
        let (mut delays, mut payload) = (Vec::with_capacity(samples), [0; 64]);
        while delays.len() < samples {
            match sockets.to.recv(&mut payload) {
                Ok(_) => {
                    let received = now();
                    let sent = payload.first_chunk::<8>().copied().map_or(0, u64::from_be_bytes);
                    delays.push(received.saturating_sub(sent) as f64 / 1e3);
                }
                // What is lost is not waited for.
                Err(_) if sender.is_finished() => break,
                Err(_) => {}
            }
        }
        sender.join().map_err(|_| "the sender panicked")??;
        delays.sort_by(f64::total_cmp);
        if delays.is_empty() { Err("no datagram arrived".into()) } else { Ok(delays) }
    })
}
