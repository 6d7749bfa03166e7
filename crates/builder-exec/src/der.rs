//! The parts of DER a build is made of: tags, lengths, integers and times. Knows values, not where they stand in a build.
#![warn(clippy::indexing_slicing, clippy::arithmetic_side_effects)]

use crate::Timestamp;

/// A tag of one byte; there are no others in a build.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) struct Tag(u8);

impl Tag {
    pub(crate) const INTEGER: Tag = Tag(0x02);
    pub(crate) const UTF8_STRING: Tag = Tag(0x0c);
    pub(crate) const UTC_TIME: Tag = Tag(0x17);
    pub(crate) const GENERALIZED_TIME: Tag = Tag(0x18);
    pub(crate) const SEQUENCE: Tag = Tag(0x30);
    pub(crate) const EXPLICIT_0: Tag = Tag(0xa0);
    pub(crate) const EXPLICIT_1: Tag = Tag(0xa1);
    pub(crate) const EXPLICIT_2: Tag = Tag(0xa2);
    pub(crate) const EXPLICIT_3: Tag = Tag(0xa3);

    pub(crate) fn of_byte(byte: u8) -> Tag {
        Tag(byte)
    }

    pub(crate) fn name(self) -> &'static str {
        match self {
            Tag::INTEGER => "INTEGER",
            Tag::UTF8_STRING => "UTF8String",
            Tag::UTC_TIME => "UTCTime",
            Tag::GENERALIZED_TIME => "GeneralizedTime",
            Tag::SEQUENCE => "SEQUENCE",
            Tag::EXPLICIT_0 => "[0]",
            Tag::EXPLICIT_1 => "[1]",
            Tag::EXPLICIT_2 => "[2]",
            Tag::EXPLICIT_3 => "[3]",
            _ => "unknown",
        }
    }

    /// `UTF8String, tag 0x0c`
    pub(crate) fn describe(self) -> String {
        format!("{}, tag 0x{:02x}", self.name(), self.0)
    }

    pub(crate) fn describe_found(self) -> String {
        format!("tag 0x{:02x}", self.0)
    }
}

/// What the first byte of a length says.
pub(crate) enum LengthStart {
    /// It is the length itself.
    Short(u64),
    /// That many more bytes follow, 1 to 8.
    Long(usize),
    /// It is no length of DER, for this reason.
    Bad(&'static str),
}

pub(crate) fn length_start(byte: u8) -> LengthStart {
    match byte {
        0..=0x7f => LengthStart::Short(u64::from(byte)),
        0x80 => LengthStart::Bad("an indefinite length"),
        0x81..=0x88 => LengthStart::Long(usize::from(byte & 0x7f)),
        _ => LengthStart::Bad("a length of more than 64 bits"),
    }
}

/// A length from the bytes after its first one; none unless this is its shortest form.
pub(crate) fn long_length(bytes: &[u8]) -> Option<u64> {
    let length = bytes
        .iter()
        .fold(0, |length: u64, byte| length << 8 | u64::from(*byte));
    let shortest = length > 0x7f && bytes.first() != Some(&0);
    shortest.then_some(length)
}

/// How many bytes a value has, tag and length included, whose content has this many.
pub(crate) fn value_bytes(content_bytes: u64) -> u64 {
    let length_bytes = match content_bytes {
        0..=0x7f => 1,
        _ => u64::from(content_bytes.ilog2() / 8).saturating_add(2),
    };
    content_bytes.saturating_add(length_bytes).saturating_add(1)
}

/// Writes the tag and length of a value.
pub(crate) fn push_header(out: &mut Vec<u8>, tag: Tag, content_bytes: u64) {
    out.push(tag.0);
    match u8::try_from(content_bytes) {
        Ok(short @ 0..=0x7f) => out.push(short),
        _ => {
            let significant = content_bytes
                .to_be_bytes()
                .into_iter()
                .skip_while(|byte| *byte == 0);
            let count = u8::try_from(significant.clone().count()).unwrap_or(8);
            out.push(0x80 | count);
            out.extend(significant);
        }
    }
}

/// Writes a value that is held in memory.
pub(crate) fn push_value(out: &mut Vec<u8>, tag: Tag, content: &[u8]) {
    // OK because a usize has at most 64 bits.
    push_header(out, tag, u64::try_from(content.len()).unwrap_or(u64::MAX));
    out.extend_from_slice(content);
}

/// The content of an INTEGER: two's complement in as few bytes as hold it.
pub(crate) fn integer(bytes: &[u8]) -> Result<i64, &'static str> {
    let (first, second) = match bytes {
        [] => return Err("no bytes at all"),
        [only] => return Ok(i64::from(only.cast_signed())),
        [first, second, ..] => (*first, *second),
    };
    if (first == 0 && second < 0x80) || (first == 0xff && second >= 0x80) {
        return Err("one with needless bytes in front");
    }
    if bytes.len() > 8 {
        return Err("one of more than 64 bits");
    }
    let sign = if first < 0x80 { 0 } else { -1 };
    Ok(bytes
        .iter()
        .fold(sign, |number: i64, byte| number << 8 | i64::from(*byte)))
}

