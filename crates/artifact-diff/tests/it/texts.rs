//! Texts by line, everything else by its bytes.

use artifact_diff::{Detail, Format, Hints, Kind, Limits, Report, compare};

fn plain(left: &[u8], right: &[u8]) -> Report {
    compare(left, right, &Hints::default(), &Limits::default())
}

#[test]
fn texts_are_compared_by_line() {
    let report = plain(b"one\ntwo\nthree\n", b"one\n2\nthree\n");
    let Detail::Text(text) = &report.detail else {
        panic!("{report}")
    };
    assert_eq!(text.diff, "@@ -1,3 +1,3 @@\n one\n-two\n+2\n three\n");
    assert_eq!(report.left.format, Format::Text);
}

#[test]
fn a_long_line_is_shown_around_what_differs() {
    let long = |word: &str| format!("{}{word}{}\n", "x".repeat(5000), "y".repeat(5000));
    let report = plain(long("left").as_bytes(), long("right").as_bytes());
    let Detail::Text(text) = &report.detail else {
        panic!("{report}")
    };
    assert!(
        text.diff.contains("xleftyy") && text.diff.contains("xrightyy"),
        "{}",
        text.diff
    );
    assert!(text.diff.len() < 1200, "{}", text.diff.len());
}

#[test]
fn texts_of_nothing_but_line_ends_are_compared_as_bytes() {
    let lines = |line: &str| line.repeat(300_000);
    let report = plain(lines("a\n").as_bytes(), lines("b\n").as_bytes());
    assert!(matches!(report.detail, Detail::Bytes(_)), "{report}");
    assert!(report.incomplete[0].contains("200000 lines"), "{report}");
}

#[test]
fn a_difference_of_many_lines_is_cut_and_counted() {
    let lines = |word: &str| {
        (0..3000)
            .map(|n| format!("{word} {n}\n"))
            .collect::<String>()
    };
    let report = plain(lines("a").as_bytes(), lines("b").as_bytes());
    let Detail::Text(text) = &report.detail else {
        panic!("{report}")
    };
    assert_eq!(text.diff.lines().count() as u64 + text.lines_left_out, 6001);
    assert!(text.diff.lines().count() <= 400);
}

#[test]
fn causes_are_told_of_lines_although_others_differ() {
    let report = plain(b"at 2026-05-12\nsame\nx\n", b"at 2026-05-13\nsame\ny\n");
    assert!(report.apart_from.is_empty());
    assert_eq!(
        report.causes.first().map(|cause| cause.kind),
        Some(Kind::Timestamp)
    );
    assert_eq!(report.verdict(), "Different, in more than timestamps.");
}

#[test]
fn bytes_are_shown_around_the_first_differences() {
    let left: Vec<u8> = (0..=255).cycle().take(4096).collect();
    let mut right = left.clone();
    right[100] = 0;
    right[3000] = 0;
    right.push(7);
    let report = plain(&left, &right);
    let Detail::Bytes(bytes) = &report.detail else {
        panic!("{report}")
    };
    assert_eq!(bytes.differing_bytes, 3);
    let offsets: Vec<u64> = bytes
        .places
        .items
        .iter()
        .map(|place| place.offset)
        .collect();
    assert_eq!(offsets, [96, 2992, 4096]);
    assert!(
        report.to_string().contains("- 00000060  60 61 62 63 64 65"),
        "{report}"
    );
}

#[test]
fn the_same_is_the_same() {
    for bytes in [b"".as_slice(), b"text", b"\0\x01"] {
        let report = plain(bytes, bytes);
        assert!(report.same && report.detail == Detail::Same);
        assert_eq!(report.verdict(), "The same, byte for byte.");
    }
}
