//! The receiver: one thread that notes the kernel's time of each arrival.

use super::Query;
use super::payload;
use super::record::{Arrival, Record};
use crate::instrument::Until;
use crate::{clock, instrument};
use nix::sys::socket::{ControlMessageOwned, MsgFlags, recvmsg, setsockopt, sockopt};
use nix::sys::time::TimeSpec;
use std::fs::File;
use std::io::{self, BufWriter, IoSliceMut, Write};
use std::net::{SocketAddr, UdpSocket};
use std::os::fd::AsRawFd;
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, MutexGuard};
use std::time::Duration;

const RECEIVE_BUFFER: usize = 16 << 20;
const IDLE: Duration = Duration::from_millis(20);

pub(crate) struct Options {
    pub bind: SocketAddr,
    pub marker: String,
    pub record: Option<PathBuf>,
    pub unattended: bool,
}

/// Receives until told to stop, answers questions meanwhile, and prints the totals.
pub(crate) fn run(options: &Options) -> io::Result<()> {
    let socket = UdpSocket::bind(options.bind)?;
    socket.set_read_timeout(Some(IDLE))?;
    setsockopt(&socket, sockopt::RcvBufForce, &RECEIVE_BUFFER)?;
    setsockopt(&socket, sockopt::ReceiveTimestampns, &true)?;
    setsockopt(&socket, sockopt::RxqOvfl, &1)?;
    let record = Mutex::new(Record::default());
    let stop = AtomicBool::new(false);
    std::thread::scope(|scope| {
        let thread = scope.spawn(|| receive(&socket, options.marker.as_bytes(), &record, &stop));
        let broken = || thread.is_finished();
        let until = Until { unattended: options.unattended, finished: &broken };
        let served = instrument::serve(&until, |line| answer(&lock(&record), line));
        stop.store(true, Ordering::Release);
        thread.join().map_err(|_| io::Error::other("the receiver's thread panicked"))??;
        served
    })?;
    let record = lock(&record);
    if let Some(path) = &options.record {
        let mut file = BufWriter::new(File::create(path)?);
        for arrival in record.arrivals() {
            serde_json::to_writer(&mut file, arrival)?;
            file.write_all(b"\n")?;
        }
        file.flush()?;
    }
    instrument::report(&record.totals())
}

fn lock(record: &Mutex<Record>) -> MutexGuard<'_, Record> {
    record.lock().expect("no thread panics while it holds the record")
}

fn answer(record: &Record, line: &str) -> serde_json::Value {
    let answer = match serde_json::from_str(line) {
        Ok(Query::Totals) => serde_json::to_value(record.totals()),
        Ok(Query::Window { from_ns, to_ns }) => serde_json::to_value(record.window(from_ns, to_ns)),
        Ok(Query::Loss { from_seq, to_seq }) => serde_json::to_value(record.loss(from_seq, to_seq)),
        Err(error) => return serde_json::json!({"error": error.to_string()}),
    };
    answer.unwrap_or_default()
}

fn receive(
    socket: &UdpSocket,
    marker: &[u8],
    record: &Mutex<Record>,
    stop: &AtomicBool,
) -> io::Result<()> {
    let mut buffer = vec![0; 65_536];
    let mut space = nix::cmsg_space!(TimeSpec, u32);
    loop {
        let stopping = stop.load(Ordering::Acquire);
        let flags = if stopping { MsgFlags::MSG_DONTWAIT } else { MsgFlags::empty() };
        let mut parts = [IoSliceMut::new(&mut buffer)];
        let got = recvmsg::<()>(socket.as_raw_fd(), &mut parts, Some(&mut space), flags);
        let got = match got {
            Err(nix::Error::EAGAIN | nix::Error::EINTR) if stopping => return Ok(()),
            Err(nix::Error::EAGAIN | nix::Error::EINTR) => continue,
            other => other?,
        };
        let (now_ns, now_real_ns) = (clock::mono_ns(), clock::real_ns());
        let mut record = lock(record);
        let mut arrived_ns = now_ns;
        for message in got.cmsgs()? {
            match message {
                ControlMessageOwned::ScmTimestampns(at) => {
                    let at_real_ns = at.tv_sec() as u64 * 1_000_000_000 + at.tv_nsec() as u64;
                    // Waited for so long already; a step of the wall clock in between must not show.
                    arrived_ns = now_ns - now_real_ns.saturating_sub(at_real_ns).min(now_ns);
                }
                ControlMessageOwned::RxqOvfl(drops) => record.note_kernel_drops(u64::from(drops)),
                _ => {}
            }
        }
        let len = got.bytes;
        match payload::read(&buffer[..len], marker) {
            Some((seq, sent_ns)) => record.push(Arrival { seq, sent_ns, arrived_ns }),
            None => record.note_foreign(),
        }
    }
}
