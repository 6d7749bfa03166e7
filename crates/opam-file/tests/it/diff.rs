//! Differences of texts, as `diff -u` prints them.

use opam_file::unified_diff;
use proptest::prelude::*;

/// Lines are given without line feeds, one character each.
fn check(left: &str, right: &str, expected: &str) {
    assert_eq!(diff(left, right), expected, "{left} {right}");
}

fn diff(left: &str, right: &str) -> String {
    let lines = |text: &str| {
        text.chars()
            .map(|line| format!("{line}\n"))
            .collect::<String>()
    };
    let text = unified_diff("l", lines(left).as_bytes(), "r", lines(right).as_bytes());
    let text = String::from_utf8(text).unwrap();
    text.strip_prefix("--- l\n+++ r\n")
        .unwrap_or(&text)
        .trim_end()
        .replace('\n', " ")
}

#[test]
fn hunks_show_three_lines_around_and_join_when_near() {
    check("abc", "abc", "");
    check("abc", "axc", "@@ -1,3 +1,3 @@  a -b +x  c");
    check("", "a", "@@ -0,0 +1 @@ +a");
    check("a", "", "@@ -1 +0,0 @@ -a");
    check(
        "abcdefgh",
        "abcdXefgh",
        "@@ -2,6 +2,7 @@  b  c  d +X  e  f  g",
    );
    check(
        "abcdefghi",
        "Xbcdefghi".replace('h', "Y").as_str(),
        "@@ -1,9 +1,9 @@ -a +X  b  c  d  e  f  g -h +Y  i",
    );
    check(
        "abcdefghij",
        "Xbcdefghij".replace('i', "Y").as_str(),
        "@@ -1,4 +1,4 @@ -a +X  b  c  d @@ -6,5 +6,5 @@  f  g  h -i +Y  j",
    );
}

#[test]
fn a_change_that_can_move_is_moved_down() {
    check("ab]cd", "ab]b]cd", "@@ -1,5 +1,7 @@  a  b  ] +b +]  c  d");
    check("a]]b", "a]b", "@@ -1,4 +1,3 @@  a  ] -]  b");
    check("axbxc", "axc", "@@ -1,5 +1,3 @@  a  x -b -x  c");
}

#[test]
fn a_missing_line_feed_is_told() {
    let text = unified_diff("l", b"a", "r", b"a\n");
    assert_eq!(
        text,
        b"--- l\n+++ r\n@@ -1 +1 @@\n-a\n\\ No newline at end of file\n+a\n"
    );
    let text = unified_diff("l", b"a\nb", "r", b"b");
    assert_eq!(
        text,
        b"--- l\n+++ r\n@@ -1,2 +1 @@\n-a\n b\n\\ No newline at end of file\n"
    );
}

/// What `patch` does with a difference.
fn patched(left: &str, diff: &str) -> Option<String> {
    let mut left = left.split_inclusive('\n');
    let mut right = String::new();
    let mut at = 0;
    for line in diff.lines().skip(2) {
        match line.split_at(1) {
            ("@", rest) => {
                let start: usize = rest.split(['-', ',', ' ']).nth(2)?.parse().ok()?;
                let is_empty = rest.split(' ').nth(1)?.ends_with(",0");
                let start = if is_empty { start } else { start - 1 };
                while at < start {
                    right += left.next()?;
                    at += 1;
                }
            }
            (" ", text) => {
                let line = left.next()?;
                assert_eq!(line.trim_end(), text);
                right += line;
                at += 1;
            }
            ("-", text) => {
                assert_eq!(left.next()?.trim_end(), text);
                at += 1;
            }
            (_, text) => right += &format!("{text}\n"),
        }
    }
    left.for_each(|line| right += line);
    Some(right)
}

/// Lines that stay, by the book.
fn longest_common(left: &[&str], right: &[&str]) -> usize {
    let mut row = vec![0; right.len() + 1];
    for a in left {
        let mut diagonal = 0;
        for (at, b) in right.iter().enumerate() {
            let above = row[at + 1];
            row[at + 1] = if a == b {
                diagonal + 1
            } else {
                row[at].max(above)
            };
            diagonal = above;
        }
    }
    row[right.len()]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2000))]

    #[test]
    fn a_difference_leads_from_one_text_to_the_other(left in "([a-d]\n){0,30}", right in "([a-d]\n){0,30}") {
        let diff = String::from_utf8(unified_diff("l", left.as_bytes(), "r", right.as_bytes())).unwrap();
        prop_assert_eq!(patched(&left, &diff).unwrap(), right.clone());
        let stay = left.lines().count() - diff.lines().skip(2).filter(|line| line.starts_with('-')).count();
        let (left, right): (Vec<_>, Vec<_>) = (left.lines().collect(), right.lines().collect());
        prop_assert_eq!(stay, longest_common(&left, &right));
    }

    #[test]
    fn any_two_texts_have_a_difference(left in any::<Vec<u8>>(), right in any::<Vec<u8>>()) {
        prop_assert_eq!(unified_diff("l", &left, "r", &right).is_empty(), left == right);
    }
}
