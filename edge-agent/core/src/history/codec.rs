//! Blocks to octets and back. What is read may be anything: it was on a disk, and came over a network.

use super::{Entry, MAX_BODY_BYTES, MAX_PROBES, Names, PathName, Tick};
use crate::id::{PathId, TunnelId};

const MAGIC: &[u8; 4] = b"HWH1";
const KIND_NAMES: u8 = 1;
const KIND_PROBES: u8 = 2;
const HEAD: usize = MAGIC.len() + 1 + 4;
const TAIL: usize = 4;
/// Of any text: names are DNS labels.
const MAX_TEXT: usize = 255;
/// Paths of one edge: those of a hub of the largest fleet.
const MAX_PATHS: usize = 1 << 16;

/// A block, read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Block {
    Names(Names),
    Probes { path: PathId, entries: Vec<Entry> },
}

/// Names that do not fit into one block are cut off at the last path that does.
pub fn encode_names(names: &Names) -> Vec<u8> {
    let mut body = Vec::new();
    put_text(&mut body, &names.edge);
    put_text(&mut body, &names.site);
    for path in names.paths.iter().take(MAX_PATHS) {
        let before = body.len();
        put(&mut body, path.path.0.into());
        put(&mut body, path.tunnel.0.into());
        for text in [&path.peer_edge, &path.peer_site, &path.local_uplink, &path.remote_uplink] {
            put_text(&mut body, text);
        }
        put(&mut body, path.ipv6.into());
        if body.len() > MAX_BODY_BYTES {
            body.truncate(before);
            break;
        }
    }
    frame(KIND_NAMES, &body)
}

/// At most [`MAX_PROBES`] of one path; more are left out.
pub fn encode_probes(path: PathId, entries: &[Entry]) -> Vec<u8> {
    let entries = &entries[..entries.len().min(MAX_PROBES)];
    let first = entries.iter().map(|e| e.sent.0).min().unwrap_or(0);
    let last = entries.iter().map(|e| e.sent.0).max().unwrap_or(0);
    let mut body = Vec::with_capacity(16 + 3 * entries.len());
    put(&mut body, path.0.into());
    put(&mut body, first);
    put(&mut body, last - first);
    put(&mut body, entries.len() as u64);
    let mut state = Deltas::starting_at(first);
    for entry in entries {
        let step = entry.sent.0.wrapping_sub(state.sent) as i64;
        put(&mut body, zigzag(step.wrapping_sub(state.step)));
        (state.sent, state.step) = (entry.sent.0, step);
        match entry.rtt {
            None => put(&mut body, 0),
            Some(rtt) => {
                put(&mut body, 1 + zigzag(i64::from(rtt) - i64::from(state.rtt)));
                state.rtt = rtt;
            }
        }
    }
    frame(KIND_PROBES, &body)
}

/// The blocks in some octets. What is no whole block is skipped up to the next that is one.
#[derive(Debug)]
pub struct Blocks<'a> {
    rest: &'a [u8],
    skipped: u64,
}

impl<'a> Blocks<'a> {
    pub fn new(octets: &'a [u8]) -> Self {
        Blocks { rest: octets, skipped: 0 }
    }

    /// Octets that belonged to no whole block.
    pub fn skipped(&self) -> u64 {
        self.skipped
    }

    /// The next block as it is, without looking into it.
    pub fn next_raw(&mut self) -> Option<&'a [u8]> {
        loop {
            let Some(at) = find(self.rest) else {
                self.skipped += self.rest.len() as u64;
                self.rest = &[];
                return None;
            };
            self.skipped += at as u64;
            self.rest = &self.rest[at..];
            if let Some(length) = whole(self.rest) {
                let (block, rest) = self.rest.split_at(length);
                self.rest = rest;
                return Some(block);
            }
            self.skipped += 1;
            self.rest = &self.rest[1..];
        }
    }
}

impl Iterator for Blocks<'_> {
    type Item = Block;

    fn next(&mut self) -> Option<Block> {
        while let Some(raw) = self.next_raw() {
            match decode(raw) {
                Some(block) => return Some(block),
                // Of a newer version, or nonsense with a right checksum.
                None => self.skipped += raw.len() as u64,
            }
        }
        None
    }
}

/// Whether a block of [`Blocks::next_raw`] tells of this time; names always do.
pub fn is_within(raw: &[u8], since: Tick, until: Tick) -> bool {
    if raw[MAGIC.len()] != KIND_PROBES {
        return true;
    }
    let mut body = &raw[HEAD..raw.len() - TAIL];
    let Some((_, first)) = take(&mut body).zip(take(&mut body)) else { return false };
    let last = take(&mut body).and_then(|span| first.checked_add(span));
    last.is_some_and(|last| last >= since.0 && first <= until.0)
}

fn find(octets: &[u8]) -> Option<usize> {
    octets.windows(MAGIC.len()).position(|window| window == MAGIC)
}

