//! Which of two versions is newer, in opam's eyes.

use std::cmp::Ordering;

use opam_file::{compare_names, version::compare};
use proptest::prelude::*;

#[test]
fn versions_are_ordered_as_in_opam() {
    let ascending = [
        "~~",
        "~",
        "",
        "0.9",
        "1.0~beta",
        "1.0",
        "1.0-1",
        "1.0+x",
        "1.0.0",
        "1.0.1",
        "1.0_1",
        "1.2.3",
        "1.10",
        "2.0~~",
        "2.0~",
        "2.0",
        "4.14.0",
        "4.14.0+options",
        "5.2.0~beta2",
        "5.2.0~rc1",
        "5.2.0",
        "A",
        "Z",
        "a",
        "base",
        "dev",
        "v0.9",
        "v0.16",
    ];
    for (index, left) in ascending.iter().enumerate() {
        for right in ascending.iter().skip(index + 1) {
            let found = compare(left.as_bytes(), right.as_bytes());
            assert_eq!(found, Ordering::Less, "{left} {right}");
        }
    }
}

#[test]
fn different_texts_can_be_the_same_version() {
    for (left, right) in [
        ("1.0", "1.00"),
        ("1.0", "1.0-0"),
        ("1.01", "1.1"),
        ("1", "1-"),
        ("0", ""),
    ] {
        assert_eq!(
            compare(left.as_bytes(), right.as_bytes()),
            Ordering::Equal,
            "{left} {right}"
        );
    }
}

#[test]
fn names_are_ordered_without_regard_to_case_first() {
    let ascending = [
        "a-b", "a_b", "base", "MIRAGE", "mirage", "OCaml", "OCamlz", "ocaml", "Zarith",
    ];
    assert!(ascending.is_sorted_by(|a, b| compare_names(a.as_bytes(), b.as_bytes()).is_lt()));
}

fn version() -> impl Strategy<Value = String> {
    prop_oneof!["[0-9a-zA-Z.~+_-]{0,8}", "[01a~.-]{0,6}"]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2000))]

    #[test]
    fn turning_two_versions_round_turns_their_order_round(a in version(), b in version()) {
        prop_assert_eq!(compare(a.as_bytes(), b.as_bytes()), compare(b.as_bytes(), a.as_bytes()).reverse());
        prop_assert_eq!(compare(a.as_bytes(), a.as_bytes()), Ordering::Equal);
    }

    #[test]
    fn the_order_of_three_versions_has_no_circle(a in version(), b in version(), c in version()) {
        let mut sorted = [a, b, c];
        sorted.sort_by(|a, b| compare(a.as_bytes(), b.as_bytes()));
        let [a, b, c] = sorted.each_ref().map(String::as_bytes);
        let (first, second, both) = (compare(a, b), compare(b, c), compare(a, c));
        prop_assert!(first.is_le() && second.is_le() && both.is_le());
        prop_assert_eq!(both.is_eq(), first.is_eq() && second.is_eq());
    }

    #[test]
    fn any_bytes_can_be_compared(a in any::<Vec<u8>>(), b in any::<Vec<u8>>()) {
        prop_assert_eq!(compare(&a, &b), compare(&b, &a).reverse());
    }
}
