//! Times as people give them: RFC 3339 in UTC, or a day.

use builder_exec::Timestamp;

/// How a text looks that [`parse`] takes, for descriptions. The last days of a month are not told by a
/// pattern.
pub const PATTERN: &str = "[0-9]{4}-(0[1-9]|1[0-2])-(0[1-9]|[12][0-9]|3[01])\
    ([Tt ]([01][0-9]|2[0-3]):[0-5][0-9]:[0-5][0-9]([.][0-9]{1,12})?([Zz]|[+-]00:00))?";

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
    fn the_pattern_takes_what_is_read_and_nothing_else() {
        let pattern = serde_json::json!({ "pattern": format!("^({PATTERN})$") });
        let pattern = jsonschema::draft202012::new(&pattern).unwrap();
        let days = [
            "2024-01-31",
            "2024-12-01",
            "0000-01-01",
            "2024-1-31",
            "+024-01-31",
            "2024-00-10",
            "2024-01-32",
            "20240131",
        ];
        let times = [
            "",
            "12:30:59",
            "23:59:59",
            "24:00:00",
            "12:60:00",
            "12:00:60",
            "1:00:00",
            "+1:00:00",
            "12:00",
            "12:00:00.5",
            "12:00:00.",
            "12:00:00.123456789012",
            "12:00:00.1234567890123",
        ];
        let zones = ["", "Z", "z", "+00:00", "-00:00", "+02:00", "+0000", "ZZ"];
        let mut taken = 0;
        for (day, between, time) in days.iter().flat_map(|day| {
            let between = ["T", "t", " ", ""].into_iter();
            between.flat_map(move |between| times.map(|time| (day, between, time)))
        }) {
            for zone in zones {
                let text = format!("{day}{between}{time}{zone}");
                let is_read = parse(&text).is_ok();
                let looks_so = pattern.is_valid(&serde_json::json!(text));
                assert_eq!(is_read, looks_so, "{text:?}");
                taken += u32::from(is_read);
            }
        }
        assert!(taken > 100, "{taken}");
        // What we print ourselves.
        let ours = Timestamp::from_civil(2026, 5, 12, 4, 12, 33)
            .unwrap()
            .to_rfc3339();
        assert!(pattern.is_valid(&serde_json::json!(ours)));
    }

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
