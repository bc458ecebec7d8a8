//! Days of the calendar.

use std::fmt;
use std::str::FromStr;

const DAY_S: u64 = 86_400;

/// A day from 1970 to 9999, UTC.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Date {
    year: u16,
    month: u8,
    day: u8,
}

/// Not a day of the calendar, written `YYYY-MM-DD`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct NoDate;

impl Date {
    /// The first second after it, since 1970.
    pub fn ends_unix_s(self) -> u64 {
        let years = u64::from(self.year) - 1970;
        // Leap days of the years before this one, and of those from 1970 on only.
        let leaps = |year: u64| year / 4 - year / 100 + year / 400;
        let leap_days = leaps(u64::from(self.year) - 1) - leaps(1969);
        let months = (1..self.month).map(|month| u64::from(days_of(self.year, month)));
        (years * 365 + leap_days + months.sum::<u64>() + u64::from(self.day)) * DAY_S
    }
}

fn days_of(year: u16, month: u8) -> u8 {
    let leap = year.is_multiple_of(4) && !year.is_multiple_of(100) || year.is_multiple_of(400);
    match month {
        2 if leap => 29,
        2 => 28,
        4 | 6 | 9 | 11 => 30,
        _ => 31,
    }
}

impl FromStr for Date {
    type Err = NoDate;

    fn from_str(text: &str) -> Result<Self, NoDate> {
        let number = |range| {
            let digits: Option<&str> = text.get(range);
            let digits = digits.filter(|digits| digits.bytes().all(|b| b.is_ascii_digit()));
            digits.and_then(|digits| digits.parse::<u16>().ok()).ok_or(NoDate)
        };
        let dashes = text.len() == 10 && text.as_bytes()[4] == b'-' && text.as_bytes()[7] == b'-';
        let (year, month, day) = (number(0..4)?, number(5..7)? as u8, number(8..10)? as u8);
        let exists = dashes
            && year >= 1970
            && (1..=12).contains(&month)
            && (1..=days_of(year, month)).contains(&day);
        if exists { Ok(Date { year, month, day }) } else { Err(NoDate) }
    }
}

impl fmt::Display for Date {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:04}-{:02}-{:02}", self.year, self.month, self.day)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn days_are_counted_as_date_1_counts_them() {
        // date -u -d "YYYY-MM-DD + 1 day" +%s
        for (text, ends) in [
            ("1970-01-01", 86_400),
            ("1999-12-31", 946_684_800),
            ("2000-02-29", 951_868_800),
            ("2024-02-29", 1_709_251_200),
            ("2026-11-26", 1_795_737_600),
            ("2100-02-28", 4_107_542_400),
            ("9999-12-31", 253_402_300_800),
        ] {
            let date: Date = text.parse().unwrap();
            assert_eq!((date.ends_unix_s(), date.to_string()), (ends, text.to_owned()));
        }
    }

    #[test]
    fn what_is_no_day_is_refused() {
        for text in [
            "",
            "2026",
            "2026-1-01",
            "2026-13-01",
            "2026-00-10",
            "2026-02-29",
            "2100-02-29",
            "1969-12-31",
            "2026-01-32",
            "2026/01/01",
            "2026-01-011",
            "+026-01-01",
            "2026-01-1é",
            "20é6-01-0",
        ] {
            assert_eq!(text.parse::<Date>(), Err(NoDate), "{text}");
        }
    }
}
