//! A moment in UTC, kept as builds have it: days since 1970-01-01 and picoseconds of the day.

use std::fmt;
use std::time::Duration;

/// A moment in UTC between the years 0000 and 9999, to the picosecond. Ordered by time.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Timestamp {
    days: i64,
    picoseconds: u64,
}

const PICOSECONDS_PER_DAY: u64 = 86_400 * PICOSECONDS_PER_SECOND;
const PICOSECONDS_PER_SECOND: u64 = 1_000_000_000_000;
const SECONDS_PER_DAY: i64 = 86_400;

/// 0000-01-01 and 9999-12-31, in days since 1970-01-01.
const DAYS_MIN: i64 = -719_528;
const DAYS_MAX: i64 = 2_932_896;

/// From 0000-03-01 to 1970-01-01.
const DAYS_FROM_MARCH_0000: i64 = 719_468;

impl Timestamp {
    /// 1970-01-01, midnight.
    pub const EPOCH: Timestamp = Timestamp {
        days: 0,
        picoseconds: 0,
    };

    /// A moment from its two stored numbers; none if they are out of range.
    pub fn new(days: i64, picoseconds: u64) -> Option<Timestamp> {
        let in_range = (DAYS_MIN..=DAYS_MAX).contains(&days) && picoseconds < PICOSECONDS_PER_DAY;
        in_range.then_some(Timestamp { days, picoseconds })
    }

    /// A moment from Unix time; none if it is out of range or `nanoseconds` is a second or more.
    pub fn from_unix(seconds: i64, nanoseconds: u32) -> Option<Timestamp> {
        if nanoseconds >= 1_000_000_000 {
            return None;
        }
        let second_of_day = seconds.rem_euclid(SECONDS_PER_DAY).unsigned_abs();
        Timestamp::new(
            seconds.div_euclid(SECONDS_PER_DAY),
            second_of_day * PICOSECONDS_PER_SECOND + u64::from(nanoseconds) * 1_000,
        )
    }

    /// A moment from a date and a time of day; none if there is no such moment.
    pub fn from_civil(
        year: u16,
        month: u8,
        day: u8,
        hour: u8,
        minute: u8,
        second: u8,
    ) -> Option<Timestamp> {
        let date_exists = year <= 9999
            && (1..=12).contains(&month)
            && day >= 1
            && day <= days_in_month(year, month);
        if !date_exists || hour > 23 || minute > 59 || second > 59 {
            return None;
        }
        let month_of_march_year = (i64::from(month) + 9) % 12;
        let march_year = i64::from(year) - i64::from(month < 3);
        let days =
            days_before_year(march_year) + days_before_month(month_of_march_year) + i64::from(day)
                - 1
                - DAYS_FROM_MARCH_0000;
        let second_of_day = u64::from(hour) * 3600 + u64::from(minute) * 60 + u64::from(second);
        Timestamp::new(days, second_of_day * PICOSECONDS_PER_SECOND)
    }

    /// Days since 1970-01-01, negative before.
    pub fn days(self) -> i64 {
        self.days
    }

    /// Picoseconds since the day began.
    pub fn picoseconds(self) -> u64 {
        self.picoseconds
    }

    /// Whole seconds since 1970-01-01, rounded down.
    pub fn unix_seconds(self) -> i64 {
        self.days * SECONDS_PER_DAY + self.second_of_day().cast_signed()
    }

    /// Picoseconds since the second began.
    pub fn picoseconds_of_second(self) -> u64 {
        self.picoseconds % PICOSECONDS_PER_SECOND
    }

    /// Year, month, day, hour, minute and second.
    pub fn civil(self) -> (u16, u8, u8, u8, u8, u8) {
        let (year, month, day) = self.date();
        let second = self.second_of_day();
        (
            year,
            month,
            day,
            small(second / 3600),
            small(second / 60 % 60),
            small(second % 60),
        )
    }

    /// `2026-05-12T04:12:33-00:00`, to the second; `-00:00` says that the local zone is not known.
    pub fn to_rfc3339(self) -> String {
        let (year, month, day, hour, minute, second) = self.civil();
        format!("{year:04}-{month:02}-{day:02}T{hour:02}:{minute:02}:{second:02}-00:00")
    }

    /// `20260512041233`, as file names and hooks have it.
    pub fn compact(self) -> String {
        let (year, month, day, hour, minute, second) = self.civil();
        format!("{year:04}{month:02}{day:02}{hour:02}{minute:02}{second:02}")
    }

    /// How long it is from here to `later`, to the nanosecond; zero if that is not later.
    pub fn duration_to(self, later: &Timestamp) -> Duration {
        let picoseconds = later.picoseconds_since_epoch() - self.picoseconds_since_epoch();
        let nanoseconds = u128::try_from(picoseconds).unwrap_or(0) / 1_000;
        Duration::from_nanos_u128(nanoseconds)
    }

    fn picoseconds_since_epoch(self) -> i128 {
        i128::from(self.days) * i128::from(PICOSECONDS_PER_DAY) + i128::from(self.picoseconds)
    }

    fn second_of_day(self) -> u64 {
        self.picoseconds / PICOSECONDS_PER_SECOND
    }

    fn date(self) -> (u16, u8, u8) {
        let days = self.days + DAYS_FROM_MARCH_0000;
        // 400 years have 146,097 days, so this is the right year or, near its ends, the one beside it.
        let mut march_year = (days * 400).div_euclid(146_097);
        while days_before_year(march_year) > days {
            march_year -= 1;
        }
        while days_before_year(march_year + 1) <= days {
            march_year += 1;
        }
        let day_of_year = days - days_before_year(march_year);
        let march_month = (0..12)
            .rev()
            .find(|month| days_before_month(*month) <= day_of_year)
            .unwrap_or(0);
        let month = (march_month + 2) % 12 + 1;
        let year = march_year + i64::from(month < 3);
        let day = day_of_year - days_before_month(march_month) + 1;
        // OK because the constructor keeps the year within 0 and 9999.
        (
            u16::try_from(year).unwrap_or_default(),
            small(month.unsigned_abs()),
            small(day.unsigned_abs()),
        )
    }
}

/// `2026-05-12 04:12:33Z`, to the second.
impl fmt::Display for Timestamp {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (year, month, day, hour, minute, second) = self.civil();
        write!(
            f,
            "{year:04}-{month:02}-{day:02} {hour:02}:{minute:02}:{second:02}Z"
        )
    }
}

fn days_in_month(year: u16, month: u8) -> u8 {
    let leap = year.is_multiple_of(4) && (!year.is_multiple_of(100) || year.is_multiple_of(400));
    match month {
        2 => 28 + u8::from(leap),
        4 | 6 | 9 | 11 => 30,
        _ => 31,
    }
}

/// From 0000-03-01 to the first of March of a year. A year that begins in March has its leap day, if any, at its end:
/// so the months need no case for leap years, and years count those leap days that came before their own first of March.
fn days_before_year(march_year: i64) -> i64 {
    365 * march_year + march_year.div_euclid(4) - march_year.div_euclid(100)
        + march_year.div_euclid(400)
}

/// From the first of March to the first of month 0 (March) to 11 (February).
fn days_before_month(month_of_march_year: i64) -> i64 {
    const BEFORE: [i64; 12] = [0, 31, 61, 92, 122, 153, 184, 214, 245, 275, 306, 337];
    usize::try_from(month_of_march_year)
        .ok()
        .and_then(|month| BEFORE.get(month))
        .copied()
        .unwrap_or(0)
}

/// A number known to be below 100.
fn small(number: u64) -> u8 {
    u8::try_from(number).unwrap_or(u8::MAX)
}