/// The length of the whole block that these octets begin with.
fn whole(octets: &[u8]) -> Option<usize> {
    let length: [u8; 4] = octets.get(MAGIC.len() + 1..HEAD)?.try_into().ok()?;
    let length = u32::from_le_bytes(length) as usize;
    if length > MAX_BODY_BYTES {
        return None;
    }
    let checked = octets.get(MAGIC.len()..HEAD + length)?;
    let sum: [u8; 4] = octets.get(HEAD + length..HEAD + length + TAIL)?.try_into().ok()?;
    (crc32fast::hash(checked) == u32::from_le_bytes(sum)).then_some(HEAD + length + TAIL)
}

fn frame(kind: u8, body: &[u8]) -> Vec<u8> {
    let mut block = Vec::with_capacity(HEAD + body.len() + TAIL);
    block.extend(MAGIC);
    block.push(kind);
    block.extend((body.len() as u32).to_le_bytes());
    block.extend(body);
    let sum = crc32fast::hash(&block[MAGIC.len()..]);
    block.extend(sum.to_le_bytes());
    block
}

fn decode(raw: &[u8]) -> Option<Block> {
    let mut body = &raw[HEAD..raw.len() - TAIL];
    match raw[MAGIC.len()] {
        KIND_NAMES => names(&mut body).map(Block::Names),
        KIND_PROBES => probes(&mut body),
        _ => None,
    }
}

fn names(body: &mut &[u8]) -> Option<Names> {
    let mut names = Names { edge: take_text(body)?, site: take_text(body)?, paths: Vec::new() };
    while !body.is_empty() && names.paths.len() < MAX_PATHS {
        names.paths.push(PathName {
            path: PathId(take_u32(body)?),
            tunnel: TunnelId(take_u32(body)?),
            peer_edge: take_text(body)?,
            peer_site: take_text(body)?,
            local_uplink: take_text(body)?,
            remote_uplink: take_text(body)?,
            ipv6: take(body)? != 0,
        });
    }
    Some(names)
}

fn probes(body: &mut &[u8]) -> Option<Block> {
    let path = PathId(take_u32(body)?);
    let first = take(body)?;
    let last = first.checked_add(take(body)?)?;
    let count = usize::try_from(take(body)?).ok().filter(|count| *count <= MAX_PROBES)?;
    let mut state = Deltas::starting_at(first);
    let mut entries = Vec::with_capacity(count);
    for _ in 0..count {
        state.step = state.step.wrapping_add(unzigzag(take(body)?));
        state.sent = state.sent.wrapping_add(state.step as u64);
        let rtt = match take(body)? {
            0 => None,
            coded => {
                let rtt = i64::from(state.rtt).checked_add(unzigzag(coded - 1))?;
                state.rtt = u32::try_from(rtt).ok()?;
                Some(state.rtt)
            }
        };
        if !(first..=last).contains(&state.sent) {
            return None;
        }
        entries.push(Entry { sent: Tick(state.sent), rtt });
    }
    body.is_empty().then_some(Block::Probes { path, entries })
}

/// What the next probe is told against.
struct Deltas {
    sent: u64,
    step: i64,
    rtt: u32,
}

impl Deltas {
    fn starting_at(first: u64) -> Self {
        Deltas { sent: first, step: 0, rtt: 0 }
    }
}

fn zigzag(n: i64) -> u64 {
    ((n << 1) ^ (n >> 63)) as u64
}

fn unzigzag(n: u64) -> i64 {
    (n >> 1) as i64 ^ -((n & 1) as i64)
}

fn put(out: &mut Vec<u8>, mut n: u64) {
    while n >= 0x80 {
        out.push(n as u8 | 0x80);
        n >>= 7;
    }
    out.push(n as u8);
}

fn take(body: &mut &[u8]) -> Option<u64> {
    let mut n = 0u64;
    for shift in (0..64).step_by(7) {
        let (&octet, rest) = body.split_first()?;
        *body = rest;
        let bits = u64::from(octet & 0x7f);
        // The tenth octet has room for one bit.
        if shift == 63 && bits > 1 {
            return None;
        }
        n |= bits << shift;
        if octet < 0x80 {
            return Some(n);
        }
    }
    None
}

fn take_u32(body: &mut &[u8]) -> Option<u32> {
    u32::try_from(take(body)?).ok()
}

fn put_text(out: &mut Vec<u8>, text: &str) {
    let text = &text[..text.floor_char_boundary(MAX_TEXT)];
    put(out, text.len() as u64);
    out.extend(text.as_bytes());
}

fn take_text(body: &mut &[u8]) -> Option<String> {
    let length = usize::try_from(take(body)?).ok().filter(|length| *length <= MAX_TEXT)?;
    let (text, rest) = body.split_at_checked(length)?;
    *body = rest;
    String::from_utf8(text.to_vec()).ok()
}
