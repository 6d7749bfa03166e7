//! Times: as numbers, as people read them, and as they are sent.

use std::time::Duration;

use builder_exec::Timestamp;
use proptest::prelude::*;

use crate::build::{read, refusal, sample};
use crate::der::{Value, explicit, generalized_time, sequence, utc_time};

fn time(year: u16, month: u8, day: u8, hour: u8, minute: u8, second: u8) -> Timestamp {
    Timestamp::from_civil(year, month, day, hour, minute, second).expect("a date")
}

/// A build that begins at `start`, as sent.
fn starting(start: Value) -> Vec<u8> {
    let Value::Values(tag, mut body) = sample().value().children()[0].clone() else {
        panic!("a sequence")
    };
    body[3] = sequence([start, generalized_time("20260512041300Z")]);
    explicit(0, Value::Values(tag, body)).encode()
}

fn start(start: Value) -> Timestamp {
    read(&starting(start)[..]).expect("a time").start
}

#[test]
fn every_day_of_ten_thousand_years_has_its_date() {
    let mut days = Timestamp::from_civil(0, 1, 1, 0, 0, 0).unwrap().days();
    for year in 0..=9999 {
        let february = if year % 4 == 0 && (year % 100 != 0 || year % 400 == 0) {
            29
        } else {
            28
        };
        for (month, length) in (1..).zip([31, february, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31]) {
            // Its first, its last, and none beyond.
            for day in [1, length] {
                let expected = (year, month, day, 0, 0, 0);
                let time = Timestamp::new(days + i64::from(day) - 1, 0).unwrap();
                assert_eq!(time.civil(), expected);
                assert_eq!(Timestamp::from_civil(year, month, day, 0, 0, 0), Some(time));
            }
            assert_eq!(
                Timestamp::from_civil(year, month, length + 1, 0, 0, 0),
                None
            );
            days += i64::from(length);
        }
    }
    assert_eq!(
        Timestamp::new(days - 1, 86_399_999_999_999_999)
            .unwrap()
            .to_rfc3339(),
        "9999-12-31T23:59:59-00:00"
    );
    assert_eq!(Timestamp::new(days, 0), None);
    assert_eq!(
        Timestamp::new(-719_528, 0).unwrap().to_rfc3339(),
        "0000-01-01T00:00:00-00:00"
    );
    assert_eq!(Timestamp::new(-719_529, 0), None);
    assert_eq!(Timestamp::new(0, 86_400_000_000_000_000), None);
    assert_eq!(Timestamp::new(i64::MAX, 0), None);
    assert_eq!(Timestamp::new(i64::MIN, 0), None);
}

#[test]
fn a_time_is_written_in_each_form() {
    let time = time(2026, 5, 12, 4, 12, 33);
    assert_eq!(time.to_string(), "2026-05-12 04:12:33Z");
    assert_eq!(time.to_rfc3339(), "2026-05-12T04:12:33-00:00");
    assert_eq!(time.compact(), "20260512041233");
    assert_eq!(time.unix_seconds(), 1_778_559_153);
    assert_eq!(
        (time.days(), time.picoseconds()),
        (20_585, 15_153_000_000_000_000)
    );
}

#[test]
fn unix_time_goes_both_ways_before_and_after_1970() {
    for seconds in [
        0,
        1,
        -1,
        86_399,
        86_400,
        -86_400,
        -86_401,
        1_778_559_153,
        -62_167_219_200,
        253_402_300_799,
    ] {
        assert_eq!(
            Timestamp::from_unix(seconds, 999_999_999)
                .unwrap()
                .unix_seconds(),
            seconds
        );
    }
    assert_eq!(Timestamp::from_unix(-62_167_219_201, 0), None);
    assert_eq!(Timestamp::from_unix(253_402_300_800, 0), None);
    assert_eq!(Timestamp::from_unix(i64::MAX, 0), None);
    assert_eq!(Timestamp::from_unix(i64::MIN, 0), None);
    assert_eq!(Timestamp::from_unix(0, 1_000_000_000), None);
    assert_eq!(
        Timestamp::from_unix(-1, 5).unwrap().picoseconds(),
        86_399_000_000_005_000
    );
}

#[test]
fn there_is_no_time_that_no_clock_shows() {
    for (hour, minute, second) in [(24, 0, 0), (0, 60, 0), (0, 0, 60)] {
        assert_eq!(
            Timestamp::from_civil(2026, 1, 1, hour, minute, second),
            None
        );
    }
    for (year, month, day) in [
        (10_000, 1, 1),
        (2026, 0, 1),
        (2026, 13, 1),
        (2026, 1, 0),
        (2026, 255, 255),
    ] {
        assert_eq!(Timestamp::from_civil(year, month, day, 0, 0, 0), None);
    }
}

