//! One mistake at each place a build has, and what is said about it.

use builder_exec::ErrorKind;

use crate::build::{Build, read, refusal, sample};
use crate::der::{Mistake, Value};

/// What is said when this mistake is made in each value of a build in turn, a line each.
fn refusals(mistake: Mistake) -> Vec<String> {
    let value = one_of_each().value();
    (0..value.count())
        .map(|number| refusal(&value.encode_with(number, mistake)))
        .collect()
}

fn one_of_each() -> Build {
    let mut build = sample();
    build.console.truncate(1);
    build.artifacts.truncate(1);
    build
}

#[test]
fn a_wrong_tag_is_named_with_what_was_expected_there() {
    let expected = r#"
byte 0: expected the build ([0], tag 0xa0), found tag 0x04
byte 3: expected the build (SEQUENCE, tag 0x30), found tag 0x04
byte 6: expected the job (SEQUENCE, tag 0x30), found tag 0x04
byte 8: expected the job name (UTF8String, tag 0x0c), found tag 0x04
byte 15: expected the script (UTF8String, tag 0x0c), found tag 0x04
byte 22: expected the input file list (SEQUENCE, tag 0x30), found tag 0x04
byte 24: expected the input file (SEQUENCE, tag 0x30), found tag 0x04
byte 26: expected the path of the input file (UTF8String, tag 0x0c), found tag 0x04
byte 30: expected the input file "in" (UTF8String, tag 0x0c), found tag 0x04
byte 36: expected the platform (UTF8String, tag 0x0c), found tag 0x04
byte 47: expected the uuid (UTF8String, tag 0x0c), found tag 0x04
byte 65: expected the console (SEQUENCE, tag 0x30), found tag 0x04
byte 67: expected the console line (SEQUENCE, tag 0x30), found tag 0x04
byte 69: expected the delta of the console line (INTEGER, tag 0x02), found tag 0x04
byte 74: expected the text of the console line (UTF8String, tag 0x0c), found tag 0x04
byte 80: expected the times (SEQUENCE, tag 0x30), found tag 0x04
byte 82: expected the start time (UTCTime, tag 0x17, or GeneralizedTime, tag 0x18), found tag 0x04
byte 99: expected the finish time (UTCTime, tag 0x17, or GeneralizedTime, tag 0x18), found tag 0x04
byte 116: expected the result ([0], tag 0xa0, or [1], tag 0xa1, or [2], tag 0xa2, or [3], tag 0xa3), found tag 0x04
byte 118: expected the exit code (INTEGER, tag 0x02), found tag 0x04
byte 121: expected the artifact list (SEQUENCE, tag 0x30), found tag 0x04
byte 123: expected the artifact (SEQUENCE, tag 0x30), found tag 0x04
byte 125: expected the path of the artifact (UTF8String, tag 0x0c), found tag 0x04
byte 136: expected the artifact "bin/hello" (UTF8String, tag 0x0c), found tag 0x04
"#;
    assert_eq!(refusals(Mistake::Tag(0x04)).join("\n"), expected.trim());
}

#[test]
fn a_length_in_a_longer_form_is_refused_everywhere() {
    let value = one_of_each().value();
    for (number, refusal) in refusals(Mistake::LongLength).into_iter().enumerate() {
        let start = format!(
            "byte {}: expected the length of the ",
            offset_when_longer(&value, number)
        );
        assert!(refusal.starts_with(&start), "{refusal} / {start}");
        assert!(
            refusal.ends_with(" in its shortest form, found a longer one"),
            "{refusal}"
        );
    }
}

/// The value around it may need a byte more for its own length when this one is longer.
fn offset_when_longer(value: &Value, number: usize) -> usize {
    let longer = value.encode_with(number, Mistake::LongLength);
    let right = value.encode();
    let shift = longer.len() - right.len() - 1;
    value.offset_of(number) + shift
}

#[test]
fn lengths_that_are_none_in_der_are_refused_everywhere() {
    for refusal in refusals(Mistake::Length(&[0x80])) {
        assert!(
            refusal.ends_with(", found an indefinite length"),
            "{refusal}"
        );
    }
    for length in [&[0x89, 1, 0, 0, 0, 0, 0, 0, 0, 0][..], &[0xff]] {
        for refusal in refusals(Mistake::Length(length)) {
            assert!(
                refusal.ends_with(", found a length of more than 64 bits"),
                "{refusal}"
            );
        }
    }
}

#[test]
fn a_length_beyond_all_bounds_is_refused_everywhere() {
    let lengths = Mistake::Length(&[0x88, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff]);
    let mut refusals = refusals(lengths).into_iter();
    assert_eq!(
        refusals.next().unwrap(),
        "byte 0: 18446744073709551615 bytes of build, at most 4294967296 are accepted"
    );
    for refusal in refusals {
        assert!(
            refusal.contains(": expected the ") && refusal.contains(" to end within the "),
            "{refusal}"
        );
    }
}

#[test]
fn a_value_that_reaches_out_of_the_one_around_it_is_refused_everywhere() {
    let value = one_of_each().value();
    for number in 0..value.count() {
        let error = read(&value.encode_with(number, Mistake::LengthPlusOne)[..]).unwrap_err();
        // What comes next is read one byte off, so what is said differs; but nothing is let through.
        assert!(!matches!(error.kind, ErrorKind::Io(_)), "{error}");
    }
}

#[test]
fn nothing_may_be_left_over_in_any_value() {
    let value = one_of_each().value();
    for number in 0..value.count() {
        let encoded = value.encode_with(number, Mistake::OneMore);
        if encoded == value.encode() {
            continue; // a string has nothing within
        }
        let refusal = refusal(&encoded);
        assert!(
            refusal.contains(", found 2 bytes more") || refusal.contains(", found tag 0x05"),
            "{refusal}"
        );
    }
}

#[test]
fn nothing_but_the_platform_and_items_of_lists_may_be_missing() {
    let value = one_of_each().value();
    let mut accepted = Vec::new();
    for number in 0..value.count() {
        let encoded = value.encode_with(number, Mistake::OneLess);
        match read(&encoded[..]) {
            Ok(build) => {
                if encoded != value.encode() {
                    accepted.push(build);
                }
            }
            Err(error) => assert!(
                error.to_string().contains(", found the end of the "),
                "{error}"
            ),
        }
    }
    let full = one_of_each();
    let without = [
        Build {
            platform: None,
            ..full.clone()
        },
        Build {
            input_files: Vec::new(),
            ..full.clone()
        },
        Build {
            console: Vec::new(),
            ..full.clone()
        },
        Build {
            artifacts: Vec::new(),
            ..full
        },
    ];
    assert_eq!(accepted, without);
}

#[test]
fn a_uuid_is_sixteen_bytes() {
    let Value::Values(tag, mut body) = sample().value().children()[0].clone() else {
        panic!("a sequence")
    };
    body[1] = crate::der::string(&[1; 15]);
    let encoded = crate::der::explicit(0, Value::Values(tag, body)).encode();
    assert_eq!(
        refusal(&encoded),
        "byte 47: expected a uuid of 16 bytes, found one of 15"
    );
}
