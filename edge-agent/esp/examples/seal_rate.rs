//! How fast one core seals and opens full packets under each suite, beside the serial code of `openssl speed` where it is
//! installed, and what the ends of the pipeline cost: `cargo run -p hawser-esp --example seal_rate`. The last line is
//! JSON: `suites` (name → Gbit/s sealed, opened, by OpenSSL), `pipeline` (part → Gbit/s).

use std::hint::black_box;
use std::process::Command;
use std::time::Duration;

use hawser_esp::checksum::checksum;
use hawser_esp::coalesce::{CoalesceConfig, Coalescer};
use hawser_esp::offload::{Strides, SuperPacket, VnetHdr};
use hawser_esp::suite::{Encryption, Integrity};
use hawser_esp::{IvSeed, KeyMaterial, Mode, Packet, Received, Suite, opener, sealer};
use nix::time::{ClockId, clock_gettime};

const PACKET_BYTES: usize = 1408;
const BATCH: usize = 64;
const TIME_PER_FIGURE: Duration = Duration::from_millis(300);

type Outcome<T = ()> = Result<T, Box<dyn std::error::Error>>;

fn main() -> Outcome {
    println!("Gbit/s of {PACKET_BYTES}-byte packets");
    println!("{:<24} {:>8} {:>8} {:>8}", "", "seal", "open", "openssl");
    let mut suites = Vec::new();
    for suite in Suite::ALL {
        let (seal, open) = suite_rates(suite)?;
        let openssl = openssl_gbps(suite);
        println!("{:<24} {seal:>8.2} {open:>8.2} {}", suite.name(), shown(openssl));
        suites.push(format!(
            "{:?}:{{\"seal\":{seal:.3},\"open\":{open:.3},\"openssl\":{}}}",
            suite.name(),
            openssl.map_or("null".to_owned(), |gbps| format!("{gbps:.3}"))
        ));
    }
    let (split, merge) = offload_rates()?;
    let mut pipeline = Vec::new();
    for (part, gbps) in [("checksum", sum_rate()?), ("split_tso", split), ("coalesce", merge)] {
        println!("{part:<24} {gbps:>8.1}");
        pipeline.push(format!("{part:?}:{gbps:.1}"));
    }
    println!("{{\"suites\":{{{}}},\"pipeline\":{{{}}}}}", suites.join(","), pipeline.join(","));
    Ok(())
}

fn suite_rates(suite: Suite) -> Outcome<(f64, f64)> {
    let bytes: Vec<u8> = (0..suite.key_material_len()).map(|at| (at * 11 + 3) as u8).collect();
    let key = KeyMaterial::new(suite, &bytes)?;
    let outbound = sealer(4096, &key, true, &IvSeed::new([9; IvSeed::LEN]))?;
    let inbound = opener(Mode::Gre, 4096, &key, true, 1024)?;
    let stride = suite.layout().sealed_len(PACKET_BYTES);
    let mut buffer = vec![0; stride * BATCH];
    let (mut sealing, mut opening, mut batches) = (Duration::ZERO, Duration::ZERO, 0);
    while sealing < TIME_PER_FIGURE {
        // GRE header and packet are whatever the buffer holds.
        let mut packets: Vec<_> =
            buffer.chunks_exact_mut(stride).map(|slot| Packet::gre(slot, PACKET_BYTES)).collect();
        sealing += timed(|| Ok(outbound.seal(&mut packets)?))?;
        let mut received: Vec<_> = buffer.chunks_exact_mut(stride).map(Received::new).collect();
        opening += timed(|| {
            inbound.open_batch(&mut received);
            Ok(())
        })?;
        batches += 1;
    }
    let packets = batches * BATCH as u64;
    assert_eq!(inbound.usage().packets, packets, "every packet was opened");
    Ok((rate(packets, sealing), rate(packets, opening)))
}

/// What OpenSSL's own code does one packet after the other: cipher and MAC in turn, each as `openssl speed` has it.
fn openssl_gbps(suite: Suite) -> Option<f64> {
    let cipher: &[&str] = match suite.encryption() {
        Encryption::Aes128Gcm => &["-evp", "aes-128-gcm"],
        Encryption::Aes256Gcm => &["-evp", "aes-256-gcm"],
        Encryption::ChaCha20Poly1305 => &["-evp", "chacha20-poly1305"],
        Encryption::Aes128Cbc => &["-evp", "aes-128-cbc"],
        Encryption::Aes256Cbc => &["-evp", "aes-256-cbc"],
        Encryption::Sm4Cbc => &["-evp", "sm4-cbc"],
        // Absent before OpenSSL 3.1.
        Encryption::Sm4Gcm => &["-evp", "sm4-gcm"],
        Encryption::TripleDesCbc => &["-evp", "des-ede3-cbc"],
        Encryption::DesCbc => &["-provider", "legacy", "-provider", "default", "-evp", "des-cbc"],
        Encryption::Null => &[],
    };
    let digest = suite.integrity().map(|integrity| match integrity {
        Integrity::HmacSha256 => "sha256",
        Integrity::HmacSha512 => "sha512",
        Integrity::HmacSm3Half | Integrity::HmacSm3Full => "sm3",
        Integrity::HmacSha1 => "sha1",
        Integrity::HmacMd5 => "md5",
    });
    let cipher = if cipher.is_empty() { 0.0 } else { 1.0 / speed(cipher)? };
    let mac = digest.map_or(Some(0.0), |digest| Some(1.0 / speed(&["-hmac", digest])?))?;
    Some(1.0 / (cipher + mac))
}