#[test]
fn a_duration_is_zero_when_the_end_comes_first() {
    let (first, second) = (
        Timestamp::new(0, 999_999_500_000).unwrap(),
        Timestamp::new(1, 250).unwrap(),
    );
    assert!(first < second);
    assert_eq!(first.duration_to(&second), Duration::new(86_399, 500));
    assert_eq!(second.duration_to(&first), Duration::ZERO);
    let (earliest, latest) = (time(0, 1, 1, 0, 0, 0), time(9999, 12, 31, 23, 59, 59));
    assert_eq!(earliest.duration_to(&latest).as_secs(), 315_569_519_999);
}

#[test]
fn a_utc_time_has_a_year_between_1950_and_2049() {
    assert_eq!(
        start(utc_time("260512041233Z")),
        time(2026, 5, 12, 4, 12, 33)
    );
    assert_eq!(
        start(utc_time("491231235959Z")),
        time(2049, 12, 31, 23, 59, 59)
    );
    assert_eq!(start(utc_time("500101000000Z")), time(1950, 1, 1, 0, 0, 0));
    assert_eq!(
        start(utc_time("991231235959Z")),
        time(1999, 12, 31, 23, 59, 59)
    );
}

#[test]
fn seconds_may_be_left_out_as_the_reference_lets_them() {
    assert_eq!(start(utc_time("2605120412Z")), time(2026, 5, 12, 4, 12, 0));
    assert_eq!(
        start(generalized_time("202605120412Z")),
        time(2026, 5, 12, 4, 12, 0)
    );
    assert_eq!(
        start(generalized_time("2026051204Z")),
        time(2026, 5, 12, 4, 0, 0)
    );
}

#[test]
fn a_leap_second_is_the_first_second_of_the_next_minute() {
    assert_eq!(
        start(generalized_time("20161231235960Z")),
        time(2017, 1, 1, 0, 0, 0)
    );
    assert_eq!(start(utc_time("161231235960Z")), time(2017, 1, 1, 0, 0, 0));
}

#[test]
fn fractions_are_kept_to_the_picosecond_and_cut_there() {
    let fraction = |text: &str| start(generalized_time(text)).picoseconds_of_second();
    assert_eq!(fraction("20260512041233.25Z"), 250_000_000_000);
    assert_eq!(fraction("20260512041233.250Z"), 250_000_000_000);
    assert_eq!(fraction("20260512041233.000Z"), 0);
    assert_eq!(fraction("20260512041233.123456789012Z"), 123_456_789_012);
    assert_eq!(
        fraction("20260512041233.1234567890129999Z"),
        123_456_789_012
    );
    assert_eq!(fraction("19690512041233.999999999999Z"), 999_999_999_999);
}

#[test]
fn what_is_no_time_is_refused_with_the_form_it_should_have() {
    let check = |start: Value| refusal(&starting(start));
    assert_eq!(
        check(utc_time("2026-05-12")),
        "byte 96: expected the start time as YYMMDDhhmmssZ, found \"2026-05-12\""
    );
    assert_eq!(
        check(generalized_time("20260230000000Z")),
        "byte 96: expected the start time as YYYYMMDDhhmmss[.fff]Z, found \"20260230000000Z\""
    );
    for text in [
        "",
        "Z",
        "26Z",
        "260512Z",
        "26051204Z",
        "260512041233",
        "260512041233+0000",
        "2605120412333Z",
        "260512041233.5Z",
        "261312041233Z",
        "260512041261Z",
        "260512041233Zz",
    ] {
        assert!(
            check(utc_time(text)).contains("expected the start time as"),
            "{text}"
        );
    }
    for text in [
        "",
        "Z",
        "20260512Z",
        "20260512041233",
        "20260512041233+0100",
        "20260512041233.Z",
        "20260512041233.5",
        "20260512041233.5xZ",
        "202605120412.5Z",
        "20260512041233,5Z",
        "20260512241233Z",
        "99991231235960Z",
        "\u{ff12}026051204Z",
    ] {
        assert!(
            check(generalized_time(text)).contains("expected the start time as"),
            "{text}"
        );
    }
    let long = format!("20260512041233.{}Z", "0".repeat(49));
    assert_eq!(
        check(generalized_time(&long)),
        "byte 96: 65 bytes of start time, at most 64 are accepted"
    );
}

proptest! {
    #[test]
    fn any_two_numbers_in_range_come_back(days in -719_528_i64..=2_932_896, picoseconds in 0..86_400_000_000_000_000_u64) {
        let time = Timestamp::new(days, picoseconds).unwrap();
        prop_assert_eq!((time.days(), time.picoseconds()), (days, picoseconds));
        let (year, month, day, hour, minute, second) = time.civil();
        let whole = Timestamp::from_civil(year, month, day, hour, minute, second).unwrap();
        prop_assert_eq!(whole.unix_seconds(), time.unix_seconds());
        prop_assert!(whole <= time);
    }
}
