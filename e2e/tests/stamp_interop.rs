//! Our sender against an independent reflector, and our reflector against an independent sender: stamp-suite, over real
//! sockets on the loopback interface.

use std::net::UdpSocket;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, mpsc};
use std::thread;
use std::time::{Duration, Instant};

use clap::Parser;
use hawser_edge_core::id::PathId;
use hawser_edge_core::probe::{
    Cadence, Intervals, Outcome, PlainConfig, PlainProber, PlainProtocol, Sample, Way,
};
use hawser_edge_core::stamp::{
    self, DigestEntry, ErrorEstimate, Reflected, ReflectorPacket, SenderPacket, Timestamp,
    TimestampFormat,
};
use hawser_edge_core::time::Micros;
use stamp_suite::configuration::Configuration;
use stamp_suite::receiver::{create_shared_state, run_receiver};
use stamp_suite::sender::run_sender;
use stamp_suite::stats::StatsSnapshot;

fn configuration(arguments: &[&str]) -> Configuration {
    let all = ["stamp-suite"].iter().chain(arguments);
    Configuration::try_parse_from(all).unwrap()
}

fn free_port() -> u16 {
    UdpSocket::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port()
}

fn runtime() -> tokio::runtime::Runtime {
    tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap()
}

/// Theirs, until it is dropped.
struct Reflector {
    port: u16,
    stop: Option<mpsc::Sender<()>>,
    thread: Option<thread::JoinHandle<()>>,
}

impl Reflector {
    fn start(arguments: &[&str]) -> Self {
        let port = free_port();
        let number = port.to_string();
        let mut all = vec!["--is-reflector", "--local-addr", "127.0.0.1", "--local-port", &number];
        all.extend(arguments);
        let configuration = configuration(&all);
        let (stop, stopped) = mpsc::channel::<()>();
        let thread = thread::spawn(move || {
            let shared = create_shared_state(&configuration).unwrap();
            let shutdown = shared.shutdown.clone();
            thread::spawn(move || {
                let _ = stopped.recv();
                shutdown.cancel();
            });
            runtime().block_on(run_receiver(&configuration, &shared)).unwrap();
        });
        Reflector { port, stop: Some(stop), thread: Some(thread) }
    }

    /// A socket that it answers.
    fn connect(&self) -> UdpSocket {
        let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
        socket.connect(("127.0.0.1", self.port)).unwrap();
        socket.set_read_timeout(Some(Duration::from_millis(50))).unwrap();
        let knock = request(0, 1, Vec::new());
        let begun = Instant::now();
        while begun.elapsed() < Duration::from_secs(30) {
            // Refused until it has its socket.
            let _ = socket.send(&knock);
            if socket.recv(&mut [0; 256]).is_ok() {
                let fresh = UdpSocket::bind("127.0.0.1:0").unwrap();
                fresh.connect(("127.0.0.1", self.port)).unwrap();
                fresh.set_read_timeout(Some(Duration::from_millis(1))).unwrap();
                return fresh;
            }
        }
        panic!("the reflector does not answer");
    }
}

