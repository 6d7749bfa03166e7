//! Times as people give them: RFC 3339 in UTC, or a day.

use builder_exec::Timestamp;

/// `2024-01-31T12:00:00Z`, also with a fraction of a second, a blank or a `t` before the time, or
/// `+00:00` for `Z`; or `2024-01-31`, which is the beginning of that day.
pub fn parse(text: &str) -> Result<Timestamp, String> {
    parse_utc(text).ok_or_else(|| {
        format!("{text:?} is neither a day (2024-01-31) nor a time in UTC (2024-01-31T12:00:00Z)")
    })
}

fn parse_utc(text: &str) -> Option<Timestamp> {
    let (day, time) = text
        .split_once(['T', 't', ' '])
        .unwrap_or((text, "00:00:00Z"));
    let [year, month, day] = numbers(day, '-', [4, 2, 2])?;
    let time = ["Z", "z", "+00:00", "-00:00"]
        .iter()
        .find_map(|zone| time.strip_suffix(zone))?;
    let (time, fraction) = time.split_once('.').unwrap_or((time, "0"));
    let [hour, minute, second] = numbers(time, ':', [2, 2, 2])?;
    let second = Timestamp::from_civil(
        year,
        small(month)?,
        small(day)?,
        small(hour)?,
        small(minute)?,
        small(second)?,
    )?;
    // Picoseconds have twelve digits; nobody measures more.
    if fraction.is_empty() || fraction.len() > 12 || !is_digits(fraction) {
        return None;
    }
    let picoseconds: u64 = format!("{fraction:0<12}").parse().ok()?;
    Timestamp::new(second.days(), second.picoseconds() + picoseconds)
}

/// Numbers of these many digits each, with a separator between them.
fn numbers<const N: usize>(text: &str, separator: char, digits: [usize; N]) -> Option<[u16; N]> {
    let mut parts = text.split(separator);
    let mut all = [0; N];
    for (number, digits) in all.iter_mut().zip(digits) {
        let part = parts.next()?;
        if part.len() != digits || !is_digits(part) {
            return None;
        }
        *number = part.parse().ok()?;
    }
    parts.next().is_none().then_some(all)
}

fn is_digits(text: &str) -> bool {
    text.bytes().all(|byte| byte.is_ascii_digit())
}

fn small(number: u16) -> Option<u8> {
    u8::try_from(number).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_day_is_its_beginning_and_a_time_is_in_utc() {
        for (text, expected) in [
            ("2024-01-31", "2024-01-31T00:00:00-00:00"),
            ("2024-01-31T12:30:59Z", "2024-01-31T12:30:59-00:00"),
            ("2024-01-31t12:30:59z", "2024-01-31T12:30:59-00:00"),
            ("2024-01-31 12:30:59+00:00", "2024-01-31T12:30:59-00:00"),
        ] {
            assert_eq!(parse(text).unwrap().to_rfc3339(), expected, "{text}");
        }
        let precise = parse("1970-01-01T00:00:01.25Z").unwrap();
        assert_eq!(precise.picoseconds(), 1_250_000_000_000);
        for text in [
            "",
            "yesterday",
            "2024-02-30",
            "2024-1-31",
            "2024-01-31T12:30:59",
            "2024-01-31T12:30:59+02:00",
            "2024-01-31T24:00:00Z",
            "2024-01-31T12:30Z",
            "2024-01-31T12:30:59.Z",
            "2024-01-31T12:30:59.1234567890123Z",
            "+024-01-31",
        ] {
            assert!(
                parse(text).unwrap_err().contains("2024-01-31T12:00:00Z"),
                "{text}"
            );
        }
    }
}
