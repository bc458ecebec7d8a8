//! How fast one core seals and opens full packets, and checks the ends of the pipeline:
//! `cargo run -p hawser-esp --example seal_rate`.

use std::hint::black_box;
use std::time::{Duration, Instant};

use hawser_esp::checksum::checksum;
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
    let packet = vec![9; PACKET_BYTES];
    let mut batches = 0;
    let mut summing = Duration::ZERO;
    while summing < TIME_PER_FIGURE / 5 {
        summing += timed(|| {
            for _ in 0..BATCH {
                black_box(checksum(black_box(&packet)));
            }
            Ok(())
        })?;
        batches += 1;
    }
    println!("{:<20} {:>10.1}", "checksum", rate(batches, summing));
    Ok(())
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