impl Drop for Reflector {
    fn drop(&mut self) {
        drop(self.stop.take());
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

fn request(sequence: u32, ssid: u16, digest: Vec<DigestEntry>) -> Vec<u8> {
    let timestamp = Timestamp::from_unix(Duration::from_secs(1_700_000_000), TimestampFormat::Ntp);
    let error = ErrorEstimate::unsynchronised(TimestampFormat::Ntp);
    SenderPacket { sequence, timestamp, error, ssid, digest, challenge: None }.encode(0)
}

/// Probes until `count` probes were due, of which those in `unsent` never leave; then waits for the rest.
fn probe(socket: &UdpSocket, count: u64, unsent: &[u64]) -> Vec<Sample> {
    let begun = Instant::now();
    let now = || Micros(begun.elapsed().as_micros() as u64);
    let config = PlainConfig {
        protocol: PlainProtocol::Stamp,
        intervals: Intervals::from_profile(40, 40),
        cadence: Cadence::Idle,
        seed: 0x1234_0000_0000_0000,
        unix_at_zero: Duration::from_secs(1_700_000_000),
    };
    let mut prober = PlainProber::new(config, now());
    let (mut sent, mut samples) = (0, Vec::new());
    while samples.len() < count as usize && begun.elapsed() < Duration::from_secs(60) {
        let mut octets = [0; 256];
        if let Ok(length) = socket.recv(&mut octets) {
            prober.handle_reply(&octets[..length], now()).unwrap();
        }
        if let Some(packet) = prober.poll_transmit(now()) {
            if !unsent.contains(&sent) {
                socket.send(&packet).unwrap();
            }
            sent += 1;
        }
        samples.extend(std::iter::from_fn(|| prober.poll_sample()));
    }
    samples
}

/// Numbers of lost probes, and of those that are known to be lost on the way there.
fn losses(samples: &[Sample]) -> (Vec<u64>, u32) {
    let lost = |sample: &&Sample| matches!(sample.outcome, Outcome::Lost { .. });
    let at_once =
        samples.iter().filter(|s| s.outcome == Outcome::Lost { way: Some(Way::Forward) }).count();
    let settled: u32 = samples.iter().map(|sample| sample.settled.forward).sum();
    let back: u32 = samples.iter().map(|sample| sample.settled.back).sum();
    assert_eq!(back, 0);
    (samples.iter().filter(lost).map(|s| s.sequence).collect(), settled + at_once as u32)
}

#[test]
fn an_independent_stateful_reflector_answers_and_tells_the_way_of_a_loss() {
    let reflector = Reflector::start(&["--stateful-reflector"]);
    let samples = probe(&reflector.connect(), 20, &[5, 6, 11]);
    let (lost, forward) = losses(&samples);
    // The host may lose time, and with it a probe; those that never left are lost for sure.
    assert!([5, 6, 11].iter().all(|number| lost.contains(number)), "{lost:?}");
    assert!(forward >= 3, "{samples:?}");
    assert!(samples.iter().any(|sample| matches!(sample.outcome, Outcome::Rtt { .. })));
}

#[test]
fn an_independent_stateless_reflector_answers_and_the_way_of_a_loss_stays_unknown() {
    let reflector = Reflector::start(&[]);
    let samples = probe(&reflector.connect(), 20, &[5, 6, 11]);
    let (lost, forward) = losses(&samples);
    assert!([5, 6, 11].iter().all(|number| lost.contains(number)), "{lost:?}");
    assert_eq!(forward, 0, "{samples:?}");
    let unknown = |s: &Sample| s.outcome == Outcome::Lost { way: None };
    assert!(samples.iter().any(unknown));
}

#[test]
fn an_independent_reflector_returns_our_tlvs_as_not_understood() {
    let reflector = Reflector::start(&["--stateful-reflector"]);
    let socket = reflector.connect();
    socket.set_read_timeout(Some(Duration::from_secs(10))).unwrap();
    let digest = vec![DigestEntry { path: PathId(7), received: 9, ..DigestEntry::default() }];
    let sent = request(41, 0x0abc, digest);
    socket.send(&sent).unwrap();
    let mut octets = [0; 512];
    let length = socket.recv(&mut octets).unwrap();
    assert_eq!(length, sent.len(), "never longer, never shorter");
    let reply = ReflectorPacket::decode(&octets[..length]).unwrap();
    assert_eq!((reply.sender_sequence, reply.ssid), (41, 0x0abc));
    assert_eq!(reply.sequence, 0, "its own count, of a session of its own");
    assert_eq!(reply.sender_timestamp, SenderPacket::decode(&sent).unwrap().timestamp);
    assert_eq!(reply.digest, [], "what it did not understand is not its word");
}

/// Ours, for an independent sender; drops the requests of the given numbers.
fn measured_by_theirs(arguments: &[&str], dropped: &[u32]) -> StatsSnapshot {
    let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
    socket.set_read_timeout(Some(Duration::from_millis(50))).unwrap();
    let port = socket.local_addr().unwrap().port().to_string();
    let (over, dropped) = (Arc::new(AtomicBool::new(false)), dropped.to_vec());
    let ends = over.clone();
    let reflector = thread::spawn(move || {
        let mut count = 0;
        while !ends.load(Ordering::Relaxed) {
            let mut octets = [0; 2_048];
            let Ok((length, from)) = socket.recv_from(&mut octets) else { continue };
            let packet = &octets[..length];
            if dropped.contains(&SenderPacket::decode(packet).unwrap().sequence) {
                continue;
            }
            let unix = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap();
            let at = Timestamp::from_unix(unix, TimestampFormat::Ntp);
            let ours = Reflected {
                sequence: Some(count),
                received: at,
                timestamp: at,
                error: ErrorEstimate::unsynchronised(TimestampFormat::Ntp),
                digest: &[],
            };
            count += 1;
            socket.send_to(&stamp::reflect(packet, 255, &ours).unwrap(), from).unwrap();
        }
    });
    let mut all = vec!["--remote-addr", "127.0.0.1", "--remote-port", &port];
    all.extend(["--local-addr", "127.0.0.1", "--count", "12", "--send-delay", "30"]);
    all.extend(["--timeout", "2"]);
    all.extend(arguments);
    let configuration = configuration(&all);
    let snapshot = runtime().block_on(run_sender(&configuration)).unwrap();
    over.store(true, Ordering::Relaxed);
    reflector.join().unwrap();
    snapshot
}

#[test]
fn an_independent_sender_takes_our_replies() {
    for arguments in [&[][..], &["--ssid", "77"], &["--extra-padding", "64"]] {
        let snapshot = measured_by_theirs(arguments, &[3, 4]);
        assert_eq!(snapshot.packets_sent, 12, "{arguments:?}");
        assert_eq!(snapshot.packets_received, 10, "{arguments:?}");
        assert_eq!(snapshot.packets_lost, 2, "{arguments:?}");
    }
}

#[test]
fn an_independent_sender_gets_tlvs_back_that_we_do_not_know() {
    // Timestamp Information (RFC 8972 section 4.3): it must come back, marked as not understood.
    let snapshot = measured_by_theirs(&["--timestamp-info"], &[]);
    assert_eq!((snapshot.packets_sent, snapshot.packets_received), (12, 12));
}