fn speed(algorithm: &[&str]) -> Option<f64> {
    let bytes = PACKET_BYTES.to_string();
    let output = Command::new("openssl")
        .args(["speed", "-mr", "-seconds", "1", "-bytes", &bytes])
        .args(algorithm)
        .output()
        .ok()?;
    // "+F:22:AES-128-CBC:1411748240.00", or "+F:..." of HMAC: octets per second come last.
    let lines = String::from_utf8(output.stdout).ok()?;
    let line = lines.lines().find(|line| line.starts_with("+F"))?;
    let octets: f64 = line.rsplit(':').next()?.parse().ok()?;
    Some(octets * 8.0 / 1e9)
}

fn shown(gbps: Option<f64>) -> String {
    gbps.map_or(format!("{:>8}", "-"), |gbps| format!("{gbps:>8.2}"))
}

/// Checksums alone.
fn sum_rate() -> Outcome<f64> {
    let packet = vec![9; PACKET_BYTES];
    let (mut summing, mut packets) = (Duration::ZERO, 0);
    while summing < TIME_PER_FIGURE / 5 {
        summing += timed(|| {
            for _ in 0..BATCH {
                black_box(checksum(black_box(&packet)));
            }
            Ok(())
        })?;
        packets += BATCH as u64;
    }
    Ok(rate(packets, summing))
}

/// One TSO super-packet into segments, and the segments into one again.
fn offload_rates() -> Outcome<(f64, f64)> {
    const SEGMENTS: usize = 46;
    let packet = super_packet(SEGMENTS);
    // NEEDS_CSUM and VIRTIO_NET_HDR_GSO_TCPV4.
    let vnet = VnetHdr {
        flags: 1,
        gso_type: 1,
        hdr_len: 40,
        gso_size: (PACKET_BYTES - 40) as u16,
        csum_start: 20,
        csum_offset: 16,
    };
    let mut segments = vec![0; SEGMENTS * PACKET_BYTES];
    let mut coalescer = Coalescer::new(CoalesceConfig::default());
    let (mut splitting, mut merging) = (Duration::ZERO, Duration::ZERO);
    let (mut rounds, mut writes) = (0, 0);
    while splitting < TIME_PER_FIGURE {
        splitting += timed(|| {
            let strides = Strides { stride: PACKET_BYTES, offset: 0 };
            let whole = SuperPacket::new(&vnet, &packet)?;
            Ok(whole.write_range(0..SEGMENTS, strides, &mut segments).ok_or("too short")?)
        })?;
        let mut sink =
            |_: &VnetHdr, packet: &[u8]| writes += black_box(packet).len() / packet.len();
        merging += timed(|| {
            segments.chunks(PACKET_BYTES).for_each(|segment| coalescer.push(segment, &mut sink));
            coalescer.flush(&mut sink);
            Ok(())
        })?;
        rounds += SEGMENTS as u64;
    }
    assert_eq!(writes as u64 * SEGMENTS as u64, rounds, "segments were not merged");
    let gigabits =
        |time: Duration| (rounds * PACKET_BYTES as u64 * 8) as f64 / time.as_nanos() as f64;
    Ok((gigabits(splitting), gigabits(merging)))
}

/// An IPv4 TCP packet with the payload of `segments` full ones.
fn super_packet(segments: usize) -> Vec<u8> {
    let len = 40 + segments * (PACKET_BYTES - 40);
    let mut packet = vec![5; len];
    packet[..20]
        .copy_from_slice(&[0x45, 0, 0, 0, 0, 1, 0x40, 0, 64, 6, 0, 0, 10, 1, 0, 1, 10, 2, 0, 1]);
    packet[2..4].copy_from_slice(&(len as u16).to_be_bytes());
    // Data offset of 20 octets, ACK.
    packet[32..34].copy_from_slice(&[0x50, 0x10]);
    packet
}

/// In time of the CPU, as `openssl speed` counts it: what else the machine does is left out.
fn timed(work: impl FnOnce() -> Outcome) -> Outcome<Duration> {
    let now = || clock_gettime(ClockId::CLOCK_THREAD_CPUTIME_ID).map(Duration::from);
    let start = now()?;
    work()?;
    Ok(now()?.saturating_sub(start))
}

fn rate(packets: u64, time: Duration) -> f64 {
    (packets * PACKET_BYTES as u64 * 8) as f64 / time.as_secs_f64() / 1e9
}
