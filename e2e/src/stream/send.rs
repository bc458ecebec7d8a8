//! The sender: one thread on an absolute schedule.

use super::payload::{STAMP_BYTES, stamp};
use super::{SendReport, StreamSpec};
use crate::instrument::Until;
use crate::{clock, instrument};
use nix::sys::socket::{setsockopt, sockopt};
use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, UdpSocket};
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, Ordering};

/// Behind schedule by more than this, the missed packets are skipped: no burst makes up for a stall.
const GIVE_UP_NS: u64 = 20_000_000;

/// Sends until told to stop, and prints the report.
pub(crate) fn run(spec: &StreamSpec, unattended: bool) -> io::Result<()> {
    let socket = open(spec)?;
    let report = Mutex::new(SendReport::default());
    let stop = AtomicBool::new(false);
    std::thread::scope(|scope| {
        let thread = scope.spawn(|| send(&socket, spec, &report, &stop));
        // Attended, the report can still be asked for after the last packet.
        let finished = || unattended && thread.is_finished();
        let until = Until { unattended, finished: &finished };
        let served =
            instrument::serve(&until, |_| serde_json::to_value(copy(&report)).unwrap_or_default());
        stop.store(true, Ordering::Release);
        served
    })?;
    instrument::report(&copy(&report))
}

fn copy(report: &Mutex<SendReport>) -> SendReport {
    report.lock().map(|report| report.clone()).unwrap_or_default()
}

fn open(spec: &StreamSpec) -> io::Result<UdpSocket> {
    let invalid = |text: &str| io::Error::new(io::ErrorKind::InvalidInput, text.to_owned());
    let least = spec.marker.len() + STAMP_BYTES;
    if !(least..=65_000).contains(&spec.payload_bytes) {
        return Err(invalid(&format!("the size must be {least} to 65000")));
    }
    if !(1..=100_000).contains(&spec.packets_per_s) || spec.dscp > 63 {
        return Err(invalid("the rate must be 1 to 100000, the DSCP 0 to 63"));
    }
    let any = match spec.to.ip() {
        IpAddr::V4(_) => IpAddr::V4(Ipv4Addr::UNSPECIFIED),
        IpAddr::V6(_) => IpAddr::V6(Ipv6Addr::UNSPECIFIED),
    };
    let socket = UdpSocket::bind((spec.from.unwrap_or(any), 0))?;
    let class = i32::from(spec.dscp) << 2;
    match spec.to.ip() {
        IpAddr::V4(_) => setsockopt(&socket, sockopt::Ipv4Tos, &class)?,
        IpAddr::V6(_) => setsockopt(&socket, sockopt::Ipv6TClass, &class)?,
    }
    // Not connected: an ICMP error must not stand in for the fate of a later packet.
    Ok(socket)
}

fn send(socket: &UdpSocket, spec: &StreamSpec, report: &Mutex<SendReport>, stop: &AtomicBool) {
    clock::use_precise_timers();
    clock::run_first();
    let mut payload = vec![b'.'; spec.payload_bytes];
    payload[..spec.marker.len()].copy_from_slice(spec.marker.as_bytes());
    let step_ns = 1_000_000_000 / u64::from(spec.packets_per_s);
    let mut due_ns = clock::mono_ns();
    for seq in 0..spec.count.unwrap_or(u64::MAX) {
        clock::sleep_until_ns(due_ns);
        if stop.load(Ordering::Acquire) {
            return;
        }
        let now_ns = clock::mono_ns();
        let late_ns = now_ns.saturating_sub(due_ns);
        stamp(&mut payload, spec.marker.len(), seq, now_ns);
        let refused = socket.send_to(&payload, spec.to).is_err();
        if let Ok(mut report) = report.lock() {
            report.sent = seq + 1;
            report.send_errors += u64::from(refused);
            report.last_sent_ns = now_ns;
            report.late_max_us = report.late_max_us.max(late_ns / 1_000);
        }
        due_ns = if late_ns > GIVE_UP_NS { now_ns } else { due_ns } + step_ns;
    }
}
