//! Where our own threads spend their time.

use std::collections::BTreeMap;
use std::fs;

/// Ticks of `utime` and `stime` in a second (proc(5); Linux has had 100 on every platform for long).
const TICKS_PER_S: f64 = 100.0;

/// Seconds in user mode and in the kernel, by what the thread does: `tun` (seals and sends), `uplink` (receives and
/// opens); both ends together.
pub type Times = BTreeMap<String, [f64; 2]>;

pub fn times() -> Times {
    let mut times = Times::new();
    for task in fs::read_dir("/proc/self/task").into_iter().flatten().flatten() {
        let read = |name: &str| fs::read_to_string(task.path().join(name)).unwrap_or_default();
        let (name, stat) = (read("comm"), read("stat"));
        let Some((kind, _)) = name.trim().split_once('-') else { continue };
        if !["tun", "uplink"].contains(&kind) {
            continue;
        }
        // The second field is the name in brackets, which may have blanks.
        let after = stat.rsplit(')').next().unwrap_or_default();
        let mut fields =
            after.split_whitespace().skip(11).map(|ticks| ticks.parse().unwrap_or(0.0));
        let entry = times.entry(kind.to_owned()).or_default();
        for place in entry {
            *place += fields.next().unwrap_or(0.0) / TICKS_PER_S;
        }
    }
    times
}

/// What was spent between two readings.
pub fn since(before: &Times) -> Times {
    let mut spent = times();
    for (kind, [user, system]) in before {
        if let Some(now) = spent.get_mut(kind) {
            now[0] -= user;
            now[1] -= system;
        }
    }
    spent
}
