//! Durations and points in time, as people write and read them. All times are UTC.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

const DAY_S: u64 = 86_400;
/// Ten years: longer is a slip of the finger.
const LONGEST_S: u64 = 3_660 * DAY_S;

/// `90s`, `10m`, `24h`, `7d`, or several of them: `1h30m`. Also `500ms`.
pub fn parse_duration(text: &str) -> Result<Duration, String> {
    let wrong = || format!("{text:?} is no duration; write e.g. 90s, 10m, 24h, 7d");
    let mut rest = text.trim();
    let mut total = Duration::ZERO;
    while !rest.is_empty() {
        let digits = rest.bytes().take_while(u8::is_ascii_digit).count();
        let number: u64 = rest[..digits].parse().map_err(|_| wrong())?;
        rest = &rest[digits..];
        let letters = rest.bytes().take_while(u8::is_ascii_alphabetic).count();
        let unit_ms = match &rest[..letters] {
            "ms" => 1,
            "s" => 1_000,
            "m" => 60_000,
            "h" => 3_600_000,
            "d" => DAY_S * 1_000,
            _ => return Err(wrong()),
        };
        rest = &rest[letters..];
        let part = number.checked_mul(unit_ms).map(Duration::from_millis).ok_or_else(wrong)?;
        total = total.checked_add(part).ok_or_else(wrong)?;
    }
    if total.is_zero() || total.as_secs() > LONGEST_S {
        return Err(wrong());
    }
    Ok(total)
}

/// A point in time, or how long ago.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Since {
    Ago(Duration),
    UnixMs(u64),
}

impl Since {
    pub fn unix_ms(self, now_unix_ms: u64) -> u64 {
        match self {
            Since::UnixMs(at) => at,
            Since::Ago(ago) => now_unix_ms
                .saturating_sub(u64::try_from(ago.as_millis()).unwrap_or(u64::MAX))
                .max(1),
        }
    }
}

/// `10m`, or RFC 3339 in UTC: `2026-01-31`, `2026-01-31T12:00:00Z`.
pub fn parse_since(text: &str) -> Result<Since, String> {
    if let Ok(ago) = parse_duration(text) {
        return Ok(Since::Ago(ago));
    }
    parse_utc(text)
        .map(Since::UnixMs)
        .ok_or_else(|| format!("{text:?} is no time; write e.g. 10m or 2026-01-31T12:00:00Z"))
}

/// A moment in the past.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum At {
    Ago(Duration),
    UnixMs(u64),
    /// The last time that clocks in UTC showed it; in milliseconds since midnight.
    OfDay(u64),
}

impl At {
    pub fn unix_ms(self, now_unix_ms: u64) -> u64 {
        match self {
            At::UnixMs(at) => at,
            At::Ago(ago) => Since::Ago(ago).unix_ms(now_unix_ms),
            At::OfDay(ms) => {
                let today = now_unix_ms - now_unix_ms % (DAY_S * 1_000) + ms;
                if today <= now_unix_ms { today } else { today.saturating_sub(DAY_S * 1_000) }
            }
        }
    }
}

/// `-15m`, `14:05`, `14:05:30`, RFC 3339 with any offset, or as `hawser events` shows times: `2026-01-31 12:00:00.250`.
pub fn parse_at(text: &str) -> Result<At, String> {
    let wrong = || {
        format!("{text:?} is no moment; write e.g. -15m, 14:05, 14:05:30 or 2026-01-31T12:00:00Z")
    };
    if let Ok(ago) = parse_duration(text.strip_prefix('-').unwrap_or(text)) {
        return Ok(At::Ago(ago));
    }
    if let Some(ms) = parse_time_of_day(text) {
        return Ok(At::OfDay(ms));
    }
    let (date, rest) = text.split_once(['T', 't', ' ']).ok_or_else(wrong)?;
    let (time, offset_s) = split_offset(rest).ok_or_else(wrong)?;
    let midnight = parse_utc(date).ok_or_else(wrong)?;
    let ms = parse_time_of_day(time).ok_or_else(wrong)?;
    let at = (midnight + ms).checked_add_signed(-offset_s * 1_000);
    at.filter(|at| *at > 0).map(At::UnixMs).ok_or_else(wrong)
}

/// `HH:MM`, `HH:MM:SS`, with or without a fraction of a second.
fn parse_time_of_day(text: &str) -> Option<u64> {
    let mut parts = text.splitn(3, ':');
    let two = |part: &str| (part.len() == 2).then(|| part.parse::<u64>().ok()).flatten();
    let (hour, minute) = (two(parts.next()?)?, two(parts.next()?)?);
    let (second, ms) = match parts.next() {
        None => (0, 0),
        Some(part) => {
            let (whole, fraction) = part.split_once('.').unwrap_or((part, "0"));
            let digits = fraction.bytes().all(|b| b.is_ascii_digit());
            let padded: String = fraction.chars().chain("000".chars()).take(3).collect();
            (two(whole)?, padded.parse().ok().filter(|_| digits && !fraction.is_empty())?)
        }
    };
    // A leap second is the first of the next minute.
    let in_bounds = hour < 24 && minute < 60 && second <= 60;
    in_bounds.then_some(((hour * 60 + minute) * 60 + second) * 1_000 + ms)
}

