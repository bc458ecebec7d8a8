//! The form on a disk: magic, number of series; each: path ID, end, number of coarse and of fine points, points of 29 octets.
//! Integers are big-endian.

use std::collections::BTreeMap;

use super::series::{Point, Series, State};
use super::{Bounds, End, Key};

const MAGIC: &[u8; 8] = b"HAWSTRE1";
const CARRIES: u8 = 0x10;
const MEASURED: u8 = 0x20;

#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("these are no trends of this version")]
pub struct Corrupt;

pub(super) fn encode(series: &BTreeMap<Key, Series>) -> Vec<u8> {
    let mut out = MAGIC.to_vec();
    out.extend(count(series.len()));
    for (key, series) in series {
        out.extend(key.path_id.to_be_bytes());
        out.push(u8::from(key.end == End::B));
        out.extend(count(series.coarse.len()));
        out.extend(count(series.fine.len()));
        series.points().for_each(|point| put(&mut out, point));
    }
    out
}

pub(super) fn decode(bytes: &[u8], bounds: &Bounds) -> Result<BTreeMap<Key, Series>, Corrupt> {
    let mut reader = Reader(bytes);
    if reader.take::<8>()? != *MAGIC {
        return Err(Corrupt);
    }
    let mut all = BTreeMap::new();
    let series = reader.u32()? as usize;
    if series > bounds.series {
        return Err(Corrupt);
    }
    for _ in 0..series {
        let path_id = reader.u32()?;
        let end = match reader.take::<1>()? {
            [0] => End::A,
            [1] => End::B,
            _ => return Err(Corrupt),
        };
        let (coarse, fine) = (reader.u32()? as usize, reader.u32()? as usize);
        if coarse.saturating_add(fine) > bounds.points_of_one.max(16) {
            return Err(Corrupt);
        }
        let mut points =
            (0..coarse + fine).map(|_| reader.point()).collect::<Result<Vec<_>, _>>()?;
        if !points.is_sorted_by_key(|point| point.at_ms) {
            return Err(Corrupt);
        }
        let fine = points.split_off(coarse).into();
        all.insert(Key { path_id, end }, Series { coarse: points.into(), fine });
    }
    if reader.0.is_empty() { Ok(all) } else { Err(Corrupt) }
}

fn count(n: usize) -> [u8; 4] {
    u32::try_from(n).unwrap_or(u32::MAX).to_be_bytes()
}

fn put(out: &mut Vec<u8>, point: &Point) {
    out.extend(point.at_ms.to_be_bytes());
    let state = match point.state {
        State::Up => 0,
        State::Connecting => 1,
        State::Down => 2,
    };
    let carries = if point.carries { CARRIES } else { 0 };
    out.push(state | carries | if point.measured { MEASURED } else { 0 });
    for figure in
        [point.span_ms, point.rtt_us, point.jitter_us, point.loss_tx_ppm, point.loss_rx_ppm]
    {
        out.extend(figure.to_be_bytes());
    }
}

struct Reader<'a>(&'a [u8]);

impl Reader<'_> {
    fn take<const N: usize>(&mut self) -> Result<[u8; N], Corrupt> {
        let (head, rest) = self.0.split_first_chunk::<N>().ok_or(Corrupt)?;
        self.0 = rest;
        Ok(*head)
    }

    fn u32(&mut self) -> Result<u32, Corrupt> {
        self.take().map(u32::from_be_bytes)
    }

    fn point(&mut self) -> Result<Point, Corrupt> {
        let at_ms = self.take().map(u64::from_be_bytes)?;
        let [flags] = self.take()?;
        let state = match flags & 0x0F {
            0 => State::Up,
            1 => State::Connecting,
            2 => State::Down,
            _ => return Err(Corrupt),
        };
        Ok(Point {
            at_ms,
            state,
            carries: flags & CARRIES != 0,
            measured: flags & MEASURED != 0,
            span_ms: self.u32()?,
            rtt_us: self.u32()?,
            jitter_us: self.u32()?,
            loss_tx_ppm: self.u32()?,
            loss_rx_ppm: self.u32()?,
        })
    }
}