/// The shortest content of an INTEGER.
pub(crate) fn integer_content(number: i64) -> Vec<u8> {
    let all = number.to_be_bytes();
    let needless = 8_u64.saturating_sub(integer_content_bytes(number));
    all.into_iter()
        .skip(usize::try_from(needless).unwrap_or(0))
        .collect()
}

pub(crate) fn integer_content_bytes(number: i64) -> u64 {
    // Significant bits and the sign, in whole bytes.
    let magnitude = if number < 0 { !number } else { number };
    let bits = 64_u32.saturating_sub(magnitude.leading_zeros());
    u64::from(bits / 8).saturating_add(1)
}

/// The content of a UTCTime: `YYMMDDhhmm[ss]Z`. DER asks for the seconds, the reference does not.
pub(crate) fn utc_time(text: &[u8]) -> Option<Timestamp> {
    let (clock, after) = Clock::read(text, 2)?;
    let year = clock.year;
    let year = if year < 50 {
        year.checked_add(2000)
    } else {
        year.checked_add(1900)
    }?;
    (after == b"Z").then(|| Clock { year, ..clock }.timestamp(0))?
}

/// The content of a GeneralizedTime: `YYYYMMDDhh[mm[ss[.f…]]]Z`. DER asks for the seconds, the reference does not. Digits
/// finer than a picosecond are dropped, and zeros at the end of a fraction, which DER forbids and the reference writes,
/// are accepted.
pub(crate) fn generalized_time(text: &[u8]) -> Option<Timestamp> {
    let (clock, after) = Clock::read(text, 4)?;
    let fraction = match after {
        b"Z" => &b""[..],
        [b'.', digits @ .., b'Z'] if clock.has_seconds && !digits.is_empty() => digits,
        _ => return None,
    };
    if !fraction.iter().all(u8::is_ascii_digit) {
        return None;
    }
    let padded = fraction
        .iter()
        .copied()
        .chain(std::iter::repeat(b'0'))
        .take(12);
    let picoseconds = padded.fold(0_u64, |sum, digit| {
        sum.saturating_mul(10)
            .saturating_add(u64::from(digit.saturating_sub(b'0')))
    });
    clock.timestamp(picoseconds)
}

/// The content of a GeneralizedTime as the reference writes it: a fraction only if there is one, cut to three digits.
/// (So less than a millisecond becomes `.000`. That is no shortest form, but what is out there is compared byte by byte.)
pub(crate) fn generalized_time_content(time: Timestamp) -> String {
    let picoseconds = time.picoseconds_of_second();
    match picoseconds {
        0 => format!("{}Z", time.compact()),
        _ => format!("{}.{:03}Z", time.compact(), picoseconds / 1_000_000_000),
    }
}

/// A date and time of day as the two time types have it in common.
struct Clock {
    year: u16,
    month: u8,
    day: u8,
    hour: u8,
    minute: u8,
    second: u8,
    has_seconds: bool,
}

impl Clock {
    /// Reads all digits at the front of `text`. A four-digit year goes with minutes that may be missing.
    fn read(text: &[u8], year_digits: usize) -> Option<(Clock, &[u8])> {
        let digits_count = text.iter().take_while(|byte| byte.is_ascii_digit()).count();
        let (digits, after) = text.split_at_checked(digits_count)?;
        let (year, rest) = digits.split_at_checked(year_digits)?;
        let year = year.iter().fold(0_u16, |sum, digit| {
            sum.saturating_mul(10)
                .saturating_add(u16::from(digit.saturating_sub(b'0')))
        });
        let (pairs, odd) = rest.as_chunks::<2>();
        if !odd.is_empty() {
            return None;
        }
        let pair = |[tens, ones]: &[u8; 2]| {
            tens.saturating_sub(b'0')
                .saturating_mul(10)
                .saturating_add(ones.saturating_sub(b'0'))
        };
        let (month, day, hour, minute, second) = match pairs {
            [month, day, hour] if year_digits == 4 => (month, day, hour, None, None),
            [month, day, hour, minute] => (month, day, hour, Some(minute), None),
            [month, day, hour, minute, second] => (month, day, hour, Some(minute), Some(second)),
            _ => return None,
        };
        let clock = Clock {
            year,
            month: pair(month),
            day: pair(day),
            hour: pair(hour),
            minute: minute.map_or(0, pair),
            second: second.map_or(0, pair),
            has_seconds: second.is_some(),
        };
        Some((clock, after))
    }

    fn timestamp(&self, picoseconds: u64) -> Option<Timestamp> {
        // Second 60 of a minute is a leap second: it is taken as the first second of the next minute.
        let leap = self.second == 60;
        let second = if leap { 59 } else { self.second };
        let time = Timestamp::from_civil(
            self.year,
            self.month,
            self.day,
            self.hour,
            self.minute,
            second,
        )?;
        let seconds = time.unix_seconds().checked_add(i64::from(leap))?;
        let time = Timestamp::from_unix(seconds, 0)?;
        Timestamp::new(time.days(), time.picoseconds().checked_add(picoseconds)?)
    }
}
