//! The watcher itself: one packet socket, one thread.

use super::WatchReport;
use super::pcap::Pcap;
use crate::instrument::Until;
use crate::{clock, instrument};
use memchr::memmem::Finder;
use std::io;
use std::mem;
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd};
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

/// Segmentation offload makes frames of up to 64 KiB on a virtual cable, and 512 KiB with BIG TCP.
const MAX_FRAME: usize = 512 << 10;
/// Frames waiting for this thread: a second at 500 Mbit/s.
const RECEIVE_BUFFER: libc::c_int = 64 << 20;
const IDLE: Duration = Duration::from_millis(20);

pub(crate) struct Options {
    pub interface: String,
    pub markers: Vec<String>,
    pub pcap: Option<PathBuf>,
    pub unattended: bool,
}

/// Watches until told to stop, and prints the report.
pub(crate) fn run(options: Options) -> io::Result<()> {
    let socket = open(&options.interface)?;
    let pcap = options.pcap.as_deref().map(Pcap::create).transpose()?;
    let report = WatchReport { marked: vec![0; options.markers.len()], ..WatchReport::default() };
    let shared = Arc::new((Mutex::new(report), AtomicBool::new(false)));
    let for_thread = Arc::clone(&shared);
    let markers = options.markers;
    let thread = std::thread::spawn(move || {
        clock::run_first();
        watch(&socket, &markers, pcap, &for_thread.0, &for_thread.1)
    });
    let copy = || shared.0.lock().map(|report| report.clone()).unwrap_or_default();
    let broken = || thread.is_finished();
    let until = Until { unattended: options.unattended, finished: &broken };
    instrument::serve(&until, |_| serde_json::to_value(copy()).unwrap_or_default())?;
    shared.1.store(true, Ordering::Release);
    thread.join().map_err(|_| io::Error::other("the watcher's thread panicked"))??;
    instrument::report(&copy())
}

fn watch(
    socket: &OwnedFd,
    markers: &[String],
    mut pcap: Option<Pcap>,
    report: &Mutex<WatchReport>,
    stop: &AtomicBool,
) -> io::Result<()> {
    let finders: Vec<Finder<'_>> =
        markers.iter().map(|marker| Finder::new(marker.as_bytes())).collect();
    let mut buffer = vec![0; MAX_FRAME];
    loop {
        let stopping = stop.load(Ordering::Acquire);
        let Some(len) = receive(socket, &mut buffer, stopping)? else {
            if stopping {
                break;
            }
            continue;
        };
        let frame = &buffer[..len];
        let kept = match &mut pcap {
            Some(pcap) => pcap.write(clock::real_ns(), frame)?,
            None => true,
        };
        let Ok(mut report) = report.lock() else { break };
        report.frames += 1;
        report.bytes += len as u64;
        report.pcap_drops += u64::from(!kept);
        for (count, finder) in report.marked.iter_mut().zip(&finders) {
            *count += u64::from(finder.find(frame).is_some());
        }
    }
    if let Ok(mut report) = report.lock() {
        report.kernel_drops = u64::from(kernel_drops(socket)?);
    }
    pcap.as_mut().map_or(Ok(()), Pcap::flush)
}

fn open(interface: &str) -> io::Result<OwnedFd> {
    let name = std::ffi::CString::new(interface)?;
    // SAFETY: a terminated string that outlives the call.
    let index = unsafe { libc::if_nametoindex(name.as_ptr()) };
    if index == 0 {
        let error = io::Error::last_os_error();
        return Err(io::Error::new(error.kind(), format!("interface {interface}: {error}")));
    }
    // Protocol 0 until it is bound: no frame of another interface gets in.
    // SAFETY: takes integers only.
    let fd = unsafe { libc::socket(libc::AF_PACKET, libc::SOCK_RAW | libc::SOCK_CLOEXEC, 0) };
    check(fd)?;
    // SAFETY: the kernel has just made this descriptor for us.
    let socket = unsafe { OwnedFd::from_raw_fd(fd) };
    set(&socket, libc::SOL_SOCKET, libc::SO_RCVBUFFORCE, &RECEIVE_BUFFER)?;
    let idle = libc::timeval { tv_sec: 0, tv_usec: IDLE.as_micros() as libc::suseconds_t };
    set(&socket, libc::SOL_SOCKET, libc::SO_RCVTIMEO, &idle)?;
    // SAFETY: sockaddr_ll is plain old data; all zeros is a valid value.
    let mut address: libc::sockaddr_ll = unsafe { mem::zeroed() };
    address.sll_family = libc::AF_PACKET as u16;
    address.sll_protocol = (libc::ETH_P_ALL as u16).to_be();
    address.sll_ifindex = index as i32;
    let len = size_of_val(&address) as libc::socklen_t;
    // SAFETY: `address` is a sockaddr_ll of `len` octets that outlives the call.
    check(unsafe { libc::bind(socket.as_raw_fd(), (&raw const address).cast(), len) })?;
    Ok(socket)
}

/// The length of the next frame; `None` when there was none for a while, or at once when `stopping`.
fn receive(socket: &OwnedFd, buffer: &mut [u8], stopping: bool) -> io::Result<Option<usize>> {
    let flags = if stopping { libc::MSG_DONTWAIT } else { 0 };
    // SAFETY: the buffer is ours and as long as said.
    let len =
        unsafe { libc::recv(socket.as_raw_fd(), buffer.as_mut_ptr().cast(), buffer.len(), flags) };
    if len >= 0 {
        return Ok(Some(len as usize));
    }
    let error = io::Error::last_os_error();
    match error.raw_os_error() {
        // ENETDOWN: the interface went down; it may come back.
        Some(libc::EAGAIN | libc::EINTR | libc::ENETDOWN) => Ok(None),
        _ => Err(error),
    }
}

fn kernel_drops(socket: &OwnedFd) -> io::Result<u32> {
    let mut stats = libc::tpacket_stats { tp_packets: 0, tp_drops: 0 };
    let mut len = size_of_val(&stats) as libc::socklen_t;
    let (level, option) = (libc::SOL_PACKET, libc::PACKET_STATISTICS);
    // SAFETY: `stats` has `len` octets and outlives the call.
    check(unsafe {
        let place = (&raw mut stats).cast();
        libc::getsockopt(socket.as_raw_fd(), level, option, place, &raw mut len)
    })?;
    Ok(stats.tp_drops)
}

fn set<T>(socket: &OwnedFd, level: i32, option: i32, value: &T) -> io::Result<()> {
    let len = size_of::<T>() as libc::socklen_t;
    // SAFETY: `value` has `len` octets and outlives the call; callers pair options with their C types.
    check(unsafe {
        libc::setsockopt(socket.as_raw_fd(), level, option, std::ptr::from_ref(value).cast(), len)
    })
}

fn check(rc: libc::c_int) -> io::Result<()> {
    if rc < 0 { Err(io::Error::last_os_error()) } else { Ok(()) }
}
