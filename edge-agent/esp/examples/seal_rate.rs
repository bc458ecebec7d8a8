//! How fast one core seals and opens full packets, and what the ends of the pipeline cost:
//! `cargo run -p hawser-esp --example seal_rate`.

use std::hint::black_box;
use std::time::{Duration, Instant};

use hawser_esp::checksum::checksum;
use hawser_esp::coalesce::{CoalesceConfig, Coalescer};
use hawser_esp::offload::{Strides, SuperPacket, VnetHdr};
use hawser_esp::wire::{PAYLOAD_OFFSET, sealed_len};
use hawser_esp::{InboundSa, KeyMaterial, OutboundSa, Suite};

const PACKET_BYTES: usize = 1408;
const BATCH: u32 = 64;
const TIME_PER_FIGURE: Duration = Duration::from_millis(500);

fn main() -> Result<(), Box<dyn std::error::Error>> {
    println!("{:<20} {:>10} {:>10}   Gbit/s of {PACKET_BYTES}-byte packets", "", "seal", "open");
    for suite in Suite::ALL {
        let key = KeyMaterial::new(suite, &vec![7; suite.key_material_len()])?;
        let outbound = OutboundSa::new(4096, &key, true)?;
        let inbound = InboundSa::new(4096, &key, true, 1024)?;
        let stride = sealed_len(PACKET_BYTES);
        let mut buffer = vec![0; stride * BATCH as usize];
        let (mut sealing, mut opening, mut batches) = (Duration::ZERO, Duration::ZERO, 0_u64);
        while sealing < TIME_PER_FIGURE {
            sealing += timed(|| seal_batch(&outbound, &mut buffer, stride))?;
            opening += timed(|| open_batch(&inbound, &mut buffer, stride))?;
            batches += 1;
        }
        let (seal, open) = (rate(batches, sealing), rate(batches, opening));
        println!("{:<20} {seal:>10.1} {open:>10.1}", suite.name());
        assert_eq!(inbound.usage().packets, batches * u64::from(BATCH));
    }
    println!("{:<20} {:>10.1}", "checksum", sum_rate()?);
    let (split, merge) = offload_rates()?;
    println!("{:<20} {split:>10.1}\n{:<20} {merge:>10.1}", "split TSO", "coalesce");
    Ok(())
}

/// Checksums alone.
fn sum_rate() -> Result<f64, Box<dyn std::error::Error>> {
    let packet = vec![9; PACKET_BYTES];
    let (mut summing, mut batches) = (Duration::ZERO, 0);
    while summing < TIME_PER_FIGURE / 5 {
        summing += timed(|| {
            for _ in 0..BATCH {
                black_box(checksum(black_box(&packet)));
            }
            Ok(())
        })?;
        batches += 1;
    }
    Ok(rate(batches, summing))
}

/// One TSO super-packet into segments, and the segments into one again.
fn offload_rates() -> Result<(f64, f64), Box<dyn std::error::Error>> {
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

type Outcome = Result<(), Box<dyn std::error::Error>>;

fn seal_batch(sa: &OutboundSa, buffer: &mut [u8], stride: usize) -> Outcome {
    let mut block = sa.reserve(BATCH)?;
    for datagram in buffer.chunks_exact_mut(stride) {
        // GRE header and packet are whatever the buffer holds.
        datagram[PAYLOAD_OFFSET] = 0x20;
        block.seal(datagram, PACKET_BYTES)?;
    }
    Ok(())
}

fn open_batch(sa: &InboundSa, buffer: &mut [u8], stride: usize) -> Outcome {
    let mut batch = sa.batch();
    for datagram in buffer.chunks_exact_mut(stride) {
        batch.open(datagram)?;
    }
    Ok(())
}

#[expect(clippy::disallowed_methods, reason = "a measurement reads the clock")]
fn timed(work: impl FnOnce() -> Outcome) -> Result<Duration, Box<dyn std::error::Error>> {
    let start = Instant::now();
    work()?;
    Ok(start.elapsed())
}

fn rate(batches: u64, time: Duration) -> f64 {
    let bits = batches * u64::from(BATCH) * PACKET_BYTES as u64 * 8;
    bits as f64 / time.as_secs_f64() / 1e9
}
