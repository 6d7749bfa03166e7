//! How numbers and times look on a page.

use std::time::Duration;

use builder_exec::Timestamp;

use crate::unseen;

/// A size in bytes with two to three digits and a binary unit: `1.4 MiB`.
pub fn bytes(bytes: &u64) -> String {
    const UNITS: [&str; 5] = ["KiB", "MiB", "GiB", "TiB", "PiB"];
    if *bytes < 1024 {
        return format!("{bytes} B");
    }
    #[expect(
        clippy::cast_precision_loss,
        reason = "as precise as what is printed of it"
    )]
    let mut value = *bytes as f64 / 1024.0;
    let mut units = UNITS.iter();
    let mut unit = units.next();
    // From here on it would be printed as 1024.
    while value >= 1023.5 {
        match units.next() {
            Some(larger) => unit = Some(larger),
            None => break,
        }
        value /= 1024.0;
    }
    let unit = unit.unwrap_or(&"");
    if value < 9.95 {
        format!("{value:.1} {unit}")
    } else {
        format!("{value:.0} {unit}")
    }
}

/// A duration in its two largest units: `10 min 11 s`.
pub fn duration(duration: Duration) -> String {
    let seconds = duration.as_secs();
    match (seconds / 3600, seconds / 60 % 60, seconds % 60) {
        (0, 0, seconds) => format!("{seconds} s"),
        (0, minutes, seconds) => format!("{minutes} min {seconds} s"),
        (hours, minutes, _) => format!("{hours} h {minutes} min"),
    }
}

/// A time since a beginning, to the millisecond: `7.042`, `1:02.345`, `2:01:02.345`.
pub fn elapsed(nanoseconds: i64) -> String {
    let sign = if nanoseconds < 0 { "-" } else { "" };
    let ms = nanoseconds.unsigned_abs() / 1_000_000;
    let (hours, minutes) = (ms / 3_600_000, ms / 60_000 % 60);
    let (seconds, ms) = (ms / 1000 % 60, ms % 1000);
    match (hours, minutes) {
        (0, 0) => format!("{sign}{seconds}.{ms:03}"),
        (0, _) => format!("{sign}{minutes}:{seconds:02}.{ms:03}"),
        _ => format!("{sign}{hours}:{minutes:02}:{seconds:02}.{ms:03}"),
    }
}

/// How long ago a time was, in its largest unit: `3 days ago`.
pub fn age(now: &Timestamp, time: &Timestamp) -> String {
    let seconds = now.unix_seconds().saturating_sub(time.unix_seconds());
    const DAY: i64 = 24 * 60 * 60;
    let (count, unit) = match seconds {
        i64::MIN..60 => return "just now".to_owned(),
        60..3600 => (seconds / 60, "minute"),
        3600..DAY => (seconds / 3600, "hour"),
        _ if seconds < 60 * DAY => (seconds / DAY, "day"),
        _ if seconds < 730 * DAY => (seconds / (30 * DAY), "month"),
        _ => (seconds / (365 * DAY), "year"),
    };
    format!("{} ago", counted(count, unit))
}

/// Each verdict by its name, and in words.
pub const VERDICTS: [(&str, &str); 6] = [
    ("reproduced", "reproduced"),
    ("unchanged", "unchanged"),
    ("changed", "changed"),
    ("built-once", "only built once"),
    ("not-reproducible", "not reproducible"),
    ("failed", "failed"),
];

/// A text from outside, so that none of it moves the cursor of a terminal, begins a line of a log, or
/// is not seen.
pub fn visible(text: &str) -> String {
    unseen::line(text).into_owned()
}

/// A number with its noun: `1 build`, `2 builds`.
pub fn counted(count: impl std::fmt::Display, noun: &str) -> String {
    let count = count.to_string();
    if count == "1" {
        format!("1 {noun}")
    } else {
        format!("{count} {noun}s")
    }
}

/// A part of a thousand in per cent: `12.3 %`.
pub fn per_cent(per_mille: &u64) -> String {
    format!("{}.{} %", per_mille / 10, per_mille % 10)
}

/// With its first letter in upper case, to begin a sentence.
pub fn capitalised(words: &str) -> String {
    let mut chars = words.chars();
    let first = chars.next().map(|first| first.to_uppercase().to_string());
    first.unwrap_or_default() + chars.as_str()
}

/// The day of a time: `2026-05-12`.
pub fn date(time: &Timestamp) -> String {
    let text = time.to_rfc3339();
    text.split('T').next().unwrap_or_default().to_owned()
}

/// Seconds as a duration.
pub fn seconds(seconds: &u64) -> String {
    duration(Duration::from_secs(*seconds))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_age_is_told_in_its_largest_unit() {
        let day = 24 * 60 * 60;
        let now = Timestamp::from_unix(10_000 * day, 0).unwrap();
        for (seconds, text) in [
            (-5, "just now"),
            (59, "just now"),
            (60, "1 minute ago"),
            (2 * 3600, "2 hours ago"),
            (day, "1 day ago"),
            (59 * day, "59 days ago"),
            (60 * day, "2 months ago"),
            (800 * day, "2 years ago"),
        ] {
            let time = Timestamp::from_unix(now.unix_seconds() - seconds, 0).unwrap();
            assert_eq!(age(&now, &time), text);
        }
    }

    #[test]
    fn a_time_since_the_beginning_is_read_as_on_a_clock() {
        for (ms, text) in [
            (0, "0.000"),
            (7_042, "7.042"),
            (62_345, "1:02.345"),
            (7_262_345, "2:01:02.345"),
            (-1_500, "-1.500"),
        ] {
            assert_eq!(elapsed(ms * 1_000_000), text);
        }
    }

    #[test]
    fn sizes_are_read_at_a_glance() {
        for (size, text) in [
            (0, "0 B"),
            (1023, "1023 B"),
            (1024, "1.0 KiB"),
            (191_760, "187 KiB"),
            (1_048_000, "1023 KiB"),
            (1_048_200, "1.0 MiB"),
            (1_048_575, "1.0 MiB"),
            (1_500_000, "1.4 MiB"),
            (300 << 20, "300 MiB"),
            (u64::MAX, "16384 PiB"),
        ] {
            assert_eq!(bytes(&size), text);
        }
    }

    #[test]
    fn durations_are_read_at_a_glance() {
        for (seconds, text) in [
            (0, "0 s"),
            (59, "59 s"),
            (611, "10 min 11 s"),
            (3600, "1 h 0 min"),
            (90_061, "25 h 1 min"),
        ] {
            assert_eq!(duration(Duration::from_secs(seconds)), text);
        }
    }
}