/// The time, and seconds that it is ahead of UTC.
fn split_offset(text: &str) -> Option<(&str, i64)> {
    if let Some(time) = text.strip_suffix(['Z', 'z']) {
        return Some((time, 0));
    }
    let Some(at) = text.rfind(['+', '-']) else { return Some((text, 0)) };
    let offset = parse_time_of_day(&text[at + 1..]).filter(|_| text.len() - at == 6)?;
    let seconds = (offset / 1_000) as i64;
    Some((&text[..at], if text[at..].starts_with('-') { -seconds } else { seconds }))
}

fn parse_utc(text: &str) -> Option<u64> {
    let (date, time) = text.split_once(['T', ' ']).unwrap_or((text, "00:00:00Z"));
    let mut date = date.splitn(3, '-').map(|part| (part.len(), part.parse::<u64>().ok()));
    let ((4, Some(year)), (2, Some(month)), (2, Some(day))) =
        (date.next()?, date.next()?, date.next()?)
    else {
        return None;
    };
    let mut time = time.strip_suffix('Z')?.splitn(3, ':').map(|part| part.parse::<u64>().ok());
    let (hour, minute) = (time.next()??, time.next()??);
    let second = time.next().unwrap_or(Some(0))?;
    let in_bounds = year >= 1970 && (1..=12).contains(&month) && hour < 24 && minute < 60;
    if !in_bounds || second >= 60 {
        return None;
    }
    let days = days_from_civil(year, month, day);
    // The 31st of February is the 3rd of March, which is not what was written.
    (civil_from_days(days) == (year, month, day)).then_some(())?;
    Some((days * DAY_S + hour * 3_600 + minute * 60 + second) * 1_000)
}

/// Days since 1970-01-01 in the proleptic Gregorian calendar; years begin in March, so that leap days end them.
fn days_from_civil(year: u64, month: u64, day: u64) -> u64 {
    let year = if month <= 2 { year - 1 } else { year };
    let (era, of_era) = (year / 400, year % 400);
    let month = (month + 9) % 12;
    let day_of_year = (153 * month + 2) / 5 + day.saturating_sub(1);
    era * 146_097 + of_era * 365 + of_era / 4 - of_era / 100 + day_of_year - 719_468
}

fn civil_from_days(days: u64) -> (u64, u64, u64) {
    let days = days + 719_468;
    let (era, of_era) = (days / 146_097, days % 146_097);
    let year = (of_era - of_era / 1_460 + of_era / 36_524 - of_era / 146_096) / 365;
    let day_of_year = of_era - (365 * year + year / 4 - year / 100);
    let month = (5 * day_of_year + 2) / 153;
    let day = day_of_year - (153 * month + 2) / 5 + 1;
    let month = if month < 10 { month + 3 } else { month - 9 };
    (era * 400 + year + u64::from(month <= 2), month, day)
}

/// `2026-01-31 12:00:00.250`; empty for 0.
pub fn utc(unix_ms: u64) -> String {
    if unix_ms == 0 {
        return String::new();
    }
    let (seconds, ms) = (unix_ms / 1_000, unix_ms % 1_000);
    let (year, month, day) = civil_from_days(seconds / DAY_S);
    let (hour, minute, second) = (seconds / 3_600 % 24, seconds / 60 % 60, seconds % 60);
    format!("{year:04}-{month:02}-{day:02} {hour:02}:{minute:02}:{second:02}.{ms:03}")
}

/// `2m 5s`: the two largest units.
pub fn span(seconds: u64) -> String {
    let units = [(DAY_S, "d"), (3_600, "h"), (60, "m"), (1, "s")];
    let mut rest = seconds;
    let mut parts = Vec::new();
    for (size, unit) in units {
        if rest >= size {
            parts.push(format!("{}{unit}", rest / size));
            rest %= size;
        }
    }
    parts.truncate(2);
    if parts.is_empty() { "0s".to_owned() } else { parts.join(" ") }
}

/// `3s ago`, `never` for 0.
pub fn ago(unix_ms: u64, now_unix_ms: u64) -> String {
    match unix_ms {
        0 => "never".to_owned(),
        at => format!("{} ago", span(now_unix_ms.saturating_sub(at) / 1_000)),
    }
}

pub fn now_unix_ms() -> u64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    u64::try_from(since.as_millis()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests;
